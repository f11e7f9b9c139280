"""L2, SI, MAS and VCL: closed forms, loops written from the papers, and resuming."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Normal, kl_divergence

from lifelong_rl.continual import make
from lifelong_rl.continual.ewc import EWC
from lifelong_rl.continual.importance import fisher_diagonal, mas_importance
from lifelong_rl.continual.l2 import L2
from lifelong_rl.continual.mas import MAS
from lifelong_rl.continual.si import SI
from lifelong_rl.continual.vcl import VCL, kl_gaussians
from lifelong_rl.errors import UserError
from lifelong_rl.learning import gradient_step
from lifelong_rl.learning.parameters import flatten, unflatten
from lifelong_rl.networks import MultiHeadMLP, NetworkSpec
from lifelong_rl.networks.bayesian import BayesianLinear, BayesianMLP
from lifelong_rl.networks.mlp import StackedLinear

NEW = ["l2", "si", "mas", "vcl", "gem", "ogd", "rgo"]


def parameters(component):
    return flatten(dict(component.module.named_parameters())).detach().clone()


@pytest.fixture
def line(predictor, stream_learner, distributions):
    """Linear regressions on two tasks, in double precision."""
    torch.manual_seed(0)
    tasks = [
        {key: torch.randn(30, size, dtype=torch.float64) for key, size in shape.items()}
        for shape in [{"inputs": 3, "labels": 2}] * 2
    ]
    component = predictor(nn.Linear(3, 2).double(), distributions["unit_normal"])
    return stream_learner(component, tasks=tasks), component


def test_l2_by_hand(line):
    learner, component = line
    method = L2(strength=3.0)
    assert method.penalty(component, {}) is None
    for task_id in range(2):
        learner.learn_task(task_id, method, steps=3)
        anchor = parameters(component)
        assert method.penalty(component, {}).item() == 0, "at the last solution"
    nn.init.ones_(component.module.weight)
    component.module.zero_grad()
    method.penalty(component, {}).backward()
    moved = parameters(component) - anchor
    torch.testing.assert_close(method.penalty(component, {}), 3 / 2 * moved.square().sum())
    torch.testing.assert_close(component.module.weight.grad.reshape(-1), 3 * moved[:6])


@pytest.mark.parametrize(
    ("method", "least"), [(EWC(floor=0.5), 0.5), (MAS(floor=0.25), 0.25), (L2(), 1.0)]
)
def test_dead_units_are_held_and_no_heads_are(classifier, method, least):
    """A unit that puts out zero on a task's rows may not come to life in the next one."""
    learner = classifier(method)
    (component,) = learner.components.values()
    learner.learn_task(0, None, steps=3)
    with torch.no_grad():
        component.module.hidden[1].bias[0, 4] = -1e3
    method.end_task(learner, 0)
    flat = method.state_dict()["predictor"]["importance"]
    held = unflatten(flat, dict(component.module.named_parameters()))
    assert (held["hidden.1.weight"][0, 4] == least).all()
    assert held["hidden.1.bias"][0, 4] == least
    for name, importance in held.items():
        assert name.startswith("heads") or importance.min() == least
    weight, bias = held["heads.weight"].view(3, 2, -1), held["heads.bias"].view(3, 2)
    assert (weight[:, :, 4] == 0).all(), "its outgoing weights"
    assert (weight[1:] == 0).all()
    assert (bias[1:] == 0).all()


def test_si_integrates_the_decrease_of_the_loss(line):
    """Σ_i ω_i is the loss's decrease, up to the second order of small steps (Zenke, eq. 3)."""
    learner, component = line
    component.optimizer = torch.optim.SGD(component.module.parameters(), lr=1e-3)
    method = SI(damping=0.25)
    method.begin_task(learner, 0)
    start, before = parameters(component), component.loss(learner.tasks[0]).item()
    for _ in range(300):
        gradient_step(component, learner.tasks[0], method)
    decrease = before - component.loss(learner.tasks[0]).item()
    method.end_task(learner, 0)
    state = method.state_dict()["predictor"]
    integral = state["importance"] * ((state["anchor"] - start).square() + 0.25)
    assert decrease > 0.05
    assert integral.sum().item() == pytest.approx(decrease, rel=2e-3)
    torch.testing.assert_close(state["anchor"], parameters(component))


