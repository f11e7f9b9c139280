"""The comparison: gaps, matched retention, references and honesty about few runs."""

import json
from itertools import combinations

import numpy as np
import pytest
from made_runs import make_results, write_run, write_study
from scipy import stats

from lifelong_rl.analysis.comparison import compare
from lifelong_rl.analysis.runs import find_runs
from lifelong_rl.metrics.matrix import compute_metrics

BC = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.8, 1.0, 0.0], [0.6, 0.9, 1.0]]
SAC = [[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.4, 0.2, 0.0], [0.3, 0.0, 0.8]]


def section_of(*paths, **options):
    runs, left_out = find_runs(paths)
    (section,) = compare(runs, left_out, **{"reps": 300, **options})["sections"]
    return section


def write(folder, agent, matrix, seeds=range(3), **facts):
    for seed in seeds:
        results = make_results(matrix, agent=agent, seed=seed, **facts)
        write_run(folder / f"{agent}-{facts.get('method', '')}-{seed}", results)


def group(section, method, agent):
    (found,) = (
        g for g in section["groups"] if (g["method_label"], g["agent_label"]) == (method, agent)
    )
    return found


def test_a_gap_is_the_less_supervised_regime_less_the_other(tmp_path):
    write(tmp_path, "sac", SAC)
    write(tmp_path, "bc", BC)
    section = section_of(tmp_path)
    (gap,) = section["gaps"]
    assert (gap["from"], gap["to"], gap["runs"]) == ("bc", "sac", [3, 3])
    means = {name: found["mean"]["value"] for name, found in gap["scores"].items()}
    assert means["learned_performance"] == pytest.approx(1.5 / 3 - 1.0)
    assert means["average_performance"] == pytest.approx(1.1 / 3 - 2.5 / 3)
    assert means["forgetting"] == pytest.approx((0.2 + 0.2) / 3 - (0.4 + 0.1) / 3)
    # Reach: SAC forgets less (0.2 against 0.4); drawer-open: more (0.2 against 0.1).
    assert gap["probability_of_more_forgetting"] == 0.5


def test_the_gap_in_retention_is_of_tasks_that_both_learned(tmp_path):
    write(tmp_path, "sac", SAC)
    write(tmp_path, "bc", BC)
    section = section_of(tmp_path)
    (gap,) = section["gaps"]
    assert gap["tasks_learned_by_both"] == ["reach", "button-press"]
    # Only reach is left: what was learned half as well is retained equally, 0.3/0.5 and 0.6/1.0.
    assert gap["scores"]["retention"]["iqm"]["value"] == pytest.approx(0.0)
    retained = group(section, "finetune", "sac")["scores"]["retention"]["mean"]["value"]
    assert retained == pytest.approx((0.6 + 0.0) / 2)


def test_without_a_task_that_both_learned_retention_has_no_gap(tmp_path):
    write(tmp_path, "sac", np.array(SAC) / 2)
    write(tmp_path, "bc", BC)
    section = section_of(tmp_path)
    assert "retention" not in section["gaps"][0]["scores"]
    assert group(section, "finetune", "sac")["learned_little"]
    assert group(section, "finetune", "sac")["learned_share"] == 0.0
    assert not group(section, "finetune", "bc")["learned_little"]
    assert "little was learned" in " ".join(section["notes"])
    assert "finetune with sac (0% of tasks)" in " ".join(section["notes"])


def test_values_are_rliables_and_the_metrics_of_the_runs(tmp_path):
    section = section_of(write_study(tmp_path, {"finetune": 0.6}, seeds=range(5)))
    for found in section["groups"]:
        matrices = [
            json.loads((tmp_path / path / "results.json").read_text()) for path in found["runs"]
        ]
        metrics = [m["metrics"] for m in matrices]
        for name in ("average_performance", "learned_performance", "forgetting", "retention"):
            mean = found["scores"][name]["mean"]["value"]
            assert mean == pytest.approx(np.mean([one[name] for one in metrics]))
        r = np.array([m["performance_matrix"] for m in matrices])
        forgotten = np.diagonal(r, -1, 1, 2) - r[:, -1]
        assert found["scores"]["forgetting"]["iqm"]["value"] == pytest.approx(
            stats.trim_mean(forgotten, 0.25, axis=None)
        )


