"""Drawer-close, door-open, faucet-turn and window-slide: geometry, success and reward."""

from __future__ import annotations

import math
from typing import Any

import mujoco
import numpy as np
import pytest

from lifelong_rl.envs.arm.observation import State
from lifelong_rl.envs.arm.task import ArmTask
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.tasks.door_open import DoorOpen
from lifelong_rl.envs.tasks.drawer_close import DrawerClose
from lifelong_rl.envs.tasks.faucet_turn import FaucetTurn
from lifelong_rl.envs.tasks.window_slide import WindowSlide

TASKS: tuple[ArmTask, ...] = (DrawerClose(), DoorOpen(), FaucetTurn(), WindowSlide())
# the joint coordinate in the goal, by how far it moves the handle along a line or an arc
SOLVED = {
    "drawer-close": 0.0,
    "door-open": math.pi / 3,
    "faucet-turn": math.radians(75.0),
    "window-slide": 0.12,
}
YAWS = {
    "drawer-close": (-0.25, 0.25),
    "door-open": (0.1, 0.5),
    "faucet-turn": (-0.5, 0.5),
    "window-slide": (0.2, 0.7),
}


@pytest.fixture(params=TASKS, ids=lambda task: task.name)
def env(request: pytest.FixtureRequest) -> BatchEnv:
    """Thirty-two starts of each task in turn."""
    env = BatchEnv(request.param, 32)
    env.seed(3)
    env.reset()
    return env


def set_joint(env: BatchEnv, value: float) -> State:
    """Move the object's joint in every row, and return the states."""
    assert isinstance(env.task, ArmTask)
    env.batch.joint(env.task.object_joint).qpos[:] = value
    env.batch.forward(stage=mujoco.mjtStage.mjSTAGE_VEL.value)
    state: State = env.state()
    return state


def made_state(**values: Any) -> State:
    """A single state by hand; what is not given is zero."""
    fields: dict[str, Any] = dict.fromkeys(
        ("hand", "hand_velocity", "object", "object_axis", "object_velocity", "goal"),
        np.zeros((1, 3)),
    )
    fields.update(opening=np.zeros(1), joint=np.zeros(1))
    fields.update({name: np.atleast_1d(value) for name, value in values.items()})
    return State(**fields)


def test_object_is_at_the_goal_where_the_joint_is_solved(env: BatchEnv) -> None:
    low, high = YAWS[env.task.name]
    quaternions = env.batch.bind("mocap_quat")[:, 0]
    yaws = 2.0 * np.arctan2(quaternions[:, 3], quaternions[:, 0])
    assert yaws.min() > low and yaws.max() < high
    assert np.ptp(yaws) > 0.8 * (high - low)
    state = set_joint(env, SOLVED[env.task.name])
    np.testing.assert_allclose(state.object, state.goal, rtol=0, atol=1e-12)


def test_object_starts_well_away_from_the_goal(env: BatchEnv) -> None:
    state = env.state()
    way = np.linalg.norm(state.goal - state.object, axis=1)
    # 14 to 17 cm of drawer, 60 degrees at 17 cm, 75 degrees at 11.5 cm, 12 cm of window
    low, high = {
        "drawer-close": (0.14, 0.17),
        "door-open": (2 * math.hypot(0.06, 0.16) * math.sin(math.pi / 6),) * 2,
        "faucet-turn": (2 * 0.115 * math.sin(math.radians(37.5)),) * 2,
        "window-slide": (0.12, 0.12),
    }[env.task.name]
    assert way.min() > low - 1e-9
    assert way.max() < high + 1e-9


def test_object_axis_leads_the_way_its_docstring_says(env: BatchEnv) -> None:
    """A small turn of the joint moves the object along its axis, or for the door, against it."""
    start = env.state()
    joint = float(start.joint[0])
    moved = set_joint(env, joint + 1e-6).object - set_joint(env, joint).object
    direction = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    cosine = (direction * set_joint(env, joint).object_axis).sum(axis=1)
    expected = {
        "drawer-close": -1.0,  # the joint opens, the axis points into the cabinet
        "door-open": -0.16 / math.hypot(0.06, 0.16),  # the handle is off the door's plane
        "faucet-turn": 1.0,
        "window-slide": 1.0,
    }[env.task.name]
    np.testing.assert_allclose(cosine, expected, atol=1e-5)


