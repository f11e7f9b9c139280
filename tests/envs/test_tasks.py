"""Every task, checked in the same way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from lifelong_rl import envs
from lifelong_rl.envs.arm.task import ArmTask
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.robot import LIMIT
from lifelong_rl.envs.tasks import get_task

GOLDEN = Path(__file__).parent / "golden"
TASKS = sorted(envs.TASKS)

# entries that do not vary, as the task's docstring tells: index by index
STILL: dict[str, set[int]] = {
    "reach": {13, 20, 21, 22},
    "drawer-open": {9, 10, 11, 12, 15, 16, 19, 24, 25},
    "button-press": {10, 11, 12, 14, 15, 19, 23, 24},
    "drawer-close": {9, 12, 16, 19, 25},
    "door-open": {9, 12, 16, 19, 25},
    "faucet-turn": {9, 12, 16, 19, 25},
    "window-slide": {9, 12, 16, 19, 25},
    "push": {13, 19},
    "pick-place": {13},
    "peg-unplug": {13, 19},
}


def run(
    name: str, num_envs: int = 3, num_threads: int = 1, steps: int = 120, seed: int = 0
) -> dict[str, Any]:
    """Drive the task through a VecEnv; actions are drawn per row, so rows can be compared."""
    env = envs.make_vec(name, num_envs=num_envs, num_threads=num_threads, seed=seed)
    dim = env.action_space.shape[0]
    rngs = [np.random.default_rng([7, row]) for row in range(num_envs)]
    observations, rewards, dones, infos = [env.reset()], [], [], []
    for _ in range(steps):
        actions = np.array([rng.uniform(-1.2, 1.2, dim) for rng in rngs])
        if isinstance(env.batch_env.task, ArmTask):
            actions[:, 2] -= 0.4  # down, where the objects are
        obs, reward, done, info = env.step(actions)
        observations.append(obs)
        rewards.append(reward)
        dones.append(done)
        infos.append(info)
    env.close()
    return {
        "observations": np.array(observations),
        "rewards": np.array(rewards),
        "dones": np.array(dones),
        "infos": infos,
    }


@pytest.fixture(scope="module", params=TASKS)
def task_name(request: pytest.FixtureRequest) -> str:
    """Each task's name in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def trajectory(task_name: str) -> dict[str, Any]:
    """A random run of three rows over more than two episodes."""
    return run(task_name)


def test_every_model_element_has_a_name(task_name: str) -> None:
    model = get_task(task_name).model()
    kinds = {
        "body": model.nbody,
        "joint": model.njnt,
        "geom": model.ngeom,
        "site": model.nsite,
        "camera": model.ncam,
        "light": model.nlight,
        "actuator": model.nu,
        "sensor": model.nsensor,
        "material": model.nmat,
    }
    unnamed = [
        (kind, i) for kind, n in kinds.items() for i in range(n) if not getattr(model, kind)(i).name
    ]
    assert unnamed == []


def test_observations_are_finite_and_within_the_space(
    task_name: str, trajectory: dict[str, Any]
) -> None:
    observations = trajectory["observations"]
    assert observations.dtype == np.float32
    assert observations.shape == (121, 3, get_task(task_name).observation_dim)
    assert np.isfinite(observations).all()
    assert np.abs(observations).max() < LIMIT  # nothing was clipped
    assert np.quantile(np.abs(observations), 0.95) < 2.5  # scaled to about one


def test_no_observation_entry_is_constant_unless_documented(
    task_name: str, trajectory: dict[str, Any]
) -> None:
    seen = trajectory["observations"].reshape(-1, get_task(task_name).observation_dim)
    still = np.flatnonzero(np.ptp(seen, axis=0) < 1e-3)
    assert set(still) == STILL.get(task_name, set())


def test_reward_is_the_bounded_sum_of_its_terms(task_name: str, trajectory: dict[str, Any]) -> None:
    task = get_task(task_name)
    weights, (least, greatest) = task.weights, task.reward_range
    if isinstance(task, ArmTask):
        assert (least, greatest) == (0.0, 1.0)
        assert sum(weights.values()) == pytest.approx(1.0)
    for rewards, infos in zip(trajectory["rewards"], trajectory["infos"], strict=True):
        for reward, info in zip(rewards, infos, strict=True):
            terms = info["reward_terms"]
            assert list(terms) == list(weights)
            for name, value in terms.items():
                assert value * weights[name] >= 0.0
                if isinstance(task, ArmTask):
                    assert value <= weights[name]
            assert least <= reward <= greatest
            assert reward == pytest.approx(sum(terms.values()), abs=1e-6)


