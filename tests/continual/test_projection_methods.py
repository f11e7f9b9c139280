"""GEM, A-GEM, OGD and RGO: optimality of the projections, loops from the papers, and SAC."""

from __future__ import annotations

import copy
import itertools
import math
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn
from torch.func import vmap
from torch.utils._python_dispatch import TorchDispatchMode

from lifelong_rl import agents
from lifelong_rl.continual import make
from lifelong_rl.continual.agem import AGEM
from lifelong_rl.continual.gem import GEM
from lifelong_rl.continual.importance import log_likelihood_gradients
from lifelong_rl.continual.memory import EpisodicMemory
from lifelong_rl.continual.ogd import OGD, output_gradients
from lifelong_rl.continual.projection import (
    CHUNK,
    add_curvature,
    extend_basis,
    orthogonalise,
    project_agem,
    project_gem,
)
from lifelong_rl.continual.replay import Replay
from lifelong_rl.continual.rgo import RGO, projector
from lifelong_rl.errors import UserError
from lifelong_rl.learning import gradient_step
from lifelong_rl.learning.parameters import flatten, loss_gradient
from lifelong_rl.networks import MultiHeadMLP, NetworkSpec
from lifelong_rl.networks.encoded import EncodedMLP, FeatureEncoding


def parameters(component):
    return flatten(dict(component.module.named_parameters())).detach().clone()


def random_problem(seed: int, references: int, size: int = 12):
    """A gradient and references that conflict with it, of very different lengths."""
    torch.manual_seed(seed)
    gradient = torch.randn(size, dtype=torch.float64)
    rows = torch.randn(references, size, dtype=torch.float64)
    rows[0] -= gradient * (1 + rows[0] @ gradient / gradient.square().sum())
    return gradient, rows * torch.logspace(-2, 2, references, dtype=torch.float64).unsqueeze(1)


@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize("references", [1, 2, 4])
@pytest.mark.parametrize("seed", range(6))
def test_gem_meets_the_optimality_conditions(seed, references, margin):
    """g̃ = g + Rᵀv with v ≥ γ, Rg̃ ≥ 0 and (v − γ)ᵀRg̃ = 0, which are sufficient: it is convex."""
    gradient, rows = random_problem(seed, references)
    assert (rows @ gradient).min() < 0
    found = project_gem(gradient, rows, margin)
    weights = torch.linalg.lstsq(rows.T, (found - gradient).unsqueeze(1)).solution.squeeze(1)
    torch.testing.assert_close(weights @ rows, found - gradient)
    lengths, scale = rows.norm(dim=1), (found - gradient).norm()
    products = rows @ found / lengths
    assert (weights >= margin - 1e-9 * scale / lengths).all()
    assert (products >= -1e-8 * scale).all()
    assert ((weights - margin) * lengths * products).abs().max() < 1e-8 * scale**2


@pytest.mark.parametrize("seed", range(5))
def test_gem_with_one_memory_is_agem(seed):
    gradient, rows = random_problem(seed, 1)
    expected = project_agem(gradient, rows[0])
    assert not torch.equal(expected, gradient)
    torch.testing.assert_close(project_gem(gradient, rows), expected)
    torch.testing.assert_close(
        project_gem(gradient, torch.cat([rows, 3 * rows, 0 * rows])), expected
    )
    torch.testing.assert_close(project_gem(gradient.float(), rows.float()), expected.float())
    assert project_gem(gradient, -rows, margin=0.5) is gradient, "no conflict, no change"


class LargestDouble(TorchDispatchMode):
    """Keeps account of the largest tensor of double precision that is made."""

    entries = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.dtype == torch.float64:
            self.entries = max(self.entries, made.numel())
        return made


def test_gem_holds_no_second_copy_of_all_references():
    """Many entries are the same as few that say the same, and are taken a part at a time."""
    gradient, rows = (part.float() for part in random_problem(0, 20))
    times = 5 * CHUNK // 12 + 1  # no whole number of chunks
    with LargestDouble() as largest:
        found = project_gem(gradient.repeat(times), rows.repeat(1, times))
    assert largest.entries == 20 * CHUNK
    torch.testing.assert_close(found, project_gem(gradient, rows).repeat(times))


