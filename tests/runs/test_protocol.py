"""Protocols: what they fix, what they refuse, and that nothing they depend on has changed."""

from __future__ import annotations

import dataclasses
import importlib.util
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from lifelong_rl.analysis.reproduction import command
from lifelong_rl.cli.run import Run
from lifelong_rl.continual import METHODS
from lifelong_rl.errors import UserError
from lifelong_rl.runs import protocol
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.protocol import fill, read_protocol
from lifelong_rl.runs.setup import prepare
from lifelong_rl.studies.study import read_study
from lifelong_rl.studies.tune import read_tuning

ROOT = Path(__file__).parents[2]
V1 = {"protocol": "v1", "sequence": "arm10", "agent": "sac", "seed": 100}


@pytest.fixture(scope="module")
def freeze_protocol() -> Any:
    path = ROOT / "scripts/freeze_protocol.py"
    spec = importlib.util.spec_from_file_location("freeze_protocol", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def configure(**changes: Any) -> RunConfig:
    return prepare(RunConfig(**fill({**V1, **changes}))).config


@pytest.mark.parametrize("version", protocol.names())
def test_nothing_that_a_protocol_depends_on_has_changed(version, freeze_protocol):
    found = read_protocol(version)
    frozen = found.frozen()
    tracks = {
        name: freeze_protocol.describe_track(found, track)
        for name, track in found.tracks.items()
        if not track.fields["sequence"].startswith("cw") or find_spec("metaworld")
    }
    known = {name: found.resolve_method(name) for name in METHODS.names()}
    seen = {"tracks": {**frozen["tracks"], **tracks}, "methods": known}
    changes = freeze_protocol.find_changes(frozen, seen)
    assert not changes, (
        f"protocol {version} depends on what has changed: raise the version of the protocol (a new "
        f"lifelong_rl/protocols/VERSION.yaml and scripts/freeze_protocol.py): {changes}"
    )
    assert {*frozen["tracks"]} == {*found.tracks}


def test_a_change_is_told_and_a_method_that_is_new_is_none(freeze_protocol):
    frozen = read_protocol("v1").frozen()
    track = {**frozen["tracks"]["arm10-sac"], "task_versions": {"reach": "v1"}}
    strong = {**frozen["methods"]["ewc"], "strength": 1.0}
    now = {
        "tracks": {**frozen["tracks"], "arm10-sac": track},
        "methods": {**frozen["methods"], "ewc": strong, "new": {"strength": 1.0}},
    }
    versions, options = freeze_protocol.find_changes(frozen, now)
    assert versions.startswith("track arm10-sac, task versions: reach 'v0', not 'v1';")
    assert options == "method ewc: strength 10000.0, not 1.0"
    more = {**frozen["methods"]["ewc"], "new": 1}
    assert not freeze_protocol.find_changes(
        frozen, {**frozen, "methods": {**frozen["methods"], "ewc": more}}
    )
    assert not freeze_protocol.find_changes(
        frozen, {**frozen, "methods": {**frozen["methods"], "new": {}}}
    )


def test_a_run_has_all_that_its_protocol_fixes():
    config = configure(method="agem")
    assert (config.steps_per_task, config.num_envs, config.eval_starts) == (20_000, 16, "test")
    assert (config.eval_episodes, config.curve_episodes, config.eval_points) == (50, 10, 10)
    assert config.method_options["per_task"] == 1000
    assert configure(method="ogd").method_options["per_task"] == 100
    chain = configure(method="replay+ewc").method_options
    assert (chain["replay.per_task"], chain["ewc.strength"]) == (1000, 1e4)


def test_the_tuning_tracks_have_other_tasks_orders_seeds_and_starts():
    config = configure(sequence="arm5", seed=0)
    assert (config.order, config.eval_starts, config.eval_points) == (8, "validation", 1)
    found = read_protocol("v1")
    reported, tuning = (
        [track for track in found.tracks.values() if track.purpose == purpose]
        for purpose in ("reported", "tuning")
    )
    assert not {s for t in reported for s in t.seeds} & {s for t in tuning for s in t.seeds}
    assert {*found.trial_seeds} <= {*tuning[0].seeds}
    assert {name for track in tuning for name in track.tunes} <= {track.name for track in reported}


def test_joint_may_keep_its_buffer_and_optimizers():
    config = configure(method="joint")
    assert config.agent_options["reset_buffer"] is False
    assert prepare(config).config == config
    with pytest.raises(UserError, match="reset_buffer True, not False"):
        configure(agent_options={"reset_buffer": False})


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"seed": 0}, "seeds 100 to 109, not 0"),
        ({"steps_per_task": 10}, "steps_per_task 20000, not 10"),
        ({"eval_starts": "validation"}, "eval_starts 'test', not 'validation'"),
        ({"order": 3}, "order None, not 3"),
        ({"device": "cuda"}, "device 'cpu', not 'cuda'"),
        ({"agent_options": {"gamma": 0.9}}, "gamma 0.97, not 0.9"),
        ({"method": "clone", "method_options": {"per_task": 10_000}}, "per_task 1000, not 10000"),
        ({"sequence": "arm3"}, "no track of the sequence 'arm3' with the agent 'sac'"),
        ({"protocol": "v0"}, "unknown protocol 'v0'; did you mean 'v1'"),
        (
            {"seed": 0, "num_envs": 3},
            r"num_envs 16, not 3; seeds 100 to 109, not 0 \(leave these out, or leave out",
        ),
    ],
)
def test_what_contradicts_is_told_all_at_once(changes, message):
    with pytest.raises(UserError, match=message):
        configure(**changes)


