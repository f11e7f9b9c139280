"""Learners: Stable-Baselines3's algorithms with every gradient step open to continual methods."""

from agents.ppo import PPO
from agents.sac import SAC
from agents.td3 import TD3

__all__ = ["PPO", "SAC", "TD3"]
