"""The trackers that a run can name."""

from __future__ import annotations

from collections.abc import Sequence

from lifelong_rl.runs.reporters import Reporter
from lifelong_rl.runs.wandb_tracker import WandbTracker


def make_trackers(names: Sequence[str]) -> dict[str, Reporter]:
    """The trackers of these names; TensorBoard's events are written with `metrics.jsonl`.

    Raises:
        UserError: What one of them needs is not installed.
    """
    found: dict[str, Reporter] = {}
    if "wandb" in names:
        found["wandb"] = WandbTracker()
    return found
