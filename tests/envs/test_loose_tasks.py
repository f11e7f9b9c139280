"""The tasks with loose objects, push, pick-place and peg-unplug, and their experts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import mujoco
import numpy as np
import pytest

from lifelong_rl.envs.arm.observation import MAX_OPENING, State
from lifelong_rl.envs.arm.task import ArmTask
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.experts.peg_unplug import peg_unplug
from lifelong_rl.envs.experts.pick_place import pick_place
from lifelong_rl.envs.experts.push import push
from lifelong_rl.envs.robot import Array
from lifelong_rl.envs.tasks.peg_unplug import HANDLE_WIDTH, PegUnplug
from lifelong_rl.envs.tasks.pick_place import KNOB_HEIGHT, KNOB_WIDTH, PickPlace
from lifelong_rl.envs.tasks.push import Push

TASKS: tuple[ArmTask, ...] = (Push(), PickPlace(), PegUnplug())
EXPERTS: dict[str, Any] = {"push": push, "pick-place": pick_place, "peg-unplug": peg_unplug}
BODIES = {"push": "puck/puck", "pick-place": "weight/weight", "peg-unplug": "peg/peg"}


@pytest.fixture(params=TASKS, ids=lambda task: task.name)
def task(request: pytest.FixtureRequest) -> ArmTask:
    """Each task in turn."""
    assert isinstance(request.param, ArmTask)
    return request.param


def started(task: ArmTask, num_envs: int, seed: int = 0) -> BatchEnv:
    """The task at the start of its episodes."""
    env = BatchEnv(task, num_envs)
    env.seed(seed)
    env.reset()
    return env


def made(
    objects: list[list[float]], hand: list[float], goal: list[float], opening: float = MAX_OPENING
) -> State:
    """States at rest that differ in where the object is."""
    n = len(objects)
    return State(
        hand=np.tile(hand, (n, 1)),
        hand_velocity=np.zeros((n, 3)),
        opening=np.full(n, opening),
        object=np.array(objects),
        object_axis=np.tile([1.0, 0.0, 0.0], (n, 1)),
        object_velocity=np.zeros((n, 3)),
        joint=np.zeros(n),
        goal=np.tile(goal, (n, 1)),
    )


def solved(env: BatchEnv, steps: int) -> np.ndarray:
    """Let the expert act; whether each row was solved at any step, (n,)."""
    success = np.zeros(env.num_envs, bool)
    for _ in range(steps):
        actions = EXPERTS[env.task.name](env.state())
        assert np.abs(actions).max() <= 1.0
        success |= env.step(actions).success
    return success


def test_objects_rest_at_the_start(task: ArmTask) -> None:
    """They neither drop nor jump nor creep, and touch nothing of the arm."""
    env = started(task, 16)
    before = env.state()
    assert not task.success(before).any()
    for row in range(env.num_envs):
        data = env.batch.get_data(row)
        mujoco.mj_forward(env.batch.model, data)
        geoms = data.contact.geom
        names = {env.batch.model.geom(geom).name for geom in geoms.ravel()}
        assert names  # the object stands on something
        assert not any(name.startswith("arm/") for name in names)
    gripper = 2.0 * before.opening / MAX_OPENING - 1.0
    for _ in range(10):
        env.step(np.column_stack([np.zeros((16, 3)), gripper]))
        assert np.abs(env.state().object - before.object).max() < 1e-5
        assert np.abs(env.state().object_velocity).max() < 1e-3


def test_starts_are_drawn_as_documented() -> None:
    state = started(Push(), 64).state()
    way = state.goal - state.object
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), 0.15, atol=1e-9)
    assert np.abs(np.arctan2(way[:, 1], way[:, 0])).max() < 0.3
    assert np.ptp(np.arctan2(way[:, 1], way[:, 0])) > 0.4
    state = started(PickPlace(), 64).state()
    assert (state.goal - state.object)[:, 2].min() > 0.08
    assert np.ptp(state.goal - state.object, axis=0) == pytest.approx([0.16, 0.20, 0.06], rel=0.2)
    state = started(PegUnplug(), 64).state()
    np.testing.assert_allclose(state.goal - state.object, [[0.0, 0.0, 0.06]] * 64, atol=1e-9)


def test_push_reward_and_success_at_hand_computed_states() -> None:
    goal = [0.60, 0.0, 0.016]
    state = made(
        [[0.45, 0.0, 0.016], [0.525, 0.0, 0.016], [0.45, 0.20, 0.016], [0.63, 0.0, 0.016]],
        hand=[0.40, 0.0, 0.028],
        goal=goal,
    )
    terms = Push().reward_terms(state)
    np.testing.assert_allclose(terms["push"], [0.0, 0.5, 0.0, 0.8], atol=1e-12)
    # in its place, 7.5 cm behind, 20 cm aside, 18 cm behind
    np.testing.assert_allclose(terms["behind"], [1.0, 0.4, 0.2, 1 / 4.6], atol=1e-12)
    near = made([[0.5701, 0.0, 0.016], [0.5699, 0.0, 0.016]], [0.5, 0.0, 0.03], goal)
    assert Push().success(near).tolist() == [True, False]


def test_pick_place_reward_and_success_at_hand_computed_states() -> None:
    low, high = KNOB_HEIGHT, KNOB_HEIGHT + 0.10
    goal = [0.5, 0.0, high]
    on_table = made([[0.5, 0.0, low]], [0.5, 0.0, low], goal)
    terms = PickPlace().reward_terms(on_table)
    assert {name: value[0] for name, value in terms.items()} == {
        "reach": 1.0,
        "grasp": 0.0,
        "lift": 0.0,
        "place": 0.0,
    }
    half = 0.5 * (MAX_OPENING + KNOB_WIDTH)
    held = made([[0.5, 0.0, low + 0.02], [0.5, 0.0, high]], [0.5, 0.0, high], goal, half)
    terms = PickPlace().reward_terms(held)
    np.testing.assert_allclose(terms["reach"], [1 / 2.6, 1.0])
    np.testing.assert_allclose(terms["grasp"], [0.0, 0.5], atol=1e-12)
    np.testing.assert_allclose(terms["lift"], [0.5, 1.0])
    np.testing.assert_allclose(terms["place"], [0.5 / (1 + 8 / 3), 1.0])
    slipped = replace(held, hand=held.object + np.array([0.0, 0.01875, 0.0]))
    np.testing.assert_allclose(PickPlace().reward_terms(slipped)["grasp"], 0.25)
    near = made([[0.5, 0.0299, high], [0.5, 0.0301, high]], [0.5, 0.0, high], goal)
    assert PickPlace().success(near).tolist() == [True, False]


def test_peg_unplug_reward_and_success_at_hand_computed_states() -> None:
    goal = [0.5, 0.0, 0.15]
    state = made(
        [[0.5, 0.0, 0.09], [0.5, 0.0, 0.12], [0.5, 0.0, 0.17]], [0.5, 0.0, 0.12], goal, HANDLE_WIDTH
    )
    terms = PegUnplug().reward_terms(state)
    np.testing.assert_allclose(terms["reach"], [1 / 1.6, 1.0, 0.5])
    np.testing.assert_allclose(terms["grasp"], [0.5, 1.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(terms["pull"], [0.0, 0.5, 1.0], atol=1e-12)
    near = made([[0.5, 0.0, 0.1499], [0.7, 0.1, 0.1501]], [0.5, 0.0, 0.1], goal)
    assert PegUnplug().success(near).tolist() == [False, True]


def corners(env: BatchEnv, geom: str) -> Array:
    """The corners of a box in every row, (n, 8, 3), m."""
    shape = env.batch.model.geom(geom)
    size = np.array(np.meshgrid(*[(-s, s) for s in shape.size])).reshape(3, 8)
    turn = env.batch.bind("geom_xmat")[:, shape.id].reshape(-1, 3, 3)
    place: Array = env.batch.bind("geom_xpos")[:, shape.id, None, :]
    return place + (turn @ size).transpose(0, 2, 1)


def test_a_peg_that_counts_as_unplugged_has_left_its_socket() -> None:
    env = started(PegUnplug(), 16)
    rim = 0.06  # height of the socket
    assert (corners(env, "peg/peg_shaft")[:, :, 2].min(axis=1) < 0.011).all()
    solved_before = np.zeros(16, bool)
    for _ in range(20):
        step = env.step(peg_unplug(env.state()))
        new = step.success & ~solved_before
        solved_before |= step.success
        assert (corners(env, "peg/peg_shaft")[new, :, 2] > rim).all()
    assert solved_before.all()


@pytest.mark.parametrize("name", ["pick-place", "peg-unplug"])
def test_a_grasp_holds_until_the_fingers_open(name: str) -> None:
    task = next(task for task in TASKS if task.name == name)
    env = started(task, 64)
    assert solved(env, 20).all()
    hold = np.tile([0.0, 0.0, 0.0, -1.0], (64, 1))
    for _ in range(5):  # let the hand come to a stop
        env.step(hold)
    held = env.state().object - env.state().hand
    for _ in range(30):
        env.step(hold)
    assert np.abs(env.state().object - env.state().hand - held).max() < 1e-3
    height = env.state().object[:, 2]
    for _ in range(8):
        env.step(np.tile([0.0, 0.0, 0.0, 1.0], (64, 1)))
    assert (env.state().object[:, 2] < height - 0.04).all()


@pytest.mark.parametrize("name", ["pick-place", "peg-unplug"])
def test_open_fingers_lift_nothing(name: str) -> None:
    """The expert's motions with open fingers leave the object where it is."""
    task = next(task for task in TASKS if task.name == name)
    env = started(task, 16)
    before = env.state().object
    for t in range(40):
        target = env.state().object + np.array([0.0, 0.0, 0.0 if t < 15 else 0.2])
        way = np.clip((target - env.state().hand) / 0.06, -0.7, 0.7)
        assert not env.step(np.column_stack([way, np.ones(16)])).success.any()
    assert np.abs(env.state().object - before)[:, 2].max() < 0.01


