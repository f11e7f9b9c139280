"""With no continual method, our agents learn exactly what Stable-Baselines3's do."""

from __future__ import annotations

import gymnasium as gym
import pytest
import stable_baselines3 as sb3
import torch
from stable_baselines3.common.vec_env import DummyVecEnv

import agents
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


@pytest.mark.parametrize("method", [None, "finetune"])
@pytest.mark.parametrize("count", [1, 8])
def test_sac_ends_with_the_parameters_of_sb3(count: int, method: str | None) -> None:
    theirs = learn(sb3.SAC, count)
    ours = learn(agents.SAC, count, method=None if method is None else make(method))
    layout = {
        "actor": {
            "hidden.0": [["latent_pi.0"]],
            "hidden.1": [["latent_pi.2"]],
            "heads": [["mu", "log_std"]],
        },
        "critic": {
            "hidden.0": [["qf0.0"], ["qf1.0"]],
            "hidden.1": [["qf0.2"], ["qf1.2"]],
            "heads": [["qf0.4"], ["qf1.4"]],
        },
    }
    layout["critic_target"] = layout["critic"]
    for module, layers in layout.items():
        found = dict(getattr(ours, module).network.named_parameters())
        assert len(found) == 2 * len(layers)
        for layer, sources in layers.items():
            for leaf in ("weight", "bias"):
                expected = stacked(getattr(theirs, module), sources, leaf)
                torch.testing.assert_close(
                    found[f"{layer}.{leaf}"],
                    expected,
                    rtol=1e-5,
                    atol=1e-5,
                    msg=f"{module}.{layer}",
                )
    torch.testing.assert_close(ours.log_ent_coef, theirs.log_ent_coef, rtol=1e-5, atol=1e-5)
