"""Runs on disk: found and left out, kept apart where they differ, grouped by what they are."""

import json
import shutil

import numpy as np
import pytest
from made_runs import TASKS, make_results, write_run

from lifelong_rl.analysis.groups import group_runs, note_mixtures, tell_apart
from lifelong_rl.analysis.runs import find_runs
from lifelong_rl.errors import UserError

R = [[0.0, 0.0, 0.0], [0.9, 0.0, 0.0], [0.6, 1.0, 0.0], [0.3, 0.5, 0.8]]


@pytest.fixture
def add(tmp_path):
    """Writes a run into a folder of its own."""

    def write(name, *, order=None, **facts):
        return write_run(tmp_path / name, make_results(R, **facts), order=order)

    return write


def reasons(left_out):
    return {one.path.name: one.reason for one in left_out}


def groups_of(*paths):
    runs, left_out = find_runs(paths)
    assert not left_out
    return group_runs(runs)


def test_a_run_is_read_as_it_was_written(add):
    path = add(
        "one",
        agent="bc",
        method="ewc",
        method_options={"strength": 5.0, "floor": 0.0},
        seed=3,
        order=7,
        ratios=[1.5, None, 2.0],
        memory_bytes=12,
        curves=[[0.0, 0.4, 0.9], [0.0, 1.0], [0.1, 0.8]],
    )
    ((run,), left_out) = find_runs([path])
    assert not left_out
    np.testing.assert_array_equal(run.matrix, R)
    assert (run.agent, run.method, run.seed, run.order) == ("bc", "ewc", 3, 7)
    assert run.tasks == TASKS and run.method_options == {"strength": 5.0, "floor": 0.0}
    assert run.budget == {
        "steps_per_task": 1000,
        "num_envs": 16,
        "eval_episodes": 50,
        "curve_episodes": 50,  # of before curves had their own number
        "eval_points": 10,
        "labels": "all",
    }
    assert run.update_ratios[::2] == (1.5, 2.0) and np.isnan(run.update_ratios[1])
    assert run.curves[0].steps == (0, 500, 1000) and run.curves[0].success == (0.0, 0.4, 0.9)
    assert run.learn_seconds == (10.0, 11.0, 12.0) and run.memory_bytes == 12


def test_what_came_of_each_episode_is_read_once_it_makes_the_matrix(add):
    told = [[f"{'1' * round(10 * share):0<10}" for share in row] for row in R]
    (run,), _ = find_runs([add("good", episodes=told, eval_starts="test", protocol="v1")])
    assert (run.eval_starts, run.protocol) == ("test", "v1")
    np.testing.assert_allclose(run.outcomes.mean(axis=-1), R)
    assert run.outcomes[3, 0].tolist() == [True] * 3 + [False] * 7
    (plain,), _ = find_runs([add("plain")])
    assert (plain.eval_starts, plain.protocol, plain.outcomes) == ("validation", None, None)
    (of_scores,), _ = find_runs([add("scores", episodes=[[[0.5] * 4] * 3] * 4)])
    assert of_scores.outcomes is None
    told[0][0] = "1000000000"
    runs, (broken,) = find_runs([add("other", episodes=told)])
    assert not runs and "episodes that are not those of the matrix" in broken.reason


def test_runs_from_before_an_option_came_or_went_are_what_they_were(add):
    """Or seeds from before and after would be two methods, one of them without a reference."""
    before = add("before", method_options={"scope": "policy"}, seed=0)
    ((group,),) = groups_of(before, add("after", seed=1))
    assert [run.seed for run in group.runs] == [0, 1] and group.method_label == "finetune"
    before = add("former", method="ewc", method_options={"strength": 1.0})
    after = add("now", method="ewc", method_options={"strength": 1.0, "floor": 1e-7})
    (groups,) = groups_of(before, after)
    assert [group.method_label for group in groups] == ["ewc (floor=0)", "ewc (floor=1e-07)"]