def test_intervals_hold_the_value_and_widen_with_the_spread(tmp_path):
    section = section_of(write_study(tmp_path, {"finetune": 0.6, "ewc": 0.1}, seeds=range(5)))
    widths = []
    for method in ("finetune", "ewc"):
        found = group(section, method, "sac")["scores"]["average_performance"]["mean"]
        assert found["low"] < found["value"] < found["high"]
        widths.append(found["high"] - found["low"])
    assert widths[0] > widths[1]


def test_a_gap_has_an_interval_about_as_wide_as_both_together(tmp_path):
    section = section_of(write_study(tmp_path, {"finetune": 0.6}, seeds=range(6)), reps=2000)
    name = "average_performance"
    sides = [group(section, "finetune", agent)["scores"][name]["mean"] for agent in ("bc", "sac")]
    gap = section["gaps"][0]["scores"][name]["mean"]
    assert gap["low"] < gap["value"] < gap["high"] < 0.0
    widths = [side["high"] - side["low"] for side in sides]
    assert gap["high"] - gap["low"] == pytest.approx(np.hypot(*widths), rel=0.1)
    assert section["gaps"][0]["probability_of_more_forgetting"] > 0.5


def test_two_runs_have_no_interval(tmp_path):
    write_study(tmp_path / "few", {"finetune": 0.5}, ["bc"], seeds=range(2))
    write_study(tmp_path / "many", {"finetune": 0.5}, ["sac"], seeds=range(3))
    section = section_of(tmp_path)
    few = group(section, "finetune", "bc")["scores"]["forgetting"]["iqm"]
    many = group(section, "finetune", "sac")["scores"]["forgetting"]["iqm"]
    gap = section["gaps"][0]["scores"]["forgetting"]["iqm"]
    assert few["low"] is few["high"] is gap["low"] is None and many["low"] is not None
    assert gap["value"] == pytest.approx(many["value"] - few["value"])
    notes = " ".join(section["notes"])
    assert "1 of 2 groups have fewer than 3 runs: no intervals" in notes
    assert "1 of 2 groups have fewer than 5 runs: rough intervals" in notes


def test_single_task_runs_of_a_regime_are_its_reference(tmp_path):
    slow, fast = [[0.0, 0.0, 1.0]] * 3, [[0.0, 1.0, 1.0]] * 3
    write(tmp_path, "sac", SAC, curves=fast)
    write(tmp_path, "sac", BC, method="single-task", curves=slow)
    write(tmp_path, "bc", BC, curves=fast)
    section = section_of(tmp_path)
    scores = group(section, "finetune", "sac")["scores"]
    expected = compute_metrics(
        SAC, find_curves(tmp_path / "sac--0"), find_curves(tmp_path / "sac-single-task-0")
    )
    for name in ("forward_transfer_auc", "plasticity"):
        assert scores[name]["mean"]["value"] == pytest.approx(expected[name])
    assert expected["forward_transfer_auc"] == pytest.approx((0.75 - 0.25) / 0.75)
    assert "forward_transfer_auc" not in group(section, "finetune", "bc")["scores"]
    (note,) = (note for note in section["notes"] if "GEM" in note)
    assert note.endswith("missing: bc")


def test_single_task_runs_with_other_options_are_a_reference_where_no_others_are(tmp_path):
    slow, fast = [[0.0, 0.0, 1.0]] * 3, [[0.0, 1.0, 1.0]] * 3
    plain, old = {"explore": "random"}, {"explore": "best-old-head"}
    write(tmp_path / "a", "sac", BC, method="single-task", curves=slow, agent_options=plain)
    write(tmp_path / "b", "sac", SAC, curves=fast, agent_options=old)
    section = section_of(tmp_path)
    found = {g["method"]: g["scores"] for g in section["groups"]}["finetune"]
    expected = (0.75 - 0.25) / 0.75
    assert found["forward_transfer_auc"]["mean"]["value"] == pytest.approx(expected)
    (note,) = (note for note in section["notes"] if "single-task" in note)
    assert note == (
        'transfer and plasticity are relative to single-task runs of sac (explore="random"), '
        'also those of sac (explore="best-old-head")'
    )

    write(tmp_path / "c", "sac", BC, method="single-task", agent_options={"explore_steps": 9})
    found = {g["method"]: g["scores"] for g in section_of(tmp_path)["groups"]}["finetune"]
    assert "forward_transfer_auc" not in found  # of which of the two?


