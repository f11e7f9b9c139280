"""Activation and LayerNorm as options of the agents: every agent, and every method's networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_learners
import torch
from tiny_learners import SMALL_AGENT, Run
from torch import nn

from lifelong_rl import agents
from lifelong_rl.compatibility import find_refusal
from lifelong_rl.continual import METHODS
from lifelong_rl.errors import UserError
from lifelong_rl.learning import gradient_step
from lifelong_rl.learning.parameters import analytic_gradient
from lifelong_rl.networks import MultiHeadMLP
from lifelong_rl.networks.activations import CReLU
from lifelong_rl.registry import AGENTS

ARCHITECTURE = {"activation": "crelu", "layer_norm": "every"}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run of an agent with other networks."""

    def make(learner: str, method: str = "finetune", **options: Any) -> Run:
        monkeypatch.setitem(
            tiny_learners.SMALL_AGENT, learner, SMALL_AGENT[learner] | (options or ARCHITECTURE)
        )
        return Run(learner, method)

    return make


def networks(agent: Any) -> list[MultiHeadMLP]:
    found = [part for part in agent.policy.modules() if isinstance(part, MultiHeadMLP)]
    assert found
    return found


@pytest.mark.parametrize("learner", SMALL_AGENT)
def test_every_agent_has_the_networks_that_were_chosen(learner: str, run: Any) -> None:
    made = run(learner)
    for network in networks(made.agent):
        assert isinstance(network.activation, CReLU) and len(network.norms) == 2
        assert network.norm is None
        assert network.heads.weight.shape[2] == 16
    fresh = made.parameters()
    made.learn(0)
    assert made.parameters().isfinite().all() and not torch.equal(made.parameters(), fresh)
    plain = networks(run(learner, activation="tanh", layer_norm=False).agent)
    assert all(isinstance(each.activation, nn.Tanh) for each in plain)
    assert all(each.norm is None and not len(each.norms) for each in plain)


@pytest.mark.parametrize("learner", ["sac", "td3", "offline-rl"])
def test_gradients_are_autograds_where_there_are_no_formulae(learner: str, run: Any) -> None:
    """Each component steps with the gradient of its loss."""
    made = run(learner)
    kept: dict[str, Any] = {}
    for name, component in made.agent.components.items():
        # what a batch is, from an update; then the step is taken alone
        written = type(component).analytic_gradient

        def note(batch: Any, name: str = name, component: Any = component, written: Any = written):
            kept[name] = batch
            return written(component, batch)

        component.analytic_gradient = note
    made.learn(0)
    assert set(kept) == {"actor", "critic"}
    for name, component in made.agent.components.items():
        assert analytic_gradient(component, kept[name]) is None
        if learner == "sac":
            continue  # a draw of its policy serves one step
        state = torch.get_rng_state()
        own = [p for p in component.module.parameters() if p.requires_grad]
        expected = torch.autograd.grad(component.loss(kept[name]), own)
        torch.set_rng_state(state)
        gradient_step(component, kept[name])
        for parameter, gradient in zip(own, expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("method", METHODS.names())
def test_every_method_learns_with_them_or_refuses(method: str, run: Any) -> None:
    learner = "bc" if find_refusal(METHODS, method, AGENTS, "bc") is None else "classifier"
    if method == "den":
        with pytest.raises(UserError, match="den adds units one by one"):
            run(learner, method)
        return
    made = run(learner, method)
    fresh = made.parameters()
    for task_id in range(2):
        made.learn(task_id)
    assert made.parameters().isfinite().all() and not torch.equal(made.parameters(), fresh)


@pytest.mark.parametrize("learner", ["sac", "td3", "ppo"])
def test_a_saved_agent_has_them_again(learner: str, run: Any, tmp_path: Path) -> None:
    made = run(learner)
    made.learn(0)
    made.agent.save(tmp_path / "agent.zip")
    again = getattr(agents, learner.upper()).load(tmp_path / "agent.zip")
    assert all(isinstance(each.activation, CReLU) for each in networks(again))
    shown = np.eye(6, dtype=np.float32)[-2:]
    assert np.array_equal(again.act(shown), made.agent.act(shown))


def test_other_values_are_refused(run: Any) -> None:
    with pytest.raises(UserError, match=r"'relu', 'tanh' or 'crelu'"):
        run("bc", activation="relux")
    with pytest.raises(UserError, match=r"true or false or 'every'"):
        run("td3", layer_norm="first")
