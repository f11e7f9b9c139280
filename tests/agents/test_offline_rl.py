"""TD3+BC: what it minimises, and that rewards take it beyond what was recorded."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from lifelong_rl import agents
from lifelong_rl.continual import make
from lifelong_rl.continual.importance import row_gradients
from lifelong_rl.errors import UserError
from lifelong_rl.learning import Batch
from lifelong_rl.learning.parameters import loss_gradient
from lifelong_rl.learning.seeding import derive_seed
from lifelong_rl.runs.sequence import load_sequence

NUM_TASKS = 2
OBS_DIM = 3


class Shown:
    """Random actions in [-2, 2] around zero; the nearer they are to the right one, the better."""

    observation_space = gym.spaces.Box(-10, 10, (OBS_DIM + NUM_TASKS,), np.float32)
    action_space = gym.spaces.Box(-2, 2, (2,), np.float32)
    num_envs = 4

    def __init__(self, task_id: int = 0) -> None:
        self.task_id = task_id
        self.asked: list[tuple[int, int, float]] = []

    def demonstrations(self, episodes: int, seed: int, noise: float) -> dict[str, np.ndarray]:
        self.asked.append((episodes, seed, noise))
        rng = np.random.default_rng(seed)
        n = 20 * episodes
        inputs, next_inputs = rng.normal(size=(2, n, OBS_DIM))
        tail = np.eye(NUM_TASKS)[[self.task_id] * n]
        taken = rng.uniform(-2, 2, (n, 2))
        return {
            "observations": np.hstack([inputs, tail]),
            "next_observations": np.hstack([next_inputs, tail]),
            "actions": taken,
            "expert_actions": np.full((n, 2), np.nan),  # not for reinforcement learners
            "rewards": 1.0 - np.square(taken - right(inputs)).mean(axis=1) / 4,
            "dones": (np.arange(n) % 5 == 4).astype(float),
        }


def right(inputs: np.ndarray) -> np.ndarray:
    return 1.2 * np.tanh(inputs[:, :2])


def build(method: Any = None, **options: Any) -> agents.OfflineRL:
    defaults: dict[str, Any] = {"hidden": (16, 16), "batch_size": 32, "episodes": 5, "seed": 0}
    return agents.OfflineRL.build(
        Shown(), num_tasks=NUM_TASKS, method=method, **(defaults | options)
    )


def begun(method: Any = None, **options: Any) -> tuple[agents.OfflineRL, Batch]:
    """An agent that has begun the first task, and its data."""
    agent = build(method, **options)
    agent.begin_task(0, Shown())
    return agent, next(agent.task_data())


def test_its_data_are_the_transitions_of_the_actions_taken() -> None:
    agent = build(seed=4, episodes=3, noise=0.2)
    env = Shown(1)
    agent.begin_task(1, env)
    assert env.asked == [(3, derive_seed(4, 2), 0.2)]
    (batch,) = agent.task_data()
    shown = env.demonstrations(3, derive_seed(4, 2), 0.2)
    assert batch.pop("task").tolist() == [1] * len(shown["rewards"])
    assert set(batch) == {"observations", "next_observations", "actions", "rewards", "dones"}
    for name, values in batch.items():
        expected = shown[name] / 2 if name == "actions" else shown[name]
        if name.endswith("observations"):
            expected = expected[:, :-NUM_TASKS]
        np.testing.assert_allclose(values.squeeze(1) if values.shape[1] == 1 else values, expected)
        assert values.dtype == torch.float32 and values.ndim == 2


def test_the_actors_loss_is_that_of_the_paper() -> None:
    agent, batch = begun(alpha=2.5)
    component = agent.components["actor"]
    with torch.no_grad():
        actions = torch.tanh(agent.actor.gaussian(batch["observations"], batch["task"])[0])
        values = agent.critic(batch["observations"], actions, batch["task"])[0]
        imitation = (actions - batch["actions"]).square().mean()
        weight = 2.5 / values.abs().mean()
    expected = imitation - weight * values.mean()
    torch.testing.assert_close(component.loss(batch), expected)
    # the weight is a number: no gradient goes through it
    found = loss_gradient(component, batch)
    actions = torch.tanh(agent.actor.gaussian(batch["observations"], batch["task"])[0])
    loss = (actions - batch["actions"]).square().mean() - weight * agent.critic(
        batch["observations"], actions, batch["task"]
    )[0].mean()
    loss.backward()
    for name, parameter in agent.actor.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)


def test_the_weight_does_not_depend_on_the_scale_of_the_rewards() -> None:
    agent, batch = begun()
    before = loss_gradient(agent.components["actor"], batch)
    with torch.no_grad():  # values a hundred times as large
        agent.critic.network.heads.weight *= 100
        agent.critic.network.heads.bias *= 100
    for name, gradient in loss_gradient(agent.components["actor"], batch).items():
        torch.testing.assert_close(gradient, before[name], rtol=1e-3, atol=1e-6)


def test_the_critics_target_is_that_of_the_smoothed_target_policy() -> None:
    agent, batch = begun(target_policy_noise=0.0, gamma=0.9)
    with torch.no_grad():
        for parameter in agent.policy.actor_target.parameters():
            parameter.add_(0.05)  # so that the targets are not the networks
        for parameter in agent.policy.critic_target.parameters():
            parameter.add_(0.05)
        next_actions = agent.actor_target(
            batch["next_observations"], deterministic=True, task=batch["task"]
        )
        next_values = agent.critic_target(
            batch["next_observations"], next_actions, batch["task"]
        ).min(dim=0)[0]
        targets = batch["rewards"][:, 0] + 0.9 * (1 - batch["dones"][:, 0]) * next_values
        values = agent.critic(batch["observations"], batch["actions"], batch["task"])
        expected = ((values - targets) ** 2).mean(dim=1).sum()
    torch.testing.assert_close(agent.components["critic"].loss(batch), expected)
    noisy, _ = begun(target_policy_noise=0.2, gamma=0.9)
    losses = {noisy.components["critic"].loss(batch).item() for _ in range(2)}
    assert len(losses) == 2


def test_gradients_of_single_rows_add_up_where_rows_are_independent() -> None:
    agent, batch = begun(alpha=0.0, target_policy_noise=0.0)
    for component in agent.components.values():
        whole = loss_gradient(component, batch)
        rows = list(row_gradients(component, component.loss, batch, chunk_size=30))
        for name, gradient in whole.items():
            each = torch.cat([chunk[name] for chunk in rows])
            assert len(each) == len(batch["observations"])
            torch.testing.assert_close(each.mean(dim=0), gradient, rtol=1e-4, atol=1e-6)
    agent, batch = begun()
    component = agent.components["actor"]
    for chunk in row_gradients(component, component.loss, batch):
        assert all(gradient.isfinite().all() for gradient in chunk.values())


def test_rewards_take_it_beyond_what_was_recorded() -> None:
    errors = {}
    for alpha in (0.0, 20.0):
        agent = build(
            alpha=alpha, gamma=0.0, hidden=(32,), episodes=50, batch_size=64, learning_rate=3e-3
        )
        torch.manual_seed(0)
        agent.begin_task(0, Shown())
        agent.learn_task(400, lambda done: None)
        fresh = Shown().demonstrations(20, seed=99, noise=0.0)["observations"]
        errors[alpha] = np.square(agent.act(fresh) - right(fresh[:, :OBS_DIM])).mean()
    # actions around zero are all that imitation knows
    assert errors[0.0] == pytest.approx(np.square(right(fresh[:, :OBS_DIM])).mean(), rel=0.15)
    assert errors[20.0] < 0.3 * errors[0.0]


@pytest.mark.parametrize(("delay", "actor_updates"), [(1, 12), (3, 4)])
def test_the_actor_and_the_targets_follow_every_so_many_updates(
    delay: int, actor_updates: int
) -> None:
    agent = build(policy_delay=delay, tau=0.25)
    agent.begin_task(0, Shown())
    before = [parameter.clone() for parameter in agent.critic_target.parameters()]
    agent.rehearse(delay - 1)
    after = list(agent.critic_target.parameters())
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))
    agent.rehearse(1)
    for target, old, new in zip(after, before, agent.critic.parameters(), strict=True):
        torch.testing.assert_close(target, old + 0.25 * (new - old))
    agent.rehearse(12 - delay)
    assert len(agent._measured["critic_loss"]) == 12
    assert len(agent._measured["actor_loss"]) == actor_updates


def test_targets_begin_as_the_networks_and_share_nothing_with_them() -> None:
    agent = build()
    pairs = ((agent.actor, agent.actor_target), (agent.critic, agent.critic_target))
    for network, target in pairs:
        theirs = target.state_dict()
        for name, value in network.state_dict().items():
            assert torch.equal(value, theirs[name])
            assert value.data_ptr() != theirs[name].data_ptr()


def test_targets_use_the_masks_of_packnet() -> None:
    agent = build(make("packnet", retrain_share=0.0, scope="both"))
    for task_id in range(2):
        agent.begin_task(task_id, Shown(task_id))
        agent.learn_task(20, lambda done: None)
        agent.end_task()
    agent.rehearse(1)
    pairs = ((agent.actor, agent.actor_target), (agent.critic, agent.critic_target))
    for network, target in pairs:
        buffers = dict(network.named_buffers())
        assert buffers
        for name, buffer in target.named_buffers():
            assert torch.equal(buffer, buffers[name])


def test_a_saved_agent_goes_on_identically() -> None:
    through = build()
    resumed = build()
    torch.manual_seed(0)
    through.begin_task(0, Shown(0))
    through.learn_task(40, lambda done: None)
    through.end_task()
    state = through.state_dict()
    state = {**state, "policy": {k: v.clone() for k, v in state["policy"].items()}}
    resumed.load_state_dict(state)
    for agent in (through, resumed):
        torch.manual_seed(1)
        agent.begin_task(1, Shown(1))
        agent.learn_task(41, lambda done: None)
    for name, value in through.policy.state_dict().items():
        assert torch.equal(resumed.policy.state_dict()[name], value), name


def test_tasks_without_demonstrations_are_refused() -> None:
    env = load_sequence("split-digits").make_env(0, num_envs=2, num_threads=1, seed=0)
    with pytest.raises(UserError, match=r"^OfflineRL learns from demonstrations, .*'classifier'"):
        agents.OfflineRL.build(env, num_tasks=5, method=None, seed=0)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("gamma", 1.5),
        ("tau", 0.0),
        ("alpha", -1.0),
        ("policy_delay", 0),
        ("target_policy_noise", -0.1),
        ("target_noise_clip", -0.1),
        ("episodes", 0),
        ("noise", float("inf")),
        ("batch_size", 0),
    ],
)
def test_numbers_out_of_range_are_refused(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"'{option}' of .* must be .*, not"):
        build(**{option: value})
