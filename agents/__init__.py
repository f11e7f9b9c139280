"""Learners: Stable-Baselines3's algorithms with every gradient step open to continual methods."""

from agents.sac import SAC

__all__ = ["SAC"]
