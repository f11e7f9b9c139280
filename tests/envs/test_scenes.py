"""The models: published figures of the arm, and that contact does the work."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.tasks import get_task

# a Franka-class arm's published joint limits, rad, and link masses, kg
LIMITS = [
    (-2.8973, 2.8973),
    (-1.7628, 1.7628),
    (-2.8973, 2.8973),
    (-3.0718, -0.0698),
    (-2.8973, 2.8973),
    (-0.0175, 3.7525),
    (-2.8973, 2.8973),
]
MASSES = [4.970684, 0.646926, 3.228604, 3.587895, 1.225946, 1.666555, 0.735522]


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    """The bare workbench with the arm."""
    return get_task("reach").model()


def test_joint_limits_and_masses_are_the_published_ones(model: mujoco.MjModel) -> None:
    for i, (limits, mass) in enumerate(zip(LIMITS, MASSES, strict=True), start=1):
        np.testing.assert_allclose(model.joint(f"arm/joint{i}").range, limits)
        assert model.body(f"arm/link{i}").mass[0] == pytest.approx(mass)
        assert model.body_gravcomp[model.body(f"arm/link{i}").id] == 1.0


def test_forward_kinematics_match_the_published_dh_parameters(model: mujoco.MjModel) -> None:
    """Modified Denavit-Hartenberg parameters (a, alpha, d), with the flange and the hand."""
    dh = [
        (0.0, 0.0, 0.333),
        (0.0, -np.pi / 2, 0.0),
        (0.0, np.pi / 2, 0.316),
        (0.0825, np.pi / 2, 0.0),
        (-0.0825, -np.pi / 2, 0.384),
        (0.0, np.pi / 2, 0.0),
        (0.088, np.pi / 2, 0.0),
    ]
    q = np.array([0.3, -0.4, 0.2, -2.0, 0.5, 1.7, 0.6])
    pose = np.eye(4)
    for (a, alpha, d), theta in zip(dh, q, strict=True):
        ca, sa, ct, st = np.cos(alpha), np.sin(alpha), np.cos(theta), np.sin(theta)
        pose = pose @ np.array(
            [
                [ct, -st, 0, a],
                [st * ca, ct * ca, -sa, -d * sa],
                [st * sa, ct * sa, ca, d * ca],
                [0, 0, 0, 1],
            ]
        )
    expected = pose @ [0, 0, 0.107 + 0.1034, 1]
    data = mujoco.MjData(model)
    data.qpos[:7] = q
    mujoco.mj_kinematics(model, data)
    np.testing.assert_allclose(data.site("arm/hand").xpos, expected[:3], atol=1e-6)


def test_the_drawer_opens_only_by_its_handle() -> None:
    """Hooking the bar opens the drawer; the same motion beside the handle does not."""
    opened = {}
    back = np.array([-0.03, 0.0, 0.0])
    for sideways in (0.0, 0.17):
        env = BatchEnv(get_task("drawer-open"), 4)
        env.seed(0)
        env.reset()
        handle = env.state().object + np.array([0.028, sideways, 0.0])
        for t in range(40):
            above, down = handle + np.array([0, 0, 0.08]), handle + np.array([0, 0, -0.01])
            target = above if t < 10 else down if t < 18 else env.state().hand + back
            way = np.clip((target - env.state().hand) / 0.06, -1, 1)
            step = env.step(np.column_stack([way, -np.ones(4)]))
        opened[sideways] = env.state().joint
        assert step.success.all() == (sideways == 0.0)
    assert (opened[0.0] > 0.1).all()
    assert (np.abs(opened[0.17]) < 0.003).all()


def test_the_button_needs_closed_fingers_and_springs_back() -> None:
    pressed = {}
    for gripper in (-1.0, 1.0):
        env = BatchEnv(get_task("button-press"), 4)
        env.seed(0)
        env.reset()
        for t in range(30):
            above = np.where(t < 12, 0.05, -0.03)
            target = env.state().object + np.array([0, 0, 1.0]) * above
            way = np.clip((target - env.state().hand) / 0.06, -1, 1)
            env.step(np.column_stack([way, np.full(4, gripper)]))
        pressed[gripper] = env.state().joint
    assert (pressed[-1.0] > 0.022).all()
    assert (pressed[1.0] < 0.015).all()
    for _ in range(15):
        env.step(np.tile([0, 0, 1, -1.0], (4, 1)))
    assert np.abs(env.state().joint).max() < 1e-3
