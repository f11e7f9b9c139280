"""Elastic weight consolidation against hand-computed penalties."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lifelong_rl.continual import ewc
from lifelong_rl.continual.consolidation import Quadratic
from lifelong_rl.continual.ewc import EWC


def random_quadratics(count: int, size: int = 30) -> list[Quadratic]:
    """Penalties as tasks leave them; some entries matter to no task, some only to later ones."""
    torch.manual_seed(0)
    made = []
    for index in range(count):
        importance = torch.rand(size, dtype=torch.float64)
        importance[: size // 3] = 0
        importance[size // 3 : size // 2] *= index
        made.append(Quadratic(importance, torch.randn(size, dtype=torch.float64)))
    return made


def value_and_gradient(function, at):
    at = at.clone().requires_grad_()
    value = function(at)
    return value.detach(), torch.autograd.grad(value, at)[0]


def test_value_and_gradient_by_hand():
    quadratic = Quadratic(torch.tensor([2.0, 0.0, 1.0]), torch.tensor([1.0, 5.0, -1.0]))
    value, gradient = value_and_gradient(quadratic, torch.tensor([4.0, 0.0, 1.0]))
    assert value == 0.5 * (2 * 9 + 0 * 25 + 1 * 4)
    assert gradient.tolist() == [6, 0, 2]


def test_sum_is_the_sum_of_the_tasks_penalties():
    tasks = random_quadratics(4)
    total = tasks[0] + tasks[1] + tasks[2] + tasks[3]
    points = torch.randn(2, 30, dtype=torch.float64)
    found = [value_and_gradient(total, point) for point in points]
    expected = [value_and_gradient(lambda x: sum(task(x) for task in tasks), p) for p in points]
    for (_, gradient), (_, wanted) in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, wanted)
    # The values differ by a constant.
    torch.testing.assert_close(found[1][0] - found[0][0], expected[1][0] - expected[0][0])
    assert torch.isfinite(total.anchor).all()


def learner_of(predictor, stream_learner, distributions, **roles):
    """Linear-Gaussian components on three tasks."""
    torch.manual_seed(3)
    tasks = [{"inputs": torch.randn(50, 3), "labels": torch.randn(50, 2)} for _ in range(3)]
    components = [
        predictor(nn.Linear(3, 2), distributions["unit_normal"], name=name, role=role)
        for name, role in (roles or {"predictor": "policy"}).items()
    ]
    return stream_learner(*components, tasks=tasks)


@pytest.fixture
def known_fisher(monkeypatch):
    """Replace the measured importance by k + 1 for every parameter of task k."""
    calls = []

    def fisher(component, batch):
        calls.append(batch)
        named = component.module.named_parameters()
        return {name: torch.full_like(p, float(len(calls))) for name, p in named}

    monkeypatch.setattr(ewc, "fisher_diagonal", fisher)
    return calls


@pytest.mark.parametrize("decay", [None, 0.5])
def test_penalty_after_three_tasks(predictor, stream_learner, distributions, known_fisher, decay):
    learner = learner_of(predictor, stream_learner, distributions)
    (component,) = learner.components.values()
    method = EWC(strength=10.0, decay=decay, samples=20)
    assert method.penalty(component, {}) is None
    solutions = []
    for task_id in range(3):
        learner.learn_task(task_id, None, steps=5)
        method.end_task(learner, task_id)
        solutions.append(component.module.weight.detach().clone())
    assert [len(rows["inputs"]) for rows in known_fisher] == [20, 20, 20]

    component.module.zero_grad()
    nn.init.normal_(component.module.weight)
    method.penalty(component, {}).backward()
    weight = component.module.weight.detach()
    bias_moved = component.module.bias.grad != 0  # from the mean of the solutions, not the last
    if decay is not None:  # 0.5² · 1 + 0.5 · 2 + 3 at the last solution
        expected = 10 * 4.25 * (weight - solutions[2])
        assert not bias_moved.any()
    else:
        expected = 10 * sum((k + 1) * (weight - solutions[k]) for k in range(3))
        assert bias_moved.all()
    torch.testing.assert_close(component.module.weight.grad, expected)


def test_first_penalty_is_zero_at_the_solution_and_fisher_weighted_elsewhere(
    predictor, stream_learner, distributions
):
    learner = learner_of(predictor, stream_learner, distributions)
    (component,) = learner.components.values()
    method = EWC(strength=4.0)
    learner.learn_task(0, method, steps=3)
    assert method.penalty(component, {}).item() == 0
    torch.manual_seed(0)
    with torch.no_grad():
        component.module.bias[0] += 0.5
    state = method.state_dict()["predictor"]
    of_bias = state["importance"][-2]  # weight (6 entries), then bias (2)
    assert 0.5 < of_bias < 2, "the analytic value is 1"
    torch.testing.assert_close(method.penalty(component, {}), 4 / 2 * of_bias * 0.25)


def test_only_components_in_scope_are_measured(
    predictor, stream_learner, distributions, known_fisher
):
    learner = learner_of(predictor, stream_learner, distributions, actor="policy", critic="value")
    method = EWC(scope="value")
    learner.learn_task(0, method, steps=2)
    assert set(method.state_dict()) == {"critic"}
    assert len(known_fisher) == 1


def test_penalty_holds_parameters(classifier):
    """With a strong penalty the second task moves what the first one uses far less."""
    drift = {}
    for strength in (0.0, 1e4):
        method = EWC(strength=strength)
        learner = classifier(method)
        learner.learn_task(0, method, steps=100)
        state = method.state_dict()["predictor"]
        importance, anchor = state["importance"], state["anchor"]
        learner.learn_task(1, method, steps=100)
        (component,) = learner.components.values()
        now = torch.cat([p.detach().reshape(-1) for p in component.module.parameters()])
        drift[strength] = float((importance * (now - anchor).square()).sum())
    assert drift[1e4] < 0.01 * drift[0.0]


@pytest.mark.parametrize(
    "options",
    [
        {"strength": -1.0},
        {"strength": float("nan")},
        {"strength": float("inf")},
        {"decay": -0.1},
        {"decay": 1.1},
        {"samples": 0},
    ],
)
def test_options_out_of_range(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"'{name}' of EWC must be"):
        EWC(**options)
