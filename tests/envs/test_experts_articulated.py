"""Experts of reaching, pressing, and moving things on joints: they solve their tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lifelong_rl.envs.arm.observation import State
from lifelong_rl.envs.arm.task import ArmTask
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.experts.button_press import button_press
from lifelong_rl.envs.experts.door_open import door_open
from lifelong_rl.envs.experts.drawer_close import drawer_close
from lifelong_rl.envs.experts.drawer_open import drawer_open
from lifelong_rl.envs.experts.faucet_turn import faucet_turn
from lifelong_rl.envs.experts.motion import CLOSED, ahead, from_above, toward
from lifelong_rl.envs.experts.reach import reach
from lifelong_rl.envs.experts.window_slide import window_slide
from lifelong_rl.envs.robot import Array
from lifelong_rl.envs.tasks.button_press import ButtonPress
from lifelong_rl.envs.tasks.door_open import DoorOpen
from lifelong_rl.envs.tasks.drawer_close import DrawerClose
from lifelong_rl.envs.tasks.drawer_open import DrawerOpen
from lifelong_rl.envs.tasks.faucet_turn import FaucetTurn
from lifelong_rl.envs.tasks.reach import Reach
from lifelong_rl.envs.tasks.window_slide import WindowSlide

Expert = Callable[[State], Array]

EXPERTS: tuple[tuple[ArmTask, Expert], ...] = (
    (Reach(), reach),
    (DrawerOpen(), drawer_open),
    (ButtonPress(), button_press),
    (DrawerClose(), drawer_close),
    (DoorOpen(), door_open),
    (FaucetTurn(), faucet_turn),
    (WindowSlide(), window_slide),
)
every_expert = pytest.mark.parametrize(
    ("task", "expert"), EXPERTS, ids=[task.name for task, _ in EXPERTS]
)


def hands_at(*hands: tuple[float, float, float]) -> State:
    """States that differ in nothing but the hand; the object's x axis is the world's y axis."""
    n = len(hands)
    return State(
        hand=np.array(hands),
        hand_velocity=np.zeros((n, 3)),
        opening=np.zeros(n),
        object=np.tile([0.5, 0.0, 0.1], (n, 1)),
        object_axis=np.tile([0.0, 1.0, 0.0], (n, 1)),
        object_velocity=np.zeros((n, 3)),
        joint=np.zeros(n),
        goal=np.zeros((n, 3)),
    )


def run(env: BatchEnv, expert: Expert, steps: int) -> np.ndarray:
    """Follow the expert, and return which rows succeed at any step."""
    success = np.zeros(env.num_envs, bool)
    for _ in range(steps):
        actions = expert(env.state())
        assert actions.shape == (env.num_envs, 4)
        assert np.abs(actions).max() <= 1.0
        success |= env.step(actions).success
    return success


@every_expert
def test_expert_succeeds_and_comes_to_rest(task: ArmTask, expert: Expert) -> None:
    env = BatchEnv(task, 100)
    env.seed(17)
    env.reset()
    assert run(env, expert, 30).sum() >= 99  # well within an episode
    # it holds what it has done: no phase sends the hand away again
    assert task.success(env.state()).sum() >= 99
    assert np.median(np.linalg.norm(env.state().hand_velocity, axis=1)) < 0.05


@every_expert
def test_expert_recovers_from_where_another_policy_went(task: ArmTask, expert: Expert) -> None:
    env = BatchEnv(task, 50)
    env.seed(5)
    env.reset()
    rng = np.random.default_rng(0)
    drift = rng.uniform(-1.0, 1.0, (50, 4))
    for _ in range(12):
        env.step(np.clip(drift + rng.normal(0.0, 0.5, (50, 4)), -1.0, 1.0))
    lost = ~task.success(env.state())
    assert lost.sum() >= 40
    assert run(env, expert, 50)[lost].mean() >= 0.97


@every_expert
def test_expert_is_a_function_of_each_rows_state_alone(task: ArmTask, expert: Expert) -> None:
    env = BatchEnv(task, 8)
    env.seed(0)
    env.reset()
    for _ in range(6):
        env.step(expert(env.state()))
    whole = env.state()
    kept = {name: value.copy() for name, value in vars(whole).items()}
    actions = expert(whole)
    for row in (0, 5):
        np.testing.assert_allclose(expert(env.state([row]))[0], actions[row], atol=1e-12)
    for name, value in vars(whole).items():
        np.testing.assert_array_equal(value, kept[name])


def test_button_expert_waits_over_the_button_until_its_fingers_are_closed() -> None:
    state = replace(
        hands_at((0.5, 0.0, 0.15), (0.5, 0.0, 0.15)),
        opening=np.array([0.08, 0.01]),
        goal=np.tile([0.5, 0.0, 0.078], (2, 1)),
    )
    # 5 cm over the button is where it hovers
    expected = [[0.0, 0.0, 0.0, -1.0], [0.0, 0.0, -0.5, -1.0]]
    np.testing.assert_allclose(button_press(state), expected, atol=1e-12)


def test_toward_keeps_the_direction_and_slows_down_when_near() -> None:
    state = hands_at((0.5, 0.0, 0.1), (0.5, 0.0, 0.1), (0.5, 0.0, 0.1))
    target = state.hand + np.array([[0.012, 0.0, -0.006], [0.6, 0.3, 0.0], [0.0, 0.0, 0.0]])
    actions = toward(state, target, CLOSED, speed=0.5)
    # 1.2 cm is a fifth of the 6 cm that an action of 1 asks for
    expected = [[0.2, 0.0, -0.1, -1.0], [0.5, 0.25, 0.0, -1.0], [0.0, 0.0, 0.0, -1.0]]
    np.testing.assert_allclose(actions, expected, atol=1e-12)


def test_from_above_rises_then_crosses_then_comes_down() -> None:
    state = hands_at(
        (0.40, 0.0, 0.10),  # low and elsewhere: rise on the spot
        (0.40, 0.0, 0.16),  # high enough: cross over
        (0.505, 0.0, 0.16),  # over the target: come down
        (0.52, 0.0, 0.14),  # on the slope, 1 cm beyond the radius: 4 cm above the target
    )
    points = from_above(state, state.object, height=0.06, radius=0.01)
    expected = [[0.40, 0.0, 0.16], [0.5, 0.0, 0.16], [0.5, 0.0, 0.10], [0.5, 0.0, 0.14]]
    np.testing.assert_allclose(points, expected, atol=1e-12)


def test_ahead_is_the_distance_along_the_objects_axis() -> None:
    state = hands_at((0.7, 0.03, 0.3), (0.5, -0.02, 0.1))
    np.testing.assert_allclose(ahead(state), [0.03, -0.02], atol=1e-15)