def test_gem_with_one_old_task_is_agem_by_default(classifier):
    """With a margin it would add the old task's gradient to what the projection leaves."""
    turned = []
    for method in (GEM(batch_size=64), AGEM(batch_size=64)):
        learner = classifier(None)
        (component,) = learner.components.values()
        torch.manual_seed(0)
        method.end_task(learner, 0)
        learner.task_id = 1
        torch.manual_seed(1)
        reference = loss_gradient(component, method.memory.sample(64))
        grads = {name: -0.1 * gradient for name, gradient in reference.items()}
        method.memory.sample_task = lambda task, n, held=method.memory: held.sample(n)
        torch.manual_seed(1)
        turned.append(flatten(method.transform_gradient(component, grads)))
    torch.testing.assert_close(*turned, rtol=0, atol=1e-6)


def test_gem_hands_on_what_is_not_finite():
    assert project_gem(torch.ones(3), torch.full((2, 3), torch.nan)).isnan().all()


def test_missing_quadprog(monkeypatch):
    monkeypatch.setitem(sys.modules, "quadprog", None)
    with pytest.raises(UserError, match="pip install quadprog"):
        project_gem(torch.ones(3), -torch.ones(1, 3))


def test_sample_of_one_task():
    torch.manual_seed(0)
    memory = EpisodicMemory(10)
    for task, size in enumerate([10, 4, 7]):
        memory.add_task([{"task": torch.full((size,), task), "row": torch.arange(size)}])
    for task, size in enumerate([10, 4, 7]):
        drawn = memory.sample_task(task, 300)
        assert (drawn["task"] == task).all()
        assert set(drawn["row"].tolist()) == set(range(size))


@pytest.mark.parametrize("method", [AGEM, GEM, Replay])
def test_losses_that_cannot_be_replayed_are_refused(classifier, method):
    learner = classifier(None)
    (component,) = learner.components.values()
    method().begin_task(learner, 0)
    component.replayable = False
    method(scope="value").begin_task(learner, 0)
    message = f"{method.__name__} computes the loss on rows of old tasks, but that of 'predictor'"
    with pytest.raises(UserError, match=message):
        method().begin_task(learner, 0)


