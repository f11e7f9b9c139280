from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import pytest
import torch
from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution

from lifelong_rl.agents import PPO, SAC, TD3
from lifelong_rl.agents.actor_critic import Actor
from lifelong_rl.agents.policies import ContinualSACPolicy
from lifelong_rl.agents.ppo_policy import ContinualPPOPolicy
from lifelong_rl.errors import UserError
from lifelong_rl.networks import MultiHeadMLP

NUM_TASKS = 2
INPUTS = 3


def policy(num_tasks: int) -> ContinualSACPolicy:
    torch.manual_seed(0)
    entries = INPUTS + (num_tasks if num_tasks > 1 else 0)
    return ContinualSACPolicy(
        gym.spaces.Box(-1, 1, (entries,)),
        gym.spaces.Box(-1, 1, (2,)),
        lambda progress: 1e-3,
        net_arch=[8, 8],
        num_tasks=num_tasks,
    )


def test_the_task_chooses_the_head_and_is_no_input_of_the_trunk() -> None:
    actor = policy(NUM_TASKS).actor
    rows, task = torch.randn(1, INPUTS).expand(2, -1), torch.arange(2)
    mean, log_std = actor.gaussian(rows, task)
    assert not torch.equal(mean[0], mean[1])
    with torch.no_grad():
        for values in (actor.network.heads.weight, actor.network.heads.bias):
            heads = values.unflatten(1, (NUM_TASKS, -1))
            heads[:, 1] = heads[:, 0]
    mean, log_std = actor.gaussian(rows, task)
    assert torch.equal(mean[0], mean[1])
    assert torch.equal(log_std[0], log_std[1])


def test_density_is_that_of_the_squashed_gaussian() -> None:
    actor: Actor = policy(1).actor
    rows = torch.randn(64, INPUTS)
    actions, log_prob = actor.action_log_prob(rows)
    mean, log_std = actor.gaussian(rows)
    expected = SquashedDiagGaussianDistribution(2).proba_distribution(mean, log_std)
    torch.testing.assert_close(log_prob, expected.log_prob(actions), rtol=1e-3, atol=1e-3)


def test_log_std_is_bounded() -> None:
    actor = policy(1).actor
    with torch.no_grad():
        actor.network.heads.bias[0, 2:] = torch.tensor([math.inf, -math.inf])
    assert actor.gaussian(torch.zeros(1, INPUTS))[1].tolist() == [[2, -20]]


@pytest.mark.parametrize("option", ["use_sde", "share_features_extractor"])
def test_what_is_not_supported_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option}=True is not supported"):
        ContinualSACPolicy(
            gym.spaces.Box(-1, 1, (3,)), gym.spaces.Box(-1, 1, (2,)), lambda p: 1, **{option: True}
        )


@pytest.mark.parametrize(
    ("given", "policy_units", "value_units"),
    [
        (None, [64, 64], [64, 64]),
        ([8, 4], [8, 4], [8, 4]),
        ([], [], []),
        ({"pi": [8], "vf": [4, 4]}, [8], [4, 4]),
    ],
)
def test_hidden_layers_of_ppo_are_given_as_to_stable_baselines(
    given: Any, policy_units: list[int], value_units: list[int]
) -> None:
    made = ContinualPPOPolicy(
        gym.spaces.Box(-1, 1, (INPUTS,)),
        gym.spaces.Box(-1, 1, (2,)),
        lambda progress: 1e-3,
        net_arch=given,
    )
    for network, units in (
        (made.policy_network, policy_units),
        (made.value_network, value_units),
    ):
        assert isinstance(network, MultiHeadMLP)
        assert list(network.spec.hidden) == units


@pytest.mark.parametrize("agent", [PPO, SAC, TD3])
def test_arguments_that_are_no_method_or_no_tasks_are_refused(agent: Any) -> None:
    for given in (3e-4, "ewc"):
        with pytest.raises(
            UserError, match=r"is a continual method, .* by its name: learning_rate"
        ):
            agent("MlpPolicy", "Pendulum-v1", given)
    with pytest.raises(UserError, match="observations of 3 tasks are flat and end with a one-hot"):
        agent("MlpPolicy", "Pendulum-v1", num_tasks=3)
