"""Which continual methods work with which agents, found by asking them.

Nothing is declared twice: each agent begins a task of the kind that it learns with each method,
which is when a method refuses what it cannot serve.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any

from lifelong_rl import continual
from lifelong_rl.continual import ContinualMethod
from lifelong_rl.errors import UserError
from lifelong_rl.learning import Agent
from lifelong_rl.registry import AGENTS
from lifelong_rl.runs.sequence import BatchEnv, load_sequence

KINDS_OF_TASKS = ("arm3", "split-digits")
"""A sequence of each kind of tasks; an agent is tried on the first that it does not refuse."""
NUM_ENVS = 4
SMALL = {"hidden": (8, 8), "episodes": 1}
"""Options of agents that have them; they make trying quick."""

Begin = Callable[[ContinualMethod], None]
"""Lets an agent begin a task with a method."""


def try_agents(names: Iterable[str]) -> dict[str, Begin]:
    """How to try each of the agents."""
    envs = [
        (sequence.num_tasks, sequence.make_env(0, num_envs=NUM_ENVS, num_threads=1, seed=0))
        for sequence in map(load_sequence, KINDS_OF_TASKS)
    ]
    return {name: _trial(name, envs) for name in names}


def find_refusal(method: str, begin: Begin) -> str | None:
    """Why a method, with its default options, does not work with an agent; None if it does."""
    try:
        begin(continual.make(method))
    except Exception as error:
        return str(error) if isinstance(error, UserError) else f"broken: {error!r}"
    return None


def _trial(name: str, envs: list[tuple[int, BatchEnv]]) -> Begin:
    @cache
    def fitting() -> tuple[Callable[..., Agent], BatchEnv]:
        """What builds the agent, and the environments that it fits to."""
        agent_class: Any = AGENTS.get(name)
        known = inspect.signature(agent_class.build).parameters
        small = {option: value for option, value in SMALL.items() if option in known}
        refusals = []
        for num_tasks, env in envs:
            build = partial(agent_class.build, env, num_tasks=num_tasks, seed=0, **small)
            try:
                build(method=ContinualMethod())
            except UserError as error:
                refusals.append(error)
            else:
                return build, env
        raise refusals[0]

    def begin(method: ContinualMethod) -> None:
        build, env = fitting()
        build(method=method).begin_task(0, env)

    return begin
