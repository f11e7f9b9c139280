"""Methods that keep networks able to learn: closed forms, and loops written from the papers."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_learners import SMALL_METHOD, Run
from torch import nn
from torch.distributions import kl_divergence

from lifelong_rl.continual import make
from lifelong_rl.continual.c_chain import CChain
from lifelong_rl.continual.initial import redraw
from lifelong_rl.continual.l2_init import L2Init
from lifelong_rl.continual.reset import Reset
from lifelong_rl.continual.shrink_and_perturb import ShrinkAndPerturb
from lifelong_rl.errors import UserError
from lifelong_rl.learning import StepRecord, gradient_step
from lifelong_rl.learning.parameters import flatten

RENEWING = ["shrink-and-perturb", "reset"]
KEEPING = ["l2-init", *RENEWING]


def named(component):
    return {k: p.detach().clone() for k, p in component.module.named_parameters()}


@pytest.mark.parametrize("num_tasks", [1, 3])
def test_l2_init_by_hand(classifier, num_tasks):
    """λ ‖θ − θ0‖² and its gradient; of several heads none is pulled, a single one is."""
    method = L2Init(strength=0.3)
    learner = classifier(method, num_tasks=num_tasks)
    (component,) = learner.components.values()
    initial = named(component)
    learner.learn_task(0, method, steps=3)
    moved = {key: value - initial[key] for key, value in named(component).items()}
    held = [key for key in moved if num_tasks == 1 or not key.startswith("heads")]
    component.module.zero_grad()
    penalty = method.penalty(component, {})
    penalty.backward()
    expected = 0.3 * sum(moved[key].square().sum() for key in held)
    assert expected > 0
    torch.testing.assert_close(penalty, expected)
    for key, parameter in component.module.named_parameters():
        if key in held:
            torch.testing.assert_close(parameter.grad, 0.6 * moved[key])
        else:
            assert parameter.grad is None


def test_naive_l2_init_agrees(classifier):
    """Two tasks under one head; θ0 is from before the first, which has the penalty too."""
    method = L2Init(strength=0.2)
    learner = classifier(method, num_tasks=1)
    (component,) = learner.components.values()
    learner.tasks.append(
        {k: v.flip(0) if k == "labels" else v for k, v in learner.tasks[0].items()}
    )
    network = copy.deepcopy(component.module)
    initial = [p.detach().clone() for p in network.parameters()]
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for task_id, data in enumerate(learner.tasks):
        learner.learn_task(task_id, method, steps=5)
        torch.manual_seed(task_id)
        for _ in range(5):
            rows = torch.randint(256, (32,))
            loss = nn.functional.cross_entropy(
                network(data["inputs"][rows])[0], data["labels"][rows]
            )
            for p, start in zip(network.parameters(), initial, strict=True):
                loss = loss + 0.2 * ((p - start) ** 2).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    torch.testing.assert_close(flatten(named(component)), flatten(network.state_dict()))


def test_l2_init_brings_back_what_the_loss_does_not_need(classifier):
    """The weights into a unit that is dead on all rows, moved away, drift to where they began."""
    method = L2Init(strength=0.01)
    learner = classifier(method, num_tasks=1)
    (component,) = learner.components.values()
    method.begin_task(learner, 0)
    weight = component.module.hidden[0].weight
    start = weight[0, 5].detach().clone()
    with torch.no_grad():
        component.module.hidden[0].bias[0, 5] = -1e3
        component.module.hidden[0].bias[
            0, 5
        ] = -1e3  # it is dead, so the loss has no gradient there
        weight[0, 5] += 0.5
    for _ in range(100):
        gradient_step(component, learner.tasks[0], method)
    assert (weight[0, 5] - start).abs().max() < 0.05


def test_initial_values_drawn_anew():
    """Each axis in a new order: orthogonal weights stay so, and every value is there once."""
    torch.manual_seed(0)
    weight = torch.stack([nn.init.orthogonal_(torch.empty(6, 6)) for _ in range(2)])
    fresh = redraw(weight)
    assert not torch.equal(fresh, weight)
    assert torch.equal(fresh.flatten().sort()[0], weight.flatten().sort()[0])
    torch.testing.assert_close(fresh @ fresh.mT, torch.eye(6).expand(2, 6, 6))
    counts = torch.zeros(3, 3)
    for _ in range(3000):
        counts[torch.arange(3), redraw(torch.arange(3.0)).long()] += 1
    assert (counts / 3000 - 1 / 3).abs().max() < 0.04, "any value comes anywhere"


@pytest.mark.parametrize("num_tasks", [1, 3])
def test_shrink_and_perturb_at_a_switch(classifier, num_tasks):
    """λ θ + γ ε, with ε in the layer's initial values; not before the first task."""
    method = ShrinkAndPerturb(shrink=0.5, perturb=0.25)
    learner = classifier(method, num_tasks=num_tasks)
    (component,) = learner.components.values()
    initial = named(component)
    method.begin_task(learner, 0)
    assert all(torch.equal(value, initial[key]) for key, value in named(component).items())
    learner.learn_task(0, None, steps=3)
    learned = named(component)
    method.begin_task(learner, num_tasks - 1)  # under one head the same task again
    for key, value in named(component).items():
        if num_tasks > 1 and key.startswith("heads"):
            assert torch.equal(value, learned[key])
            continue
        noise = (value - 0.5 * learned[key]) / 0.25
        torch.testing.assert_close(noise.flatten().sort()[0], initial[key].flatten().sort()[0])
        assert key != "hidden.0.weight" or (noise - initial[key]).abs().max() > 0.1


