"""LoRA as a method: what trains when, and that old tasks do not change by one bit."""

from __future__ import annotations

import pytest
import torch

from lifelong_rl.continual.lora import LoRA
from lifelong_rl.errors import UserError
from lifelong_rl.networks import MultiHeadMLP


def outputs(component, data):
    with torch.no_grad():
        return component.module(data["inputs"], data["task"]).clone()


def named(component):
    return {name: p.detach().clone() for name, p in component.module.named_parameters()}


def test_the_first_task_trains_the_trunk_and_later_ones_their_adapters(classifier):
    """And each its head, whose rows alone change of those of all tasks."""
    method = LoRA(rank=2)
    learner = classifier(method)
    (component,) = learner.components.values()
    heads = {"network.heads.weight", "network.heads.bias"}
    trunk = {f"network.hidden.{i}.{of}" for i in range(2) for of in ("weight", "bias")}
    for task_id, again in ((0, False), (1, False), (2, False), (1, True), (0, True)):
        before = named(component)
        learner.learn_task(task_id, method, steps=3)
        after = named(component)
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        adapters = {
            f"adapters.{task_id - 1}.{i}.{of}"
            for i in range(2 if task_id else 0)
            for of in ("down", "up")
        }
        trained = {name for name, p in component.module.named_parameters() if p.requires_grad}
        assert moved == heads | adapters | (trunk if task_id == 0 and not again else set())
        assert moved == trained
        rows = slice(2 * task_id, 2 * task_id + 2)
        for name in heads:
            for head in range(3):
                others = slice(2 * head, 2 * head + 2)
                same = torch.equal(before[name][:, others], after[name][:, others])
                assert same == (others != rows)


def test_a_task_starts_from_what_the_first_one_left(classifier):
    """Its trunk is that of the first task, whatever other tasks have learned since."""
    method = LoRA(rank=2)
    learner = classifier(method)
    (component,) = learner.components.values()
    learner.learn_task(0, method, steps=30)
    plain = MultiHeadMLP(component.module.spec)
    plain.load_state_dict(component.module.network.state_dict())
    learner.learn_task(1, method, steps=30)
    method.begin_task(learner, 2)
    data = learner.tasks[2]
    with torch.no_grad():
        assert torch.equal(outputs(component, data), plain(data["inputs"], data["task"]))


def test_adapters_learn_what_a_head_alone_cannot(classifier):
    """The second task, from the same trunk, with adapters and with frozen ones."""
    found = {}
    for frozen in (False, True):
        method = LoRA(rank=2)
        learner = classifier(method, num_tasks=2, hidden=(4, 4))
        learner.learn_task(0, method, steps=300)
        method.begin_task(learner, 1)
        (component,) = learner.components.values()
        learner.task_id = 1
        component.module.adapters.requires_grad_(not frozen)
        learner.rehearse(300)
        found[frozen] = learner.accuracy(1)
    assert found[False] > found[True] + 0.05


def test_networks_of_another_kind_are_refused(classifier):
    with pytest.raises(UserError, match="lora cannot act on 'predictor'"):
        LoRA().begin_task(classifier(None), 0)
