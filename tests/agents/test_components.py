"""Components own what they read, and follow their agent through copies and loads."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv

from lifelong_rl import continual
from lifelong_rl.registry import AGENTS

NUM_TASKS = 2
SMALL: dict[str, dict[str, Any]] = {
    "sac": {"batch_size": 8, "learning_starts": 8},
    "td3": {"batch_size": 8, "learning_starts": 8, "policy_delay": 1},
    "ppo": {"batch_size": 8, "rollout_steps": 8, "epochs": 1},
    "bc": {"batch_size": 8},
    "bc-stream": {"batch_size": 8, "learning_starts": 8},
    "offline-rl": {"batch_size": 8},
    "classifier": {"batch_size": 8},
}
SB3 = ("sac", "td3", "ppo")


class Point(gym.Env[np.ndarray, np.ndarray]):
    """Noise with the one-hot of the first of two tasks at its end."""

    observation_space = gym.spaces.Box(-10, 10, (3 + NUM_TASKS,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return self.observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        return self.observe(), float(action[0]), False, False, {}

    def observe(self) -> np.ndarray:
        noise = self.np_random.standard_normal(3)
        return np.concatenate([noise, [1, 0]]).astype(np.float32)


class Points(DummyVecEnv):
    """Two points, and an expert."""

    def __init__(self) -> None:
        super().__init__([Point] * 2)

    def expert_actions(self) -> np.ndarray:
        return np.zeros((2, 2), np.float32)

    def demonstrations(self, episodes: int, seed: int, noise: float) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        rows = np.hstack([rng.normal(size=(40, 3)), np.eye(NUM_TASKS)[[0] * 40]])
        return {
            "observations": rows,
            "next_observations": rows[::-1].copy(),
            "actions": rng.uniform(-1, 1, (40, 2)),
            "expert_actions": rng.uniform(-1, 1, (40, 2)),
            "rewards": rng.normal(size=40),
            "dones": np.zeros(40),
        }


class Labels:
    """Three classes."""

    observation_space = Point.observation_space
    action_space = gym.spaces.Discrete(3)

    def labelled_data(self) -> dict[str, np.ndarray]:
        rows = np.random.default_rng(0).normal(size=(40, 3))
        observations = np.hstack([rows, np.eye(NUM_TASKS)[[0] * 40]])
        return {"observations": observations, "labels": rows.argmax(axis=1)}


def build(name: str, method: str = "replay", **options: Any) -> Any:
    env = Labels() if name == "classifier" else Points()
    agent_class: Any = AGENTS.get(name)
    agent = agent_class.build(
        env,
        num_tasks=NUM_TASKS,
        method=None if name == "ppo" else continual.make(method),
        seed=0,
        hidden=(8, 8),
        **SMALL[name],
        **options,
    )
    agent.begin_task(0, env)
    return agent


def learn(agent: Any) -> torch.Tensor:
    """All parameters after a few updates from fixed draws, (p,)."""
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 (Stable-Baselines3 draws from it)
    agent.learn_task(32, lambda done: None)
    return parameters(agent)


def parameters(agent: Any) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in agent.policy.parameters()]).clone()


def assert_whole(agent: Any) -> None:
    """The components' parts are those of the agent."""
    modules = {id(module) for module in agent.policy.modules()}
    for component in agent.components.values():
        assert id(component.module) in modules
        for value in vars(component).values():
            if isinstance(value, torch.nn.Module) and value is not getattr(agent, "_entropy", None):
                assert id(value) in modules
        (group,) = component.optimizer.param_groups
        own = list(component.module.parameters())
        assert all(a is b for a, b in zip(group["params"], own, strict=True))


@pytest.mark.parametrize("name", SMALL)
def test_no_component_knows_its_agent(name: str) -> None:
    agent = build(name)
    assert_whole(agent)
    for component in agent.components.values():
        reached: dict[int, Any] = {}
        copy.deepcopy(component, reached)
        assert id(agent) not in reached
        assert id(agent.method) not in reached


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_copy_learns_what_the_original_does_and_leaves_it_alone(how: str, name: str) -> None:
    agent = build(name)
    learn(agent)
    twin = copy.deepcopy(agent) if how == "deepcopy" else pickle.loads(pickle.dumps(agent))
    assert_whole(twin)
    before = parameters(agent)
    learned = learn(twin)
    assert torch.equal(parameters(agent), before)
    assert not torch.equal(learned, before)
    assert torch.equal(learn(agent), learned)


@pytest.mark.parametrize("name", SB3)
def test_components_see_parameters_that_are_set(name: str) -> None:
    agent, other = build(name), build(name)
    learn(other)
    agent.set_parameters(other.get_parameters())
    assert_whole(agent)
    batch = next(other.task_data(8))
    for key, component in agent.components.items():
        found, expected = component.predict(batch), other.components[key].predict(batch)
        assert torch.equal(found.mean, expected.mean)
        assert component.optimizer.state_dict()["state"][0]["step"] > 0


@pytest.mark.parametrize("name", SB3)
def test_components_are_those_of_networks_made_anew(name: str) -> None:
    agent = build(name)
    old = {key: component.module for key, component in agent.components.items()}
    agent._setup_model()  # as Stable-Baselines3's load calls it
    assert_whole(agent)
    assert all(agent.components[key].module is not module for key, module in old.items())


def test_a_learned_entropy_coefficient_is_one_object() -> None:
    agent = copy.deepcopy(build("sac"))
    entropy = agent.objectives["entropy"]
    assert entropy.log_value is agent.log_ent_coef
    assert entropy.optimizer is agent.ent_coef_optimizer
    assert agent.components["actor"].entropy is agent.components["critic"].entropy is entropy
    fixed = build("sac", ent_coef=0.3)
    assert "entropy" not in fixed.objectives
    assert fixed.components["actor"].entropy.value is fixed.ent_coef_tensor


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("sac", "gamma", 0.1),
        ("td3", "gamma", 0.1),
        ("td3", "target_policy_noise", 0.0),
        ("ppo", "ent_coef", 1.0),
        ("ppo", "vf_coef", 2.0),
        ("ppo", "normalize_advantage", False),
    ],
)
def test_what_a_callback_changes_is_followed(name: str, option: str, value: float) -> None:
    plain, changed = build(name), build(name)
    setattr(changed, option, value)
    assert not torch.equal(learn(plain), learn(changed))
