"""Why an agent forgets or stops learning: what its gradients, features and weights look like."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor
from torch.distributions import Distribution

from lifelong_rl.continual.memory import draw_rows
from lifelong_rl.learning import Agent, Batch, Component, StateTree
from lifelong_rl.learning.parameters import flatten, loss_gradient, trainable
from lifelong_rl.learning.protocols import ParamDict
from lifelong_rl.learning.rows import take_rows
from lifelong_rl.learning.seeding import preserved_generators
from lifelong_rl.networks import MultiHeadMLP
from lifelong_rl.networks.curvature import gradient_products, recorded_calls, spectrum
from lifelong_rl.networks.features import (
    dormant_share,
    evaluated_networks,
    recorded_features,
    srank,
    srank_of,
)
from lifelong_rl.networks.weights import stable_rank, weight_magnitude
from lifelong_rl.runs.churn import measure_churn

ROWS = 256
"""Rows that everything is measured on: of the current task, and of each old one."""
CURVATURE_ROWS = 128
"""Of them, those whose gradients are told apart."""


class Diagnostics:
    """Looks at an agent's components while they learn, and changes nothing.

    A sample of each task's data is kept for it, beside whatever the method keeps. What an agent
    without data or without components does not have is left out.
    """

    def __init__(self) -> None:
        self._old: dict[str, Batch] = {}

    def measure(self, agent: Agent) -> dict[str, float]:
        """Everything of every component, on the current task's data so far.

        Returns:
            For each component, under "COMPONENT/", what docs/metrics.md lists.
        """
        found: dict[str, float] = {}
        with preserved_generators():
            rows = _draw(agent, 2 * ROWS)
            if rows is None:
                return {}  # an on-policy learner's first rollout may not be complete yet
            count = len(next(iter(rows.values())))
            order = torch.randperm(count)  # few rows stand in the order of time
            measured, held, others = (
                take_rows(rows, part)
                for part in (order[:ROWS], order[: count // 2], order[count // 2 :])
            )
            for name, component in agent.components.items():
                quantities = self._measure_component(component, measured)
                quantities |= measure_curvature(component, take_rows(rows, order[:CURVATURE_ROWS]))
                if count > 1 and (churn := measure_churn(component, held, others)) is not None:
                    quantities["churn"] = churn
                found |= {f"{name}/{quantity}": value for quantity, value in quantities.items()}
        return found

    def end_task(self, label: str, agent: Agent) -> None:
        """Keep rows of a task that ends, while its data is there."""
        with preserved_generators():
            rows = _draw(agent, ROWS)
        if rows is not None:
            self._old[label] = rows

    def state_dict(self) -> StateTree:
        """The rows that are kept."""
        return dict(self._old)

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict`."""
        self._old = {label: dict(rows) for label, rows in state.items()}

    def _measure_component(self, component: Component, rows: Batch) -> dict[str, float]:
        gradients = loss_gradient(component, rows)
        gradient = flatten(gradients)
        found: dict[str, float] = {
            "weight_norm": float(flatten(trainable(component)).norm().detach()),
            "gradient_norm": float(gradient.norm()),
        }
        module = component.module
        with torch.no_grad(), recorded_features(module) as features:
            with evaluated_networks(module) as networks:
                component.predict(rows)
            if features:
                shares = [dormant_share(of_layer) for of_layer in features]
                found["dormant_units"] = sum(shares) / len(shares)
                found["srank"] = srank(features[-1])
                for depth, share in enumerate(shares, 1):
                    found[f"dormant_units/layer_{depth}"] = share
                found |= measure_layers(networks[-1], component, gradients, rows)
        if component.replayable:
            for label, old in self._old.items():
                other = flatten(loss_gradient(component, old))
                found[f"gradient_cosine/{label}"] = gradient_cosine(gradient, other)
        return found


@torch.no_grad()
def measure_layers(
    network: MultiHeadMLP, component: Component, gradients: ParamDict, rows: Batch
) -> dict[str, float]:
    """What the layers of a network are like, each under "QUANTITY/LAYER".

    Layers are called "layer_1", "layer_2" and so on, and "head", of which only the outputs of the
    rows' tasks are looked at.

    Args:
        network: One of the component's.
        component: Names the parameters.
        gradients: By these names.
        rows: Of the current task.
    """
    found: dict[str, float] = {}
    layers = {f"layer_{depth}": layer for depth, layer in enumerate(network.hidden_layers, 1)}
    names = {id(parameter): name for name, parameter in component.module.named_parameters()}
    for label, layer in {**layers, "head": network.heads}.items():
        weight: Tensor = layer.weight
        if label == "head":
            if network.spec.num_tasks > 1 and "task" in rows:
                parts = [network.rows_of_head(task) for task in sorted(set(rows["task"].tolist()))]
                weight = torch.cat([weight[:, part] for part in parts], dim=1)
        else:
            found[f"stable_rank/{label}"] = stable_rank(weight)
        found[f"weight_magnitude/{label}"] = weight_magnitude(weight)
        own = [gradients.get(names.get(id(each), "")) for each in layer.parameters()]
        squares = [gradient.square().sum() for gradient in own if gradient is not None]
        found[f"gradient_norm/{label}"] = float(sum(squares)) ** 0.5
    return found


def measure_curvature(component: Component, rows: Batch) -> dict[str, float]:
    """How strongly, and in how many directions, a component's predictions depend on its weights.

    "curvature" is the largest eigenvalue of the Fisher information of the predictions,
    F = (1/n) Σ_i g_i g_iᵀ with g_i = ∂ log p(y_i|x_i) / ∂θ and y_i drawn from the prediction, and
    "curvature_rank" is the srank of F: at most as many as there are rows.

    Returns:
        Nothing where there are no such layers, or what is predicted is no distribution.
    """
    n = len(next(iter(rows.values())))
    with torch.enable_grad(), recorded_calls(component.module) as calls:
        prediction = component.predict(rows)
    if not isinstance(prediction, Distribution):
        return {}
    if not calls or any(call.inputs.shape[1] != n for call in calls):
        return {}
    total = prediction.log_prob(prediction.sample()).sum()
    values = spectrum(gradient_products(calls, total))
    return {
        "curvature": float(values[0]),
        "curvature_rank": float(srank_of(values.unsqueeze(0))),
    }


def _draw(agent: Agent, count: int) -> Batch | None:
    """Rows of the agent's current task; None if there are none, or nothing to measure on them."""
    if not agent.components or not hasattr(agent, "task_data"):
        return None
    data = agent.task_data()
    first = next(data, None)
    return None if first is None else draw_rows(chain([first], data), count)


def gradient_cosine(first: Tensor, second: Tensor) -> float:
    """Cosine of the angle between two gradients (p,): below 0 one task's step undoes the other's.

    0 where one of them is zero, as that of an old task whose parameters are frozen.
    """
    norms = float(first.norm() * second.norm())
    return float(first @ second) / norms if norms > 0 else 0.0
