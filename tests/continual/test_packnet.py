"""PackNet: who owns which weight, what may move, and that old tasks do not change by one bit."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lifelong_rl.continual.den import DEN
from lifelong_rl.continual.packnet import PackNet
from lifelong_rl.errors import UserError
from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.networks import MultiHeadMLP, NetworkSpec, TaskNetwork
from lifelong_rl.networks.packnet import PackNetMLP


def outputs(component, data):
    with torch.no_grad():
        return component.module(data["inputs"], data["task"]).clone()


def owners(network):
    return [owner for _, owner in network.owned_weights().values()]


@pytest.mark.parametrize("copies", [1, 2])
def test_one_task_is_a_multi_head_mlp(copies):
    spec = NetworkSpec(3, (8, 8), (2, 1), layer_norm=True, copies=copies)
    torch.manual_seed(0)
    plain = MultiHeadMLP(spec)
    torch.manual_seed(0)
    packed = PackNetMLP(spec)
    for ours, theirs in zip(packed.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    inputs = torch.randn(5, 3)
    assert torch.equal(packed(inputs), plain(inputs))


def test_before_learning_all_tasks_use_all_weights():
    torch.manual_seed(0)
    network = PackNetMLP(NetworkSpec(3, (8,), (2,), num_tasks=3))
    inputs, task = torch.randn(6, 3), torch.arange(3).repeat(2)
    assert torch.equal(network(inputs, task), network.network(inputs, task))


def test_pruning_by_hand():
    """Two copies of 1 × 4 weights: each keeps its own largest half, at their values."""
    network = PackNetMLP(NetworkSpec(4, (1,), (1,), num_tasks=2, copies=2))
    weights = torch.tensor([[[0.1, -0.9, 0.5, -0.2]], [[-3.0, 1.0, 2.0, -4.0]]])
    network.network.hidden[0].weight.data.copy_(weights)
    network.prune(0, keep=0.5)
    (owner,) = owners(network)
    assert owner.tolist() == [[[2, 0, 0, 2]], [[0, 2, 2, 0]]]
    kept = torch.tensor([[[0.0, -0.9, 0.5, 0.0]], [[-3.0, 0.0, 0.0, -4.0]]])
    assert torch.equal(network.network.hidden[0].weight.data, kept)
    network.claim(1)
    assert owner.tolist() == [[[1, 0, 0, 1]], [[0, 1, 1, 0]]]


def test_each_row_sees_the_weights_up_to_its_task():
    """Rows of a mixed batch against the product with the masked weights, by hand."""
    torch.manual_seed(0)
    network = PackNetMLP(NetworkSpec(3, (4,), (2,), num_tasks=3)).double()
    (owner,) = owners(network)
    owner.copy_(torch.randint(0, 4, owner.shape))  # 3 is free
    inputs, ids = torch.randn(6, 3).double(), torch.tensor([2, 0, 1, 1, 0, 2])
    found = network(inputs, ids)[0]
    layer, heads = network.network.hidden[0], network.network.heads
    for row, k in enumerate(ids.tolist()):
        hidden = torch.relu((layer.weight[0] * (owner[0] <= k)) @ inputs[row] + layer.bias[0])
        own = slice(2 * k, 2 * k + 2)
        expected = heads.weight[0, own] @ hidden + heads.bias[0, own]
        torch.testing.assert_close(found[row], expected)


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
@pytest.mark.parametrize("reset", [True, False])
def test_old_outputs_are_bit_identical(classifier, optimizer, reset):
    """Whether or not the learner clears the optimizer's moments."""
    method = PackNet(retrain_share=0.3)
    learner = classifier(method)
    (component,) = learner.components.values()
    options = {"momentum": 0.9} if optimizer is torch.optim.SGD else {}
    component.optimizer = optimizer(component.module.parameters(), lr=1e-2, **options)
    learned = []
    for task_id in range(3):
        if reset:
            component.optimizer.state.clear()
        before = outputs(component, learner.tasks[task_id])
        learner.learn_task(task_id, method, steps=30)
        learned.append(outputs(component, learner.tasks[task_id]))
        assert not torch.equal(before, learned[task_id])
    for task_id in range(3):
        assert torch.equal(outputs(component, learner.tasks[task_id]), learned[task_id])


def test_every_task_gets_the_same_share_and_learns_with_it(classifier):
    method = PackNet(retrain_share=0.6)
    learner = classifier(method)
    (component,) = learner.components.values()
    for task_id in range(3):
        method.begin_task(learner, task_id)
        assert all((owner < 3).all() for owner in owners(component.module)), "all is claimed"
        learner.learn_task(task_id, method, steps=100)
        later = 2 - task_id
        for owner in owners(component.module):
            counts = owner.flatten().bincount(minlength=4)[: task_id + 1]
            assert (counts - owner.numel() / 3).abs().max() <= 1
            assert (owner == 3).sum() == pytest.approx(owner.numel() * later / 3, abs=1)
    assert min(learner.accuracy(task_id) for task_id in range(3)) > 0.9


