"""Reservoirs hold every item with equal probability, however the stream is cut."""

from __future__ import annotations

import pytest
import torch

from lifelong_rl.continual.memory import EpisodicMemory, Reservoir, concatenate, draw_rows
from lifelong_rl.errors import UserError


def cut(n: int, sizes: list[int]):
    """A stream of the numbers 0 … n − 1 in batches of the given sizes, the last one repeated."""
    first = 0
    while first < n:
        size = sizes[0] if len(sizes) == 1 else sizes.pop(0)
        rows = torch.arange(first, min(first + size, n))
        yield {"number": rows, "pair": torch.stack([rows, -rows], dim=1).float()}
        first += size


@pytest.mark.parametrize("sizes", [[40], [5, 24, 11]], ids=str)
def test_inclusion_probability(sizes):
    """Item t of 40 is held with probability 8/40: chi-square over 2000 reservoirs."""
    trials, n, capacity = 2000, 40, 8
    torch.manual_seed(0)
    counts = torch.zeros(n)
    for _ in range(trials):
        counts[draw_rows(cut(n, list(sizes)), capacity)["number"]] += 1
    assert counts.sum() == trials * capacity, "no item is held twice, no slot is empty"
    probability = capacity / n
    expected = trials * probability
    chi_square = ((counts - expected).square() / (expected * (1 - probability))).sum()
    # Approximately chi-square with 39 degrees of freedom: beyond 78 with probability 2e-4.
    assert chi_square < 78, counts


@pytest.mark.parametrize("sizes", [[4, 7], [100], [13, 1, 86]], ids=str)
def test_batches_give_what_single_rows_give(sizes):
    """The random numbers are used one per item, so the same seed gives the same reservoir."""
    torch.manual_seed(1)
    one_by_one = draw_rows(cut(100, [1]), 5)
    torch.manual_seed(1)
    at_once = draw_rows(cut(100, list(sizes)), 5)
    assert torch.equal(one_by_one["number"], at_once["number"])
    assert torch.equal(one_by_one["pair"], at_once["pair"])


def test_single_row_steps_are_algorithm_r():
    """Against a loop written from Vitter's paper, with the same random numbers."""
    torch.manual_seed(2)
    uniform = torch.rand(50, dtype=torch.float64)
    slots: list[int] = []
    for t in range(50):
        if t < 6:
            slots.append(t)
        elif (j := int(uniform[t] * (t + 1))) < 6:
            slots[j] = t
    torch.manual_seed(2)
    assert draw_rows(cut(50, [50]), 6)["number"].tolist() == slots


def test_short_stream_is_held_whole():
    reservoir = Reservoir(10)
    for batch in cut(7, [3]):
        reservoir.add(batch)
    assert reservoir.rows["number"].tolist() == list(range(7))
    assert reservoir.rows["pair"].shape == (7, 2)


def test_the_stream_may_reuse_its_tensors():
    reservoir = Reservoir(3)
    rows = torch.ones(3, 1)
    reservoir.add({"x": rows})
    rows.zero_()
    assert reservoir.rows["x"].sum() == 3


def test_empty_stream():
    with pytest.raises(UserError, match="no data of the task"):
        draw_rows(iter(()), 4)


@pytest.mark.parametrize("capacity", [0, -3])
def test_capacity_out_of_range(capacity):
    with pytest.raises(ValueError, match=f"not {capacity}"):
        Reservoir(capacity)
    with pytest.raises(ValueError, match=f"per_task must be at least 1, not {capacity}"):
        EpisodicMemory(capacity)


def memory_of(sizes: list[int], per_task: int = 10) -> EpisodicMemory:
    memory = EpisodicMemory(per_task)
    for task, size in enumerate(sizes):
        memory.add_task([{"task": torch.full((size,), task), "row": torch.arange(size)}])
    return memory


def test_samples_are_even_over_tasks_and_uniform_within():
    torch.manual_seed(0)
    memory = memory_of([30, 4, 10])
    assert memory.num_tasks == 3
    totals = torch.zeros(3, 10)
    kept = [set(), set(), set()]
    for _ in range(600):
        batch = memory.sample(20)
        counts = batch["task"].bincount(minlength=3)
        assert sorted(counts.tolist()) == [6, 7, 7]
        for task, row in zip(batch["task"].tolist(), batch["row"].tolist(), strict=True):
            kept[task].add(row)
        totals[:, 0] += counts
    assert [len(rows) for rows in kept] == [10, 4, 10], "per_task rows, or all there are"
    share = totals[:, 0] / totals[:, 0].sum()
    torch.testing.assert_close(share, torch.full((3,), 1 / 3), rtol=0.01, atol=0)
    many = memory.sample(30_000)
    of_second = many["row"][many["task"] == 1].bincount(minlength=4)
    torch.testing.assert_close(of_second / 10_000, torch.full((4,), 0.25), rtol=0.06, atol=0)


def test_memory_round_trip():
    torch.manual_seed(0)
    memory = memory_of([30, 4])
    copy = EpisodicMemory(10)
    copy.load_state_dict(memory.state_dict())
    for each in (memory, copy):
        torch.manual_seed(1)
        each.add_task([{"task": torch.full((12,), 2), "row": torch.arange(12)}])
    torch.manual_seed(2)
    expected = memory.sample(50)
    torch.manual_seed(2)
    found = copy.sample(50)
    assert set(found) == {"task", "row"}
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_concatenate_keeps_common_keys():
    found = concatenate(
        {"x": torch.tensor([1, 2]), "noise": torch.tensor([0, 0])},
        {"x": torch.tensor([3]), "extra": torch.tensor([0])},
    )
    assert set(found) == {"x"}
    assert found["x"].tolist() == [1, 2, 3]
