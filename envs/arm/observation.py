"""The one observation layout that all arm tasks share.

Every task observes the hand, one object and a goal; what the object and the goal are, its
docstring says. The entries are scaled to about ±1 and clipped to ±`lifelong_rl.envs.robot.LIMIT`:

===== ================================================== =========== ==========================
index entry                                              unit        scaled as
===== ================================================== =========== ==========================
0-2   hand position x, y, z (point between fingertips)   m           (value - CENTRE) / 0.2
3     gripper opening                                    m           0 closed → -1, 0.08 open to 1
4-6   hand velocity x, y, z                              m/s         value / 0.5
7-9   object position x, y, z                            m           (value - CENTRE) / 0.2
10-12 object's own x axis, in the world                  unit vector value
13    object's joint coordinate (0: it has no joint)     m or rad    value / the task's range
14-16 object velocity x, y, z                            m/s         value / 0.5
17-19 goal position x, y, z                              m           (value - CENTRE) / 0.2
20-22 object position - hand position                    m           value / 0.1
23-25 goal position - object position                    m           value / 0.1
===== ================================================== =========== ==========================

The world's x axis points from the arm's base over the table, y to the arm's left, z up; the
table's surface is z = 0. A `lifelong_rl.envs.sequences.Sequence` appends the task's one-hot after
entry 25.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lifelong_rl.envs.robot import Array, scaled

CENTRE = np.array([0.5, 0.0, 0.2])
"""Middle of the workspace, m."""
POSITION_SCALE = 0.2
"""m."""
DIFFERENCE_SCALE = 0.1
"""m."""
VELOCITY_SCALE = 0.5
"""m/s."""
MAX_OPENING = 0.08
"""Distance between the pads of the open gripper, m."""

SLICES = {
    "hand_position": slice(0, 3),
    "gripper_opening": slice(3, 4),
    "hand_velocity": slice(4, 7),
    "object_position": slice(7, 10),
    "object_axis": slice(10, 13),
    "object_joint": slice(13, 14),
    "object_velocity": slice(14, 17),
    "goal_position": slice(17, 20),
    "object_minus_hand": slice(20, 23),
    "goal_minus_object": slice(23, 26),
}
"""Where each entry of the layout lies."""
OBSERVATION_DIM = 26
"""Number of entries, without a sequence's one-hot."""

_OFFSET = np.zeros(OBSERVATION_DIM)
_SCALE = np.ones(OBSERVATION_DIM)
for _name in ("hand_position", "object_position", "goal_position"):
    _OFFSET[SLICES[_name]] = CENTRE
    _SCALE[SLICES[_name]] = POSITION_SCALE
for _name in ("hand_velocity", "object_velocity"):
    _SCALE[SLICES[_name]] = VELOCITY_SCALE
for _name in ("object_minus_hand", "goal_minus_object"):
    _SCALE[SLICES[_name]] = DIFFERENCE_SCALE
_OFFSET[SLICES["gripper_opening"]] = _SCALE[SLICES["gripper_opening"]] = MAX_OPENING / 2


@dataclass(frozen=True)
class State:
    """What tasks see of ``n`` simulations: named arrays in SI units, one row per simulation.

    Attributes:
        hand: hand position, (n, 3), m.
        hand_velocity: (n, 3), m/s.
        opening: gripper opening, (n,), m.
        object: object position, (n, 3), m.
        object_axis: the object's unit x axis, (n, 3).
        object_velocity: (n, 3), m/s.
        joint: the object's joint coordinate, (n,), m or rad; 0 where it has none.
        goal: goal position, (n, 3), m.
    """

    hand: Array
    hand_velocity: Array
    opening: Array
    object: Array
    object_axis: Array
    object_velocity: Array
    joint: Array
    goal: Array


def distance(a: Array, b: Array) -> Array:
    """Return the Euclidean distance between points, (n, 3) and (n, 3) → (n,).

    The sum is written out so that its order, and with it every bit of the result, does not
    depend on the number of rows.
    """
    d = a - b
    return np.sqrt(d[:, 0] * d[:, 0] + d[:, 1] * d[:, 1] + d[:, 2] * d[:, 2])


def encode(state: State, joint_range: float) -> npt.NDArray[np.float32]:
    """Write the states of n simulations as the scaled observation, (n, 26).

    Args:
        state: the states.
        joint_range: the joint coordinate that is written as 1, m or rad.

    Returns:
        A fresh array; NaN becomes 0 and every entry lies within ±`lifelong_rl.envs.robot.LIMIT`.
    """
    out = np.empty((len(state.hand), OBSERVATION_DIM))
    out[:, 0:3] = state.hand
    out[:, 3] = state.opening
    out[:, 4:7] = state.hand_velocity
    out[:, 7:10] = state.object
    out[:, 10:13] = state.object_axis
    out[:, 13] = state.joint / joint_range
    out[:, 14:17] = state.object_velocity
    out[:, 17:20] = state.goal
    out[:, 20:23] = state.object - state.hand
    out[:, 23:26] = state.goal - state.object
    return scaled(out, _OFFSET, _SCALE)
