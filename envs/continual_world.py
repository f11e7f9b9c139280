"""Continual World's sequences of Meta-World tasks (Wolczyk et al. 2021)."""

from __future__ import annotations

CW10_TASKS = (
    "hammer-v3",
    "push-wall-v3",
    "faucet-close-v3",
    "push-back-v3",
    "stick-pull-v3",
    "handle-press-side-v3",
    "push-v3",
    "shelf-place-v3",
    "window-close-v3",
    "peg-unplug-side-v3",
)
"""In the order of the paper; CW20 is the ten twice."""
