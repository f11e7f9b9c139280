"""Learners with every gradient step open to continual methods.

SAC, TD3 and PPO are Stable-Baselines3's algorithms; BC, BCStream and Classifier are supervised
learners; OfflineRL is TD3+BC.
"""

from agents.bc import BC
from agents.bc_stream import BCStream
from agents.classifier import Classifier
from agents.offline_rl import OfflineRL
from agents.ppo import PPO
from agents.sac import SAC
from agents.td3 import TD3

__all__ = ["BC", "PPO", "SAC", "TD3", "BCStream", "Classifier", "OfflineRL"]