def small_stream(predictor, stream_learner, distributions):
    """A shared network on four tasks: half-planes that turn; and its batches, drawn beforehand."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 2)).double()
    component = predictor(network, distributions["categorical"], lr=0.5)
    tasks = []
    for task_id in range(4):
        inputs = torch.randn(40, 2, dtype=torch.float64)
        angle = 2.2 * task_id
        normal = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
        tasks.append({"inputs": inputs, "labels": (inputs @ normal > 0).long()})
    batches = [torch.randint(40, (10, 12)).tolist() for _ in tasks]
    return stream_learner(component, tasks=tasks), component, batches


def naive_projection(gradient, references):
    """The primal problem of GEM by trying all sets of active constraints."""
    if all(torch.dot(gradient, r) >= 0 for r in references):
        return gradient, False
    found = []
    for count in range(1, len(references) + 1):
        for active in itertools.combinations(references, count):
            rows = torch.stack(active)
            weights = -torch.linalg.solve(rows @ rows.T, rows @ gradient)
            candidate = gradient + weights @ rows
            if (weights >= 0).all() and all(torch.dot(candidate, r) >= -1e-9 for r in references):
                found.append(candidate)
    return min(found, key=lambda candidate: (candidate - gradient).norm()), True


@pytest.mark.parametrize("name", ["gem", "agem"])
def test_naive_gem_and_agem_agree(predictor, stream_learner, distributions, name, monkeypatch):
    """With the whole memory in place of samples of it, and gradient descent."""
    learner, component, batches = small_stream(predictor, stream_learner, distributions)
    network = copy.deepcopy(component.module)
    method = make(name, per_task=40, **({"margin": 0.0} if name == "gem" else {}))
    old = learner.tasks
    monkeypatch.setattr(method.memory, "sample_task", lambda task, n: old[task])
    monkeypatch.setattr(
        method.memory,
        "sample",
        lambda n: {k: torch.cat([t[k] for t in old[: method.memory.num_tasks]]) for k in old[0]},
    )
    for task_id, rows in enumerate(batches):
        learner.task_id = task_id
        method.begin_task(learner, task_id)
        for index in rows:
            batch = {key: value[index] for key, value in learner.tasks[task_id].items()}
            gradient_step(component, batch, method)
        method.end_task(learner, task_id)

    def gradient(inputs, labels):
        loss = nn.functional.cross_entropy(network(inputs), labels)
        grads = torch.autograd.grad(loss, list(network.parameters()))
        return torch.cat([g.reshape(-1) for g in grads])

    conflicts = 0
    for task_id, rows in enumerate(batches):
        past = [(task["inputs"], task["labels"]) for task in learner.tasks[:task_id]]
        if name == "agem" and past:
            past = [tuple(torch.cat(parts) for parts in zip(*past, strict=True))]
        for index in rows:
            now = learner.tasks[task_id]
            references = [gradient(*task) for task in past]
            step, changed = naive_projection(
                gradient(now["inputs"][index], now["labels"][index]), references
            )
            conflicts += changed
            with torch.no_grad():
                first = 0
                for parameter in network.parameters():
                    part = step[first : first + parameter.numel()]
                    parameter -= 0.5 * part.view_as(parameter)
                    first += parameter.numel()
    assert conflicts > 5
    torch.testing.assert_close(parameters(component), flatten(network.state_dict()))


def test_gem_step_by_hand(predictor, stream_learner, distributions):
    """Opposed gradients ∓(4, 2): of g − v·g with v ≥ γ = 3 the nearest to g is −2g."""
    rows = {"inputs": torch.full((1, 1), 2.0)}
    tasks = [rows | {"labels": torch.full((1, 1), label)} for label in (2.0, -2.0)]
    component = predictor(nn.Linear(1, 1), distributions["unit_normal"], lr=0.1)
    nn.init.zeros_(component.module.weight)
    nn.init.zeros_(component.module.bias)
    method = GEM(margin=3.0, batch_size=4)
    method.end_task(stream_learner(component, tasks=tasks), 0)
    gradient_step(component, tasks[1], method)
    assert component.module.weight.item() == pytest.approx(0.8)
    assert component.module.bias.item() == pytest.approx(0.4)


def test_basis_is_orthonormal_and_spans_what_it_was_given():
    torch.manual_seed(0)
    first = torch.randn(5, 60, dtype=torch.float64)
    first[3] = first[0] - 2 * first[1]
    first[4] = 0
    basis = extend_basis(first[:0], first)
    assert basis.shape == (3, 60)
    second = torch.cat([torch.randn(40, 60, dtype=torch.float64), first[:2]]) * 1e-3
    longer = extend_basis(basis, second)
    assert longer.shape == (43, 60)
    assert torch.equal(longer[:3], basis)
    torch.testing.assert_close(longer @ longer.T, torch.eye(43, dtype=torch.float64))
    for row in torch.cat([first, second]):
        assert orthogonalise(row, longer).norm() <= 1e-12 * (1 + row.norm())
    gradient = torch.randn(60, dtype=torch.float64)
    free = orthogonalise(gradient, longer)
    assert (longer @ free).abs().max() < 1e-12
    expected = gradient - torch.linalg.pinv(longer) @ (longer @ gradient)
    torch.testing.assert_close(free, expected)


def test_output_gradients_against_autograd(predictor, distributions):
    """One output a row, and never one of the fixed standard deviations."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    component = predictor(network, distributions["unit_normal"])
    inputs = torch.randn(30, 3, dtype=torch.float64)
    found = output_gradients(component, {"inputs": inputs})
    chosen = set()
    for row, x in zip(found, inputs, strict=True):
        candidates = []
        for index in range(2):
            grads = torch.autograd.grad(network(x)[index], list(network.parameters()))
            candidates.append(torch.cat([g.reshape(-1) for g in grads]))
        (match,) = [i for i, each in enumerate(candidates) if torch.allclose(each, row)]
        chosen.add(match)
    assert chosen == {0, 1}


