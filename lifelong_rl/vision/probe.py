"""What a representation is worth: what can be read off it linearly, and what it finds alike.

Everything is split by episode: probes are fitted on some episodes, their strength is chosen on
others, and they are judged on others still.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from lifelong_rl.errors import UserError
from lifelong_rl.learning.seeding import preserved_generators
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.encoder import Encoder, encode
from lifelong_rl.vision.frames import PROGRESS, Frames
from lifelong_rl.vision.representation import alignment, effective_rank, nearest, uniformity
from lifelong_rl.vision.sampling import Split, select

Array = npt.NDArray[np.float64]

UNITS = {"hand": "cm", "object": "cm", "joints": "rad", PROGRESS: "1"}
"""The labels that are probed, if the frames have them, and the unit of their error."""
STRENGTHS = np.logspace(-6, 2, 9)
"""Of the ridge penalty, per sample and for features of variance 1."""
PAIRS = 1024
"""Test frames that alignment, uniformity and effective rank are measured on."""


class Ridge(NamedTuple):
    """A linear readout of standardised features: (x − mean) / scale · weights + offset.

    Attributes:
        mean: Of each feature, (d,).
        scale: Standard deviation of each feature, (d,).
        weights: (d, k).
        offset: (k,).
    """

    mean: Array
    scale: Array
    weights: Array
    offset: Array

    def predict(self, features: Array) -> Array:
        """Targets (n, k) of features (n, d)."""
        found: Array = (features - self.mean) / self.scale @ self.weights + self.offset
        return found


def fit_ridges(features: Array, targets: Array, strengths: Array) -> list[Ridge]:
    """Minimise ‖y − Xw − b‖²/n + λ‖w‖² over w and b, for each λ, in closed form.

    Args:
        features: (n, d); standardised here, a feature that never changes to 0.
        targets: (n, k).
        strengths: λ, each positive.
    """
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 1e-9 * np.abs(mean).max(initial=1.0), scale, np.inf)
    standard = (features - mean) / scale
    offset = targets.mean(axis=0)
    values, vectors = np.linalg.eigh(standard.T @ standard / len(standard))
    correlation = vectors.T @ (standard.T @ (targets - offset)) / len(standard)
    return [
        Ridge(mean, scale, vectors @ (correlation / (values[:, None] + strength)), offset)
        for strength in strengths
    ]


def squared_error(predicted: Array, targets: Array) -> float:
    """Mean over the rows of the squared distance."""
    return float(np.square(predicted - targets).sum(axis=1).mean())


def r2(predicted: Array, targets: Array) -> float | None:
    """1 − Σ‖y − ŷ‖² / Σ‖y − ȳ‖², all entries together; None if the targets are all alike."""
    spread = squared_error(np.broadcast_to(targets.mean(axis=0), targets.shape), targets)
    return None if spread == 0 else 1 - squared_error(predicted, targets) / spread


def error_in(unit: str, predicted: Array, targets: Array) -> float:
    """Mean distance in cm of positions in metres, or mean error of an entry in its own unit."""
    if unit == "cm":
        return float(100 * np.linalg.norm(predicted - targets, axis=1).mean())
    return float(np.abs(predicted - targets).mean())


def scores(unit: str, predicted: Array, targets: Array) -> dict[str, Any]:
    """What is reported of one label's predictions, each (n, k)."""
    return {
        "r2": r2(predicted, targets),
        "error": error_in(unit, predicted, targets),
        "unit": unit,
    }


class Labels(NamedTuple):
    """One label on each part of a split, where it is known: the rows, and the values there."""

    rows: Split
    values: tuple[Array, Array, Array]


def labels_of(
    frames: Frames, split: Split, names: Iterable[str] = tuple(UNITS)
) -> dict[str, Labels]:
    """The labels that are probed; frames without a finite value are left out of theirs."""
    found = {}
    for name in names:
        if name not in frames.labels:
            continue
        values = frames.labels[name].astype(np.float64)
        known = np.asarray(np.isfinite(values).all(axis=1))
        rows = Split(*(part[known[part]] for part in split))
        if all(len(part) for part in rows):
            found[name] = Labels(rows, (values[rows[0]], values[rows[1]], values[rows[2]]))
    return found


