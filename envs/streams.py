"""Streams: phases of learning over tasks from anywhere, put together in a YAML file.

    name: slippery
    steps: 20000
    phases:
      - env: push
      - env: push
        label: ice
        changes: {friction: 0.3}
      - env: push
        label: thaw
        changes: {friction: [0.3, 1.0]}

A phase has

- ``env``: a task of this suite by its name; ``gym:ID``, an environment of Gymnasium, or
  ``metaworld:NAME``; a mapping with the id and more, which is of Gymnasium unless ``kind`` says
  otherwise, see `lifelong_rl.envs.gym_tasks.GymTask.parse` and
  `lifelong_rl.envs.metaworld.task.MetaWorldTask.parse`; or a list of these, which are learned side
  by side,
- ``steps``: how long it is learned; where it says nothing, the stream's ``steps``,
- ``label``: what the task is called in results; by default after the environment and what is
  changed. Phases of one label learn one task again. With several environments, a list,
- ``changes``: fields of the physics, each with a factor, or with two where it drifts from the one
  to the other while the phase is learned (`lifelong_rl.envs.model_changes`). What is evaluated is
  the environment as it is at the end of the phase,
- ``announced``: false where agent and method are not told that it begins: to them it is the same
  task as the phase before, with the same head.

Of the stream itself, ``task_free: true`` announces nothing but its beginning, ``repeat: N`` goes
through the phases N times, and ``assume_switch_every: N`` tells agent and method of a switch every
N steps, whether there is one or not: a rule for methods that need to be told of some.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import gymnasium
import numpy as np

from lifelong_rl.compatibility import Trait
from lifelong_rl.envs.datasets import Store, make_anew
from lifelong_rl.envs.gym_tasks import LABEL, LABELS, GymTask
from lifelong_rl.envs.model_changes import check_factors
from lifelong_rl.envs.sequences import Sequence as TaskSequence
from lifelong_rl.envs.sequences import spread
from lifelong_rl.envs.tasks import TASKS
from lifelong_rl.errors import UserError, lookup
from lifelong_rl.registry import SEQUENCE_MAKERS
from lifelong_rl.text import is_one_line, shorten

VecEnv = Any
"""A `VecEnv` of Stable-Baselines3, which only the adapters import."""
DEFAULT_STEPS = 20_000
"""Of a phase where nothing says how many."""
Drift = tuple[float, float]
"""Factor of a field of the physics at the beginning and at the end of a phase."""
KEYS = ("name", "description", "steps", "task_free", "repeat", "assume_switch_every", "phases")
PHASE_KEYS = ("env", "label", "steps", "changes", "announced")
MOST_PHASES = 10_000
MOST_ENVS = 100
"""Environments of a task that are evaluated at once, where the task does not say."""


class StreamTask(Protocol):
    """What a stream asks of a task.

    Attributes:
        label: what the task is called.
        version: changes when results are no longer comparable.
        measure: ``"success"``, ``"score"`` or ``"return"``.
    """

    @property
    def label(self) -> str: ...  # noqa: D102

    @property
    def version(self) -> str: ...  # noqa: D102

    @property
    def measure(self) -> str: ...  # noqa: D102

    def dims(self) -> tuple[int, int]:
        """Return how many numbers an observation and an action are."""

    def make_env(
        self,
        *,
        num_envs: int,
        num_threads: int,
        seed: int | None,
        one_hot: tuple[int, int] | None,
        obs_dim: int,
        action_dim: int,
    ) -> VecEnv:
        """Return environments of the task.

        Args:
            num_envs: number of environments.
            num_threads: threads or processes that step them, at most.
            seed: seeds the environments' episodes.
            one_hot: (position, length) of what is appended to observations.
            obs_dim: numbers of an observation before it; those that the task has not are 0.
            action_dim: numbers of an action; those that the task has not are of no effect.
        """


@dataclass(frozen=True)
class SuiteTask:
    """A task of this suite, or of a plug-in, in a stream.

    Attributes:
        name: of the task.
        label: what it is called in the stream.
        store: has or makes its demonstrations.
    """

    name: str
    label: str
    store: Store = field(default=make_anew, compare=False, repr=False)

    measure = "success"

    @property
    def version(self) -> str:
        """That of the task, which follows the content of files of its own."""
        return str(TASKS[self.name].revision())

    @property
    def offers(self) -> tuple[Trait, ...]:
        """What agents can learn of it."""
        return TaskSequence(self.name, (self.name,), "").offers

    def with_store(self, store: Store) -> SuiteTask:
        """Return the same task with another store."""
        return replace(self, store=store)

    def dims(self) -> tuple[int, int]:
        """Return how many numbers an observation and an action are."""
        sizes: tuple[int, int] = TASKS[self.name].dims()
        return sizes

    def make_env(
        self,
        *,
        num_envs: int,
        num_threads: int,
        seed: int | None,
        one_hot: tuple[int, int] | None,
        obs_dim: int,
        action_dim: int,
        **observation: Any,
    ) -> VecEnv:
        """Return environments of the task; see `StreamTask.make_env`."""
        from lifelong_rl.envs.batch_env import BatchEnv
        from lifelong_rl.envs.vec_env import BatchVecEnv  # imports Stable-Baselines3, and torch

        env = BatchVecEnv(
            BatchEnv(TASKS[self.name], num_envs, num_threads),
            one_hot=one_hot,
            store=self.store,
            sizes=(obs_dim, action_dim),
            **observation,
        )
        if seed is not None:
            env.seed(seed)
        return env


@dataclass(frozen=True)
class Placed:
    """A task of a stream with what is changed of its physics.

    Attributes:
        task: whose label is unique in the stream.
        changes: factors by field, at the beginning and the end of a phase that learns it.
    """

    task: Any
    changes: Mapping[str, Drift] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """That of the task, with what is changed, and which task it is where its label does not."""
        task = self.task
        known = getattr(task, "name", None) or getattr(task, "id", task.label)
        env = [] if known == task.label else [known]
        told = [f"{name}={_tell(drift)}" for name, drift in self.changes.items()]
        return " ".join([*env, task.version, *told])

    @property
    def drifts(self) -> bool:
        """Whether something changes while it is learned."""
        return any(first != last for first, last in self.changes.values())

    def factors(self, share: float) -> dict[str, float]:
        """Return the factors once a share in [0, 1] of a phase is learned."""
        return {
            name: (1 - share) * first + share * last for name, (first, last) in self.changes.items()
        }


@dataclass(frozen=True)
class StreamPhase:
    """A phase of a stream, see `lifelong_rl.runs.sequence.Phase`.

    Attributes:
        labels: of the tasks that are learned.
        steps: environment steps, all environments together.
        announced: whether agent and method are told that it begins.
        within: from which share of a drift to which.
    """

    labels: tuple[str, ...]
    steps: int
    announced: bool = True
    within: Drift = (0.0, 1.0)


@dataclass(frozen=True)
class Phase:
    """A phase as the loop of a run reads it: with the positions of its tasks.

    Attributes:
        tasks: positions in `Stream.tasks`.
        steps: environment steps.
        announced: whether agent and method are told that it begins.
    """

    tasks: tuple[int, ...]
    steps: int
    announced: bool


@dataclass(frozen=True)
class Stream:
    """Phases over tasks from anywhere: a sequence, as `lifelong_rl.runs.sequence.Sequence` says.

    Attributes:
        name: the stream's name.
        description: one line.
        listed: the phases, before they are cut where a switch is assumed.
        placed: the tasks by label, in the order in which they are first learned.
        task_free: whether one head learns all of it, as nothing tells which task there is.
        assume_switch_every: steps from one to the next switch that agent and method are told of;
            None where they are told of those that there are.
    """

    name: str
    description: str
    listed: tuple[StreamPhase, ...]
    placed: Mapping[str, Placed]
    task_free: bool = False
    assume_switch_every: int | None = None

    def __post_init__(self) -> None:
        """Check that phases which are not announced go on under the head of their task.

        Raises:
            UserError: they do not, or there are too many phases.
        """
        _ = self.stages, self.heads

    @cached_property
    def stages(self) -> tuple[StreamPhase, ...]:
        """The phases, cut where a switch is assumed."""
        every = self.assume_switch_every
        return self.listed if every is None else tuple(_cut(self.listed, every))

    @property
    def tasks(self) -> tuple[str, ...]:
        """The labels of the tasks, each once."""
        return tuple(self.placed)

    @property
    def num_tasks(self) -> int:
        """Number of tasks."""
        return len(self.placed)

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        """What is learned in turn."""
        place = {label: k for k, label in enumerate(self.placed)}
        return tuple(
            Phase(tuple(place[label] for label in stage.labels), stage.steps, stage.announced)
            for stage in self.stages
        )

    @cached_property
    def heads(self) -> tuple[int, ...]:
        """The head that each task is learned with."""
        if self.task_free:
            return (0,) * self.num_tasks
        heads: dict[str, int] = {}
        current = count = 0
        for number, stage in enumerate(self.stages, 1):
            for label in stage.labels:
                if stage.announced or number == 1:
                    if label not in heads:
                        heads[label], count = count, count + 1
                elif heads.setdefault(label, current) != current:
                    raise UserError(
                        f"phase {number} of the stream '{self.name}' is not announced, so it goes "
                        f"on with the head of the phase before, and '{label}' has another; "
                        "announce it, or give it another label"
                    )
            current = heads[stage.labels[0]]
        return tuple(heads[label] for label in self.placed)

    @cached_property
    def num_heads(self) -> int:
        """Number of heads, and length of the one-hot."""
        return max(self.heads) + 1

    @property
    def measures(self) -> tuple[str, ...]:
        """What is measured on each task."""
        return tuple(placed.task.measure for placed in self.placed.values())

    @cached_property
    def action_dims(self) -> tuple[int, ...] | None:
        """How many entries of an action count, by head; None where all do."""
        sizes = [placed.task.dims()[1] for placed in self.placed.values()]
        if len(set(sizes)) == 1:
            return None
        own = [0] * self.num_heads
        for head, size in zip(self.heads, sizes, strict=True):
            own[head] = max(own[head], size)
        return tuple(own)

    @property
    def offers(self) -> tuple[Trait, ...]:
        """What agents can learn of it: experts show a task only where it is announced as it is."""
        steady = all(stage.announced for stage in self.stages[1:]) and not any(
            placed.drifts for placed in self.placed.values()
        )
        taught = all(
            "expert" in getattr(placed.task, "offers", ()) for placed in self.placed.values()
        )
        return ("continuous actions", "expert") if steady and taught else ("continuous actions",)

    @property
    def most_envs(self) -> int:
        """Environments of a task that are evaluated at once, at most."""
        return min(getattr(placed.task, "most_envs", MOST_ENVS) for placed in self.placed.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """What should be known of its tasks, a line each."""
        notes = [getattr(placed.task, "note", None) for placed in self.placed.values()]
        return tuple(dict.fromkeys(note for note in notes if note is not None))

    def make_env(
        self,
        task_id: int,
        *,
        num_envs: int,
        num_threads: int = 1,
        seed: int | None = None,
        render_mode: str | None = None,
        **observation: Any,
    ) -> VecEnv:
        """Return the environments of one task, as it is at the end of a phase that learns it.

        Args:
            task_id: position in `tasks`, from 0.
            num_envs: number of environments.
            num_threads: threads that step them; 0 takes every CPU.
            seed: seeds the environments' episodes.
            render_mode: ``"rgb_array"`` where they are to give pictures of themselves.
            **observation: what tasks of this suite show, see `Sequence.make_env`.

        Raises:
            UserError: the task cannot be made, or shows its state only.
        """
        label = self.tasks[task_id]
        return self._make(label, num_envs, num_threads, seed, observation, render_mode)

    def make_phase_env(
        self,
        block: Sequence[int],
        steps: Sequence[int],
        *,
        num_envs: int,
        num_threads: int = 1,
        seed: int | None = None,
        **observation: Any,
    ) -> VecEnv:
        """Return the environments that consecutive phases are learned in.

        They go on to the next phase by themselves, after the steps of each.

        Args:
            block: positions of the phases in `phases`.
            steps: of each of them.
            num_envs: number of environments; more where a phase learns more tasks at once.
            num_threads: see `make_env`.
            seed: see `make_env`.
            **observation: see `make_env`.

        Raises:
            UserError: a task cannot be made, or what a phase changes is not there, which may be a
                later phase.
        """
        from lifelong_rl.envs.stream_env import PhasedVecEnv

        _ = self._can_be_changed  # all of it, before a run begins
        made: dict[tuple[str, ...], VecEnv] = {}
        parts, drifts = [], []
        num_envs = max(num_envs, *(len(self.stages[k].labels) for k in block))
        for k in block:
            stage = self.stages[k]
            placed = [self.placed[label] for label in stage.labels]
            if stage.labels not in made:
                made[stage.labels] = self._side_by_side(
                    stage.labels, num_envs, num_threads, observation
                )
            parts.append(made[stage.labels])
            drifts.append(_Drifting(placed[0], stage.within) if placed[0].drifts else None)
        env = parts[0]
        if len(parts) > 1 or drifts[0] is not None:
            env = PhasedVecEnv(parts, list(steps), drifts)
            _tell_action_dims(env, self.action_dims)
        if seed is not None:
            env.seed(seed)
        return env

    def make_joint_env(
        self,
        *,
        num_envs: int,
        num_threads: int = 1,
        seed: int | None = None,
        **observation: Any,
    ) -> VecEnv:
        """Return environments of all tasks side by side, each as at the end of its phase.

        Args:
            num_envs: number of environments in all; each task has at least one.
            num_threads: see `make_env`.
            seed: see `make_env`.
            **observation: see `make_env`.
        """
        env = self._side_by_side(self.tasks, num_envs, num_threads, observation)
        if seed is not None:
            env.seed(seed)
        return env

    def reordered(self, seed: int) -> Stream:
        """Return the same phases in an order that depends on nothing but ``seed``, at least 0.

        Phases that are not announced stay behind the one that they go on from, unless the stream is
        task-free.
        """
        blocks: list[list[StreamPhase]] = []
        for stage in self.listed:
            if stage.announced or self.task_free or not blocks:
                blocks.append([])
            blocks[-1].append(stage)
        order = np.random.default_rng(seed).permutation(len(blocks))
        listed = [stage for k in order for stage in blocks[k]]
        if self.task_free:
            listed = [replace(stage, announced=k == 0) for k, stage in enumerate(listed)]
        labels = dict.fromkeys(label for stage in listed for label in stage.labels)
        placed = {label: self.placed[label] for label in labels}
        return replace(self, listed=tuple(listed), placed=placed)

    def with_steps(self, steps: int) -> Stream:
        """Return the same stream with so many steps in each of its phases, as they are listed."""
        return replace(self, listed=tuple(replace(stage, steps=steps) for stage in self.listed))

    def with_store(self, store: Store) -> Stream:
        """Return the same stream with another store of demonstrations."""
        placed = {
            label: replace(one, task=one.task.with_store(store))
            if hasattr(one.task, "with_store")
            else one
            for label, one in self.placed.items()
        }
        return replace(self, placed=placed)

    def versions(self) -> dict[str, str]:
        """Return the tasks' versions by label."""
        return {label: placed.version for label, placed in self.placed.items()}

    @cached_property
    def _dims(self) -> tuple[int, int]:
        sizes = [placed.task.dims() for placed in self.placed.values()]
        return max(size for size, _ in sizes), max(size for _, size in sizes)

    @cached_property
    def _can_be_changed(self) -> bool:
        """True, or UserError where what a phase changes is not there."""
        for label, placed in self.placed.items():
            if placed.changes:
                self._make(label, 1, 1, None, {}).close()
        return True

    def _make(
        self,
        label: str,
        num_envs: int,
        num_threads: int,
        seed: int | None,
        observation: Mapping[str, Any],
        render_mode: str | None = None,
    ) -> VecEnv:
        placed, (obs_dim, action_dim) = self.placed[label], self._dims
        if observation and not isinstance(placed.task, SuiteTask):
            raise UserError(f"the task '{label}' shows its state only: it has no cameras")
        env: VecEnv = placed.task.make_env(
            num_envs=num_envs,
            num_threads=num_threads,
            seed=seed,
            one_hot=(self.heads[self.tasks.index(label)], self.num_heads),
            obs_dim=obs_dim,
            action_dim=action_dim,
            **observation,
            **({} if render_mode is None else {"render_mode": render_mode}),
        )
        _tell_action_dims(env, self.action_dims)
        if len({type(each.task) for each in self.placed.values()}) > 1:
            shape = env.observation_space.shape  # their bounds differ
            env.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, shape, np.float32)
        if placed.changes:
            _change(env, label, placed.factors(1.0))
        return env

    def _side_by_side(
        self,
        labels: Sequence[str],
        num_envs: int,
        num_threads: int,
        observation: Mapping[str, Any],
    ) -> VecEnv:
        """Return environments of several tasks, spread evenly."""
        if len(labels) == 1:
            return self._make(labels[0], num_envs, num_threads, None, observation)
        from lifelong_rl.envs.vec_env import JointVecEnv

        parts = []
        for label, count in zip(labels, spread(num_envs, len(labels)), strict=True):
            threads = min(num_threads, count)
            parts.append(self._make(label, count, threads, None, observation))
        env = JointVecEnv(parts)
        _tell_action_dims(env, self.action_dims)
        return env


