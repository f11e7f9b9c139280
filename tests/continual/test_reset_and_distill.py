"""Reset & Distill: tasks from scratch, and a distillation written from its formula."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_learners import Run
from torch.distributions import kl_divergence

from lifelong_rl.continual.memory import EpisodicMemory
from lifelong_rl.continual.reset_and_distill import ResetAndDistill
from lifelong_rl.errors import UserError
from lifelong_rl.learning import gradient_step
from lifelong_rl.learning.parameters import flatten
from lifelong_rl.networks import MultiHeadMLP, NetworkSpec
from lifelong_rl.networks.online import NO_TASK, OnlineAndContinualMLP

SMALL = {"per_task": 64, "batch_size": 32, "updates": 150, "learning_rate": 1e-2}


def named(module):
    return {k: p.detach().clone() for k, p in module.named_parameters()}


def test_which_network_answers():
    torch.manual_seed(0)
    network = OnlineAndContinualMLP(NetworkSpec(2, (8,), (3,), num_tasks=3))
    inputs, task = torch.randn(6, 2), torch.tensor([0, 1, 2, 1, 0, 1])
    online, continual = network.online(inputs), network.continual(inputs, task)
    assert torch.equal(network(inputs, task), continual)
    network.turn_to(1)
    expected = torch.where((task == 1).unsqueeze(1), online, continual)
    assert torch.equal(network(inputs, task), expected)
    of_one = [torch.tensor(k).expand(6) for k in range(3)]
    assert torch.equal(network(inputs, of_one[1]), online)
    assert torch.equal(network(inputs, of_one[2]), network.continual(inputs, of_one[2]))
    network.turn_to(NO_TASK)
    assert torch.equal(network(inputs, of_one[1]), network.continual(inputs, of_one[1]))


def test_with_one_task_the_online_network_is_the_plain_one():
    spec = NetworkSpec(2, (8,), (3,))
    torch.manual_seed(0)
    plain = MultiHeadMLP(spec)
    torch.manual_seed(0)
    network = OnlineAndContinualMLP(spec)
    network.turn_to(0)
    inputs = torch.randn(4, 2)
    assert torch.equal(network(inputs), plain(inputs))


def test_naive_distillation_agrees(classifier):
    method = ResetAndDistill(**SMALL | {"updates": 4, "strength": 0.3, "per_task": 1000})
    learner = classifier(method)
    (component,) = learner.components.values()
    network = component.module
    kept = []
    for task_id in (0, 1):
        learner.task_id, data = task_id, learner.tasks[task_id]
        method.begin_task(learner, task_id)
        learner.method = method
        learner.rehearse(5)
        # where kept and current predictions agree, Adam's step is the sign of what is rounded
        torch._foreach_add_([p.data for p in network.continual.parameters()], 0.05)
        student, teacher = copy.deepcopy(network.continual), copy.deepcopy(network.online)
        torch.manual_seed(9)
        method.end_task(learner, task_id)
        torch.manual_seed(9)
        optimizer = torch.optim.Adam(student.requires_grad_().parameters(), lr=1e-2)
        old = EpisodicMemory(1000)
        for rows in kept:
            old.add_task([rows])
        if kept:
            torch.manual_seed(9)  # it draws too
        for _ in range(4):
            inputs = data["inputs"][torch.randint(256, (32,))]
            said = teacher(inputs)[0].softmax(dim=1).detach()
            found = student(inputs, torch.full((32,), task_id))[0].log_softmax(dim=1)
            loss = (said * (said.log() - found)).sum(dim=1).mean()
            if kept:
                rows = old.sample(32)
                found = student(rows["inputs"], rows["task"])[0].log_softmax(dim=1)
                difference = found - rows["logits"].log_softmax(dim=1)
                loss = loss + 0.3 * (found.exp() * difference).sum(dim=1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        torch.testing.assert_close(flatten(named(network.continual)), flatten(named(student)))
        order = torch.randperm(256)
        (rows,) = [{k: v[-256:] for k, v in method._memories["predictor"]._rows.items()}]
        with torch.no_grad():
            logits = student(data["inputs"][order], torch.full((256,), task_id))[0]
        assert torch.equal(rows["inputs"], data["inputs"][order])
        said = (rows["logits"].softmax(1), logits.softmax(1))
        torch.testing.assert_close(*said, atol=1e-5, rtol=1e-4)
        kept.append(rows)


def test_the_continual_network_knows_all_tasks(classifier):
    """And forgets without what was kept of the earlier ones."""
    found = {}
    for strength in (1.0, 0.0):
        method = ResetAndDistill(**SMALL | {"strength": strength})
        learner = classifier(method)
        for task_id in range(3):
            learner.learn_task(task_id, method, steps=100)
            assert learner.accuracy(task_id) > 0.9
        found[strength] = [learner.accuracy(task_id) for task_id in range(3)]
    assert min(found[1.0]) > 0.85
    assert min(found[0.0]) < 0.75


def test_a_task_begins_from_scratch_and_leaves_the_continual_network_alone(classifier):
    method = ResetAndDistill(**SMALL | {"updates": 5})
    learner = classifier(method)
    (component,) = learner.components.values()
    initial = named(component.module.online)
    learner.learn_task(0, method, steps=5)
    torch._foreach_add_([p.data for p in component.module.parameters()], 0.01)  # dead units too
    learned, continual = named(component.module.online), named(component.module.continual)
    learner.task_id = 1
    method.begin_task(learner, 1)
    for key, parameter in component.module.online.named_parameters():
        assert torch.isin(parameter.detach(), initial[key]).all()
        assert not torch.isin(parameter.detach(), learned[key]).any()
        assert parameter not in component.optimizer.state
    assert component.module.current == 1
    learner.method = method
    learner.rehearse(5)
    gradient_step(component, learner.tasks[0], method)  # rows that another method may bring
    assert all(torch.equal(v, continual[k]) for k, v in named(component.module.continual).items())
    assert not torch.equal(flatten(named(component.module.online)), flatten(learned))


def test_critics_and_targets_begin_from_scratch_too():
    run = Run("td3", "reset-and-distill")
    agent = run.agent
    assert isinstance(agent.critic.network, MultiHeadMLP)
    assert isinstance(agent.actor.network, OnlineAndContinualMLP)
    initial = named(agent.critic)
    run.learn(0)
    learned = named(agent.critic)
    assert agent.actor.network.current == NO_TASK
    run.begin(1)
    for key, value in named(agent.critic).items():
        assert torch.isin(value, initial[key]).all()
        assert not torch.equal(value, learned[key])
        assert torch.equal(value, agent.critic_target.get_parameter(key))
    online = named(agent.actor.network.online)
    for key, value in named(agent.actor_target.network.online).items():
        assert torch.equal(value, online[key])
    assert agent.actor.network.current == agent.actor_target.network.current == 1


def test_the_value_function_of_ppo_begins_from_scratch_and_deviations_stay():
    run = Run("ppo", "reset-and-distill")
    run.learn(0)
    learned, deviations = named(run.agent.policy.value_network), run.agent.policy.log_std.clone()
    run.begin(1)
    now = named(run.agent.policy.value_network)
    assert not any(torch.equal(now[k], learned[k]) for k in now if k.endswith("weight"))
    assert torch.equal(run.agent.policy.log_std, deviations)


def test_a_task_that_comes_again_replaces_what_was_kept_of_it(classifier):
    method = ResetAndDistill(**SMALL | {"updates": 5})
    learner = classifier(method)
    for task_id in (0, 1, 2, 1):
        learner.learn_task(task_id, method, steps=5)
    (memory,) = method._memories.values()
    assert method._tasks == [0, 2, 1] and memory.num_tasks == 3
    rows = memory.sample(300)
    assert torch.bincount(rows["task"]).tolist() == [100] * 3
    said = torch.distributions.Categorical(logits=rows["logits"])
    (component,) = learner.components.values()
    latest = rows["task"] == 1
    far = kl_divergence(said, component.predict(rows))
    assert far[latest].max() < 1e-5 < far[~latest].max()


def test_networks_of_another_method_are_refused(classifier):
    learner = classifier(None)
    with pytest.raises(UserError, match="its network was not made by the method's build_network"):
        ResetAndDistill().begin_task(learner, 0)