def test_another_mujoco_makes_other_trajectories(monkeypatch):
    monkeypatch.setattr(protocol, "installed", lambda package: "3.16.0")
    with pytest.raises(UserError, match=r"mujoco 3\.17\.0, not 3\.16\.0"):
        configure()


def test_the_command_line_and_files_say_the_rest(tmp_path):
    words = ["--protocol", "v1", "--sequence", "arm10", "--seed", "100"]
    plain = Run.parse("run", [*words, "--method", "ewc"])
    assert (plain.eval_starts, plain.curve_episodes, plain.method) == ("test", 10, "ewc")
    with pytest.raises(UserError, match="curve_episodes 10, not 20"):
        Run.parse("run", [*words, "--curve-episodes", "20"])()
    path = tmp_path / "own.yaml"
    path.write_text("protocol: v1\nsequence: arm10\nmethod_options: {strength: 3}\nmethod: ewc\n")
    filed = Run.parse("run", ["--config", str(path), "--agent", "bc", "--seed", "101"])
    assert (filed.agent, filed.eval_starts, filed.method_options) == ("bc", "test", {"strength": 3})
    path.write_text("protocol: v1\nsequence: arm10\neval_starts: validation\nseed: 100\n")
    with pytest.raises(UserError, match="eval_starts 'test', not 'validation'"):
        Run.parse("run", ["--config", str(path)])()


@pytest.mark.parametrize(
    "changes",
    [{}, {"sequence": "arm5", "seed": 3}, {"method": "joint"}, {"agent": "bc", "method": "clone"}],
)
def test_the_command_that_a_report_prints_makes_the_same_run(changes):
    config = configure(**changes)
    words = shlex.split(command(config, [config.seed]))[2:]
    parsed = Run.parse("run", words)
    fields = {f.name: getattr(parsed, f.name) for f in dataclasses.fields(RunConfig)}
    assert prepare(RunConfig(**fields)).config == config


def test_a_study_says_the_rest(tmp_path):
    path = tmp_path / "small.yaml"
    text = "protocol: v1\nsequences: arm10\nagents: [sac, bc]\nmethods: clone\nseeds: [100]\n"
    path.write_text(text)
    configs = [cell.setup.config for cell in read_study(path).cells]
    assert [c.agent for c in configs] == ["sac", "bc"]
    assert {(c.protocol, c.eval_starts, c.method_options["per_task"]) for c in configs} == {
        ("v1", "test", 1000)
    }
    for more, message in [
        ("eval_points: 3\n", "eval_points 10, not 3"),
        ("grid: {num_envs: [8, 16]}\n", "num_envs 16, not 8"),
        ("grid: {protocol: [v1]}\n", "unknown option of a grid 'protocol'"),
    ]:
        path.write_text(text + more)
        with pytest.raises(UserError, match=message):
            read_study(path)


STUDIES = sorted((ROOT / "studies").glob("v1_*.yaml"))
TUNED = [path for path in STUDIES if path.stem.startswith("v1_tune")]


@pytest.mark.parametrize("path", [p for p in STUDIES if p not in TUNED], ids=lambda p: p.stem)
def test_the_studies_of_the_protocol_follow_it(path):
    if "cw" in path.stem:
        pytest.importorskip("metaworld")
    cells = read_study(path).cells
    assert {cell.setup.config.protocol for cell in cells} == {"v1"}
    seeds = sorted({cell.setup.config.seed for cell in cells})
    first = cells[: len(cells) // len(seeds)]
    assert {cell.setup.config.seed for cell in first} == {seeds[0]}
    assert seeds == list(range(100, 100 + len(seeds)))


@pytest.mark.parametrize("path", TUNED, ids=lambda p: p.stem)
def test_methods_are_tuned_alike(path):
    """What `submit` asks of a tuning, and that either regime has one of each method."""
    v1, tuning = read_protocol("v1"), read_tuning(path)
    assert tuple(tuning.seeds) == v1.trial_seeds
    config = tuning.cells[0].setup.config
    assert v1.find_track(config.sequence, config.agent).purpose == "tuning"
    assert not [name for name in tuning.space if name in ("method_options.per_task",)]
    assert all(name.startswith("method_options.") for name in tuning.space)
    twin = {"sac": "bc", "bc": "sac"}[config.agent]
    assert path.with_name(f"{path.stem.removesuffix(config.agent)}{twin}.yaml") in TUNED
