"""Rows of the leaderboard: made of runs, read back the same, refused where they do not follow."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import COMMIT, CPU, TASKS, VERSIONS, make_row, write_trials, write_v1_run

from lifelong_rl.analysis.rows import Row, SeedRun, find_problems, read_row, read_rows, write_row
from lifelong_rl.analysis.runs import read_run
from lifelong_rl.analysis.submission import make_rows, read_trials
from lifelong_rl.cli import main
from lifelong_rl.errors import UserError
from lifelong_rl.runs.protocol import Protocol, read_protocol
from lifelong_rl.studies.tune import TRIALS


@pytest.fixture(scope="module")
def row(tmp_path_factory) -> Row:
    return make_row(tmp_path_factory.mktemp("runs"), "ewc", kept=0.8)


def test_a_row_keeps_what_its_runs_tell(row, tmp_path):
    assert (row.name, row.options, row.seeds) == ("arm10-sac-ewc", "default", [*range(100, 105)])
    assert (row.commit, row.processors) == (COMMIT, [CPU])
    assert (row.budget["eval_starts"], row.budget["eval_episodes"]) == ("test", 50)
    assert row.method_options["strength"] == 1e4 and row.tuning is None
    run = read_run(write_v1_run(tmp_path / "run", 102, "ewc", kept=0.8))
    np.testing.assert_array_equal(row.outcomes[2], run.outcomes)
    np.testing.assert_allclose(row.outcomes[2].mean(axis=-1), run.matrix)
    own = row.runs[2]
    assert own.cpu_seconds == pytest.approx(300) and own.memory_bytes == 2_000_000
    assert own.curve_areas == [curve.area for curve in run.curves]


def test_the_command_writes_rows_that_read_back_the_same(tmp_path, capsys, row):
    for method, kept in (("finetune", 0.2), ("ewc", 0.8)):
        for seed in range(100, 105):
            write_v1_run(tmp_path / "runs" / f"{method}{seed}", seed, method, kept=kept)
    out = tmp_path / "rows"
    assert main(["submit", str(tmp_path / "runs"), "--out", str(out)]) == 0
    assert "ewc on arm10-sac, default, 5 seeds" in capsys.readouterr().out
    assert [found.name for found in read_rows(out)] == ["arm10-sac-ewc", "arm10-sac-finetune"]
    assert read_row(out / "arm10-sac-ewc.json") == row
    assert main(["submit", str(tmp_path / "runs"), "--out", str(out)]) == 2
    assert "is there already; add --overwrite" in capsys.readouterr().err
    assert main(["submit", str(tmp_path / "runs"), "--out", str(out / "one.json")]) == 2
    assert "these runs make 2 rows; give a folder" in capsys.readouterr().err


NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=6)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60)
OPTIONS = st.dictionaries(NAMES, NUMBERS | NAMES | st.none() | st.lists(st.integers(0, 9)))
OUTCOMES = st.lists(st.lists(st.text("01", max_size=5), max_size=3), max_size=3)
RUNS = st.builds(
    SeedRun,
    seed=st.integers(0, 2**32 - 1),
    episodes=OUTCOMES,
    curve_areas=st.lists(st.floats(0, 1), max_size=3),
    cpu_seconds=st.floats(0, 1e9),
    parameters=st.integers(0, 2**60),
    memory_bytes=st.integers(0, 2**60),
)
TUNINGS = st.fixed_dictionaries(
    {
        "tuning": st.fixed_dictionaries(
            {"metric": NAMES, "seeds": st.lists(st.integers(0, 9)), "eval_starts": NAMES}
        ),
        "trials": st.lists(
            st.fixed_dictionaries(
                {
                    "number": st.integers(0, 9),
                    "params": OPTIONS,
                    "state": NAMES,
                    "value": st.none() | st.floats(0, 1),
                }
            ),
            max_size=3,
        ),
    }
)
ROWS = st.builds(
    Row,
    protocol=NAMES,
    track=NAMES,
    method=NAMES,
    options=NAMES,
    method_options=OPTIONS,
    agent_options=OPTIONS,
    budget=OPTIONS,
    tasks=st.lists(NAMES, max_size=3),
    task_versions=st.dictionaries(NAMES, NAMES),
    versions=st.dictionaries(NAMES, NAMES | st.none()),
    commit=NAMES,
    processors=st.lists(NAMES),
    tuning=st.none() | TUNINGS,
    runs=st.lists(RUNS, max_size=3),
)


@given(ROWS)
@settings(deadline=None, max_examples=50)
def test_any_row_reads_back_as_it_was_written(tmp_path_factory, any_row):
    path = tmp_path_factory.mktemp("rows") / "row.json"
    write_row(path, any_row)
    assert read_row(path) == any_row


def other_run(row: Row, **changes: Any) -> list[SeedRun]:
    return [*row.runs[:-1], replace(row.runs[-1], **changes)]


def spoil(row: Row) -> list[list[str]]:
    first, *others = row.runs[-1].episodes
    return [["x" + first[0][1:], *first[1:]], *others]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda r: {"protocol": "v9"}, "unknown protocol 'v9'"),
        (lambda r: {"track": "arm5-sac"}, "protocol v1 reports no track 'arm5-sac' but arm10-sac"),
        (lambda r: {"tasks": r.tasks[::-1]}, "its tasks are peg-unplug, "),
        (
            lambda r: {"task_versions": {**r.task_versions, "reach": "v1"}},
            "versions of tasks: reach 'v1', not 'v0'",
        ),
        (
            lambda r: {"agent_options": {**r.agent_options, "gamma": 0.9}},
            "options of the agent: gamma 0.9, not 0.97",
        ),
        (
            lambda r: {"budget": {**r.budget, "steps_per_task": 40_000}},
            "fields of its runs: steps_per_task 40000, not 20000",
        ),
        (
            lambda r: {"budget": {**r.budget, "eval_starts": "validation"}},
            "fields of its runs: eval_starts 'validation', not 'test'",
        ),
        (lambda r: {"versions": {"mujoco": "3.18.0"}}, "versions: mujoco '3.18.0', not '3.17.0'"),
        (lambda r: {"commit": r.commit + "+changes"}, "+changes', not one of a checkout without"),
        (lambda r: {"options": "best"}, "options are 'best', neither default nor tuned"),
        (
            lambda r: {"method_options": {**r.method_options, "strength": 3.0}},
            "options of the method that are not the defaults: strength 3.0, not 10000.0",
        ),
        (lambda r: {"options": "tuned"}, "options are tuned and there is no tuning"),
        (
            lambda r: {"method": "replay", "method_options": {"per_task": 10_000}},
            "per_task is 10000; memories have at most 1000 rows a task",
        ),
        (lambda r: {"runs": r.runs[1:]}, "seeds are 101, 102, 103, 104; a row has the first of"),
        (lambda r: {"runs": r.runs[::-1]}, "seeds are 104, 103, 102, 101, 100; a row has"),
        (lambda r: {"runs": [*r.runs, r.runs[0]]}, "seeds are 100, 101, 102, 103, 104, 100;"),
        (lambda r: {"runs": other_run(r, seed=3)}, "seeds are 100, 101, 102, 103, 3; a row has"),
        (lambda r: {"runs": r.runs[:1]}, "a row has at least 2 seeds, not 1"),
        (
            lambda r: {"runs": other_run(r, episodes=r.runs[0].episodes[1:])},
            "seed 104 does not have 11 rows of 10 entries with what came of 50 episodes",
        ),
        (lambda r: {"runs": other_run(r, episodes=spoil(r))}, "seed 104 does not have 11 rows"),
        (lambda r: {"runs": other_run(r, curve_areas=[0.5] * 9)}, "mean success of 10 curves"),
        (lambda r: {"runs": other_run(r, curve_areas=[1.5] * 10)}, "mean success of 10 curves"),
        (lambda r: {"runs": other_run(r, cpu_seconds=0.0)}, "seed 104 does not say what it cost"),
        (lambda r: {"processors": []}, "no processor is told"),
    ],
)
def test_each_way_of_not_following_is_told(row, change, message):
    assert not [*find_problems(row)]
    assert message in "; ".join(find_problems(replace(row, **change(row))))


def test_options_that_came_later_have_their_defaults(row, monkeypatch):
    """As if `decay` had come after the version was frozen: older rows lack it."""
    frozen = read_protocol("v1").frozen()
    frozen["methods"]["ewc"].pop("decay")
    frozen["tracks"]["arm10-sac"]["agent_options"].pop("tau")
    monkeypatch.setattr(Protocol, "frozen", lambda self: frozen)
    assert not [*find_problems(row)]
    older = {name: value for name, value in row.method_options.items() if name != "decay"}
    assert not [*find_problems(replace(row, method_options=older))]
    other = replace(row, method_options={**row.method_options, "decay": 0.5})
    assert "the defaults: decay 0.5, not None" in "; ".join(find_problems(other))
    agent = replace(row, agent_options={**row.agent_options, "tau": 0.5})
    assert "options of the agent: tau 0.5, not 0.01" in "; ".join(find_problems(agent))
    missing = {name: value for name, value in older.items() if name != "strength"}
    told = "; ".join(find_problems(replace(row, method_options=missing)))
    assert "strength None, not 10000.0" in told


def test_the_board_refuses_what_does_not_follow_all_at_once(row, tmp_path):
    write_row(tmp_path / "arm10-sac-ewc.json", replace(row, commit="none"))
    write_row(tmp_path / "other.json", row)
    with pytest.raises(UserError) as refused:
        read_rows(tmp_path)
    assert "arm10-sac-ewc.json: the commit is 'none'" in str(refused.value)
    assert "other.json: the file of this row is called arm10-sac-ewc.json" in str(refused.value)
    (tmp_path / "other.json").write_text('{"protocol": "v1"}')
    with pytest.raises(UserError, match=r"cannot read .*other\.json"):
        read_rows(tmp_path)
    write_row(tmp_path / "other.json", replace(row, tuning={"trials": []}))
    with pytest.raises(UserError, match=r"cannot read .*other\.json: of its tuning, it lacks"):
        read_rows(tmp_path)


@pytest.mark.parametrize(
    "facts, message",
    [
        ({"protocol": None}, "it follows no protocol; make it with --protocol"),
        ({"episodes": None}, "its results do not keep what came of each episode"),
        ({"cpu_seconds": float("nan")}, "its results do not tell how long it computed"),
        ({"session": {"git_commit": "f" * 40}}, "its runs were made with several commits: 0123"),
        ({"session": {"git_commit": COMMIT + "+changes"}}, f"commits: {COMMIT}, {COMMIT}+changes"),
        ({"session": {"device": "cuda (H100)"}}, "it learned on cuda (H100), not on the CPU"),
        ({"session": {"versions": {**VERSIONS, "torch": "2.12.0"}}}, "several versions of the"),
        (
            {"session": {"notes": ["the run goes on under other versions: numpy 1 → 2; …"]}},
            "the run goes on under other versions",
        ),
        ({"eval_starts": "validation"}, "eval_starts 'validation', not 'test'"),
        ({"versions": {**VERSIONS, "mujoco": "3.16.0"}}, "versions: mujoco '3.16.0'"),
        ({"performance_matrix": [[0.5] * 10] * 11}, "episodes that are not those of the matrix"),
    ],
)
def test_runs_that_make_no_row_are_told(tmp_path, facts, message):
    if facts.get("cpu_seconds") is not None:
        path = write_v1_run(tmp_path / "100", 100)
        results = json.loads((path / "results.json").read_text())
        for entry in results["cost"]["seconds_per_task"]:
            entry["learn_cpu"] = None
        (path / "results.json").write_text(json.dumps(results))
    else:
        write_v1_run(tmp_path / "100", 100, **facts)
    write_v1_run(tmp_path / "101", 101)
    assert message in "; ".join(make_rows([tmp_path])[1])


def test_a_run_that_has_not_finished_is_told_with_all_else(tmp_path, capsys):
    (write_v1_run(tmp_path / "runs/100", 100) / "results.json").unlink()
    write_v1_run(tmp_path / "runs/101", 101, session={"git_commit": None})
    assert main(["submit", str(tmp_path / "runs"), "--out", str(tmp_path / "rows")]) == 2
    printed = capsys.readouterr()
    assert printed.err == "lifelong-rl: no row was written, for 4 problems; see what is printed\n"
    lines = printed.out.splitlines()
    assert any("100: not finished" in line for line in lines)
    assert any("seeds are 101; a row has the first" in line for line in lines)
    assert any("the commit is 'None'" in line for line in lines)
    assert any("at least 2 seeds" in line for line in lines) and len(lines) == 4
    assert not (tmp_path / "rows").exists()


def tuned_runs(folder: Path, strength: float = 32.0) -> Path:
    for seed in (100, 101):
        options = {"strength": strength}
        write_v1_run(folder / str(seed), seed, "ewc", kept=0.9, method_options=options)
    return folder


def test_tuned_options_are_those_that_their_tuning_found(tmp_path, capsys):
    runs = tuned_runs(tmp_path / "runs")
    assert main(["submit", str(runs), "--out", str(tmp_path / "rows")]) == 2
    assert "options are tuned and there is no tuning" in capsys.readouterr().out
    words = ["submit", str(runs), "--out", str(tmp_path / "rows")]
    tuning = write_trials(tmp_path / "tuning")
    assert main([*words, "--tuning", str(tuning)]) == 0
    (found,) = read_rows(tmp_path / "rows")
    assert (found.name, found.method_options["strength"]) == ("arm10-sac-ewc-tuned", 32.0)
    assert [trial["number"] for trial in found.tuning["trials"]] == [0, 1, 2, 3, 4, 5]
    assert main(["submit", str(runs), "--tuning", str(tmp_path)]) == 2
    assert "holds no tuning (no trials.json)" in capsys.readouterr().err


def test_defaults_that_no_trial_beats_say_so(tmp_path):
    runs = tmp_path / "runs"
    for seed in (100, 101):
        write_v1_run(runs / str(seed), seed, "ewc")
    tuning = read_trials(write_trials(tmp_path / "tuning", best=1e4) / TRIALS)
    (found,), problems = make_rows([runs], [tuning])
    assert (problems, found.options, found.tuning) == ([], "default", tuning)
    found = replace(found, options="tuned")
    assert "options are called tuned and are the defaults" in [*find_problems(found)]


@pytest.mark.parametrize(
    "facts, message",
    [
        ({"best": 33.0}, "not those that its tuning found: strength 32.0, not 33.0"),
        ({"sequence": "arm10"}, "it was tuned otherwise: sequence 'arm10', not 'arm5'"),
        ({"order": None}, "it was tuned otherwise: order None, not 8"),
        ({"eval_starts": "test"}, "it was tuned otherwise: eval_starts 'test', not 'validation'"),
        ({"seeds": [100, 101]}, "it was tuned otherwise: seeds [100, 101], not [0, 1]"),
        ({"metric": "forgetting"}, "metric 'forgetting', not 'average_performance'"),
        ({"steps_per_task": 10}, "steps_per_task 10, not 20000"),
    ],
)
def test_a_tuning_that_saw_more_or_less_is_none(tmp_path, facts, message):
    runs = tuned_runs(tmp_path / "runs")
    tuning = read_trials(write_trials(tmp_path / "tuning", **facts) / TRIALS)
    assert message in "; ".join(make_rows([runs], [tuning])[1])


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda trials: trials[:5], "it was tuned with 5 trials, not 6"),
        (lambda trials: [*trials, trials[-1]], "it was tuned with 7 trials, not 6"),
        (
            lambda trials: [*trials[:5], {**trials[5], "state": "to do"}],
            "a trial of its tuning has not come to an end",
        ),
        (
            lambda trials: [{**trial, "value": None} for trial in trials],
            "no trial of its tuning has finished",
        ),
        (
            lambda trials: [*trials[:5], {**trials[5], "params": {"agent_options.gamma": 1.0}}],
            "agent_options.gamma was tuned, which the protocol fixes",
        ),
        (
            lambda trials: [*trials[:5], {**trials[5], "params": {"method_options.per_task": 9}}],
            "method_options.per_task was tuned, which the protocol fixes",
        ),
    ],
)
def test_trials_are_as_many_and_of_the_method_alone(tmp_path, change, message):
    runs = tuned_runs(tmp_path / "runs")
    tuning = read_trials(write_trials(tmp_path / "tuning") / TRIALS)
    changed = {**tuning, "trials": change(tuning["trials"])}
    assert message in "; ".join(make_rows([runs], [changed])[1])


def test_joint_keeps_its_buffer(tmp_path):
    found = make_row(tmp_path, "joint", seeds=2)
    assert found.agent_options["reset_buffer"] is False
    assert "reset_buffer False, not True" in "; ".join(
        find_problems(replace(found, method="finetune", method_options={}))
    )
    assert len(found.tasks) == len(TASKS) == 10


def test_options_of_two_kinds_are_two_rows_and_not_one(tmp_path):
    tuned_runs(tmp_path / "a", 32.0)
    tuned_runs(tmp_path / "b", 33.0)
    _, problems = make_rows([tmp_path], [])
    assert "arm10-sac-ewc-tuned: runs with several options; give those of one at a time" in problems


def test_a_method_of_a_plugin_needs_its_plugin_to_tell_its_defaults(tmp_path):
    path = write_v1_run(tmp_path / "100", 100)
    results = json.loads((path / "results.json").read_text())
    (path / "results.json").write_text(json.dumps({**results, "method": "my-own"}))
    _, (problem,) = make_rows([tmp_path])
    assert "the method 'my-own' is not known here; name its --plugin" in problem