def test_ogd_leaves_the_outputs_of_a_linear_model_as_they_were(
    predictor, stream_learner, distributions
):
    """Gradients of a linear model are the same everywhere, so steps of any size are safe."""
    torch.manual_seed(0)
    component = predictor(nn.Linear(6, 2).double(), distributions["unit_normal"])
    tasks = [
        {
            "inputs": torch.randn(40, 6, dtype=torch.float64),
            "labels": torch.randn(40, 2, dtype=torch.float64),
        }
        for _ in range(3)
    ]
    for task, dims in zip(tasks, [2, 4, 6], strict=True):
        task["inputs"][:, dims:] = 0
    learner = stream_learner(component, tasks=tasks)
    method = OGD(per_task=40)
    learned = []
    for task_id in range(3):
        before = parameters(component)
        learner.learn_task(task_id, method, steps=20)
        assert (parameters(component) - before).norm() > 0.01
        learned.append(component.module(tasks[task_id]["inputs"]).detach())
    for task_id in range(2):
        torch.testing.assert_close(component.module(tasks[task_id]["inputs"]), learned[task_id])
    assert [len(basis) for basis in method.state_dict().values()] == [14]


def random_curvature(seed: int, copies: int = 2, dim: int = 6):
    torch.manual_seed(seed)
    rows = torch.randn(copies, 20, dim, dtype=torch.float64)
    rows[..., 0] *= 10
    curvature = torch.eye(dim, dtype=torch.float64) + rows.mT @ rows
    return rows, curvature


@pytest.mark.parametrize("blocks", [(20,), (1,) * 20, (7, 13)], ids=str)
def test_recursion_equals_the_inverse(blocks):
    rows, curvature = random_curvature(0)
    inverse = torch.eye(6, dtype=torch.float64).repeat(2, 1, 1)
    for block in torch.split(rows, list(blocks), dim=1):
        inverse = add_curvature(inverse, block.mT @ block)
    torch.testing.assert_close(inverse, torch.linalg.inv(curvature))
    assert torch.equal(inverse, inverse.mT)