def small_stream(predictor, stream_learner, distributions):
    """A shared network on three tasks: half-planes that turn; and its batches, drawn beforehand."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 2)).double()
    component = predictor(
        network, distributions["categorical"], optimizer=torch.optim.Adam, lr=0.03
    )
    tasks = []
    for task_id in range(3):
        inputs = torch.randn(40, 2, dtype=torch.float64)
        normal = torch.tensor([math.cos(task_id), math.sin(task_id)], dtype=torch.float64)
        tasks.append({"inputs": inputs, "labels": (inputs @ normal > 0).long()})
    batches = [torch.randint(40, (8, 10)).tolist() for _ in tasks]
    return stream_learner(component, tasks=tasks), component, batches


def learn_stream(learner, component, batches, method):
    for task_id, (data, rows) in enumerate(zip(learner.tasks, batches, strict=True)):
        learner.task_id = task_id
        method.begin_task(learner, task_id)
        for index in rows:
            gradient_step(component, {key: value[index] for key, value in data.items()}, method)
        torch.manual_seed(100 + task_id)
        method.end_task(learner, task_id)


def naive_losses(learner, batches, network):
    """Task, index within it and cross-entropy of each batch, as the papers' loops go."""
    for task_id, (data, rows) in enumerate(zip(learner.tasks, batches, strict=True)):
        for step, index in enumerate(rows):
            logits = network(data["inputs"][index])
            yield task_id, step, nn.functional.cross_entropy(logits, data["labels"][index])


