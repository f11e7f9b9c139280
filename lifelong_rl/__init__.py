"""Continual reinforcement learning on MuJoCo manipulation, next to its supervised twin."""

__version__ = "0.1.0"
