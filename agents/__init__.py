"""Learners with every gradient step open to continual methods.

SAC, TD3 and PPO are Stable-Baselines3's algorithms; BC and Classifier are supervised learners.
"""

from agents.bc import BC
from agents.classifier import Classifier
from agents.ppo import PPO
from agents.sac import SAC
from agents.td3 import TD3

__all__ = ["BC", "PPO", "SAC", "TD3", "Classifier"]
