"""The regimes of learning, from the most supervised to the least: the agents and their data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Regime:
    """How an agent learns.

    Attributes:
        kind: "supervised" or "reinforcement".
        description: What its data and its targets are.
    """

    kind: str
    description: str


REGIMES = {
    "classifier": Regime("supervised", "labelled data"),
    "bc": Regime("supervised", "fixed data, fixed targets"),
    "bc-stream": Regime("supervised", "moving data, fixed targets"),
    "offline-rl": Regime("reinforcement", "fixed data, bootstrapped targets"),
    "sac": Regime("reinforcement", "moving data, bootstrapped targets"),
    "td3": Regime("reinforcement", "moving data, bootstrapped targets"),
    "ppo": Regime("reinforcement", "moving data, bootstrapped targets"),
}
"""By agent. From one rung of this ladder to the next the data or the targets change."""


def rung(agent: str) -> tuple[int, str]:
    """Where an agent comes on the ladder; agents of plug-ins come last, by name."""
    agents = list(REGIMES)
    return agents.index(agent) if agent in agents else len(agents), agent


def name_regime(agent: str, label: str) -> str:
    """Such as "supervised: bc".

    Args:
        agent: The agent.
        label: The agent as it is called where several variants of it are compared.
    """
    return f"{REGIMES[agent].kind}: {label}" if agent in REGIMES else label
