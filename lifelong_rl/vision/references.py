"""An encoder beside what it must be better than, and what it can hope for."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import torch

from lifelong_rl.learning.seeding import seed_everything
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.encoder import Encoder
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.pixel_pca import PixelPCA
from lifelong_rl.vision.pretrain import PretrainConfig, optimise
from lifelong_rl.vision.probe import UNITS, mean_predictor, probe_module
from lifelong_rl.vision.sampling import select, split_episodes
from lifelong_rl.vision.supervised import Supervised

CPU = torch.device("cpu")


def compare(
    encoder: Encoder,
    frames: Frames,
    *,
    supervised_steps: int = 1000,
    seed: int = 0,
    device: torch.device = CPU,
) -> dict[str, dict[str, Any]]:
    """What an encoder and its references are worth on the same frames, by name.

    Args:
        encoder: To be judged.
        frames: Of the encoder's camera.
        supervised_steps: Gradient steps of the encoder that learns from the labels; 0 to leave it
            out, as where there are none.
        seed: Of the references.
        device: That images are encoded and the supervised reference learns on.

    Raises:
        UserError: There are too few episodes.
    """
    split, augmentation = split_episodes(frames), Augmentation()
    seed_everything(seed)
    train = select(frames, split.train, tuple(frames.metadata["cameras"]))
    modules = {
        "this encoder": encoder,
        "random encoder": Encoder(encoder.spec),
        "pixel PCA": PixelPCA(torch.from_numpy(train.images[:, 0]), encoder.spec.dim, seed),
    }
    if supervised_steps and any(name in frames.labels for name in UNITS):
        supervised = Supervised(train, augmentation).to(device)
        config = PretrainConfig(
            objective="supervised",
            batch_size=min(256, len(train.images)),
            seed=seed,
        )
        for _ in islice(optimise(supervised, train, config), supervised_steps):
            pass
        modules["supervised from pixels"] = supervised.encoder
    results = {"mean": mean_predictor(frames, split)}
    for name, module in modules.items():
        results[name] = probe_module(module.to(device), frames, split, augmentation)
    return results


def sizes(frames: Frames) -> dict[str, dict[str, int]]:
    """Frames and episodes of each part of the split."""
    split = split_episodes(frames)
    return {
        name: {"frames": len(rows), "episodes": len(np.unique(frames.episodes[rows]))}
        for name, rows in split._asdict().items()
    }
