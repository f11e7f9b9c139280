"""Demonstrations as a dataset of Minari, Farama's format of offline data."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from importlib import import_module
from typing import Any

import numpy as np

from lifelong_rl.errors import UserError
from lifelong_rl.storage.atomic import replacing, writing
from lifelong_rl.storage.demonstration_file import Demonstrations


def check_minari(names: Iterable[str], *, overwrite: bool) -> None:
    """Raise UserError if Minari is not installed, or has a dataset of one of these names.

    Args:
        names: What the datasets will be called.
        overwrite: Whether they may be there already.
    """
    minari = _import_minari()
    for dataset in map(dataset_id, names):
        if dataset in minari.list_local_datasets() and not overwrite:
            raise UserError(f"Minari has a dataset '{dataset}' already; add --overwrite")


def dataset_id(name: str) -> str:
    """What Minari calls a dataset: letters, digits, "-", "_" and a version."""
    return f"lifelong-rl/{name.replace('.', '_')}-v0"


def export_minari(name: str, demonstrations: Demonstrations) -> str:
    """Write a dataset where Minari keeps them, in place of one that is there.

    The infos hold "success", whether each state solves the task (never the first), and
    "expert_actions" (all zero after the last state).

    Args:
        name: What to call it.
        demonstrations: What it holds.

    Returns:
        The dataset's name for `minari.load_dataset`.

    Raises:
        UserError: Minari is not installed, or the disk refused.
    """
    from gymnasium import registry

    from lifelong_rl import envs  # noqa: F401 (registers the environments)

    minari = _import_minari()
    dataset = dataset_id(name)
    spec = next(
        spec
        for spec in registry.values()
        if spec.entry_point == "lifelong_rl.envs.gym_env:TaskEnv"
        and spec.kwargs["task"] == demonstrations.metadata["task"]
    )
    path = minari.storage.get_dataset_path(dataset)
    with warnings.catch_warnings(), writing(path), replacing(path):
        warnings.simplefilter("ignore")  # about an author and an address that there are none of
        minari.create_dataset_from_buffers(
            dataset,
            [_buffer(minari, demonstrations, k) for k in range(demonstrations.num_episodes)],
            env=spec,
            eval_env=spec,
            algorithm_name="expert",
            description=f"lifelong-rl demos: {demonstrations.metadata}",
            data_format="hdf5",
            requirements=[f"lifelong-rl=={demonstrations.metadata['versions']['lifelong-rl']}"],
        )
    return dataset


def _buffer(minari: Any, demonstrations: Demonstrations, episode: int) -> Any:
    """One episode in Minari's form."""
    length = int(demonstrations.lengths[episode])
    steps = slice(0, length)
    ends = np.arange(length) == length - 1
    chosen = demonstrations.expert_actions[episode, steps]
    return minari.data_collector.EpisodeBuffer(
        id=episode,
        observations=demonstrations.observations[episode, : length + 1],
        actions=demonstrations.actions[episode, steps],
        rewards=demonstrations.rewards[episode, steps],
        terminations=np.zeros(length, bool),
        truncations=ends,
        infos={
            "success": np.concatenate([[False], demonstrations.success[episode, steps]]),
            "expert_actions": np.concatenate([chosen, np.zeros_like(chosen[:1])]),
        },
    )


def _import_minari() -> Any:
    try:
        import_module("h5py")
        return import_module("minari")
    except ImportError as error:
        raise UserError(
            "--export minari needs Minari: pip install 'lifelong-rl[minari]'"
        ) from error
