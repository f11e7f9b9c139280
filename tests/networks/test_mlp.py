"""Stacked and multi-head networks against separate `nn.Linear` networks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lifelong_rl.networks import MultiHeadMLP, NetworkSpec
from lifelong_rl.networks.activations import CReLU
from lifelong_rl.networks.mlp import StackedLayerNorm, StackedLinear
from lifelong_rl.networks.spec import one_task, rows_of_task


def separate_networks(spec: NetworkSpec) -> list[tuple[nn.Sequential, list[nn.ModuleList]]]:
    """For each copy a trunk, and for each task its output layers, made in the documented order."""
    made = []
    for _ in range(spec.copies):
        layers: list[nn.Module] = []
        width = spec.input_dim
        for depth, units in enumerate(spec.hidden):
            layers.append(nn.Linear(width, units))
            if depth == 0 and spec.layer_norm:
                layers += [nn.LayerNorm(units), nn.Tanh()]
            else:
                layers.append(spec.activation())
            width = units
        heads = [
            nn.ModuleList(nn.Linear(width, out) for out in spec.outputs)
            for _ in range(spec.num_tasks)
        ]
        made.append((nn.Sequential(*layers), heads))
    return made


@pytest.mark.parametrize("copies", [1, 2, 3])
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("num_tasks", [1, 3])
def test_equals_separate_networks_of_the_same_seed(copies, layer_norm, num_tasks):
    spec = NetworkSpec(5, (8, 6), (2, 3), num_tasks=num_tasks, layer_norm=layer_norm, copies=copies)
    torch.manual_seed(0)
    expected = separate_networks(spec)
    torch.manual_seed(0)
    network = MultiHeadMLP(spec)
    inputs = torch.randn(7, 5)
    index = torch.arange(7) % num_tasks
    task = index if num_tasks > 1 else None
    found = network(inputs, task)
    assert found.shape == (copies, 7, 5)
    for copy, (trunk, heads) in enumerate(expected):
        for row in range(7):
            features = trunk(inputs[row])
            row_out = torch.cat([layer(features) for layer in heads[index[row]]])
            torch.testing.assert_close(found[copy, row], row_out)


@pytest.mark.parametrize("copies", [1, 2])
def test_other_heads_get_no_gradient(copies):
    network = MultiHeadMLP(NetworkSpec(4, (8,), (3,), num_tasks=3, copies=copies))
    task = torch.ones(6, dtype=torch.int64)
    network(torch.randn(6, 4), task).square().sum().backward()
    per_head = network.heads.weight.grad.view(copies, 3, 3, 8).abs().sum(dim=(2, 3))
    assert (per_head[:, 1] > 0).all()
    assert (per_head[:, [0, 2]] == 0).all()


def test_layer_norm_scales_are_per_copy():
    norm = StackedLayerNorm(2, 3)
    with torch.no_grad():
        norm.weight[1] = 2
        norm.bias[1] = 5
    found = norm(torch.tensor([[[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0]]]))
    torch.testing.assert_close(found[1], 2 * found[0] + 5)


def test_stacked_linear_maps_shared_and_own_inputs():
    torch.manual_seed(0)
    parts = [[nn.Linear(3, 2)], [nn.Linear(3, 2)]]
    layer = StackedLinear(parts)
    shared, own = torch.randn(4, 3), torch.randn(2, 4, 3)
    for copy in range(2):
        torch.testing.assert_close(layer(shared)[copy], parts[copy][0](shared))
        torch.testing.assert_close(layer(own)[copy], parts[copy][0](own[copy]))


def test_task_is_needed_with_several_heads():
    network = MultiHeadMLP(NetworkSpec(4, (8,), (3,), num_tasks=2))
    with pytest.raises(ValueError, match="needs the task of each row"):
        network(torch.zeros(1, 4))
    with torch.no_grad(), pytest.raises(ValueError, match="needs the task of each row"):
        network(torch.zeros(1, 4))


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("task", [torch.tensor([0, 2, 1, 1]), torch.tensor(2).expand(4)])
def test_without_gradients_the_outputs_are_the_same(layer_norm: bool, task: torch.Tensor) -> None:
    torch.manual_seed(0)
    spec = NetworkSpec(4, (8, 6), (3,), num_tasks=3, layer_norm=layer_norm, copies=2)
    network = MultiHeadMLP(spec)
    inputs = torch.randn(4, 4)
    expected = network(inputs, task)
    with torch.no_grad():
        assert torch.equal(network(inputs, task), expected)


def test_hooks_are_called_without_gradients_too() -> None:
    network, seen = MultiHeadMLP(NetworkSpec(4, (8,), (3,))), []
    network.hidden[0].register_forward_hook(lambda *call: seen.append(call))
    with torch.no_grad():
        network(torch.randn(2, 4))
    assert len(seen) == 1


@pytest.mark.parametrize(
    "task", [[0, 1, 3], [0, -1, 2], [0, 1]], ids=["too large", "negative", "too few"]
)
def test_tasks_that_there_are_not_are_refused(task: list[int]) -> None:
    network = MultiHeadMLP(NetworkSpec(4, (8,), (3,), num_tasks=3))
    with pytest.raises(RuntimeError, match=r"out of bounds|expanded size"):
        network(torch.randn(3, 4), torch.tensor(task))


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("hidden", [(8,), (8, 6), (8, 6, 5)])
@pytest.mark.parametrize(("num_tasks", "mixed"), [(1, False), (3, False), (3, True)])
def test_pull_is_the_gradient_that_autograd_finds(copies, layer_norm, hidden, num_tasks, mixed):
    torch.manual_seed(0)
    network = MultiHeadMLP(
        NetworkSpec(4, hidden, (3,), num_tasks=num_tasks, layer_norm=layer_norm, copies=copies)
    ).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    rows = (torch.arange(7) % 3 if mixed else torch.full((7,), 2)) if num_tasks > 1 else None
    known = rows if mixed or rows is None else rows[:1].expand(7)
    inputs = torch.randn(7, 4, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(copies, 7, 3, dtype=torch.float64)
    expected = network(inputs, rows)  # each row's head is picked
    own = list(network.parameters())
    of_inputs, *of_own = torch.autograd.grad((expected * weights).sum(), [inputs, *own])
    with torch.no_grad():
        outputs, trace = network.trace(inputs.detach(), known)
        found, found_inputs = network.pull(trace, weights.clone(), inputs=True)
        again, trace = network.trace(inputs.detach(), known)
        nothing, same_inputs = network.pull(trace, weights.clone(), parameters=False, inputs=True)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(again, expected)
    by_parameter = {id(parameter): gradient for parameter, gradient in found}
    assert len(by_parameter) == len(found) == len(own)
    for parameter, gradient in zip(own, of_own, strict=True):
        assert by_parameter[id(parameter)].shape == parameter.shape
        torch.testing.assert_close(by_parameter[id(parameter)], gradient)
    torch.testing.assert_close(found_inputs, of_inputs)
    torch.testing.assert_close(same_inputs, of_inputs)
    assert nothing == []


def test_one_task_known_and_looked_up_are_the_same_function():
    torch.manual_seed(0)
    network = MultiHeadMLP(NetworkSpec(4, (8,), (3,), num_tasks=3, copies=2)).double()
    inputs = torch.randn(6, 4, dtype=torch.float64)
    known, looked_up = torch.tensor(1).expand(6), torch.full((6,), 1)
    assert one_task(known, 3) == 1 and one_task(looked_up, 3) is None
    gradients = []
    for task in (known, looked_up):
        network.zero_grad()
        network(inputs, task).square().sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_rows_made_of_one_task_are_told_at_once():
    task = rows_of_task(1, 6, torch.device("cpu"))
    assert task.tolist() == [1] * 6 and one_task(task, 3) == 1
    assert one_task(task, 1) == 0 and one_task(rows_of_task(3, 6, torch.device("cpu")), 3) is None


def test_a_single_row_is_looked_up():
    # a row under vmap looks like this one, and its value cannot be read there
    assert one_task(torch.tensor([1]), 3) is None
    assert one_task(torch.tensor(1).expand(1), 3) is None


@pytest.mark.parametrize("task", [3, -1])
def test_one_task_that_there_is_not_is_refused(task: int) -> None:
    network = MultiHeadMLP(NetworkSpec(4, (8,), (3,), num_tasks=3))
    with pytest.raises(RuntimeError, match="out of bounds"):
        network(torch.randn(3, 4), torch.tensor(task).expand(3))


@pytest.mark.parametrize("kind", [nn.Tanh, nn.ELU])
def test_only_networks_with_formulae_are_traceable(kind: type[nn.Module]) -> None:
    class Other(MultiHeadMLP):
        pass

    spec = NetworkSpec(4, (8,), (3,))
    assert MultiHeadMLP(spec).traceable
    assert not Other(spec).traceable
    assert not MultiHeadMLP(replace(spec, activation=kind)).traceable


CRELU = {"activation": CReLU}
EVERY = {"layer_norm": "every"}
VARIANTS = {
    "crelu": CRELU,
    "every": EVERY,
    "crelu, first": CRELU | {"layer_norm": True},
    "crelu, every": CRELU | EVERY,
}


def by_hand(network: MultiHeadMLP, inputs: torch.Tensor, copy: int) -> torch.Tensor:
    """All heads of a copy: layer by layer with torch's own functions."""
    spec, x = network.spec, inputs
    for depth, layer in enumerate(network.hidden):
        x = F.linear(x, layer.weight[copy], layer.bias[copy])
        norm = network.norm_after(depth)
        if norm is not None:
            x = F.layer_norm(x, x.shape[-1:], norm.weight[copy, 0], norm.bias[copy, 0])
        if depth == 0 and spec.layer_norm is True:
            x = x.tanh()
        elif spec.activation is CReLU:
            x = torch.cat([x.clamp(min=0), (-x).clamp(min=0)], dim=1)
        else:
            x = x.clamp(min=0)
    return F.linear(x, network.heads.weight[copy], network.heads.bias[copy])


