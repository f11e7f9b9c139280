"""Labelled data as tasks: sequences of classification problems that run like any others.

An environment of such a task shows the task's *test* samples, one to an episode of one step:

- observation: the sample's features, and the one-hot of the task's position in the sequence,
- action: the class chosen, from 0,
- reward: 1 where it is right and 0 where it is not,
- success: whether it is right; so the success rate is the accuracy.

Training data comes from `LabelledEnv.labelled_data` and is never shown as an episode. Where only a
few rows are labelled (see `lifelong_rl.envs.few_labels`) it holds these alone, and
`LabelledEnv.unlabelled_data` all rows without their labels.

Row i of an environment begins with test sample i, whatever the seed: n rows that are evaluated for
one episode each are the first n test samples, and `NUM_TEST` rows are each of them equally often
(the option ``eval_episodes`` of a run says how many). The samples are in random order, so fewer are
fair too.

The data here are the 1 797 handwritten digits of 8×8 pixels that scikit-learn brings with it; one
split of them serves every task, run and seed. `lifelong_rl.envs.labelled_frames` has data of this
suite's own.

References:
    Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, ClassVar, Protocol

import gymnasium
import numpy as np
import numpy.typing as npt

from lifelong_rl.compatibility import Trait
from lifelong_rl.envs.datasets import Store, make_anew
from lifelong_rl.envs.few_labels import Labels
from lifelong_rl.envs.labelled_data import Dataset, Layout, Samples, join
from lifelong_rl.registry import SEQUENCES

NUM_TEST = 360
"""Digits held out for testing, equally many of each; a fifth of all."""
SPLIT_SEED = 20_000
PERMUTATION_SEED = 20_001
NOISE_SEED = 20_002


DIGIT_LAYOUT = Layout(8, 8, 1, cameras=("scan",), turns=True, span=(0.0, 1.0))


class LabelledEnv:
    """Test samples of a dataset as episodes of one step; see the module.

    Attributes:
        num_envs: number of environments.
        observation_space: of one environment.
        action_space: the classes, or numbers as the labels are.
        layout: how observations are pictures, without the one-hot; None where they are none.
    """

    action_space: gymnasium.Space[Any]

    def __init__(self, dataset: Dataset, num_classes: int | None, num_envs: int) -> None:
        """Show the test samples of a dataset.

        Args:
            dataset: what to learn and what to show; the features are the observations.
            num_classes: number of actions; None where labels are numbers, and so actions are too.
            num_envs: number of environments, at least 1.

        Raises:
            ValueError: if there is no environment.
        """
        if num_envs < 1:
            raise ValueError(f"num_envs is {num_envs}; it must be at least 1")
        self._train, self._test = dataset.train, dataset.test
        labelled = dataset.labelled
        self._labelled = self._train if labelled is None else self._train.of(labelled)
        self.layout = dataset.layout
        self._shown = 0
        self._rows = np.zeros(num_envs, np.int64)
        self.num_envs = num_envs
        self.observation_space = gymnasium.spaces.Box(
            -np.inf, np.inf, self._test.features.shape[1:], np.float32
        )
        numbers = gymnasium.spaces.Box(-np.inf, np.inf, self._test.labels.shape[1:], np.float32)
        self.action_space = (
            numbers if num_classes is None else gymnasium.spaces.Discrete(num_classes)
        )

    def labelled_data(self) -> dict[str, npt.NDArray[Any]]:
        """Return the training samples that are labelled.

        Returns:
            ``observations`` (n, obs_dim) float32 and ``labels``, (n,) int64 where they are classes.
        """
        return {"observations": self._labelled.features, "labels": self._labelled.labels}

    def unlabelled_data(self) -> dict[str, npt.NDArray[Any]]:
        """Return all training samples, those that are labelled too, without their labels.

        Returns:
            ``observations`` (n, obs_dim) float32; and where they are of episodes, ``episodes``
            (n,) and ``steps`` (n,) int64.
        """
        found: dict[str, npt.NDArray[Any]] = {"observations": self._train.features}
        if self._train.moments is not None:
            found["episodes"], found["steps"] = self._train.moments.T.copy()
        return found

    def seed(self, seed: int | None = None) -> None:
        """Go back to the first test sample; which one that is does not depend on the seed."""
        self._shown = 0

    def reset(self) -> npt.NDArray[np.float32]:
        """Show the next test samples, one in each row, and return them, (n, obs_dim)."""
        size = len(self._test.labels)
        self._rows = (self._shown + np.arange(self.num_envs)) % size
        self._shown = (self._shown + self.num_envs) % size
        return self._test.features[self._rows]

    def step(
        self, actions: npt.ArrayLike
    ) -> tuple[
        npt.NDArray[np.float32],
        npt.NDArray[np.float32],
        npt.NDArray[np.bool_],
        list[dict[str, Any]],
    ]:
        """Say what the labels are; every episode ends and the next begins.

        Args:
            actions: the classes, (n,), or numbers as the labels are, (n, k).

        Returns:
            The next observations (n, obs_dim), rewards (n,), dones (n,) and an info for each row
            with ``success`` and ``episode``: ``r``, ``l`` and ``success``.
        """
        rewards, right = self.judge(np.asarray(actions), self._test.labels[self._rows])
        infos = [
            {"success": success, "episode": {"r": reward, "l": 1, "success": success}}
            for reward, success in zip(rewards.tolist(), right.tolist(), strict=True)
        ]
        return self.reset(), rewards, np.ones(self.num_envs, bool), infos

    def judge(
        self, actions: npt.NDArray[Any], labels: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Return the reward of each action, and whether it is a success, (n,) each.

        Args:
            actions: as `step` takes them.
            labels: of the samples that were shown.
        """
        right = actions == labels
        return right.astype(np.float32), right

    def state_dict(self) -> dict[str, Any]:
        """Return which samples are shown now and next."""
        return {"shown": self._shown, "rows": self._rows.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the `state_dict` of equal environments."""
        self._shown, self._rows = state["shown"], state["rows"].copy()

    def close(self) -> None:
        """Release nothing: there is nothing to release."""


class Problem(Protocol):
    """A classification problem."""

    @property
    def name(self) -> str:
        """The task's name."""

    @property
    def version(self) -> str:
        """Changes when results are no longer comparable."""

    def dataset(self, store: Store) -> Dataset:
        """Return its dataset, the same every time.

        Args:
            store: has or makes what is worth keeping.
        """


@dataclass(frozen=True)
class LabelledTask:
    """A classification problem whose data is at hand.

    Attributes:
        name: the task's name.
        load: makes its dataset, the same every time.
        version: changes when results are no longer comparable.
    """

    name: str
    load: Callable[[], Dataset]
    version: str = "v0"

    def dataset(self, store: Store) -> Dataset:
        """Return the dataset; there is nothing to keep."""
        return self.load()


@dataclass(frozen=True)
class LabelledSequence:
    """An ordered list of classification problems with equally many features and classes.

    Attributes:
        name: the sequence's name.
        problems: the tasks, in the order they are learned.
        num_classes: classes of each task; None where labels are numbers.
        description: one line.
        steps_per_task: steps that are enough to learn each of its tasks; see
            `lifelong_rl.agents.supervised.SupervisedLearner.learn_task`.
        store: has or makes the datasets that are worth keeping.
        labels: how many training rows are labelled; None for all.
    """

    offers: ClassVar[tuple[Trait, ...]] = ("labelled data", "unlabelled data")

    name: str
    problems: tuple[Problem, ...]
    num_classes: int | None
    description: str
    steps_per_task: int
    store: Store = field(default=make_anew, compare=False, repr=False)
    labels: Labels | None = None

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks' names."""
        return tuple(problem.name for problem in self.problems)

    @property
    def num_tasks(self) -> int:
        """Number of tasks, and length of the one-hot."""
        return len(self.problems)

    def make_env(
        self, task_id: int, *, num_envs: int, num_threads: int = 1, seed: int | None = None
    ) -> LabelledEnv:
        """Return the environments of one task.

        Args:
            task_id: position of the task in the sequence, from 0.
            num_envs: number of environments.
            num_threads: of no effect; other sequences step physics with them.
            seed: of no effect; see the module.

        Raises:
            ValueError: if the sequence has no such task.
        """
        if not 0 <= task_id < self.num_tasks:
            raise ValueError(
                f"task_id is {task_id}; sequence '{self.name}' has tasks 0 to {self.num_tasks - 1}"
            )
        return self._show(self._dataset(task_id), num_envs)

    def make_joint_env(
        self, *, num_envs: int, num_threads: int = 1, seed: int | None = None
    ) -> LabelledEnv:
        """Return environments of all tasks, the samples of one task after those of another.

        Args:
            num_envs: number of environments.
            num_threads: see `make_env`.
            seed: see `make_env`.
        """
        datasets = [self._dataset(task_id) for task_id in range(self.num_tasks)]
        return self._show(join(datasets), num_envs)

    def reordered(self, seed: int) -> LabelledSequence:
        """Return the same tasks in an order that depends on nothing but ``seed``, at least 0."""
        order = np.random.default_rng(seed).permutation(self.num_tasks)
        return replace(self, problems=tuple(self.problems[k] for k in order))

    def with_store(self, store: Store) -> LabelledSequence:
        """Return the same sequence with another store."""
        return replace(self, store=store)

    def with_labels(self, amount: float, seed: int) -> LabelledSequence:
        """Return the same sequence with few labelled rows in each task.

        Args:
            amount: a share of a task's training rows, or a whole number of each class; see
                `lifelong_rl.envs.few_labels.Labels`.
            seed: which ones.
        """
        return replace(self, labels=Labels(amount, seed))

    def versions(self) -> dict[str, str]:
        """Return the tasks' versions by name."""
        return {problem.name: problem.version for problem in self.problems}

    def _show(self, dataset: Dataset, num_envs: int) -> LabelledEnv:
        return LabelledEnv(dataset, self.num_classes, num_envs)

    def _dataset(self, task_id: int) -> Dataset:
        problem = self.problems[task_id]
        dataset = problem.dataset(self.store).in_task(task_id, self.num_tasks)
        if self.labels is None:
            return dataset
        return dataset.with_labels(self.labels, problem.name)


@cache
def digits() -> Dataset:
    """Return all digits: 64 features in [0, 1], ten classes, `NUM_TEST` of them for testing."""
    from sklearn.datasets import load_digits  # scipy and more come with it

    pixels, labels = load_digits(return_X_y=True)
    samples = Samples((pixels / 16.0).astype(np.float32), labels.astype(np.int64))
    shuffled = samples.of(np.random.default_rng(SPLIT_SEED).permutation(len(labels)))
    so_far = np.cumsum(shuffled.labels[:, None] == np.arange(10), axis=0)
    number = np.take_along_axis(so_far, shuffled.labels[:, None], axis=1).squeeze(1)
    held_out = number <= NUM_TEST // 10
    return Dataset(shuffled.of(~held_out), shuffled.of(held_out), DIGIT_LAYOUT)


def two_digits(first: int) -> Dataset:
    """Return the digits ``first``, which is even, as class 0, and ``first + 1`` as class 1."""

    def pick(samples: Samples) -> Samples:
        chosen = samples.of(samples.labels // 2 == first // 2)
        return Samples(chosen.features, chosen.labels - first)

    return Dataset(pick(digits().train), pick(digits().test), DIGIT_LAYOUT)


def permuted(number: int) -> Dataset:
    """Return all digits with their pixels in another order, the same for all of them."""
    order = np.random.default_rng([PERMUTATION_SEED, number]).permutation(64)

    def reorder(samples: Samples) -> Samples:
        return Samples(samples.features[:, order], samples.labels)

    return Dataset(reorder(digits().train), reorder(digits().test))


def with_noise(std: float) -> Dataset:
    """Return all digits with Gaussian noise on every pixel, drawn once for each of them.

    Args:
        std: standard deviation of the noise; clean pixels lie in [0, 1].
    """
    rng = np.random.default_rng(NOISE_SEED)

    def disturb(samples: Samples) -> Samples:
        noise = std * rng.standard_normal(samples.features.shape)
        return Samples((samples.features + noise).astype(np.float32), samples.labels)

    return Dataset(disturb(digits().train), disturb(digits().test), DIGIT_LAYOUT)


SPLIT_DIGITS = SEQUENCES.register("split-digits")(
    LabelledSequence(
        "split-digits",
        tuple(LabelledTask(f"digits-{k}-{k + 1}", partial(two_digits, k)) for k in range(0, 10, 2)),
        num_classes=2,
        description="five pairs of handwritten digits to tell apart: 0 and 1, 2 and 3, and so on",
        steps_per_task=500,
    )
)

PERMUTED_DIGITS = SEQUENCES.register("permuted-digits")(
    LabelledSequence(
        "permuted-digits",
        tuple(LabelledTask(f"permutation-{k}", partial(permuted, k)) for k in range(10)),
        num_classes=10,
        description="the ten handwritten digits, ten times, each time with the pixels in another "
        "order",
        steps_per_task=1_000,
    )
)

NOISY_DIGITS = SEQUENCES.register("noisy-digits")(
    LabelledSequence(
        "noisy-digits",
        (
            LabelledTask("noisy-pixels", partial(with_noise, 0.5)),
            LabelledTask("clean-pixels", digits),
        ),
        num_classes=10,
        description="the ten handwritten digits under noise, then without: what clean pictures "
        "teach is wrong for noisy ones",
        steps_per_task=2_000,
    )
)
