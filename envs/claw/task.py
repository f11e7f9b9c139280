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

from envs.claw.observation import HOME, JOINT_SCALE, LAYOUT, NUM_JOINTS, State, encode
from envs.robot import Array, Marker, Robot
from envs.scenes import build_model
from envs.task import Task

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
    `envs.claw.observation`: the servo aims at ``HOME + JOINT_SCALE * action``.

    Attributes:
        shape: the valve's MJCF file is ``assets/valve_SHAPE.xml``.
    """

    expert_success = 0.9
    layout: ClassVar[Mapping[str, slice]] = LAYOUT
    action_dim = NUM_JOINTS
    control_hz = CONTROL_HZ
    substeps = SUBSTEPS
    cameras: ClassVar[Mapping[str, str]] = {"front": "claw/front", "wrist": "claw/wrist"}
    shape: str

    def model(self) -> mujoco.MjModel:
        """Compile the workbench with the claw and the task's valve."""
        valve = f"valve_{self.shape}"
        measured = (mujoco.mjtSensor.mjSENS_FRAMEXAXIS, f"{valve}/mark")
        return build_model(("claw", valve), {"valve_direction": measured})

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

    def encode(self, state: State) -> npt.NDArray[np.float32]:
        """Write states in the shared layout, (n, 21)."""
        return encode(state)

    def markers(self, row: int) -> list[Marker]:
        """Draw a ball on the dial where the valve's stripe is to point."""
        angle = math.atan2(self._stripe[1], self._stripe[0]) + float(self.target[row])
        place = TARGET_RADIUS * np.array([math.cos(angle), math.sin(angle), 0.0])
        return [Marker(VALVE_POSITION + place, TARGET_RGBA, radius=TARGET_SIZE)]
