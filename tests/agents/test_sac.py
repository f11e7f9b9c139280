from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3 as sb3
import torch
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from lifelong_rl import agents
from lifelong_rl.agents.buffers import stream
from lifelong_rl.continual import ContinualMethod, make
from lifelong_rl.errors import NonFiniteError, UserError
from lifelong_rl.learning import gradient_step

NUM_TASKS = 3
OBS_DIM = 5


class Toy(gym.Env[np.ndarray, np.ndarray]):
    """Noise with the task's one-hot at the end; the reward is the step's number."""

    observation_space = gym.spaces.Box(-10, 10, (OBS_DIM + NUM_TASKS,), np.float32)
    action_space = gym.spaces.Box(-2, 2, (2,), np.float32)

    def __init__(self, task_id: int, reward: float | None = None) -> None:
        self.one_hot = np.eye(NUM_TASKS, dtype=np.float32)[task_id]
        self.reward = reward
        self.count = 0

    def observe(self) -> np.ndarray:
        inputs = self.np_random.standard_normal(OBS_DIM).astype(np.float32)
        return np.concatenate([inputs, self.one_hot])

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.count = 0
        return self.observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.count += 1
        reward = float(self.count) if self.reward is None else self.reward
        return self.observe(), reward, False, self.count == 7, {}


def toys(task_id: int, count: int = 4, **more: Any) -> VecEnv:
    env = DummyVecEnv([lambda: Toy(task_id, **more) for _ in range(count)])
    env.seed(task_id)
    return env


def build(method: ContinualMethod | None = None, **options: Any) -> agents.SAC:
    defaults: dict[str, Any] = {"hidden": (16, 16), "learning_starts": 20, "batch_size": 32}
    return agents.SAC.build(
        toys(0), num_tasks=NUM_TASKS, method=method, seed=0, **(defaults | options)
    )


def learn(agent: agents.SAC, task_id: int, steps: int = 80) -> None:
    torch.manual_seed(task_id)
    np.random.seed(task_id)  # noqa: NPY002 (the generator that SB3's buffer draws from)
    agent.begin_task(task_id, toys(task_id))
    agent.learn_task(steps, lambda done: None)
    agent.end_task()


def heads(agent: agents.SAC, module: str) -> torch.Tensor:
    """Head weights by task, (copies, num_tasks, out, hidden)."""
    return (
        getattr(agent, module).network.heads.weight.detach().clone().unflatten(1, (NUM_TASKS, -1))
    )


@pytest.mark.parametrize("module", ["actor", "critic"])
def test_only_the_heads_of_the_learned_task_move(module: str) -> None:
    agent = build()
    learn(agent, 0)
    before = heads(agent, module)
    learn(agent, 1)
    moved = (heads(agent, module) != before).any(dim=3).any(dim=2).any(dim=0)
    assert moved.tolist() == [False, True, False]


def test_kept_optimizers_move_old_heads_by_stale_momentum() -> None:
    agent = build(reset_optimizers=False)
    learn(agent, 0)
    before = heads(agent, "actor")
    learn(agent, 1)
    assert (heads(agent, "actor") != before)[:, 0].any()


def test_entropy_coefficients_are_kept_per_task() -> None:
    agent = build()
    learn(agent, 0)
    assert agent.log_ent_coef is not None
    first = agent.log_ent_coef.detach().clone()
    assert first[0] != first[1] == first[2]
    learn(agent, 1)
    assert agent.log_ent_coef[0] == first[0]
    assert agent.log_ent_coef[1] != first[1]


@pytest.mark.parametrize(("given", "initial"), [("auto", 1.0), ("auto_0.3", 0.3)])
def test_a_learned_entropy_coefficient_starts_as_told(given: str, initial: float) -> None:
    agent = build(ent_coef=given)
    assert agent.log_ent_coef is not None and agent.ent_coef == given
    theirs = sb3.SAC("MlpPolicy", toys(0), ent_coef=given).log_ent_coef
    assert theirs is not None
    assert agent.log_ent_coef.tolist() == [theirs.item()] * NUM_TASKS
    assert theirs.exp().item() == pytest.approx(initial)


def test_a_learned_entropy_coefficient_cannot_start_at_nothing() -> None:
    with pytest.raises(ValueError, match="ent_coef=auto_0: what is learned has to start above 0"):
        build(ent_coef="auto_0")


def test_the_entropy_coefficient_goes_on_from_the_last_task_if_told_so() -> None:
    agent = build(reset_entropy=False)
    learn(agent, 0)
    agent.begin_task(1, toys(1))
    assert agent.log_ent_coef is not None
    assert agent.log_ent_coef[1] == agent.log_ent_coef[0]
    assert agent.log_ent_coef[2] != agent.log_ent_coef[0]


@pytest.mark.parametrize(("reset", "kept"), [(True, 0), (False, 20)])
def test_the_replay_buffer_is_emptied_at_a_switch_unless_kept(reset: bool, kept: int) -> None:
    agent = build(reset_buffer=reset)
    learn(agent, 0)
    agent.begin_task(1, toys(1))
    assert agent.replay_buffer.size() == kept


def test_updates_follow_the_environment_steps() -> None:
    agent = build(updates_per_step=0.5, learning_starts=20)
    learn(agent, 0, steps=80)
    vec_steps_that_train = (80 - 20) // 4
    assert agent._n_updates == 2 * vec_steps_that_train


