"""Gradients that are written down are those that autograd finds."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn
from torch.nn.utils import prune

from lifelong_rl import agents
from lifelong_rl.agents.action_mask import make_mask
from lifelong_rl.agents.actor_critic import Actor, Critic, DeterministicActor
from lifelong_rl.agents.buffers import TaskReplayBuffer, buffer_state, load_buffer_state
from lifelong_rl.agents.sac_components import (
    EntropyCoefficient,
    FixedEntropyCoefficient,
    SACActor,
    SACCritic,
)
from lifelong_rl.agents.td3 import TD3Actor, TD3Critic
from lifelong_rl.continual import make
from lifelong_rl.learning import gradient_step
from lifelong_rl.learning.adam import FusedAdam
from lifelong_rl.networks import MultiHeadMLP, NetworkSpec

ROWS, OBS, ACTIONS, TASKS = 9, 5, 2, 3


class World:
    """Components of an agent on noise."""

    def __init__(
        self, layer_norm: bool, num_tasks: int, learned_entropy: bool = True, masked: bool = False
    ) -> None:
        torch.manual_seed(0)
        self.num_tasks = num_tasks

        def network(inputs: int, outputs: tuple[int, ...], copies: int) -> MultiHeadMLP:
            made = MultiHeadMLP(
                NetworkSpec(
                    inputs,
                    (8, 6),
                    outputs,
                    num_tasks=num_tasks,
                    layer_norm=layer_norm,
                    copies=copies,
                )
            )
            for parameter in made.parameters():
                nn.init.normal_(parameter, std=0.7)
            return made

        mask = make_mask((2, 1, 1)[-num_tasks:] if masked else None, ACTIONS)
        self.actor = Actor(network(OBS, (ACTIONS, ACTIONS), 1), mask=mask).double()
        self.plain_actor = DeterministicActor(network(OBS, (ACTIONS,), 1), mask=mask).double()
        self.critic = Critic(network(OBS + ACTIONS, (1,), 2), mask=mask).double()
        self.target = Critic(network(OBS + ACTIONS, (1,), 2), mask=mask).double()
        targets = -2.0 if mask is None else -mask.rows.sum(dim=1)
        self.entropy = EntropyCoefficient(num_tasks, 0.3, targets).double()
        self.entropy.optimizer = FusedAdam(self.entropy.parameters())
        weight = (
            self.entropy if learned_entropy else FixedEntropyCoefficient(torch.tensor(0.2).double())
        )
        more = {"num_tasks": num_tasks}
        self.sac_actor = SACActor(
            self.actor, self.optimizer(self.actor), critic=self.critic, entropy=weight, **more
        )
        self.sac_critic = SACCritic(
            self.critic,
            self.optimizer(self.critic),
            target=self.target,
            gamma=0.9,
            actor=self.actor,
            entropy=weight,
            sampler=self.sac_actor,
            **more,
        )
        self.td3_actor = TD3Actor(
            self.plain_actor, self.optimizer(self.plain_actor), critic=self.critic, **more
        )
        self.td3_critic = TD3Critic(
            self.critic,
            self.optimizer(self.critic),
            target=self.target,
            gamma=0.9,
            actor_target=self.plain_actor,
            noise=0.2,
            noise_clip=0.3,
            **more,
        )

    def optimizer(self, module: nn.Module) -> FusedAdam:
        return FusedAdam(module.parameters(), lr=1e-3)

    def batch(self, mixed: bool = False) -> dict[str, torch.Tensor]:
        torch.manual_seed(1)
        batch = {
            "observations": torch.randn(ROWS, OBS),
            "next_observations": torch.randn(ROWS, OBS),
            "actions": torch.rand(ROWS, ACTIONS) * 2 - 1,
            "rewards": torch.randn(ROWS, 1),
            "dones": (torch.rand(ROWS, 1) < 0.3).float(),
        }
        batch = {name: value.double() for name, value in batch.items()}
        if self.num_tasks > 1:
            several = torch.arange(ROWS) % TASKS
            batch["task"] = several if mixed else torch.tensor(1).expand(ROWS)
        return batch


def assert_same(component: Any, analytic: Any, expected_loss: torch.Tensor) -> None:
    loss, found = analytic
    named = dict(component.module.named_parameters())
    expected = torch.autograd.grad(expected_loss, list(named.values()), allow_unused=True)
    by_parameter = {id(parameter): gradient for parameter, gradient in found}
    assert len(by_parameter) == len(named)
    torch.testing.assert_close(loss, expected_loss.detach())
    for (name, parameter), gradient in zip(named.items(), expected, strict=True):
        torch.testing.assert_close(
            by_parameter[id(parameter)], gradient, msg=lambda text, n=name: f"{n}: {text}"
        )


worlds = pytest.mark.parametrize(
    ("layer_norm", "num_tasks", "mixed", "masked"),
    [
        (False, 1, False, False),
        (True, 1, False, False),
        (False, TASKS, False, False),
        (True, TASKS, False, False),
        (False, TASKS, True, False),
        (True, TASKS, True, False),
        (True, 1, False, True),
        (True, TASKS, False, True),
        (False, TASKS, True, True),
    ],
)


@worlds
@pytest.mark.parametrize("learned", [True, False])
def test_soft_actor_critic(
    layer_norm: bool, num_tasks: int, mixed: bool, masked: bool, learned: bool
) -> None:
    world = World(layer_norm, num_tasks, learned, masked)
    batch = world.batch(mixed)
    torch.manual_seed(2)
    batch |= world.sac_actor.sample(batch)
    torch.manual_seed(2)
    task = batch.get("task")
    graph = dict(
        zip(
            ("policy_actions", "policy_log_prob"),
            world.actor.action_log_prob(batch["observations"], task),
            strict=True,
        )
    )
    with torch.no_grad():
        following = world.actor.action_log_prob(batch["next_observations"], task)
    for name, value in graph.items():
        torch.testing.assert_close(batch[name], value.detach())
    for found, value in zip(world.sac_actor.next_actions(batch), following, strict=True):
        torch.testing.assert_close(found, value)

    with_graph = batch | graph
    assert_same(
        world.sac_critic,
        world.sac_critic.analytic_gradient(batch),
        world.sac_critic.loss(with_graph),
    )
    assert_same(
        world.sac_actor, world.sac_actor.analytic_gradient(batch), world.sac_actor.loss(with_graph)
    )
    entropy = world.entropy
    assert_same(entropy, entropy.analytic_gradient(batch), entropy.loss(with_graph))


def test_standard_deviations_at_their_bounds_have_no_gradient() -> None:
    world = World(layer_norm=False, num_tasks=1)
    with torch.no_grad():
        world.actor.network.heads.bias[0, ACTIONS:] = torch.tensor([-40.0, 40.0])
    batch = world.batch()
    torch.manual_seed(2)
    batch |= world.sac_actor.sample(batch)
    torch.manual_seed(2)
    actions, log_prob = world.actor.action_log_prob(batch["observations"])
    graph = batch | {"policy_actions": actions, "policy_log_prob": log_prob}
    assert_same(
        world.sac_actor, world.sac_actor.analytic_gradient(batch), world.sac_actor.loss(graph)
    )


def test_next_actions_serve_the_rows_that_they_were_drawn_for() -> None:
    world = World(layer_norm=False, num_tasks=TASKS)
    batch = world.batch()
    assert world.sac_actor.next_actions(batch) is None
    world.sac_actor.sample(batch)
    assert world.sac_actor.next_actions(dict(batch)) is not None
    for name in ("next_observations", "task"):
        assert world.sac_actor.next_actions({**batch, name: batch[name].clone()}) is None


def test_what_is_not_as_it_was_made_is_left_to_autograd() -> None:
    def spoil(change: Any) -> bool:
        world = World(layer_norm=True, num_tasks=1)
        change(world.critic.network)
        return world.critic.traced is None

    assert not spoil(lambda network: None)
    assert spoil(lambda n: n.register_forward_hook(lambda *_: None))
    assert spoil(lambda n: n.hidden[1].register_forward_pre_hook(lambda *_: None))
    assert spoil(lambda n: n.norm.weight.register_hook(lambda gradient: gradient))
    assert spoil(lambda n: prune.random_unstructured(n.hidden[1], "weight", 0.5))
    assert spoil(lambda n: nn.utils.parametrizations.weight_norm(n.hidden[0]))
    assert spoil(lambda n: setattr(n, "activation", nn.Tanh()))
    assert spoil(lambda n: setattr(n.hidden[1], "weight", n.hidden[0].weight))


def test_the_loss_of_an_instance_is_not_overlooked() -> None:
    world = World(layer_norm=False, num_tasks=1)
    world.td3_critic.loss = lambda batch: world.critic.network.heads.bias.sum()
    assert gradient_step(world.td3_critic, world.batch())["loss"] == pytest.approx(
        world.critic.network.heads.bias.sum().item(), abs=0.1
    )
    assert world.critic.network.hidden[0].weight.grad is None


@pytest.mark.parametrize("kind", [np.float64, np.int64])
def test_observations_of_another_type_are_acted_on(kind: type) -> None:
    env = DummyVecEnv([lambda: gym.make("Pendulum-v1")])
    agent = agents.SAC("MlpPolicy", env, seed=0)
    rows = np.ones((2, 3))
    expected = agent.act(rows.astype(np.float32))
    assert np.array_equal(agent.act(rows.astype(kind)), expected)


@worlds
def test_td3(layer_norm: bool, num_tasks: int, mixed: bool, masked: bool) -> None:
    world = World(layer_norm, num_tasks, masked=masked)
    batch = world.batch(mixed)
    for component in (world.td3_critic, world.td3_actor):
        torch.manual_seed(2)
        found = component.analytic_gradient(batch)
        torch.manual_seed(2)
        assert_same(component, found, component.loss(batch))


def test_a_sample_serves_the_batch_that_it_was_drawn_for() -> None:
    world = World(layer_norm=False, num_tasks=1)
    batch = world.batch()
    batch |= world.sac_actor.sample(batch)
    other = {name: rows for name, rows in batch.items() if not name.startswith("policy_")}
    for given in (other, batch, batch):  # the last time its sample is gone
        first, _ = world.sac_actor.analytic_gradient(given)
        batch |= world.sac_actor.sample(batch)
        again, _ = world.sac_actor.analytic_gradient(given)
        assert not torch.equal(first, again)
    assert world.sac_actor.loss(batch).requires_grad  # draws actions of its own


def test_rows_without_a_sample_are_given_one() -> None:
    world = World(layer_norm=True, num_tasks=TASKS)
    batch = world.batch() | {"task": torch.arange(ROWS) % TASKS}
    torch.manual_seed(2)
    found = world.sac_actor.analytic_gradient(batch)
    torch.manual_seed(2)
    assert_same(world.sac_actor, found, world.sac_actor.loss(batch))


@pytest.mark.parametrize("base", ["sac_critic", "sac_actor", "td3_critic", "td3_actor"])
def test_another_loss_is_not_overlooked(base: str) -> None:
    world = World(layer_norm=False, num_tasks=1)
    component: Any = getattr(world, base)

    class Other(type(component)):  # type: ignore[misc]
        def loss(self, batch: Any) -> torch.Tensor:
            return 3 * super().loss(batch)

    component.__class__ = Other
    batch = world.batch()
    batch |= world.sac_actor.sample(batch)
    assert component.analytic_gradient(batch) is None


def test_frozen_parameters_stay() -> None:
    world = World(layer_norm=False, num_tasks=1)
    batch = world.batch()
    batch |= world.sac_actor.sample(batch)
    frozen = world.critic.network.hidden[0].weight.requires_grad_(False)
    before = frozen.detach().clone()
    gradient_step(world.sac_critic, batch, make("finetune"))
    assert torch.equal(frozen, before) and frozen.grad is None


def space(dim: int) -> spaces.Box:
    return spaces.Box(-1, 1, (dim,), np.float32)


def filled(kind: type, envs: int, **more: Any) -> Any:
    buffer = kind(20 * envs, space(OBS), space(ACTIONS), "cpu", envs, **more)
    rng = np.random.default_rng(0)
    for step in range(27):
        rows = rng.normal(size=(2, envs, OBS)).astype(np.float32)
        if more:
            rows[..., -TASKS:] = np.eye(TASKS)[step // 20]
        infos = [{"TimeLimit.truncated": bool(rng.random() < 0.5)} for _ in range(envs)]
        actions = rng.normal(size=(envs, ACTIONS))
        buffer.add(*rows, actions, rng.normal(size=envs), rng.random(envs) < 0.5, infos)
    return buffer


@pytest.mark.parametrize("envs", [1, 4])
def test_samples_are_those_of_stable_baselines3(envs: int) -> None:
    ours, theirs = filled(TaskReplayBuffer, envs), filled(ReplayBuffer, envs)
    samples = []
    for buffer in (ours, theirs):
        np.random.seed(0)  # noqa: NPY002 (Stable-Baselines3 draws from it)
        samples.append(buffer.sample(16))
    for a, b in zip(*samples, strict=True):
        if b is not None:
            assert a.dtype == b.dtype and torch.equal(a, b)


def test_observations_of_several_axes_keep_them() -> None:
    pictures = spaces.Box(0, 255, (3, 4), np.uint8)
    buffer = TaskReplayBuffer(8, pictures, space(ACTIONS), "cpu", 2)
    shown = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    buffer.add(shown, shown + 1, np.zeros((2, ACTIONS)), np.zeros(2), np.zeros(2), [{}, {}])
    sampled = buffer.sample(5)
    assert sampled.observations.shape == (5, 3, 4)
    assert torch.equal(sampled.next_observations, sampled.observations + 1)


def test_a_single_row_may_be_added() -> None:
    buffer = TaskReplayBuffer(8, space(OBS), space(ACTIONS), "cpu", 1, num_tasks=TASKS)
    row = np.eye(OBS, dtype=np.float32)[-1]
    buffer.add(row, row, np.zeros(ACTIONS), 0.0, False, [{}])
    assert buffer.tasks == {TASKS - 1}


def test_a_buffer_knows_its_tasks() -> None:
    buffer = filled(TaskReplayBuffer, 2, num_tasks=TASKS)
    assert buffer.tasks == {0, 1}
    again = TaskReplayBuffer(40, space(OBS), space(ACTIONS), "cpu", 2, num_tasks=TASKS)
    load_buffer_state(again, buffer_state(buffer))
    assert again.tasks == {0, 1}
    buffer.reset()
    assert buffer.tasks == set()
