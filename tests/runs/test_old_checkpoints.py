"""Checkpoints of before the task was an entry of a batch, whose rows end with a one-hot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from lifelong_rl.errors import UserError
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.diagnostics import Diagnostics
from lifelong_rl.runs.setup import Setup, prepare

NUM_TASKS = 3


def set_up(method: str, **method_options: Any) -> Setup:
    return prepare(
        RunConfig(
            sequence="arm3",
            agent="bc",
            method=method,
            num_envs=2,
            num_threads=1,
            agent_options={"episodes": 1, "hidden": [8], "batch_size": 8},
            method_options=method_options,
        )
    )


def learned(setup: Setup) -> Any:
    """The agent after a few updates of the first task."""
    env = setup.make_env(0)
    agent: Any = setup.build_agent(env)[0]
    agent.begin_task(0, env)
    agent.learn_task(20, lambda done: None)
    return agent


def old_form(state: Any) -> Any:
    """The state as versions saved it whose batches had no "task"."""
    if isinstance(state, list):
        return [old_form(each) for each in state]
    if not isinstance(state, Mapping):
        return state
    if "task" not in state or not isinstance(state["task"], Tensor):
        return {name: old_form(value) for name, value in state.items()}
    one_hot = torch.nn.functional.one_hot(state["task"], NUM_TASKS).float()
    return {
        name: torch.cat([value, one_hot], dim=1) if name == "observations" else value
        for name, value in state.items()
        if name != "task"
    }


def leaves(state: Any, path: str = "") -> dict[str, Any]:
    """What is in a state, by path."""
    if isinstance(state, list):
        state = dict(enumerate(state))
    if not isinstance(state, Mapping):
        return {path: state}
    found: dict[str, Any] = {}
    for name, value in state.items():
        found |= leaves(value, f"{path}/{name}")
    return found


def assert_equal(one: Any, other: Any) -> None:
    found, expected = leaves(one), leaves(other)
    assert found.keys() == expected.keys()
    for path, value in found.items():
        if isinstance(value, Tensor):
            assert value.dtype == expected[path].dtype
            assert torch.equal(value, expected[path]), path
        else:
            assert value == expected[path], path


@pytest.mark.parametrize(
    "method", ["replay", "gem", "clone", "perfect-memory", "ewc", "lwf", "replay+ewc"]
)
def test_memories_are_what_they_would_be_if_saved_today(method: str) -> None:
    setup = set_up(method)
    agent = learned(setup)
    agent.end_task()
    state = agent.state_dict()
    old = old_form(state)
    assert (leaves(old).keys() != leaves(state).keys()) == (method not in ("ewc", "lwf"))
    env = setup.make_env(1)
    agents = [setup.build_agent(env, each)[0] for each in (state, old)]
    assert_equal(agents[0].state_dict(), agents[1].state_dict())
    for each in agents:
        torch.manual_seed(0)
        each.begin_task(1, env)
        each.learn_task(20, lambda done: None)
    assert_equal(agents[0].state_dict(), agents[1].state_dict())


def test_rows_of_diagnostics_too() -> None:
    setup = set_up("finetune")
    agent = learned(setup)
    now, before = Diagnostics(), Diagnostics()
    now.end_task("reach", agent)
    before.load_state_dict(setup.update_state(agent, old_form(now.state_dict())))
    assert_equal(before.state_dict(), now.state_dict())
    assert before.measure(agent) == now.measure(agent)


def test_an_old_generator_can_be_evaluated_but_not_learned_on_from() -> None:
    setup = set_up("generative-replay", updates=2, latent=2, hidden=4)
    agent = learned(setup)
    entries = agent.policy.network.spec.input_dim + NUM_TASKS  # the one-hot was generated too
    agent.end_task()
    state = agent.state_dict()
    method = agent.method
    state["method"]["generators"]["policy"] = method._make_generator(
        entries, torch.device("cpu")
    ).state_dict()
    env = setup.make_env(1)
    resumed: Any = setup.build_agent(env, old_form(state))[0]
    assert resumed.act(env.reset()).shape == (2, 4)
    resumed.begin_task(1, env)
    with pytest.raises(UserError, match="start the run anew") as caught:
        resumed.learn_task(20, lambda done: None)
    assert "\n" not in str(caught.value)
