"""Nothing is left on another device than asked for, and the device changes no number.

All code really runs on a device that is pretended, see `pretend_device`; its numbers are the CPU's,
so they have to come out as on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from pretend_device import PRETEND, DeviceError, pretend_device, tensors_in, where
from tiny_learners import LABELLED, NUM_TASKS, OBS_DIM, SMALL_AGENT, SMALL_METHOD, STEPS, Run
from torch import Tensor

from lifelong_rl import agents
from lifelong_rl.compatibility import find_refusal
from lifelong_rl.continual import METHODS
from lifelong_rl.learning import UpdateClock
from lifelong_rl.learning.devices import move_tree
from lifelong_rl.learning.seeding import (
    generator_state,
    preserved_generators,
    set_generator_state,
)
from lifelong_rl.registry import AGENTS
from lifelong_rl.runs.diagnostics import Diagnostics
from lifelong_rl.storage.state_tree import decode_tree, encode_tree

pytestmark = pytest.mark.device

ON_THE_CPU = ("/step", "/sizes")
"""Ends of the names of tensors that stay there: a count of Adam's, and rows of each task, from
which it is drawn on the CPU."""
SHOWN = np.eye(OBS_DIM + NUM_TASKS, dtype=np.float32)[-NUM_TASKS:]


@pytest.fixture(autouse=True)
def shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few updates reach everything; each operation on the device takes its time."""
    monkeypatch.setattr("tiny_learners.DEFAULT_STEPS", (32, 32))
    monkeypatch.setitem(STEPS, "ppo", (64, 128))
    for name, value in {"selection_updates": 2, "samples": 4, "updates": 2}.items():
        monkeypatch.setitem(SMALL_METHOD, name, value)


def learn(learner: str, method: str, device: torch.device | str) -> tuple[Run, Any, np.ndarray]:
    """A run whose second task is learned by an agent that was saved and loaded.

    Returns:
        The run, what the agent then holds, and what it does.
    """
    first = Run(learner, method, device=device)
    first.learn(0)
    second = Run(learner, method, task_id=1, state=first.saved(), device=device)
    second.learn(1)
    return second, second.saved(), second.agent.act(SHOWN)


def check(learner: str, method: str) -> None:
    if find_refusal(METHODS, method, AGENTS, learner) is not None:
        pytest.skip("does not go together")
    _, expected, actions = learn(learner, method, "cpu")
    with pretend_device() as device:
        run, saved, acted = learn(learner, method, device)
        assert left_behind(run.agent.state_dict()) == []
        for component in run.agent.components.values():
            assert left_behind(component.module.state_dict()) == []
        measure_everything(run.agent)
        within = Run(learner, method, task_id=1, device=device)
        within.go_on(1, run.halfway)
        assert left_behind(within.agent.state_dict()) == []
        assert within.saved() == expected
    assert saved == expected
    assert np.array_equal(acted, actions)


def left_behind(state: Any) -> list[str]:
    """Tensors of a state tree that are not on the device, and should be."""
    return [
        name
        for name, tensor in tensors_in(state)
        if where(tensor) != PRETEND.type
        and tensor.dtype != torch.float64
        and not name.endswith(ON_THE_CPU)
    ]


def measure_everything(agent: Any) -> None:
    """Log as a run does why it forgets, with rows of an old task."""
    diagnostics = Diagnostics()
    diagnostics.end_task("old", agent)
    diagnostics.load_state_dict(move_tree(diagnostics.state_dict(), agent.device))
    diagnostics.measure(agent)


@pytest.mark.parametrize("learner", SMALL_AGENT)
def test_every_learner(learner: str) -> None:
    check(learner, "finetune")


