"""Streams through the loop: rows, curves, methods, and what reads the results."""

import json
import shutil
from contextlib import closing

import numpy as np
import pytest
from PIL import Image
from toy_runs import metric_lines, results

from lifelong_rl.analysis.groups import group_runs, tell_apart
from lifelong_rl.analysis.runs import find_runs, read_run
from lifelong_rl.analysis.scores import decay, score_runs
from lifelong_rl.cli import main
from lifelong_rl.compatibility import find_refusal
from lifelong_rl.continual import METHODS
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.rendering import Renderer, RenderingError
from lifelong_rl.envs.tasks import get_task
from lifelong_rl.errors import UserError
from lifelong_rl.metrics.matrix import compute_metrics
from lifelong_rl.registry import AGENTS
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.evaluation import Evaluator
from lifelong_rl.runs.restore import load_agent
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.runs.sequence import task_labels
from lifelong_rl.runs.setup import prepare

SMALL = (
    *("--num-envs", "4", "--num-threads", "1", "--eval-episodes", "3", "--eval-points", "2"),
    *("--quiet", "--agent-options", "learning_starts=16", "hidden=[8]", "batch_size=8"),
)
AGAIN = """\
phases:
  - {env: reach, steps: 64}
  - {env: push, steps: 96}
  - {env: reach, steps: 64}
  - {env: [push, button-press], steps: 64}
"""
FREE = """\
name: free
steps: 64
task_free: true
phases:
  - env: reach
  - {env: reach, label: heavy, changes: {gravity: 2}}
"""


def run(folder, content, *words, name="mine.yaml"):
    path = folder / name
    path.write_text(content)
    code = main(["run", "--sequence", str(path), *SMALL, "--run-dir", str(folder / "run"), *words])
    return code, folder / "run"


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    code, path = run(tmp_path_factory.mktemp("again"), AGAIN)
    assert code == 0
    return path


def test_a_row_for_each_phase_and_a_column_for_each_task(again):
    found = results(again)
    assert found["sequence"] == "mine" and found["tasks"] == ["reach", "push", "button-press"]
    assert np.shape(found["performance_matrix"]) == (5, 3)
    assert [phase["label"] for phase in found["phases"]] == [
        "reach",
        "push",
        "reach-2",
        "push+button-press",
    ]
    assert [phase["tasks"] for phase in found["phases"]] == [[0], [1], [0], [1, 2]]
    curves = found["success_curves"]
    assert [curve["steps"] for curve in curves.values()] == [
        [0, 32, 64],
        [0, 48, 96],
        [0, 32, 64],
        [0, 32, 64],
    ]
    matrix = np.array(found["performance_matrix"])
    both = curves["push+button-press"]["success"]
    assert both[0] == pytest.approx(matrix[3, 1:].mean())
    assert both[-1] == pytest.approx(matrix[4, 1:].mean())


def test_metrics_are_those_of_the_phases(again):
    found = results(again)
    phases = [phase["tasks"] for phase in found["phases"]]
    expected = compute_metrics(found["performance_matrix"], [], phases=phases)
    assert found["metrics"] == expected
    last = metric_lines(again)[-1]["values"]
    assert last["average_performance"] == pytest.approx(expected["average_performance"])
    assert last["so_far/forgetting"] == pytest.approx(expected["forgetting"])
    assert metric_lines(again)[-1]["step"] == 64 + 96 + 64 + 64


def test_a_run_folder_needs_no_file_of_its_stream(again):
    (again.parent / "mine.yaml").rename(again.parent / "away.yaml")
    folder = RunFolder.open(again)
    agent, done = load_agent(prepare(folder.config), folder, None)
    assert done == 4
    found = results(again)
    setup = prepare(folder.config)
    with closing(Evaluator(setup.sequence, num_episodes=3, num_threads=1)) as evaluator:
        row = [evaluation.score for evaluation in evaluator.evaluate_all(agent.act)]
    assert row == found["performance_matrix"][-1]
    (again.parent / "away.yaml").rename(again.parent / "mine.yaml")


def test_results_of_a_stream_are_read_back(again):
    found = read_run(again)
    assert not found.is_plain and found.phase_steps == (64, 96, 64, 64)
    scores = score_runs([found])
    metrics = results(again)["metrics"]
    for name in ("average_performance", "learned_performance", "forgetting"):
        mean = np.mean([values[0] for values in scores[name].values()])
        assert mean == pytest.approx(metrics[name])
    assert list(scores["retention"]) == ["reach"]
    assert list(scores["forward_transfer"]) == ["push", "button-press"]
    assert {task: len(values) for task, values in decay([found]).items()} == {
        "reach": 2,
        "push": 1,
        "button-press": 1,
    }
    learned = sum(values[0] for values in scores["learn_seconds"].values())
    assert learned == pytest.approx(sum(found.learn_seconds))