def test_episodes_end_at_the_horizon_and_report_themselves(
    task_name: str, trajectory: dict[str, Any]
) -> None:
    horizon, layout = get_task(task_name).horizon, get_task(task_name).layout
    assert 40 <= horizon <= 100
    ends = np.flatnonzero(trajectory["dones"].any(axis=1))
    np.testing.assert_array_equal(ends, np.arange(horizon - 1, 120, horizon))
    assert trajectory["dones"][ends].all()
    for row in range(3):
        end = trajectory["infos"][horizon - 1][row]
        steps = [trajectory["infos"][t][row] for t in range(horizon)]
        assert end["TimeLimit.truncated"] is True
        assert end["episode"]["l"] == horizon
        assert end["episode"]["r"] == pytest.approx(
            trajectory["rewards"][:horizon, row].sum(), rel=1e-5
        )
        assert end["episode"]["success"] == any(info["success"] for info in steps)
        assert end["is_success"] == end["episode"]["success"]
        assert "episode" not in steps[0]
        # the last state is handed over, and the next episode starts elsewhere
        start = trajectory["observations"][horizon, row]
        assert not np.array_equal(end["terminal_observation"], start)
        if "hand_velocity" in layout:
            assert np.abs(start[layout["hand_velocity"]]).max() == 0


def test_same_seed_gives_the_same_bits(task_name: str, trajectory: dict[str, Any]) -> None:
    again = run(task_name)
    np.testing.assert_array_equal(again["observations"], trajectory["observations"])
    np.testing.assert_array_equal(again["rewards"], trajectory["rewards"])
    assert again["infos"][5] == trajectory["infos"][5]
    other = run(task_name, seed=1, steps=1)
    assert not np.array_equal(other["observations"][0], trajectory["observations"][0])


@pytest.mark.parametrize(("num_envs", "num_threads"), [(1, 1), (1, 2), (3, 2), (32, 1), (32, 2)])
def test_rows_do_not_depend_on_the_number_of_rows_or_threads(
    task_name: str, trajectory: dict[str, Any], num_envs: int, num_threads: int
) -> None:
    steps = get_task(task_name).horizon + 5  # into the second episode
    other = run(task_name, num_envs=num_envs, num_threads=num_threads, steps=steps)
    rows = min(num_envs, 3)
    np.testing.assert_array_equal(
        other["observations"][:, :rows], trajectory["observations"][: steps + 1, :rows]
    )
    np.testing.assert_array_equal(other["rewards"][:, :rows], trajectory["rewards"][:steps, :rows])


def test_starts_vary_between_rows_and_episodes(task_name: str) -> None:
    env = envs.make_vec(task_name, num_envs=8, seed=0)
    starts = np.concatenate([env.reset(), env.reset()])
    layout = env.batch_env.task.layout
    arm = isinstance(env.batch_env.task, ArmTask)
    varied = ("hand_position", "goal_position") if arm else ("joint_position", "valve_direction")
    for entry in varied:
        for column in range(layout[entry].start, layout[entry].start + 2):
            assert len(np.unique(starts[:, column])) == 16


def test_starts_are_at_rest_untouched_and_unsolved(task_name: str) -> None:
    env = BatchEnv(get_task(task_name), 32)
    env.seed(0)
    env.reset()
    model = env.batch.model
    for row in range(32):
        data = env.batch.get_data(row)
        mujoco.mj_forward(model, data)
        for pair in data.contact.geom:  # a puck may lie on the table
            assert not any(model.geom(g).name.startswith(("arm/", "claw/")) for g in pair)
    assert not env.task.success(env.state()).any()
    before, qvel = env.state(), env.batch.bind("qvel").copy()
    assert np.abs(qvel).max() == 0
    step = env.step(np.zeros((32, env.task.action_dim)))
    assert not step.success.any()
    if isinstance(env.task, ArmTask):
        after = env.state()
        assert np.abs(after.hand - before.hand).max() < 2e-3  # the arm does not sag
        if task_name != "reach":
            assert np.abs(after.object - before.object).max() < 1e-3  # nothing drops or jumps


