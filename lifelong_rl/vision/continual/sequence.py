"""Pretraining on one task's frames after another's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import process_time
from typing import Any

import numpy as np
import torch

from lifelong_rl.compatibility import find_partners, find_refusal
from lifelong_rl.errors import UserError
from lifelong_rl.learning.devices import open_device
from lifelong_rl.learning.seeding import seed_everything
from lifelong_rl.registry import ENCODER_METHODS, OBJECTIVES
from lifelong_rl.vision.continual import make as make_method
from lifelong_rl.vision.continual.learner import EncoderLearner
from lifelong_rl.vision.continual.readouts import Readouts
from lifelong_rl.vision.encoder import Encoder
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.objectives import make as make_objective
from lifelong_rl.vision.pretrain import PretrainConfig, find_collapse, measured_steps
from lifelong_rl.vision.sampling import TURNS, Split, select, split_episodes


@dataclass(frozen=True)
class SequenceConfig:
    """Everything that decides what is learned, but for the frames.

    Attributes:
        training: Of each task; its steps are those of one task, and its minutes are not used.
        method: See `lifelong-rl list encoder-methods`.
        method_options: Of the method.
    """

    training: PretrainConfig
    method: str = "finetune"
    method_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise UserError for a limit of time, which would decide how far each task gets."""
        if self.training.minutes is not None:
            raise UserError("minutes cannot be given for a sequence of tasks; give steps")


@dataclass(frozen=True)
class SequencePretrained:
    """What has come of a sequence.

    Attributes:
        encoder: The encoder after the last task.
        steps: Gradient steps of all tasks.
        cpu_seconds: Of learning each task, without judging.
        measured: What was measured at the end of each task, see `lifelong_rl.vision.pretrain`.
        warnings: What was wrong with the encoder after a task, a line each.
        readouts: Tables of heads and encoders, see `Readouts.results`.
    """

    encoder: Encoder
    steps: int
    cpu_seconds: list[float]
    measured: list[dict[str, float]]
    warnings: list[str]
    readouts: dict[str, Any]


Report = Callable[[str, int, dict[str, float]], None]
"""Called with a task, the number of steps done since the first, and what was measured."""


def pretrain_sequence(
    frames: Frames, config: SequenceConfig, report: Report, *, points: int = 4
) -> SequencePretrained:
    """Learn an encoder from the frames of task 1, then of task 2 and so on.

    As in `pretrain` the test episodes of all tasks are not learned from. Before the first task and
    after each, heads are fitted for every task and judged (`Readouts`). What an objective takes
    from frames once, such as a palette, it takes from those of the first task.

    Args:
        frames: Of any cameras; the tasks come in the order of `frames.metadata["tasks"]`.
        config: What is learned and how.
        report: Called `points` times for each task, and with the scores after each.
        points: How often to measure.

    Raises:
        UserError: The frames, the objective and the method do not go together, or the device is
            not there.
        NonFiniteError: A loss is NaN or infinite.
    """
    training, tasks = config.training, list(frames.metadata["tasks"])
    _refuse(config.method, training.objective)
    device = open_device(training.device)
    torch.set_num_threads(training.threads)
    seed_everything(training.seed)
    method = make_method(config.method, **config.method_options)
    splits = split_by_task(frames)
    cameras = tuple(frames.metadata["cameras"])
    learned = [np.concatenate([split.train, split.validation]) for split in splits]
    if method.interleaves:
        learned = [np.concatenate(learned)] * len(tasks)
    current = select(frames, learned[0], cameras)
    objective = make_objective(
        training.objective, current, training.augmentation, **training.options
    ).to(device)
    learner = EncoderLearner(objective, method, training, len(tasks))
    readouts = Readouts(select(frames, np.arange(len(frames.images)), cameras[:1]), splits)
    readouts.judge(objective.encoder)
    report(tasks[0], 0, readouts.last_row(tasks))

    seconds, measured, warnings = [], [], []
    for task_id, task in enumerate(tasks):
        seed_everything(training.seed, task_id)
        if task_id and not method.interleaves:
            current = select(frames, learned[task_id], cameras)
        shown = torch.from_numpy(frames.images[splits[task_id].test, 0])
        began, done = process_time(), task_id * training.steps
        learner.begin_task(task_id, current)
        for step, found in measured_steps(objective, learner.learn(), training, shown, points):
            report(task, done + step, found)
        learner.end_task(task_id)
        seconds.append(process_time() - began)
        measured.append(found)
        warning = find_collapse(training.objective, found)
        if warning is not None:
            warnings.append(f"after {task}: {warning}")
        readouts.judge(objective.encoder)
        report(task, done + training.steps, readouts.last_row(tasks))
    return SequencePretrained(
        encoder=objective.encoder,
        steps=len(tasks) * training.steps,
        cpu_seconds=seconds,
        measured=measured,
        warnings=warnings,
        readouts=readouts.results(),
    )


def split_by_task(frames: Frames) -> list[Split]:
    """The episodes of each task by what they are for; see `split_episodes`.

    Raises:
        UserError: A task has too few.
    """
    for task_id, task in enumerate(frames.metadata["tasks"]):
        found = len(np.unique(frames.episodes[frames.tasks == task_id]))
        if found < len(TURNS):
            raise UserError(
                f"the frames have {found} episodes of '{task}'; {len(TURNS)} of each task are "
                "needed"
            )
    split = split_episodes(frames)
    return [
        Split(*(part[frames.tasks[part] == task_id] for part in split))
        for task_id in range(len(frames.metadata["tasks"]))
    ]


def _refuse(method: str, objective: str) -> None:
    """Raise UserError for a method and an objective that do not go together."""
    refusal = find_refusal(ENCODER_METHODS, method, OBJECTIVES, objective)
    if refusal is not None:
        fitting = find_partners(ENCODER_METHODS, method, OBJECTIVES).fitting
        raise UserError(f"{refusal} (objectives that do: {', '.join(fitting)})")
