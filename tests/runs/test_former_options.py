"""Folders of runs from before an option came or went open, and their checkpoints are theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from lifelong_rl.continual import make
from lifelong_rl.errors import UserError
from lifelong_rl.former_options import update_fields, update_options
from lifelong_rl.runs.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from lifelong_rl.runs.config import RunConfig, read_config
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.runs.setup import prepare
from lifelong_rl.storage.yaml_file import dump_yaml


@pytest.mark.parametrize(
    ("method", "former", "current"),
    [
        ("finetune", {"scope": "policy"}, {}),
        ("joint", {"scope": "both"}, {}),
        ("l2", {"strength": 3.0, "samples": 10, "scope": "both"}, {"strength": 3, "scope": "both"}),
        ("ewc", {"strength": 1.0}, {"strength": 1.0, "floor": 0.0}),
        ("mas", {"strength": 1.0, "floor": 1e-3}, {"strength": 1.0, "floor": 1e-3}),
        ("ewc", {}, {}),
        (
            "finetune+ewc",
            {"finetune.scope": "policy", "ewc.scope": "value"},
            {"ewc.scope": "value", "ewc.floor": 0.0},
        ),
    ],
)
def test_folders_hold_former_options(tmp_path: Path, method, former, current) -> None:
    fields = RunConfig(method=method, method_options=former).as_dict()
    (tmp_path / "config.yaml").write_text(dump_yaml(fields))
    config = RunFolder.open(tmp_path).config
    assert config.method_options == current
    make(method, **config.method_options)

    path = tmp_path / "checkpoint"
    save_checkpoint(path, {}, fields)
    assert load_checkpoint(path, config.as_dict()) == {}
    other = RunConfig(method=method, method_options=current | {"other": 1})
    with pytest.raises(CheckpointError, match="method options"):
        load_checkpoint(path, other.as_dict())


def test_the_actor_of_a_former_folder_is_updated_as_often_as_its_critics(tmp_path: Path) -> None:
    fields = prepare(RunConfig()).config.as_dict()
    assert fields["agent_options"].pop("policy_delay") == 2
    (tmp_path / "config.yaml").write_text(dump_yaml(fields))
    config = prepare(RunFolder.open(tmp_path).config).config
    assert config.agent_options["policy_delay"] == 1
    assert config.agent_options["updates_per_step"] == fields["agent_options"]["updates_per_step"]


@pytest.mark.parametrize(
    ("agent", "came"),
    [
        ("sac", {"activation", "explore", "explore_steps", "max_grad_norm"}),
        ("td3", {"activation", "explore", "explore_steps", "max_grad_norm"}),
        ("ppo", {"activation"}),
        ("bc", {"activation"}),
        ("bc-stream", {"activation"}),
        ("offline-rl", {"activation"}),
        ("classifier", {"activation"}),
    ],
)
def test_agents_of_a_former_folder_do_what_there_was_no_choice_of(
    agent: str, came: set[str], tmp_path: Path
) -> None:
    sequence = "split-digits" if agent == "classifier" else "arm3"
    identity = prepare(RunConfig(agent=agent, sequence=sequence)).identity
    options = identity["agent_options"]
    assert came <= options.keys()
    former = {name: value for name, value in options.items() if name not in came}
    save_checkpoint(tmp_path / "checkpoint", {}, {**identity, "agent_options": former})
    assert load_checkpoint(tmp_path / "checkpoint", identity) == {}


def test_curves_of_a_former_folder_have_the_episodes_of_its_matrix(tmp_path: Path) -> None:
    fields = prepare(RunConfig(eval_episodes=30)).config.as_dict()
    assert fields.pop("curve_episodes") == 12
    (tmp_path / "config.yaml").write_text(dump_yaml(fields))
    setup = prepare(RunFolder.open(tmp_path).config)
    assert setup.curve_episodes == 30
    identity = {name: value for name, value in setup.identity.items() if name != "curve_episodes"}
    save_checkpoint(tmp_path / "checkpoint", {}, identity)
    assert load_checkpoint(tmp_path / "checkpoint", setup.identity) == {}
    with pytest.raises(CheckpointError, match="curve episodes is 30 there and 12 here"):
        load_checkpoint(tmp_path / "checkpoint", prepare(RunConfig(eval_episodes=30)).identity)
    assert prepare(RunConfig(**read_config(tmp_path / "config.yaml"))).curve_episodes == 12


def test_what_came_later_has_its_default_in_a_file_of_today(tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text("method: ewc\nmethod_options: {strength: 3.0}")
    config = prepare(RunConfig(**read_config(tmp_path / "new.yaml"))).config
    assert config.method_options["floor"] == 1e-7
    assert update_options("ewc", {"strength": 3.0}) == {"strength": 3.0}


@pytest.mark.parametrize("method", ["packnet", "den"])
def test_retraining_is_a_share(tmp_path: Path, method) -> None:
    def read(updates, **fields):
        options = {"retrain_updates": updates}
        config = RunConfig(method=method, method_options=options, **fields)
        (tmp_path / "config.yaml").write_text(dump_yaml(config.as_dict()))
        return RunFolder.open(tmp_path).config.method_options

    agent_options = {"updates_per_step": 0.5}
    told = read(300, steps_per_task=3000, agent_options=agent_options)
    assert told == {"retrain_share": 0.2}
    make(method, **told)
    assert read(500) == {"retrain_share": 0.1}, "both are the default"
    assert read(0) == {"retrain_share": 0.0}
    short = read(500, steps_per_task=400, agent_options=agent_options)
    assert short == {"retrain_share": 2.5}, "a short task was followed by longer retraining"
    make(method, **short)
    for updates, fields in (
        (300, {}),
        ([500], {}),
        (9000, {"steps_per_task": 9, "agent_options": {}}),
        (10**400, {"steps_per_task": 3000, "agent_options": agent_options}),
    ):
        with pytest.raises(UserError, match=f"'retrain_updates' of method '{method}' is 'retrain_"):
            read(updates, **fields)


def test_huge_numbers_are_refused_where_they_are_checked(tmp_path: Path) -> None:
    """A number of steps that no float holds ended the command with OverflowError."""
    path = tmp_path / "huge.yaml"
    fields = {"steps_per_task": 10**400, "agent_options": {"updates_per_step": 0.5}}
    path.write_text(dump_yaml({"method": "ewc", "method_options": {"strength": 1.0}, **fields}))
    with pytest.raises(UserError, match=r"steps-per-task .* does not fit into 64 bits"):
        read_config(path)


@pytest.mark.parametrize("method", ["finetune", "joint"])
def test_an_option_without_effect_is_none(method) -> None:
    with pytest.raises(UserError, match=f"unknown {method} option 'scope'"):
        make(method, scope="policy")


def test_runs_from_before_there_were_other_starts_had_those_of_validation():
    former = {"eval_episodes": 50, "method": "finetune", "method_options": {}}
    assert update_fields(former, complete=True)["eval_starts"] == "validation"
    assert update_fields({**former, "eval_starts": "test"}, complete=True)["eval_starts"] == "test"
    assert "eval_starts" not in update_fields(former)
