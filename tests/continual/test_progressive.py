"""Progressive networks as a method: what trains, and that old tasks do not change by one bit.

The latter of other methods that give each task a part of its own, too.
"""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from lifelong_rl.continual.componet import CompoNet
from lifelong_rl.continual.lora import LoRA
from lifelong_rl.continual.progressive import Progressive
from lifelong_rl.errors import UserError
from lifelong_rl.networks import MultiHeadMLP, NetworkSpec, TaskNetwork
from lifelong_rl.networks.progressive import ProgressiveMLP


def outputs(component, data):
    with torch.no_grad():
        return component.module(data["inputs"], data["task"]).clone()


@pytest.mark.parametrize(
    "make", [Progressive, partial(LoRA, rank=2), partial(CompoNet, model_dim=8)]
)
def test_old_outputs_are_bit_identical(classifier, make):
    method = make()
    learner = classifier(method)
    (component,) = learner.components.values()
    learned = []
    for task_id in range(3):
        learner.learn_task(task_id, method, steps=30)
        learned.append(outputs(component, learner.tasks[task_id]))
    for task_id in range(3):
        assert torch.equal(outputs(component, learner.tasks[task_id]), learned[task_id])


def test_only_the_tasks_column_and_laterals_move(classifier):
    method = Progressive()
    learner = classifier(method)
    (component,) = learner.components.values()
    for task_id in range(3):
        method.begin_task(learner, task_id)
        trainable = {name for name, p in component.module.named_parameters() if p.requires_grad}
        before = {name: p.detach().clone() for name, p in component.module.named_parameters()}
        learner.learn_task(task_id, method, steps=3)
        moved = {n for n, p in component.module.named_parameters() if not torch.equal(p, before[n])}
        of_task = {
            name
            for name in before
            if name.startswith((f"columns.{task_id}", f"laterals.{task_id}"))
        }
        assert moved == trainable == of_task
        assert any(name.endswith("scales") for name in moved) == (task_id > 0)


def test_momentum_left_from_an_old_task_moves_nothing(classifier):
    """A stale gradient would let the optimizer go on stepping a frozen column."""
    method = Progressive()
    learner = classifier(method)
    (component,) = learner.components.values()
    learner.learn_task(0, method, steps=5)
    assert component.module.columns[0].heads.weight.grad is not None
    frozen = component.module.columns[0].heads.weight.detach().clone()
    method.begin_task(learner, 1)
    component.optimizer.step()
    assert torch.equal(component.module.columns[0].heads.weight, frozen)


def test_shared_encoder_is_frozen_after_the_first_task(predictor, stream_learner, distributions):
    """What is beside the columns feeds all of them, so it may change in the first task only."""

    class Encoded(TaskNetwork):
        def __init__(self, method):
            super().__init__()
            self.encoder = nn.Linear(2, 4)
            self.network = method.build_network(NetworkSpec(4, (8,), (2,), num_tasks=2))

        def forward(self, inputs, task):
            return self.network(self.encoder(inputs), task)

    method = Progressive()
    torch.manual_seed(0)
    component = predictor(Encoded(method), distributions["categorical"])
    tasks = [
        {
            "inputs": torch.randn(64, 2),
            "labels": torch.randint(2, (64,)),
            "task": torch.full((64,), task_id),
        }
        for task_id in range(2)
    ]
    learner = stream_learner(component, tasks=tasks)
    start = component.module.encoder.weight.detach().clone()
    learner.learn_task(0, method, steps=5)
    first = component.module.encoder.weight.detach().clone()
    old = outputs(component, tasks[0])
    assert not torch.equal(first, start)
    learner.learn_task(1, method, steps=5)
    assert torch.equal(component.module.encoder.weight, first)
    assert torch.equal(outputs(component, tasks[0]), old)


def test_loaded_network_evaluates_and_goes_on_like_the_original(classifier):
    """All learned tasks, before and after the `begin_task` that follows a resume."""
    learner = classifier(Progressive())
    (component,) = learner.components.values()
    for task_id in range(2):
        learner.learn_task(task_id, Progressive(), steps=10)
    resumed = classifier(Progressive())
    (copy,) = resumed.components.values()
    copy.module.load_state_dict(component.module.state_dict())
    for task_id in range(3):
        data = learner.tasks[task_id]
        assert torch.equal(outputs(copy, data), outputs(component, data))
    for each in (learner, resumed):
        (one,) = each.components.values()
        one.optimizer.state.clear()
        each.learn_task(2, Progressive(), steps=5)
    for name, value in component.module.state_dict().items():
        assert torch.equal(copy.module.state_dict()[name], value), name


def test_scope_and_options(predictor, stream_learner, distributions):
    method = Progressive(adapter_dim=3)
    network = method.build_network(NetworkSpec(4, (8,), (2,), num_tasks=2))
    assert isinstance(network, ProgressiveMLP)
    assert network.laterals[1][0].output.shape == (1, 3, 2)
    value = predictor(
        MultiHeadMLP(NetworkSpec(4, (8,), (1,), num_tasks=2)),
        distributions["unit_normal"],
        role="value",
    )
    method.begin_task(stream_learner(value, tasks=[{}, {}]), 1)
    assert all(p.requires_grad for p in value.module.parameters()), "not in scope: left alone"
    with pytest.raises(UserError, match="cannot act on 'predictor'"):
        Progressive(scope="both").begin_task(stream_learner(value, tasks=[{}, {}]), 1)
    with pytest.raises(ValueError, match="'adapter_dim' of Progressive must be a whole number of"):
        Progressive(adapter_dim=0)