def test_starts_are_unsolved_and_free_of_contact(env: BatchEnv) -> None:
    assert not env.task.success(env.state()).any()
    for row in range(env.num_envs):
        data = env.batch.get_data(row)
        mujoco.mj_forward(env.batch.model, data)
        assert data.ncon == 0


def test_nothing_moves_the_object_but_contact(env: BatchEnv) -> None:
    before = env.state()
    up = np.tile([0.0, 0.0, 0.3, -1.0], (env.num_envs, 1))
    for _ in range(5):
        env.step(up)
    np.testing.assert_allclose(env.state().joint, before.joint, atol=1e-4)


def test_random_and_extreme_actions_never_diverge_nor_break_the_stops(env: BatchEnv) -> None:
    assert isinstance(env.task, ArmTask)
    rng = np.random.default_rng(0)
    low, high = env.batch.model.joint(env.task.object_joint).range
    for step in range(60):
        actions = rng.choice([-1.0, 1.0], (env.num_envs, 4))
        actions[:, 2] = -1.0 if step % 20 < 12 else 1.0
        env.step(actions)
        joint = env.state().joint
        assert joint.min() > low - 0.05 and joint.max() < high + 0.05
    assert env.num_diverged == 0


@pytest.mark.parametrize(
    ("task", "solved", "unsolved"),
    [
        (DrawerClose(), 0.0099, 0.0101),
        (DoorOpen(), math.radians(60.1), math.radians(59.9)),
        (FaucetTurn(), math.radians(75.1), math.radians(74.9)),
        (WindowSlide(), 0.1201, 0.1199),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_success_is_a_threshold_of_the_joint(task: ArmTask, solved: float, unsolved: float) -> None:
    state = made_state(joint=solved, object_axis=np.array([[1.0, 0.0, 0.0]]))
    assert task.success(state).tolist() == [True]
    state = made_state(joint=unsolved, object_axis=np.array([[1.0, 0.0, 0.0]]))
    assert task.success(state).tolist() == [False]


@pytest.mark.parametrize(
    ("task", "point", "progress", "joints"),
    [
        (DrawerClose(), (-0.03, 0.0, -0.01), "close", (0.17, 0.085, 0.0, 0.18)),
        (DoorOpen(), (0.025, 0.0, -0.010), "open", (0.0, math.pi / 6, math.pi / 3, -0.01)),
        (FaucetTurn(), (-0.03, 0.0, -0.008), "turn", (0.0, math.radians(37.5), 1.4, -0.01)),
        (WindowSlide(), (-0.03, 0.0, -0.008), "slide", (0.0, 0.06, 0.15, -0.002)),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_reward_terms_by_hand(
    task: ArmTask,
    point: tuple[float, float, float],
    progress: str,
    joints: tuple[float, float, float, float],
) -> None:
    (near,) = set(task.weights) - {progress}
    assert task.weights == {near: 0.3, progress: 0.7}
    # the axis along y: the point turns with it
    turned = np.array([0.5 - point[1], 0.1 + point[0], 0.2 + point[2]])
    for away, expected in ((0.0, 1.0), (0.05, 0.5), (0.15, 0.25)):
        state = made_state(
            hand=np.array([turned + np.array([0.0, 0.0, away])]),
            object=np.array([[0.5, 0.1, 0.2]]),
            object_axis=np.array([[0.0, 1.0, 0.0]]),
        )
        assert task.reward_terms(state)[near] == pytest.approx(expected)
    # nothing, half, all of the way, and beyond the start
    for joint, expected in zip(joints, (0.0, 0.5, 1.0, 0.0), strict=True):
        assert task.reward_terms(made_state(joint=joint))[progress] == pytest.approx(expected)