def test_shrink_and_perturb_after_every_second_step(classifier):
    """With a factor alone, the naive loop: two steps of Adam, which keeps its moments, and × λ."""
    method = ShrinkAndPerturb(shrink=0.9, perturb=0.0, every=2)
    learner = classifier(method, num_tasks=1)
    (component,) = learner.components.values()
    network = copy.deepcopy(component.module)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    data = learner.tasks[0]
    torch.manual_seed(0)
    batches = torch.randint(256, (9, 32)).tolist()
    for count, rows in enumerate(batches):
        if count in (0, 5):
            method.begin_task(learner, 0)  # where it does nothing
        gradient_step(component, {key: value[rows] for key, value in data.items()}, method)
    for count, rows in enumerate(batches, 1):
        logits = network(data["inputs"][rows])[0]
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, data["labels"][rows]).backward()
        optimizer.step()
        if count % 2 == 0:
            with torch.no_grad():
                for p in network.parameters():
                    p *= 0.9
    torch.testing.assert_close(flatten(named(component)), flatten(network.state_dict()))


@pytest.mark.parametrize("learner", ["sac", "td3", "offline-rl"])
def test_components_tell_what_follows_them(learner):
    agent = Run(learner, "finetune").agent
    assert agent.components["critic"].followers == (agent.critic_target,)
    of_actor = () if learner == "sac" else (agent.actor_target,)
    assert agent.components["actor"].followers == of_actor


