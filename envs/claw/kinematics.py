"""The geometry of the claw's fingers: from joints to fingertips, and back.

A fingertip's place is written in polar coordinates about the valve's axis, the angle counted from
where its finger hangs; arrays are (n, 3), one column per finger.
"""

from __future__ import annotations

import numpy as np

from lifelong_rl.envs.robot import Array

FINGER_ANGLES = np.array([0.0, 2.0, 4.0]) * np.pi / 3.0
"""Where the fingers hang around the valve's axis, rad."""
BASE_RADIUS = 0.055
"""Distance of the fingers' bases from the valve's axis, m."""
BASE_HEIGHT = 0.17
"""Height of the fingers' bases above the table, m."""
LINK = 0.08
"""Length of thigh and of shin, m."""


def fingertips(joints: Array) -> tuple[Array, Array, Array]:
    """Return the fingertips' angles, rad, radii, m, and heights, m, (n, 3) each.

    Args:
        joints: (n, 9), rad; finger by finger swing, shoulder, knee.
    """
    swing, shoulder, knee = joints[:, 0::3], joints[:, 1::3], joints[:, 2::3]
    x = BASE_RADIUS + LINK * (np.sin(shoulder) + np.sin(shoulder + knee))
    length = LINK * (np.cos(shoulder) + np.cos(shoulder + knee))
    y = length * np.sin(swing)
    return np.arctan2(y, x), np.sqrt(x * x + y * y), BASE_HEIGHT - length * np.cos(swing)


def joints_for(angle: Array, radius: Array, height: Array) -> Array:
    """Return the joints that bring the fingertips to a place, (n, 9), rad.

    What lies out of reach is aimed at with a straight finger; joint limits are not minded.

    Args:
        angle: (n, 3), rad.
        radius: (n, 3), m.
        height: (n, 3), m.
    """
    x = radius * np.cos(angle) - BASE_RADIUS
    y = radius * np.sin(angle)
    z = BASE_HEIGHT - height
    length = np.sqrt(y * y + z * z)
    half_knee = np.arccos(np.minimum(np.sqrt(x * x + length * length) / (2.0 * LINK), 1.0))
    joints = np.empty((len(angle), 9))
    joints[:, 0::3] = np.arctan2(y, z)
    joints[:, 1::3] = np.arctan2(x, length) + half_knee
    joints[:, 2::3] = -2.0 * half_knee
    return joints
