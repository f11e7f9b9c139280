"""Churn: by hand where that can be, and nothing is left of the updates."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from lifelong_rl.errors import NonFiniteError
from lifelong_rl.learning import gradient_step
from lifelong_rl.learning.adam import FusedAdam
from lifelong_rl.runs import churn
from lifelong_rl.runs.churn import measure_churn, put_back


class Line:
    """f(x) = w x with a width of 1, and the loss (w x − y)² / 2."""

    name, role, inputs, replayable = "policy", "policy", ("x",), True

    def __init__(self, optimizer: Any = torch.optim.SGD, lr: float = 0.1) -> None:
        self.module = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.module.weight)
        self.module.register_buffer("seen", torch.zeros(()))
        self.optimizer = optimizer(self.module.parameters(), lr=lr)

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        self.module.seen += 1  # type: ignore[operator]
        return 0.5 * (self.module(batch["x"]) - batch["y"]).square().mean()

    def predict(self, batch: dict[str, Tensor]) -> Any:
        return Independent(Normal(self.module(batch["x"]), 1.0), 1)


def rows(x: float, y: float = 1.0, n: int = 3) -> dict[str, Tensor]:
    return {"x": torch.full((n, 1), x), "y": torch.full((n, 1), y)}


def test_churn_of_known_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    line: Any = Line()
    # each step takes w by 0.1 · 2 (1 − 2 w): from 0 to 0.2, 0.32 and 0.392; the width stays
    monkeypatch.setattr(churn, "UPDATES", 3)
    held = {"x": torch.tensor([[1.0], [-3.0]]), "y": torch.zeros(2, 1)}
    assert measure_churn(line, held, rows(2.0)) == pytest.approx((0.392 * (1 + 3) / 2 + 0) / 2)
    monkeypatch.setattr(churn, "UPDATES", 1)
    assert measure_churn(line, held, rows(2.0)) == pytest.approx((0.2 * (1 + 3) / 2 + 0) / 2)
    assert measure_churn(line, held, rows(0.0)) == 0  # nothing is learned from these


def test_the_optimizers_moments_take_part() -> None:
    fresh: Any = Line(FusedAdam)
    moving: Any = Line(FusedAdam)
    for _ in range(20):
        gradient_step(moving, rows(1.0))
    with torch.no_grad():
        moving.module.weight.zero_()
    # against the way that the moments go, the first steps are small
    other = rows(1.0, -1.0)
    with_moments, without = (measure_churn(each, rows(1.0), other) for each in (moving, fresh))
    assert with_moments is not None and without is not None
    assert with_moments < 0.6 * without


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam, FusedAdam])
@pytest.mark.parametrize("begun", [False, True])
def test_nothing_is_left_of_the_updates(optimizer: Any, begun: bool) -> None:
    line: Any = Line(optimizer)
    twin: Any = Line(optimizer)
    for each in (line, twin) if begun else ():
        gradient_step(each, rows(1.0))
    kept = copy.deepcopy(state_of(line))
    gradient = line.module.weight.grad
    assert measure_churn(line, rows(1.0), rows(2.0)) is not None
    assert state_of(line) == kept
    assert line.module.weight.grad is gradient
    for each in (line, twin):
        gradient_step(each, rows(0.7))
    assert state_of(line) == state_of(twin)


def test_nothing_is_left_of_what_fails() -> None:
    line: Any = Line(FusedAdam)
    kept = copy.deepcopy(state_of(line))
    assert measure_churn(line, rows(1.0), rows(float("nan"))) is None
    assert state_of(line) == kept
    with pytest.raises(NonFiniteError), put_back(line):
        gradient_step(line, rows(1.0))
        gradient_step(line, rows(float("inf")))
    assert state_of(line) == kept


def test_sampled_predictions_do_not_count_as_changed() -> None:
    class Noisy(Line):
        def predict(self, batch: dict[str, Tensor]) -> Any:
            return Independent(Normal(torch.randn_like(batch["x"]), 1.0), 1)

    noisy: Any = Noisy()
    assert measure_churn(noisy, rows(1.0), rows(2.0)) == 0


def test_what_cannot_be_told_is_left_out() -> None:
    class Odd(Line):
        def predict(self, batch: dict[str, Tensor]) -> Any:
            return torch.distributions.Exponential(batch["x"])

    odd: Any = Odd()
    assert measure_churn(odd, rows(1.0), rows(2.0)) is None


def state_of(line: Any) -> Any:
    """All numbers that it holds, as plain ones."""
    moments = [
        {name: torch.as_tensor(value).tolist() for name, value in kept.items() if value is not None}
        for kept in line.optimizer.state.values()
    ]
    return {name: value.tolist() for name, value in line.module.state_dict().items()}, moments
