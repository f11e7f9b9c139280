"""The hand goes where it is asked to, pointing down."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from lifelong_rl.envs.arm.controller import STEP, WORKSPACE_HIGH, WORKSPACE_LOW
from lifelong_rl.envs.arm.observation import MAX_OPENING
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.tasks import get_task


@pytest.fixture
def env() -> BatchEnv:
    """Sixteen arms in free space."""
    env = BatchEnv(get_task("reach"), 16)
    env.seed(0)
    env.reset()
    return env


def tilt(env: BatchEnv) -> float:
    """Return the largest angle of any hand from pointing straight down unturned, in degrees."""
    site = env.batch.model.site("arm/hand").id
    xmat = env.batch.bind("site_xmat")[:, site].reshape(-1, 3, 3)
    cosine = (np.trace(xmat @ np.diag([1.0, -1.0, -1.0]), axis1=1, axis2=2) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).max())


def test_hand_reaches_and_holds_points_in_free_space(env: BatchEnv) -> None:
    targets = np.random.default_rng(1).uniform([0.4, -0.25, 0.08], [0.62, 0.25, 0.35], (16, 3))
    for _ in range(30):
        way = (targets - env.state().hand) / STEP
        env.step(np.column_stack([np.clip(way, -1, 1), np.zeros(16)]))
    assert np.linalg.norm(env.state().hand - targets, axis=1).max() < 0.002
    assert np.abs(env.state().hand_velocity).max() < 0.01
    assert tilt(env) < 0.5


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_full_action_moves_the_hand_three_centimetres(
    env: BatchEnv, axis: int, sign: float
) -> None:
    env.robot._controller.place(
        np.arange(16), np.tile([0.48, 0.0, 0.22], (16, 1)), np.full(16, 0.04)
    )
    env.batch.forward(stage=mujoco.mjtStage.mjSTAGE_VEL.value)
    action = np.zeros((16, 4))
    action[:, axis] = sign
    env.step(action)
    before = env.state().hand
    env.step(action)
    moved = env.state().hand - before
    assert (moved[:, axis] * sign > 0.03).all()
    assert np.abs(np.delete(moved, axis, axis=1)).max() < 0.008
    assert tilt(env) < 6.0


def test_jacobian_is_the_one_of_batch_jac(env: BatchEnv) -> None:
    for _ in range(3):
        env.step(np.random.default_rng(0).uniform(-1, 1, (16, 4)))
    mine = env.robot._controller.jacobian(slice(None))
    jacp, jacr = env.batch.jac(env.batch.model.body("arm/hand").id, env.state().hand)
    expected = np.concatenate([jacp, jacr], axis=1)[:, :, :7]
    np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-14)


def test_orientation_is_kept_under_random_actions(env: BatchEnv) -> None:
    rng = np.random.default_rng(0)
    worst = 0.0
    for _ in range(40):
        env.step(rng.uniform(-1, 1, (16, 4)))
        worst = max(worst, tilt(env))
    assert worst < 10.0


def test_gripper_opens_and_closes(env: BatchEnv) -> None:
    for command, opening in ((1.0, MAX_OPENING), (-1.0, 0.0), (0.0, MAX_OPENING / 2)):
        for _ in range(10):
            env.step(np.tile([0.0, 0.0, 0.0, command], (16, 1)))
        assert np.abs(env.state().opening - opening).max() < 0.003


def test_hand_stays_in_the_workspace_and_joints_within_limits(env: BatchEnv) -> None:
    limits = env.batch.model.jnt_range[:7]
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)] * 2, float)
    for _ in range(40):
        env.step(np.column_stack([corners, np.ones(16)]))
        ctrl = env.batch.bind("ctrl")[:, :7]
        assert (ctrl >= limits[:, 0]).all()
        assert (ctrl <= limits[:, 1]).all()
    hand = env.state().hand
    assert (hand > WORKSPACE_LOW - 0.005).all()
    assert (hand < WORKSPACE_HIGH + 0.005).all()
    expected = np.where(corners > 0, WORKSPACE_HIGH, WORKSPACE_LOW)
    assert np.linalg.norm(hand - expected, axis=1).max() < 0.02


def test_nothing_is_remembered_between_steps(env: BatchEnv) -> None:
    """The same state and action lead to the same next state, whatever came before."""
    for _ in range(5):
        env.step(np.ones((16, 4)))
    state = env.batch.state.copy()
    a = env.step(np.full((16, 4), 0.3)).observation
    env.reset()
    env.step(-np.ones((16, 4)))
    env.batch.state[:] = state
    env.batch.forward(stage=mujoco.mjtStage.mjSTAGE_VEL.value)
    env.robot.goal[:] = 0
    b = env.step(np.full((16, 4), 0.3)).observation
    np.testing.assert_allclose(a[:, :17], b[:, :17], atol=1e-6)
