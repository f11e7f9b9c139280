"""From the names in a configuration to the objects of a run."""

from __future__ import annotations

import inspect
import os
from bisect import bisect_right
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lifelong_rl import continual
from lifelong_rl.compatibility import (
    MEANINGS,
    explain_refusal,
    find_partners,
    find_refusal,
    read_needs,
    read_offers,
)
from lifelong_rl.continual import METHODS, ContinualMethod
from lifelong_rl.continual.chain import split_options
from lifelong_rl.errors import UserError
from lifelong_rl.learning import Agent, StateTree
from lifelong_rl.learning.devices import open_device
from lifelong_rl.learning.rows import split_old_rows
from lifelong_rl.learning.seeding import derive_seed, seed_everything
from lifelong_rl.options import resolve_options
from lifelong_rl.registry import AGENTS, load_plugins, refuse_unnamed
from lifelong_rl.runs.config import MAY_CHANGE, ONLY_WITH_PIXELS, RunConfig
from lifelong_rl.runs.contract import EnvContract, check_agent
from lifelong_rl.runs.protocol import KEPT_WHEN_JOINT, apply_protocol
from lifelong_rl.runs.sequence import (
    Phase,
    Sequence,
    VecEnvLike,
    blocks_of,
    head_of,
    is_plain,
    load_sequence,
    name_environments,
    num_heads,
    phase_labels,
    phases_of,
    steps_needed,
    task_labels,
)
from lifelong_rl.runs.sequence_name import inline
from lifelong_rl.runs.teacher import OPTION, Teacher, open_teacher
from lifelong_rl.storage.versions import installed

if TYPE_CHECKING:
    from lifelong_rl.vision.eyes import Eyes

LABELS = 2**31
"""The stream of a run's seed that chooses the labelled rows; those of its phases are below it."""


