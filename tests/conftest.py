"""What all tests share."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lifelong_rl import envs  # noqa: F401 (chooses how to render, before a test imports mujoco)

sys.path.append(str(Path(__file__).with_name("toy")))  # where `--plugin toy_plugin` finds it
torch.set_num_threads(1)  # networks here are small: threads would only wait for each other
# what was started in the background ignores Ctrl-C, and so would all that the tests start
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def cache_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither use nor fill the user's cache of datasets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIFELONG_RL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