def test_runs_are_found_at_any_depth_and_each_once(add, tmp_path):
    add("a", seed=0)
    add("deep/er/b", seed=1)
    inside = add("c", seed=2)
    shutil.copytree(inside, inside / "checkpoints" / "task-001")
    (tmp_path / "notes").mkdir()
    runs, left_out = find_runs([tmp_path, tmp_path / "a", tmp_path / "c" / ".." / "deep"])
    assert [run.seed for run in runs] == [0, 2, 1] and not left_out


@pytest.mark.parametrize("updates", [None, [], [None], [{"task": "reach", "ratio": None}]])
def test_runs_from_before_updates_were_timed(add, updates):
    path = add("old")
    results = json.loads((path / "results.json").read_text())
    results["cost"]["updates"] = updates
    (path / "results.json").write_text(json.dumps(results))
    ((run,), _) = find_runs([path])
    assert np.isnan(run.update_ratios).all()


def test_what_cannot_be_compared_is_left_out_with_its_reason(add, tmp_path):
    add("good")
    for name, status in [
        ("killed", None),
        ("running", '{"status": "running", "message": ""}'),
        ("failed", '{"status": "failed", "message": "task 2: the loss of \'actor\' is nan"}'),
        ("odd", "[1]"),
    ]:
        path = add(name)
        (path / "results.json").unlink()
        (path / "status.json").unlink()
        if status is not None:
            (path / "status.json").write_text(status)
    (add("torn") / "results.json").write_text('{"sequence": "ar')
    (add("list") / "results.json").write_text("[1, 2]")
    (add("binary") / "results.json").write_bytes(b"\xff\xfe\x00")
    (add("foreign") / "results.json").write_text('{"accuracy": 0.9}')
    (add("config") / "config.yaml").write_text("optimiser: adam\n")
    (tmp_path / "no-config").mkdir()
    (tmp_path / "no-config" / "results.json").write_text("{}")
    (tmp_path / "a.log").write_text("x")
    (tmp_path / "empty").mkdir()
    runs, left_out = find_runs([tmp_path, tmp_path / "a.log", tmp_path / "empty"])
    assert [run.path.name for run in runs] == ["good"]
    found = reasons(left_out)
    assert found["killed"] == found["running"]
    assert found["odd"].endswith("status.json: it is [1], not an object")
    assert found["running"] == "not finished: still running, or killed"
    assert found["failed"] == "not finished: failed, task 2: the loss of 'actor' is nan"
    assert found["torn"].startswith("cannot read ")
    assert found["binary"].startswith("cannot read ")
    assert found["list"].endswith("results.json: it is [1, 2], not an object")
    assert found["foreign"].endswith("results.json: it lacks 'sequence'")
    assert found["config"].startswith("unknown option 'optimiser'")
    assert found["no-config"].endswith("holds no run (no config.yaml)")
    assert (found["a.log"], found["empty"]) == ("is not a folder", "holds no run")
    assert all(len(reason.splitlines()) == 1 for reason in found.values())


def broken(*path_and_value):
    *path, value = path_and_value

    def break_it(results):
        inside = results
        for key in path[:-1]:
            inside = inside[key]
        if value is None:
            del inside[path[-1]]
        else:
            inside[path[-1]] = value

    return break_it


@pytest.mark.parametrize(
    "break_it, expected",
    [
        (broken("performance_matrix", R[:3]), "a matrix of (3, 3) for 3 tasks"),
        (broken("performance_matrix", [[1.0], [1.0, 2.0]]), "inhomogeneous shape"),
        (broken("performance_matrix", 1, 1, float("nan")), "NaN is not JSON"),
        (broken("performance_matrix", 1, 1, 42.0), "success outside [0, 1]"),
        (broken("success_curves", "reach", None), "lacks 'reach'"),
        (broken("success_curves", "reach", "steps", [0, 5]), "a success curve of (2,) steps and"),
        (broken("success_curves", "reach", "steps", [0, 5, 5]), "goes back"),
        (broken("success_curves", "reach", "success", [0, 5, 0]), "outside [0, 1]"),
        (broken("budget", "num_envs", None), "lacks 'num_envs'"),
        (broken("cost", "seconds_per_task", []), "lacks 'reach'"),
        (broken("cost", "seconds_per_task", 0, "learn", float("inf")), "Infinity is not JSON"),
        (broken("cost", "updates", [{"task": "reach", "ratio": "x"}]), "could not convert"),
        (broken("cost", "updates", 3), "not iterable"),
        (broken("seed", "three"), "seed is 'three', not a whole number"),
        (broken("agent_options", 3), "agent_options is 3, not an object"),
        (broken("versions", None), "lacks 'versions'"),
    ],
)
def test_broken_results(tmp_path, break_it, expected):
    results = make_results(R)
    path = write_run(tmp_path / "run", results)
    break_it(results)
    (path / "results.json").write_text(json.dumps(results))
    runs, (one,) = find_runs([path])
    assert not runs and expected in one.reason and len(one.reason.splitlines()) == 1


