"""The folder that pretraining leaves behind.

It holds `encoder.safetensors`, `manifest.json` (what was done, on what, with what), `metrics.jsonl`
and `tb/` (the course of training) and `neighbours.png` (what the encoder finds alike).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lifelong_rl.errors import UserError
from lifelong_rl.learning.devices import describe_device, open_device
from lifelong_rl.storage.atomic import TEMPORARY, write_file, write_json, writing
from lifelong_rl.storage.event_file import EventFile
from lifelong_rl.storage.json_file import Name, Shape
from lifelong_rl.storage.lock import FolderLock, is_lock_file, lock_folder
from lifelong_rl.storage.metrics_log import MetricsLog, wait_for_next_name
from lifelong_rl.storage.versions import describe_session, versions
from lifelong_rl.vision.encoder import Encoder, save_encoder
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.neighbours import as_png, neighbour_grid
from lifelong_rl.vision.pretrain import PretrainConfig, Pretrained, Report, pretrain
from lifelong_rl.vision.sampling import camera_order, fingerprint, select, split_episodes

ENCODER = "encoder.safetensors"
MANIFEST = "manifest.json"
MADE: Shape = {
    "config": {"objective": Name},
    "steps": int,
    "camera": Name,
    "frames": {"sha256": str},
}
"""What the file of an encoder from here tells of how it was made, see `describe`."""


def pretrain_into(
    path: Path, frames: Frames, config: PretrainConfig, report: Report, camera: str | None = None
) -> Pretrained:
    """Learn an encoder from frames, and write the folder; the encoder comes last.

    The test episodes (see `split_episodes`) are not learned from; what is measured in the course is
    measured on them.

    Args:
        path: The folder: new, or left by a pretraining that was stopped.
        frames: Of any cameras.
        config: What is learned and how.
        report: Called with what was measured.
        camera: That the encoder is for; by default the first of the frames.

    Raises:
        UserError: The folder is in use, or the objective cannot be learned from these frames.
        NonFiniteError: The loss is NaN or infinite.
    """
    refuse_occupied(path)
    cameras = camera_order(frames, camera)
    split = split_episodes(frames)
    learned_from = select(frames, np.concatenate([split.train, split.validation]), cameras)
    held_out = select(frames, split.test, cameras)
    made = describe(frames, len(learned_from.images), cameras[0], config)
    with open_folder(path, made) as lock:
        metrics, events, check = path / "metrics.jsonl", path / "tb", lock.check
        with closing(MetricsLog(metrics, events, keep=0, keep_step=-1, check=check)) as log:

            def write(step: int, measured: dict[str, float]) -> None:
                log.write("pretrain", step, None, measured)
                report(step, measured)

            result = pretrain(learned_from, held_out, config, write)
        write_neighbours(path, result.encoder, held_out, result.steps)
        lock.check()
        made |= {"steps": result.steps, "measured": result.measured, "warning": result.warning}
        save_encoder(path / ENCODER, result.encoder, made)
    return result


def describe(frames: Frames, number: int, camera: str, config: PretrainConfig) -> dict[str, Any]:
    """How an encoder is made, as JSON.

    Args:
        frames: The whole file.
        number: How many of its frames are learned from.
        camera: That the encoder is for.
        config: What is learned and how.

    Raises:
        UserError: The device is not there.
    """
    return {
        "config": dataclasses.asdict(config),
        "device": describe_device(open_device(config.device)),
        "camera": camera,
        "frames": {
            "sha256": fingerprint(frames),
            "number": number,
            "metadata": dict(frames.metadata),
        },
        "versions": versions(),
    }


def rendered_with(made: Mapping[str, Any]) -> str | None:
    """The MuJoCo that rendered the frames of an encoder; None if that is not known.

    Args:
        made: See `describe`; of any encoder's file, so unchecked.
    """
    found: Any = made
    for key in ("frames", "metadata", "mujoco"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else None


@contextmanager
def open_folder(path: Path, made: Mapping[str, Any]) -> Iterator[FolderLock]:
    """Make the folder, with the manifest in it, and keep it from other processes meanwhile.

    Raises:
        UserError: The folder is in use, or holds something.
    """
    refuse_occupied(path)
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    lock = lock_folder(path)
    try:
        refuse_occupied(path)  # another process may have been faster
        write_json(path / MANIFEST, {**made, "session": describe_session()})
        yield lock
    finally:
        lock.release()


def write_neighbours(path: Path, encoder: Encoder, held_out: Frames, step: int) -> None:
    """Write the picture of what the encoder finds alike, as a file and for TensorBoard."""
    picture = neighbour_grid(encoder, held_out)
    write_file(path / "neighbours.png", as_png(picture))
    wait_for_next_name(path / "tb")
    with writing(path / "tb"), closing(EventFile(path / "tb")) as events:
        events.add_image("neighbours", picture, step)


def refuse_occupied(path: Path) -> None:
    """Raise UserError if pretraining into `path` would touch what is there already."""
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file; choose another --out")
    if (path / ENCODER).exists():
        raise UserError(f"{path} holds an encoder already; choose another --out")
    if not path.is_dir() or (path / MANIFEST).exists():
        return
    left = MANIFEST + TEMPORARY  # by a pretraining that was killed at once
    if any(name != left and not is_lock_file(name) for name in os.listdir(path)):
        raise UserError(f"{path} is not empty and holds no pretraining; choose another --out")


def find_encoder(path: Path) -> Path:
    """The file of an encoder, given it or the folder that pretraining has written.

    Raises:
        UserError: The folder has none, because pretraining was stopped or something else made it.
    """
    if not path.is_dir():
        return path
    if not (path / ENCODER).exists():
        raise UserError(f"{path} holds no {ENCODER} (make one with: lifelong-rl pretrain)")
    return path / ENCODER
