"""CompoNet as a method: what trains."""

from __future__ import annotations

import pytest
import torch

from lifelong_rl.continual.componet import CompoNet
from lifelong_rl.errors import UserError


def test_only_the_tasks_module_moves_and_all_of_it(classifier):
    """But for attention of the second one to the only output there is."""
    method = CompoNet(model_dim=8)
    learner = classifier(method)
    (component,) = learner.components.values()
    for task_id in (0, 1, 2, 1):
        before = {name: p.detach().clone() for name, p in component.module.named_parameters()}
        learner.learn_task(task_id, method, steps=3)
        moved = {n for n, p in component.module.named_parameters() if not torch.equal(p, before[n])}
        trained = {name for name, p in component.module.named_parameters() if p.requires_grad}
        assert trained == {name for name in before if name.startswith(f"columns.{task_id}.")}
        idle = {f"columns.1.output_head.{part}" for part in ("query", "key")}
        assert moved == trained - idle


def test_networks_of_another_kind_are_refused(classifier):
    with pytest.raises(UserError, match="componet cannot act on 'predictor'"):
        CompoNet().begin_task(classifier(None), 0)