@dataclass(frozen=True)
class Setup:
    """A configuration whose names were found.

    Attributes:
        config: With the defaults of all options filled in, `steps_per_task` and `curve_episodes`
            among them.
        sequence: The tasks.
        agent_class: Has `build(env, *, num_tasks, method, seed, **options)`.
        phases: What is learned in turn, and for how many steps.
        interleaves: Whether the method learns all tasks at once, in every phase of the sequence.
        eyes: What the agent sees with; None where it observes the state.
        teacher: Whom the agent asks; None where that are the tasks' experts, or nobody.
        method: What the agent is built with, once; by default a new one of the configuration's.
    """

    config: RunConfig
    sequence: Sequence
    agent_class: Any
    phases: tuple[Phase, ...]
    interleaves: bool = False
    eyes: Eyes | None = None
    teacher: Teacher | None = None
    method: ContinualMethod | None = None

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Environment steps before each phase, and before the end, (P + 1,)."""
        return (0, *accumulate(self.phase_steps))

    @cached_property
    def phase_steps(self) -> tuple[int, ...]:
        """Environment steps of each phase, all environments together."""
        return tuple(phase.steps or 0 for phase in self.phases)

    @property
    def labels(self) -> tuple[str, ...]:
        """What the tasks are called."""
        return task_labels(self.sequence.tasks)

    @property
    def phase_labels(self) -> tuple[str, ...]:
        """What the phases are called."""
        return phase_labels(self.labels, self.phases)

    @cached_property
    def blocks(self) -> tuple[range, ...]:
        """The phases that are one task to the agent, together."""
        return blocks_of(self.phases)

    def block_of(self, phase: int) -> range:
        """The block that a phase is in."""
        return self.blocks[bisect_right(self.blocks, phase, key=lambda block: block[0]) - 1]

    @property
    def curve_episodes(self) -> int:
        """Episodes in each evaluation of a task while it is learned."""
        assert self.config.curve_episodes is not None
        return self.config.curve_episodes

    @property
    def device(self) -> torch.device:
        """What the networks learn on.

        Raises:
            UserError: It is not there.
        """
        return open_device(self.config.device)

    @property
    def agent_name(self) -> str:
        """What to call the agent in an error."""
        return f"the agent '{self.config.agent}'"

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal for a checkpoint to be of use: what decides the numbers.

        Its tensors are the CPU's, so they serve on every device.
        """
        phases = [] if is_plain(self.phases) else [describe_phase(p) for p in self.phases]
        left_out = (*MAY_CHANGE, "observation", *ONLY_WITH_PIXELS)
        config = {k: v for k, v in self.config.as_dict().items() if k not in left_out}
        if self.teacher is not None:  # told by what it knows, wherever that lies
            config["agent_options"][OPTION] = self.teacher.sha256
        return {
            **config,
            **self.sight,
            "tasks": list(self.sequence.tasks),
            "task_versions": self.sequence.versions(),
            **({"phases": phases} if phases else {}),
            "mujoco": installed("mujoco"),
        }

    @property
    def sight(self) -> dict[str, Any]:
        """What the agent observes and what it sees with, as JSON; empty where it is the state.

        An encoder is told by what is in its file, wherever that lies.
        """
        if self.eyes is None:
            return {}
        fields = self.config.as_dict()
        told = {name: fields[name] for name in ("observation", *ONLY_WITH_PIXELS)}
        mode = told.pop("encoder_mode")
        # as it is in the checkpoints and results of runs from before there was a mode
        return {**told, "finetune": mode == "finetune", "encoder": list(self.eyes.sha256)}

    @property
    def notes(self) -> tuple[str, ...]:
        """What should be known of the run beside its configuration, a line each."""
        of_tasks = tuple(getattr(self.sequence, "notes", ()))
        return of_tasks if self.eyes is None else (*of_tasks, *self.eyes.notes)

    @property
    def refusal(self) -> str | None:
        """Why the method cannot serve the agent, as both declare; None if it can, for all they say.

        Raises:
            UserError: What has to be imported to be judged is broken.
        """
        config = self.config
        parts = split_options(config.method, config.method_options)
        if config.observes_pixels and config.encoder_mode != "frozen":
            for part in parts:
                if "networks alone" in read_needs(METHODS, part):
                    return (
                        f"the method '{part}' needs {MEANINGS['networks alone']}, and with "
                        f"--encoder-mode {config.encoder_mode} the agent '{config.agent}' learns "
                        "them; take --encoder-mode frozen, or another method"
                    )
        for part in parts:
            if len(self.phases) > 1 and not any(phase.announced for phase in self.phases[1:]):
                refusal = self._refuse_untold(part)
                if refusal is not None:
                    return refusal
            refusal = self._refuse_several(part)
            if refusal is not None:
                return refusal
            refusal = find_refusal(METHODS, part, AGENTS, config.agent)
            if refusal is not None:
                fitting = find_partners(METHODS, part, AGENTS).fitting
                return f"{refusal} (agents that do: {', '.join(fitting) or 'none'})"
            refusal = self._refuse_option(part, parts[part])
            if refusal is not None:
                return refusal
        return None

    def _refuse_option(self, method: str, options: Mapping[str, Any]) -> str | None:
        """Why an option of a method cannot serve the agent; None if all can, for all they say."""
        offers = read_offers(AGENTS, self.config.agent)
        for option, need in continual.make(method, **options).option_needs.items():
            asking = f"the method '{method}' with {option}"
            refusal = explain_refusal(asking, (need,), self.agent_name, offers)
            if refusal is not None:
                return refusal
        return None

    def _refuse_untold(self, method: str) -> str | None:
        """Why a method cannot learn a stream that announces nothing; None if it can."""
        if METHODS.declared(method, "needs_boundaries") is False:
            return None
        options = split_options(self.config.method, self.config.method_options)[method]
        if continual.make(method, **options).acts_untold:
            return None
        others = [n for n in METHODS.names() if METHODS.declared(n, "needs_boundaries") is False]
        return (
            f"the method '{method}' has to be told where a task ends, and the stream "
            f"'{self.config.sequence_name}' announces nothing; choose {' or '.join(others)}, or "
            "let the stream assume a switch every so many steps (assume_switch_every)"
        )

    def _refuse_several(self, method: str) -> str | None:
        """Why a method cannot learn the tasks of a phase together; None if it can."""
        if self.interleaves:
            return None
        for number, phase in enumerate(self.phases, 1):
            several = len({head_of(self.sequence, task) for task in phase.tasks}) > 1
            if several and METHODS.declared(method, "learns_several") is False:
                return (
                    f"the method '{method}' gives each task a part of the networks, and of the "
                    f"tasks of phase {number} of '{self.config.sequence_name}' only the first "
                    "would have one that learns; give each task a phase of its own"
                )
        return None

    @property
    def env_options(self) -> dict[str, Any]:
        """What the environments have to show; empty where it is the state."""
        if self.eyes is None:
            return {}
        config = self.config
        return {
            "observation": "pixels",
            "cameras": config.cameras,
            "size": self.eyes.size,
            "frame_stack": config.frame_stack,
            "proprioception": config.proprioception,
        }

    def make_env(self, phase: int) -> VecEnvLike:
        """The environments that a phase is learned in, and those after it that are not announced.

        They are of all tasks if they interleave.

        Raises:
            UserError: They cannot show what the agent observes.
            ContractError: They are no environments.
        """
        sequence: Any = self.sequence
        block = self.block_of(phase)
        tasks = self.phases[block[0]].tasks
        several = len(block) > 1 or len(tasks) > 1
        if self.interleaves:
            make = sequence.make_joint_env
        elif several or hasattr(sequence, "make_phase_env"):
            steps = [self.phase_steps[k] for k in block]
            make = partial(sequence.make_phase_env, list(block), steps)
        else:
            make = partial(sequence.make_env, tasks[0])
        arguments = {
            "num_envs": self.config.num_envs,
            "num_threads": min(self.config.num_threads, self.config.num_envs),
            "seed": self.env_seed(block[0]),
        }
        env: VecEnvLike
        if self.eyes is None:
            env = make(**arguments)
        else:
            try:
                env = make(**arguments, **self.env_options)
                env.reset()  # opens the cameras, which not every machine can
            except (ValueError, RuntimeError) as error:
                raise UserError(str(error)) from error
        owner = name_environments(sequence, tasks[0])
        at_least = self.interleaves or any(len(self.phases[k].tasks) > 1 for k in block)
        EnvContract(env, owner, self.config.num_envs, at_least=at_least)
        return env

    def env_seed(self, phase: int) -> int:
        """Seed of the episodes that a phase is learned on."""
        return derive_seed(self.config.seed, 1 + phase)

    def build_agent(
        self, env: VecEnvLike, state: StateTree | None = None
    ) -> tuple[Agent, ContinualMethod]:
        """The agent and its method, as before the first task or with a saved state.

        Raises:
            UserError: An option has a value that the agent or the method does not accept, or the
                method has nothing to act on, or reacts around the learning of networks where
                there are none, or `method` has been used before.
            ContractError: What the agent's `build` returns is no agent.
        """
        seed_everything(self.config.seed, 0)
        method = self.method
        if method is None:
            method = continual.make(self.config.method, **self.config.method_options)
        elif method.begun:
            raise UserError(
                f"this {type(method).__name__} has been used before, and may hold what it learned "
                "there; make a new one for each run"
            )
        agent = self._build(env, method)
        check_agent(agent, self.agent_name, self.config.method if method.reacts else None)
        method.check_components(agent)
        method.begun = True
        if state is not None:
            agent.load_state_dict(self.update_state(agent, state))
        return agent, method

    def update_state(self, agent: Agent, state: StateTree) -> StateTree:
        """A saved state as this version saves it.

        Checkpoints of before the task was an entry of a batch hold rows that end with a one-hot.
        Agents that do not read a "task" get them as they are.

        Args:
            agent: Whose rows they are.
            state: Its own state, or one with rows of its data.
        """
        if not any("task" in component.inputs for component in agent.components.values()):
            return state
        updated: StateTree = split_old_rows(state, num_heads(self.sequence))
        return updated

    def build_reference(self, env: VecEnvLike) -> Agent:
        """The agent with plain fine-tuning: what the method's cost is measured against."""
        return self._build(env, continual.make("finetune"))

    def _build(self, env: VecEnvLike, method: ContinualMethod) -> Agent:
        config = self.config
        more: dict[str, Any] = {} if self.eyes is None else {"eyes": self.eyes}
        if self.teacher is not None:
            more["expert"] = self.teacher.agent
        device = self.device
        if device.type != "cpu":
            if "device" not in inspect.signature(self.agent_class.build).parameters:
                raise UserError(
                    f"{self.agent_name} learns on the CPU alone, as its build takes no `device`; "
                    "choose --device cpu"
                )
            more["device"] = device
        try:
            agent: Agent = self.agent_class.build(
                env,
                num_tasks=num_heads(self.sequence),
                method=method,
                seed=config.seed,
                **more,
                **config.agent_options,
            )
        except (TypeError, ValueError, AssertionError, MemoryError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"agent '{config.agent}': {error}") from error
        return agent


