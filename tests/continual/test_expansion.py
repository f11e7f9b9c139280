"""A network for each task: old tasks do not change by one bit, and nothing is shared."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from lifelong_rl.continual.single_task import SingleTask
from lifelong_rl.continual.soft_sharing import SoftSharing
from lifelong_rl.errors import UserError
from lifelong_rl.networks import MultiHeadMLP, NetworkSpec
from lifelong_rl.networks.separate import SeparateMLP


def outputs(component, data):
    with torch.no_grad():
        return component.module(data["inputs"], data["task"]).clone()


def test_one_task_is_a_multi_head_mlp():
    spec = NetworkSpec(3, (8, 8), (2, 1), layer_norm=True, copies=2)
    torch.manual_seed(0)
    plain = MultiHeadMLP(spec)
    torch.manual_seed(0)
    separate = SeparateMLP(spec)
    inputs = torch.randn(5, 3)
    assert torch.equal(separate(inputs), plain(inputs))


def test_each_row_is_evaluated_by_the_network_of_its_task():
    torch.manual_seed(0)
    network = SeparateMLP(NetworkSpec(3, (8,), (2,), num_tasks=3, copies=2)).double()
    inputs, ids = torch.randn(5, 3).double(), torch.tensor([2, 0, 2, 0, 0])
    found = network(inputs, ids)
    for row, k in enumerate(ids.tolist()):
        torch.testing.assert_close(found[:, row], network.columns[k](inputs)[:, row])


@pytest.mark.parametrize("make", [SingleTask, partial(SoftSharing, strength=10.0)])
def test_a_task_moves_its_own_network_and_old_outputs_are_bit_identical(classifier, make):
    method = make()
    learner = classifier(method)
    (component,) = learner.components.values()
    learned = []
    for task_id in range(3):
        before = {name: p.detach().clone() for name, p in component.module.named_parameters()}
        learner.learn_task(task_id, method, steps=30)
        moved = {n for n, p in component.module.named_parameters() if not torch.equal(p, before[n])}
        assert moved == {name for name in before if name.startswith(f"columns.{task_id}.")}
        learned.append(outputs(component, learner.tasks[task_id]))
    for task_id in range(3):
        assert torch.equal(outputs(component, learner.tasks[task_id]), learned[task_id])


def test_a_task_is_learned_as_if_it_were_the_only_one(classifier):
    """From the same initial network and with the same batches: no transfer of any kind."""
    method = SingleTask()
    learner = classifier(method)
    (component,) = learner.components.values()
    alone = classifier(None)
    (single,) = alone.components.values()
    single.module = MultiHeadMLP(NetworkSpec(2, (16, 16), (2,)))
    single.module.load_state_dict(component.module.columns[1].state_dict())
    single.optimizer = torch.optim.Adam(single.module.parameters(), lr=1e-2)
    for task in alone.tasks:
        task["task"] = torch.zeros_like(task["task"])
    learner.learn_task(0, method, steps=10)
    learner.learn_task(1, method, steps=10)
    alone.learn_task(1, None, steps=10)
    for name, value in single.module.state_dict().items():
        assert torch.equal(component.module.columns[1].state_dict()[name], value)


def test_momentum_left_from_an_old_task_moves_nothing(classifier):
    """A stale gradient would let the optimizer go on stepping an old task's network."""
    method = SingleTask()
    learner = classifier(method)
    (component,) = learner.components.values()
    learner.learn_task(0, method, steps=5)
    frozen = component.module.columns[0].heads.weight.detach().clone()
    method.begin_task(learner, 1)
    trainable = {name for name, p in component.module.named_parameters() if p.requires_grad}
    assert {name.split(".")[1] for name in trainable} == {"1"}
    component.optimizer.step()
    assert torch.equal(component.module.columns[0].heads.weight, frozen)


def test_networks_of_another_kind_are_refused(classifier):
    learner = classifier(None)
    with pytest.raises(UserError, match="single-task cannot act on 'predictor'"):
        SingleTask().begin_task(learner, 0)