@dataclass(frozen=True)
class _Drifting:
    """The factors of a task over a phase.

    Attributes:
        placed: the task.
        within: from which share of its drift to which.
    """

    placed: Placed
    within: Drift

    def __call__(self, share: float) -> dict[str, float]:
        """Return the factors once a share of the phase is done."""
        first, last = self.within
        return self.placed.factors(first + (last - first) * share)


def _tell_action_dims(env: Any, action_dims: tuple[int, ...] | None) -> None:
    """Let environments say how many entries of an action count, by head."""
    env.action_dims = action_dims


def _change(env: Any, label: str, factors: Mapping[str, float]) -> None:
    if not hasattr(env, "change_model"):
        raise UserError(f"the task '{label}' has no model of MuJoCo that changes could change")
    try:
        env.change_model(factors)
    except ValueError as error:
        raise UserError(f"the changes of '{label}': {error}") from error


@SEQUENCE_MAKERS.register("gym")
def make_gym_stream(names: str) -> Stream:
    """Return a stream of environments of Gymnasium, each learned once.

    Args:
        names: their ids, joined by commas; each but the first may have ``gym:`` before it.

    Raises:
        UserError: there is no such environment.
    """
    return _one_after_another("gym", names)


@SEQUENCE_MAKERS.register("metaworld")
def make_metaworld_stream(names: str) -> Stream:
    """Return a stream of tasks of Meta-World, each learned once.

    Args:
        names: of the tasks, joined by commas; each but the first may have ``metaworld:`` before it.

    Raises:
        UserError: there is no such task, or Meta-World is not installed as it has to be.
    """
    return _one_after_another("metaworld", names)


