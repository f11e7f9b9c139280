from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch._dynamo
from torch import Tensor, nn

from lifelong_rl.learning import Adam


def learn(optimizer_class: type[torch.optim.Adam], options: dict[str, Any]) -> list[Tensor]:
    """Parameters and moments after steps from one state, saved and loaded on the way."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2))
    optimizer = optimizer_class(network.parameters(), lr=1e-2, **options)
    for step in range(12):
        optimizer.zero_grad()
        network(torch.randn(9, 5)).square().mean().backward()
        optimizer.step()
        if step == 4:
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = optimizer_class(network.parameters(), lr=1.0, **options)
            optimizer.load_state_dict(state)
        if step == 7:
            added = nn.Parameter(torch.ones(3))
            optimizer.add_param_group({"params": [added], "lr": 0.1})
            added.grad = torch.randn(3)
    moments = [value for entry in optimizer.state.values() for value in entry.values()]
    return [p for group in optimizer.param_groups for p in group["params"]] + moments


@pytest.mark.parametrize(
    "options",
    [{}, {"fused": True}, {"foreach": True}, {"amsgrad": True, "weight_decay": 0.1, "eps": 1e-5}],
    ids=str,
)
def test_it_computes_what_torchs_adam_does(options: dict[str, Any]) -> None:
    ours, theirs = learn(Adam, options), learn(torch.optim.Adam, options)
    assert len(ours) == len(theirs) > 5
    assert all(map(torch.equal, ours, theirs))


def test_a_step_records_no_graph_and_runs_hooks_and_a_closure() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = Adam([weight], lr=0.5)
    seen: list[Any] = []
    optimizer.register_step_post_hook(lambda *_: seen.append(torch.is_grad_enabled()))

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    assert optimizer.step(loss).item() == 2.0
    assert weight.grad_fn is None and weight.detach().tolist() == pytest.approx([0.5, 0.5])
    assert seen == [True]  # what surrounds the step is as it was


def learn_compiled(optimizer_class: type[torch.optim.Adam]) -> tuple[Tensor, int]:
    """What steps of one compiled function learn, and how many graphs it is made of."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    optimizer = optimizer_class(network.parameters(), lr=0.1)

    @torch.compile(backend="eager")
    def update(rows: Tensor) -> None:
        optimizer.zero_grad()
        network(rows).square().mean().backward()
        optimizer.step()

    for _ in range(5):
        update(torch.randn(4, 3))
    return network.weight.detach(), torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning:torch")  # by its compiler
def test_a_compiled_function_can_step_it() -> None:
    weight, graphs = learn_compiled(Adam)
    assert torch.equal(weight, learn_compiled(torch.optim.Adam)[0])
    assert graphs > 1  # of the forward pass, and of the step
