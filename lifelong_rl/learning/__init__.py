"""The protocols between learners and continual methods, and the gradient step they share."""

from lifelong_rl.learning.adam import Adam
from lifelong_rl.learning.gradient_step import gradient_step
from lifelong_rl.learning.protocols import (
    Agent,
    Batch,
    Component,
    Learner,
    Objective,
    ParamDict,
    Role,
    StateTree,
    StepRecord,
)
from lifelong_rl.learning.rows import split_batch, split_task
from lifelong_rl.learning.update_clock import UpdateClock

__all__ = [
    "Adam",
    "Agent",
    "Batch",
    "Component",
    "Learner",
    "Objective",
    "ParamDict",
    "Role",
    "StateTree",
    "StepRecord",
    "UpdateClock",
    "gradient_step",
    "split_batch",
    "split_task",
]
