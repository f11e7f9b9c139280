"""Cloning and learning without forgetting against divergences computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_learners import Run
from torch import nn
from torch.distributions import Categorical, kl_divergence
from torch.nn import functional as F

from lifelong_rl.continual import make
from lifelong_rl.continual.clone import Clone
from lifelong_rl.continual.distillation import adapt
from lifelong_rl.continual.lwf import LwF
from lifelong_rl.errors import UserError
from lifelong_rl.learning import gradient_step
from lifelong_rl.networks import MultiHeadMLP, NetworkSpec

OPTIONS = {
    "clone": {"per_task": 16, "batch_size": 8},
    "icarl": {"memory_size": 12},
    "reset-and-distill": {"per_task": 16, "batch_size": 8, "updates": 5},
}


def gaussian(output):
    """Mean and log standard deviation from a network's output."""
    mean, log_std = output.chunk(2, dim=-1)
    normal = torch.distributions.Normal(mean, log_std.exp(), validate_args=False)
    return torch.distributions.Independent(normal, 1, validate_args=False)


def gaussian_kl(mean, std, other_mean, other_std):
    """Of diagonal Gaussians, summed over entries: log σ₂/σ₁ + (σ₁² + (μ₁ − μ₂)²) / 2σ₂² − ½."""
    ratio = (std.square() + (mean - other_mean).square()) / (2 * other_std.square())
    return ((other_std / std).log() + ratio - 0.5).sum(dim=1)


def double_learner(predictor, stream_learner, distribution, outputs, num_tasks=3):
    """Float64, three tasks of random data, the labels of no matter."""
    torch.manual_seed(1)
    network = MultiHeadMLP(NetworkSpec(3, (8,), (outputs,), num_tasks=num_tasks)).double()
    tasks = [
        {
            "inputs": torch.randn(40, 3, dtype=torch.float64),
            "labels": torch.randint(2, (40,)),
            "task": torch.full((40,), k),
        }
        for k in range(num_tasks)
    ]
    component = predictor(network, distribution)
    return stream_learner(component, tasks=tasks), component


def disturb(component):
    with torch.no_grad():
        for parameter in component.module.parameters():
            parameter += 0.3 * torch.randn_like(parameter)


def outputs_of(component, inputs, task):
    with torch.no_grad():
        return component.module(inputs, task)[0]


def test_clone_is_zero_at_first_and_the_gaussian_divergence_by_hand_later(
    predictor, stream_learner
):
    learner, component = double_learner(predictor, stream_learner, gaussian, 4)
    method = Clone(strength=7.0, per_task=1, batch_size=6)
    assert method.penalty(component, learner.tasks[0]) is None
    kept, predicted = [], []
    for task_id in range(2):
        learner.task_id = task_id
        method.end_task(learner, task_id)
        rows = method.state_dict()["predictor"]["rows"]
        kept.append({key: value[task_id : task_id + 1] for key, value in rows.items()})
        predicted.append(outputs_of(component, kept[-1]["inputs"], kept[-1]["task"]))
        if task_id == 0:
            # what one row is predicted as depends, in its last bits, on the rows beside it
            assert method.penalty(component, {}).item() == pytest.approx(0, abs=1e-20)
        disturb(component)
        assert kept[-1]["task"][0] == task_id
        torch.testing.assert_close(
            torch.cat([kept[-1]["loc"], kept[-1]["scale"].log()], 1), predicted[-1]
        )

    expected = []
    for rows, old in zip(kept, predicted, strict=True):
        new = outputs_of(component, rows["inputs"], rows["task"])
        expected.append(gaussian_kl(old[:, :2], old[:, 2:].exp(), new[:, :2], new[:, 2:].exp()))
    # One row of each of two tasks, drawn evenly.
    found = method.penalty(component, {})
    torch.testing.assert_close(found.detach(), 7 * torch.cat(expected).mean())
    found.backward()
    assert component.module.hidden[0].weight.grad.abs().sum() > 0


def test_clone_of_a_categorical_by_hand(predictor, stream_learner, distributions):
    learner, component = double_learner(predictor, stream_learner, distributions["categorical"], 3)
    method = Clone(strength=1.0, per_task=1, batch_size=4)
    method.end_task(learner, 0)
    disturb(component)
    rows = method.state_dict()["predictor"]["rows"]
    old = rows["logits"].exp()
    new = outputs_of(component, rows["inputs"], rows["task"]).log_softmax(1)
    torch.testing.assert_close(
        method.penalty(component, {}).detach(), (old * (old.log() - new)).sum(1).mean()
    )


