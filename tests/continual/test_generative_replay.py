"""Generative replay: what the generator makes, and what it is compared with."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from lifelong_rl.continual.generative_replay import GenerativeReplay
from lifelong_rl.networks import MultiHeadMLP, NetworkSpec
from lifelong_rl.networks.vae import ConditionalVAE


def test_loss_of_a_decoder_that_knows_nothing_by_hand():
    """All weights zero: q = N(0, 1) and x ~ N(0, σ²), so ½ x²/σ² + log σ for each feature."""
    vae = ConditionalVAE(features=2, conditions=1, latent=3, hidden=4).double()
    for parameter in vae.parameters():
        torch.nn.init.zeros_(parameter)
    vae.standardise(torch.tensor([[1.0, 0.0], [3.0, 4.0]], dtype=torch.float64))
    rows = torch.tensor([[2 + 2**0.5, 2.0]], dtype=torch.float64)  # (1, 0) in standard units
    condition = torch.ones(1, 1, dtype=torch.float64)
    assert vae.loss(rows, condition).item() == pytest.approx(0.5)
    torch.nn.init.constant_(vae.log_scale, math.log(2))
    assert vae.loss(rows, condition).item() == pytest.approx(0.5 / 4 + 2 * math.log(2))
    # One entry of the encoder's mean and of its log standard deviation moved: their divergence.
    with torch.no_grad():
        vae.encoder[-1].bias.copy_(torch.tensor([3.0, 0, 0, 0, 1.0, 0]))
    divergence = 0.5 * 9 + 0.5 * (math.exp(2) - 1) - 1
    assert vae.loss(rows, condition).item() == pytest.approx(0.125 + 2 * math.log(2) + divergence)


@pytest.fixture
def gaussian_learner(predictor, stream_learner, distributions):
    """Three tasks: Gaussians with their own means, scales and correlation; a constant feature."""
    torch.manual_seed(0)
    tasks = []
    for k in range(3):
        noise = torch.randn(1000, 2)
        first = 10 * k + (k + 1) * noise[:, :1]
        second = -k + 0.8 * noise[:, :1] + 0.6 * noise[:, 1:]
        inputs = torch.cat([first, second, torch.full((1000, 1), 7.0)], dim=1)
        labels = torch.zeros(1000, dtype=torch.int64)
        task = torch.full((1000,), k)
        tasks.append({"inputs": inputs, "labels": labels, "task": task})
    method = GenerativeReplay(
        strength=3.0, latent=4, hidden=32, updates=1000, learning_rate=3e-3, temperature=2.0
    )
    component = predictor(
        MultiHeadMLP(NetworkSpec(3, (8,), (2,), num_tasks=3)), distributions["categorical"]
    )
    return method, stream_learner(component, tasks=tasks), component


def test_generated_rows_are_like_the_data_two_generators_later(gaussian_learner):
    method, learner, component = gaussian_learner
    for task_id in range(2):
        learner.task_id = task_id
        method.end_task(learner, task_id)
    method.options = replace(method.options, batch_size=4000)
    rows = method.rows(component, {k: v[:4] for k, v in learner.tasks[2].items()})
    ids = rows["task"]
    assert ids.dtype == torch.int64
    assert ids.bincount(minlength=3).tolist()[2] == 0
    assert (ids.bincount(minlength=3)[:2] - 2000).abs().max() < 150
    for k in range(2):
        made = rows["inputs"][ids == k]
        assert made[:, 0].mean().item() == pytest.approx(10 * k, abs=0.6)
        assert made[:, 0].std().item() == pytest.approx(k + 1, rel=0.3)
        assert made[:, 1].mean().item() == pytest.approx(-k, abs=0.3)
        assert made[:, 1].std().item() == pytest.approx(1, rel=0.3)
        assert torch.corrcoef(made[:, :2].T)[0, 1].item() == pytest.approx(0.8, abs=0.2)
        assert torch.allclose(made[:, 2], torch.tensor(7.0), atol=1e-3)


def test_penalty_is_the_divergence_from_the_old_solver_on_generated_rows(gaussian_learner):
    method, learner, component = gaussian_learner
    method.options = replace(method.options, updates=2)
    batch = learner.tasks[1]
    assert method.penalty(component, batch) is None
    method.end_task(learner, 0)
    assert method.penalty(component, batch).item() == pytest.approx(0, abs=1e-6)
    torch.manual_seed(1)
    rows = method.rows(component, batch)
    assert len(rows["inputs"]) == method.options.batch_size
    with torch.no_grad():
        old = (component.module(rows["inputs"], rows["task"])[0] / 2).softmax(1)
        for parameter in component.module.parameters():
            parameter += 0.3
        new = (component.module(rows["inputs"], rows["task"])[0] / 2).softmax(1)
    torch.manual_seed(1)
    expected = 3 * (old * (old.log() - new.log())).sum(1).mean()
    torch.testing.assert_close(method.penalty(component, batch).detach(), expected)


def test_saved_and_loaded_method_continues_identically(classifier):
    def made():
        return GenerativeReplay(updates=3, latent=2, hidden=8)

    method, resumed_method = made(), made()
    learner, resumed = classifier(method), classifier(resumed_method)
    for task_id in range(2):
        learner.learn_task(task_id, method, steps=3)
    (component,), (copy,) = learner.components.values(), resumed.components.values()
    copy.module.load_state_dict(component.module.state_dict())
    resumed_method.load_state_dict(method.state_dict())
    for each, its_method in ((learner, method), (resumed, resumed_method)):
        (one,) = each.components.values()
        one.optimizer.state.clear()
        each.learn_task(2, its_method, steps=3)
    for name, value in component.module.state_dict().items():
        assert torch.equal(copy.module.state_dict()[name], value), name
    generators = method.state_dict()["generators"]["predictor"]
    for name, value in resumed_method.state_dict()["generators"]["predictor"].items():
        assert torch.equal(generators[name], value), name


def test_less_is_forgotten(classifier):
    lost = {}
    for method in (None, GenerativeReplay(updates=300, hidden=32, latent=4, strength=10.0)):
        learner = classifier(method, num_tasks=2)
        learner.learn_task(0, method, steps=150)
        learned = learner.accuracy(0)
        learner.learn_task(1, method, steps=150)
        assert min(learned, learner.accuracy(1)) > 0.85
        lost[method is None] = learned - learner.accuracy(0)
    assert lost[True] > 0.15
    assert lost[False] < 0.07


@pytest.mark.parametrize("option", ["batch_size", "latent", "hidden", "updates"])
def test_options_out_of_range(option):
    with pytest.raises(
        ValueError, match=f"'{option}' of .* must be a whole number of at least 1, not 0"
    ):
        GenerativeReplay(**{option: 0})
    with pytest.raises(
        ValueError, match="'learning_rate' of GenerativeReplay must be a number above 0"
    ):
        GenerativeReplay(learning_rate=0.0)
