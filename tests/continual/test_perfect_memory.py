"""Perfect memory: every row is kept, and each update's rows are spread evenly over the tasks."""

from __future__ import annotations

import pytest
import torch

from lifelong_rl.continual.perfect_memory import PerfectMemory


def test_every_row_is_kept(classifier):
    method = PerfectMemory()
    learner = classifier(method)
    learner.tasks[1] = {key: value[:100] for key, value in learner.tasks[1].items()}
    for task_id in range(2):
        learner.learn_task(task_id, method, steps=1)
    memory = method.state_dict()["memory"]
    assert memory["sizes"].tolist() == [256, 100]
    for key, value in memory["rows"].items():
        assert torch.equal(value, torch.cat([learner.tasks[0][key], learner.tasks[1][key]]))


@pytest.mark.parametrize(("n", "counts"), [(32, (10, 11, 11)), (30, (10, 10, 10)), (2, (0, 1, 1))])
def test_a_batch_keeps_its_size_and_is_spread_evenly(classifier, n, counts):
    method = PerfectMemory()
    learner = classifier(method)
    (component,) = learner.components.values()
    batch = {key: value[:n] for key, value in learner.tasks[2].items()}
    assert method.extend_batch(component, batch) is batch
    for task_id in range(2):
        learner.learn_task(task_id, method, steps=1)
    batch["noise"] = torch.randn(n, 1)
    found = method.extend_batch(component, batch)
    assert set(found) == {"inputs", "labels", "task"}, "noise of this update is left out"
    assert {len(value) for value in found.values()} == {n}
    shares = found["task"].bincount().tolist()
    assert sorted(shares) == sorted(counts)
    assert shares[2] == max(1, n // 3), "the current task's share is rounded down"
    current = found["inputs"][: int(shares[2])]
    rows = (batch["inputs"].unsqueeze(0) == current.unsqueeze(1)).all(dim=2).nonzero()[:, 1]
    assert len(set(rows.tolist())) == shares[2], "drawn without replacement"
    assert torch.equal(found["labels"][: len(rows)], batch["labels"][rows])


def test_the_current_rows_are_drawn_uniformly(classifier):
    method = PerfectMemory()
    learner = classifier(method)
    (component,) = learner.components.values()
    learner.learn_task(0, method, steps=1)
    batch = {"inputs": torch.arange(4.0).view(4, 1).expand(4, 2), "labels": torch.zeros(4).long()}
    torch.manual_seed(0)
    drawn = [method.extend_batch(component, batch)["inputs"][:2, 0] for _ in range(400)]
    counts = torch.cat(drawn).long().bincount(minlength=4)
    assert (counts - 200).abs().max() < 45
