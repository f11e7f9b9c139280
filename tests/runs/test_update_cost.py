"""The cost of an update beside that of fine-tuning."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from lifelong_rl.learning import UpdateClock
from lifelong_rl.runs.loop import _Stopwatch
from lifelong_rl.runs.measurements import Measurements
from lifelong_rl.runs.update_cost import BLOCK, UpdateCost


class ScriptedAgent:
    """Its updates take as long as the test says."""

    def __init__(self, seconds: float) -> None:
        self.update_clock = UpdateClock()
        self.seconds = seconds
        self.borrowed_from: Any = None

    def rehearse(self, updates: int) -> None:
        torch.rand(1)
        self.update_clock.updates += updates
        self.update_clock.seconds += updates * self.seconds

    def borrow_data(self, other: Any) -> None:
        self.borrowed_from = other


def test_the_median_of_ratios_taken_in_turns() -> None:
    agent, reference = ScriptedAgent(0.0), ScriptedAgent(0.0)
    cost = UpdateCost(agent, lambda: reference)
    for own, plain, updates in ((3.0, 2.0, 5), (8.0, 4.0, 50), (9.0, 3.0, 1)):
        agent.seconds, reference.seconds = own, plain
        agent.rehearse(updates)
        cost.measure()
    # 1.5, 2 and 3 times: however the machine's speed changed between the three
    assert cost.result() == pytest.approx({"seconds": 8.0, "finetune_seconds": 3.0, "ratio": 2.0})
    assert reference.borrowed_from is agent
    assert reference.update_clock.updates == 1 + 3 * BLOCK  # the first one only warms up


def test_a_task_counts_only_its_own_updates() -> None:
    agent, reference = ScriptedAgent(1.0), ScriptedAgent(1.0)
    cost = UpdateCost(agent, lambda: reference)
    agent.rehearse(7)
    cost.begin_task()
    cost.measure()  # nothing was updated since
    assert cost.result() is None
    agent.seconds = 4.0
    agent.rehearse(2)
    cost.measure()
    assert cost.result() == pytest.approx({"seconds": 4.0, "finetune_seconds": 1.0, "ratio": 4.0})


def test_measuring_draws_none_of_the_runs_random_numbers() -> None:
    agent = ScriptedAgent(1.0)
    cost = UpdateCost(agent, lambda: ScriptedAgent(1.0))
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    agent.update_clock.updates = 1
    cost.measure()
    assert torch.equal(torch.rand(2), expected)


def test_an_agent_without_a_clock_is_not_timed() -> None:
    cost = UpdateCost(object(), lambda: pytest.fail("it needs no reference"))
    cost.begin_task()
    cost.measure()
    assert cost.result() is None


def test_the_clock_counts_cpu_time() -> None:
    clock = UpdateClock()
    with clock.measure(3):
        sum(range(200_000))
    with clock.measure():
        pass
    assert clock.updates == 4
    assert 1e-4 < clock.seconds < 1.0


def test_waiting_takes_time_and_computes_nothing() -> None:
    learning, unknown = _Stopwatch(1.0, 2.0), _Stopwatch(1.0, None)
    for watch in (learning, unknown):
        with watch:
            time.sleep(0.2)
        assert watch.seconds >= 1.2
    assert learning.cpu_seconds is not None and 2.0 <= learning.cpu_seconds < 2.1
    assert unknown.cpu_seconds is None


def test_a_checkpoint_of_an_earlier_version_has_no_times_of_updates() -> None:
    times = {"seconds": 2.0, "finetune_seconds": 1.0, "ratio": 2.0}
    former = Measurements(learn_seconds=[5.0, 6.0], performance=[[0.0], [1.0], [1.0]], updates=[])
    assert former.updates == [None, None] == former.learn_cpu_seconds
    assert former.outcomes == [None, None, None]
    assert Measurements(learn_seconds=[5.0, 6.0], updates=[times, None]).updates == [times, None]