def test_any_value_of_another_kind_is_left_out_and_named(tmp_path):
    """Every value of the results in turn, so that none of them can stop a comparison."""

    def places(node, path=()):
        yield path
        inside = node.items() if isinstance(node, dict) else ()
        inside = enumerate(node[:1]) if isinstance(node, list) else inside
        for key, value in inside:
            yield from places(value, (*path, key))

    whole = make_results(R, ratios=[1.0, 1.5, 2.0])
    path = write_run(tmp_path / "run", whole)
    for where in list(places(whole))[1:]:
        for value in (None, "x", -1.5, 10**400, True, [], {}, [[1]], {"x": 1}):
            results = json.loads(json.dumps(whole))
            inside = results
            for key in where[:-1]:
                inside = inside[key]
            inside[where[-1]] = value
            (path / "results.json").write_text(json.dumps(results))
            runs, left_out = find_runs([path])
            assert len(runs) + len(left_out) == 1
            for one in left_out:
                assert f"{path / 'results.json'}: " in one.reason
                assert len(one.reason.splitlines()) == 1


def test_a_copy_of_a_run_is_no_second_run(add, tmp_path):
    add("one", seed=4)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    add("three", seed=4, agent_options={"lr": 1.0})
    runs, (copy,) = find_runs([tmp_path])
    assert len(runs) == 2
    assert copy.path.name == "two" and copy.reason == f"the same run, seed 4, as {tmp_path / 'one'}"


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"there is no folder .*nowhere"):
        find_runs([tmp_path / "nowhere"])


@pytest.mark.parametrize(
    "kind, one, other, told",
    [
        ("mujoco", {"mujoco": "3.17.0"}, {"mujoco": "3.18.0"}, "MuJoCo 3.17.0 and 3.18.0"),
        ("tasks", {"version": "v0"}, {"version": "v1"}, "reach v0 and v1, drawer-open v0 and v1"),
        ("budget", {}, {"steps_per_task": 2000}, "steps_per_task 1000 and 2000"),
        ("budget", {"curve_episodes": 20}, {}, "curve_episodes 20 and 50"),
        ("budget", {"eval_starts": "test"}, {}, "eval_starts test and validation"),
    ],
)
def test_what_differs_has_sections_unless_it_may_be_mixed(add, tmp_path, kind, one, other, told):
    add("a", agent="bc", **one)
    add("b", agent="sac", **other)
    add("c", agent="sac", **one)
    add("elsewhere", sequence="arm10", **other)
    runs, _ = find_runs([tmp_path])
    others = [name for name in ("mujoco", "tasks", "budget") if name != kind]
    for mix in ((), others):
        sections = group_runs(runs, mix)
        found = [{run.path.name for group in groups for run in group.runs} for groups in sections]
        assert found == [{"elsewhere"}, {"a", "c"}, {"b"}]
        (line,) = note_mixtures(sections, mix)
        assert line.startswith("arm3: the ") and told in line and f"--mix {kind}" in line
        alone, first, second = tell_apart(sections, mix)
        assert alone == ""
        names, values = zip(*(part.rsplit(" ", 1) for part in first.split(", ")), strict=True)
        assert [f"{n} {v}" for n, v in zip(names, values, strict=True)] == first.split(", ")
        for name, value, other_value in zip(
            names, values, (part.rsplit(" ", 1)[1] for part in second.split(", ")), strict=True
        ):
            assert f"{name} {value} and {other_value}" in line
    sections = group_runs(runs, [kind])
    assert [sum(len(group.runs) for group in groups) for groups in sections] == [1, 3]
    (line,) = note_mixtures(sections, [kind])
    assert line.startswith("arm3: ") and told in line and "--mix" not in line
    assert tell_apart(sections, [kind]) == ["", ""]