def test_the_puck_moves_only_when_the_hand_pushes_it() -> None:
    env = started(Push(), 16)
    before = env.state().object
    for _ in range(20):
        env.step(np.tile([0.7, 0.0, 0.7, 1.0], (16, 1)))  # over it
    assert np.abs(env.state().object - before).max() < 1e-3


def test_experts_solve_random_episodes(task: ArmTask) -> None:
    assert solved(started(task, 100, seed=3), task.horizon).mean() >= 0.95


def test_experts_act_alike_whatever_the_number_of_rows(task: ArmTask) -> None:
    """An expert is a function of each row's state alone."""
    env = started(task, 8)
    rng = np.random.default_rng(0)
    for _ in range(15):
        env.step(rng.uniform(-1.0, 1.0, (8, 4)))
    actions = EXPERTS[task.name](env.state())
    for row in range(8):
        np.testing.assert_array_equal(EXPERTS[task.name](env.state([row]))[0], actions[row])


def test_random_and_jerky_actions_neither_solve_nor_diverge(task: ArmTask) -> None:
    env = started(task, 64)
    rng = np.random.default_rng(0)
    success = np.zeros(64, bool)
    for _ in range(task.horizon):
        success |= env.step(rng.uniform(-1.0, 1.0, (64, 4))).success
    assert success.mean() <= 0.05
    env.reset()
    for t in range(task.horizon):
        if t % 5 == 0:
            actions = rng.choice([-1.0, 0.0, 1.0], (64, 4))
        env.step(actions - [0.0, 0.0, 0.3, 0.0])
    assert env.num_diverged == 0
    assert np.abs(env.state().object).max() < 1.5
