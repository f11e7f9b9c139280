"""What a report says of tasks that were not learned, on logs made by hand."""

import json
import math

import numpy as np
import pytest
from made_runs import make_results, write_run
from scipy import stats

from lifelong_rl.analysis.report import make_report
from lifelong_rl.analysis.report_page import make_report_page
from lifelong_rl.analysis.runs import find_runs
from lifelong_rl.analysis.unlearned import CHANCE, find_moves, read_means

TASKS = ("reach", "push", "drawer-open", "door-open", "faucet-turn", "pick-place")
SRANKS = (40.0, 42.0, 41.0, 43.0, 39.0)
"""Of the learned tasks."""


def matrix(*learned):
    """Nothing is forgotten."""
    return [[0.0] * len(learned)] + [
        [value if j <= k else 0.0 for j, value in enumerate(learned)] for k in range(len(learned))
    ]


LEARNED = matrix(0.9, 0.8, 1.0, 0.9, 0.7, 0.0)


def quantities(srank=41.0, dormant=0.02, **more):
    return {"critic/srank": srank, "critic/dormant_units/layer_1": dormant, **more}


def write_log(path, by_task, tasks=TASKS):
    """Two measurements of each task, on either side of what is given."""
    lines = [{"type": "evaluation", "step": 0, "task": None, "values": {"success/reach": 0.0}}]
    for k, (task, values) in enumerate(zip(tasks, by_task, strict=True)):
        for step, factor in ((500, 0.9), (1000, 1.1)):
            told = {f"diagnostics/{name}": factor * value for name, value in values.items()}
            told["train/critic_loss"] = 1.0
            line = {"type": "train", "step": 1000 * k + step, "task": task, "values": told}
            lines.append(line)
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def run_with(path, last, success=LEARNED, usual=None, **facts):
    write_run(path, make_results(success, tasks=TASKS, **facts))
    usual = [quantities(srank) for srank in SRANKS] if usual is None else usual
    write_log(path, [*usual, last])


def told(folder):
    runs, left_out = find_runs([folder])
    (section,) = make_report(runs, left_out, reps=50)["sections"]
    return section["unlearned"]


def test_what_moved_is_named_with_its_direction(tmp_path):
    run_with(tmp_path / "run", quantities(12.0, 0.30))
    assert told(tmp_path) == [
        "pick-place was not learned (0.00): in the critic, srank fell from 41 to 12 and dormant "
        "units of layer 1 rose from 2 % to 30 %."
    ]


def test_the_rule_is_the_same_on_either_side(tmp_path):
    center = math.exp(np.log(SRANKS).mean())
    for name, factor, way in (("up", 3.0, "rose"), ("down", 1 / 3.0, "fell")):
        run_with(tmp_path / name, quantities(center * factor))
        assert [f"srank {way} from 41 to" in one for one in told(tmp_path / name)] == [True]


def test_it_is_silent_in_these_words_where_nothing_moved(tmp_path):
    run_with(tmp_path / "run", quantities(37.0, 0.03))
    assert told(tmp_path) == [
        "pick-place was not learned (0.00): nothing that was measured moved beyond what it moves "
        "between the 5 learned tasks."
    ]


def test_what_drifts_anyway_is_not_named(tmp_path):
    growing = [{"actor/weight_magnitude/layer_1": 0.1 * 1.2**k} for k in range(6)]
    run_with(tmp_path / "run", growing[-1], usual=growing[:-1])
    assert "nothing that was measured moved" in told(tmp_path)[0]
    jump = {"actor/weight_magnitude/layer_1": 10 * growing[-1]["actor/weight_magnitude/layer_1"]}
    run_with(tmp_path / "jump", jump, usual=growing[:-1])
    assert (
        "in the actor, weight magnitude of layer 1 rose from 0.14 to 2.5"
        in told(tmp_path / "jump")[0]
    )


def test_the_bound_is_that_of_a_prediction_interval():
    usual = [{"critic/churn": value} for value in (1.0, 2.0, 4.0)]
    # of log2: mean 1, standard deviation 1
    middle, width = 1.0, math.sqrt(1 + 1 / 3)
    bound = stats.t.ppf(1 - CHANCE / 2, df=2) * width
    for sign in (-1, 1):
        inside, outside = (
            find_moves(usual, {"critic/churn": 2.0 ** (middle + sign * factor * bound)})
            for factor in (0.99, 1.01)
        )
        assert not inside
        (move,) = outside
        assert move.usual == pytest.approx(2.0)
        assert move.distance == pytest.approx(sign * 1.01 * bound / width)
    # and with more quantities, of which none moved, it is farther away
    more = {f"critic/gradient_norm/layer_{k}": 1.0 for k in range(1, 20)}
    here = {"critic/churn": 2.0 ** (middle + 1.01 * bound), **more}
    assert not find_moves([one | more for one in usual], here)


def test_by_chance_hardly_anything_is_named():
    """Twenty quantities of seven tasks that are all alike: in one of twenty something is named."""
    generator = np.random.default_rng(0)
    named = 0
    for _ in range(400):
        tasks = [
            {f"critic/gradient_norm/layer_{k}": float(v) for k, v in enumerate(row)}
            for row in np.exp(generator.normal(0.0, 0.3, size=(7, 20)))
        ]
        named += bool(find_moves(tasks[:-1], tasks[-1]))
    assert 0.02 < named / 400 < 0.09


