"""Merging: averages by hand, and what acts when."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_learners import Run

from lifelong_rl.continual import make
from lifelong_rl.continual.merge import Merge


def named(component):
    return {name: p.detach().clone() for name, p in component.module.named_parameters()}


def learn(learner, method, task_id, steps=20):
    """Learn a task, and tell the parameters before it, at its end, and once they are merged."""
    (component,) = learner.components.values()
    learner.task_id, learner.method = task_id, method
    torch.manual_seed(task_id)
    method.begin_task(learner, task_id)
    began = named(component)
    learner.rehearse(steps)
    learned = named(component)
    method.end_task(learner, task_id)
    return began, learned, named(component)


def test_what_acts_is_the_mean_of_what_tasks_ended_at(classifier):
    """(θ_1 + … + θ_t) / t in the trunk, a head as it was learned, and the next task from there."""
    method = Merge()
    learner = classifier(method)
    ends, merged = [], None
    for task_id in range(3):
        began, learned, now = learn(learner, method, task_id)
        for name in began:
            assert merged is None or torch.equal(began[name], merged[name])
            assert not torch.equal(learned[name], began[name])
        ends.append(learned)
        merged = now
        for name, value in merged.items():
            if name.startswith("heads."):
                assert torch.equal(value, learned[name])
            else:
                mean = torch.stack([end[name] for end in ends]).mean(dim=0)
                torch.testing.assert_close(value, mean)
                assert torch.equal(value, learned[name]) == (task_id == 0)


def test_it_is_the_average_of_task_vectors_from_any_common_start(classifier):
    method = Merge()
    learner = classifier(method)
    runs = [learn(learner, method, task_id) for task_id in range(3)]
    for start in (runs[0][0], runs[1][0]):
        for name in ("hidden.0.weight", "hidden.1.bias"):
            vectors = [learned[name] - start[name] for _, learned, _ in runs]
            torch.testing.assert_close(runs[-1][2][name], start[name] + sum(vectors) / 3)


def test_a_share_of_the_last_task_vector(classifier):
    """M + share (θ − M), for all tasks but the first."""
    method = Merge(share=0.3)
    learner = classifier(method)
    for task_id in range(3):
        began, learned, merged = learn(learner, method, task_id)
        share = 0.3 if task_id else 1.0
        expected = torch.lerp(began["hidden.1.weight"], learned["hidden.1.weight"], share)
        torch.testing.assert_close(merged["hidden.1.weight"], expected)


def test_with_a_share_of_one_nothing_is_merged(classifier):
    method = Merge(share=1.0)
    learner = classifier(method)
    for task_id in range(3):
        _, learned, merged = learn(learner, method, task_id)
        assert all(torch.equal(merged[name], learned[name]) for name in merged)


def test_one_head_is_averaged_too(classifier):
    method = Merge()
    learner = classifier(method, num_tasks=1)
    _, first, _ = learn(learner, method, 0)
    _, second, merged = learn(learner, method, 0)
    for name, value in merged.items():
        torch.testing.assert_close(value, (first[name] + second[name]) / 2)


def test_what_is_frozen_stays_to_the_last_bit(classifier):
    """As the networks of old tasks do, and whatever another method freezes."""
    method = make("single-task+merge")
    learner = classifier(method)
    for task_id in range(3):
        _, learned, merged = learn(learner, method, task_id)
        assert all(torch.equal(merged[name], learned[name]) for name in merged)
    method = Merge(share=0.3)
    learner = classifier(method)
    learn(learner, method, 0)
    (component,) = learner.components.values()
    component.module.hidden[0].requires_grad_(False)
    _, learned, merged = learn(learner, method, 1)
    same = {name for name in merged if torch.equal(merged[name], learned[name])}
    assert same == {"hidden.0.weight", "hidden.0.bias", "heads.weight", "heads.bias"}


def test_targets_move_alike():
    run = Run("td3", "merge")
    run.learn(0)
    merged = named(run.agent.components["actor"])
    run.begin(1)
    run.agent.learn_task(80, lambda done: None)
    target = run.agent.actor_target
    before = {name: p.detach().clone() for name, p in target.named_parameters()}
    run.agent.end_task()
    for name, parameter in target.named_parameters():
        if ".heads." in name:
            assert torch.equal(parameter, before[name])
        else:
            assert (before[name] - merged[name]).abs().max() > 1e-4
            torch.testing.assert_close(parameter, (before[name] + merged[name]) / 2)


def test_a_value_function_beside_the_policy_is_left():
    run = Run("ppo", "merge")
    run.learn(0)
    run.begin(1)
    run.agent.learn_task(128, lambda done: None)
    (component,) = run.agent.components.values()
    learned = named(component)
    run.agent.end_task()
    moved = {name for name, p in named(component).items() if not torch.equal(p, learned[name])}
    parts = {name.rpartition(".")[0] for name in moved}
    assert parts == {f"policy_network.{part}" for part in ("hidden.0", "hidden.1", "norm")}


def test_saved_and_loaded_method_continues_identically(classifier):
    """A third task with the method, with one that was saved and loaded, and with a new one."""
    method, loaded, new = Merge(), Merge(), Merge()
    learner = classifier(method)
    (component,) = learner.components.values()
    for task_id in range(2):
        learner.learn_task(task_id, method, steps=4)
    state = method.state_dict()
    held = copy.deepcopy(state)
    loaded.load_state_dict(state)
    network = copy.deepcopy(component.module.state_dict())
    found = []
    for each in (method, loaded, new):
        component.module.load_state_dict(network)
        component.optimizer.state.clear()
        learner.learn_task(2, each, steps=4)
        found.append(component.module.hidden[0].weight.detach().clone())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2]), "the state matters"
    for name, value in held["merged"]["predictor"].items():
        assert torch.equal(state["merged"]["predictor"][name], value), "a state is not changed"


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_is_above_zero_and_at_most_one(share):
    with pytest.raises(ValueError, match="'share' of Merge must be"):
        Merge(share=share)
