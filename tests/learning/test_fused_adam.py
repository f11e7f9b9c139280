"""The fused Adam against torch's."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lifelong_rl.learning.adam import FusedAdam


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))


def descend(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 3, generator=generator)).square().mean()
        loss.backward()
        if step % 3 == 1:
            model[0].bias.grad = None  # a step that a parameter takes no part in
        optimizer.step()


def values(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_steps_are_those_of_torch(weight_decay: float) -> None:
    ours, theirs = network(), network()
    options = {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": weight_decay}
    mine = FusedAdam(ours.parameters(), **options)
    torchs = torch.optim.Adam(theirs.parameters(), fused=True, **options)
    descend(ours, mine, 20)
    descend(theirs, torchs, 20)
    for a, b in zip(values(ours), values(theirs), strict=True):
        assert torch.equal(a, b)
    mine_state, their_state = mine.state_dict()["state"], torchs.state_dict()["state"]
    assert mine_state.keys() == their_state.keys()
    for index, state in their_state.items():
        assert mine_state[index].keys() == state.keys()
        assert all(torch.equal(mine_state[index][name], state[name]) for name in state)


@pytest.mark.parametrize("kind", [FusedAdam, lambda p, lr: torch.optim.Adam(p, lr=lr, fused=True)])
def test_goes_on_from_a_state_and_from_a_copy(kind) -> None:
    model = network()
    optimizer = kind(model.parameters(), lr=0.01)
    descend(model, optimizer, 7)
    again = network()
    again.load_state_dict(model.state_dict())
    resumed = FusedAdam(again.parameters(), lr=0.5)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    copied, copied_optimizer = copy.deepcopy((model, optimizer))
    descend(model, optimizer, 5, seed=1)
    descend(again, resumed, 5, seed=1)
    descend(copied, copied_optimizer, 5, seed=1)
    for a, b, c in zip(values(model), values(again), values(copied), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_forgotten_moments_count_their_steps_anew() -> None:
    model = network()
    optimizer = FusedAdam(model.parameters(), lr=0.01)
    descend(model, optimizer, 3)
    optimizer.state.pop(model[2].bias)
    descend(model, optimizer, 3)
    counts = [float(optimizer.state[p]["step"]) for p in model.parameters()]
    assert counts == [6, 4, 6, 3]


def test_hooks_of_a_step_are_run() -> None:
    model = network()
    optimizer = FusedAdam(model.parameters())
    seen: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    descend(model, optimizer, 1)
    assert seen == ["before", "after"]


def test_a_closure_is_refused() -> None:
    with pytest.raises(TypeError, match="closure"):
        FusedAdam(network().parameters()).step(lambda: 0.0)
