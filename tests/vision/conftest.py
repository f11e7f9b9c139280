"""Frames without a simulator, and one thread for all that is small."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.append(HERE)

from moving_square import moving_squares  # noqa: E402

from lifelong_rl.vision.frames import Frames  # noqa: E402


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """More threads only get into each other's way on tensors this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same draws in every order of the tests."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def squares() -> Frames:
    """Twenty episodes of twenty frames."""
    return moving_squares()
