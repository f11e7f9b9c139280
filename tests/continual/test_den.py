"""Dynamically expandable networks: time stamps, selection, groups and splits by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from lifelong_rl.continual.den import DEN, groups, moved
from lifelong_rl.errors import UserError
from lifelong_rl.networks import MultiHeadMLP, NetworkSpec
from lifelong_rl.networks.expandable import ExpandableMLP, _normalise


def outputs(network, inputs, task_id, num_tasks=3):
    with torch.no_grad():
        return network(inputs, torch.full((len(inputs),), task_id))


@pytest.mark.parametrize("copies", [1, 2])
def test_one_task_is_a_multi_head_mlp(copies):
    spec = NetworkSpec(3, (8, 8), (2, 1), layer_norm=True, copies=copies)
    torch.manual_seed(0)
    plain = MultiHeadMLP(spec)
    torch.manual_seed(0)
    grown = ExpandableMLP(spec, growth=4)
    inputs = torch.randn(5, 3)
    assert torch.equal(grown(inputs), plain(inputs))


@pytest.mark.parametrize("layer_norm", [True, False])
def test_a_task_sees_the_network_without_later_units(layer_norm):
    """Equal to a plain network that is cut down to the units of its time."""
    torch.manual_seed(0)
    spec = NetworkSpec(3, (4, 4), (2,), num_tasks=3, layer_norm=layer_norm)
    network = ExpandableMLP(spec, growth=2).double()
    network.expand(1, 2)
    network.expand(2, 1)
    assert [s.tolist() for s in network.stamps] == [[[0] * 4 + [1, 1, 2, 3]]] * 2
    inputs = torch.randn(5, 3).double()
    for task_id, units in ((0, 4), (1, 6), (2, 7)):
        cut = MultiHeadMLP(
            NetworkSpec(3, (units, units), (2,), num_tasks=3, layer_norm=layer_norm)
        ).double()
        state = dict(network.network.state_dict())
        state["hidden.0.weight"] = state["hidden.0.weight"][:, :units]
        state["hidden.1.weight"] = state["hidden.1.weight"][:, :units, :units]
        state["heads.weight"] = state["heads.weight"][:, :, :units]
        for name in ("hidden.0.bias", "hidden.1.bias"):
            state[name] = state[name][:, :units]
        for name in ("norm.weight", "norm.bias"):
            if layer_norm:
                state[name] = state[name][:, :, :units]
        cut.load_state_dict(state)
        torch.testing.assert_close(outputs(network, inputs, task_id), outputs(cut, inputs, task_id))


def test_units_to_come_are_not_computed():
    """The products of a row of the first task, whatever the sequence's length; then of two more."""
    inputs = torch.randn(5, 3)

    def count(network, task_id):
        with FlopCounterMode(display=False) as counter:
            outputs(network, inputs, task_id)
        return counter.get_total_flops()

    for num_tasks in (2, 50):
        spec = NetworkSpec(3, (8, 6), (2,), num_tasks=num_tasks, copies=2)
        network = ExpandableMLP(spec, growth=4)
        assert count(network, 0) == 2 * 2 * 5 * (3 * 8 + 8 * 6 + 6 * 2)
        network.expand(1, 2)
        assert count(network, 1) == 2 * 2 * 5 * (3 * 10 + 10 * 8 + 8 * 2)
        assert count(network, 0) == 2 * 2 * 5 * (3 * 8 + 8 * 6 + 6 * 2)


def test_old_outputs_are_bit_identical_whatever_later_units_do():
    torch.manual_seed(0)
    spec = NetworkSpec(3, (8, 8), (2,), num_tasks=3, layer_norm=True, copies=2)
    network = ExpandableMLP(spec, growth=4)
    network.expand(1, 3)
    inputs = torch.randn(5, 3)
    old = [outputs(network, inputs, k) for k in range(2)]
    with torch.no_grad():
        for layer, stamp in zip(network.hidden, network.stamps, strict=True):
            layer.weight[stamp > 1] += 10
            layer.bias[stamp > 1] += 10
    network.expand(2, 3)
    for task_id in range(2):
        assert torch.equal(outputs(network, inputs, task_id), old[task_id])
    mixed = network(inputs, torch.tensor([0, 1, 0, 1, 0]))
    assert torch.equal(mixed[:, [0, 2, 4]], old[0][:, [0, 2, 4]])
    assert torch.equal(mixed[:, [1, 3]], old[1][:, [1, 3]])