def find_curves(path):
    ((run,), _) = find_runs([path])
    return run.curves


def test_options_that_differ_between_regimes_make_no_gap(tmp_path):
    write(tmp_path, "bc", BC, method="ewc", method_options={"strength": 1.0})
    write(tmp_path, "sac", SAC, method="ewc", method_options={"strength": 5.0})
    section = section_of(tmp_path)
    assert section["gaps"] == []
    assert "no gap for ewc: its options differ between the regimes" in section["notes"]


def test_variants_of_one_agent_have_no_gap_between_them(tmp_path):
    write(tmp_path / "a", "sac", SAC, agent_options={"lr": 1.0})
    write(tmp_path / "b", "sac", SAC, agent_options={"lr": 2.0})
    section = section_of(tmp_path)
    assert section["gaps"] == [] and "no gap" not in " ".join(section["notes"])
    assert [regime["name"] for regime in section["regimes"]] == [
        "reinforcement: sac (lr=1)",
        "reinforcement: sac (lr=2)",
    ]


def test_rungs_of_the_ladder_in_order_and_plug_ins_last(tmp_path):
    write_study(tmp_path, {"finetune": 0.5}, ["zoo", "sac", "offline-rl", "bc-stream", "bc"])
    section = section_of(tmp_path)
    assert [regime["name"] for regime in section["regimes"]] == [
        "supervised: bc",
        "supervised: bc-stream",
        "reinforcement: offline-rl",
        "reinforcement: sac",
        "zoo",
    ]
    ladder = ["bc", "bc-stream", "offline-rl", "sac", "zoo"]
    assert [(gap["from"], gap["to"]) for gap in section["gaps"]] == list(combinations(ladder, 2))


def test_rank_correlation_is_over_methods_that_both_have_without_references(tmp_path):
    def matrix(last):
        return [[0.0, 0.0], [1.0, 0.0], [last, 1.0]]

    ends = {
        "bc": {"finetune": 0.1, "ewc": 0.5, "replay": 0.9, "clone": 0.8, "si": 0.3},
        "sac": {"finetune": 0.2, "ewc": 0.1, "replay": 0.7, "clone": 0.9, "gem": 0.3},
    }
    for agent, methods in ends.items():
        for method, last in {**methods, "joint": 1.0, "single-task": 1.0}.items():
            write(tmp_path, agent, matrix(last), tasks=("a", "b"), method=method)
    found = {one["score"]: one for one in section_of(tmp_path)["rank_correlations"]}
    assert found.keys() == {"average_performance", "forgetting", "retention"}
    common = ["finetune", "clone", "ewc", "replay"]
    for one in found.values():
        assert one["methods"] == common and (one["from"], one["to"]) == ("bc", "sac")
        pair = [[ends[agent][method] for method in common] for agent in ("bc", "sac")]
        assert one["spearman"]["value"] == pytest.approx(stats.spearmanr(*pair).statistic)
        assert one["kendall"]["value"] == pytest.approx(stats.kendalltau(*pair).statistic)
        assert one["spearman"]["low"] == one["spearman"]["value"]  # all seeds are equal


def test_methods_that_all_do_the_same_have_no_rank(tmp_path):
    for agent in ("bc", "sac"):
        for method in ("ewc", "replay", "clone"):
            write(tmp_path, agent, BC, method=method)
    for found in section_of(tmp_path)["rank_correlations"]:
        assert found["spearman"] is None and found["kendall"] is None


def test_costs(tmp_path):
    write(tmp_path, "sac", SAC, parameters=100, ratios=[1.0, 1.0, 1.0])
    write(
        tmp_path,
        "sac",
        SAC,
        method="progressive",
        parameters=160,
        memory_bytes=7,
        ratios=[1.0, 2.0, 3.0],
    )
    write(tmp_path, "bc", BC, method="progressive", parameters=50)
    section = section_of(tmp_path)
    found = group(section, "progressive", "sac")
    assert found["cost"] == {"parameters": 160, "extra_parameters": 60, "memory_bytes": 7}
    assert found["scores"]["update_ratio"]["mean"]["value"] == pytest.approx(2.0)
    assert found["scores"]["learn_seconds"]["mean"]["value"] == pytest.approx(11.0)
    without = group(section, "progressive", "bc")
    assert without["cost"]["extra_parameters"] is None
    assert "update_ratio" not in without["scores"]


