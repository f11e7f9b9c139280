"""Camera frames whose look drifts from one domain to another, with labels in the first alone.

The frames are those of `lifelong_rl.envs.labelled_frames`, of one task (`TASK`), and ask in which
slice of the table the object is. Step k of K is seen at the share k / K of the way of
`lifelong_rl.envs.looks.drift`, in episodes of its own; those of the last step are the same however
many steps there are. All steps are one problem to the agent: there is one head, and no one-hot.
Entries are divided and shifted as those of the first step, and slices are its slices.

`drift-frames` has `STEPS` steps, and `drift-frames:K` as many as it says; with one, the other
domain comes at once.

References:
    Kumar et al. 2020, Understanding self-training for gradual domain adaptation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from lifelong_rl.compatibility import Trait
from lifelong_rl.envs.datasets import Store
from lifelong_rl.envs.labelled import LabelledEnv, LabelledSequence
from lifelong_rl.envs.labelled_data import Dataset
from lifelong_rl.envs.labelled_frames import NUM_BINS, SEED, load_film, make_dataset
from lifelong_rl.envs.streams import Phase
from lifelong_rl.envs.tasks import get_task
from lifelong_rl.errors import UserError
from lifelong_rl.registry import SEQUENCE_MAKERS, SEQUENCES

TASK = "push"
STEPS, MOST_STEPS = 6, 100
CAMERAS = ("front",)


@dataclass(frozen=True)
class DriftTask:
    """Where is the object, in a look between two domains?

    Attributes:
        step: of the drift, from 0, which is labelled.
        steps: how many there are after it.
    """

    step: int
    steps: int

    @property
    def name(self) -> str:
        """The problem's name."""
        return f"drift-{self.step}-of-{self.steps}"

    @property
    def version(self) -> str:
        """That of the task."""
        return get_task(TASK).revision()

    def dataset(self, store: Store) -> Dataset:
        """Return frames and slices, in random order; none is labelled but those of step 0.

        Args:
            store: has or renders the frames.

        Raises:
            RenderingError: if they have to be rendered and no OpenGL context can be made.
        """
        first = load_film(store, TASK, CAMERAS)
        if self.step == 0:
            return make_dataset(first, "place", CAMERAS)
        share = self.step / self.steps
        found = load_film(store, TASK, CAMERAS, SEED + round(1000 * share), share)
        dataset = make_dataset(found, "place", CAMERAS, first)
        return replace(dataset, labelled=np.zeros(len(dataset.train.labels), bool))


@dataclass(frozen=True)
class DriftFrames(LabelledSequence):
    """A drift: problems that are one to the agent, of which the first alone has labels."""

    offers: ClassVar[tuple[Trait, ...]] = ("unlabelled data",)

    def reordered(self, seed: int) -> DriftFrames:
        """Refuse to.

        Raises:
            UserError: always.
        """
        raise UserError(f"the sequence '{self.name}' has only its own order; leave out --order")

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Each step once."""
        return tuple(Phase((k,), self.steps_per_task, True) for k in range(self.num_tasks))

    @property
    def heads(self) -> tuple[int, ...]:
        """The same head for all steps."""
        return (0,) * self.num_tasks

    @property
    def num_heads(self) -> int:
        """One."""
        return 1

    def make_phase_env(
        self,
        block: Sequence[int],
        steps: Sequence[int],
        *,
        num_envs: int,
        num_threads: int = 1,
        seed: int | None = None,
    ) -> LabelledEnv:
        """Return the environments of one step.

        Args:
            block: its position alone, as each is announced.
            steps: of no effect.
            num_envs: number of environments.
            num_threads: see `make_env`.
            seed: see `make_env`.
        """
        return self.make_env(block[0], num_envs=num_envs)

    def _dataset(self, task_id: int) -> Dataset:
        problem = self.problems[task_id]
        dataset = problem.dataset(self.store)
        if self.labels is None or dataset.labelled is not None:
            return dataset
        return dataset.with_labels(self.labels, problem.name)


def make_drift(steps: int) -> DriftFrames:
    """Return the drift in so many steps.

    Args:
        steps: after the first, labelled one.
    """
    return DriftFrames(
        "drift-frames" if steps == STEPS else f"drift-frames:{steps}",
        tuple(DriftTask(k, steps) for k in range(steps + 1)),
        num_classes=NUM_BINS,
        description=f"camera frames of {TASK} whose light, colours, camera and clutter drift to "
        f"another domain in {steps} step{'s' if steps > 1 else ''}, the first alone labelled: in "
        "which slice of the table is the object?",
        steps_per_task=2_000,
    )


@SEQUENCE_MAKERS.register("drift-frames")
def read_drift(told: str) -> DriftFrames:
    """Return the drift in as many steps as a text says.

    Args:
        told: what stands after "drift-frames:".

    Raises:
        ValueError: if it is no number of steps.
    """
    if not told.isascii() or not told.isdigit() or not 1 <= int(told) <= MOST_STEPS:
        raise ValueError(
            f"a drift has 1 to {MOST_STEPS} steps, such as drift-frames:{STEPS}, not {told!r}"
        )
    return make_drift(int(told))


DRIFT_FRAMES = SEQUENCES.register("drift-frames")(make_drift(STEPS))