def test_clone_keeps_a_memory_for_each_component(predictor, stream_learner, distributions):
    torch.manual_seed(0)
    components = [
        predictor(nn.Linear(2, 2), distributions["unit_normal"], name=name, role=role)
        for name, role in (("actor", "policy"), ("critic", "value"))
    ]
    tasks = [{"inputs": torch.randn(9, 2), "labels": torch.randn(9, 2)} for _ in range(2)]
    learner = stream_learner(*components, tasks=tasks)
    for scope, names in (("policy", {"actor"}), ("both", {"actor", "critic"})):
        method = Clone(per_task=5, scope=scope)
        for task_id in range(2):
            learner.task_id = task_id
            method.end_task(learner, task_id)
        state = method.state_dict()
        assert set(state) == names
        for name in names:
            rows = state[name]["rows"]
            assert state[name]["sizes"].tolist() == [5, 5]
            expected = learner.components[name].module(rows["inputs"])
            torch.testing.assert_close(rows["loc"], expected.detach())


def test_lwf_is_zero_for_an_unchanged_network(classifier):
    method = LwF()
    learner = classifier(method)
    (component,) = learner.components.values()
    assert method.penalty(component, learner.tasks[0]) is None
    learner.learn_task(0, method, steps=3)
    assert method.penalty(component, learner.tasks[1]).item() == pytest.approx(0, abs=1e-7)
    disturb(component)
    assert method.penalty(component, learner.tasks[1]) > 0.01


def test_lwf_compares_the_old_heads_on_the_current_rows(predictor, stream_learner, distributions):
    """With the drawn old tasks known: the mean of KL(old ‖ new) of softened predictions."""
    learner, component = double_learner(predictor, stream_learner, distributions["categorical"], 3)
    method = LwF(strength=5.0, temperature=2.0)
    for task_id in range(2):
        learner.task_id = task_id
        method.end_task(learner, task_id)
    batch = learner.tasks[2]
    drawn = torch.arange(40) % 2
    method.draw_old_tasks = lambda n, device: drawn[:n]
    head = drawn
    old = (outputs_of(component, batch["inputs"], head) / 2).softmax(1)
    disturb(component)
    new = (outputs_of(component, batch["inputs"], head) / 2).softmax(1)
    expected = 5 * (old * (old.log() - new.log())).sum(1).mean()
    torch.testing.assert_close(method.penalty(component, batch).detach(), expected)


def test_lwf_draws_all_old_tasks_and_no_other():
    method = LwF()
    method.num_old_tasks = 3
    torch.manual_seed(0)
    assert method.draw_old_tasks(3000, torch.device("cpu")).bincount().sub(1000).abs().max() < 100


def test_lwf_is_the_papers_loop(predictor, stream_learner, distributions):
    """Two tasks: cross entropy plus λ times eq. 2 and 3, written out, with plain SGD."""
    categorical = distributions["categorical"]
    learner, component = double_learner(predictor, stream_learner, categorical, 3, num_tasks=2)
    method = LwF(strength=2.0, temperature=2.0)
    learner.learn_task(0, method, steps=5)
    naive = MultiHeadMLP(component.module.spec).double()
    naive.load_state_dict(component.module.state_dict())
    optimizer = torch.optim.SGD(naive.parameters(), lr=0.1)

    batch = learner.tasks[1]
    old_head = torch.zeros(40, dtype=torch.int64)
    with torch.no_grad():  # "record responses of the old network on the new task's images"
        recorded = (naive(batch["inputs"], old_head)[0].softmax(1)) ** (1 / 2)
        recorded /= recorded.sum(1, keepdim=True)
    for _ in range(5):
        new = naive(batch["inputs"], batch["task"])[0]
        softened = naive(batch["inputs"], old_head)[0].softmax(1) ** (1 / 2)
        softened = softened / softened.sum(1, keepdim=True)
        loss = F.cross_entropy(new, batch["labels"])
        loss = loss - 2.0 * (recorded * softened.log()).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        gradient_step(component, batch, method)
    for name, value in naive.state_dict().items():
        torch.testing.assert_close(component.module.state_dict()[name], value)


# ------------------------------------------------------------------ adaptive distillation


def categorical(*probabilities):
    return Categorical(probs=torch.tensor(probabilities, dtype=torch.float64))