def test_the_same_runs_give_the_same_json(tmp_path):
    write_study(tmp_path, {"finetune": 0.5, "ewc": 0.2, "replay": 0.1})
    runs, left_out = find_runs([tmp_path])
    first, again, other = (
        json.dumps(compare(runs, left_out, reps=200, seed=seed), allow_nan=False)
        for seed in (0, 0, 1)
    )
    assert first == again != other
    backwards = compare(runs[::-1], left_out, reps=200)
    assert json.dumps(backwards) == first


def test_one_task(tmp_path):
    write(tmp_path, "sac", [[0.0], [0.8]], tasks=("reach",))
    write(tmp_path, "bc", [[0.0], [0.9]], tasks=("reach",))
    section = section_of(tmp_path)
    assert section["gaps"][0]["probability_of_more_forgetting"] is None
    assert section["gaps"][0]["scores"].keys() == {
        "learned_performance",
        "average_performance",
        "forgetting",
    }


def test_what_was_mixed_is_told(tmp_path):
    write(tmp_path, "bc", BC)
    write(tmp_path, "sac", SAC, steps_per_task=5000)
    runs, _ = find_runs([tmp_path])
    found = compare(runs, mix=["budget"], reps=50)
    (note,) = found["settings"]["notes"]
    assert "steps_per_task 1000 and 5000" in note
    assert found["sections"][0]["budget"]["steps_per_task"] == [1000, 5000]
    assert found["sections"][0]["budget"]["num_envs"] == 16


def write_alone(folder, successes):
    for seed, success in enumerate(successes):
        matrix = [[0.0] * 3, *([success] * 3 for _ in range(3))]
        curves = [[0.0, success]] * 3
        facts = {"method": "single-task", "agent": "sac", "seed": seed, "curves": curves}
        write_run(folder / f"alone-{seed}", make_results(matrix, **facts))


def width(found):
    return found["iqm"]["high"] - found["iqm"]["low"]


def test_the_noise_of_the_tasks_learned_alone_counts(tmp_path):
    for name, alone in (("steady", [0.6] * 3), ("noisy", [0.2, 0.6, 1.0])):
        write(tmp_path / name, "sac", SAC, curves=[[0.0, 0.5]] * 3)
        write_alone(tmp_path / name, alone)
    steady, noisy = (
        group(section_of(tmp_path / name), "finetune", "sac")["scores"]["forward_transfer_auc"]
        for name in ("steady", "noisy")
    )
    assert noisy["iqm"]["value"] == pytest.approx(steady["iqm"]["value"])
    assert width(steady) == 0.0  # all runs are equal
    assert width(noisy) > 0.1
    # Areas are 0.25 against 0.1, 0.3 or 0.5, so transfer lies between (0.25 - 0.5) / 0.5 and 1/6.
    assert -0.5 <= noisy["iqm"]["low"] < noisy["iqm"]["high"] <= 1 / 6


def test_the_noise_of_the_tasks_learned_alone_is_no_difference_from_fine_tuning(tmp_path):
    write(tmp_path, "sac", SAC, curves=[[0.0, 0.5]] * 3)
    write(tmp_path, "sac", SAC, curves=[[0.0, 0.5]] * 3, method="ewc")
    write_alone(tmp_path, [0.2, 0.6, 1.0])
    section = section_of(tmp_path)
    ewc = group(section, "ewc", "sac")
    assert width(ewc["scores"]["forward_transfer_auc"]) > 0.1
    assert ewc["over_finetune"]["forward_transfer_auc"]["iqm"] == {"value": 0, "low": 0, "high": 0}
    assert group(section, "finetune", "sac")["over_finetune"] == {}


def test_a_method_is_compared_with_fine_tuning_in_its_own_regime(tmp_path):
    write(tmp_path, "sac", SAC)
    write(tmp_path, "bc", BC)
    write(tmp_path, "sac", BC, method="ewc")
    (found,) = [g for g in section_of(tmp_path)["groups"] if g["over_finetune"]]
    assert (found["method"], found["agent"]) == ("ewc", "sac")
    forgetting = found["over_finetune"]["forgetting"]["mean"]["value"]
    assert forgetting == pytest.approx((0.4 + 0.1) / 3 - (0.2 + 0.2) / 3)
