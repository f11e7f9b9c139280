"""A-GEM's projection by hand and by its invariants, and its reference gradient."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lifelong_rl.continual.agem import AGEM
from lifelong_rl.continual.projection import project_agem
from lifelong_rl.learning import gradient_step
from lifelong_rl.learning.parameters import flatten, unflatten


def test_projection_by_hand():
    """g = (1, −2), r = (1, 1): g·r = −1, r·r = 2, so g + r/2."""
    found = project_agem(torch.tensor([1.0, -2.0]), torch.tensor([1.0, 1.0]))
    assert found.tolist() == [1.5, -1.5]


def test_no_conflict_changes_nothing():
    gradient = torch.tensor([0.1, 0.7, -0.3])
    for reference in ([1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.7, -0.1, 0.0]):
        assert torch.equal(project_agem(gradient, torch.tensor(reference)), gradient)


vectors = st.lists(
    st.floats(-100, 100).filter(lambda x: x == 0 or abs(x) > 1e-3), min_size=4, max_size=4
).map(lambda entries: torch.tensor(entries, dtype=torch.float64))


@given(vectors, vectors)
def test_projection_invariants(gradient, reference):
    projected = project_agem(gradient, reference)
    scale = float(gradient.norm() * reference.norm())
    conflict = torch.dot(gradient, reference)
    if conflict >= 0:
        assert torch.equal(projected, gradient)
        return
    # Orthogonal to r, and nearest: what was removed is along r, so Pythagoras holds.
    assert abs(torch.dot(projected, reference)) <= 1e-9 * scale
    removed = gradient - projected
    assert torch.allclose(
        projected.square().sum() + removed.square().sum(), gradient.square().sum()
    )
    assert abs(removed.norm() - conflict.abs() / reference.norm()) <= 1e-9 * (1 + scale)
    assert torch.allclose(project_agem(projected, reference), projected)


def test_flatten_and_unflatten():
    params = {"b": torch.arange(6.0).view(2, 3), "a": torch.tensor(9.0), "c": torch.ones(2)}
    vector = flatten(params)
    assert vector.tolist() == [0, 1, 2, 3, 4, 5, 9, 1, 1]
    back = unflatten(vector, params)
    assert list(back) == ["b", "a", "c"]
    assert all(torch.equal(back[name], params[name]) for name in params)


def linear_learner(predictor, stream_learner, distributions):
    """Two tasks whose gradients conflict: y = x and y = −x."""
    inputs = torch.tensor([[1.0], [2.0]])
    tasks = [{"inputs": inputs, "labels": inputs}, {"inputs": inputs, "labels": -inputs}]
    component = predictor(nn.Linear(1, 1), distributions["unit_normal"])
    nn.init.zeros_(component.module.weight)
    nn.init.zeros_(component.module.bias)
    return stream_learner(component, tasks=tasks), component


def test_step_on_a_conflicting_task(predictor, stream_learner, distributions):
    """With gradients that are exactly opposed nothing remains, so nothing moves."""
    learner, component = linear_learner(predictor, stream_learner, distributions)
    method = AGEM(per_task=1, batch_size=8)
    learner.tasks = [{key: rows[1:] for key, rows in task.items()} for task in learner.tasks]
    learned = gradient_step(component, learner.tasks[1])
    moved = component.module.weight.item()
    assert moved == pytest.approx(-0.1 * 4), "lr 0.1 times x · (0 + x) at x = 2"

    nn.init.zeros_(component.module.weight)
    nn.init.zeros_(component.module.bias)
    method.end_task(learner, 0)
    held = gradient_step(component, learner.tasks[1], method)
    assert component.module.weight.item() == pytest.approx(0, abs=1e-6)
    assert component.module.bias.item() == pytest.approx(0, abs=1e-6)
    assert held["loss"] == learned["loss"], "the loss itself is the task's alone"


def test_steps_hardly_increase_the_memory_loss(classifier):
    """Plain gradient descent with a large sample of the memory as the reference."""
    method = AGEM(per_task=400, batch_size=1024)
    learner = classifier(method, num_tasks=2)
    learner.learn_task(0, method, steps=100)
    (component,) = learner.components.values()
    component.optimizer = torch.optim.SGD(component.module.parameters(), lr=0.2)
    start = component.loss(learner.tasks[0]).item()
    plain = {name: p.clone() for name, p in component.module.state_dict().items()}
    losses = {}
    for each in (method, None):
        component.module.load_state_dict(plain)
        for _ in range(100):
            gradient_step(component, learner.tasks[1], each)
        losses[each] = component.loss(learner.tasks[0]).item()
    assert losses[None] > start + 0.2, "without projection the old task is forgotten"
    assert losses[method] < start + 0.1 * (losses[None] - start)


def test_first_task_is_plain(classifier):
    weights = []
    for method in (AGEM(), None):
        learner = classifier(method)
        learner.learn_task(0, method, steps=3)
        (component,) = learner.components.values()
        weights.append(flatten(component.module.state_dict()))
    assert torch.equal(*weights)


@pytest.mark.parametrize("option", ["per_task", "batch_size"])
def test_options_out_of_range(option):
    with pytest.raises(
        ValueError, match=f"'{option}' of AGEM must be a whole number of at least 1, not 0"
    ):
        AGEM(**{option: 0})
