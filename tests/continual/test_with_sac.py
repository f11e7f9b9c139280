"""The methods once end to end: two tiny tasks learned by soft actor-critic."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from lifelong_rl import agents
from lifelong_rl.continual import make
from lifelong_rl.continual.distributions import outputs
from lifelong_rl.networks.packnet import PackNetMLP


class Toy(gym.Env[np.ndarray, np.ndarray]):
    """Noise with the task's one-hot at the end; the reward is the first action."""

    observation_space = gym.spaces.Box(-10, 10, (5,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, task_id: int) -> None:
        self.one_hot = np.eye(2, dtype=np.float32)[task_id]

    def observe(self) -> np.ndarray:
        noise = self.np_random.standard_normal(3).astype(np.float32)
        return np.concatenate([noise, self.one_hot])

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.count = 0
        return self.observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.count += 1
        return self.observe(), float(action[0]), False, self.count == 5, {}


def toys(task_id: int) -> VecEnv:
    env = DummyVecEnv([lambda: Toy(task_id) for _ in range(2)])
    env.seed(task_id)
    return env


def build(name: str, kind: Any = agents.SAC, **options: Any) -> Any:
    return kind.build(
        toys(0),
        num_tasks=2,
        method=make(name, **options),
        seed=0,
        hidden=(8, 8),
        learning_starts=10,
        batch_size=16,
        updates_per_step=0.5,
    )


def learn(agent: Any, task_id: int) -> None:
    torch.manual_seed(task_id)
    np.random.seed(task_id)  # noqa: NPY002 (the generator that SB3's buffer draws from)
    agent.begin_task(task_id, toys(task_id))
    agent.learn_task(40, lambda done: None)
    agent.end_task()


def predicted(agent: Any, rows: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return {n: outputs(c.predict(rows)).clone() for n, c in agent.components.items()}


SMALL: dict[str, dict[str, Any]] = {
    "clone": {"per_task": 20, "scope": "both"},
    "lwf": {"scope": "both"},
    "packnet": {"retrain_share": 0.2, "scope": "both"},
    "single-task": {},
    "perfect-memory": {},
    "den": {"growth": 2, "selection_updates": 3, "retrain_share": 0.2, "scope": "both"},
    "generative-replay": {"updates": 3, "hidden": 8, "scope": "both"},
    "replay+lwf": {"replay.per_task": 20},
}
PRESERVING = ("packnet", "single-task")


@pytest.mark.parametrize("name", SMALL)
def test_two_tasks_and_a_resume_that_goes_on_identically(name: str) -> None:
    through = build(name, **SMALL[name])
    learn(through, 0)
    rows = next(through.task_data(16))
    old = predicted(through, rows)
    state = through.state_dict()
    state = {**state, "policy": {k: v.clone() for k, v in state["policy"].items()}}
    resumed = build(name, **SMALL[name])
    resumed.load_state_dict(state)
    for agent in (through, resumed):
        learn(agent, 1)
    for key, value in through.policy.state_dict().items():
        assert torch.equal(resumed.policy.state_dict()[key], value), key
    kept = [torch.equal(old[n], new) for n, new in predicted(through, rows).items()]
    assert kept == [name in PRESERVING] * 2, "heads alone do not keep old predictions"


@pytest.mark.parametrize("kind", [agents.SAC, agents.TD3])
def test_target_networks_use_the_same_weights(kind: Any) -> None:
    agent = build("packnet", kind, retrain_share=0.0, scope="both")
    learn(agent, 0)
    learn(agent, 1)
    pairs = [(agent.critic, agent.critic_target)]
    if kind is agents.TD3:
        pairs.append((agent.actor, agent.actor_target))
    for network, target in pairs:
        owned, of_target = (
            next(m for m in each.modules() if isinstance(m, PackNetMLP))
            for each in (network, target)
        )
        for name, owner in owned.named_buffers():
            assert {0, 1} <= set(owner.flatten().tolist())
            assert torch.equal(of_target.get_buffer(name), owner)
