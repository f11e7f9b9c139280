# ruff: noqa: NPY002 (the global generators are what is tested)
"""Seeds depend on the run and the task, and on nothing else."""

import random

import numpy as np
import torch

from lifelong_rl.learning.seeding import (
    EVALUATION_SEED,
    derive_seed,
    generator_state,
    seed_everything,
    set_generator_state,
)


def draws():
    return random.random(), np.random.random(), torch.rand(1).item()


def test_seeding_determines_every_global_generator():
    seed_everything(3, 1)
    first = draws()
    draws()
    seed_everything(3, 1)
    assert draws() == first
    seed_everything(3, 2)
    assert all(a != b for a, b in zip(draws(), first, strict=True))


def test_training_seeds_differ_by_run_and_task_and_from_the_evaluation():
    seeds = {derive_seed(run, task) for run in range(50) for task in range(20)}
    assert len(seeds) == 1000
    assert EVALUATION_SEED not in seeds
    assert max(seeds) < 2**31 - 1


def test_generators_go_on_from_a_state() -> None:
    def draw() -> list[float]:
        numpy = np.random.normal(size=3).tolist()  # an odd number: one is spare
        return [random.random(), random.gauss(), *numpy, *torch.rand(2).tolist()]

    seed_everything(3)
    draw()
    state = generator_state()
    expected = draw()
    seed_everything(4)
    set_generator_state(state)
    assert draw() == expected