def test_retraining_moves_what_was_kept_and_nothing_that_was_freed(classifier):
    weights = {}
    for updates in (0, 5):
        method = PackNet(retrain_share=updates / 20)
        learner = classifier(method)
        learner.learn_task(0, method, steps=20)
        (component,) = learner.components.values()
        weights[updates] = component.module.network.hidden[1].weight.detach().clone()
        owner = owners(component.module)[1]
    assert torch.equal(weights[0] == 0, owner == 3)
    assert torch.equal(weights[5] == 0, owner == 3)
    moved = weights[0] != weights[5]
    assert moved.any()
    assert (owner[moved] == 0).all()


@pytest.mark.parametrize("delay", [1, 3])
def test_retraining_is_a_share_of_the_tasks_steps(classifier, monkeypatch, delay):
    """Also where the learner steps the component in some of its updates only."""
    method = PackNet(retrain_share=0.25)
    learner = classifier(method)
    steps, updates = [], itertools.count(1)
    rehearse = type(learner).rehearse

    def delayed(count):
        for _ in range(count):
            if next(updates) % delay == 0:
                rehearse(learner, 1)

    monkeypatch.setattr(learner, "rehearse", delayed)
    transform = method.transform_gradient
    monkeypatch.setattr(
        method, "transform_gradient", lambda *of: (steps.append(of), transform(*of))[1]
    )
    for task_id, updates_of_task in enumerate([120, 60]):
        steps.clear()
        learner.learn_task(task_id, method, steps=updates_of_task)
        goal = updates_of_task // delay * 5 // 4
        assert goal - delay < len(steps) <= goal


def test_what_is_shared_beside_the_weights_is_learned_in_the_first_task(classifier):
    method = PackNet(retrain_share=0.0)
    learner = classifier(method)
    (component,) = learner.components.values()
    learner.learn_task(0, method, steps=5)
    method.begin_task(learner, 1)
    trainable = {name for name, p in component.module.named_parameters() if p.requires_grad}
    assert trainable == {f"network.{n}.weight" for n in ("hidden.0", "hidden.1", "heads")} | {
        "network.heads.bias"
    }
    heads = component.module.network.heads.weight.detach().clone()
    learner.learn_task(1, method, steps=5)
    moved = (component.module.network.heads.weight != heads).view(3, -1).any(dim=1)
    assert moved.tolist() == [False, True, False]


def test_shared_encoder_is_frozen_but_not_what_belongs_to_a_task_or_predicts_nothing(
    predictor, stream_learner, distributions
):
    class Encoded(TaskNetwork):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Linear(2, 4)
            self.network = PackNetMLP(NetworkSpec(4, (8,), (2,), num_tasks=3))
            self.scale = nn.Parameter(torch.ones(3, 2))
            self.unused = nn.Linear(2, 2)

        def forward(self, inputs, task):
            return self.network(self.encoder(inputs), task) * self.scale[task]

    torch.manual_seed(0)
    component = predictor(Encoded(), distributions["categorical"])
    tasks = [
        {
            "inputs": torch.randn(64, 2),
            "labels": torch.randint(2, (64,)),
            "task": torch.full((64,), task_id),
        }
        for task_id in range(3)
    ]
    learner, method = stream_learner(component, tasks=tasks), PackNet(retrain_share=0.4)
    start = component.module.encoder.weight.detach().clone()
    learner.learn_task(0, method, steps=5)
    assert not torch.equal(component.module.encoder.weight, start)
    old = outputs(component, tasks[0])
    method.begin_task(learner, 1)
    frozen = {name for name, p in component.module.named_parameters() if not p.requires_grad}
    assert frozen == {"encoder.weight", "encoder.bias", "network.network.hidden.0.bias"}
    learner.learn_task(1, method, steps=5)
    assert (component.module.scale[1] != 1).all()
    assert torch.equal(outputs(component, tasks[0]), old)


def test_saved_and_loaded_method_continues_identically(classifier):
    def made():
        method = PackNet(retrain_share=0.5)
        return method, classifier(method)

    (method, learner), (resumed_method, resumed) = made(), made()
    for task_id in range(2):
        learner.learn_task(task_id, method, steps=10)
    networks = [next(iter(each.components.values())).module for each in (learner, resumed)]
    networks[1].load_state_dict(networks[0].state_dict())
    resumed_method.load_state_dict(method.state_dict())
    for each, its_method in ((learner, method), (resumed, resumed_method)):
        each.learn_task(2, its_method, steps=10)
    for name, value in networks[0].state_dict().items():
        assert torch.equal(networks[1].state_dict()[name], value), name


def test_refusals(predictor, stream_learner, distributions):
    plain = predictor(
        MultiHeadMLP(NetworkSpec(4, (8,), (1,), num_tasks=2)), distributions["unit_normal"]
    )
    with pytest.raises(UserError, match="packnet cannot act on 'predictor'"):
        PackNet().begin_task(stream_learner(plain, tasks=[{}, {}]), 0)
    with pytest.raises(ValueError, match="'retrain_share' of PackNet must be a number of at"):
        PackNet(retrain_share=-0.1)


@pytest.mark.parametrize("method", [PackNet(), DEN()])
def test_a_learner_that_cannot_rehearse_is_refused(method: ContinualMethod) -> None:
    learner = SimpleNamespace(components={"policy": SimpleNamespace(role="policy")})
    with pytest.raises(UserError, match=r"this agent, SimpleNamespace, has no rehearse\(updates\)"):
        method.check_components(learner)
    learner.rehearse = lambda updates: None
    method.check_components(learner)
