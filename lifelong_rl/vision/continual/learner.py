"""An encoder in training, as continual methods know learners."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor
from torch.distributions import Distribution

from lifelong_rl.errors import UserError
from lifelong_rl.learning import Adam, Batch, Component, Role, gradient_step
from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.objectives.base import SelfSupervised
from lifelong_rl.vision.pretrain import PretrainConfig, Sampler, Training
from lifelong_rl.vision.sampling import Rows, Timeline


@dataclass
class EncoderComponent(Training):
    """An objective and its encoder; the encoder's task shows in the images alone."""

    role: ClassVar[Role] = "policy"
    inputs: ClassVar[tuple[str, ...]] = ("images",)
    replayable: ClassVar[bool] = True

    def with_task(self, batch: Batch, task: int | Tensor) -> Batch:
        """The batch itself: nothing in it tells the task."""
        return batch

    def predict(self, batch: Batch) -> Distribution:
        """An encoder predicts nothing.

        Raises:
            UserError: Always.
        """
        raise UserError(
            "this method asks what a network predicts, and an encoder predicts nothing "
            "(see: lifelong-rl list encoder-methods)"
        )


class EncoderLearner:
    """Learns frames task by task, with a continual method around every step.

    The objective, with its heads and its queue, goes from task to task; Adam begins anew with each,
    except where all tasks are learned at once.

    Args:
        objective: Has the encoder.
        method: Reacts around the steps.
        config: Learning rate, batch size and seed.
        num_tasks: Length of the sequence.
    """

    def __init__(
        self,
        objective: SelfSupervised,
        method: ContinualMethod,
        config: PretrainConfig,
        num_tasks: int,
    ) -> None:
        self.num_tasks = num_tasks
        self.objective, self.method, self.config = objective, method, config
        self._component = EncoderComponent(config.objective, objective, self._make_optimizer())

    @property
    def components(self) -> Mapping[str, Component]:
        """The only one, by the objective's name."""
        return {self._component.name: self._component}

    def begin_task(self, task_id: int, frames: Frames) -> None:
        """Turn to the frames of a task."""
        if task_id and not self.method.interleaves:
            self._component.optimizer = self._make_optimizer()
        self._frames = frames
        rng = np.random.default_rng([self.config.seed, task_id])
        self._sampler = Sampler(frames, self.objective, rng)
        self.method.begin_task(self, task_id)

    def learn(self) -> Iterator[float]:
        """Step without end, and tell the loss before each step."""
        while True:
            batch = self._sampler.draw(self.config.batch_size)
            loss = gradient_step(self._component, batch, self.method)["loss"]
            self.objective.after_step(self._component.optimizer)
            yield loss

    def end_task(self, task_id: int) -> None:
        """Let the method take along what it needs of the task."""
        self.method.end_task(self, task_id)

    def task_data(self, batch_size: int = 1024) -> Iterator[Batch]:
        """Every frame, or every clip of the objective's, of the current task once."""
        rng = np.random.default_rng([self.config.seed, self.num_tasks])
        timeline = EveryClip(self._frames.episodes, self._frames.steps)
        rows = self.objective.draw(timeline, rng, len(self._frames.images))
        for part in np.array_split(rows, -(-len(rows) // batch_size)):
            yield self._sampler.batch(part)

    def rehearse(self, updates: int) -> None:
        """So many more steps on the current task."""
        steps = self.learn()
        for _ in range(updates):
            next(steps)

    def _make_optimizer(self) -> Adam:
        learned = [p for p in self.objective.parameters() if p.requires_grad]
        return Adam(learned, lr=self.config.lr)


class EveryClip(Timeline):
    """A timeline that gives every clip there is, whatever number is asked for."""

    def draw_clips(
        self, rng: np.random.Generator, n: int, length: int = 1, gap: int = 1, margin: int = 0
    ) -> Rows:
        """All clips, each once, (clips, length)."""
        every = len(self.clip_starts(length, gap, margin))
        return super().draw_clips(rng, every, length, gap, margin)
