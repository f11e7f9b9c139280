"""Why an agent forgets or stops learning: what its gradients and features look like."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor

from lifelong_rl.continual.memory import draw_rows
from lifelong_rl.learning import Agent, Batch, Component, StateTree
from lifelong_rl.learning.parameters import flatten, loss_gradient, trainable
from lifelong_rl.learning.seeding import preserved_generators
from lifelong_rl.networks.features import dormant_share, recorded_features, srank

ROWS = 256
"""Rows that everything is measured on: of the current task, and of each old one."""


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
            For each component, under "COMPONENT/": "weight_norm" and "gradient_norm" (2-norms over
            the parameters that are learned), "dormant_units" and "srank" (see
            `lifelong_rl.networks.features`), and "gradient_cosine/TASK" for each old task, see
            `gradient_cosine`.
        """
        found: dict[str, float] = {}
        with preserved_generators():
            rows = _draw(agent)
            if rows is None:
                return {}  # an on-policy learner's first rollout may not be complete yet
            for name, component in agent.components.items():
                measured = self._measure_component(component, rows)
                found |= {f"{name}/{quantity}": value for quantity, value in measured.items()}
        return found

    def end_task(self, label: str, agent: Agent) -> None:
        """Keep rows of a task that ends, while its data is there."""
        with preserved_generators():
            rows = _draw(agent)
        if rows is not None:
            self._old[label] = rows

    def state_dict(self) -> StateTree:
        """The rows that are kept."""
        return dict(self._old)

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict`."""
        self._old = {label: dict(rows) for label, rows in state.items()}

    def _measure_component(self, component: Component, rows: Batch) -> dict[str, float]:
        gradient = flatten(loss_gradient(component, rows))
        found: dict[str, float] = {
            "weight_norm": float(flatten(trainable(component)).norm().detach()),
            "gradient_norm": float(gradient.norm()),
        }
        with torch.no_grad(), recorded_features(component.module) as features:
            component.predict(rows)
        if features:
            shares = [dormant_share(of_layer) for of_layer in features]
            found["dormant_units"] = sum(shares) / len(shares)
            found["srank"] = srank(features[-1])
        if component.replayable:
            for label, old in self._old.items():
                other = flatten(loss_gradient(component, old))
                found[f"gradient_cosine/{label}"] = gradient_cosine(gradient, other)
        return found


def _draw(agent: Agent) -> Batch | None:
    """Rows of the agent's current task; None if there are none, or nothing to measure on them."""
    if not agent.components or not hasattr(agent, "task_data"):
        return None
    data = agent.task_data()
    first = next(data, None)
    return None if first is None else draw_rows(chain([first], data), ROWS)


def gradient_cosine(first: Tensor, second: Tensor) -> float:
    """Cosine of the angle between two gradients (p,): below 0 one task's step undoes the other's.

    0 where one of them is zero, as that of an old task whose parameters are frozen.
    """
    norms = float(first.norm() * second.norm())
    return float(first @ second) / norms if norms > 0 else 0.0
