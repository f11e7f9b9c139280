"""The task of a row: a one-hot where environments show it, a number in a batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.func import vmap

from lifelong_rl.errors import UserError
from lifelong_rl.learning import split_batch, split_task
from lifelong_rl.learning.rows import split_old_rows, with_task
from lifelong_rl.networks import MultiHeadMLP, NetworkSpec
from lifelong_rl.networks.encoded import EncodedMLP
from lifelong_rl.networks.expandable import ExpandableMLP
from lifelong_rl.networks.low_rank import LowRankMLP
from lifelong_rl.networks.nearest_mean import NearestMeanMLP
from lifelong_rl.networks.packnet import PackNetMLP
from lifelong_rl.networks.progressive import ProgressiveMLP
from lifelong_rl.networks.self_composing import SelfComposingMLP
from lifelong_rl.networks.separate import SeparateMLP

SPEC = NetworkSpec(2, (5, 4), (3,), num_tasks=3)
NETWORKS: dict[str, Any] = {
    "multi-head": lambda: MultiHeadMLP(SPEC),
    "encoded": lambda: EncodedMLP(SPEC),
    "expandable": lambda: ExpandableMLP(SPEC, 2),
    "low-rank": lambda: LowRankMLP(SPEC, 2, 2.0),
    "nearest-mean": lambda: NearestMeanMLP(SPEC),
    "packnet": lambda: PackNetMLP(SPEC),
    "progressive": lambda: ProgressiveMLP(SPEC, 2),
    "self-composing": lambda: SelfComposingMLP(SPEC, 2),
    "separate": lambda: SeparateMLP(SPEC),
}


def test_the_task_is_the_end_of_the_row() -> None:
    rows = torch.tensor([[1.0, 2.0, 0.0, 1.0], [3.0, 4.0, 1.0, 0.0]])
    inputs, task = split_task(rows, 2)
    assert inputs.tolist() == [[1, 2], [3, 4]]
    assert task is not None and task.dtype == torch.int64
    assert task.tolist() == [1, 0]
    assert split_task(rows, 1) == (rows, None)


def test_a_batch_has_the_task_once_and_no_one_hots() -> None:
    rows = torch.tensor([[1.0, 2.0, 0.0, 1.0]])
    batch = {"observations": rows, "actions": rows, "next_observations": rows + 0.0}
    found = split_batch(batch, 2)
    assert found["task"].tolist() == [1]
    assert found["observations"].tolist() == found["next_observations"].tolist() == [[1, 2]]
    assert torch.equal(found["actions"], rows)
    assert set(split_batch({"observations": rows}, 1)) == {"observations"}


def test_other_tasks_of_the_same_rows() -> None:
    rows = torch.randn(3, 2)
    batch = {"observations": rows, "task": torch.tensor([2, 2, 2]), "policy_actions": rows}
    assert with_task(batch, 3, 1)["task"].tolist() == [1, 1, 1]
    found = with_task(batch, 3, torch.tensor([0, 2, 1]))
    assert set(found) == {"observations", "task"}  # what was sampled for the own task is left out
    assert found["task"].tolist() == [0, 2, 1]
    assert batch["task"].tolist() == [2, 2, 2]
    assert with_task({"observations": rows}, 3, 1)["task"].tolist() == [1, 1, 1]
    assert with_task(batch, 1, 0) is batch


def test_rows_of_old_states_are_split_and_nothing_else_is() -> None:
    rows = torch.cat([torch.randn(4, 2), torch.eye(2)[[0, 1, 1, 0]]], dim=1)
    old = {
        "memory": {"rows": {"observations": rows, "loc": rows}, "sizes": torch.ones(2)},
        "exemplars": [{"label": 1, "rows": {"observations": rows, "next_observations": rows}}],
        "features": {"observations": torch.randn(4, 4)},
        "number": 3,
    }
    new = split_old_rows(old, 2)
    assert new["memory"]["rows"]["task"].tolist() == [0, 1, 1, 0]
    assert torch.equal(new["memory"]["rows"]["observations"], rows[:, :2])
    assert torch.equal(new["memory"]["rows"]["loc"], rows)
    assert new["exemplars"][0]["rows"]["next_observations"].shape == (4, 2)
    assert new["features"]["observations"] is old["features"]["observations"]  # no one-hot there
    assert new["number"] == 3 and new["memory"]["sizes"] is old["memory"]["sizes"]
    again = split_old_rows(new, 2)
    assert torch.equal(
        again["memory"]["rows"]["observations"], new["memory"]["rows"]["observations"]
    )


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_row_is_seen_by_its_own_task_alone_and_in_vmap(kind: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[kind]().double()
    inputs, task = torch.randn(6, 2).double(), torch.tensor([0, 2, 1, 1, 2, 0])
    mixed = network(inputs, task)
    for row in range(6):
        alone = network(inputs[row : row + 1], task[row : row + 1])
        torch.testing.assert_close(mixed[:, row : row + 1], alone)
    others = torch.stack([network(inputs, torch.full((6,), k)) for k in range(3)])
    assert not torch.allclose(others[0], others[1])
    one_by_one = vmap(lambda x, t: network(x.unsqueeze(0), t.unsqueeze(0))[:, 0])(inputs, task)
    torch.testing.assert_close(one_by_one.transpose(0, 1), mixed)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_one_hot_is_refused_in_one_line_that_says_what_to_pass(kind: str) -> None:
    network = NETWORKS[kind]()
    with pytest.raises(UserError, match=r"\(n,\) of int64.*argmax\(dim=1\).*split_task") as caught:
        network(torch.randn(2, 2), torch.eye(3)[:2])
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="needs the task of each row"):
        network(torch.randn(2, 2))