def test_weights_by_hand():
    """KL of (½, ½) to (¾, ¼) is ½ ln 4/3, H of (½, ½) is ln 2: e to their sum, squared, is 16/3."""
    teacher, student = categorical([0.5, 0.5]), categorical([0.75, 0.25])
    divergence = kl_divergence(teacher, student)
    kl = 0.5 * math.log(4 / 3)
    assert divergence.item() == pytest.approx(kl)
    found = {(g, b): adapt(divergence, teacher, g, b).item() for g in (0, 1, 2) for b in (0, 1, 2)}
    assert found[1, 0] == pytest.approx((1 - math.sqrt(3 / 4)) * kl)
    assert found[1, 1] == pytest.approx((1 - math.sqrt(3 / 16)) * kl)
    assert found[2, 1] == pytest.approx((1 - math.sqrt(3 / 16)) ** 2 * kl)
    assert found[1, 2] == pytest.approx((1 - math.sqrt(3 / 64)) * kl)
    assert all(found[0, b] == divergence.item() for b in (0, 1, 2))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_where_the_student_agrees_nothing_is_learned(gamma, beta):
    logits = torch.tensor([[1.0, -1.0, 0.3]], dtype=torch.float64)
    ours = logits.clone().requires_grad_()
    teacher = Categorical(logits=logits)
    weighed = adapt(kl_divergence(teacher, Categorical(logits=ours)), teacher, gamma, beta)
    weighed.sum().backward()
    assert abs(weighed.item()) < 1e-15
    assert ours.grad.isfinite().all() and ours.grad.abs().max() < 1e-12


def test_rows_with_larger_errors_weigh_more_and_the_weight_is_differentiated():
    near, far = categorical([0.55, 0.45]), categorical([0.9, 0.1])
    teacher = categorical([0.5, 0.5])
    shares = [
        adapt(kl, teacher, 2.0, 0.0) / kl
        for kl in (kl_divergence(teacher, near), kl_divergence(teacher, far))
    ]
    assert shares[0] < 0.05 * shares[1] < shares[1] < 1
    # d/dx (1 − e^−x) x = 1 − e^−x + x e^−x
    x = torch.tensor([0.7], dtype=torch.float64, requires_grad=True)
    adapt(x, teacher, 1.0, 0.0).backward()
    assert x.grad.item() == pytest.approx(1 - math.exp(-0.7) + 0.7 * math.exp(-0.7))


def test_predictions_that_are_no_classes_are_weighed_by_their_divergence_alone():
    teacher = gaussian(torch.tensor([[0.0, -9.0]]))  # whose entropy is below 0
    x = torch.tensor([0.7])
    assert torch.equal(adapt(x, teacher, 1.0, 5.0), adapt(x, teacher, 1.0, 0.0))


@pytest.mark.parametrize("name", ["lwf", "clone", "icarl", "reset-and-distill"])
def test_methods_weigh_by_it(name):
    """γ = 0 is what they do anyway, to the last bit; larger γ and β make another network."""

    def learned(**options):
        method = make(name, **OPTIONS.get(name, {}), **options)
        run = Run("classifier", "finetune")
        run.agent = type(run.agent).build(
            run.envs[0], num_tasks=2, method=method, seed=0, hidden=(8,), batch_size=16
        )
        for task_id in range(2):
            run.learn(task_id)
        return run.parameters()

    plain = learned()
    assert torch.equal(learned(gamma=0.0, beta=3.0), plain)
    weighed = learned(gamma=1.0)
    assert not torch.equal(weighed, plain)
    assert not torch.equal(learned(gamma=1.0, beta=1.0), weighed)


@pytest.mark.parametrize("name", ["clone", "lwf"])
def test_less_is_forgotten(classifier, name):
    lost = {}
    for each, options in (("finetune", {}), (name, {"strength": 10.0})):
        method = make(each, **options)
        learner = classifier(method, num_tasks=2)
        learner.learn_task(0, method, steps=150)
        learned = learner.accuracy(0)
        learner.learn_task(1, method, steps=150)
        assert min(learned, learner.accuracy(1)) > 0.85
        lost[each] = learned - learner.accuracy(0)
    assert lost["finetune"] > 0.15
    assert lost[name] < 0.05


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clone", {"strength": -1.0}),
        ("clone", {"per_task": 0}),
        ("clone", {"batch_size": 0}),
        ("lwf", {"strength": float("nan")}),
        ("lwf", {"temperature": 0.0}),
        ("lwf", {"gamma": -1.0}),
        ("clone", {"gamma": -1.0}),
        ("reset-and-distill", {"beta": -1.0}),
    ],
)
def test_options_out_of_range(name, options):
    (option,) = options
    with pytest.raises(UserError, match=f"'{option}' of method '{name}' must be"):
        make(name, **options)