def test_task_data_is_the_stream_in_order() -> None:
    agent = build()
    agent.begin_task(0, toys(0))
    agent.learn_task(80, lambda done: None)
    data = list(agent.task_data(batch_size=32))
    rewards = torch.cat([batch["rewards"] for batch in data]).view(-1, 4)
    expected = torch.arange(20) % 7 + 1.0  # episodes of seven steps with rewards 1 to 7
    assert torch.equal(rewards, expected.unsqueeze(1).expand(-1, 4))
    assert torch.cat([batch["dones"] for batch in data]).sum() == 0  # time limits are no ends
    assert all(len(value) == 32 for value in data[0].values())


def test_task_data_starts_with_the_oldest_of_a_full_buffer() -> None:
    agent = build(buffer_size=40)
    agent.begin_task(0, toys(0))
    agent.learn_task(56, lambda done: None)  # 14 steps of 4 environments, room for 10
    rewards = torch.cat([batch["rewards"] for batch in agent.task_data()]).view(-1, 4)[:, 0]
    assert rewards.tolist() == [5, 6, 7, 1, 2, 3, 4, 5, 6, 7]


def test_a_saved_agent_goes_on_identically() -> None:
    through = build()
    learn(through, 0)
    state = through.state_dict()
    state = {**state, "policy": {k: v.clone() for k, v in state["policy"].items()}}
    resumed = build()
    resumed.load_state_dict(state)
    for agent in (through, resumed):
        learn(agent, 1)
    for ours, theirs in zip(through.policy.parameters(), resumed.policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert through.log_ent_coef is not None and resumed.log_ent_coef is not None
    assert torch.equal(through.log_ent_coef, resumed.log_ent_coef)


def test_a_kept_buffer_is_part_of_the_state() -> None:
    through = build(reset_buffer=False)
    learn(through, 0)
    resumed = build(reset_buffer=False)
    resumed.load_state_dict(through.state_dict())
    one, other = (
        list(stream(agent.replay_buffer, last=20, batch_size=1024)) for agent in (through, resumed)
    )
    assert len(one) == len(other) == 1
    assert all(torch.equal(one[0][name], other[0][name]) for name in one[0])


def test_task_data_of_a_kept_buffer_is_that_of_the_current_task() -> None:
    agent = build(reset_buffer=False)
    learn(agent, 0)
    learn(agent, 1)
    task = torch.cat([batch["task"] for batch in agent.task_data()])
    assert agent.replay_buffer.size() == 40
    assert task.tolist() == [1] * 80


def test_the_actor_is_updated_once_in_so_many_critic_updates() -> None:
    agent = build(policy_delay=3, updates_per_step=0.5, learning_starts=20)  # 2 updates at a time
    learn(agent, 0, steps=48)
    steps = {
        name: int(next(iter(objective.optimizer.state.values()))["step"])
        for name, objective in agent.objectives.items()
    }
    assert steps == {"actor": 4, "critic": 14, "entropy": 4}


def test_fractions_of_an_update_are_owed_to_later_steps() -> None:
    agent = build(updates_per_step=0.1, learning_starts=0)
    learn(agent, 0, steps=80)
    assert agent._n_updates == 8


def test_a_task_without_an_update_is_refused() -> None:
    agent = build(learning_starts=80)
    agent.begin_task(0, toys(0))
    with pytest.raises(UserError, match="80 steps per task are not more than the 80 without an up"):
        agent.learn_task(80, lambda done: None)


def test_a_nan_reward_stops_with_the_component_named() -> None:
    agent = build()
    agent.begin_task(0, toys(0, reward=float("nan")))
    with pytest.raises(NonFiniteError, match="reward of 'environment' is nan"):
        agent.learn_task(80, lambda done: None)


def test_the_actors_step_leaves_the_critic_without_gradients() -> None:
    agent = build()
    learn(agent, 0)
    batch = agent._sample_batch(8)
    for parameter in agent.critic.parameters():
        parameter.grad = None
    gradient_step(agent.components["actor"], batch)
    assert all(parameter.grad is None for parameter in agent.critic.parameters())
    assert any(parameter.grad is not None for parameter in agent.actor.parameters())


def test_predictions_have_one_row_per_sample() -> None:
    agent = build()
    learn(agent, 0)
    batch = next(agent.task_data(8))
    for component in agent.components.values():
        assert component.predict(batch).batch_shape == (8,)


def test_actions_are_scaled_to_the_action_space() -> None:
    agent = build()
    actions = agent.act(np.full((6, OBS_DIM + NUM_TASKS), 9.0, np.float32))
    assert actions.shape == (6, 2)
    assert (np.abs(actions) <= 2).all()


@pytest.mark.parametrize(
    "arguments", [{"n_steps": 3, "method": make("finetune")}, {"use_sde": True}]
)
def test_arguments_that_do_not_go_together_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        agents.SAC("MlpPolicy", toys(0), **arguments)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("hidden", ()),
        ("hidden", (16, 0)),
        ("learning_rate", 0.0),
        ("batch_size", 0),
        ("gamma", 1.5),
        ("tau", 0.0),
        ("buffer_size", 3),
        ("learning_starts", -1),
        ("updates_per_step", -0.5),
    ],
)
def test_numbers_out_of_range_are_refused(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"'{option}' of .* must be .*, not"):
        build(**{option: value})