def test_reports_and_comparisons_take_streams(again, tmp_path, capsys):
    assert main(["compare", str(again)]) == 0
    assert "reach" in capsys.readouterr().out
    files = str(tmp_path / "files")
    assert (
        main(["report", str(again), "--out", str(tmp_path / "report.html"), "--files", files]) == 0
    )
    page = (tmp_path / "report.html").read_text()
    assert '"starts": [0, 64, 160, 224, 288]' in page or '"starts":[0,64,160,224,288]' in page
    assert main(["eval", str(again), "--task", "button-press", "--episodes", "2", "--json"]) == 0
    capsys.readouterr()
    assert main(["eval", str(again), "--task", "reach", "--episodes", "2"]) == 0
    assert "after 4 of 4 tasks" in capsys.readouterr().out


def test_what_was_told_of_the_phases_tells_runs_apart(again, tmp_path):
    ways = {"told": {}, "one head": {"heads": [0, 0, 0]}, "untold": {}}
    for name, more in ways.items():
        shutil.copytree(again, tmp_path / name)
        found = {**results(again), **more}
        found["phases"][1]["announced"] = name != "untold"
        (tmp_path / name / "results.json").write_text(json.dumps(found))
    runs, left_out = find_runs([tmp_path])
    assert len(runs) == 3 and not left_out
    sections = group_runs(runs)
    told = dict(zip((s[0].runs[0].path.name for s in sections), tell_apart(sections), strict=True))
    assert "push 96 unannounced" in told["untold"] and "heads 0, 0, 0" in told["one head"]
    assert "unannounced" not in told["told"] and "heads" not in told["told"]


def test_joint_is_compared_with_methods_that_were_not_told(tmp_path):
    for method in ("finetune", "joint"):
        (tmp_path / method).mkdir()
        assert run(tmp_path / method, FREE, "--method", method, "--no-diagnostics")[0] == 0
    runs, _ = find_runs([tmp_path])
    (section,) = group_runs(runs)
    assert [group.method for group in section] == ["finetune", "joint"]


def test_a_stream_is_shuffled_as_any_sequence(tmp_path):
    orders = set()
    for order in range(6):
        config = RunConfig(sequence=f"stream:{json.dumps(PLAIN)}", order=order)
        orders.add(prepare(config).sequence.tasks)
    assert len(orders) > 3


def test_other_steps_are_those_of_the_phases_as_they_are_listed():
    content = {**PLAIN, "task_free": True, "assume_switch_every": 10}
    setup = prepare(RunConfig(sequence=f"stream:{json.dumps(content)}", steps_per_task=20))
    assert setup.phase_steps == (10,) * 6 and setup.config.steps_per_task == 20
    assert prepare(setup.config) == setup  # as a run goes on
    content["steps"] = 20
    setup = prepare(RunConfig(sequence=f"stream:{json.dumps(content)}"))
    assert setup.phase_steps == (10,) * 6 and prepare(setup.config) == setup


def test_phases_are_called_as_no_other_task_is():
    labels = task_labels(["a", "a", "a-2", "a", "a-2"])
    assert labels == ("a", "a-3", "a-2", "a-4", "a-2-2")
    assert task_labels(["reach", "push", "reach"]) == ("reach", "push", "reach-2")
    content = {"phases": [{"env": "reach"}, {"env": "reach"}, {"env": "push", "label": "reach-2"}]}
    setup = prepare(RunConfig(sequence=f"stream:{json.dumps(content)}"))
    assert setup.phase_labels == ("reach", "reach-3", "reach-2")


def test_a_phase_is_in_one_block():
    content = {
        "phases": [
            {"env": "reach"},
            {"env": "push", "announced": False},
            {"env": "button-press"},
            {"env": "drawer-open"},
            {"env": "reach", "label": "again", "announced": False},
        ]
    }
    setup = prepare(RunConfig(sequence=f"stream:{json.dumps(content)}"))
    assert [setup.block_of(k) for k in range(5)] == [
        *([range(0, 2)] * 2),
        range(2, 3),
        *([range(3, 5)] * 2),
    ]


PLAIN = {"phases": [{"env": "reach"}, {"env": "push"}, {"env": "button-press"}]}