@pytest.mark.parametrize("learner", [name for name in SMALL_AGENT if name not in LABELLED])
def test_every_learner_of_actions_that_differ_in_size(
    learner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiny_learners.Points.action_dims", (1, 2), raising=False)
    check(learner, "finetune")


@pytest.mark.parametrize("learner", ["bc", "classifier"])
@pytest.mark.parametrize("method", [name for name in METHODS.names() if name != "finetune"])
def test_every_method(method: str, learner: str) -> None:
    if learner == "classifier" and method != "icarl":
        pytest.skip("as bc")
    check(learner, method)


@pytest.mark.slow
@pytest.mark.parametrize("learner", [name for name in SMALL_AGENT if name != "bc"])
@pytest.mark.parametrize("method", [name for name in METHODS.names() if name != "finetune"])
def test_every_pair(method: str, learner: str) -> None:
    check(learner, method)


def test_a_saved_agent_is_loaded_onto_any_device(tmp_path: Path) -> None:
    with pretend_device() as device:
        run = Run("td3", "replay", device=device)
        run.learn(0)
        run.agent.save(tmp_path / "agent.zip")
        again = agents.TD3.load(tmp_path / "agent.zip", device=device)
        assert left_behind(again.state_dict()) == []
        acted = again.act(SHOWN)
        assert np.array_equal(run.agent.act(SHOWN), acted)
    on_the_cpu = agents.TD3.load(tmp_path / "agent.zip", device="cpu")
    assert {where(tensor) for _, tensor in tensors_in(on_the_cpu.state_dict())} == {"cpu"}
    assert np.array_equal(on_the_cpu.act(SHOWN), acted)


@pytest.mark.parametrize(
    "mistake",
    [
        pytest.param(lambda x: x + torch.zeros(len(x)), id="made on the CPU"),
        pytest.param(lambda x: x + torch.from_numpy(np.ones(3, np.float32)), id="never moved"),
        pytest.param(lambda x: torch.cat([x, torch.zeros(2)]), id="joined"),
        pytest.param(lambda x: torch.stack([x[0], torch.zeros(())]), id="scalars joined"),
        pytest.param(lambda x: torch.nn.Linear(3, 2)(x), id="a network left behind"),
        pytest.param(lambda x: torch.zeros(3)[x.long()], id="the CPU's by its index"),
        pytest.param(lambda x: x.scatter_(0, torch.zeros(1).long(), 1.0), id="scattered"),
        pytest.param(
            lambda x: torch.rand(3, device=x.device, generator=torch.Generator()), id="drawn"
        ),
        pytest.param(lambda x: x.double(), id="float64"),
        pytest.param(lambda x: x.numpy(), id="read"),
        pytest.param(lambda x: np.asarray(x), id="read as an array"),
    ],
)
def test_the_pretended_device_refuses_what_a_gpu_would(mistake: Callable[[Tensor], Any]) -> None:
    with pretend_device() as device:
        x = torch.zeros(3, device=device)
        with pytest.raises((DeviceError, TypeError)):
            mistake(x)


def test_the_pretended_device_takes_what_a_gpu_takes() -> None:
    with pretend_device() as device:
        x = torch.arange(6.0).view(2, 3).to(device)
        x[torch.tensor([0])] = 1.0
        x[1, 1:] += torch.tensor(2.0)
        x.mul_(torch.tensor([1, 0, 2], device=device))
        assert x.tolist() == [[1, 0, 2], [3, 0, 14]]
        assert x.cpu().numpy().sum() == 20 == x.sum().item()


def test_the_clock_waits_for_the_device() -> None:
    with pretend_device() as device, mock.patch.object(torch.accelerator, "synchronize") as wait:
        clock = UpdateClock(device)
        with clock.measure(3):
            assert wait.call_args_list == [mock.call(device)]  # what was begun before is not its
        assert len(wait.call_args_list) == 2
        with UpdateClock().measure():
            pass
        assert len(wait.call_args_list) == 2
    assert clock.updates == 3 and clock.seconds > 0


def test_the_generators_of_gpus_are_put_back_too(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.Generator().manual_seed(1)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "default_generators", (gpu,))
    before = gpu.get_state()
    with preserved_generators():
        saved = decode_tree(*encode_tree(generator_state()))
        torch.rand(3, generator=gpu)
        assert not torch.equal(gpu.get_state(), before)
    assert torch.equal(gpu.get_state(), before)
    torch.rand(3, generator=gpu)
    set_generator_state(saved)
    assert torch.equal(gpu.get_state(), before)
    monkeypatch.setattr(torch.cuda, "default_generators", ())
    set_generator_state(saved)  # a run that goes on without the GPU
