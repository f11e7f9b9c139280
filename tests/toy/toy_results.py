"""What `results.json` holds after a run of three tasks in which nothing was learned."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

TASKS = ("left", "right", "up")
METRICS = (
    "average_performance",
    "learned_performance",
    "forgetting",
    "backward_transfer",
    "forward_transfer",
    "retention",
)


def make_results(**changes: Any) -> dict[str, Any]:
    return {
        "sequence": "toy3",
        "tasks": list(TASKS),
        "task_versions": dict.fromkeys(TASKS, "v0"),
        "agent": "toy",
        "agent_options": {},
        "method": "finetune",
        "method_options": {},
        "seed": 0,
        "performance_matrix": [[0.0] * 3] * 4,
        "success_curves": {task: {"steps": [0, 240], "success": [0.0, 0.0]} for task in TASKS},
        "metrics": dict.fromkeys(METRICS, 0.0),
        "cost": {
            "parameters": 1,
            "memory_bytes": 0,
            "seconds_per_task": [{"task": task, "learn": 20.0} for task in TASKS],
            "seconds": 60.0,
        },
        "budget": {"steps_per_task": 240, "num_envs": 4, "eval_episodes": 6, "eval_points": 4},
        "diverged": {"training": 0, "evaluation": 0},
        "versions": {"mujoco": version("mujoco")},
        **changes,
    }
