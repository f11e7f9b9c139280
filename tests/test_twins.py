"""The ladder of regimes: nothing differs between two of its rungs but what is meant to.

    bc          fixed data                         the expert's actions as targets
    bc-stream   the states that the policy visits  the expert's actions as targets
    offline-rl  bc's data                          bootstrapped targets
    sac         the states that the policy visits  bootstrapped targets

What is meant to: where the data comes from, the loss, and what belongs to it. Reinforcement
learners have critics, with optimizers of their own, and SAC an entropy coefficient with another;
sac and bc-stream do not update in the first `learning_starts` steps of a task, in which they have
too little data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lifelong_rl.cli import main
from lifelong_rl.continual import ContinualMethod
from lifelong_rl.learning import Component
from lifelong_rl.learning.seeding import EVALUATION_SEED
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.evaluation import Evaluator
from lifelong_rl.runs.sequence import VecEnvLike
from lifelong_rl.runs.setup import Setup, prepare

LADDER = ("bc", "bc-stream", "offline-rl", "sac")
SEQUENCES = ("arm3", "claw10")
METHODS = ("finetune", "ewc", "packnet", "progressive")
NUM_ENVS = 4


def set_up(agent: str, sequence: str = "arm3", **fields: Any) -> Setup:
    config = {"num_envs": NUM_ENVS, "num_threads": 1, **fields}
    return prepare(RunConfig(sequence=sequence, agent=agent, **config))


def build(agent: str, sequence: str = "arm3", **fields: Any) -> tuple[Any, ContinualMethod, Setup]:
    setup = set_up(agent, sequence, **fields)
    return (*setup.build_agent(setup.make_env(0)), setup)


def policy(agent: Any) -> Component:
    """The one component that the agent is evaluated by."""
    (found,) = [each for each in agent.components.values() if each.role == "policy"]
    component: Component = found
    return component


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", [0, 5])
def test_policies_are_the_same_networks_with_the_same_weights(
    seed: int, method: str, sequence: str
) -> None:
    agent, _, setup = build("sac", sequence, method=method, seed=seed)
    num_tasks = setup.sequence.num_tasks
    module = policy(agent).module
    expected = module.state_dict()
    spec = module.network.spec
    action_dim = agent.action_space.shape[0]
    assert spec.outputs == (action_dim, action_dim)  # means and log standard deviations
    assert (spec.num_tasks, spec.hidden, spec.layer_norm) == (num_tasks, (128, 128), True)
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(num_tasks, *agent.observation_space.shape))
    observations[:, -num_tasks:] = np.eye(num_tasks)  # a row for each head
    observations = observations.astype(np.float32)
    for name in LADDER[:-1]:
        twin, _, _ = build(name, sequence, method=method, seed=seed)
        module = policy(twin).module
        assert type(module) is type(policy(agent).module)
        assert type(module.network) is type(policy(agent).module.network)
        assert module.network.spec == spec
        found = module.state_dict()
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert torch.equal(found[key], value), (name, key)
        assert np.array_equal(twin.act(observations), agent.act(observations))


@pytest.mark.parametrize("name", LADDER[:-1])
def test_another_seed_is_another_network(name: str) -> None:
    one, other = (
        torch.cat([p.flatten() for p in policy(build(name, seed=seed)[0]).module.parameters()])
        for seed in (0, 1)
    )
    assert len(one) == len(other)
    assert not torch.equal(one, other)


def test_critics_are_the_same_networks_with_the_same_weights() -> None:
    ours, theirs = (build(name)[0] for name in ("offline-rl", "sac"))
    for network in ("critic", "critic_target"):
        expected = getattr(theirs, network).state_dict()
        found = getattr(ours, network).state_dict()
        assert list(found) == list(expected)
        assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_optimizers_are_the_same_and_step_all_of_the_network() -> None:
    kinds = set()
    for name in LADDER:
        agent, _, _ = build(name)
        for component in agent.components.values():
            optimizer = component.optimizer
            (group,) = optimizer.param_groups
            assert group["params"] == list(component.module.parameters())
            settings = {key: value for key, value in group.items() if key != "params"}
            kinds.add((type(optimizer), json.dumps(settings), json.dumps(optimizer.defaults)))
    assert len(kinds) == 1
    names = {name: set(build(name)[0].objectives) for name in LADDER}
    assert names["sac"] == {"actor", "critic", "entropy"}  # as meant: see above
    assert names["offline-rl"] == {"actor", "critic"}
    assert names["bc"] == names["bc-stream"] == {"policy"}


def test_options_of_the_same_name_have_the_same_default() -> None:
    options = {name: dict(set_up(name).config.agent_options) for name in LADDER}
    shared = {
        "hidden",
        "activation",
        "layer_norm",
        "learning_rate",
        "batch_size",
        "updates_per_step",
        "reset_optimizers",
    }
    assert set.intersection(*map(set, options.values())) == shared
    of_the_policy = {
        name: chosen["updates_per_step"] / chosen.get("policy_delay", 1)
        for name, chosen in options.items()
    }
    assert set(of_the_policy.values()) == {0.25}
    for name in set().union(*options.values()) - {"updates_per_step"}:
        values = [chosen[name] for chosen in options.values() if name in chosen]
        assert all(value == values[0] for value in values), name


@pytest.mark.parametrize("method", METHODS)
def test_methods_are_the_same_object_and_act_on_the_policy_alike(method: str) -> None:
    found = {}
    rows = {"observations": torch.eye(26)[-3:], "task": torch.arange(3)}
    for name in LADDER:
        agent, built, setup = build(name, method=method)
        component = policy(agent)
        found[name] = (
            type(built),
            dict(setup.config.method_options),
            built.acts_on(component.role),
            component.inputs,
            component.replayable,
            agent.method is built,
            type(component.predict(rows)),
        )
    assert all(each == found["sac"] for each in found.values())


def test_runs_differ_in_nothing_else() -> None:
    """Steps, environments, evaluations: all that a run is made of beside agent and options."""
    configs = [set_up(name).config.as_dict() for name in LADDER]
    for config in configs:
        del config["agent"], config["agent_options"]
    assert all(config == configs[0] for config in configs)
    seeds = [[set_up(name, seed=3).env_seed(k) for k in range(3)] for name in LADDER]
    assert all(each == seeds[0] for each in seeds)
    assert EVALUATION_SEED not in seeds[0]


def test_all_are_evaluated_on_the_same_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    sequence = set_up("sac").sequence
    evaluator = Evaluator(sequence, num_episodes=3, num_threads=1)
    starts: dict[str, list[np.ndarray]] = {}
    for name in (*LADDER, LADDER[0]):
        agent, _, _ = build(name)
        for task_id in range(2):
            seen: list[np.ndarray] = []

            def act(observations: np.ndarray, seen: Any = seen, agent: Any = agent) -> np.ndarray:
                seen.append(observations)
                actions: np.ndarray = agent.act(observations)
                return actions

            assert evaluator.evaluate(act, task_id).scores.shape == (3,)
            starts.setdefault(name, []).append(seen[0])
    evaluator.close()
    assert not np.array_equal(starts["bc"][0], starts["bc"][1])
    for seen in starts.values():
        for k, observations in enumerate(seen):
            assert np.array_equal(observations, starts["sac"][k % 2])


def first_episodes(setup: Setup, task_id: int) -> tuple[VecEnvLike, np.ndarray]:
    """The environments of a task, and where the episodes start that SAC learns from first."""
    env = setup.make_env(task_id)
    starts: np.ndarray = env.reset()
    env.seed(setup.env_seed(task_id))
    return env, starts


@pytest.mark.parametrize("name", LADDER[:-1])
def test_data_starts_where_sacs_first_episodes_do(name: str) -> None:
    options = {"learning_starts": 0} if name == "bc-stream" else {"episodes": NUM_ENVS}
    agent, _, setup = build(name, agent_options=options)
    env, starts = first_episodes(setup, 1)
    agent.begin_task(1, env)
    if name == "bc-stream":
        agent.learn_task(NUM_ENVS, lambda done: None)
    (batch,) = agent.task_data()
    every = len(batch["observations"]) // NUM_ENVS
    assert np.array_equal(batch["observations"][::every].numpy(), starts[:, :-3])
    assert (batch["task"] == 1).all()


def test_fixed_data_is_the_same_for_both_that_learn_from_it() -> None:
    found = {}
    for name in ("bc", "offline-rl"):
        agent, _, setup = build(name, agent_options={"episodes": 3})
        agent.begin_task(1, setup.make_env(1))
        (found[name],) = agent.task_data()
    assert torch.equal(found["bc"]["observations"], found["offline-rl"]["observations"])
    # targets are the expert's actions for the one, data the noisy ones for the other
    difference = (found["bc"]["actions"] - found["offline-rl"]["actions"])[:, :3]
    assert 0.05 < difference.std() < 0.15


def test_as_many_updates_of_the_policy_follow_as_many_steps() -> None:
    updates = {}
    for name in LADDER:
        options: dict[str, Any] = {"hidden": [8], "batch_size": 4}
        if name in ("bc-stream", "sac"):
            options["learning_starts"] = 8
        else:
            options["episodes"] = 1
        agent, _, setup = build(name, agent_options=options)
        agent.begin_task(0, setup.make_env(0))
        agent.learn_task(40, lambda done: None)
        updates[name] = len(agent._measured[f"{policy(agent).name}_loss"])
    assert updates["bc"] == updates["offline-rl"] == 10
    assert updates["bc-stream"] == updates["sac"] == 8  # 8 steps are without: see above


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["bc", "bc-stream"])
def test_imitation_solves_each_task_of_arm3_within_a_minute(agent: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    options = ("--sequence", "arm3", "--agent", agent, "--method", "finetune", "--num-threads", "1")
    assert main(["run", *options, "--seed", "0", "--quiet", "--run-dir", str(path)]) == 0
    results = json.loads((path / "results.json").read_text())
    matrix = results["performance_matrix"]
    assert all(matrix[task + 1][task] >= 0.9 for task in range(3))
    assert all(task["learn"] <= 60 for task in results["cost"]["seconds_per_task"])