@pytest.mark.parametrize("variant", VARIANTS)
def test_activations_and_norms_of_every_layer(variant: str) -> None:
    torch.manual_seed(0)
    network = MultiHeadMLP(NetworkSpec(4, (8, 6), (3,), num_tasks=2, copies=2, **VARIANTS[variant]))
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    inputs, task = torch.randn(5, 4), torch.tensor([1, 0, 1, 1, 0])
    output = network(inputs, task)
    for copy in range(2):
        heads = by_hand(network, inputs, copy).view(5, 2, 3)
        torch.testing.assert_close(output[copy], heads[torch.arange(5), task])
    with torch.no_grad():  # where ReLU networks go by the formulae
        assert torch.equal(network(inputs, task), output)
    assert not network.traceable
    wide = 2 if variant in ("crelu", "crelu, every") else 1
    assert network.hidden[1].weight.shape == (2, 6, 8 * wide)
    assert network.heads.weight.shape == (2, 6, 12 if "crelu" in variant else 6)
    assert len(network.norms) == (2 if variant.endswith("every") else 0)


def test_what_was_there_before_has_the_parameters_that_it_had() -> None:
    names = dict(MultiHeadMLP(NetworkSpec(4, (8, 6), (3,), layer_norm=True)).named_parameters())
    assert list(names) == [
        *(f"hidden.{depth}.{kind}" for depth in (0, 1) for kind in ("weight", "bias")),
        *("heads.weight", "heads.bias", "norm.weight", "norm.bias"),
    ]


def test_crelu_is_one_part_and_the_other() -> None:
    assert CReLU()(torch.tensor([1.0, -2.0, 0.0])).tolist() == [1, 0, 0, 0, 2, 0]
