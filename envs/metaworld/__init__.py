"""Meta-World's tasks, and the sequences of Continual World made of them.

Needs Meta-World itself, which one command installs (``make metaworld``, see docs/metaworld.md);
nothing here imports it before an environment is made.
"""

from __future__ import annotations

from lifelong_rl.envs.metaworld.env import MetaWorldEnv
from lifelong_rl.envs.metaworld.task import MetaWorldTask

__all__ = ["MetaWorldEnv", "MetaWorldTask"]
