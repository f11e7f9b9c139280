"""Learners with every gradient step open to continual methods.

SAC, TD3 and PPO are Stable-Baselines3's algorithms; BC, BCStream and Classifier are supervised
learners, and SemiSupervised is a Classifier that learns from rows without labels too; Regressor
learns numbers in place of classes; OfflineRL is TD3+BC.
"""

from lifelong_rl.agents.bc import BC
from lifelong_rl.agents.bc_stream import BCStream
from lifelong_rl.agents.classifier import Classifier
from lifelong_rl.agents.offline_rl import OfflineRL
from lifelong_rl.agents.ppo import PPO
from lifelong_rl.agents.regressor import Regressor
from lifelong_rl.agents.sac import SAC
from lifelong_rl.agents.semi_supervised import SemiSupervised
from lifelong_rl.agents.td3 import TD3

__all__ = [
    "BC",
    "PPO",
    "SAC",
    "TD3",
    "BCStream",
    "Classifier",
    "OfflineRL",
    "Regressor",
    "SemiSupervised",
]
