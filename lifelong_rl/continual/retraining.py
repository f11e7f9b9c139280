"""Training on when a task has ended, for a share of the steps that it took."""

from __future__ import annotations

from collections.abc import Mapping

from lifelong_rl.learning.protocols import Learner


def rehearse_share(learner: Learner, share: float, steps: Mapping[str, int]) -> None:
    """Rehearse until each component has done a share of its steps once more.

    A learner may step one component less often than another, as those with delayed actors do, so
    the steps are counted, not the updates. One that is stepped in every n-th update may end up to
    n − 1 steps short.

    Args:
        learner: Rehearses.
        share: Of the steps, rounded for each component.
        steps: What each component has done in the task; it counts on while the learner rehearses.
    """
    goals = {name: count + round(share * count) for name, count in steps.items()}
    done = -1
    while done != sum(steps.values()):  # else too few updates are missing to step anything
        done = sum(steps.values())
        missing = max((goal - steps[name] for name, goal in goals.items()), default=0)
        if missing > 0:
            learner.rehearse(missing)