def test_few_learned_tasks_and_missing_logs_are_said(tmp_path):
    run_with(tmp_path / "few", quantities(), matrix(0.9, 0.8, 0.1, 0.2, 0.4, 0.0))
    assert told(tmp_path / "few") == [
        f"{task} was not learned ({success}): with 2 learned tasks beside it, what moved cannot be "
        "told."
        for task, success in zip(TASKS[2:], ("0.10", "0.20", "0.40", "0.00"), strict=True)
    ]
    write_run(tmp_path / "none" / "run", make_results(LEARNED, tasks=TASKS))
    without = "pick-place was not learned (0.00): no diagnostics were logged that could tell what"
    assert told(tmp_path / "none") == [f"{without} moved."]
    (tmp_path / "none" / "run" / "metrics.jsonl").write_text('{"type": "train", "diagnostics/')
    assert told(tmp_path / "none") == [f"{without} moved."]


def test_everything_was_learned_so_nothing_is_said(tmp_path):
    run_with(tmp_path / "run", quantities(1.0, 0.9), matrix(0.9, 0.8, 1.0, 0.9, 0.7, 0.5))
    assert told(tmp_path) == []
    runs, left_out = find_runs([tmp_path])
    assert "not learned" not in make_report_page(make_report(runs, left_out, reps=50))


def test_what_is_learned_alone_is_the_measure_where_it_is_known(tmp_path):
    success = matrix(0.9, 0.8, 1.0, 0.9, 0.7, 0.6)
    run_with(tmp_path / "run", quantities(12.0), success)
    run_with(tmp_path / "alone", quantities(), matrix(*[1.0] * 5, 0.8), method="single-task")
    assert told(tmp_path) == [
        "sac with finetune, seed 0: faucet-turn was not learned (0.70; alone 1.00): nothing that "
        "was measured moved beyond what it moves between the 5 learned tasks."
    ]
    others = matrix(*[0.8] * 5, 1.0)
    run_with(tmp_path / "better", quantities(), others, method="single-task", seed=1)
    sentences = told(tmp_path)
    assert len(sentences) == 1 and "pick-place was not learned (0.60; alone 0.90)" in sentences[0]


@pytest.mark.parametrize("method", ["joint", "single-task"])
def test_nothing_is_said_of_references(tmp_path, method):
    run_with(tmp_path / "run", quantities(12.0), method=method)
    assert told(tmp_path) == []


def test_logs_of_earlier_versions_are_read(tmp_path):
    usual = [{"critic/effective_rank": srank, "critic/dormant_units": 0.02} for srank in SRANKS]
    last = {"critic/effective_rank": 12.0, "critic/dormant_units": 0.3}
    run_with(tmp_path / "run", last, usual=usual)
    assert "srank fell from 41 to 12 and dormant units rose from 2 % to 30 %." in told(tmp_path)[0]


def test_layers_stand_for_the_whole(tmp_path):
    def both(norm):
        return {
            "critic/gradient_norm": norm,
            "critic/gradient_norm/layer_1": norm,
            "critic/weight_norm": norm,
            "actor/weight_norm": norm,
            "critic/weight_magnitude/head": norm,
            "critic/gradient_cosine/reach": norm,
        }

    run_with(tmp_path / "run", both(1e-6), usual=[both(value) for value in (1, 1.1, 0.9, 1, 1)])
    (sentence,) = told(tmp_path)
    assert "gradient norm of layer 1 fell" in sentence and "of the head fell" in sentence
    assert "in the actor, weight norm fell from 1 to 1e-06" in sentence.replace("1.0", "1")
    assert "more moved" not in sentence and sentence.count(" fell ") == 3


def test_many_sentences_end(tmp_path, monkeypatch):
    monkeypatch.setattr("lifelong_rl.analysis.unlearned.MOST_EXPLAINED", 2)
    for seed in range(3):
        run_with(tmp_path / str(seed), quantities(12.0), seed=seed)
    sentences = told(tmp_path)
    assert [one.partition(":")[0] for one in sentences[:2]] == [
        "sac with finetune, seed 0",
        "sac with finetune, seed 1",
    ]
    assert sentences[2:] == ["1 more task was not learned in these runs."]


def test_means_are_over_a_tasks_measurements_that_are_finite(tmp_path):
    lines = [
        {"type": "train", "step": k, "task": "a", "values": {"diagnostics/actor/churn": value}}
        for k, value in enumerate((1.0, None, 3.0))
    ]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"broken')
    assert read_means(path) == {"a": {"actor/churn": 2.0}}
    assert read_means(tmp_path / "none") == {}


def test_the_page_shows_them(tmp_path, browser):
    from chromium import open_page

    run_with(tmp_path / "run", quantities(12.0, 0.30))
    runs, left_out = find_runs([tmp_path])
    page_file = tmp_path / "report.html"
    page_file.write_text(make_report_page(make_report(runs, left_out, reps=50)))
    with open_page(browser, f"file://{page_file}") as page:
        (shown,) = page.locator(".unlearned li").all_inner_texts()
        assert shown.startswith(
            "pick-place was not learned (0.00): in the critic, srank fell from 41"
        )
        assert page.locator(".unlearned").is_visible()
        assert page.get_by_text("need not be the cause").is_visible()
        assert not page.problems