def test_rgo_projector_is_the_best_of_its_trace():
    """PH is a multiple of the identity, and no other P of this trace has less (eq. 9 and 10)."""
    _, curvature = random_curvature(1, copies=1)
    found = projector(torch.linalg.inv(curvature))
    assert found.diagonal(dim1=1, dim2=2).sum().item() == pytest.approx(6)
    largest = torch.linalg.eigvals(found @ curvature).real.max()
    torch.testing.assert_close(found @ curvature, largest * torch.eye(6).double().unsqueeze(0))
    for seed in range(20):
        torch.manual_seed(seed)
        other = torch.randn(6, 6, dtype=torch.float64)
        other = other @ other.T + 1e-2 * torch.eye(6)
        other *= 6 / other.trace()
        assert torch.linalg.eigvals(other @ curvature[0]).real.max() > largest


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("copies", [1, 2])
def test_rgo_turns_the_step_of_each_hidden_layer(
    predictor, stream_learner, distributions, copies, layer_norm
):
    """Against a curvature that is summed row by row and unit by unit, under Adam."""
    torch.manual_seed(0)
    method = RGO(damping=0.1, samples=50)
    spec = NetworkSpec(3, (5, 4), (2,), num_tasks=2, copies=copies, layer_norm=layer_norm)
    network = method.build_network(spec).double()
    component = predictor(network, distributions["unit_normal"], optimizer=torch.optim.Adam)
    tasks = [
        {
            "inputs": torch.randn(50, 3, dtype=torch.float64),
            "task": torch.full((50,), task),
            "labels": torch.randn(50, 2, dtype=torch.float64),
        }
        for task in range(2)
    ]
    learner = stream_learner(component, tasks=tasks)
    torch.manual_seed(3)
    method.end_task(learner, 0)

    torch.manual_seed(3)
    torch.rand(50, dtype=torch.float64)  # for the sample of all 50 rows
    (rows,) = log_likelihood_gradients(component, tasks[0])
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizer_state = copy.deepcopy(component.optimizer.state_dict())
    gradient_step(component, tasks[1])
    plain = {name: p.detach() - before[name] for name, p in network.named_parameters()}
    network.load_state_dict(before, strict=False)
    component.optimizer.load_state_dict(optimizer_state)
    gradient_step(component, tasks[1], method)
    turned = {name: p.detach() - before[name] for name, p in network.named_parameters()}
    for depth, (units, dim) in enumerate([(5, 4), (4, 6)]):
        weight, bias = f"hidden.{depth}.weight", f"hidden.{depth}.bias"
        for one in range(copies):
            curvature = 0.1 * torch.eye(dim, dtype=torch.float64)
            for w, b in zip(rows[weight][:, one], rows[bias][:, one], strict=True):
                for unit in range(units):
                    v = torch.cat([w[unit], b[unit : unit + 1]])
                    curvature += torch.outer(v, v) / units
            inverse = torch.linalg.inv(curvature)
            projection = dim / inverse.trace() * inverse
            turns = (projection - torch.eye(dim)).abs().max() > 0.1
            assert turns == (one == 0), "the predictor reads the first copy alone"
            for unit in range(units):
                step = torch.cat([plain[weight][one, unit], plain[bias][one, unit : unit + 1]])
                expected = projection @ step
                torch.testing.assert_close(turned[weight][one, unit], expected[:-1])
                torch.testing.assert_close(turned[bias][one, unit], expected[-1])
    torch.testing.assert_close(turned["heads.weight"], plain["heads.weight"], rtol=0, atol=0)


@pytest.mark.parametrize(("optimizer", "lr"), [(torch.optim.SGD, 0.3), (torch.optim.Adam, 1e-2)])
def test_rgo_holds_what_others_forget(predictor, stream_learner, distributions, optimizer, lr):
    """Two tasks whose rows lie in subspaces of their own, so that there is room for both."""
    generator = torch.Generator().manual_seed(7)
    tasks = []
    for task_id in range(2):
        basis = torch.linalg.qr(torch.randn(40, 40, generator=generator))[0][:, :8]
        rows = torch.randn(256, 8, generator=generator)
        labels = (rows[:, 0] * rows[:, 1] > 0).long()
        task = torch.full((256,), task_id)
        tasks.append({"inputs": rows @ basis.T, "labels": labels, "task": task})
    forgotten = {}
    for damping in (1e-2, 1e9):
        torch.manual_seed(0)
        method = RGO(damping=damping)
        network = method.build_network(NetworkSpec(40, (64, 64), (2,), num_tasks=2))
        component = predictor(network, distributions["categorical"], optimizer=torch.optim.Adam)
        component.optimizer.param_groups[0]["lr"] = 1e-2
        learner = stream_learner(component, tasks=tasks)
        learner.learn_task(0, method, steps=150)
        before = component.loss(tasks[0]).item()
        component.optimizer = optimizer(network.parameters(), lr=lr)
        learner.learn_task(1, method, steps=150)
        assert component.loss(tasks[1]).item() < 0.1, "the new task is learned"
        forgotten[damping] = component.loss(tasks[0]).item() - before
    assert forgotten[1e9] > 0.1, "a projector that is the identity forgets"
    assert forgotten[1e-2] < 0.1 * forgotten[1e9]


