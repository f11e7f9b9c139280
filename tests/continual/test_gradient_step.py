"""The one gradient step: its order, its safety and what a method is told."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lifelong_rl.continual import ContinualMethod
from lifelong_rl.errors import NonFiniteError
from lifelong_rl.learning import gradient_step
from lifelong_rl.learning.parameters import gradients, loss_gradient


@pytest.fixture
def line(predictor, distributions):
    """y ~ N(w x + b, 1) at w = b = 0, stepped by SGD with learning rate 0.1."""
    component = predictor(nn.Linear(1, 1), distributions["unit_normal"])
    nn.init.zeros_(component.module.weight)
    nn.init.zeros_(component.module.bias)
    return component


def row(x: float, y: float) -> dict[str, torch.Tensor]:
    return {"inputs": torch.full((1, 1), float(x)), "labels": torch.full((1, 1), float(y))}


def wb(component) -> tuple[float, float]:
    return component.module.weight.item(), component.module.bias.item()


def test_plain_step_by_hand(line):
    """∂/∂w ½(y − wx − b)² = −x(y − wx − b) = −6 and for b −3, at x = 2, y = 3."""
    measured = gradient_step(line, row(2, 3))
    assert wb(line) == pytest.approx((0.6, 0.3))
    half_log_two_pi = 0.9189385
    assert measured == {"loss": pytest.approx(4.5 + half_log_two_pi)}
    gradient_step(line, row(0, 0))
    assert wb(line) == pytest.approx((0.6, 0.3 - 0.1 * 0.3)), "old gradients are gone"


class Recorder(ContinualMethod):
    """Overrides every hook by something whose effect on the step is known."""

    def __init__(self, **options):
        super().__init__(**options)
        self.calls = []
        self.seen = {}

    def extend_batch(self, component, batch):
        self.calls.append("extend_batch")
        return {key: torch.cat([value, 0 * value]) for key, value in batch.items()}

    def penalty(self, component, batch):
        self.calls.append("penalty")
        self.seen["penalty_batch"] = batch
        return 5 * component.module.weight.sum()

    def transform_gradient(self, component, grads):
        self.calls.append("transform_gradient")
        self.seen["summed"] = {name: grad.clone() for name, grad in grads.items()}
        return {name: 2 * grad for name, grad in grads.items()}

    def after_step(self, component, step):
        self.calls.append("after_step")
        self.seen["step"] = step
        self.seen["after"] = wb(component)


def test_hooks_in_order_and_what_each_is_given(line):
    method = Recorder()
    measured = gradient_step(line, row(2, 3), method)
    assert method.calls == ["extend_batch", "penalty", "transform_gradient", "after_step"]
    # The second row has x = y = 0, so the means of the gradients are half of −6 and −3.
    step = method.seen["step"]
    assert step.task_gradient["weight"].item() == pytest.approx(-3)
    assert step.task_gradient["bias"].item() == pytest.approx(-1.5)
    assert method.seen["summed"]["weight"].item() == pytest.approx(-3 + 5)
    assert method.seen["summed"]["bias"].item() == pytest.approx(-1.5)
    assert wb(line) == pytest.approx((-0.1 * 2 * 2, 0.1 * 2 * 1.5))
    assert method.seen["after"] == wb(line)
    assert step.before == {"weight": torch.zeros(1, 1), "bias": torch.zeros(1)}
    assert step.loss == measured["loss"]
    assert measured["penalty"] == 0
    assert len(step.batch["inputs"]) == len(method.seen["penalty_batch"]["inputs"]) == 2


def test_method_that_does_not_act_on_the_component_is_not_called(line):
    method = Recorder(scope="value")
    gradient_step(line, row(2, 3), method)
    assert method.calls == []
    assert wb(line) == pytest.approx((0.6, 0.3))


@pytest.mark.parametrize(
    ("scope", "policy", "value"),
    [("policy", True, False), ("value", False, True), ("both", True, True)],
)
def test_scopes(scope, policy, value):
    method = ContinualMethod(scope=scope)
    assert (method.acts_on("policy"), method.acts_on("value")) == (policy, value)


def test_hooks_that_are_not_overridden_cost_nothing():
    assert not ContinualMethod().transforms_gradients
    assert not ContinualMethod().records_steps
    assert Recorder().transforms_gradients
    assert Recorder().records_steps


def test_clipping_comes_after_the_transformation(line):
    """2 · (2, −1.5) has norm 5; clipped to 1 it is (0.8, −0.6)."""
    measured = gradient_step(line, row(2, 3), Recorder(), max_grad_norm=1.0)
    assert measured["grad_norm"] == pytest.approx(5)
    assert wb(line) == pytest.approx((-0.08, 0.06), rel=1e-4)


class NanPenalty(ContinualMethod):
    def penalty(self, component, batch):
        return component.module.weight.sum() * float("nan")


class NanGradient(ContinualMethod):
    def transform_gradient(self, component, grads):
        return {name: grad * float("nan") for name, grad in grads.items()}


@pytest.mark.parametrize(
    ("quantity", "batch", "method", "max_grad_norm"),
    [
        ("loss", row(2, float("nan")), None, None),
        ("loss", row(2, float("inf")), None, None),
        ("penalty", row(2, 3), NanPenalty(), None),
        ("gradient", row(2, 3), NanGradient(), None),
        ("gradient", row(2, 3), NanGradient(), 1.0),
    ],
)
def test_non_finite_values_leave_the_parameters_as_they_were(
    line, quantity, batch, method, max_grad_norm
):
    gradient_step(line, row(1, 1))
    before = wb(line)
    with pytest.raises(NonFiniteError, match=f"the {quantity} of 'predictor' is") as raised:
        gradient_step(line, batch, method, max_grad_norm=max_grad_norm)
    assert (raised.value.quantity, raised.value.component) == (quantity, "predictor")
    assert wb(line) == before
    line.optimizer.step()
    assert wb(line) == before, "no gradient is left behind"


def test_loss_gradient_leaves_held_gradients_alone(line):
    line.module.weight.grad = torch.full((1, 1), 7.0)
    found = loss_gradient(line, row(2, 3))
    assert found["weight"].item() == pytest.approx(-6)
    assert found["bias"].item() == pytest.approx(-3)
    assert line.module.weight.grad.item() == 7
    assert line.module.bias.grad is None


def test_parameters_without_gradient_count_as_zero_and_frozen_ones_not_at_all(line):
    line.module.unused = nn.Parameter(torch.ones(2))
    line.module.weight.requires_grad_(False)
    assert set(gradients(line)) == {"bias", "unused"}
    assert gradients(line)["bias"].tolist() == [0]
    found = loss_gradient(line, row(2, 3))
    assert set(found) == {"bias", "unused"}
    assert found["unused"].tolist() == [0, 0]


def test_a_batch_of_old_rows_alone_whose_networks_are_frozen_changes_nothing():
    class Frozen:
        name, role, inputs = "frozen", "policy", ("observations",)
        module = nn.ModuleList([nn.Linear(2, 1), nn.Linear(2, 1)])
        optimizer = torch.optim.Adam(module.parameters(), lr=0.1)

        def loss(self, batch):
            return self.module[0](batch["observations"]).mean()

    component = Frozen()
    component.module[0].requires_grad_(False)
    before = [p.clone() for p in component.module.parameters()]
    measured = gradient_step(component, {"observations": torch.ones(3, 2)})
    assert list(measured) == ["loss"]
    assert all(map(torch.equal, before, component.module.parameters()))
