"""Methods that keep networks able to learn: closed forms, and loops written from the papers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lifelong_rl.continual import make
from lifelong_rl.continual.l2_init import L2Init
from lifelong_rl.errors import UserError
from lifelong_rl.learning import gradient_step
from lifelong_rl.learning.parameters import flatten


def named(component):
    return {k: p.detach().clone() for k, p in component.module.named_parameters()}


@pytest.mark.parametrize("num_tasks", [1, 3])
def test_l2_init_by_hand(classifier, num_tasks):
    """λ ‖θ − θ0‖² and its gradient; of several heads none is pulled, a single one is."""
    method = L2Init(strength=0.3)
    learner = classifier(method, num_tasks=num_tasks)
    (component,) = learner.components.values()
    initial = named(component)
    learner.learn_task(0, method, steps=3)
    moved = {key: value - initial[key] for key, value in named(component).items()}
    held = [key for key in moved if num_tasks == 1 or not key.startswith("heads")]
    component.module.zero_grad()
    penalty = method.penalty(component, {})
    penalty.backward()
    expected = 0.3 * sum(moved[key].square().sum() for key in held)
    assert expected > 0
    torch.testing.assert_close(penalty, expected)
    for key, parameter in component.module.named_parameters():
        if key in held:
            torch.testing.assert_close(parameter.grad, 0.6 * moved[key])
        else:
            assert parameter.grad is None


def test_naive_l2_init_agrees(classifier):
    """Two tasks under one head; θ0 is from before the first, which has the penalty too."""
    method = L2Init(strength=0.2)
    learner = classifier(method, num_tasks=1)
    (component,) = learner.components.values()
    learner.tasks.append(
        {k: v.flip(0) if k == "labels" else v for k, v in learner.tasks[0].items()}
    )
    network = copy.deepcopy(component.module)
    initial = [p.detach().clone() for p in network.parameters()]
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for task_id, data in enumerate(learner.tasks):
        learner.learn_task(task_id, method, steps=5)
        torch.manual_seed(task_id)
        for _ in range(5):
            rows = torch.randint(256, (32,))
            loss = nn.functional.cross_entropy(
                network(data["inputs"][rows])[0], data["labels"][rows]
            )
            for p, start in zip(network.parameters(), initial, strict=True):
                loss = loss + 0.2 * ((p - start) ** 2).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    torch.testing.assert_close(flatten(named(component)), flatten(network.state_dict()))


def test_l2_init_brings_back_what_the_loss_does_not_need(classifier):
    """The weights into a unit that is dead on all rows, moved away, drift to where they began."""
    method = L2Init(strength=0.01)
    learner = classifier(method, num_tasks=1)
    (component,) = learner.components.values()
    method.begin_task(learner, 0)
    weight = component.module.hidden[0].weight
    start = weight[0, 5].detach().clone()
    with torch.no_grad():
        component.module.hidden[0].bias[0, 5] = -1e3
        component.module.hidden[0].bias[
            0, 5
        ] = -1e3  # it is dead, so the loss has no gradient there
        weight[0, 5] += 0.5
    for _ in range(100):
        gradient_step(component, learner.tasks[0], method)
    assert (weight[0, 5] - start).abs().max() < 0.05


@pytest.mark.parametrize("name", ["l2-init"])
def test_saved_and_loaded_method_continues_identically(classifier, name):
    """A third task with the method, with one that was saved and loaded, and with a new one."""
    method, loaded, new = (make(name) for _ in range(3))
    learner = classifier(method)
    (component,) = learner.components.values()
    for task_id in range(2):
        learner.learn_task(task_id, method, steps=4)
    loaded.load_state_dict(copy.deepcopy(method.state_dict()))
    network = copy.deepcopy(component.module.state_dict())
    found = []
    for each in (method, loaded, new):
        component.module.load_state_dict(network)
        component.optimizer.state.clear()
        learner.learn_task(2, each, steps=4)
        found.append(flatten(named(component)))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2]), "the state matters"


@pytest.mark.parametrize("name", ["l2-init"])
def test_frozen_parameters_stay(classifier, name):
    """As the columns of old tasks do under a method that gives each task its own."""
    method = make(f"single-task+{name}")
    learner = classifier(method)
    (component,) = learner.components.values()
    learner.learn_task(0, method, steps=4)
    first = named(component)
    learner.learn_task(1, method, steps=4)
    for key, value in named(component).items():
        assert torch.equal(first[key], value) == (not key.startswith("columns.1."))


@pytest.mark.parametrize("name", ["l2-init"])
def test_a_component_without_networks_is_refused(predictor, stream_learner, distributions, name):
    component = predictor(nn.Linear(3, 2), distributions["unit_normal"])
    with pytest.raises(UserError, match="cannot act on 'predictor'"):
        make(name).begin_task(stream_learner(component, tasks=[{}, {}]), 0)
