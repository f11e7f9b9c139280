"""Experience replay: which rows the loss sees."""

from __future__ import annotations

import pytest
import torch

from lifelong_rl.continual.replay import Replay


@pytest.mark.parametrize(("ratio", "added"), [(1.0, 32), (0.5, 16), (3.0, 96), (0.001, 1)])
def test_extended_batch(classifier, ratio, added):
    method = Replay(per_task=40, ratio=ratio)
    learner = classifier(method)
    (component,) = learner.components.values()
    batch = {key: value[:32] for key, value in learner.tasks[2].items()}
    assert method.extend_batch(component, batch) is batch, "nothing to replay yet"
    for task_id in range(2):
        learner.learn_task(task_id, method, steps=1)

    batch["noise"] = torch.randn(32, 1)
    extended = method.extend_batch(component, batch)
    assert set(extended) == {"inputs", "labels", "task"}, "noise of this update is left out"
    assert all(len(value) == 32 + added for value in extended.values())
    for key, value in extended.items():
        assert torch.equal(value[:32], batch[key])
    memory = {key: value[32:] for key, value in extended.items()}
    counts = memory["task"].bincount(minlength=3)
    assert counts[2] == 0
    assert (counts[0] - counts[1]).abs() <= 1
    for row in range(added):  # input, label and task of one row stay together
        data = learner.tasks[int(memory["task"][row])]
        (source,) = (data["inputs"] == memory["inputs"][row]).all(dim=1).nonzero().flatten()
        assert data["labels"][source] == memory["labels"][row]


@pytest.mark.parametrize("ratio", [0, -1.0, float("nan"), float("inf")])
def test_ratio_out_of_range(ratio):
    with pytest.raises(ValueError, match="'ratio' of Replay must be a number above 0"):
        Replay(ratio=ratio)