def test_naive_ewc_agrees(predictor, stream_learner, distributions):
    learner, component, batches = small_stream(predictor, stream_learner, distributions)
    network = copy.deepcopy(component.module)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
    learn_stream(learner, component, batches, make("ewc", strength=20.0, floor=0.02))

    terms = []
    for task_id, step, loss in naive_losses(learner, batches, network):
        for fisher, solution in terms:
            for f, old, p in zip(fisher, solution, network.parameters(), strict=True):
                loss = loss + 20 / 2 * (f.clamp(min=0.02) * (p - old) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step == 7:
            inputs = learner.tasks[task_id]["inputs"]
            torch.manual_seed(100 + task_id)
            torch.rand(40, dtype=torch.float64)  # for the sample of all 40 rows
            labels = Categorical(logits=network(inputs)).sample()
            fisher = [torch.zeros_like(p) for p in network.parameters()]
            for x, y in zip(inputs, labels, strict=True):
                log_p = torch.log_softmax(network(x), dim=0)[y]
                for f, g in zip(
                    fisher, torch.autograd.grad(log_p, list(network.parameters())), strict=True
                ):
                    f += g**2 / 40
            terms.append((fisher, [p.detach().clone() for p in network.parameters()]))
    torch.testing.assert_close(parameters(component), flatten(network.state_dict()))


def test_naive_si_agrees(predictor, stream_learner, distributions):
    learner, component, batches = small_stream(predictor, stream_learner, distributions)
    network = copy.deepcopy(component.module)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
    learn_stream(learner, component, batches, SI(strength=20.0, damping=1e-3))

    own = list(network.parameters())
    omega = [torch.zeros_like(p) for p in own]
    small_omega = [torch.zeros_like(p) for p in own]
    reference = [p.detach().clone() for p in own]
    negative = False
    for _, step, loss in naive_losses(learner, batches, network):
        task_gradient = torch.autograd.grad(loss, own, retain_graph=True)
        for o, old, p in zip(omega, reference, own, strict=True):
            loss = loss + 10 * (o * (p - old) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        before = [p.detach().clone() for p in own]
        optimizer.step()
        for w, g, old, p in zip(small_omega, task_gradient, before, own, strict=True):
            w -= g * (p.detach() - old)
        if step == 7:
            for o, w, old, p in zip(omega, small_omega, reference, own, strict=True):
                negative |= bool((w < 0).any())
                o += w.clamp(min=0) / ((p.detach() - old) ** 2 + 1e-3)
                w.zero_()
            reference = [p.detach().clone() for p in own]
    assert negative, "or the rectifier of the path integral is not tested"
    torch.testing.assert_close(parameters(component), flatten(network.state_dict()))


@pytest.mark.parametrize("chunk_size", [1, 7, 100])
def test_mas_of_a_linear_layer(predictor, distributions, chunk_size):
    """∂ ‖Wx + b‖² / ∂W_ji = 2 f_j x_i and … / ∂b_j = 2 f_j; a fixed scale adds nothing."""
    torch.manual_seed(0)
    component = predictor(nn.Linear(3, 2).double(), distributions["unit_normal"])
    inputs = torch.randn(10, 3, dtype=torch.float64)
    f = component.module(inputs).detach()
    found = mas_importance(component, {"inputs": inputs}, chunk_size=chunk_size)
    torch.testing.assert_close(found["weight"], 2 * (f.abs().T @ inputs.abs()) / 10)
    torch.testing.assert_close(found["bias"], 2 * f.abs().mean(dim=0))


def test_mas_sums_over_tasks_and_anchors_at_the_last(line):
    learner, component = line
    method = MAS(strength=4.0)
    measured = []
    for task_id in range(2):
        learner.learn_task(task_id, None, steps=4)
        measured.append(flatten(mas_importance(component, learner.tasks[task_id])))
        method.end_task(learner, task_id)
    anchor = parameters(component)
    nn.init.zeros_(component.module.weight)
    moved = parameters(component) - anchor
    expected = 4 / 2 * ((measured[0] + measured[1]) * moved.square()).sum()
    torch.testing.assert_close(method.penalty(component, {}), expected)


def test_kl_against_torch():
    torch.manual_seed(0)
    mean, log_std, prior_mean, prior_log_std = torch.randn(4, 50, dtype=torch.float64)
    found = kl_gaussians(mean, log_std, prior_mean, prior_log_std)
    expected = kl_divergence(Normal(mean, log_std.exp()), Normal(prior_mean, prior_log_std.exp()))
    torch.testing.assert_close(found, expected.sum())
    assert kl_gaussians(mean, log_std, mean, log_std) == 0


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("shared", [True, False])
def test_local_reparametrisation(copies, shared):
    """Outputs are N(Wx + b, σ_w² x² + σ_b²), independent between rows."""
    torch.manual_seed(0)
    made = StackedLinear([[nn.Linear(3, 2)] for _ in range(copies)]).double()
    layer = BayesianLinear(made, 0.5).double()
    nn.init.normal_(layer.weight_log_std, std=0.5)
    row = torch.randn(1 if shared else copies, 1, 3, dtype=torch.float64)
    inputs = row.expand(-1, 20_000, -1)
    samples = layer(inputs[0] if shared else inputs).detach()
    for one in range(copies):
        x = row[0 if shared else one, 0]
        variance = (2 * layer.weight_log_std[one]).exp() @ x.square() + 0.25
        mean = layer.weight[one] @ x + layer.bias[one]
        torch.testing.assert_close(samples[one].var(dim=0), variance.detach(), rtol=0.04, atol=0)
        assert ((samples[one].mean(dim=0) - mean).abs() < 4 * (variance / 20_000).sqrt()).all()
    layer.eval()
    assert torch.equal(layer(inputs[0]), made(inputs[0]))


def test_bayesian_network_is_the_plain_one_in_evaluation_mode():
    spec = NetworkSpec(4, (8, 8), (2, 1), num_tasks=3, layer_norm=True, copies=2)
    torch.manual_seed(5)
    plain = MultiHeadMLP(spec)
    torch.manual_seed(5)
    network = BayesianMLP(spec, 0.05)
    inputs, task = torch.randn(6, 4), torch.arange(6) % 3
    assert not torch.equal(network(inputs, task), plain(inputs, task))
    assert torch.equal(network.eval()(inputs, task), plain(inputs, task))


def test_vcl_penalty_of_trunk_and_heads(classifier):
    """The first prior, then the last posterior for the trunk and the first prior for the head."""
    method = VCL(strength=3.0, data_size=50, prior_std=2.0, initial_std=0.1)
    learner = classifier(method)
    (component,) = learner.components.values()
    network = component.module
    prior = Normal(0, 2)

    def divergence(names, rows=slice(None)):
        named = dict(network.named_parameters())
        posteriors = [
            Normal(named[n][:, rows], named[f"{n}_log_std"][:, rows].exp()) for n in names
        ]
        return 3 / 50 * sum(kl_divergence(posterior, prior).sum() for posterior in posteriors)

    trunk = [f"hidden.{depth}.{kind}" for depth in range(2) for kind in ("weight", "bias")]
    heads = ["heads.weight", "heads.bias"]
    method.begin_task(learner, 0)
    expected = divergence(trunk) + divergence(heads, slice(0, 2))
    torch.testing.assert_close(method.penalty(component, {}), expected)

    learner.learn_task(0, method, steps=20)
    method.begin_task(learner, 1)
    penalty = method.penalty(component, {})
    torch.testing.assert_close(penalty, divergence(heads, slice(2, 4)))
    network.zero_grad()
    penalty.backward()
    assert (network.hidden[0].weight.grad == 0).all(), "the trunk is at its prior"
    per_head = network.heads.weight.grad.view(3, 2, -1)
    assert [bool((head != 0).any()) for head in per_head] == [False, True, False]


def test_vcl_holds_the_trunk_to_its_last_posterior_and_nothing_else(classifier):
    """Neither the first task nor a head has a prior; a data set has as many rows as it has."""
    method = VCL(strength=3.0)
    learner = classifier(method)
    (component,) = learner.components.values()
    method.begin_task(learner, 0)
    assert method.penalty(component, {}) is None
    learner.learn_task(0, method, steps=5)
    trunk = {
        name: parameter.detach().clone()
        for name, parameter in component.module.named_parameters()
        if name.startswith("hidden") and not name.endswith("log_std")
    }
    spread = {n: component.module.get_parameter(f"{n}_log_std").detach().exp() for n in trunk}
    learner.learn_task(1, None, steps=5)
    method.begin_task(learner, 1)
    expected = sum(
        kl_divergence(
            Normal(
                component.module.get_parameter(name),
                component.module.get_parameter(f"{name}_log_std").exp(),
            ),
            Normal(mean, spread[name]),
        ).sum()
        for name, mean in trunk.items()
    )
    torch.testing.assert_close(method.penalty(component, {}), 3 / 256 * expected)
    assert len(learner.tasks[1]["inputs"]) == 256


@pytest.mark.parametrize("prior_std", [None, 1.0])
def test_vcl_takes_over_the_trunk_alone_from_several_copies(
    predictor, stream_learner, distributions, prior_std
):
    """Twin critics have a head of each task in every copy."""
    method = VCL(prior_std=prior_std)
    network = method.build_network(NetworkSpec(2, (4,), (3,), num_tasks=2, copies=2))
    learner = stream_learner(predictor(network, distributions["unit_normal"]), tasks=[{}, {}])
    method.end_task(learner, 0)
    found = method.state_dict()["predictor"]["0"]["mean"]
    hidden = network.hidden[0]
    trunk = flatten({"weight": hidden.weight, "bias": hidden.bias}).detach()
    assert torch.equal(found[: len(trunk)], trunk)
    assert found[len(trunk) :].tolist() == [0.0] * (0 if prior_std is None else 2 * (4 * 3 + 3))


@pytest.mark.parametrize(("data_size", "rows"), [(None, 3000), (50, 50)])
def test_vcl_counts_no_rows_where_data_is_yet_to_come(classifier, monkeypatch, data_size, rows):
    method = VCL(data_size=data_size, prior_std=1.0)
    learner = classifier(method)
    (component,) = learner.components.values()
    method.begin_task(learner, 0)
    of_data_set = method.penalty(component, {})
    monkeypatch.setattr(learner, "task_data", lambda batch_size=1024: iter(()))
    method.begin_task(learner, 0)
    expected = of_data_set * (data_size or 256) / rows
    torch.testing.assert_close(method.penalty(component, {}), expected)


def test_vcl_takes_over_a_shared_head(classifier):
    method = VCL()
    learner = classifier(method, num_tasks=1)
    (component,) = learner.components.values()
    learner.learn_task(0, method, steps=5)
    method.begin_task(learner, 1)
    assert method.penalty(component, {}).item() == 0


def test_vcl_learns_where_the_standard_deviations_may_grow(classifier):
    method = VCL(data_size=1000, prior_std=1.0)
    learner = classifier(method, num_tasks=1)
    (component,) = learner.components.values()
    component.optimizer.param_groups[0]["lr"] = 0.02
    learner.learn_task(0, method, steps=120)
    component.module.eval()
    assert learner.accuracy(0) > 0.9
    assert component.module.posterior(0)[1].exp().mean() > 2 * 0.05


@pytest.mark.parametrize("training", [True, False])
def test_bayesian_predictions_have_gradients_for_single_rows(classifier, training):
    """As the importances of other methods in a chain need them."""
    learner = classifier(VCL())
    (component,) = learner.components.values()
    component.module.train(training)
    fisher = fisher_diagonal(component, learner.tasks[1], chunk_size=100)
    assert all(value.isfinite().all() for value in fisher.values())
    assert bool((fisher["hidden.0.weight_log_std"] > 0).any()) == training


def test_vcl_needs_its_own_network(classifier):
    with pytest.raises(UserError, match="vcl cannot act on 'predictor'"):
        VCL().begin_task(classifier(None), 0)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (L2, {"strength": -1.0}),
        (SI, {"damping": 0.0}),
        (SI, {"damping": float("inf")}),
        (SI, {"strength": float("nan")}),
        (MAS, {"samples": 0}),
        (VCL, {"strength": -1.0}),
        (VCL, {"data_size": 0}),
        (VCL, {"prior_std": 0.0}),
        (VCL, {"initial_std": -1.0}),
    ],
)
def test_options_out_of_range(method, options):
    (name,) = options
    with pytest.raises(ValueError, match=f"'{name}' of {method.__name__} must be"):
        method(**options)


@pytest.mark.parametrize("name", [*NEW, "l2-init", "shrink-and-perturb", "reset"])
def test_saved_and_loaded_method_continues_identically(classifier, name):
    """A third task with the method, with one that was saved and loaded, and with a new one."""
    method, loaded, new = (make(name) for _ in range(3))
    learner = classifier(method)
    (component,) = learner.components.values()
    for task_id in range(2):
        learner.learn_task(task_id, method, steps=4)
    loaded.load_state_dict(copy.deepcopy(method.state_dict()))
    network = copy.deepcopy(component.module.state_dict())
    found = []
    for each in (method, loaded, new):
        component.module.load_state_dict(network)
        component.optimizer.state.clear()
        learner.learn_task(2, each, steps=4)
        found.append(parameters(component))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2]), "the state matters"
    assert_equal_trees(loaded.state_dict(), method.state_dict())


def assert_equal_trees(first, second):
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
        return
    assert set(first) == set(second)
    for key in first:
        assert_equal_trees(first[key], second[key])
