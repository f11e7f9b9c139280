"""The arm's controller: from a hand displacement to joint targets.

The action of every arm task has four entries in [-1, 1]:

===== ========================================= =====================================
index entry                                     1 means
===== ========================================= =====================================
0-2   displacement of the hand along x, y, z    `STEP` metres from where the hand *is*
3     gripper opening                           open (-1: closed)
===== ========================================= =====================================

The displacement is relative to the measured hand, so the controller remembers nothing from one
control step to the next. The target point is clipped to the workspace; damped least squares over
the hands' Jacobians turn it, together with the hand's deviation from pointing straight down, into
joint targets; what redundancy is left pulls the arm towards its home posture, which ties the
elbow to the hand's position.
"""

from __future__ import annotations

import mujoco
import numpy as np
from mujoco.batch import Batch

from lifelong_rl.envs.arm.observation import MAX_OPENING
from lifelong_rl.envs.robot import Array, clip

ACTION_DIM = 4
"""Hand displacement along x, y and z, and gripper opening."""
CONTROL_HZ = 25
"""Control steps per second."""
SUBSTEPS = 10
"""Physics steps of 4 ms in a control step."""
STEP = 0.06
"""Distance of the servos' target for an action of 1, m; the hand then moves over 3 cm."""
WORKSPACE_LOW = np.array([0.30, -0.30, 0.02])
WORKSPACE_HIGH = np.array([0.70, 0.30, 0.40])
"""Corners of the box the hand's target is clipped to, m."""
NUM_JOINTS = 7
HOME = np.array([0.0, 0.26, 0.0, -2.27, 0.0, 2.53, 0.785])
"""The arm's posture with the hand over the middle of the table, rad."""
DAMPING_SQUARED = 0.02**2 * np.eye(6)
"""Square of the least squares' damping, 2 cm per radian."""
POSTURE_GAIN = 0.2
"""Share of the distance to the home posture taken back per control step within the null space."""
FINGER_MARGIN = 0.0005
"""Distance finger targets keep from the fingers' stops, m."""
POSE_ITERATIONS = 4
"""Gauss-Newton steps from home to a start pose; the hand ends within a millimetre."""


class HandController:
    """Inverse kinematics for all rows of a batch.

    Attributes:
        hand: live view of the hands' positions, (n, 3), m.
    """

    def __init__(self, batch: Batch) -> None:
        """Bind the arrays the controller reads and writes.

        Args:
            batch: simulations of a scene from `lifelong_rl.envs.scenes`.
        """
        model = batch.model
        site = model.site("arm/hand").id
        self._batch = batch
        self._qpos = batch.bind("qpos")[:, :NUM_JOINTS]
        self._fingers = batch.bind("qpos")[:, NUM_JOINTS : NUM_JOINTS + 2]
        self._ctrl = batch.bind("ctrl")
        self._xmat = batch.bind("site_xmat")[:, site]
        self._axis = batch.bind("xaxis")[:, :NUM_JOINTS]
        self._anchor = batch.bind("xanchor")[:, :NUM_JOINTS]
        self.hand = batch.bind("site_xpos")[:, site]
        limits = model.jnt_range[:NUM_JOINTS]
        self._low, self._high = limits[:, 0], limits[:, 1]

    def command(self, actions: Array) -> None:
        """Write the joint targets of one control step into ``ctrl``.

        Args:
            actions: (n, 4), in [-1, 1].
        """
        target = clip(self.hand + STEP * actions[:, :3], WORKSPACE_LOW, WORKSPACE_HIGH)
        self._ctrl[:, :NUM_JOINTS] = self._joint_targets(target)
        half = (0.25 * MAX_OPENING) * (actions[:, 3:4] + 1.0)
        self._ctrl[:, NUM_JOINTS:] = clip(half, FINGER_MARGIN, 0.5 * MAX_OPENING - FINGER_MARGIN)

    def place(self, ids: np.ndarray, target: Array, opening: Array) -> None:
        """Put the hands of some rows at given positions, at rest and with settled servos.

        Args:
            ids: the rows, sorted, (k,).
            target: hand positions, (k, 3), m.
            opening: gripper openings, (k,), m.
        """
        self._qpos[ids] = HOME
        self._fingers[ids] = 0.5 * opening[:, None]
        for _ in range(POSE_ITERATIONS):
            self._batch.forward(ids, stage=mujoco.mjtStage.mjSTAGE_POS.value)
            self._qpos[ids] = self._joint_targets(target, ids)
        self._ctrl[ids, :NUM_JOINTS] = self._qpos[ids]
        self._ctrl[ids, NUM_JOINTS:] = self._fingers[ids]

    def jacobian(self, rows: slice | np.ndarray) -> Array:
        """Return the hands' Jacobians over the arm's joints: translation, then rotation, (k, 6, 7).

        What ``Batch.jac`` returns, up to rounding, but taken from the joint axes and anchors that
        the last step has left: ``Batch.jac`` would compute the kinematics again and keep a
        persistent batch from continuing where it stopped.

        Args:
            rows: the rows.
        """
        axis, lever = self._axis[rows], self.hand[rows, None] - self._anchor[rows]
        jac = np.empty((len(axis), 6, NUM_JOINTS))
        jac[:, 0] = axis[:, :, 1] * lever[:, :, 2] - axis[:, :, 2] * lever[:, :, 1]
        jac[:, 1] = axis[:, :, 2] * lever[:, :, 0] - axis[:, :, 0] * lever[:, :, 2]
        jac[:, 2] = axis[:, :, 0] * lever[:, :, 1] - axis[:, :, 1] * lever[:, :, 0]
        jac[:, 3:] = axis.transpose(0, 2, 1)
        return jac

    def _joint_targets(self, target: Array, ids: np.ndarray | None = None) -> Array:
        """Return the joint positions that bring the hands of some rows to ``target``, (k, 7)."""
        rows = slice(None) if ids is None else ids
        hand, qpos = self.hand[rows], self._qpos[rows]
        jac = self.jacobian(rows)
        error = np.empty((len(hand), 6, 1))
        error[:, :3, 0] = target - hand
        error[:, 3:, 0] = _tilt(self._xmat[rows])
        posture = POSTURE_GAIN * (HOME - qpos)[:, :, None]
        transpose = jac.transpose(0, 2, 1)
        normal = jac @ transpose + DAMPING_SQUARED
        step = posture + transpose @ np.linalg.solve(normal, error - jac @ posture)
        return clip(qpos + step[:, :, 0], self._low, self._high)


def _tilt(xmat: Array) -> Array:
    """Return the small rotation that turns hands to point straight down, (n, 9) to (n, 3), rad.

    Half the sum of the cross products of the hand's axes with the axes wanted: x along the
    world's x, z down.
    """
    out = np.empty((len(xmat), 3))
    out[:, 0] = 0.5 * (xmat[:, 7] - xmat[:, 5])
    out[:, 1] = 0.5 * (xmat[:, 6] + xmat[:, 2])
    out[:, 2] = -0.5 * (xmat[:, 3] + xmat[:, 1])
    return out