def test_returned_arrays_share_no_memory_with_the_next_step(task_name: str) -> None:
    env = BatchEnv(get_task(task_name), 2)
    env.seed(0)
    first = env.reset()
    kept = first.copy()
    a = env.step(np.full((2, env.task.action_dim), 0.5))
    copies = [a.observation.copy(), a.reward.copy(), a.terms.copy()]
    env.step(np.full((2, env.task.action_dim), -0.5))
    np.testing.assert_array_equal(first, kept)
    for array, copy in zip((a.observation, a.reward, a.terms), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_random_actions_rarely_succeed(task_name: str) -> None:
    env = envs.make_vec(task_name, num_envs=64, num_threads=2, seed=0)
    env.reset()
    rng = np.random.default_rng(0)
    for _ in range(env.batch_env.task.horizon):
        _, _, _, infos = env.step(rng.uniform(-1, 1, (64, env.batch_env.task.action_dim)))
    # a tenth, and two standard errors of 64 episodes
    assert np.mean([info["is_success"] for info in infos]) <= 0.1 + 2 * np.sqrt(0.09 / 64)


def gym_id(name: str) -> str:
    """The id the task is registered under."""
    return f"LifelongRL/{name.title().replace('-', '')}-{envs.TASKS[name].version}"


def test_gymnasium_and_sb3_check_the_single_environment(task_name: str) -> None:
    env = gymnasium.make(gym_id(task_name))
    check_env(env.unwrapped, skip_render_check=True)
    sb3_check_env(env.unwrapped)
    env.close()


def test_single_environment_is_row_zero_of_the_batch(task_name: str) -> None:
    env = gymnasium.make(gym_id(task_name))
    vec = envs.make_vec(task_name, num_envs=3, seed=11)
    observation, _ = env.reset(seed=11)
    np.testing.assert_array_equal(observation, vec.reset()[0])
    rng = np.random.default_rng(0)
    for _ in range(envs.TASKS[task_name].horizon):
        action = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        batch, rewards, dones, infos = vec.step(np.tile(action, (3, 1)))
        expected = infos[0]["terminal_observation"] if dones[0] else batch[0]
        np.testing.assert_array_equal(observation, expected)
        assert np.float32(reward) == rewards[0]
        assert not terminated
        assert truncated == dones[0]
        assert info["reward_terms"] == infos[0]["reward_terms"]
    assert truncated
    assert info["is_success"] == infos[0]["is_success"]
    env.close()


@pytest.mark.golden
def test_golden_steps(task_name: str) -> None:
    """Dynamics, starts and rewards are those of the task's version, on every processor.

    Each step is computed from its own stored start. Processors round differently (which sine, which
    matrix product). Over one step the largest differences measured are 4e-11 in a number of the
    state, 5e-15 in a reward term and 3e-16 in an observation; the start of an episode differs by
    2e-15.

    If this fails because the task was meant to change, raise its version and write the file anew:
    ``python tests/envs/write_golden.py``.
    """
    golden = dict(np.load(GOLDEN / f"{task_name}.npz"))
    if golden["mujoco"] != mujoco.__version__:
        pytest.skip(f"recorded with MuJoCo {golden['mujoco']}, running {mujoco.__version__}")
    task = get_task(task_name)
    assert golden["version"] == task.version
    prefix = "kept/"
    kept = {key.removeprefix(prefix): golden[key] for key in golden if key.startswith(prefix)}
    assert len(golden["actions"]) == task.horizon
    steady = golden["steady"]
    assert steady.mean() > 0.6  # those that write_golden.py says can be compared

    start = BatchEnv(task, 1)
    start.seed(int(golden["seed"]))
    assert_same(start.reset(), golden["observations"][:1], 1e-6)
    for key, array in start.snapshot().items():
        assert_same(array, kept[key][:1], 1e-12)

    env = BatchEnv(task, task.horizon)
    restored = env.restore({key: array[:-1] for key, array in kept.items()})
    assert_same(restored, golden["observations"][:-1], 1e-6)
    step = env.step(golden["actions"])
    assert_same(step.observation[steady], golden["observations"][1:][steady], 1e-6)
    assert_same(step.terms[steady], golden["terms"][steady], 1e-9)
    assert_same(step.reward[steady], golden["terms"][steady].sum(axis=1), 1e-9)
    np.testing.assert_array_equal(step.success[steady], golden["success"][steady])
    for key, array in env.snapshot().items():
        assert_same(array[steady], kept[key][1:][steady], 1e-9)


def assert_same(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Numbers agree, absolutely and relatively together."""
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
