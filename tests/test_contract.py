"""Every continual method with every learner: what all pairs promise, or how they refuse.

Two tiny tasks; the second has twice the data of the first. A method that is added to `METHODS` is
tested here without another line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from tiny_learners import NUM_TASKS, OBS_DIM, PER_TASK, SMALL_AGENT, Run

from lifelong_rl.compatibility import find_refusal
from lifelong_rl.continual import METHODS, ContinualMethod
from lifelong_rl.errors import UserError
from lifelong_rl.learning import Batch, Component
from lifelong_rl.learning.method import HOOKS
from lifelong_rl.learning.seeding import preserved_generators
from lifelong_rl.registry import AGENTS

KEEPS_ALL = {"perfect-memory"}
"""Methods whose memory has no bound, which is their point."""
AS_FINE_TUNING = {
    "finetune": "it is what the others are set against",
    "joint": "it has the run itself bring all tasks at once: see tests/runs/test_joint.py",
}
"""Methods that learn the very parameters that fine-tuning does in the runs here, and why."""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """More threads only get into each other's way on matrices this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def memory_sizes(state: Any) -> Iterator[int]:
    """Rows of each task in every episodic memory of a method's state."""
    if isinstance(state, Mapping):
        for name, value in state.items():
            if name == "sizes":
                yield from value.tolist()
            else:
                yield from memory_sizes(value)


@pytest.mark.parametrize("learner", SMALL_AGENT)
@pytest.mark.parametrize("method", METHODS.names())
def test_contract(method: str, learner: str) -> None:
    # it runs, or is refused before the first step, as both declare
    refusal = find_refusal(METHODS, method, AGENTS, learner)
    if refusal is not None:
        assert f"'{method}'" in refusal and f"'{learner}'" in refusal and "\n" not in refusal
        with pytest.raises(UserError):
            Run(learner, method).begin(0)
        return
    through = Run(learner, method)
    fresh = through.parameters()
    through.begin(0)
    through.finish(0)
    after_first, first_bytes = through.saved(), through.memory_bytes()
    learned = through.parameters()
    assert learned.isfinite().all()
    assert not torch.equal(learned, fresh)
    through.learn(1)
    assert through.parameters().isfinite().all()
    assert not torch.equal(through.parameters(), learned)
    measured = through.agent.diagnostics()
    assert measured and all(np.isfinite(value) for value in measured.values())
    observations = np.eye(OBS_DIM + NUM_TASKS, dtype=np.float32)[-NUM_TASKS:]
    actions = through.agent.act(observations)
    assert len(actions) == NUM_TASKS and np.isfinite(actions).all()

    # the same again is the same to the last bit
    again = Run(learner, method)
    again.learn(0)
    assert again.saved() == after_first

    # saved and loaded between the tasks, it goes on as if nothing had been
    resumed = Run(learner, method, task_id=1, state=after_first)
    assert resumed.saved() == after_first
    resumed.learn(1)
    assert resumed.saved() == through.saved()
    assert np.array_equal(resumed.agent.act(observations), actions)

    # and so it does from the middle of a task, of which nothing is lost when it is loaded
    within = Run(learner, method, task_id=1)
    within.go_on(1, resumed.halfway)
    assert within.saved() == through.saved()
    assert within.reloaded[0] == resumed.halfway[0]
    assert np.array_equal(within.agent.act(observations), actions)

    # what it keeps depends on the number of tasks, not on how much data they had
    bound = 2 * first_bytes + through.parameters().nbytes
    if method in KEEPS_ALL:
        assert through.memory_bytes() == pytest.approx(3 * first_bytes, rel=0.05)
        return
    assert through.memory_bytes() <= bound
    assert set(memory_sizes(through.method.state_dict())) <= {PER_TASK}


@pytest.mark.parametrize("learner", SMALL_AGENT)
@pytest.mark.parametrize("method", METHODS.names())
def test_it_changes_what_fine_tuning_learns(method: str, learner: str) -> None:
    """What a method draws is kept from the learner: other random numbers are no change."""
    if find_refusal(METHODS, method, AGENTS, learner) is not None:
        return  # as `test_contract` proves
    learned, plain = learn_apart(learner, method), learn_apart(learner, "finetune")
    same = learned.shape == plain.shape and torch.equal(learned, plain)
    assert same == (method in AS_FINE_TUNING)


@cache
def learn_apart(learner: str, method: str) -> torch.Tensor:
    """All parameters after both tasks, with the learner's random numbers as without a method."""
    run = Run(learner, method)
    for hook in (name for name in HOOKS if name != "build_network"):
        setattr(run.method, hook, apart(getattr(run.method, hook)))
    run.learn(0)
    run.learn(1)
    return run.parameters()


def apart(hook: Callable[..., Any]) -> Callable[..., Any]:
    """The hook, with all global generators afterwards as they were."""

    def called(*given: Any) -> Any:
        with preserved_generators():
            return hook(*given)

    return called


def test_the_learners_are_all_there() -> None:
    ours = {name for name in AGENTS if AGENTS.get(name).__module__.startswith("lifelong_rl.")}
    assert ours == set(SMALL_AGENT)


def test_other_random_numbers_alone_would_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    class Draws(ContinualMethod):
        def extend_batch(self, component: Component, batch: Batch) -> Batch:
            torch.rand(3)
            return batch

    expected = learn_apart("bc", "finetune")
    monkeypatch.setattr("tiny_learners.make", lambda name: Draws())
    assert torch.equal(learn_apart.__wrapped__("bc", "draws"), expected)
    drawn = Run("bc", "draws")
    drawn.learn(0)
    drawn.learn(1)
    assert not torch.equal(drawn.parameters(), expected)


def test_without_a_bound_the_memory_would_not_pass() -> None:
    """The bound above tells a method that keeps all from one that keeps a sample."""
    run = Run("sac", "perfect-memory")
    run.learn(0)
    first = run.memory_bytes()
    run.learn(1)
    assert run.memory_bytes() > 2 * first + run.parameters().nbytes
