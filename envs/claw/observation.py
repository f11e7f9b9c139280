"""The one observation layout that all claw tasks share.

The entries are scaled to about ±1 and clipped to ±`lifelong_rl.envs.robot.LIMIT`; finger by finger,
joints go swing, shoulder, knee:

===== ================================================== ====== =============================
index entry                                              unit   scaled as
===== ================================================== ====== =============================
0-8   joint positions                                    rad    (value - HOME) / JOINT_SCALE
9-10  cosine and sine of the valve's angle               1      value
11-19 last action (zeros at the start)                   1      value
20    target angle - valve's angle, in [-π, π]           rad    value / π
===== ================================================== ====== =============================

The last action is what the servos were last told to aim at. The valve's angle counts about the
vertical from where its stripe starts. A `lifelong_rl.envs.sequences.Sequence` appends the task's
one-hot after entry 20.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lifelong_rl.envs.robot import Array, scaled

NUM_JOINTS = 9
"""Three fingers of three joints: swing, shoulder, knee."""
HOME = np.tile([0.0, 0.5, -1.0], 3)
"""The posture with the fingertips upright among the valve's lobes, rad."""
JOINT_SCALE = np.tile([0.6, 0.5, 0.6], 3)
"""How far an action of 1 takes each joint from home, rad."""

LAYOUT = {
    "joint_position": slice(0, 9),
    "valve_direction": slice(9, 11),
    "last_action": slice(11, 20),
    "error": slice(20, 21),
}
"""Where each entry of the layout lies."""
OBSERVATION_DIM = 21
"""Number of entries, without a sequence's one-hot."""

_OFFSET = np.zeros(OBSERVATION_DIM)
_SCALE = np.ones(OBSERVATION_DIM)
_OFFSET[LAYOUT["joint_position"]] = HOME
_SCALE[LAYOUT["joint_position"]] = JOINT_SCALE
_SCALE[LAYOUT["error"]] = np.pi


@dataclass(frozen=True)
class State:
    """What claw tasks see of ``n`` simulations, one row per simulation.

    Attributes:
        joints: joint positions, (n, 9), rad.
        joint_velocity: (n, 9), rad/s.
        valve: the valve's angle, (n,), rad; counts full turns.
        valve_direction: cosine and sine of that angle, (n, 2).
        last_action: the last action of the episode, zeros at its start, (n, 9).
        target: the angle to turn the valve to, (n,), rad.
    """

    joints: Array
    joint_velocity: Array
    valve: Array
    valve_direction: Array
    last_action: Array
    target: Array

    @property
    def error(self) -> Array:
        """The way from the valve's angle to the target, the shorter way round, (n,), rad."""
        return wrapped(self.target - self.valve)


def wrapped(angle: Array) -> Array:
    """Return angles less the full turns in them, within [-π, π], rad."""
    remainder: Array = angle - 2.0 * np.pi * np.rint(angle / (2.0 * np.pi))
    return remainder


def norm(values: Array) -> Array:
    """Return the Euclidean length of each row, (n, k) → (n,).

    The sum is taken column by column so that its order, and with it every bit of the result,
    does not depend on the number of rows.
    """
    total = values[:, 0] * values[:, 0]
    for column in range(1, values.shape[1]):
        total += values[:, column] * values[:, column]
    length: Array = np.sqrt(total)
    return length


def encode(state: State) -> npt.NDArray[np.float32]:
    """Write the states of n simulations as the scaled observation, (n, 21).

    Returns:
        A fresh array; NaN becomes 0 and every entry lies within ±`lifelong_rl.envs.robot.LIMIT`.
    """
    out = np.empty((len(state.joints), OBSERVATION_DIM))
    out[:, LAYOUT["joint_position"]] = state.joints
    out[:, LAYOUT["valve_direction"]] = state.valve_direction
    out[:, LAYOUT["last_action"]] = state.last_action
    out[:, 20] = state.error
    return scaled(out, _OFFSET, _SCALE)
