"""The claw: its reward, its observation, its kinematics, and the experts of the valves."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import mujoco
import numpy as np
import pytest

from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.claw.kinematics import FINGER_ANGLES, fingertips, joints_for
from lifelong_rl.envs.claw.observation import HOME, JOINT_SCALE, LAYOUT, OBSERVATION_DIM, State
from lifelong_rl.envs.experts import EXPERTS
from lifelong_rl.envs.tasks.valve import (
    HALF_TURN,
    MAX_SPEED,
    MORE_VALVES,
    RIGHT,
    SHAPES,
    VALVES,
    Valve,
)

TRI = VALVES[0]


def state(n: int = 1, **changes: Any) -> State:
    """Return n claws at home and at rest, their valves at 0, with half a turn to go."""
    rest = State(
        joints=np.tile(HOME, (n, 1)),
        joint_velocity=np.zeros((n, 9)),
        valve=np.zeros(n),
        valve_direction=np.tile([1.0, 0.0], (n, 1)),
        last_action=np.zeros((n, 9)),
        target=np.full(n, HALF_TURN),
    )
    return replace(rest, **changes)


def reward(claws: State) -> np.ndarray:
    """Return the weighted sum of the terms."""
    terms = TRI.reward_terms(claws)
    return np.sum([weight * terms[name] for name, weight in TRI.weights.items()], axis=0)


def run(env: BatchEnv, seed: int, steps: int = 40) -> dict[str, np.ndarray]:
    """Take random actions that are drawn per row, so that rows can be compared."""
    env.seed(seed)
    rngs = [np.random.default_rng([seed, row]) for row in range(env.num_envs)]
    observations, rewards, successes = [env.reset()], [], []
    for _ in range(steps):
        step = env.step(np.array([rng.uniform(-1.0, 1.0, 9) for rng in rngs]))
        observations.append(step.observation)
        rewards.append(step.reward)
        successes.append(step.success)
    return {
        "observations": np.array(observations),
        "rewards": np.array(rewards),
        "successes": np.array(successes),
    }


def test_there_are_ten_shapes_and_each_is_turned_two_ways() -> None:
    assert [valve.shape for valve in VALVES] == [valve.shape for valve in MORE_VALVES]
    assert len({valve.shape for valve in VALVES}) == 10
    assert {valve.target for valve in VALVES} == {HALF_TURN}
    assert {valve.target for valve in MORE_VALVES} == {RIGHT}
    everything = (*VALVES, *MORE_VALVES)
    assert len({valve.name for valve in everything}) == 20
    assert len({valve.description for valve in everything}) == 20
    assert VALVES[1].description == (
        "Turn a valve with four arms in a flat cross by half a turn, either way round."
    )
    assert MORE_VALVES[6].description == "Turn a square block 150 degrees clockwise."


def test_the_reward_at_rest_and_half_a_turn_away_is_minus_five_pi() -> None:
    np.testing.assert_allclose(reward(state()), [-5.0 * math.pi])


def test_the_reward_at_the_target_is_sixty() -> None:
    np.testing.assert_allclose(reward(state(valve=np.array([math.pi]))), [60.0])


def test_the_reward_by_hand() -> None:
    joints, velocity = np.tile(HOME, (1, 1)), np.zeros((1, 9))
    joints[0, [0, 4]] += [0.3, -0.4]  # 0.5 from home
    velocity[0, [1, 2, 8]] = [3.0, -4.0, 0.49]  # 5 rad/s; the last one counts as still
    claws = state(joints=joints, joint_velocity=velocity, valve=np.array([math.pi - 0.2]))
    np.testing.assert_allclose(reward(claws), [-5.0 * 0.2 - 0.5 - 5.0 + 10.0])


def test_a_joint_counts_as_moving_from_half_a_radian_per_second() -> None:
    velocity = np.zeros((2, 9))
    velocity[:, 3] = [0.5, -np.nextafter(0.5, 0.0)]
    terms = TRI.reward_terms(state(2, joint_velocity=velocity))
    np.testing.assert_array_equal(terms["speed"], [0.5, 0.0])


def test_no_speed_takes_the_reward_out_of_its_range() -> None:
    claws = state(joint_velocity=np.full((1, 9), 1e6), joints=np.full((1, 9), 9.0))
    assert TRI.reward_terms(claws)["speed"] == MAX_SPEED
    np.testing.assert_allclose(reward(claws), [TRI.reward_range[0]])


@pytest.mark.parametrize(
    ("valve", "target", "error"),
    [
        (0.0, math.pi, math.pi),
        (-0.1, math.pi, -math.pi + 0.1),
        (0.1, math.pi, math.pi - 0.1),
        (-math.pi, math.pi, 0.0),
        (3.0 * math.pi + 0.2, math.pi, -0.2),
        (0.0, RIGHT, RIGHT),
        (7.0 * math.pi / 6.0, RIGHT, 0.0),
        (0.0, 0.0, 0.0),
    ],
)
def test_the_error_is_the_shorter_way_round(valve: float, target: float, error: float) -> None:
    claws = state(valve=np.array([valve]), target=np.array([target]))
    np.testing.assert_allclose(claws.error, [error], atol=1e-12)


def test_a_valve_is_turned_within_a_tenth_of_a_radian_of_either_side() -> None:
    off = np.array([-0.11, -0.099, 0.0, 0.099, 0.11])
    for turns in (0.0, 2.0 * math.pi):
        claws = state(5, valve=math.pi + off + turns)
        assert TRI.success(claws).tolist() == [False, True, True, True, False]


def test_encode_writes_every_entry_where_the_layout_says() -> None:
    env = BatchEnv(TRI, 1)
    claws = state(
        joints=(HOME + JOINT_SCALE * np.linspace(-0.8, 0.8, 9))[None],
        valve=np.array([0.5]),
        valve_direction=np.array([[math.cos(0.5), math.sin(0.5)]]),
        last_action=np.linspace(0.9, 0.1, 9)[None],
    )
    observation = env.robot.encode(claws)
    assert observation.shape == (1, OBSERVATION_DIM) == (1, 21)
    expected = np.concatenate(
        [
            np.linspace(-0.8, 0.8, 9),
            [math.cos(0.5), math.sin(0.5)],
            np.linspace(0.9, 0.1, 9),
            [(math.pi - 0.5) / math.pi],
        ]
    )
    np.testing.assert_allclose(observation[0], expected, rtol=1e-6)
    assert [entry.stop - entry.start for entry in LAYOUT.values()] == [9, 2, 9, 1]


def test_the_valve_direction_is_the_measured_angle() -> None:
    env = BatchEnv(TRI, 4)
    run(env, seed=0, steps=10)
    claws = env.state()
    assert np.abs(claws.valve).max() > 0.3
    np.testing.assert_allclose(claws.valve_direction[:, 0], np.cos(claws.valve), atol=1e-9)
    np.testing.assert_allclose(claws.valve_direction[:, 1], np.sin(claws.valve), atol=1e-9)


@pytest.mark.parametrize("sign", [-1.0, 0.0, 1.0])
def test_an_action_aims_the_servos_within_their_range(sign: float) -> None:
    env = BatchEnv(TRI, 2)
    env.reset()
    env.step(np.full((2, 9), sign))
    ctrl = env.batch.bind("ctrl")
    np.testing.assert_allclose(ctrl, np.tile(HOME + sign * JOINT_SCALE, (2, 1)))
    low, high = env.batch.model.actuator_ctrlrange.T
    assert ((ctrl >= low - 1e-9) & (ctrl <= high + 1e-9)).all()


def test_a_reset_forgets_the_last_action_of_its_rows_alone() -> None:
    env = BatchEnv(TRI, 3)
    env.reset()
    env.step(np.full((3, 9), 0.5))
    observation = env.reset([1])
    np.testing.assert_array_equal(observation[:, LAYOUT["last_action"]], 0.0)
    np.testing.assert_array_equal(env.state().last_action[[0, 2]], 0.5)


def test_a_full_action_moves_every_joint_noticeably_within_a_control_step() -> None:
    env = BatchEnv(TRI, 2)
    env.seed(0)
    env.reset()
    before = env.state().joints
    action = np.zeros((2, 9))
    action[:, 1::3] = 1.0  # outwards, away from the valve
    env.step(action)
    assert ((env.state().joints - before)[:, 1::3] > 0.15).all()


def test_kinematics_agree_with_the_model() -> None:
    env = BatchEnv(TRI, 32)
    run(env, seed=1, steps=5)
    model = env.batch.model
    middle = model.body("claw/palm").pos[:2]
    angle, radius, height = fingertips(env.state().joints)
    for finger in range(3):
        tip = env.batch.bind("site_xpos")[:, model.site(f"claw/tip_{finger}").id]
        around = FINGER_ANGLES[finger] + angle[:, finger]
        np.testing.assert_allclose(tip[:, 0], middle[0] + radius[:, finger] * np.cos(around))
        np.testing.assert_allclose(
            tip[:, 1], middle[1] + radius[:, finger] * np.sin(around), atol=1e-9
        )
        np.testing.assert_allclose(tip[:, 2], height[:, finger])
    np.testing.assert_allclose(joints_for(angle, radius, height), env.state().joints, atol=1e-9)


def test_valves_differ_in_shape_alone() -> None:
    """Inertia, damping and friction of the hinge are the same; no two have the same geoms."""
    hinges, shapes = [], []
    for valve in VALVES:
        model = valve.model()
        name = f"valve_{valve.shape}"
        dof = model.joint(f"{name}/hinge").dofadr[0]
        body = model.body(f"{name}/valve")
        hinges.append(
            [
                *body.inertia,
                *body.mass,
                model.dof_damping[dof],
                model.dof_frictionloss[dof],
                model.dof_armature[dof],
            ]
        )
        mine = slice(body.geomadr[0], body.geomadr[0] + body.geomnum[0])
        solid = model.geom_conaffinity[mine] > 0
        shapes.append(model.geom_pos[mine][solid].round(6).tobytes())
    np.testing.assert_array_equal(hinges, [hinges[0]] * 10)
    assert len(set(shapes)) == 10


@pytest.mark.parametrize("valve", [VALVES[2], MORE_VALVES[2]], ids=lambda valve: valve.name)
def test_the_stripe_points_at_the_marker_when_the_valve_is_turned(valve: Valve) -> None:
    env = BatchEnv(valve, 1)
    env.reset()
    env.batch.bind("qpos")[0, 9] = valve.target
    data = env.batch.get_data(0)
    mujoco.mj_forward(env.batch.model, data)
    middle = data.body("valve_tee/valve").xpos[:2]
    (marker,) = env.robot.markers(0)
    stripe = data.geom("valve_tee/stripe").xpos[:2] - middle
    ball = marker.position[:2] - middle
    np.testing.assert_allclose(
        stripe / np.linalg.norm(stripe), ball / np.linalg.norm(ball), atol=1e-9
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_starts_vary_are_at_rest_unsolved_and_without_contact(shape: str) -> None:
    valve = next(valve for valve in VALVES if valve.shape == shape)
    env = BatchEnv(valve, 32)
    env.seed(0)
    env.reset()
    claws = env.state()
    assert len(np.unique(claws.valve)) == 32
    assert (np.ptp(claws.joints, axis=0) > 0.03).all()
    assert (claws.joint_velocity == 0.0).all()
    assert not valve.success(claws).any()
    for row in range(32):
        data = env.batch.get_data(row)
        mujoco.mj_forward(env.batch.model, data)
        assert data.ncon == 0


@pytest.mark.parametrize("valve", [*VALVES, *MORE_VALVES], ids=lambda valve: valve.name)
def test_the_expert_succeeds_where_random_actions_do_not(valve: Valve) -> None:
    expert = EXPERTS[valve.name]
    env = BatchEnv(valve, 100, num_threads=2)
    env.seed(0)
    env.reset()
    solved = np.zeros(100, bool)
    for _ in range(valve.horizon):
        solved |= env.step(expert(env.state())).success
    assert solved.sum() >= 90

    env = BatchEnv(valve, 50, num_threads=2)
    random = run(env, seed=0)
    assert random["successes"].any(axis=0).mean() <= 0.16  # 10 %, and what chance adds to 50
    low, high = valve.reward_range
    assert ((random["rewards"] >= low) & (random["rewards"] <= high)).all()
    assert np.abs(random["observations"]).max() < 3.0
    assert env.num_diverged == 0


def test_the_expert_sees_each_row_alone_and_remembers_nothing() -> None:
    for name in ("valve-tri", "valve-hexagon-right", "valve-crank"):
        valve = next(valve for valve in (*VALVES, *MORE_VALVES) if valve.name == name)
        env = BatchEnv(valve, 7)
        run(env, seed=2, steps=3)
        together = EXPERTS[name](env.state())
        assert together.shape == (7, 9)
        assert np.abs(together).max() <= 1.0
        for row in range(7):
            alone = EXPERTS[name](env.state([row]))
            np.testing.assert_allclose(alone[0], together[row], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("num_envs", "num_threads"), [(1, 1), (1, 2), (3, 2), (32, 1), (32, 2)])
def test_rows_do_not_depend_on_the_number_of_rows_or_threads(
    num_envs: int, num_threads: int
) -> None:
    valve = VALVES[4]
    reference = run(BatchEnv(valve, 3, 1), seed=5, steps=30)
    other = run(BatchEnv(valve, num_envs, num_threads), seed=5, steps=30)
    rows = min(num_envs, 3)
    for key in reference:
        np.testing.assert_array_equal(other[key][:, :rows], reference[key][:, :rows])
