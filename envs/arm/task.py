"""The arm's tasks: what they share, and how their episodes start."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import mujoco
import numpy as np
import numpy.typing as npt
from mujoco.batch import Batch

from lifelong_rl.envs.arm.controller import (
    ACTION_DIM,
    CONTROL_HZ,
    NUM_JOINTS,
    SUBSTEPS,
    HandController,
)
from lifelong_rl.envs.arm.observation import SLICES, State, encode
from lifelong_rl.envs.robot import Array, Marker, Robot
from lifelong_rl.envs.scenes import Part, build_spec, own_files
from lifelong_rl.envs.task import Task

SENSORS = ("hand_position", "hand_velocity", "object_position", "object_axis", "object_velocity")
"""The sensors of every arm scene, three numbers each, in the order of ``sensordata``.

Positions in metres and velocities in metres per second, of the hand's site and of the task's
object site, in the world frame; ``object_axis`` is the object's unit x axis."""


@dataclass(frozen=True)
class Start:
    """How the episode of one row starts.

    Attributes:
        hand: hand position, (3,), m.
        goal: goal position, (3,), m.
        opening: gripper opening, m.
        fixture: position of the scene's mocap body, (3,), m; None where there is none.
        yaw: turn of that body about the vertical, rad.
        qpos: values of object joints that do not start at the model's default, by joint name.
    """

    hand: Array
    goal: Array
    opening: float = 0.04
    fixture: Array | None = None
    yaw: float = 0.0
    qpos: Mapping[str, Array | float] = field(default_factory=dict)


class ArmTask(Task[Start, State]):
    """One skill of the arm; its reward terms lie in [0, 1] and their weights sum to 1.

    Attributes:
        objects: the MJCF files the scene adds to the workbench and the arm: names of files in
            ``assets/``, or paths of one's own. What is in ``mug.xml`` is called ``mug/...``.
        object_site: the site observed as the task's object.
        object_joint: the joint observed as the object's joint coordinate, if there is one.
        joint_range: the joint coordinate observed as 1, m or rad.
        goal_rgba: colour of the goal's marker in pictures; None draws none.
        goal_size: radius of that marker, m.
    """

    expert_success = 0.95
    layout: ClassVar[Mapping[str, slice]] = SLICES
    proprioception = ("hand_position", "gripper_opening", "hand_velocity")
    action_dim = ACTION_DIM
    control_hz = CONTROL_HZ
    substeps = SUBSTEPS
    cameras: ClassVar[Mapping[str, str]] = {
        "front": "front",
        "wrist": "arm/wrist",
        "across": "across",
    }
    objects: ClassVar[tuple[Part, ...]] = ()
    object_site: ClassVar[str]
    object_joint: ClassVar[str | None] = None
    joint_range: ClassVar[float] = 1.0
    goal_rgba: ClassVar[tuple[float, float, float, float] | None] = None
    goal_size: ClassVar[float] = 0.02

    def spec(self) -> mujoco.MjSpec:
        """Put the arm and the task's objects on the workbench."""
        kinds = mujoco.mjtSensor
        measured = (
            (kinds.mjSENS_FRAMEPOS, "arm/hand"),
            (kinds.mjSENS_FRAMELINVEL, "arm/hand"),
            (kinds.mjSENS_FRAMEPOS, self.object_site),
            (kinds.mjSENS_FRAMEXAXIS, self.object_site),
            (kinds.mjSENS_FRAMELINVEL, self.object_site),
        )
        return build_spec(("arm", *self.objects), dict(zip(SENSORS, measured, strict=True)))

    def files(self) -> tuple[Path, ...]:
        """Return the objects that are files of one's own, and all that these name."""
        return own_files(self.objects)

    def robot(self, batch: Batch) -> Arm:
        """Return the arm and the task's objects in a batch."""
        return Arm(batch, self)

    @abstractmethod
    def reward_terms(self, state: State) -> dict[str, Array]:
        """Return each reward term before weighting, (n,) in [0, 1], by name."""


class Arm(Robot[Start, State]):
    """The arm and one task's objects in every row of a batch.

    Attributes:
        goal: goal positions, (n, 3), m.
    """

    def __init__(self, batch: Batch, task: ArmTask) -> None:
        """Bind the arrays of a batch of the task's model."""
        self.goal: Array = np.zeros((batch.nsim, 3))
        self._batch = batch
        self._task = task
        self._qpos: dict[str, Array] = {}
        self._controller = HandController(batch)
        self._mocap, self._mocap_quat = batch.bind("mocap_pos"), batch.bind("mocap_quat")
        self._sensors = batch.bind("sensordata")
        self._arm_joints = batch.bind("qpos")[:, :NUM_JOINTS]
        self._fingers = [batch.joint(f"arm/{side}_finger").qpos[:, 0] for side in ("left", "right")]
        self._joint = (
            np.zeros(batch.nsim)
            if task.object_joint is None
            else batch.joint(task.object_joint).qpos[:, 0]
        )

    def command(self, actions: Array) -> None:
        """Turn hand displacements and gripper openings, (n, 4), into joint targets."""
        self._controller.command(actions)

    def place(self, ids: npt.NDArray[np.int64], starts: Sequence[Start]) -> None:
        """Put goals, fixtures, objects and hands of some rows where their episodes start."""
        for row, start in zip(ids, starts, strict=True):
            self.goal[row] = start.goal
            if start.fixture is not None:
                self._mocap[row, 0] = start.fixture
                half = 0.5 * start.yaw
                self._mocap_quat[row, 0] = (math.cos(half), 0.0, 0.0, math.sin(half))
            for joint, value in start.qpos.items():
                self._qpos_of(joint)[row] = value
        self._controller.place(
            ids,
            np.array([start.hand for start in starts]).reshape(-1, 3),
            np.array([start.opening for start in starts]),
        )

    def _qpos_of(self, joint: str) -> Array:
        """Return a joint's live positions, looked up once: that takes longer than to write one."""
        if joint not in self._qpos:
            self._qpos[joint] = self._batch.joint(joint).qpos
        return self._qpos[joint]

    def state(self, rows: Any = slice(None)) -> State:
        """Return what tasks see of some rows."""
        sensors = self._sensors[rows].copy()
        left, right = self._fingers
        return State(
            hand=sensors[:, 0:3],
            hand_velocity=sensors[:, 3:6],
            opening=left[rows] + right[rows],
            object=sensors[:, 6:9],
            object_axis=sensors[:, 9:12],
            object_velocity=sensors[:, 12:15],
            joint=self._joint[rows].copy(),
            goal=self.goal[rows].copy(),
        )

    def memory(self) -> dict[str, Array]:
        """Return the goals."""
        return {"goal": self.goal}

    def encode(self, state: State) -> npt.NDArray[np.float32]:
        """Write states in the shared layout, (n, 26)."""
        return encode(state, self._task.joint_range)

    def labels(self) -> dict[str, Array]:
        """Return ``hand``, ``object`` and ``goal``, (n, 3), m, and ``joints``, (n, 7), rad."""
        state = self.state()
        return {
            "hand": state.hand,
            "object": state.object,
            "goal": state.goal,
            "joints": self._arm_joints.copy(),
        }

    def markers(self, row: int) -> list[Marker]:
        """Draw the goal, if the task gives it a colour."""
        rgba = self._task.goal_rgba
        return [] if rgba is None else [Marker(self.goal[row], rgba, self._task.goal_size)]
