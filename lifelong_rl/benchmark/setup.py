"""From the names in a configuration to the objects of a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import Any

from lifelong_rl import continual
from lifelong_rl.benchmark import AGENTS
from lifelong_rl.benchmark.config import SPEED_ONLY, RunConfig, resolve_options
from lifelong_rl.benchmark.seeding import derive_seed, seed_everything
from lifelong_rl.benchmark.sequence import BatchEnv, Sequence, load_sequence, steps_needed
from lifelong_rl.benchmark.versions import installed
from lifelong_rl.continual import METHODS, ContinualMethod
from lifelong_rl.continual.chain import split_options
from lifelong_rl.errors import UserError
from lifelong_rl.learning import Agent, StateTree

KEPT_WHEN_JOINT = ("reset_buffer", "reset_optimizers")
"""Agent options that are false by default where the method learns all tasks at once."""


@dataclass(frozen=True)
class Setup:
    """A configuration whose names were found.

    Attributes:
        config: With the defaults of all options filled in, `steps_per_task` among them.
        sequence: The tasks.
        agent_class: Has `build(env, *, num_tasks, method, seed, **options)`.
        interleaves: Whether the method learns all tasks at once, in every phase of the sequence.
    """

    config: RunConfig
    sequence: Sequence
    agent_class: Any
    interleaves: bool = False

    @property
    def steps_per_task(self) -> int:
        """Environment steps per task, all environments together."""
        assert self.config.steps_per_task is not None
        return self.config.steps_per_task

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal for a checkpoint to be of use: all that decides the numbers."""
        config = {k: v for k, v in self.config.as_dict().items() if k not in SPEED_ONLY}
        return {
            **config,
            "tasks": list(self.sequence.tasks),
            "task_versions": self.sequence.versions(),
            "mujoco": installed("mujoco"),
        }

    def make_env(self, task_id: int) -> BatchEnv:
        """The environments that task `task_id` is learned in; of all tasks if they interleave."""
        sequence: Any = self.sequence
        make = sequence.make_joint_env if self.interleaves else partial(sequence.make_env, task_id)
        env: BatchEnv = make(
            num_envs=self.config.num_envs,
            num_threads=min(self.config.num_threads, self.config.num_envs),
            seed=self.env_seed(task_id),
        )
        return env

    def env_seed(self, task_id: int) -> int:
        """Seed of the episodes that task `task_id` is learned on."""
        return derive_seed(self.config.seed, 1 + task_id)

    def build_agent(
        self, env: BatchEnv, state: StateTree | None = None
    ) -> tuple[Agent, ContinualMethod]:
        """The agent and its method, as before the first task or with a saved state.

        Raises:
            UserError: An option has a value that the agent or the method does not accept.
        """
        seed_everything(self.config.seed, 0)
        method = continual.make(self.config.method, **self.config.method_options)
        agent = self._build(env, method)
        if state is not None:
            agent.load_state_dict(state)
        return agent, method

    def build_reference(self, env: BatchEnv) -> Agent:
        """The agent with plain fine-tuning: what the method's cost is measured against."""
        return self._build(env, continual.make("finetune"))

    def _build(self, env: BatchEnv, method: ContinualMethod) -> Agent:
        config = self.config
        try:
            agent: Agent = self.agent_class.build(
                env,
                num_tasks=self.sequence.num_tasks,
                method=method,
                seed=config.seed,
                **config.agent_options,
            )
        except (TypeError, ValueError, AssertionError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"agent '{config.agent}': {error}") from error
        return agent


def prepare(config: RunConfig) -> Setup:
    """Import the plug-ins and find what the configuration names.

    Raises:
        UserError: A name, an option or a number is wrong.
    """
    config.check_numbers()
    load_plugins(config.plugin)
    AGENTS.check(config.agent)
    for name in split_options(config.method, config.method_options):
        METHODS.check(name)
    sequence = load_sequence(config.sequence, config.order)
    agent_class: Any = AGENTS.get(config.agent)
    if not hasattr(agent_class, "build"):
        raise UserError(f"the agent '{config.agent}' has no classmethod build: {agent_class!r}")
    agent_options = resolve_options("agent", config.agent, agent_class.build, config.agent_options)
    method_options, interleaves = _resolve_method(config)
    if interleaves:
        kept = {option: False for option in KEPT_WHEN_JOINT if option in agent_options}
        agent_options = {**agent_options, **kept, **config.agent_options}
    if interleaves and not hasattr(sequence, "make_joint_env"):
        raise UserError(
            f"the method '{config.method}' learns all tasks at once, and the sequence "
            f"'{config.sequence}' has no make_joint_env"
        )
    resolved = replace(
        config,
        steps_per_task=config.steps_per_task or steps_needed(sequence),
        agent_options=agent_options,
        method_options=method_options,
    )
    return Setup(resolved, sequence, agent_class, interleaves)


def _resolve_method(config: RunConfig) -> tuple[dict[str, Any], bool]:
    """The options of the method, or of each method of a chain; whether it interleaves tasks."""
    parts = split_options(config.method, config.method_options)
    resolved: dict[str, Any] = {}
    interleaves = False
    for name, given in parts.items():
        method_class: Any = METHODS.get(name)
        interleaves |= getattr(method_class, "interleaves", False)
        options = resolve_options("method", name, method_class, given)
        prefix = f"{name}." if len(parts) > 1 else ""
        resolved |= {prefix + option: value for option, value in options.items()}
    return resolved, interleaves


def load_plugins(modules: Iterable[str]) -> None:
    """Import modules that register agents, methods or sequences; the current folder is searched.

    Raises:
        UserError: A module cannot be imported.
    """
    for module in modules:
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
        try:
            import_module(module)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"the plug-in '{module}' cannot be imported: {type(error).__name__}: {error}"
            ) from error
