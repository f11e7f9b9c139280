"""Every method on a small stream: what it forgets, and that it survives a checkpoint."""

from __future__ import annotations

import pytest
import torch

from lifelong_rl.continual import METHODS, make

SHIPPED = ["finetune", "ewc", "agem", "replay", "progressive"]


def forgetting(classifier, method) -> float:
    """Accuracy lost on the first of two tasks; both must have been learned."""
    learner = classifier(method, num_tasks=2)
    learner.learn_task(0, method, steps=300)
    learned = learner.accuracy(0)
    learner.learn_task(1, method, steps=300)
    assert min(learned, learner.accuracy(1)) > 0.9
    return learned - learner.accuracy(0)


def test_finetuning_forgets(classifier):
    assert forgetting(classifier, make("finetune")) > 0.15


@pytest.mark.parametrize(
    ("name", "options"),
    [("replay", {}), ("agem", {}), ("ewc", {"strength": 100.0}), ("progressive", {})],
)
def test_methods_hold_what_finetuning_forgets(classifier, name, options):
    lost = forgetting(classifier, make(name, **options))
    assert lost < 0.05
    assert name != "progressive" or lost == 0


@pytest.mark.parametrize("name", SHIPPED)
def test_saved_and_loaded_method_continues_identically(classifier, name):
    """Two tasks, a checkpoint of network and method, a third task: the same parameters."""

    def parameters(learner):
        (component,) = learner.components.values()
        return component.module.state_dict()

    method = make(name)
    learner = classifier(method)
    for task_id in range(2):
        learner.learn_task(task_id, method, steps=10)
    resumed_method = make(name)
    resumed = classifier(resumed_method)
    resumed_method.load_state_dict(method.state_dict())
    (copy,) = resumed.components.values()
    copy.module.load_state_dict(parameters(learner))

    before = {key: value.clone() for key, value in parameters(learner).items()}
    for each, its_method in ((learner, method), (resumed, resumed_method)):
        (component,) = each.components.values()
        component.optimizer.state.clear()
        each.learn_task(2, its_method, steps=10)
    assert any(not torch.equal(before[key], value) for key, value in parameters(learner).items())
    for key, value in parameters(learner).items():
        assert torch.equal(parameters(resumed)[key], value), key
    assert_equal_trees(resumed_method.state_dict(), method.state_dict())


def assert_equal_trees(first, second) -> None:
    if isinstance(first, torch.Tensor):
        assert first.dtype == second.dtype
        assert torch.equal(first, second)
        return
    assert set(first) == set(second)
    for key in first:
        assert_equal_trees(first[key], second[key])


@pytest.mark.parametrize("name", SHIPPED)
def test_every_method_ships_and_describes_itself(name):
    assert name in METHODS.names()
    assert len(METHODS.describe(name)) > 20