def fit_probe(features: Array, label: Labels) -> Ridge:
    """The ridge regression of a label, fitted on one part of a split and chosen on another.

    Args:
        features: Of all frames, (n, d).
        label: What to read off them.
    """
    rows, (train, validation, _) = label
    fits = fit_ridges(features[rows.train], train, STRENGTHS)
    return min(
        fits, key=lambda fit: squared_error(fit.predict(features[rows.validation]), validation)
    )


def mean_predictor(frames: Frames, split: Split) -> dict[str, Any]:
    """The scores of predicting the training frames' mean, whatever the image."""
    probes = {}
    for name, (_, (train, _, test)) in labels_of(frames, split).items():
        guess = np.broadcast_to(train.mean(axis=0), test.shape)
        probes[name] = scores(UNITS[name], guess, test)
    return {"probe": probes}


def probe_features(features: Array, frames: Frames, split: Split) -> dict[str, Any]:
    """Ridge probes on features of all frames, (n, d), and retrieval by them.

    Returns:
        "probe" and "retrieval", each with the scores of every label; "retrieval" also with the
        share of frames whose nearest neighbour is of the same "task".
    """
    probes, retrieved = {}, {}
    neighbours = find_neighbours(features, split)
    for name, label in labels_of(frames, split).items():
        unit, rows, test = UNITS[name], label.rows, label.values[2]
        best = fit_probe(features, label)
        probes[name] = scores(unit, best.predict(features[rows.test]), test)
        found = frames.labels[name][neighbours[np.isin(split.test, rows.test)]].astype(np.float64)
        known = np.isfinite(found).all(axis=1)
        if known.any():
            retrieved[name] = scores(unit, found[known], test[known])
    same_task = float((frames.tasks[neighbours] == frames.tasks[split.test]).mean())
    return {"probe": probes, "retrieval": {**retrieved, "task": same_task}}


def find_neighbours(features: Array, split: Split) -> npt.NDArray[np.int64]:
    """The training frame most similar to each test frame, so of another episode."""
    tensor = torch.from_numpy(features)
    keys = tensor[split.train]
    nobody = torch.zeros(1, 1, dtype=torch.bool)
    found = [nearest(part, keys, nobody) for part in torch.split(tensor[split.test], 1024)]
    return np.asarray(split.train[torch.cat(found).squeeze(1).numpy()])


def probe_module(
    module: nn.Module, frames: Frames, split: Split, augmentation: Augmentation
) -> dict[str, Any]:
    """All that is measured of a map from images (n, 3, h, w) uint8 of the first camera to features.

    Returns:
        What `probe_features` tells, and "alignment", "uniformity" and "effective_rank" on test
        frames.
    """
    images = torch.from_numpy(frames.images[:, 0])
    features = encode(module, images).cpu()
    shown = split.test[:: max(len(split.test) // PAIRS, 1)][:PAIRS]
    with preserved_generators():
        torch.manual_seed(0)
        views = augmentation.views(images[shown].unsqueeze(1), copies=2)
    one, other = encode(module, views).chunk(2)
    return {
        **probe_features(features.double().numpy(), frames, split),
        "alignment": alignment(one, other),
        "uniformity": uniformity(features[shown]),
        "effective_rank": effective_rank(features[shown]),
    }


def for_encoder(
    frames: Frames, source: Path, encoder: Encoder, made: Mapping[str, Any], path: Path
) -> Frames:
    """The frames as an encoder's camera sees them.

    Args:
        frames: Of some cameras.
        source: Where they come from, for messages.
        encoder: The encoder.
        made: What its file tells about it.
        path: Its file, for messages.

    Raises:
        UserError: They are of other cameras, or of another size.
    """
    camera, cameras = made["camera"], frames.metadata["cameras"]
    if camera not in cameras:
        raise UserError(f"{path} is for the camera '{camera}'; {source} is of {', '.join(cameras)}")
    height, width = frames.images.shape[-2:]
    if (height, width) != (encoder.spec.height, encoder.spec.width):
        raise UserError(
            f"{path} is for images of {encoder.spec.width}×{encoder.spec.height} pixels; "
            f"{source} has {width}×{height}"
        )
    return select(frames, np.arange(len(frames.images)), (camera,))