def prepare(
    config: RunConfig, plugins: Collection[str] = (), method: ContinualMethod | None = None
) -> Setup:
    """Import the plug-ins and find what the configuration names.

    Args:
        config: Of a run; it may be from somebody else.
        plugins: Modules to import first: those that the configuration names must be among them.
            They run their code, so give none that only a file has named.
        method: What the run learns with, of the name and the options that `config` says; by
            default a new one of these.

    Raises:
        UserError: A name, an option or a number is wrong, or a plug-in is not among `plugins`.
    """
    config = config.checked()
    config = replace(config, sequence=inline(config.sequence))
    refuse_unnamed(config.plugin, plugins)
    load_plugins(plugins)
    AGENTS.check(config.agent)
    for name in split_options(config.method, config.method_options):
        METHODS.check(name)
    config = apply_protocol(config)
    sequence = load_sequence(config.sequence, config.order)
    _refuse_sequence(config, sequence)
    if config.labels is not None:
        sequence = _with_labels(config, sequence)
    agent_class: Any = AGENTS.get(config.agent)
    owner = f"agent '{config.agent}'"
    agent_options = resolve_options(agent_class, config.agent_options, owner)
    method_options, interleaves = _resolve_method(config)
    if interleaves:
        kept = {option: False for option in KEPT_WHEN_JOINT if option in agent_options}
        agent_options = {**agent_options, **kept, **config.agent_options}
    if interleaves and not hasattr(sequence, "make_joint_env"):
        raise UserError(
            f"the method '{config.method}' learns all tasks at once, and the sequence "
            f"'{config.sequence_name}' has no make_joint_env"
        )
    steps = config.steps_per_task
    with_steps = getattr(sequence, "with_steps", None)
    if steps is not None and with_steps is not None:
        sequence, steps = with_steps(steps), None
    phases = tuple(
        replace(
            phase,
            steps=steps or phase.steps or steps_needed(sequence),
            announced=phase.announced or interleaves or k == 0,
        )
        for k, phase in enumerate(phases_of(sequence))
    )
    alike = {phase.steps for phase in phases}
    told = len(alike) == 1 and getattr(sequence, "assume_switch_every", None) is None
    resolved = replace(
        config,
        steps_per_task=config.steps_per_task or (phases[0].steps if told else None),
        curve_episodes=config.curve_episodes or max(2 * config.eval_episodes // 5, 1),
        agent_options=agent_options,
        method_options=method_options,
    )
    eyes = _open_eyes(config, sequence, agent_class) if config.observes_pixels else None
    teacher = None
    if getattr(agent_class, "taught", False) and agent_options.get(OPTION) is not None:
        teacher = open_teacher(agent_options[OPTION], sequence, prepare, plugins, config.device)
    return Setup(resolved, sequence, agent_class, phases, interleaves, eyes, teacher, method)


def describe_phase(phase: Phase) -> dict[str, Any]:
    """A phase as JSON."""
    return {"tasks": list(phase.tasks), "steps": phase.steps, "announced": phase.announced}


def _refuse_sequence(config: RunConfig, sequence: Any) -> None:
    """Raise UserError if the agent declares to need what the sequence declares not to offer."""
    offers = getattr(sequence, "offers", None)

    def explain(agent: str) -> str | None:
        needs = read_needs(AGENTS, agent)
        return explain_refusal(
            f"the agent '{agent}'", needs, f"the sequence '{config.sequence_name}'", offers
        )

    refusal = explain(config.agent)
    if refusal is None:
        return
    fitting = []
    for agent in AGENTS.names():
        with suppress(UserError):  # a broken plug-in's
            if read_needs(AGENTS, agent) and explain(agent) is None:
                fitting.append(f"'{agent}'")
    raise UserError(f"{refusal} (agents that learn it: {', '.join(fitting) or 'none'})")


def _with_labels(config: RunConfig, sequence: Any) -> Any:
    """The sequence with as few labelled rows as the configuration says.

    Raises:
        UserError: It has no labels, or the agent does not learn from them.
    """
    if not hasattr(sequence, "with_labels"):
        raise UserError(
            f"--labels is for sequences of labelled data, such as 'split-digits', and "
            f"'{config.sequence_name}' has no labels; leave out --labels"
        )
    return sequence.with_labels(config.labels, derive_seed(config.seed, LABELS))


def _open_eyes(config: RunConfig, sequence: Any, agent_class: Any) -> Eyes:
    """What the agent sees with.

    Raises:
        UserError: The encoder cannot be used, the agent cannot see, or there is nothing to be seen.
    """
    if not getattr(agent_class, "sees", False):
        raise UserError(
            f"the agent '{config.agent}' cannot see, as it does not declare `sees = True`; with "
            f"--observation pixels choose one of {', '.join(_seeing_agents())}"
        )
    if "observation" not in inspect.signature(sequence.make_env).parameters:
        raise UserError(
            f"the sequence '{config.sequence_name}' has no cameras: it shows its state only"
        )
    from lifelong_rl.vision.eyes import open_eyes  # takes a second, and only eyes need it

    return open_eyes(
        [Path(os.path.expanduser(path)) for path in config.encoder],
        config.cameras,
        frozen=config.encoder_mode == "frozen",
        shift=config.shift,
    )


def _seeing_agents() -> list[str]:
    found = []
    for name in AGENTS.names():
        with suppress(UserError):  # a broken plug-in's
            if AGENTS.declared(name, "sees"):
                found.append(name)
    return found


def _resolve_method(config: RunConfig) -> tuple[dict[str, Any], bool]:
    """The options of the method, or of each method of a chain; whether it interleaves tasks."""
    parts = split_options(config.method, config.method_options)
    resolved: dict[str, Any] = {}
    interleaves = False
    for name, given in parts.items():
        method_class: Any = METHODS.get(name)
        interleaves |= getattr(method_class, "interleaves", False)
        options = resolve_options(method_class, given, f"method '{name}'")
        prefix = f"{name}." if len(parts) > 1 else ""
        resolved |= {prefix + option: value for option, value in options.items()}
    return resolved, interleaves
