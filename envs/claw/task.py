"""The claw's tasks: what they share, and how their episodes start."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import mujoco
import numpy as np
import numpy.typing as npt
from mujoco.batch import Batch

from lifelong_rl.envs.claw.kinematics import FINGER_ANGLES, fingertips
from lifelong_rl.envs.claw.observation import HOME, JOINT_SCALE, LAYOUT, NUM_JOINTS, State, encode
from lifelong_rl.envs.robot import Array, Marker, Robot
from lifelong_rl.envs.scenes import build_spec
from lifelong_rl.envs.task import Task

CONTROL_HZ = 25
"""Control steps per second."""
SUBSTEPS = 10
"""Physics steps of 4 ms in a control step."""
VALVE_POSITION = np.array([0.52, 0.0, 0.012])
"""Middle of the valve's dial, a marker's radius above it, m."""
TARGET_RADIUS = 0.118
"""Distance of the target's marker from the valve's axis, m."""
TARGET_SIZE = 0.01
"""Radius of that marker, m."""
TARGET_RGBA = (0.10, 0.75, 0.25, 1.0)
"""Its colour."""


@dataclass(frozen=True)
class Start:
    """How the episode of one row starts.

    Attributes:
        joints: joint positions, (9,), rad.
        valve: the valve's angle, rad.
        target: the angle to turn it to, rad.
    """

    joints: Array
    valve: float
    target: float


class ClawTask(Task[Start, State]):
    """One valve under the claw.

    The action of every claw task has nine entries in [-1, 1], one for each joint in the order of
    `lifelong_rl.envs.claw.observation`: the servo aims at ``HOME + JOINT_SCALE * action``.

    Attributes:
        shape: the valve's MJCF file is ``assets/valve_SHAPE.xml``.
    """

    expert_success = 0.9
    layout: ClassVar[Mapping[str, slice]] = LAYOUT
    proprioception = ("joint_position", "last_action")
    action_dim = NUM_JOINTS
    control_hz = CONTROL_HZ
    substeps = SUBSTEPS
    cameras: ClassVar[Mapping[str, str]] = {"front": "claw/front", "wrist": "claw/wrist"}
    shape: str

    def spec(self) -> mujoco.MjSpec:
        """Put the claw and the task's valve on the workbench."""
        valve = f"valve_{self.shape}"
        measured = (mujoco.mjtSensor.mjSENS_FRAMEXAXIS, f"{valve}/mark")
        return build_spec(("claw", valve), {"valve_direction": measured})

    def robot(self, batch: Batch) -> Claw:
        """Return the claw and the valve in a batch."""
        return Claw(batch, self)


class Claw(Robot[Start, State]):
    """The claw and a valve in every row of a batch.

    Attributes:
        last_action: the actions of the last control step, (n, 9).
        target: the angles to turn the valves to, (n,), rad.
    """

    def __init__(self, batch: Batch, task: ClawTask) -> None:
        """Bind the arrays of a batch of the task's model."""
        self.last_action: Array = np.zeros((batch.nsim, NUM_JOINTS))
        self.target: Array = np.zeros(batch.nsim)
        qpos = batch.bind("qpos")
        self._joints, self._valve = qpos[:, :NUM_JOINTS], qpos[:, NUM_JOINTS]
        self._joint_velocity = batch.bind("qvel")[:, :NUM_JOINTS]
        self._direction = batch.bind("sensordata")[:, :2]
        self._ctrl = batch.bind("ctrl")
        self._stripe = batch.model.geom(f"valve_{task.shape}/stripe").pos

    def command(self, actions: Array) -> None:
        """Turn actions, (n, 9), into joint targets."""
        self.last_action[:] = actions
        self._ctrl[:] = HOME + JOINT_SCALE * actions

    def place(self, ids: npt.NDArray[np.int64], starts: Sequence[Start]) -> None:
        """Put fingers and valves of some rows where their episodes start, at rest."""
        for row, start in zip(ids, starts, strict=True):
            self._joints[row] = start.joints
            self._valve[row] = start.valve
            self.target[row] = start.target
        self._ctrl[ids] = self._joints[ids]
        self.last_action[ids] = 0.0

    def state(self, rows: Any = slice(None)) -> State:
        """Return what tasks see of some rows."""
        return State(
            joints=self._joints[rows].copy(),
            joint_velocity=self._joint_velocity[rows].copy(),
            valve=self._valve[rows].copy(),
            valve_direction=self._direction[rows].copy(),
            last_action=self.last_action[rows].copy(),
            target=self.target[rows].copy(),
        )

    def memory(self) -> dict[str, Array]:
        """Return the last actions and the targets."""
        return {"last_action": self.last_action, "target": self.target}

    def encode(self, state: State) -> npt.NDArray[np.float32]:
        """Write states in the shared layout, (n, 21)."""
        return encode(state)

    def labels(self) -> dict[str, Array]:
        """Return where the claw and the valve are.

        ``hand`` is the middle of the fingertips and ``object`` the point on the rim of the dial
        that the valve's stripe points at, (n, 3), m; ``angle`` is cosine and sine of the valve's
        angle, (n, 2), and ``joints`` are the fingers', (n, 9), rad.
        """
        joints = self._joints.copy()
        angle, radius, height = fingertips(joints)
        angle += FINGER_ANGLES
        tips = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=2)
        axis = np.array([VALVE_POSITION[0], VALVE_POSITION[1], 0.0])
        return {
            "hand": axis + tips.mean(axis=1),
            "object": self._pointed_at(self._valve),
            "angle": np.stack([np.cos(self._valve), np.sin(self._valve)], axis=1),
            "joints": joints,
        }

    def markers(self, row: int) -> list[Marker]:
        """Draw a ball on the dial where the valve's stripe is to point."""
        place = self._pointed_at(self.target[row : row + 1])[0]
        return [Marker(place, TARGET_RGBA, radius=TARGET_SIZE)]

    def _pointed_at(self, angle: Array) -> Array:
        """Return where on the dial's rim the stripe points at some angles, (n,) → (n, 3), m."""
        angle = angle + math.atan2(self._stripe[1], self._stripe[0])
        way = np.stack([np.cos(angle), np.sin(angle), np.zeros(len(angle))], axis=1)
        return VALVE_POSITION + TARGET_RADIUS * way