@pytest.mark.parametrize("layer_norm", [False, True])
def test_encoded_network_permutes_features_by_task(layer_norm):
    spec = NetworkSpec(4, (6, 5, 3), (2,), num_tasks=3, layer_norm=layer_norm, copies=2)
    torch.manual_seed(0)
    plain = MultiHeadMLP(spec)
    torch.manual_seed(0)
    network = EncodedMLP(spec)
    inputs = torch.randn(9, 4)
    tasks = torch.arange(9) % 3
    found = network(inputs, tasks)
    for task in range(3):
        wired = copy.deepcopy(plain)
        for depth in (1, 2):
            order = network.encodings[depth - 1].orders[task]
            assert sorted(order.tolist()) == list(range(spec.hidden[depth - 1]))
            assert bool((order == torch.arange(len(order))).all()) == (task == 0)
            with torch.no_grad():  # w[order[i]] meets feature order[i] where w[i] met it
                wired.hidden[depth].weight[:, :, order] = plain.hidden[depth].weight
        rows = tasks == task
        torch.testing.assert_close(found[:, rows], wired(inputs[rows], tasks[rows]))
    one_by_one = vmap(lambda x, t: network(x.unsqueeze(0), t.unsqueeze(0))[:, 0])(inputs, tasks)
    torch.testing.assert_close(one_by_one.transpose(0, 1), found)


def test_encodings_are_those_of_the_task_whatever_the_seed():
    torch.manual_seed(0)
    first = FeatureEncoding(3, 8, depth=1).orders
    torch.manual_seed(1)
    assert torch.equal(FeatureEncoding(3, 8, depth=1).orders, first)
    assert not torch.equal(FeatureEncoding(3, 8, depth=0).orders, first)


def test_rgo_needs_its_own_network(classifier):
    with pytest.raises(UserError, match="cannot act on 'predictor'"):
        RGO().begin_task(classifier(None), 0)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (GEM, {"per_task": 0}),
        (GEM, {"batch_size": 0}),
        (GEM, {"margin": -0.1}),
        (GEM, {"margin": float("nan")}),
        (OGD, {"per_task": 0}),
        (RGO, {"damping": 0.0}),
        (RGO, {"samples": 0}),
    ],
)
def test_options_out_of_range(method, options):
    (name,) = options
    with pytest.raises(ValueError, match=f"'{name}' of {method.__name__} must be"):
        method(**options)


class Toy(gym.Env[np.ndarray, np.ndarray]):
    """Noise with the one-hot of one of two tasks at the end."""

    observation_space = gym.spaces.Box(-10, 10, (5,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, task_id: int) -> None:
        self.one_hot = np.eye(2, dtype=np.float32)[task_id]

    def observe(self) -> np.ndarray:
        return np.concatenate([self.np_random.standard_normal(3).astype(np.float32), self.one_hot])

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return self.observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        return self.observe(), float(action.sum()), False, False, {}


def toys(task_id: int) -> DummyVecEnv:
    return DummyVecEnv([lambda: Toy(task_id) for _ in range(2)])


@pytest.mark.parametrize("scope", ["policy", "both"])
@pytest.mark.parametrize("name", ["l2", "si", "mas", "vcl", "gem", "ogd", "rgo"])
def test_methods_on_soft_actor_critic(name, scope):
    method = make(name, scope=scope)
    agent = agents.SAC.build(
        toys(0),
        num_tasks=2,
        method=method,
        seed=0,
        hidden=(8, 8),
        learning_starts=8,
        batch_size=8,
    )
    for task_id in range(2):
        agent.begin_task(task_id, toys(task_id))
        before = [p.detach().clone() for p in agent.actor.parameters()]
        agent.learn_task(24, lambda done: None)
        agent.end_task()
        after = list(agent.actor.parameters())
        assert all(p.isfinite().all() for p in after)
        assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    for held in method.state_dict():
        assert held == "memory" or held in ("actor", "critic")
    assert len(method.state_dict()) == (2 if scope == "both" and name != "gem" else 1)


@pytest.mark.parametrize("name", ["agem", "gem", "replay"])
def test_on_policy_losses_are_refused(name):
    agent = agents.PPO.build(
        toys(0), num_tasks=2, method=make(name), seed=0, rollout_steps=4, batch_size=8
    )
    with pytest.raises(UserError, match="that of 'policy' holds for fresh rows only"):
        agent.begin_task(0, toys(0))
