"""Soft sharing: the tie by hand, its limits, and that old tasks do not change by one bit."""

from __future__ import annotations

import pytest
import torch

from lifelong_rl.continual import make
from lifelong_rl.continual.soft_sharing import SoftSharing
from lifelong_rl.errors import UserError
from lifelong_rl.learning.parameters import flatten


def tied(component, task_id):
    """All parameters of a task's network but its head's, one after the other."""
    column = component.module.columns[task_id]
    return flatten({n: p for n, p in column.named_parameters() if n.startswith("hidden.")})


def gradient_by_name(component, penalty):
    named = dict(component.module.named_parameters())
    trained = {name: p for name, p in named.items() if p.requires_grad}
    found = torch.autograd.grad(penalty, list(trained.values()), allow_unused=True)
    return dict(zip(trained, found, strict=True))


def test_the_penalty_and_its_gradient_by_hand(classifier):
    """λ/2 ‖θ_2 − (θ_0 + θ_1)/2‖², whose gradient is that of the mean of λ/2 ‖θ_2 − θ_j‖²."""
    method = SoftSharing(strength=3.0)
    learner = classifier(method)
    (component,) = learner.components.values()
    method.begin_task(learner, 0)
    assert method.penalty(component, {}) is None
    for task_id in range(2):
        learner.learn_task(task_id, method, steps=10)
    method.begin_task(learner, 2)
    penalty = method.penalty(component, {})
    own, first, second = (tied(component, k) for k in (2, 0, 1))
    expected = 1.5 * (own - (first + second) / 2).square().sum()
    torch.testing.assert_close(penalty, expected)
    pairs = 1.5 * ((own - first).square().sum() + (own - second).square().sum()) / 2
    assert pairs > 1.01 * penalty, "they differ by a constant"
    found, of_pairs = (gradient_by_name(component, value) for value in (penalty, pairs))
    assert {name for name, value in found.items() if value is not None} == {
        f"columns.2.hidden.{i}.{of}" for i in range(2) for of in ("weight", "bias")
    }
    for name, value in found.items():
        if value is not None:
            torch.testing.assert_close(value, of_pairs[name])


def test_without_strength_it_is_single_task(classifier):
    found = []
    for method in (make("single-task"), SoftSharing(strength=0.0)):
        learner = classifier(method)
        for task_id in range(3):
            learner.learn_task(task_id, method, steps=10)
        (component,) = learner.components.values()
        found.append(flatten(dict(component.module.named_parameters())))
    assert torch.equal(*found)


def test_the_tie_draws_networks_together(classifier):
    """Nothing else is different between the two, so neither is the first task's network."""
    apart = {}
    for strength in (0.0, 10.0):
        method = SoftSharing(strength=strength)
        learner = classifier(method)
        (component,) = learner.components.values()
        for task_id in range(2):
            learner.learn_task(task_id, method, steps=100)
        apart[strength] = float((tied(component, 1) - tied(component, 0)).norm().detach())
    assert apart[10.0] < 0.25 * apart[0.0]


def test_a_task_that_comes_again_is_tied_to_all_others(classifier):
    method = SoftSharing(strength=2.0)
    learner = classifier(method)
    (component,) = learner.components.values()
    for task_id in (0, 1, 0):
        learner.learn_task(task_id, method, steps=4)
    assert method.state_dict()["learned"] == [0, 1]
    method.begin_task(learner, 0)
    expected = (tied(component, 0) - tied(component, 1)).square().sum()
    torch.testing.assert_close(method.penalty(component, {}), expected)


def test_what_is_saved_ties_as_before(classifier):
    method, loaded, between = (SoftSharing(strength=2.0) for _ in range(3))
    learner = classifier(method)
    (component,) = learner.components.values()
    for task_id in range(2):
        learner.learn_task(task_id, method, steps=4)
    between.load_state_dict(method.state_dict())
    method.begin_task(learner, 2)
    expected = method.penalty(component, {})
    loaded.load_state_dict(method.state_dict())
    loaded.load_task_state(method.task_state())
    between.begin_task(learner, 2)
    assert expected is not None and expected > 0
    for each in (loaded, between):
        assert torch.equal(each.penalty(component, {}), expected)


def test_networks_of_another_kind_are_refused(classifier):
    with pytest.raises(UserError, match="soft-sharing cannot act on 'predictor'"):
        SoftSharing().begin_task(classifier(None), 0)
