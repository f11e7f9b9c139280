"""Returns of Gymnasium's MuJoCo tasks that are scored 0 and 1."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ScoreRange:
    """Two returns of a task.

    Attributes:
        low: what random actions return on average; `scripts/score_ranges.py` measures it.
        high: what a learner is known to reach.
        source: who says so.
    """

    low: float
    high: float
    source: str


_THRESHOLD = "reward_threshold of Gymnasium"
_ZOO = "RL Baselines3 Zoo, benchmark.md: {} after {}, {}"

SCORE_RANGES: dict[str, ScoreRange] = {
    "Reacher-v5": ScoreRange(-42.9, -3.75, _THRESHOLD),
    "Pusher-v5": ScoreRange(-148.5, -22.45, "CleanRL, docs: SAC after 1 M steps, Pusher-v4"),
    "InvertedPendulum-v5": ScoreRange(5.6, 950, _THRESHOLD),
    "InvertedDoublePendulum-v5": ScoreRange(50.1, 9100, _THRESHOLD),
    "HalfCheetah-v5": ScoreRange(-281, 9656, _ZOO.format("TD3", "1 M steps", "HalfCheetah-v3")),
    "Hopper-v5": ScoreRange(17, 3606, _ZOO.format("TD3", "1 M steps", "Hopper-v3")),
    "Swimmer-v5": ScoreRange(3.2, 359, _ZOO.format("TD3", "1 M steps", "Swimmer-v3")),
    "Walker2d-v5": ScoreRange(1.9, 4718, _ZOO.format("TD3", "1 M steps", "Walker2d-v3")),
    "Ant-v5": ScoreRange(-78, 5813, _ZOO.format("TD3", "1 M steps", "Ant-v3")),
    "Humanoid-v5": ScoreRange(110, 6232, _ZOO.format("SAC", "2 M steps", "Humanoid-v3")),
    "HumanoidStandup-v5": ScoreRange(
        33500, 164634, "model card ppo-HumanoidStandup-v2-4091961953 of RL Baselines3 Zoo"
    ),
}
"""By id; they hold for the environment as it is made without arguments and wrappers."""