def test_equal_streams_and_sequences_learn_the_same(tmp_path):
    """A stream of each task once is the sequence of these tasks, bit for bit."""
    plain = "steps: 64\nphases: [{env: reach}, {env: push}]\n"
    assert run(tmp_path, plain)[0] == 0
    words = ["run", "--sequence", "reach,push", "--steps-per-task", "64", *SMALL]
    assert main([*words, "--run-dir", str(tmp_path / "other")]) == 0
    one, other = results(tmp_path / "run"), results(tmp_path / "other")
    for found in (one, other):
        found.pop("cost"), found.pop("sequence")
    assert one == other
    states = [
        path / "checkpoints/task-002/state.safetensors"
        for path in (tmp_path / "run", tmp_path / "other")
    ]
    assert states[0].read_bytes() == states[1].read_bytes()


def test_nobody_is_told_of_a_switch(tmp_path, monkeypatch):
    from lifelong_rl.agents.sac import SAC

    begun = []
    begin_task = SAC.begin_task

    def note(agent, task_id, env):
        begun.append(task_id)
        begin_task(agent, task_id, env)

    monkeypatch.setattr(SAC, "begin_task", note)
    code, path = run(tmp_path, FREE)
    assert code == 0 and begun == [0]
    found = results(path)
    assert found["heads"] == [0, 0]
    assert np.shape(found["performance_matrix"]) == (3, 2)
    assert [phase["announced"] for phase in found["phases"]] == [True, False]
    assert sorted(p.name for p in (path / "checkpoints").iterdir()) == ["task-000", "task-002"]


def test_methods_that_have_to_be_told_are_refused(tmp_path, capsys):
    code, _ = run(tmp_path, FREE, "--method", "ewc")
    assert code == 2
    error = capsys.readouterr().err
    assert "'ewc' has to be told where a task ends" in error and " finetune or " in error
    assert not (tmp_path / "run").exists()
    assert run(tmp_path, FREE, "--method", "shrink-and-perturb")[0] == 2
    assert "'shrink-and-perturb' has to be told" in capsys.readouterr().err
    counts = ("--method", "shrink-and-perturb", "--method-options", "every=5")
    (tmp_path / "counts").mkdir()
    assert run(tmp_path / "counts", FREE, *counts)[0] == 0
    told = FREE + "assume_switch_every: 40\n"
    assert run(tmp_path, told, "--method", "ewc")[0] == 0


@pytest.mark.parametrize(
    ("method", "options", "acts"),
    [
        ("l2-init", {}, True),
        ("c-chain", {}, True),
        ("reset", {}, False),
        ("reset", {"every": 5}, True),
        ("l2-init+reset", {"reset.every": 5}, True),
        ("l2-init+reset", {"l2-init.strength": 5}, False),
    ],
)
def test_which_methods_act_where_nothing_is_announced(method, options, acts):
    free = {"phases": [{"env": "reach"}, {"env": "push"}], "task_free": True}
    sequence = f"stream:{json.dumps(free)}"
    config = RunConfig(sequence=sequence, method=method, method_options=options)
    assert (prepare(config).refusal is None) == acts


def test_no_old_head_explores_where_nothing_is_announced():
    free = {"phases": [{"env": "reach"}, {"env": "push"}], "task_free": True}
    options = {"explore": "best-old-head"}
    setup = prepare(RunConfig(sequence=f"stream:{json.dumps(free)}", agent_options=options))
    refused = pytest.raises(UserError, match="there is one head only")
    with closing(setup.make_env(0)) as env, refused as refusal:
        setup.build_agent(env)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "method", ["single-task", "progressive", "packnet", "den", "lora", "soft-sharing", "componet"]
)
def test_methods_that_choose_a_part_for_a_task_learn_one_at_a_time(tmp_path, capsys, method):
    """The second task of a phase would not be learned."""
    code, path = run(tmp_path, AGAIN, "--method", method)
    assert code == 2 and not path.exists()
    assert "of the tasks of phase 4 of 'mine' only the first" in capsys.readouterr().err
    free = {"phases": [{"env": ["reach", "push"]}], "task_free": True}
    config = RunConfig(sequence=f"stream:{json.dumps(free)}", method=method)
    assert prepare(config).refusal is None  # it has one part for all


def test_too_short_a_phase_is_refused_before_the_first_begins(tmp_path, capsys):
    code, path = run(tmp_path, AGAIN.replace("steps: 96", "steps: 12"))
    assert code == 2 and not path.exists()
    assert "12 steps per task are not more than the 16 without an update" in capsys.readouterr().err


def test_changes_of_what_is_not_there_are_refused_before_the_first_phase(tmp_path, capsys):
    content = FREE.replace("gravity: 2", "mass/nose: 2").replace("task_free: true\n", "")
    code, path = run(tmp_path, content)
    assert code == 2 and not path.exists()
    assert "the changes of 'heavy': unknown body 'nose'" in capsys.readouterr().err


