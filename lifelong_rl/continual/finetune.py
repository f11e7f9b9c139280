"""Fine-tuning: the sequence is learned with nothing done against forgetting."""

from __future__ import annotations

from lifelong_rl.learning.method import ContinualMethod


class Finetune(ContinualMethod):
    """Learn each task from where the last one ended; the lower reference of every table."""