def test_different_sequences_need_not_have_the_same_budget(add, tmp_path):
    add("a")
    add("b", sequence="arm10", steps_per_task=20000)
    sections = group_runs(find_runs([tmp_path])[0])
    assert note_mixtures(sections) == [] and tell_apart(sections) == ["", ""]


def test_groups_hold_runs_that_differ_in_their_seed_only(add, tmp_path):
    for agent in ("sac", "bc"):
        for method in ("single-task", "agem", "finetune"):
            for seed in (2, 0, 1):
                add(f"{agent}-{method}-{seed}", agent=agent, method=method, seed=seed)
    (groups,) = groups_of(tmp_path)
    assert [(group.method_label, group.agent_label) for group in groups] == [
        (method, agent) for method in ("finetune", "agem", "single-task") for agent in ("bc", "sac")
    ]
    assert all([run.seed for run in group.runs] == [0, 1, 2] for group in groups)


def test_other_options_make_another_group_and_its_label_tells_them(add, tmp_path):
    shared, wide = {"scope": "policy"}, {"hidden": [128, 128]}
    for k, strength in enumerate((1000, 1000.0, 10.0)):
        own = {**shared, "strength": strength}
        add(f"m{k}", seed=k, method="ewc", method_options=own, agent_options=wide)
    add("a", seed=9, method="agem", agent_options={"hidden": [64, 64]})
    (groups,) = groups_of(tmp_path)
    assert {(group.method_label, group.agent_label): len(group.runs) for group in groups} == {
        ("agem", "sac (hidden=[64,64])"): 1,
        ("ewc (strength=10)", "sac (hidden=[128,128])"): 1,
        ("ewc (strength=1000)", "sac (hidden=[128,128])"): 2,
    }


def test_options_that_came_later_make_no_other_group(add, tmp_path):
    add("before", agent_options={"gamma": 0.97, "policy_delay": 1})
    now = {"activation": "relu", "explore": "random", "explore_steps": None, "max_grad_norm": None}
    add("now", seed=1, agent_options={"gamma": 0.97, "policy_delay": 1, **now})
    (groups,) = groups_of(tmp_path)
    assert [(group.agent_label, len(group.runs)) for group in groups] == [("sac", 2)]


def test_an_option_that_only_some_have_tells_them_apart(add, tmp_path):
    add("a", method="si")
    add("b", method="si", method_options={"decay": None})
    (groups,) = groups_of(tmp_path)
    assert [group.method_label for group in groups] == ["si", "si (decay=null)"]


def test_what_joint_changes_of_the_agent_makes_no_other_regime(add, tmp_path):
    for method, reset in (("finetune", True), ("joint", False)):
        add(method, method=method, agent_options={"lr": 1e-3, "reset_buffer": reset})
    (groups,) = groups_of(tmp_path)
    assert {group.agent_label for group in groups} == {"sac"}
    add("another", agent_options={"lr": 1e-3, "reset_buffer": False})
    (groups,) = groups_of(tmp_path)  # now there are two that joint may belong to
    assert {(group.method, group.agent_label) for group in groups} == {
        ("finetune", "sac (reset_buffer=true)"),
        ("finetune", "sac (reset_buffer=false)"),
        ("joint", "sac (reset_buffer=false)"),
    }


def test_orders_of_tasks_are_compared_apart(add, tmp_path):
    add("a")
    add("b", tasks=TASKS[::-1], order=3)
    assert [groups[0].runs[0].order for groups in groups_of(tmp_path)] == [3, None]
