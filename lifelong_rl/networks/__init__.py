"""Networks that know the task of each row."""

from lifelong_rl.networks.mlp import MultiHeadMLP
from lifelong_rl.networks.spec import NetworkSpec, TaskNetwork

__all__ = ["MultiHeadMLP", "NetworkSpec", "TaskNetwork"]