def test_a_changed_stream_is_another_run(tmp_path, capsys):
    assert run(tmp_path, FREE)[0] == 0
    code, _ = run(tmp_path, FREE.replace("gravity: 2", "gravity: 3"))
    assert code == 2
    assert "holds another run" in capsys.readouterr().err


@pytest.mark.parametrize(
    "method", [name for name in METHODS.names() if name != "generative-replay"]
)
def test_every_method_takes_up_a_task_again(tmp_path, method):
    if find_refusal(METHODS, method, AGENTS, "sac") is not None:
        return  # it goes with other agents, whose sequences have no phases
    content = AGAIN if METHODS.get(method).learns_several else AGAIN.replace("[push, ", "[")
    few = ("--method-options", "updates=20") if method == "reset-and-distill" else ()
    code, path = run(tmp_path, content, "--method", method, *few, "--no-diagnostics")
    assert code == 0
    folder = RunFolder.open(path)
    setup = prepare(folder.config)
    before, after = (
        load_agent(setup, folder, name)[0].components["actor"].module.state_dict()
        for name in ("task-002", "task-003")
    )
    assert any(not np.array_equal(before[name], after[name]) for name in before)


def test_returns_are_measured_where_there_is_no_range(tmp_path, capsys):
    content = (
        "steps: 64\nphases:\n"
        "  - {env: {id: Reacher-v5, score_range: null}}\n"
        "  - {env: {id: Reacher-v5, score_range: null}, label: strong, changes: {damping: 0.2}}\n"
    )
    code, path = run(tmp_path, content)
    assert code == 0
    found = results(path)
    assert found["measures"] == ["return", "return"]
    assert np.max(found["performance_matrix"]) < 0
    np.testing.assert_allclose(found["performance_matrix"], found["return_matrix"], rtol=1e-5)
    metrics = found["metrics"]
    assert metrics["retention"] is None and metrics["average_performance"] < 0
    capsys.readouterr()
    assert main(["compare", str(path)]) == 0
    told = capsys.readouterr().out
    assert "relative return" in told and "0 is the lowest of these runs" in told
    assert main(["report", str(path), "--out", str(tmp_path / "report.html")]) == 0


def test_success_and_returns_have_no_mean(tmp_path):
    content = (
        "steps: 64\nphases:\n"
        "  - {env: {id: Reacher-v5, score_range: null}}\n"
        "  - {env: {id: InvertedPendulum-v5, success: 950}}\n"
    )
    code, path = run(tmp_path, content)
    assert code == 0
    found = results(path)
    assert found["measures"] == ["return", "success"]
    assert {v for k, v in found["metrics"].items() if k != "retention_per_task"} == {None}
    assert "average_performance" not in metric_lines(path)[-1]["values"]
    assert main(["compare", str(path)]) == 0


def test_a_task_without_success_is_told_from_one_without_a_score(tmp_path):
    setup = prepare(RunConfig(sequence="gym:Reacher-v5"))
    assert setup.sequence.measures == ("score",)
    with pytest.raises(UserError, match="unknown environment 'Reecher-v5'"):
        prepare(RunConfig(sequence="gym:Reecher-v5"))


def test_tasks_that_take_their_pictures_themselves_are_filmed(tmp_path, capsys):
    try:
        Renderer(BatchEnv(get_task("reach"), 1)).close()
    except RenderingError as error:
        pytest.skip(str(error))
    content = (
        "steps: 64\nphases:\n  - {env: {id: Pusher-v5, kwargs: {max_episode_steps: 6}}}\n"
        "  - {env: reach}\n"
    )
    code, path = run(tmp_path, content)
    assert code == 0
    words = ["record", "--run-dir", str(path)]
    small = ["--width", "64", "--height", "48"]  # of a task that takes fewer numbers than another
    assert main([*words, "--task", "reach", "--out", str(tmp_path / "own.gif"), *small]) == 0
    assert main([*words, "--film", str(tmp_path / "film.gif"), *small]) == 0
    with Image.open(tmp_path / "film.gif") as clip:  # a second of one is a second of the other
        assert clip.n_frames == 51 and clip.width > 2 * 64
    words += ["--task", "Pusher-v5"]
    assert main([*words, "--film", str(tmp_path / "b.gif"), "--height", "7"]) == 2
    assert "height must be an even number of 32 to 1600, not 7" in capsys.readouterr().err
    words += ["--out", str(tmp_path / "clip.gif")]
    assert main([*words, "--width", "64"]) == 2
    assert "takes its pictures itself; leave out --width" in capsys.readouterr().err
    assert main(words) == 0
    with Image.open(tmp_path / "clip.gif") as clip:
        assert clip.n_frames == 6 and clip.size == (480, 480)
