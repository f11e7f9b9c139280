"""Diagnostics: right on what is known, and without any effect on the run."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lifelong_rl.networks import MultiHeadMLP, NetworkSpec
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.diagnostics import Diagnostics, gradient_cosine
from lifelong_rl.runs.loop import SequenceLoop
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.runs.setup import prepare
from lifelong_rl.runs.update_cost import UpdateCost
from lifelong_rl.storage.metrics_log import LAYOUT
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.objectives import make
from lifelong_rl.vision.pretrain import measure


class Tug:
    """Pulls one parameter vector towards each task's target: gradients are known by hand."""

    name, role, inputs, replayable = "policy", "policy", ("target",), True

    def __init__(self) -> None:
        self.module = nn.Linear(2, 1, bias=False)
        nn.init.zeros_(self.module.weight)

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        return (self.module.weight - batch["target"]).square().sum(dim=1).mean()

    def predict(self, batch: dict[str, Tensor]) -> Any:
        return self.module(batch["target"])


class TugAgent:
    def __init__(self) -> None:
        self.components = {"policy": Tug()}
        self.target = torch.zeros(0, 2)

    def task_data(self, batch_size: int = 1024) -> Any:
        if len(self.target):
            yield {"target": self.target.clone()}


def test_norms_and_cosines_of_known_gradients() -> None:
    agent: Any = TugAgent()
    diagnostics = Diagnostics()
    assert diagnostics.measure(agent) == {}  # no data yet

    agent.target = torch.tensor([[3.0, 0.0]])
    assert diagnostics.measure(agent) == {"policy/weight_norm": 0.0, "policy/gradient_norm": 6.0}
    diagnostics.end_task("east", agent)
    agent.target = torch.tensor([[0.0, 2.0]])
    diagnostics.end_task("north", agent)

    agent.target = torch.tensor([[-1.0, 1.0]])
    found = diagnostics.measure(agent)
    assert found["policy/gradient_cosine/east"] == pytest.approx(-(0.5**0.5))
    assert found["policy/gradient_cosine/north"] == pytest.approx(0.5**0.5)

    again = Diagnostics()
    again.load_state_dict(diagnostics.state_dict())
    assert again.measure(agent) == found


class HiddenTug(Tug):
    """With a hidden layer, so that there are features."""

    def __init__(self) -> None:
        self.module = MultiHeadMLP(NetworkSpec(input_dim=2, hidden=(8,), outputs=(1,)))

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        return self.predict(batch).square().mean()


def test_the_ranks_of_runs_and_of_encoders_have_names_of_their_own() -> None:
    """Charts show `srank` under what runs of earlier versions called it, too."""
    agent: Any = TugAgent()
    agent.components = {"policy": HiddenTug()}
    agent.target = torch.randn(20, 2)
    of_runs = {name.partition("/")[2] for name in Diagnostics().measure(agent)}
    images = torch.randint(256, (8, 1, 3, 32, 32), dtype=torch.uint8)
    count = np.arange(8)
    metadata = {"tasks": ["a"], "cameras": ["c"], "policies": ["p"]}
    frames = Frames(images.numpy(), count, count, count, count, {}, metadata)
    of_encoders = set(measure(1.0, 1.0, make("simclr", frames), images[:, 0]))
    assert "srank" in of_runs and "effective_rank" in of_encoders
    assert not of_runs & of_encoders
    patterns = LAYOUT["why it forgets"]["plasticity: srank"]
    for name in ("srank", "effective_rank"):
        assert any(re.fullmatch(pattern, f"diagnostics/policy/{name}") for pattern in patterns)


def test_no_cosine_where_old_rows_mean_nothing() -> None:
    agent: Any = TugAgent()
    agent.target = torch.ones(1, 2)
    agent.components["policy"].replayable = False
    diagnostics = Diagnostics()
    diagnostics.end_task("east", agent)
    assert set(diagnostics.measure(agent)) == {"policy/weight_norm", "policy/gradient_norm"}


def test_a_frozen_task_is_not_interfered_with() -> None:
    assert gradient_cosine(torch.ones(3), torch.zeros(3)) == 0.0


class TwoTugs(Tug):
    """Each task has a vector of its own, of which the first is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.ModuleList([nn.Linear(2, 1, bias=False) for _ in range(2)])
        self.module[0].requires_grad_(False)

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        own = self.module[int(batch["target"][0, 0] < 0)]
        return (own.weight - batch["target"]).square().sum(dim=1).mean()

    def predict(self, batch: dict[str, Tensor]) -> Any:
        return self.module[0](batch["target"])


def test_a_loss_of_frozen_parameters_has_no_gradient() -> None:
    agent: Any = TugAgent()
    agent.components = {"policy": TwoTugs()}
    diagnostics = Diagnostics()
    agent.target = torch.tensor([[1.0, 0.0]])
    diagnostics.end_task("frozen", agent)
    agent.target = torch.tensor([[-1.0, 0.0]])
    found = diagnostics.measure(agent)
    assert found["policy/gradient_norm"] > 0
    assert found["policy/gradient_cosine/frozen"] == 0.0


SMALL: dict[str, dict[str, Any]] = {
    "sac": {"learning_starts": 128, "batch_size": 64},
    "ppo": {"rollout_steps": 32, "batch_size": 64},
    "classifier": {},
}


@pytest.mark.parametrize("agent", SMALL)
def test_measuring_changes_nothing(
    agent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RunConfig(
        sequence="split-digits" if agent == "classifier" else "reach,push",
        agent=agent,
        method="replay" if agent != "ppo" else "ewc",
        steps_per_task=256,
        num_envs=1 if agent == "classifier" else 4,
        eval_episodes=2,
        eval_points=3,
        num_threads=1,
        agent_options=SMALL[agent],
    )
    with_all = final_state(config, tmp_path / "measured")
    monkeypatch.setattr(UpdateCost, "measure", lambda self: None)
    without = final_state(dataclasses.replace(config, diagnostics=False), tmp_path / "plain")
    assert {"policy/weight_norm"} <= {name.replace("actor", "policy") for name in with_all[1]} or (
        agent == "classifier" and "classifier/weight_norm" in with_all[1]
    )
    assert without[1] == set()
    assert all(cost["ratio"] > 0 for cost in with_all[2])
    assert with_all[0].keys() == without[0].keys()
    for name, values in with_all[0].items():
        assert torch.equal(values, without[0][name]), name


def final_state(
    config: RunConfig, path: Path
) -> tuple[dict[str, Tensor], set[str], list[dict[str, float]]]:
    """The policy at the end of a run, the diagnostics it has logged, and its updates' cost."""
    setup = prepare(config)
    loop = SequenceLoop(setup)
    folder = RunFolder.create(path, setup.config)
    try:
        results = loop.run(folder)
    finally:
        folder.unlock()
    logged = {
        name.removeprefix("diagnostics/")
        for line in folder.metrics.read_text().splitlines()
        for name in json.loads(line)["values"]
        if name.startswith("diagnostics/")
    }
    agent: Any = loop._agent
    return agent.policy.state_dict(), logged, results["cost"]["updates"]
