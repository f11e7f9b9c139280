"""What a plug-in breaks of its contract is said in one line that names it, before it counts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
import toy_plugin
from toy_runs import SMALL, run_toy

from lifelong_rl.cli import main
from lifelong_rl.continual import METHODS, ContinualMethod
from lifelong_rl.errors import ContractError
from lifelong_rl.registry import AGENTS, SEQUENCES
from lifelong_rl.runs.contract import EnvContract, check_sequence
from lifelong_rl.runs.sequence import Phase


def refused(capsys: pytest.CaptureFixture[str], path: Path, *arguments: str) -> str:
    """The line that a run of the toy plug-in ends with, after checking that it says no more."""
    assert run_toy(path, "--quiet", *arguments) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert captured.out == ""
    if (path / "status.json").exists():
        status = json.loads((path / "status.json").read_text())
        assert status["status"] == "failed"
        assert line.removeprefix("lifelong-rl: ") in status["message"]
    return line


class Env(toy_plugin.ToyEnv):
    """Returns what `spoil` makes of what it would return."""

    def __init__(self, task_id: int, num_envs: int, seed: int, spoil: Any, on_task: int) -> None:
        super().__init__(task_id, num_envs, seed)
        self.spoil = spoil if task_id == on_task else lambda *found: found

    def reset(self) -> Any:
        return self.spoil(super().reset(), None, None, None)[0]

    def step(self, actions: np.ndarray) -> Any:
        return self.spoil(*super().step(actions))


def spoil_sequence(monkeypatch: pytest.MonkeyPatch, spoil: Any, on_task: int = 1) -> None:
    class Spoiled(toy_plugin.ToySequence):
        def make_env(self, task_id: int, *, num_envs: int, num_threads: int, seed: int) -> Any:
            return Env(task_id, num_envs, seed, spoil, on_task)

    monkeypatch.setitem(SEQUENCES._registered, "toy3", Spoiled)


def without_episode(observations: Any, rewards: Any, dones: Any, infos: Any) -> Any:
    for info in infos or ():
        info.pop("episode", None)
    return observations, rewards, dones, infos


def with_success(success: Any) -> Any:
    def spoil(observations: Any, rewards: Any, dones: Any, infos: Any) -> Any:
        for info in infos or ():
            if "episode" in info:
                info["episode"]["success"] = success
        return observations, rewards, dones, infos

    return spoil


def not_finite(observations: Any, rewards: Any, dones: Any, infos: Any) -> Any:
    spoiled = observations.copy()
    spoiled[2, 0] = np.nan
    return spoiled, rewards, dones, infos


BREACHES: list[tuple[Any, str]] = [
    (
        lambda o, r, d, i: (o[:, :-1], r, d, i),
        "reset() returns observations (6, 4) of float32, not (6, 5)",
    ),
    (lambda o, r, d, i: (o[:1], r, d, i), "reset() returns observations (1, 5)"),
    (lambda o, r, d, i: (o.astype(np.float64), r, d, i), "observations (6, 5) of float64"),
    (lambda o, r, d, i: (o.tolist(), r, d, i), "observations a list of 6"),
    (lambda o, r, d, i: ((o, {}), r, d, i), "reset() returns observations alone, not a tuple"),
    (lambda o, r, d, i: (np.roll(o, 1, axis=1), r, d, i), "end with the one-hot of task 1 of 3"),
    (
        lambda o, r, d, i: (o if r is None else o[:, :-1], r, d, i),
        "step() returns observations (6, 4)",
    ),
    (not_finite, "returns observations that are not finite"),
    (
        lambda o, r, d, i: (o, r if r is None else r[:, None], d, i),
        "rewards (6, 1) of float32, not (6,)",
    ),
    (lambda o, r, d, i: (o, 0.5, d, i), "rewards a float, not (6,) of numbers"),
    (
        lambda o, r, d, i: (o, r, d if d is None else d.astype(float), i),
        "dones (6,) of float64, not (6,) of bool",
    ),
    (lambda o, r, d, i: (o, r, d, i and i[:1]), "infos a list of 1, not a list of 6"),
    (
        lambda o, r, d, i: (o, r, d, d, i),
        "step() returns observations, rewards, dones and infos, not 5 values",
    ),
    (without_episode, "an episode ends with info['episode'] = {'r': return"),
    (with_success(0.3), "whether it succeeded at any step, a bool}, not {'r'"),
]


@pytest.mark.parametrize("kind", [bool, np.bool_, int, float, np.float32, np.int64])
def test_success_is_told_by_any_kind_of_yes_and_no(kind: type) -> None:
    """Such as the 0.0 and 1.0 of Meta-World."""
    contract = EnvContract(toy_plugin.ToyEnv(0, 2, 0), "toy", 2)
    assert contract.read_score({"episode": {"success": kind(1)}}) == 1
    assert contract.read_score({"episode": {"success": kind(0)}}) == 0


@pytest.mark.parametrize("success", [0.3, np.nan, 2, None, "True"])
def test_success_is_nothing_between(success: Any) -> None:
    contract = EnvContract(toy_plugin.ToyEnv(0, 2, 0), "toy", 2)
    with pytest.raises(ContractError, match="whether it succeeded at any step"):
        contract.read_score({"episode": {"success": success}})


def test_steps_may_be_a_whole_number_of_numpy() -> None:
    sequence = toy_plugin.ToySequence()
    sequence.steps_per_task = np.int64(1000)  # type: ignore[attr-defined]
    check_sequence(sequence, "toy3")
    for wrong in (True, 0, 1e3, np.int64(0)):
        sequence.steps_per_task = wrong  # type: ignore[attr-defined]
        with pytest.raises(ContractError, match="not a number of steps"):
            check_sequence(sequence, "toy3")


PHASES = {
    "another task": ([((3,), 5)], "tasks is \\(3,\\), not positions of its 3 tasks"),
    "a task twice": ([((1, 1), 5)], "not positions"),
    "no task": ([((), 5)], "not positions"),
    "no steps": ([((0,), 0)], "phase 1 of the sequence 'toy3'.* steps is 0"),
    "too few": ([((0, 1), 5), ((1,), None)], "no phase learns"),
    "heads": ([((0, 1, 2), 5)], "heads is \\(0, 2, 0\\), not one of 2 heads for each of 3 tasks"),
}


@pytest.mark.parametrize(("phases", "told"), PHASES.values(), ids=PHASES)
def test_phases_are_checked_before_they_are_learned(phases: Any, told: str) -> None:
    sequence: Any = toy_plugin.ToySequence()
    sequence.phases = [Phase(tasks, steps) for tasks, steps in phases]
    with pytest.raises(ContractError, match="has no heads, num_heads, make_phase_env"):
        check_sequence(sequence, "toy3")
    sequence.heads, sequence.num_heads, sequence.make_phase_env = (0, 2, 0), 2, None
    with pytest.raises(ContractError, match=told):
        check_sequence(sequence, "toy3")
    sequence.phases, sequence.heads = [Phase((0, 2)), Phase((1,), 5, False)], (0, 1, 0)
    check_sequence(sequence, "toy3")


@pytest.mark.parametrize(("spoil", "told"), BREACHES)
def test_an_environment_that_breaks_its_contract_is_named_before_anything_is_learned(
    spoil: Any,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil_sequence(monkeypatch, spoil)
    line = refused(capsys, tmp_path / "run")
    assert line.startswith("lifelong-rl: task 'right' of the sequence 'toy3': ")
    assert told in line
    # the second task is not reached by learning the first
    assert not list((tmp_path / "run" / "checkpoints").glob("*"))


def made_by(make: Any) -> type:
    class Spoiled(toy_plugin.ToySequence):
        def make_env(self, *arguments: Any, **options: Any) -> Any:
            return make(super().make_env(*arguments, **options), options["num_envs"])

    return Spoiled


def spoiled_sequence(**changes: Any) -> type:
    return type("Spoiled", (toy_plugin.ToySequence,), changes)


def with_space(env: Any, count: int) -> Any:
    if env.task_id == 2:
        env.observation_space = gymnasium.spaces.Box(-1, 1, (7,), np.float32)
    return env


def with_more(env: Any, count: int) -> Any:
    env.num_envs = count + 1
    return env


NUMBERED = {"left": 1, "right": 1, "up": 1}
SEQUENCE_BREACHES: list[tuple[Any, str]] = [
    (made_by(lambda env, count: [env]), "list has no num_envs, observation_space"),
    (made_by(lambda env, count: None), "NoneType has no num_envs"),
    (made_by(with_more), "make_env returns 5 environments, not 4"),
    (made_by(with_space), "shows and takes observations (7,) float32"),
    (spoiled_sequence(versions=lambda self: NUMBERED), "versions() is {'left': 1"),
    (spoiled_sequence(versions=lambda self: {"left": "v0"}), "the version of each task as a text"),
    (spoiled_sequence(num_tasks=2), "num_tasks is 2, of 3 tasks"),
    (spoiled_sequence(tasks="left"), "tasks is 'left', not a tuple of names"),
    (spoiled_sequence(steps_per_task="many"), "steps_per_task is 'many', not a number of steps"),
    (object(), "object has no tasks, num_tasks, make_env, versions, as a Sequence must have"),
]


@pytest.mark.parametrize(("sequence", "told"), SEQUENCE_BREACHES)
def test_a_sequence_that_breaks_its_contract_is_named(
    sequence: Any,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(SEQUENCES._registered, "toy3", sequence)
    line = refused(capsys, tmp_path / "run")
    assert "the sequence 'toy3': " in line and told in line


class Numb(toy_plugin.ToyPolicy):
    predict = property()  # type: ignore[assignment]  # as if it had none


def toy_agent(spoil: Any) -> type:
    """The toy agent, on which `spoil` is called when it is built."""

    class Spoiled(toy_plugin.ToyAgent):
        @classmethod
        def build(cls, *arguments: Any, **options: Any) -> Any:
            agent = super().build(*arguments, **options)
            return spoil(agent) or agent

    return Spoiled


def with_component(**changes: Any) -> Any:
    def spoil(agent: Any) -> None:
        for name, value in changes.items():
            setattr(agent.policy, name, value)

    return spoil


def with_attribute(**changes: Any) -> Any:
    def spoil(agent: Any) -> None:
        for name, value in changes.items():
            setattr(agent, name, value)

    return spoil


AGENT_BREACHES: list[tuple[Any, str]] = [
    (lambda agent: 7, "the agent 'toy': int has no components, begin_task, learn_task"),
    (with_attribute(components=[1]), "components is [1], not a mapping"),
    (
        lambda agent: setattr(agent.policy, "__class__", Numb),
        "component 'policy' of the agent 'toy': Numb has no predict",
    ),
    (with_component(role="actor"), "role is 'actor', not 'policy' or 'value'"),
    (with_component(module=[1]), "module is [1], not a torch Module"),
    (with_component(optimizer=None), "optimizer is None, not a torch Optimizer"),
    (
        with_attribute(act=lambda o: np.zeros(2)),
        "the agent 'toy': act() returns (2,) of float64, not actions (6, 2) of numbers",
    ),
    (with_attribute(act=lambda o: torch.zeros(6, 2)), "act() returns a Tensor"),
    (with_attribute(act=lambda o: np.full((6, 2), "up")), "act() returns (6, 2) of <U2"),
    (with_attribute(diagnostics=lambda: [1.0]), "diagnostics() is [1.0], not a mapping"),
    (
        with_attribute(diagnostics=lambda: {"loss": "low"}),
        "'loss' of diagnostics() is 'low', not a number",
    ),
    (
        with_attribute(state_dict=lambda: {"x": object()}),
        "the agent 'toy': its state_dict() cannot be saved:",
    ),
]


@pytest.mark.parametrize(("spoil", "told"), AGENT_BREACHES)
def test_an_agent_that_breaks_its_contract_is_named(
    spoil: Any,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(AGENTS._registered, "toy", toy_agent(spoil))
    assert told in refused(capsys, tmp_path / "run")


@pytest.mark.parametrize("missing", ["learn_task", "state_dict", "act", "end_task"])
def test_an_agent_without_a_part_is_refused_before_there_is_a_folder(
    missing: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delattr(toy_plugin.ToyAgent, missing)
    line = refused(capsys, tmp_path / "run")
    assert f"the agent 'toy': ToyAgent has no {missing}, as an Agent must have" in line
    assert not (tmp_path / "run").exists()


class Hooked(ContinualMethod):
    """Does what a test says."""


def drop(self: Any, component: Any, grads: Any) -> Any:
    return {name: value for name, value in grads.items() if name != "0.bias"}


def flat(self: Any, component: Any, grads: Any) -> Any:
    return {name: value.flatten() for name, value in grads.items()}


HOOKS: list[tuple[dict[str, Any], str]] = [
    ({"extend_batch": lambda s, c, b: None}, "extend_batch returns a NoneType, not a batch"),
    ({"penalty": lambda s, c, b: 0.0}, "penalty returns a float, not a scalar tensor"),
    ({"penalty": lambda s, c, b: c.module[0].bias}, "penalty returns a tensor (8,), not a scalar"),
    ({"penalty": lambda s, c, b: torch.zeros(())}, "penalty returns a tensor without a gradient"),
    (
        {"transform_gradient": drop},
        "transform_gradient returns a NoneType for the parameter '0.bias'",
    ),
    (
        {"transform_gradient": flat},
        "a tensor (16,) for the parameter '0.weight', not a tensor of its shape (8, 2)",
    ),
    (
        {"transform_gradient": lambda s, c, g: None},
        "transform_gradient returns a NoneType, not a dict",
    ),
    (
        {"__init__": lambda self: None},
        "Spoiled has no options yet; its __init__ has to call super()",
    ),
]


@pytest.mark.parametrize(("hooks", "told"), HOOKS)
def test_a_method_that_breaks_its_contract_is_named(
    hooks: dict[str, Any],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(METHODS._registered, "hooked", type("Spoiled", (Hooked,), hooks))
    line = refused(capsys, tmp_path / "run", "--method", "hooked")
    assert told in line and ("the method 'hooked': " in line or "Spoiled" in line)
    assert (tmp_path / "run").exists() == ("__init__" not in hooks)


def test_a_loss_that_is_no_scalar_names_its_component(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loss = toy_plugin.ToyPolicy.loss
    monkeypatch.setattr(toy_plugin.ToyPolicy, "loss", lambda s, b: loss(s, b).expand(2))
    line = refused(capsys, tmp_path / "run")
    assert "the component 'policy': loss returns a tensor (2,), not a scalar tensor" in line


@pytest.mark.parametrize("kind", ["method", "agent", "sequence"])
@pytest.mark.parametrize("thing", [7, "seven", None])
def test_what_is_no_such_thing_is_named_with_who_registers_it(
    kind: str,
    thing: Any,
    tmp_path: Path,
    fresh_registries: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = {"method": METHODS, "agent": AGENTS, "sequence": SEQUENCES}[kind]
    table.register("odd")(thing)
    arguments = [f"--{kind}", "odd"]
    line = refused(capsys, tmp_path / "run", *arguments)
    assert f"the {kind} 'odd'" in line
    assert repr(thing) in line or type(thing).__name__ in line
    assert not (tmp_path / "run").exists()
    assert main(["list", f"{kind}s"]) == 0


@pytest.mark.parametrize("name", [7, "", "a b", "a+b", "a,b", ContinualMethod])
def test_a_name_is_a_text_that_commands_can_hold(name: Any, fresh_registries: None) -> None:
    with pytest.raises(Exception, match=r'such as @METHODS\.register\("my-method"\), and not'):
        METHODS.register(name)


EXITS = {
    "import": "raise SystemExit(0)",
    "sys.exit": "import sys\nsys.exit(0)",
    "own": "class Stop(BaseException): pass\nraise Stop('now')",
}


@pytest.mark.parametrize("how", EXITS)
@pytest.mark.parametrize("command", ["run", "list"])
def test_a_plug_in_cannot_end_the_program_when_it_is_imported(
    how: str,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "leaving.py").write_text(EXITS[how])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    run = ["run", *SMALL, "--run-dir", "run"]
    code = main([*(run if command == "run" else ["list", "methods"]), "--plugin", "leaving"])
    captured = capsys.readouterr()
    if command == "list":  # the others are listed
        assert code == 0 and "leaving  broken: the plug-in 'leaving' cannot be" in captured.out
    else:
        assert code == 2 and not Path("run").exists()
    told = captured.err + captured.out
    assert "the plug-in 'leaving' cannot be imported: leaving.py, line" in told
    assert "ends the program (" in told


def leave(*arguments: Any, **options: Any) -> Any:
    sys.exit(0)


@pytest.mark.parametrize(
    ("owner", "attribute"),
    [
        (toy_plugin.ToySequence, "make_env"),
        (toy_plugin.ToySequence, "versions"),
        (toy_plugin.ToyAgent, "build"),
        (toy_plugin.ToyAgent, "learn_task"),
        (toy_plugin.ToyAgent, "act"),
        (toy_plugin.ToyEnv, "step"),
        (toy_plugin.ToyEnv, "reset"),
        (Hooked, "begin_task"),
        (Hooked, "end_task"),
    ],
)
def test_whatever_ends_the_program_is_an_error_and_leaves_no_run_running(
    owner: type,
    attribute: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(owner, attribute, leave)
    monkeypatch.setitem(METHODS._registered, "hooked", Hooked)
    line = refused(capsys, tmp_path / "run", "--method", "hooked")
    assert "test_contract.py, line" in line and "ends the program (sys.exit(0))" in line


def test_the_process_of_a_cell_fails_when_a_plug_in_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lifelong_rl.studies import cell

    monkeypatch.setattr(cell, "_end_with_sweep", lambda: None)
    with monkeypatch.context() as patch:
        patch.setattr(toy_plugin.ToyAgent, "act", leave)
        assert run_toy(tmp_path / "run", "--quiet") == 2
    monkeypatch.setattr(toy_plugin.ToyAgent, "__init__", leave)
    capsys.readouterr()
    assert cell.run_cell(tmp_path / "run", ["toy_plugin"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("test_contract.py, line")
