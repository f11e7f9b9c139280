"""Random numbers: every task of a run starts from generators seeded by (seed, task) alone.

So a run that goes on with a task draws what it would have drawn, and generators are saved only
within a task. A GPU has a generator of its own, which is seeded with the others and gives other
numbers than the CPU's.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from lifelong_rl.learning.protocols import StateTree

EVALUATION_SEED = 2**31 - 1
"""Seeds the evaluation episodes of every run but a test; `derive_seed` never gives it."""
TEST_SEED = 3 * 2**30
"""Seeds those of a run that is reported after others were tuned.

It is far from the other: where row i of a batch is seeded with the sum of a seed and i, the two
never meet."""
EVALUATION_SEEDS = {"validation": EVALUATION_SEED, "test": TEST_SEED}
"""By what a run calls them."""


def derive_seed(seed: int, *key: int) -> int:
    """A seed in [0, 2**31 - 1) that depends on `seed` and `key`."""
    return int(np.random.SeedSequence([seed, *key]).generate_state(1)[0]) % EVALUATION_SEED


def seed_everything(seed: int, *key: int) -> None:
    """Seed the global generators of Python, NumPy and torch (all devices) from `seed` and `key`."""
    words = np.random.SeedSequence([seed, *key]).generate_state(4)
    random.seed(int(words[1]))
    np.random.seed(int(words[2]))  # noqa: NPY002 (Stable-Baselines3 draws from it)
    torch.manual_seed(int(words[3]))


def generator_state() -> StateTree:
    """The state of the global generators of Python, NumPy and torch (of the devices in use)."""
    version, words, spare = random.getstate()
    kind, numpy_words, position, has_spare, numpy_spare = np.random.get_state()  # noqa: NPY002
    return {
        "python": (version, np.array(words, np.int64), spare),
        "numpy": (kind, numpy_words, position, has_spare, numpy_spare),
        "torch": torch.get_rng_state(),
        "devices": {str(each.device): each.get_state() for each in _torch_generators()[1:]},
    }


def set_generator_state(state: StateTree) -> None:
    """Put the global generators into a state that `generator_state` returned.

    Those of other devices than were in use then stay as they are.
    """
    version, words, spare = state["python"]
    random.setstate((version, tuple(words.tolist()), spare))
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    saved = state.get("devices", {})  # which earlier versions did not write
    for generator in _torch_generators()[1:]:
        if str(generator.device) in saved:
            generator.set_state(saved[str(generator.device)])


@contextmanager
def preserved_generators() -> Iterator[None]:
    """Put the global generators of Python, NumPy and torch (all devices) back as they were."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    of_torch = [(generator, generator.get_state()) for generator in _torch_generators()]
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        for generator, state in of_torch:
            generator.set_state(state)


def _torch_generators() -> list[torch.Generator]:
    """The global generators of the CPU and of the GPUs that this process has used."""
    found = [torch.default_generator]
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        found += torch.cuda.default_generators
    if torch.backends.mps.is_available():
        found.append(torch.mps._get_default_mps_generator())
    return found
