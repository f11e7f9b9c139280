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
from torch.distributions import Independent, Normal

from lifelong_rl.networks import MultiHeadMLP, NetworkSpec
from lifelong_rl.networks.expandable import ExpandableMLP
from lifelong_rl.runs.churn import BATCH, UPDATES
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.diagnostics import (
    CURVATURE_ROWS,
    ROWS,
    Diagnostics,
    gradient_cosine,
    measure_curvature,
    measure_layers,
)
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

    def __init__(self, **shape: Any) -> None:
        spec = {"input_dim": 2, "hidden": (8,), "outputs": (1,), **shape}
        self.module = MultiHeadMLP(NetworkSpec(**spec))
        self.optimizer = torch.optim.SGD(self.module.parameters(), lr=0.1)

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        return self.predict(batch).mean.square().mean()

    def predict(self, batch: dict[str, Tensor]) -> Any:
        outputs = self.module(batch["target"], batch.get("task"))[0]
        return Independent(Normal(outputs, 1.0), 1)


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


def test_layers_by_hand() -> None:
    """Two rows of task 1, whose head is the second; 2 h of the first unit, none of the others."""
    component: Any = HiddenTug(hidden=(3,), num_tasks=2)
    layer, heads = component.module.hidden[0], component.module.heads
    with torch.no_grad():
        for values in (layer.weight, layer.bias, heads.weight, heads.bias):
            values.zero_()
        layer.weight[0, 0, 0] = 2.0
        layer.weight[0, 1, 1] = -1.0  # silent on these rows
        heads.weight[0, 0] = 100.0  # that of another task
        heads.weight[0, 1, 0] = 3.0
    rows = {"target": torch.tensor([[1.0, 0.0], [2.0, 0.0]]), "task": torch.tensor([1, 1])}
    component.loss(rows).backward()
    gradients = {name: value.grad for name, value in component.module.named_parameters()}
    found = measure_layers(component.module, component, gradients, rows)
    # outputs 6 and 12, so slopes of the mean square 6 and 12; by unit 0, of which 2 and 4 is read,
    # its head's weight and bias, and three times as much by its own weight and bias
    assert found == pytest.approx(
        {
            "stable_rank/layer_1": (4 + 1) / 4,
            "weight_magnitude/layer_1": 3 / 6,
            "weight_magnitude/head": 1.0,
            "gradient_norm/layer_1": 3 * ((6 + 24) ** 2 + (6 + 12) ** 2) ** 0.5,
            "gradient_norm/head": ((12 + 48) ** 2 + (6 + 12) ** 2) ** 0.5,
        }
    )
    agent: Any = TugAgent()
    agent.components = {"policy": component}
    agent.task_data = lambda: iter([rows])
    measured = Diagnostics().measure(agent)
    assert {name: measured[f"policy/{name}"] for name in found} == pytest.approx(found)
    for name in ("dormant_units", "dormant_units/layer_1"):
        assert measured[f"policy/{name}"] == pytest.approx(2 / 3)
    of_layers = [value for name, value in found.items() if name.startswith("gradient_norm")]
    assert measured["policy/gradient_norm"] == pytest.approx(sum(v * v for v in of_layers) ** 0.5)
    assert measured["policy/churn"] > 0


def test_the_curvature_of_a_linear_model() -> None:
    """F is the mean of ε² (x, 1)(x, 1)ᵀ with ε standard normal: 2 on rows where x is 1."""
    component: Any = HiddenTug(hidden=(), input_dim=1)
    torch.manual_seed(0)
    found = measure_curvature(component, {"target": torch.ones(4000, 1)})
    assert found["curvature"] == pytest.approx(2, rel=0.1)
    assert found["curvature_rank"] == 1
    signs = torch.tensor([[1.0], [-1.0]]).repeat(2000, 1)
    found = measure_curvature(component, {"target": signs})
    assert found["curvature"] == pytest.approx(1, rel=0.1)  # the half of it for x, and for 1
    assert found["curvature_rank"] == 2


def test_few_rows_are_enough_and_many_are_sampled() -> None:
    seen: list[int] = []
    predicted: list[int] = []

    class Counting(HiddenTug):
        def predict(self, batch: dict[str, Tensor]) -> Any:
            predicted.append(len(batch["target"]))
            return super().predict(batch)

        def loss(self, batch: dict[str, Tensor]) -> Tensor:
            seen.append(len(batch["target"]))
            return super().loss(batch)

    agent: Any = TugAgent()
    agent.components = {"policy": Counting()}
    agent.target = torch.randn(1, 2)
    assert "policy/churn" not in Diagnostics().measure(agent)  # nothing is held out
    agent.target = torch.randn(2, 2)
    assert "policy/churn" in Diagnostics().measure(agent)
    agent.target = torch.randn(3000, 2)
    seen.clear(), predicted.clear()
    Diagnostics().measure(agent)
    assert seen == [ROWS, *[BATCH] * UPDATES]
    assert predicted[:3] == [ROWS, ROWS, CURVATURE_ROWS]


def test_a_network_whose_layers_are_not_evaluated_as_such_has_what_needs_none() -> None:
    component: Any = HiddenTug()
    spec = NetworkSpec(input_dim=2, hidden=(8,), outputs=(1,), num_tasks=2)
    component.module = ExpandableMLP(spec, growth=2)
    component.optimizer = torch.optim.SGD(component.module.parameters(), lr=0.1)
    agent: Any = TugAgent()
    agent.components = {"policy": component}
    rows = {"target": torch.randn(20, 2), "task": torch.zeros(20, dtype=torch.int64)}
    agent.task_data = lambda: iter([rows])
    found = Diagnostics().measure(agent)
    assert set(found) == {"policy/weight_norm", "policy/gradient_norm", "policy/churn"}


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
    learner = "classifier" if agent == "classifier" else "policy" if agent == "ppo" else "critic"
    for quantity in (
        *(f"dormant_units/layer_{depth}" for depth in (1, 2)),
        *(f"stable_rank/layer_{depth}" for depth in (1, 2)),
        *(f"weight_magnitude/{layer}" for layer in ("layer_1", "layer_2", "head")),
        *(f"gradient_norm/{layer}" for layer in ("layer_1", "layer_2", "head")),
        *("churn", "curvature", "curvature_rank", "dormant_units", "srank"),
    ):
        assert f"{learner}/{quantity}" in with_all[1]
        name = f"diagnostics/{learner}/{quantity}"
        assert any(
            re.fullmatch(pattern, name)
            for group in LAYOUT.values()
            for patterns in group.values()
            for pattern in patterns
        ), name
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