def small():
    """Two inputs, two layers of two units and one of growth, one output, two tasks."""
    network = ExpandableMLP(NetworkSpec(2, (2, 2), (1,), num_tasks=2), growth=1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    return network


def test_selection_by_hand():
    """The head reads unit 1 of the second layer, which reads unit 0 of the first."""
    network = small()
    with torch.no_grad():
        network.network.heads.weight[0, 1] = torch.tensor([0.001, -2.0, 9.0])  # 9: no unit yet
        network.network.heads.weight[0, 0] = torch.tensor([5.0, 0.0, 0.0])  # the other task's
        network.hidden[1].weight[0, 1] = torch.tensor([0.5, 0.0, 0.0])
        network.hidden[1].weight[0, 0] = torch.tensor([7.0, 7.0, 0.0])
    first, second = network.select(1, threshold=0.01)
    assert first.tolist() == [[True, False, False]]
    assert second.tolist() == [[False, True, False]]
    first, second = network.select(1, threshold=0.0001)
    assert second.tolist() == [[True, True, False]]
    assert first.tolist() == [[True, True, False]]


def test_penalties_by_hand():
    network = small()
    before = {name: p.detach().clone() for name, p in network.network.named_parameters()}
    network.expand(1, 1)
    with torch.no_grad():
        network.hidden[0].weight[0] = torch.tensor([[1.0, 2.0], [0.0, 0.0], [3.0, 4.0]])
        network.hidden[1].weight[0] = torch.tensor([[0.0, 3.0, 50.0], [0, 0, 0], [6.0, 0.0, 8.0]])
        network.hidden[1].bias[0] = torch.tensor([2.0, 0.0, 100.0])
    # Old units: 1² + 2² in the first layer, 3² + 2² in the second; 50 comes from the new unit.
    assert moved(network, before, 1).item() == 5 + 13
    assert groups(network, 1).item() == 5 + 10


def test_splitting_by_hand():
    network = small()
    with torch.no_grad():
        network.hidden[0].weight[0, :2] = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        network.hidden[1].weight[0, :2, :2] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        network.network.heads.weight[0, :, :2] = torch.tensor([[1.0, 2.0], [5.0, 6.0]])
    inputs = torch.tensor([[1.0, 2.0], [0.3, 0.1]])
    old = outputs(network, inputs, 0, num_tasks=2)
    before = {name: p.detach().clone() for name, p in network.network.named_parameters()}
    with torch.no_grad():  # the first layer's units drift by 0.3 and 0.5, the second's by 0.1
        network.hidden[0].bias[0, 0] = 0.3
        network.hidden[0].weight[0, 1, 0] = 0.5
        network.hidden[1].weight[0, 0, 0] = 1.1
    restored = network.split(1, before, drift=0.2)
    assert [r.tolist() for r in restored] == [[[False, True, False]], [[False, False, False]]]
    assert network.stamps[0].tolist() == [[0, 0, 1]], "there is room for the one that drifted most"
    assert network.stamps[1].tolist() == [[0, 0, 2]]
    assert network.hidden[0].weight[0, 1].tolist() == [0.0, 1.0]
    assert network.hidden[0].weight[0, 2].tolist() == [0.5, 1.0]
    assert network.hidden[1].weight[0, :2, 2].tolist() == [2.0, 4.0], "read as the unit was"

    # With all of the drift undone, the old task is as it was.
    with torch.no_grad():
        network.hidden[0].bias[0, 0] = 0.0
        network.hidden[1].weight[0, 0, 0] = 1.0
    assert torch.equal(outputs(network, inputs, 0, num_tasks=2), old)


def test_new_units_with_hardly_any_input_are_removed():
    network = ExpandableMLP(NetworkSpec(2, (2,), (1,), num_tasks=2), growth=2)
    network.expand(1, 2)
    with torch.no_grad():
        network.hidden[0].weight[0] = torch.tensor(
            [[3.0, 4.0], [1.0, 0.0], [0.02, 0.0], [0.0, 1.0]]
        )
    network.remove_idle(1, threshold=0.01)  # of the mean, 3
    assert network.stamps[0].tolist() == [[0, 0, 2, 1]]
    assert network.hidden[0].weight[0, 2].abs().sum() > 0.02, "fresh for the next task"


def changed(network, before):
    return {n for n, p in network.network.named_parameters() if not torch.equal(p, before[n])}


def test_phases_of_a_task(classifier):
    """First the head alone, then what it depends on; old units barely move, later ones never."""
    method = DEN(growth=4, selection_updates=3, retrain_share=0.0, drift=10.0)
    learner = classifier(method, hidden=(8, 8))
    (component,) = learner.components.values()
    network = component.module
    learner.learn_task(0, method, steps=30)
    before = {n: p.detach().clone() for n, p in network.network.named_parameters()}
    learner.task_id, learner.method = 1, method
    method.begin_task(learner, 1)
    assert [int((stamp == 1).sum()) for stamp in network.stamps] == [2, 2]
    learner.rehearse(3)
    assert changed(network, before) == {"heads.weight", "heads.bias"}
    learner.rehearse(20)
    assert "hidden.1.weight" in changed(network, before)
    free = [stamp == 3 for stamp in network.stamps]
    for depth, layer in enumerate(network.hidden):
        old = before[f"hidden.{depth}.weight"]
        assert torch.equal(layer.weight[free[depth]], old[free[depth]])
    head = network.network.heads.weight
    assert torch.equal(head[:, :2], before["heads.weight"][:, :2]), "the old task's head"
    assert torch.equal(head[:, 4:], before["heads.weight"][:, 4:]), "the next task's head"


def test_tasks_add_no_more_units_than_they_may(classifier):
    method = DEN(growth=4, selection_updates=5, retrain_share=0.25, split=1e-3)
    learner = classifier(method, hidden=(8, 8))
    (component,) = learner.components.values()
    for task_id in range(3):
        learner.learn_task(task_id, method, steps=20)
        for stamp in component.module.stamps:
            counts = stamp.flatten().bincount(minlength=4).tolist()
            assert counts[0] == 8
            assert all(0 < counts[k] <= 4 for k in range(1, task_id + 1))
    assert counts[2] == 4, "with so low a threshold every free unit is used for splitting"


def test_retraining_moves_new_units_and_none_that_was_put_back(classifier, monkeypatch):
    restored = []
    split = ExpandableMLP.split

    def keep_restored(network, *arguments):
        restored.extend(split(network, *arguments))
        restored.append(network.hidden[1].weight.detach().clone())
        return restored[:2]

    monkeypatch.setattr(ExpandableMLP, "split", keep_restored)
    method = DEN(growth=6, selection_updates=5, retrain_share=0.25, split=1e-3)
    learner = classifier(method, hidden=(8, 8))
    (component,) = learner.components.values()
    learner.learn_task(0, method, steps=20)
    learner.learn_task(1, method, steps=20)
    _, put_back, before = restored
    weight, stamp = component.module.hidden[1].weight, component.module.stamps[1]
    assert put_back.any()
    assert torch.equal(weight[put_back], before[put_back])
    assert (weight != before)[stamp == 1].any()


def test_less_is_forgotten(classifier):
    lost = {}
    for method in (None, DEN(growth=8, selection_updates=20, retrain_share=0.25)):
        learner = classifier(method, num_tasks=2)
        learner.learn_task(0, method, steps=200)
        learned = learner.accuracy(0)
        learner.learn_task(1, method, steps=200)
        assert min(learned, learner.accuracy(1)) > 0.85
        lost[method is None] = learned - learner.accuracy(0)
    assert lost[True] > 0.15
    assert lost[False] < 0.05


def test_continues_identically_from_the_network_alone(classifier):
    """The method keeps nothing between tasks: the stamps are buffers of the network."""
    method, resumed_method = (DEN(growth=4, selection_updates=3, retrain_share=0.3) for _ in "ab")
    learner, resumed = classifier(method), classifier(resumed_method)
    for task_id in range(2):
        learner.learn_task(task_id, method, steps=10)
    (component,), (copy,) = learner.components.values(), resumed.components.values()
    copy.module.load_state_dict(component.module.state_dict())
    resumed_method.load_state_dict(method.state_dict())
    learner.learn_task(2, method, steps=10)
    resumed.learn_task(2, resumed_method, steps=10)
    for name, value in component.module.state_dict().items():
        assert torch.equal(copy.module.state_dict()[name], value), name


def test_normalisation_is_that_of_torch_over_active_units():
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    active = torch.tensor([[[True, True, False, True, False, True]]]).expand(2, -1, -1)
    columns = [0, 1, 3, 5]
    expected = F.layer_norm(x[..., columns], (4,))
    torch.testing.assert_close(_normalise(x, active)[..., columns], expected)


def test_refusals(classifier):
    with pytest.raises(UserError, match="den cannot act on 'predictor'"):
        DEN().begin_task(classifier(None), 0)
    for option, value in (
        ("growth", 1),
        ("l1", -1.0),
        ("drift", float("inf")),
        ("threshold", 1.0),
        ("retrain_share", -1),
    ):
        with pytest.raises(ValueError, match=f"'{option}' of DEN must be"):
            DEN(**{option: value})