def _one_after_another(kind: str, names: str) -> Stream:
    """Return the stream of some tasks of a kind."""
    each = [name if ":" in name else f"{kind}:{name}" for name in names.split(",")]
    told = ",".join(name.removeprefix(f"{kind}:") for name in each)
    return parse_stream({"name": f"{kind}:{told}", "phases": [{"env": name} for name in each]})


@SEQUENCE_MAKERS.register("stream")
def make_stream(content: str) -> Stream:
    """Return the stream of a content in JSON.

    Raises:
        UserError: something in it is wrong.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"a stream is not JSON: {error}") from error
    return parse_stream(found)


def parse_stream(content: object) -> Stream:
    """Return the stream that a content says, as YAML has it; see the module.

    Raises:
        UserError: something in it is wrong; the message is one line and names the phase.
    """
    if not isinstance(content, Mapping):
        raise UserError(f"a stream is a mapping with phases, not {shorten(content)}")
    for key in content:
        lookup("key of a stream", str(key), dict.fromkeys(KEYS), see="")
    name = content.get("name", "stream")
    if not isinstance(name, str) or not name or not is_one_line(name):
        raise UserError(f"the name of a stream is {shorten(name)}; it must be a text of one line")
    owner = f"the stream '{name}'"
    description = content.get("description", f"the stream {name}")
    if not isinstance(description, str) or not is_one_line(description):
        raise UserError(f"the description of {owner} must be a text of one line")
    steps = _count(content.get("steps", DEFAULT_STEPS), f"steps of {owner}")
    task_free = _flag(content.get("task_free", False), f"task_free of {owner}")
    repeat = _count(content.get("repeat", 1), f"repeat of {owner}")
    every = content.get("assume_switch_every")
    if every is not None:
        every = _count(every, f"assume_switch_every of {owner}")
        if not task_free:
            raise UserError(f"assume_switch_every of {owner} goes with task_free: true only")
    listed = content.get("phases")
    if not isinstance(listed, list) or not listed:
        raise UserError(f"{owner} has no phases: a list of mappings with env, such as env: reach")
    if len(listed) * repeat > MOST_PHASES:
        raise UserError(f"{owner} has more than {MOST_PHASES} phases")
    placed: dict[str, Placed] = {}
    stages = []
    for number, one in enumerate(listed, 1):
        try:
            stages.append(_parse_phase(one, steps, placed))
        except UserError as error:
            raise UserError(f"phase {number} of {owner}: {error}") from error
        except ValueError as error:
            raise UserError(f"phase {number} of {owner}: {error}") from error
    if task_free and any(isinstance(one, Mapping) and "announced" in one for one in listed):
        raise UserError(f"task_free of {owner} announces nothing; leave out announced")
    stages = [replace(stage, announced=not task_free and stage.announced) for stage in stages]
    stages *= repeat
    stages[0] = replace(stages[0], announced=True)
    return Stream(name, description, tuple(stages), placed, task_free, every)


def _parse_phase(content: object, steps: int, placed: dict[str, Placed]) -> StreamPhase:
    """Return a phase, and add what it learns to the tasks."""
    if not isinstance(content, Mapping):
        raise UserError(f"{shorten(content)} is no mapping with env, such as env: reach")
    for key in content:
        lookup("key of a phase", str(key), dict.fromkeys(PHASE_KEYS), see="")
    if "env" not in content:
        raise UserError("it has no env")
    envs = content["env"] if isinstance(content["env"], list) else [content["env"]]
    if not envs:
        raise UserError("env is an empty list")
    changes = _parse_changes(content.get("changes"))
    if len(envs) > 1 and any(first != last for first, last in changes.values()):
        raise UserError("several environments at once cannot drift; give each phase one")
    labels = content.get("label", [None] * len(envs))
    labels = labels if isinstance(labels, list) else [labels]
    if len(labels) != len(envs):
        raise UserError(f"{len(envs)} environments have {len(labels)} labels")
    found = []
    for env, label in zip(envs, labels, strict=True):
        task = _parse_task(env)
        if label is None:
            told = [f"-{name.replace('/', '-')}-{_tell(drift)}" for name, drift in changes.items()]
            label = task.label + "".join(told)
        if not isinstance(label, str):
            raise UserError(f"the label {shorten(label)} is no text; write it in quotes")
        if not LABEL.fullmatch(label):
            raise UserError(f"the label {shorten(label)} is not made of {LABELS}")
        one = Placed(replace(task, label=label), changes)
        if label in found or placed.setdefault(label, one) != one:
            raise UserError(f"two different tasks have the label '{label}'; give one another label")
        found.append(label)
    own = _count(content.get("steps", steps), "steps")
    return StreamPhase(tuple(found), own, _flag(content.get("announced", True), "announced"))


def _parse_task(value: object) -> Any:
    """Return the task that ``env`` says."""
    if isinstance(value, str) and ":" not in value:
        TASKS.check(value)
        return SuiteTask(value, value)
    kind = value.partition(":")[0] if isinstance(value, str) else "gym"
    content = value
    if isinstance(value, Mapping) and "kind" in value:
        kind = str(value["kind"])
        content = {key: entry for key, entry in value.items() if key != "kind"}
    return lookup("kind of environment", kind, KINDS, see="")(content)


def _parse_gym(value: Any) -> Any:
    return GymTask.parse(value)


def _parse_metaworld(value: Any) -> Any:
    from lifelong_rl.envs.metaworld.task import MetaWorldTask

    return MetaWorldTask.parse(value)


KINDS = {"gym": _parse_gym, "metaworld": _parse_metaworld}
"""What makes a task of ``KIND:NAME``, or of a mapping with ``kind``."""


def _parse_changes(value: object) -> dict[str, Drift]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UserError(f"changes is {shorten(value)}, not a mapping of fields to factors")
    found = {}
    for name, factor in value.items():
        ends = factor if isinstance(factor, list) else [factor, factor]
        if len(ends) != 2:
            raise UserError(f"the change of {name} is {shorten(factor)}: one factor, or two")
        found[str(name)] = (ends[0], ends[1])
    for end in (0, 1):
        check_factors({name: ends[end] for name, ends in found.items()})
    return {name: (float(first), float(last)) for name, (first, last) in found.items()}


def _cut(stages: Sequence[StreamPhase], every: int) -> list[StreamPhase]:
    """Return the phases cut where agent and method are told of a switch, every so many steps.

    The last such stretch is as long as the others or longer.
    """
    told = range(0, sum(stage.steps for stage in stages) - every + 1, every)
    if len(told) > MOST_PHASES:
        raise UserError(f"assume_switch_every: {every} makes more than {MOST_PHASES} phases")
    found: list[StreamPhase] = []
    first = 0
    for stage in stages:
        last = first + stage.steps
        cuts = [first, *(step for step in told if first < step < last), last]
        for begin, end in pairwise(cuts):
            within = (begin - first) / stage.steps, (end - first) / stage.steps
            announced = begin in told or begin == 0
            found.append(replace(stage, steps=end - begin, announced=announced, within=within))
        first = last
    return found


def _count(value: object, owner: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**62:
        raise UserError(f"{owner} is {shorten(value)}; it is a whole number of at least 1")
    return value


def _flag(value: object, owner: str) -> bool:
    if not isinstance(value, bool):
        raise UserError(f"{owner} is {shorten(value)}; it is true or false")
    return value


def _tell(drift: Drift) -> str:
    first, last = drift
    told = [f"{factor!r}".removesuffix(".0") for factor in (first, last)]
    return told[0] if first == last else "-to-".join(told)
