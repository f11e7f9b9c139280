"""Parseval regularisation: closed forms, and the network that goes with it."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_learners import SMALL_AGENT, Run

from lifelong_rl.continual.parseval import Parseval, deviation
from lifelong_rl.errors import UserError
from lifelong_rl.learning import gradient_step
from lifelong_rl.networks import MultiHeadMLP, NetworkSpec
from lifelong_rl.networks.diagonal import DiagonalMLP


def test_the_penalty_by_hand():
    # W Wᵀ − 2 I = [[1, 1], [1, 2]] − 2 I = [[−1, 1], [1, 0]], whose squares sum to 3
    weight = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])
    assert deviation(weight, 2.0) == 3 * (64 / 2) ** 2
    twins = torch.cat([weight, math.sqrt(2) * torch.eye(2).unsqueeze(0)])
    assert float(deviation(twins, 2.0)) == pytest.approx(3 * (64 / 2) ** 2)


def test_its_gradient_is_the_closed_form():
    """4 (W Wᵀ − s I) W."""
    weight = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    deviation(weight, 1.5).backward()
    with torch.no_grad():
        gram = torch.einsum("cij,ckj->cik", weight, weight) - 1.5 * torch.eye(5)
        expected = (64 / 5) ** 2 * 4 * torch.einsum("cik,ckj->cij", gram, weight)
    torch.testing.assert_close(weight.grad, expected)


@pytest.mark.parametrize("diagonal", [True, False])
def test_a_new_network_is_orthogonal_and_nothing_else_is_held(classifier, diagonal):
    method = Parseval(strength=1.0, square=3.0, diagonal=diagonal)
    learner = classifier(method)
    (component,) = learner.components.values()
    network = component.module
    method.begin_task(learner, 0)
    for layer in network.hidden:
        values = torch.linalg.svdvals(layer.weight)
        torch.testing.assert_close(values, torch.full_like(values, math.sqrt(3)))
        assert (layer.bias == 0).all()
    # 16 units on 2 inputs: W Wᵀ has rank 2, and 14 of the 16 ones are out of reach
    penalty = method.penalty(component, {})
    assert float(penalty.detach()) == pytest.approx((64 / 16) ** 2 * 14 * 3.0**2, rel=1e-4)
    with torch.no_grad():
        network.heads.weight += 1
        for scale in network.scales:
            scale += 1
    assert len(network.scales) == (2 if diagonal else 0)
    torch.testing.assert_close(method.penalty(component, {}), penalty)


def test_weights_are_drawn_to_orthogonality_while_the_task_is_learned(classifier):
    found = {}
    for strength in (0.0, 1e-3):
        method = Parseval(strength=strength)
        learner = classifier(method)
        (component,) = learner.components.values()
        with torch.no_grad():
            component.module.hidden[1].weight.mul_(0.2)
        learner.learn_task(0, method, steps=300)
        assert learner.accuracy(0) > 0.9
        values = torch.linalg.svdvals(component.module.hidden[1].weight.detach())
        found[strength] = float((values - math.sqrt(2)).abs().max())
    assert found[1e-3] < 0.3 < found[0.0]


@pytest.mark.parametrize("layer_norm", [False, True])
def test_a_diagonal_layer_scales_each_unit_before_its_activation(layer_norm):
    torch.manual_seed(0)
    spec = NetworkSpec(3, (5, 4), (2,), num_tasks=3, copies=2, layer_norm=layer_norm)
    network, plain = DiagonalMLP(spec, 1.0), MultiHeadMLP(spec)
    plain.load_state_dict(
        {name: value for name, value in network.state_dict().items() if "scales" not in name}
    )
    inputs, task = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    assert torch.equal(network(inputs, task), plain(inputs, task))
    with torch.no_grad():
        for scale, layer in zip(network.scales, plain.hidden, strict=True):
            scale.copy_(torch.randn_like(scale))
            layer.weight *= scale.mT
            layer.bias *= scale.squeeze(1)
    torch.testing.assert_close(network(inputs, task), plain(inputs, task))
    with torch.no_grad():  # where a written-down pass would forget the scales
        torch.testing.assert_close(network(inputs, task), plain(inputs, task))
    assert plain.traceable and not network.traceable
    network(inputs, task).sum().backward()
    assert all(scale.grad.any() for scale in network.scales)


@pytest.mark.parametrize("learner", SMALL_AGENT)
def test_every_learner_is_changed(learner):
    """Against the same networks without the penalty: components of both roles."""
    found = []
    for strength in (0.0, 1e-3):
        run = Run(learner, "parseval")
        run.method.options = Parseval.Options(strength=strength)
        run.learn(0)
        found.append(
            {
                name: [value.clone() for value in component.module.parameters()]
                for name, component in run.agent.components.items()
            }
        )
    for name in found[0]:
        assert not all(map(torch.equal, found[0][name], found[1][name]))


def test_other_networks_are_refused_and_no_boundaries_are_needed(classifier):
    learner = classifier(None)
    (component,) = learner.components.values()
    with pytest.raises(UserError, match="parseval cannot act on 'predictor'"):
        Parseval().begin_task(learner, 0)
    with pytest.raises(UserError, match="parseval cannot act on 'predictor'"):
        gradient_step(component, learner.tasks[0], Parseval())
    assert Parseval.needs_boundaries is False
