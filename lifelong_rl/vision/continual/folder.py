"""The folder that pretraining on a sequence of tasks leaves behind.

It holds what `lifelong_rl.vision.pretrain_folder` tells of, and `results.json`: the tables of heads
and encoders, and what was forgotten.
"""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path

import numpy as np

from lifelong_rl.storage.atomic import write_json
from lifelong_rl.storage.metrics_log import MetricsLog
from lifelong_rl.vision.continual.sequence import (
    Report,
    SequenceConfig,
    SequencePretrained,
    pretrain_sequence,
)
from lifelong_rl.vision.encoder import save_encoder
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.pretrain_folder import (
    ENCODER,
    describe,
    open_folder,
    refuse_occupied,
    write_neighbours,
)
from lifelong_rl.vision.sampling import camera_order, select, split_episodes

RESULTS = "results.json"


def pretrain_sequence_into(
    path: Path, frames: Frames, config: SequenceConfig, report: Report, camera: str | None = None
) -> SequencePretrained:
    """Learn an encoder from one task's frames after another's, and write the folder.

    Args:
        path: The folder: new, or left by a pretraining that was stopped.
        frames: Of any cameras.
        config: What is learned and how.
        report: Called with what was measured.
        camera: That the encoder is for; by default the first of the frames.

    Raises:
        UserError: The folder is in use, or frames, objective and method do not go together.
        NonFiniteError: A loss is NaN or infinite.
    """
    refuse_occupied(path)
    cameras = camera_order(frames, camera)
    test = split_episodes(frames).test
    made = {
        **describe(frames, len(frames.images) - len(test), cameras[0], config.training),
        "method": config.method,
        "method_options": dict(config.method_options),
    }
    frames = select(frames, np.arange(len(frames.images)), cameras)
    with open_folder(path, made):
        with closing(MetricsLog(path / "metrics.jsonl", path / "tb", keep=0, keep_step=-1)) as log:

            def write(task: str, step: int, measured: dict[str, float]) -> None:
                log.write("pretrain", step, task, measured)
                report(task, step, measured)

            result = pretrain_sequence(frames, config, write)
        write_neighbours(path, result.encoder, select(frames, test, cameras), result.steps)
        told = {
            field.name: getattr(result, field.name)
            for field in dataclasses.fields(result)
            if field.name not in ("encoder", "readouts")
        }
        tasks = list(frames.metadata["tasks"])
        write_json(path / RESULTS, {**made, **told, "tasks": tasks, "readouts": result.readouts})
        save_encoder(path / ENCODER, result.encoder, {**made, **told})
    return result
