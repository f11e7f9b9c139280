"""The expert of push: take the puck between the open fingers from behind and drive it ahead."""

from __future__ import annotations

import numpy as np

from lifelong_rl.envs.arm.observation import State, distance
from lifelong_rl.envs.experts.motion import OPEN, from_above, toward, where
from lifelong_rl.envs.robot import Array
from lifelong_rl.registry import EXPERTS

BEHIND = np.array([-0.048, 0.0, 0.006])
"""Where the hand pushes from, from the puck's middle: both open fingers touch the rim, m."""
GAP = 0.025
"""Distance behind that at which the hand comes down, m."""
CLEARANCE = 0.045
"""Height above a pushing hand at which one passes over the puck, m."""
NEAR = 0.04
"""Distance along x from there within which a hand may push, m."""
LOW = 0.02
"""Height above there below which a hand may push, m."""
ASIDE = 0.03
"""Distance along y from there within which a hand may push, m."""
LEAD = 0.045
"""How far a pushing hand aims ahead of its place behind the puck, m."""
AHEAD = np.array([1.0, 0.0, 0.0])
"""The direction ahead."""


@EXPERTS.register("push")
def push(state: State) -> Array:
    """Return the expert's actions, (n, 4).

    The two fingers hold the puck in the middle between them, so it follows wherever the hand goes
    that is not too far from straight ahead.
    """
    contact = state.object + BEHIND
    off = state.hand - contact
    ready = (np.abs(off[:, 0]) < NEAR) & (np.abs(off[:, 1]) < ASIDE) & (off[:, 2] < LOW)

    start = contact - GAP * AHEAD
    approach = from_above(state, start, CLEARANCE, radius=0.5 * GAP)
    way = state.goal - state.object
    share = np.minimum(1.0, LEAD / np.maximum(distance(state.goal, state.object), LEAD))
    lead = way * share[:, None]
    return toward(state, where(ready, contact + lead, approach), OPEN)