def test_targets_are_shrunk_and_perturbed_alike():
    run = Run("td3", "shrink-and-perturb")
    run.learn(0)
    pairs = [
        (run.agent.critic, run.agent.critic_target),
        (run.agent.actor, run.agent.actor_target),
    ]
    before = [
        flatten(dict(a.named_parameters())) - flatten(dict(b.named_parameters())) for a, b in pairs
    ]
    heads = [
        [n.startswith("network.heads") for n, p in a.named_parameters() for _ in p.flatten()]
        for a, _ in pairs
    ]
    run.begin(1)
    for (a, b), gap, of_head in zip(pairs, before, heads, strict=True):
        now = flatten(dict(a.named_parameters())) - flatten(dict(b.named_parameters()))
        factor = torch.where(torch.tensor(of_head), 1.0, 0.4)
        assert gap.abs().max() > 1e-3
        torch.testing.assert_close(now, factor * gap, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("num_tasks", [1, 3])
@pytest.mark.parametrize("part", ["heads", "last-layers", "all"])
def test_what_a_reset_changes(classifier, part, num_tasks):
    """The part has initial values again and no moments; the rest is as it was learned."""
    method = Reset(part=part)
    learner = classifier(method, num_tasks=num_tasks)
    (component,) = learner.components.values()
    initial = named(component)
    learner.learn_task(0, method, steps=5)
    torch._foreach_add_([p.data for p in component.module.parameters()], 0.01)  # dead units too
    learned = named(component)
    torch.manual_seed(2)  # for another order of the two biases of a head
    method.begin_task(learner, 0)  # the task comes again
    begins = {"heads": ("heads",), "last-layers": ("hidden.1", "heads"), "all": ("h",)}[part]
    for key, parameter in component.module.named_parameters():
        if not key.startswith(begins):
            assert torch.equal(parameter, learned[key])
            assert component.optimizer.state[parameter]["exp_avg"].abs().max() > 0
            continue
        assert parameter not in component.optimizer.state
        changed, kept = parameter.detach(), parameter[:, :0]
        if part == "heads" and num_tasks > 1:
            changed, kept = parameter.detach()[:, :2], parameter[:, 2:]
            assert torch.equal(kept, learned[key][:, 2:])
        assert torch.isin(changed, initial[key]).all()
        assert changed.unique().numel() == changed.numel()
        assert not torch.isin(changed, learned[key]).any()


def test_targets_are_reset_to_the_same_values():
    run = Run("td3", "reset")
    run.learn(0)
    pairs = [
        (run.agent.critic, run.agent.critic_target),
        (run.agent.actor, run.agent.actor_target),
    ]
    learned = [flatten(dict(network.named_parameters())).detach() for network, _ in pairs]
    run.begin(1)
    for (network, target), before in zip(pairs, learned, strict=True):
        now = flatten(dict(network.named_parameters()))
        assert (now - before).abs().max() > 1e-2
        assert torch.equal(now, flatten(dict(target.named_parameters())))


def test_naive_c_chain_agrees(classifier):
    """Churn of the step before, on the rows of the batch before that; λ from running means."""
    method = CChain(share=2.0, window=4)
    learner = classifier(method, num_tasks=1)
    (component,) = learner.components.values()
    network = copy.deepcopy(component.module)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    data = learner.tasks[0]
    batches = torch.randint(256, (12, 32), generator=torch.Generator().manual_seed(3))
    method.begin_task(learner, 0)
    penalties = []
    for rows in batches:
        batch = {key: value[rows] for key, value in data.items()}
        penalties.append(gradient_step(component, batch, method).get("penalty"))

    networks, mean_loss, mean_churn = [], None, None
    for step, rows in enumerate(batches):
        networks.append(copy.deepcopy(network))
        own = nn.functional.cross_entropy(network(data["inputs"][rows])[0], data["labels"][rows])
        loss = own
        if step >= 2:
            reference = data["inputs"][batches[step - 2]]
            before = networks[step - 1](reference)[0].log_softmax(dim=1).detach()
            now = network(reference)[0].log_softmax(dim=1)
            churn = ((now - before) ** 2).mean()
            mean_churn = (
                churn.item()
                if mean_churn is None
                else (mean_churn + (churn.item() - mean_churn) / 4)
            )
            penalty = 2 * mean_loss / (mean_churn + 1e-8) * churn
            assert penalties[step] == pytest.approx(penalty.item(), rel=1e-3)
            loss = loss + penalty
        else:
            assert penalties[step] is None
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        mean_loss = own.item() if mean_loss is None else mean_loss + (own.item() - mean_loss) / 4
    torch.testing.assert_close(
        flatten(named(component)), flatten(network.state_dict()), rtol=1e-3, atol=1e-4
    )


def test_c_chain_reduces_churn(classifier):
    """What steps change of the predictions on rows of no batch."""

    def mean_churn(method):
        learner = classifier(method, num_tasks=1)
        (component,) = learner.components.values()
        data, others = learner.tasks[0], {k: v[128:] for k, v in learner.tasks[0].items()}
        generator = torch.Generator().manual_seed(0)
        found = []
        for step in range(150):
            rows = torch.randint(128, (16,), generator=generator)
            before = component.predict(others)
            gradient_step(component, {k: v[rows] for k, v in data.items()}, method)
            if step >= 50:
                found.append(kl_divergence(before, component.predict(others)).mean().item())
        return sum(found) / len(found)

    assert mean_churn(CChain(share=1.0)) < 0.8 * mean_churn(None)


def test_c_chain_takes_the_size_of_a_loss_below_zero(classifier):
    """As an actor's loss is, which is minus the values."""
    method = CChain()
    (component,) = classifier(method).components.values()
    for loss in (-3.0, 3.0):
        method.after_step(component, StepRecord({}, loss, {}, {}))
    assert method.task_state()["means"] == {"predictor": {"loss": 3.0}}


def test_c_chain_compares_no_rows_of_two_tasks(classifier):
    method = CChain()
    learner = classifier(method)
    (component,) = learner.components.values()
    learner.learn_task(0, method, steps=5)
    assert method.task_state()["references"] and method.state_dict() == {}
    method.begin_task(learner, 1)
    assert method.task_state() == {"batches": {}, "references": {}, "means": {}}
    for step in range(3):
        penalty = gradient_step(component, learner.tasks[1], method).get("penalty")
        assert (penalty is not None) == (step == 2)


@pytest.mark.parametrize("learner", ["sac", "td3", "ppo"])
@pytest.mark.parametrize("name", RENEWING)
def test_counted_steps_go_on_within_a_task(monkeypatch, name, learner):
    """They are counted through the tasks, and no graph is in use when parameters change."""
    monkeypatch.setitem(SMALL_METHOD, "every", 3)
    monkeypatch.setitem(SMALL_METHOD, "part", "heads" if learner == "td3" else "all")
    first = Run(learner, name)
    first.learn(0)
    through = Run(learner, name, task_id=1, state=first.saved())
    through.learn(1)
    within = Run(learner, name, task_id=1)
    within.go_on(1, through.halfway)
    assert within.saved() == through.saved()
    monkeypatch.delitem(SMALL_METHOD, "every")
    at_switches = Run(learner, name)
    at_switches.learn(0)
    assert not torch.equal(at_switches.parameters(), first.parameters())


@pytest.mark.parametrize("name", KEEPING)
def test_frozen_parameters_stay(classifier, name):
    """As the columns of old tasks do under a method that gives each task its own."""
    method = make(f"single-task+{name}")
    learner = classifier(method)
    (component,) = learner.components.values()
    learner.learn_task(0, method, steps=4)
    first = named(component)
    learner.learn_task(1, method, steps=4)
    for key, value in named(component).items():
        assert torch.equal(first[key], value) == (not key.startswith("columns.1."))


@pytest.mark.parametrize("name", KEEPING)
def test_a_component_without_networks_is_refused(predictor, stream_learner, distributions, name):
    component = predictor(nn.Linear(3, 2), distributions["unit_normal"])
    with pytest.raises(UserError, match="cannot act on 'predictor'"):
        make(name).begin_task(stream_learner(component, tasks=[{}, {}]), 0)
