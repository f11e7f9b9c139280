"""With no continual method, our agents learn exactly what Stable-Baselines3's do."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3 as sb3
import torch
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv

from lifelong_rl import agents
from lifelong_rl.continual import make

UPDATES = 200


def pendulums(count: int) -> DummyVecEnv:
    return DummyVecEnv([lambda: gym.make("Pendulum-v1") for _ in range(count)])


def learn(algorithm: type, count: int, **more: object) -> sb3.SAC:
    per_step = 4
    agent = algorithm(
        "MlpPolicy",
        pendulums(count),
        learning_starts=20 * count,
        gradient_steps=per_step,
        batch_size=64,
        learning_rate=3e-4,
        seed=3,
        device="cpu",
        policy_kwargs={"net_arch": [64, 64]},
        **more,
    )
    agent.learn((20 + UPDATES // per_step) * count, log_interval=None)
    assert agent._n_updates == UPDATES
    return agent


def stacked(module: torch.nn.Module, networks: list[list[str]], leaf: str) -> torch.Tensor:
    """Concatenate the parameters `leaf` of each network's layers as `StackedLinear` does."""
    named = dict(module.named_parameters())
    return torch.stack(
        [torch.cat([named[f"{name}.{leaf}"] for name in layers]) for layers in networks]
    )


def assert_same_networks(
    ours: object, theirs: object, layout: dict[str, dict[str, list[list[str]]]]
) -> None:
    for module, layers in layout.items():
        found = dict(getattr(ours, module).network.named_parameters())
        assert len(found) == 2 * len(layers)
        for layer, sources in layers.items():
            for leaf in ("weight", "bias"):
                torch.testing.assert_close(
                    found[f"{layer}.{leaf}"],
                    stacked(getattr(theirs, module), sources, leaf),
                    rtol=1e-5,
                    atol=1e-5,
                    msg=lambda text, where=f"{module}.{layer}": f"{where}: {text}",
                )


CRITIC = {
    "hidden.0": [["qf0.0"], ["qf1.0"]],
    "hidden.1": [["qf0.2"], ["qf1.2"]],
    "heads": [["qf0.4"], ["qf1.4"]],
}


@pytest.mark.parametrize("method", [None, "finetune"])
@pytest.mark.parametrize("count", [1, 8])
def test_sac_ends_with_the_parameters_of_sb3(count: int, method: str | None) -> None:
    theirs = learn(sb3.SAC, count)
    ours = learn(agents.SAC, count, method=None if method is None else make(method))
    actor = {
        "hidden.0": [["latent_pi.0"]],
        "hidden.1": [["latent_pi.2"]],
        "heads": [["mu", "log_std"]],
    }
    assert_same_networks(ours, theirs, {"actor": actor, "critic": CRITIC, "critic_target": CRITIC})
    torch.testing.assert_close(ours.log_ent_coef, theirs.log_ent_coef, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", [None, "finetune"])
@pytest.mark.parametrize("count", [1, 8])
def test_td3_ends_with_the_parameters_of_sb3(count: int, method: str | None) -> None:
    noise = NormalActionNoise(np.zeros(1), np.full(1, 0.1))
    theirs = learn(sb3.TD3, count, action_noise=noise)
    ours = learn(
        agents.TD3, count, method=None if method is None else make(method), action_noise=noise
    )
    actor = {"hidden.0": [["mu.0"]], "hidden.1": [["mu.2"]], "heads": [["mu.4"]]}
    assert_same_networks(
        ours,
        theirs,
        {"actor": actor, "actor_target": actor, "critic": CRITIC, "critic_target": CRITIC},
    )


@pytest.mark.parametrize("method", [None, "finetune"])
@pytest.mark.parametrize("count", [1, 8])
@pytest.mark.parametrize("target_kl", [None, 0.01])
def test_ppo_ends_with_the_parameters_of_sb3(
    count: int, method: str | None, target_kl: float | None
) -> None:
    def learn_ppo(algorithm: type, **more: object) -> sb3.PPO:
        agent = algorithm(
            "MlpPolicy",
            pendulums(count),
            n_steps=128 // count,
            batch_size=32,
            n_epochs=5,
            target_kl=target_kl,
            seed=3,
            device="cpu",
            **more,
        )
        agent.learn(10 * 128, log_interval=None)
        return agent

    theirs = learn_ppo(sb3.PPO)
    ours = learn_ppo(agents.PPO, method=None if method is None else make(method))
    assert ours._n_updates == theirs._n_updates
    named = dict(theirs.policy.named_parameters())
    sources = {
        "policy_network.hidden.0": "mlp_extractor.policy_net.0",
        "policy_network.hidden.1": "mlp_extractor.policy_net.2",
        "policy_network.heads": "action_net",
        "value_network.hidden.0": "mlp_extractor.value_net.0",
        "value_network.hidden.1": "mlp_extractor.value_net.2",
        "value_network.heads": "value_net",
    }
    expected = {
        f"{layer}.{leaf}": named[f"{source}.{leaf}"][None]
        for layer, source in sources.items()
        for leaf in ("weight", "bias")
    } | {"log_std": named["log_std"][None]}
    found = dict(ours.policy.named_parameters())
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-5)
