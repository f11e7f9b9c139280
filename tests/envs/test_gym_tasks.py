"""Gymnasium's environments as tasks: what a file may say of them, and what they then do."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest
import toy_envs
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from lifelong_rl.envs.gym_tasks import GymTask
from lifelong_rl.envs.gym_vec_env import GymVecEnv
from lifelong_rl.envs.score_ranges import SCORE_RANGES
from lifelong_rl.envs.vec_env import JointVecEnv
from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.registry import LOADED_PLUGINS, load_plugins
from lifelong_rl.runs.contract import ENV, EnvContract
from lifelong_rl.runs.within_task import find_obstacle
from lifelong_rl.storage.state_tree import decode_tree, encode_tree
from lifelong_rl.storage.yaml_file import parse_yaml

ROOT = Path(__file__).parents[2]
WALK = "toy/Walk-v0"


@pytest.fixture(autouse=True)
def toys() -> None:
    load_plugins(["toy_envs"])


def make(value: Any, num_envs: int = 2, **options: Any) -> GymVecEnv:
    return GymTask.parse(value).make_env(num_envs=num_envs, **options)


def actions(env: GymVecEnv, steps: int, seed: int = 0) -> np.ndarray:
    """The same actions for row i, however many rows there are."""
    shape = (steps, *env.action_space.shape)  # type: ignore[misc]
    rows = [np.random.default_rng((seed, row)).uniform(-1, 1, shape) for row in range(env.num_envs)]
    return np.stack(rows, axis=1).astype(np.float32)


def rollout(env: GymVecEnv, steps: int, seed: int = 0) -> list[Any]:
    return [env.step(taken) for taken in actions(env, steps, seed)]


def assert_same(found: list[Any], expected: list[Any], rows: slice = slice(None)) -> None:
    """Compare steps bit for bit; rows are those of what is expected."""
    for (obs, rewards, dones, infos), step in zip(found, expected, strict=True):
        np.testing.assert_array_equal(obs, step[0][rows])
        np.testing.assert_array_equal(rewards, step[1][rows])
        np.testing.assert_array_equal(dones, step[2][rows])
        for info, other in zip(infos, step[3][rows], strict=True):
            np.testing.assert_equal(info, other)


# --- what may be said


def test_a_name_is_enough() -> None:
    task = GymTask.parse("gym:Reacher-v5")
    assert (task.id, task.label, task.measure) == ("Reacher-v5", "Reacher-v5", "score")
    assert task.score_range == (-42.9, -3.75)
    assert task.dims() == (10, 2)
    assert GymTask.parse("gym:Pendulum-v1").measure == "return"
    assert GymTask.parse(f"gym:{WALK}").label == "Walk-v0"


def test_a_mapping_says_more() -> None:
    task = GymTask.parse(
        {
            "id": WALK,
            "label": "walk",
            "kwargs": {"size": 0.2, "max_episode_steps": 5},
            "wrappers": ["toy_envs:Shift", {"class": "toy_envs:Shift", "kwargs": {"by": 1}}],
            "success": "reached",
            "processes": True,
        }
    )
    assert task.label == "walk" and task.measure == "success" and task.processes
    assert [call.kwargs for call in task.wrappers] == [{}, {"by": 1}]
    assert GymTask.parse({"id": WALK, "success": 3}).measure == "success"
    assert GymTask.parse({"id": WALK, "score_range": [-1, 2]}).measure == "score"


def test_a_shipped_range_is_for_the_environment_as_it_is() -> None:
    for more in (
        {"kwargs": {"reward_dist_weight": 2}},
        {"wrappers": ["gymnasium.wrappers:NormalizeReward"]},
        {"score_range": None},
    ):
        assert GymTask.parse({"id": "Reacher-v5", **more}).measure == "return"
    assert GymTask.parse({"id": "Reacher-v5", "success": -5}).measure == "success"
    own = GymTask.parse({"id": "Reacher-v5", "kwargs": {}, "score_range": [-50, 0]})
    assert own.score_range == (-50.0, 0.0)


def test_shipped_ranges_begin_with_what_random_actions_returned() -> None:
    """See scripts/score_ranges.py; rounded by no more than it is uncertain."""
    measured = json.loads((ROOT / "docs/results/score_ranges.json").read_text())["tasks"]
    assert measured.keys() == SCORE_RANGES.keys()
    assert set(SCORE_RANGES) == {
        name for name in gymnasium.registry if _is_mujoco(name) and name.endswith("-v5")
    }
    for name, shipped in SCORE_RANGES.items():
        assert abs(shipped.low - measured[name]["mean"]) <= measured[name]["standard_error"]
        assert shipped.low < shipped.high and shipped.source
        if shipped.source.startswith("reward_threshold"):
            assert gymnasium.spec(name).reward_threshold == shipped.high


def _is_mujoco(name: str) -> bool:
    return str(gymnasium.registry[name].entry_point).startswith("gymnasium.envs.mujoco")


def test_the_version_tells_all_that_decides_results() -> None:
    said = [
        {"id": WALK},
        {"id": "toy/Parts-v0"},
        {"id": WALK, "kwargs": {"size": 0.2}},
        {"id": WALK, "wrappers": [{"class": "toy_envs:Shift", "kwargs": {"by": 1}}]},
        {"id": WALK, "wrappers": [{"class": "toy_envs:Shift", "kwargs": {"by": 2}}]},
        {"id": WALK, "success": "reached"},
        {"id": WALK, "success": 2},
        {"id": WALK, "score_range": [0, 1]},
        {"id": WALK, "score_range": [0, 2]},
    ]
    versions = [GymTask.parse(value).version for value in said]
    assert len(set(versions)) == len(versions)
    assert all(version.startswith("v0-") for version in versions)
    same = [{"id": WALK, "label": "other"}, {"id": WALK, "processes": True}, {"id": WALK}]
    assert {GymTask.parse(value).version for value in same} == {versions[0]}


WRONG = [
    ("Reacher-v5", "'Reacher-v5' is not gym:ID, such as gym:Reacher-v5"),
    ("gym:", "'gym:' is not gym:ID"),
    (7, "7 is neither gym:ID nor a mapping with an id"),
    ("gym:Reachr-v5", "unknown environment 'Reachr-v5'; did you mean 'Reacher-v5'?"),
    ("gym:Reacher", "unknown environment 'Reacher'; did you mean 'Reacher-v5'?"),
    ("gym:qqqqqqqq", "unknown environment 'qqqqqqqq'; known: Ant-v5, "),
    ("gym:Reacher-v\n", "unknown environment 'Reacher-v'; did you mean 'Reacher-v5'?"),
    ({"id": "\r"}, "unknown environment ''; known: Ant-v5, "),
    ("gym:evil:Env-v0", "the environment 'evil:Env-v0' is named with a module; write its id alone"),
    ({"success": "s"}, "a Gymnasium task has no id; add one, such as id: Reacher-v5"),
    ({"id": 5}, "the id of a Gymnasium task is 5, not a text"),
    ({"id": WALK, "sucess": "x"}, "unknown key of a Gymnasium task 'sucess'; did you mean 'succ"),
    ({"id": WALK, "wrappers": ["a\nb:C"]}, "the wrapper 'a\\nb:C': the plug-in 'a\\nb' is no n"),
    ({"id": WALK, 5: "x"}, "unknown key of a Gymnasium task '5'"),
    ({"id": WALK, "label": ""}, f"the label of the task '{WALK}' is ''; it is made of letters, "),
    ({"id": WALK, "label": "a\nb"}, f"the label of the task '{WALK}' is 'a\\nb'; it is made of"),
    ({"id": WALK, "label": "../x"}, f"the label of the task '{WALK}' is '../x'; it is made of"),
    ({"id": WALK, "kwargs": [1]}, f"kwargs of the task '{WALK}' is [1], not a mapping"),
    ({"id": WALK, "kwargs": {"a": print}}, f"kwargs of the task '{WALK}' is no plain value"),
    ({"id": WALK, "wrappers": "x:Y"}, f"wrappers of the task '{WALK}' is 'x:Y', not a list"),
    ({"id": WALK, "wrappers": ["toy"]}, "the wrapper 'toy' is not MODULE:CLASS"),
    ({"id": WALK, "wrappers": [{"clas": "a:B"}]}, "unknown key of a wrapper 'clas'; did you mean"),
    (
        {"id": WALK, "wrappers": ["os:PathLike"]},
        "the wrapper 'os:PathLike': the plug-in 'os' is named by a file alone, and importing it",
    ),
    (
        {"id": WALK, "wrappers": ["gymnasiumevil:B"]},
        "the wrapper 'gymnasiumevil:B': the plug-in 'gymnasiumevil' is named by a file alone",
    ),
    (
        {"id": WALK, "wrappers": ["gymnasium.wrappers:RecordVideo"]},
        "the wrapper 'gymnasium.wrappers:RecordVideo' writes files; film with",
    ),
    ({"id": WALK, "success": True}, f"success of the task '{WALK}' is True; it is the name of"),
    ({"id": WALK, "success": float("inf")}, f"success of the task '{WALK}' is inf; it is"),
    ({"id": WALK, "score_range": [1, 1]}, f"score_range of the task '{WALK}' is [1, 1]; it is"),
    ({"id": WALK, "score_range": [2, 1]}, f"score_range of the task '{WALK}' is [2, 1]; it is"),
    ({"id": WALK, "score_range": [1]}, f"score_range of the task '{WALK}' is [1]; it is"),
    ({"id": WALK, "score_range": "01"}, f"score_range of the task '{WALK}' is '01'; it is"),
    ({"id": WALK, "score_range": [0, 10**400]}, f"score_range of the task '{WALK}' is"),
    (
        {"id": WALK, "success": "reached", "score_range": [0, 1]},
        f"the task '{WALK}' has both success and score_range; success decides what is measured",
    ),
    ({"id": WALK, "processes": 2}, f"processes of the task '{WALK}' is 2; it is true or false"),
]


@pytest.mark.parametrize(("value", "message"), WRONG)
def test_what_is_said_wrongly_is_told_in_one_line(value: Any, message: str) -> None:
    with pytest.raises(UserError) as error:
        GymTask.parse(value)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=5,
)
keys = st.sampled_from([*GymTask.__dataclass_fields__, "id\r", "class"])
ids = st.sampled_from([WALK, "Reacher-v5", "gym:Reacher-v5", "toy_envs:Walk-v0", "a\n:b"]) | values


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.dictionaries(keys, values, max_size=4), ids)
def test_anything_that_yaml_may_hold_makes_a_task_or_a_line(content: Any, name: Any) -> None:
    content = {**content, "id": name}
    try:
        task = GymTask.parse(content)
    except UserError as error:
        assert len(str(error).splitlines()) == 1
        return
    assert task.id == name and task.measure in ("success", "score", "return")
    assert task.label and task.version == GymTask.parse(content).version
    assert content.get("success") is None or task.measure == "success"


def test_a_wrapper_of_a_file_runs_only_what_the_user_has_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stranger.py").write_text(
        "import pathlib, gymnasium\npathlib.Path(__file__).with_name('executed').touch()\n"
        "class Wrap(gymnasium.Wrapper):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    value = {"id": WALK, "wrappers": ["stranger:Wrap"]}
    with pytest.raises(UserError, match="add --plugin stranger"):
        GymTask.parse(value)
    with pytest.raises(UserError, match="add --plugin stranger"):
        GymTask.parse("gym:stranger:Env-v0")
    assert not (tmp_path / "executed").exists()
    load_plugins(["stranger"])
    try:
        assert GymTask.parse(value).dims() == (3, 1)
    finally:
        LOADED_PLUGINS.remove("stranger")


# --- what does not work is told when the environment is made

UNUSABLE = [
    ("gym:CartPole-v1", "the task 'CartPole-v1' takes actions of Discrete(2); the agents here nee"),
    ("gym:toy/Whole-v0", "the task 'Whole-v0' takes actions of Box(0, 3, (1,), int32); the agents"),
    ("gym:toy/Unbounded-v0", "the task 'Unbounded-v0' takes actions of Box(-inf, inf, (1,), floa"),
    ("gym:toy/Switch-v0", "the task 'Switch-v0' observes Discrete(2); a task's observation is a"),
    (
        {"id": WALK, "success": "reachd"},
        "unknown success of the task 'Walk-v0' 'reachd'; did you mean 'reached'? (see: keys of its",
    ),
    (
        {"id": "Reacher-v5", "success": "reward_dist"},
        "info['reward_dist'] of the task 'Reacher-v5' is ",
    ),
    ({"id": WALK, "kwargs": {"sise": 1}}, "the task 'Walk-v0' cannot be made: "),
    (
        {"id": WALK, "wrappers": ["toy_envs:NoWrapper"]},
        "the wrapper 'toy_envs:NoWrapper' cannot be used: it is no subclass of gymnasium.Wrapper",
    ),
    (
        {"id": WALK, "wrappers": ["toy_envs:Shft"]},
        "the wrapper 'toy_envs:Shft' cannot be used: unknown class of toy_envs 'Shft'; did you mea",
    ),
    ({"id": WALK, "wrappers": ["toy_envs:Shift"]}, "the wrapper 'toy_envs:Shift' cannot be used: "),
    (
        {"id": "toy/Broken-v0", "kwargs": {"size": 0.3}},
        "the task 'Broken-v0': shows an observation of shape (1,), and its observation_space says",
    ),
    (
        {"id": "toy/Broken-v0", "kwargs": {"size": 0.4}},
        "the task 'Broken-v0' cannot be used: RuntimeError: the motor is on fire",
    ),
    (
        {"id": "toy/Broken-v0", "kwargs": {"size": 0.5}},
        "toy_envs.py, line",
    ),
]


@pytest.mark.parametrize(("value", "message"), UNUSABLE)
def test_what_cannot_be_used_is_told_in_one_line(value: Any, message: str) -> None:
    task = GymTask.parse(value)
    with pytest.raises(UserError) as error:
        task.dims()
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_what_is_not_finite_is_found_by_the_contract() -> None:
    env = make({"id": "toy/Broken-v0", "kwargs": {"size": 0.2}}, seed=0)
    contract = EnvContract(env, "it", 2)
    contract.check_reset(env.reset())
    with pytest.raises(UserError, match=r"it: step\(\) returns observations that are not finite"):
        contract.check_step(env.step(np.zeros((2, 1))), np.ones(2, bool))


# --- what is shown and taken


def test_observations_are_padded_and_end_with_the_one_hot() -> None:
    env = make(f"gym:{WALK}", seed=4, one_hot=(1, 3), obs_dim=5, action_dim=2)
    assert env.observation_space.shape == (8,) and env.observation_space.dtype == np.float32
    contract = EnvContract(env, "it", 2)
    first = contract.check_reset(env.reset(), task_id=1, num_tasks=3)
    plain = [toy_envs.Walk().reset(seed=4 + row)[0] for row in range(2)]
    np.testing.assert_array_equal(first[:, :3], np.float32(plain))
    np.testing.assert_array_equal(first[:, 3:], [[0, 0, 0, 1, 0]] * 2)
    for found in rollout(env, 30):
        observations, _, dones, infos = contract.check_step(found, np.ones(2, bool))
        np.testing.assert_array_equal(observations[:, 3:], [[0, 0, 0, 1, 0]] * 2)
        for row in np.flatnonzero(dones):
            np.testing.assert_array_equal(infos[row]["terminal_observation"][3:], [0, 0, 0, 1, 0])
    with pytest.raises(UserError, match="3 numbers in an observation and 1 in an action, more tha"):
        make(f"gym:{WALK}", obs_dim=2)


def test_actions_are_rescaled_and_padding_is_ignored() -> None:
    env = make(f"gym:{WALK}", 5, seed=0, action_dim=3)
    env.reset()
    own = np.array([-1.0, 0.0, 1.0, 0.5, 9.0], np.float32)
    env.step(np.column_stack([own, np.full(5, 7.0), np.full(5, -3.0)]))
    taken = [row.taken for row in env.get_attr("unwrapped")]
    np.testing.assert_array_equal(np.ravel(taken), np.float32([-2, 1, 4, 2.5, 4]))
    assert all(action.dtype == np.float32 for action in taken)


def test_actions_within_one_are_taken_as_they_are() -> None:
    env = make("gym:HalfCheetah-v5", 1, seed=0)
    env.reset()
    (row,) = env.get_attr("unwrapped")
    taken = actions(env, 1)[0] * np.float32(1e-3)
    env.step(taken)
    np.testing.assert_array_equal(row.data.ctrl, taken[0])


def test_actions_that_are_none_are_refused() -> None:
    env = make(f"gym:{WALK}")
    env.reset()
    with pytest.raises(ValueError, match=r"task 'Walk-v0' have shape \(2, 2\); it takes \(2, 1\)"):
        env.step(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="task 'Walk-v0' are not numbers"):
        env.step(np.array([[0.0], [np.nan]]))


def test_parts_are_flattened_as_gymnasium_does() -> None:
    env = make("gym:toy/Parts-v0", 1, seed=2, obs_dim=6)
    assert GymTask.parse("gym:toy/Parts-v0").dims() == (4, 1)
    plain = toy_envs.Parts()
    found, _ = plain.reset(seed=2)
    flat = gymnasium.spaces.flatten(plain.observation_space, found)
    np.testing.assert_array_equal(env.reset()[0], [*np.float32(flat), 0, 0])


# --- episodes


def test_rows_start_and_go_on_as_the_environment_alone_would() -> None:
    """First episodes are those of reset(seed=seed + row), later ones of its generator."""
    env = make("gym:Reacher-v5", 3, seed=11)
    found = [env.reset()]
    steps = rollout(env, 120)
    found += [step[0] for step in steps]
    for row in range(3):
        alone = gymnasium.make("Reacher-v5", disable_env_checker=True)
        expected, _ = alone.reset(seed=11 + row)
        np.testing.assert_array_equal(found[0][row], np.float32(expected))
        for step, taken in enumerate(actions(env, 120)):
            expected, reward, _, truncated, _ = alone.step(taken[row])
            assert steps[step][1][row] == np.float32(reward)
            if truncated:
                last = steps[step][3][row]["terminal_observation"]
                np.testing.assert_array_equal(last, np.float32(expected))
                expected, _ = alone.reset()
            np.testing.assert_array_equal(found[step + 1][row], np.float32(expected))


def test_a_row_does_not_depend_on_how_many_there_are() -> None:
    many, few = make("gym:Reacher-v5", 5, seed=3), make("gym:Reacher-v5", 2, seed=3)
    np.testing.assert_array_equal(many.reset()[:2], few.reset())
    assert_same(rollout(few, 60), rollout(many, 60), slice(2))


def test_the_same_seed_starts_the_same_episodes_again() -> None:
    env = make(f"gym:{WALK}", 3, seed=7)
    first, steps = env.reset(), rollout(env, 50)
    assert not np.array_equal(env.reset(), first)
    env.seed(7)
    np.testing.assert_array_equal(env.reset(), first)
    assert_same(rollout(env, 50), steps)


def ends(value: Any, steps: int = 60, taken: float | None = None) -> list[dict[str, Any]]:
    """Infos of the episodes that end, with what the rewards added up to."""
    env = make(value, 4, seed=0)
    env.reset()
    found, returns = [], np.zeros(4)
    for step in actions(env, steps):
        _, rewards, dones, infos = env.step(step if taken is None else np.full_like(step, taken))
        returns += rewards
        for row in np.flatnonzero(dones):
            found.append({**infos[row], "added": returns[row]})
            returns[row] = 0.0
        for row in np.flatnonzero(~dones):
            assert "episode" not in infos[row] and not infos[row]["TimeLimit.truncated"]
    return found


def test_termination_is_told_from_truncation() -> None:
    terminated = ends({"id": WALK, "success": "reached"}, taken=1.0)
    assert terminated and not any(info["TimeLimit.truncated"] for info in terminated)
    assert all(info["episode"]["success"] is True for info in terminated)
    assert all(info["is_success"] is True for info in terminated)
    still = {"id": WALK, "success": "reached", "kwargs": {"size": 0.0, "shake": 0.0}}
    truncated = ends(still)
    assert [info["TimeLimit.truncated"] for info in truncated] == [True] * 12
    assert [info["episode"]["l"] for info in truncated] == [20] * 12
    assert all(info["episode"]["success"] is False for info in truncated)


def test_an_episode_that_terminates_as_it_is_truncated_has_terminated() -> None:
    infos = ends("gym:toy/Both-v0", 30, taken=-1 / 3)  # an action of 0
    assert len(infos) == 40 and {info["episode"]["l"] for info in infos} == {3}
    right = [bool(info["terminal_observation"][0] > 0) for info in infos]
    assert {True, False} == set(right)
    assert [info["TimeLimit.truncated"] for info in infos] == [not is_right for is_right in right]


def test_success_at_any_step_counts() -> None:
    """The walk may come back from the wall before its episode ends."""
    env = make({"id": "toy/Both-v0", "success": "reached", "kwargs": {"shake": 0.0}}, 1, seed=0)
    env.reset()
    env.step(np.ones((1, 1)))  # from within ±0.5 by 0.4, three times at most
    (row,) = env.get_attr("unwrapped")
    row.place = 1.5
    env.step(np.zeros((1, 1)))
    row.place = 0.0
    _, _, dones, infos = env.step(np.zeros((1, 1)))
    assert dones[0] and not infos[0]["reached"] and infos[0]["episode"]["success"] is True


def test_success_is_a_return_where_it_is_a_number() -> None:
    infos = ends({"id": WALK, "success": 2.5})
    assert {True, False} == {info["episode"]["success"] for info in infos}
    for info in infos:
        assert info["episode"]["success"] == (info["episode"]["r"] >= 2.5) == info["is_success"]
        assert "score" not in info["episode"]


def test_the_return_is_scored_by_the_range_and_clipped() -> None:
    infos = ends({"id": WALK, "score_range": [1, 2]})
    for info in infos:
        episode = info["episode"]
        assert episode["r"] == pytest.approx(info["added"], rel=1e-5)
        assert episode["score"] == pytest.approx(np.clip(episode["r"] - 1, 0, 1))
        assert "success" not in episode and "is_success" not in info
    assert {0.0, 1.0} < {info["episode"]["score"] for info in infos}
    unscaled = ends({"id": WALK})
    assert [i["episode"]["score"] for i in unscaled] == [i["episode"]["r"] for i in infos]


def test_wrappers_and_arguments_are_used() -> None:
    value = {
        "id": WALK,
        "kwargs": {"size": 0.5, "shake": 0.0, "max_episode_steps": 3},
        "wrappers": [{"class": "toy_envs:Shift", "kwargs": {"by": -1.0}}],
    }
    infos = ends(value, 6, taken=0.0)  # the middle of [-2, 4] is 1, and the wrapper takes it away
    assert [info["episode"]["l"] for info in infos] == [3] * 8
    scaled = {
        "id": WALK,
        "wrappers": [
            {
                "class": "gymnasium.wrappers:RescaleAction",
                "kwargs": {"min_action": 0, "max_action": 1},
            }
        ],
    }
    env, plain = make(scaled, seed=0), make(f"gym:{WALK}", seed=0)
    np.testing.assert_array_equal(env.reset(), plain.reset())
    np.testing.assert_allclose(env.step([[0.5], [0]])[0], plain.step([[0.5], [0]])[0], rtol=1e-6)


def test_stable_baselines_finds_what_it_asks_for() -> None:
    env = make(f"gym:{WALK}", 3)
    assert all(hasattr(env, name) for name in ENV)
    assert env.get_attr("own_dims") == [(3, 1)] * 3
    env.set_attr("unheard", 5, indices=[2])
    assert env.get_attr("unheard", indices=2) == [5]
    with pytest.raises(AttributeError):
        env.get_attr("unheard", indices=0)
    assert env.env_is_wrapped(Monitor) == [True] * 3
    assert env.env_is_wrapped(DummyVecEnv, indices=0) == [False]
    assert env.get_images() == [None] * 3
    with pytest.raises(ValueError, match="num_envs is 0; it must be at least 1"):
        make(f"gym:{WALK}", 0)


def test_pictures_are_those_of_each_row() -> None:
    value = {"id": "Reacher-v5", "kwargs": {"width": 64, "height": 48}}
    env = make(value, 2, seed=0, render_mode="rgb_array")
    env.reset()
    first, second = env.get_images()
    assert first.shape == (48, 64, 3) and first.dtype == np.uint8
    assert not np.array_equal(first, second)
    env.step(np.ones((2, 2)))
    assert not np.array_equal(env.get_images()[0], first)
    env.close()


# --- going on within an episode


def through_state(value: Any, env: GymVecEnv, **options: Any) -> GymVecEnv:
    """Other environments of the task, which have been elsewhere, in the state of these."""
    other = make(value, env.num_envs, seed=99, **options)
    other.reset()
    rollout(other, 7, seed=5)
    other.load_state_dict(decode_tree(*encode_tree(env.state_dict())))
    return other


RESUMED = {
    "reacher": ("gym:Reacher-v5", 70),  # within the second episode
    "reacher-first": ("gym:Reacher-v5", 20),
    "pusher": ("gym:Pusher-v5", 130),
    "pendulum": ("gym:InvertedPendulum-v5", 33),
    "cheetah": ("gym:HalfCheetah-v5", 40),
    "walk": (f"gym:{WALK}", 31),
    "parts": ("gym:toy/Parts-v0", 9),
    "before-the-first-step": ("gym:Reacher-v5", 0),
    "wrapped": (
        {"id": WALK, "wrappers": [{"class": "toy_envs:Shift", "kwargs": {"by": -0.5}}]},
        26,
    ),
}


@pytest.mark.parametrize("name", RESUMED)
def test_an_episode_is_gone_on_with_to_the_last_bit(name: str) -> None:
    value, steps = RESUMED[name]
    env = make(value, 2, seed=1, one_hot=(0, 2))
    env.reset()
    rollout(env, steps)
    other = through_state(value, env, one_hot=(0, 2))
    assert find_obstacle(_Resumable(), _Resumable(), env, ("a", "b", "c")) is None
    assert_same(rollout(other, 80, seed=2), rollout(env, 80, seed=2))
    assert not np.array_equal(env.reset(), make(value, 2, seed=1, one_hot=(0, 2)).reset())


class _Resumable:
    """An agent and a method that can be saved within a task."""

    def learn_task(self, pause: Any) -> None: ...

    def experience(self) -> None: ...

    def task_state(self) -> dict[str, Any]:
        return {}


def test_environments_that_were_never_reset_have_a_state() -> None:
    env = make("gym:Reacher-v5", 2, seed=6)
    other = make("gym:Reacher-v5", 2)
    other.load_state_dict(decode_tree(*encode_tree(env.state_dict())))
    np.testing.assert_array_equal(other.reset(), env.reset())


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("gym:toy/Unseeded-v0", "after the same seed and actions it shows something else"),
        ("gym:toy/Secret-v0", "it depends on more than its seed and its actions"),
        ("gym:toy/Hardening-v0", "after the same seed and actions it shows something else"),
        (
            {"id": WALK, "wrappers": ["gymnasium.wrappers:NormalizeObservation"]},
            "after the same seed and actions it shows something else the second time",
        ),
        ("gym:LifelongRL/Reach-v0", "after the same seed and actions it shows something else"),
    ],
)
def test_what_cannot_be_repeated_says_why(value: Any, reason: str) -> None:
    env = make(value, seed=0)
    env.reset()
    with pytest.raises(UserError, match="cannot be repeated: " + reason):
        env.state_dict()
    found = find_obstacle(_Resumable(), _Resumable(), env, ("a", "b", "task 'x'"))
    assert found is not None and reason in found


def test_a_state_that_leads_elsewhere_is_refused() -> None:
    env = make({"id": WALK, "kwargs": {"size": 0.1}}, 1, seed=0)
    env.reset()
    rollout(env, 3)
    state = env.state_dict()
    for change in (
        {"observation": state["rows"][0]["observation"] + np.float32(1e-6)},
        {"actions": state["rows"][0]["actions"][:-1]},
        {"generator": {**state["rows"][0]["generator"], "has_uint32": 1}},
        {"origin": {"seed": 1}},
    ):
        rows = [{**state["rows"][0], **change}]
        with pytest.raises(UserError, match="of the task 'Walk-v0' cannot be gone on with: its"):
            make(f"gym:{WALK}", 1).load_state_dict({**state, "rows": rows})
    make(f"gym:{WALK}", 1).load_state_dict(state)


# --- changes of the model


def test_half_the_gravity_lets_a_pendulum_stand_longer() -> None:
    lengths = []
    for factor in (4.0, 1.0, 0.25):
        env = make("gym:InvertedPendulum-v5", 4, seed=0)
        env.change_model({"gravity": factor})
        env.reset()
        first: dict[int, int] = {}
        while len(first) < 4:
            _, _, dones, infos = env.step(np.zeros((4, 1)))
            for row in np.flatnonzero(dones):
                first.setdefault(int(row), infos[row]["episode"]["l"])
        lengths.append(sum(first.values()))
    assert lengths[0] < lengths[1] < lengths[2]


def test_a_model_is_changed_for_its_environments_alone_and_back() -> None:
    env, other = (make("gym:HalfCheetah-v5", 2, seed=0) for _ in range(2))
    env.change_model({"gravity": 0.3, "mass/torso": 3.0})
    np.testing.assert_array_equal(env.reset(), other.reset())
    changed, plain = rollout(env, 20), rollout(other, 20)
    assert np.abs(changed[-1][0] - plain[-1][0]).max() > 0.1
    env.change_model({"gravity": 0.9})
    env.change_model({})
    env.seed(0)
    env.reset()
    assert_same(rollout(env, 20), plain)


def test_an_episode_under_a_drift_is_gone_on_with() -> None:
    env = make("gym:HalfCheetah-v5", 2, seed=0)
    env.change_model({"gravity": 0.9, "friction": 0.5})
    env.reset()
    for step, taken in enumerate(actions(env, 30)):
        if step % 4 == 0:
            env.change_model({"gravity": 1.0 - step / 100, "friction/floor": 0.5})
        env.step(taken)
    env.change_model({"mass": 1.5})
    other = through_state("gym:HalfCheetah-v5", env)
    assert_same(rollout(other, 30, seed=2), rollout(env, 30, seed=2))
    gravity = [row.model.opt.gravity[2] for row in other.get_attr("unwrapped")]
    assert gravity == [-9.81, -9.81]


def test_an_episode_that_began_under_a_change_is_gone_on_with() -> None:
    env = make("gym:HalfCheetah-v5", 2, seed=0)
    env.change_model({"gravity": 0.5})
    env.reset()
    rollout(env, 10)
    other = through_state("gym:HalfCheetah-v5", env)
    assert_same(rollout(other, 10, seed=2), rollout(env, 10, seed=2))


def test_a_state_of_another_number_of_rows_is_refused() -> None:
    env = make(f"gym:{WALK}", 2, seed=0)
    env.reset()
    with pytest.raises(ValueError, match="the state is of 2 rows, not 3"):
        make(f"gym:{WALK}", 3).load_state_dict(env.state_dict())


def test_a_model_that_is_made_anew_for_each_episode_is_not_changed_in_vain() -> None:
    env = make("gym:toy/Remade-v0", 1, seed=0)
    env.reset()
    env.change_model({"gravity": 0.5})
    with pytest.raises(UserError, match="makes a new MuJoCo model for each episode, so that its"):
        env.reset()


def test_changes_that_make_no_sense_are_refused() -> None:
    env = make("gym:HalfCheetah-v5", 1)
    with pytest.raises(UnknownNameError, match="unknown body 'torsoo'; did you mean 'torso'"):
        env.change_model({"mass/torsoo": 2.0})
    with pytest.raises(UserError, match="the task 'Walk-v0' has no MuJoCo model that could be cha"):
        make(f"gym:{WALK}").change_model({"gravity": 2.0})


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_simulation_that_diverges_ends_its_episode_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    config = mujoco.MjLogConfig.get()
    config.logto_file = True  # MuJoCo's own choice
    config.set()
    env = make("gym:HalfCheetah-v5", 2, seed=0)
    env.reset()
    before = rollout(env, 3)[-1][0]
    env.get_attr("unwrapped")[1].data.qvel[0] = 1e200
    _, rewards, dones, infos = env.step(np.zeros((2, 6)))
    assert dones.tolist() == [False, True] and rewards[1] == 0.0
    assert infos[1]["diverged"] is True and infos[1]["TimeLimit.truncated"] is True
    assert infos[1]["episode"]["l"] == 4
    np.testing.assert_array_equal(infos[1]["terminal_observation"], before[1])
    assert env.num_diverged == 1 and "diverged" not in infos[0]
    assert not list(tmp_path.iterdir())  # no MUJOCO_LOG.TXT
    rollout(env, 2)
    assert env.num_diverged == 1
    assert through_state("gym:HalfCheetah-v5", env).num_diverged == 1
    capfd.readouterr()


# --- in processes


def test_processes_change_no_number_and_tell_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # of those that other tests have named, some are not to be found any more
    monkeypatch.setattr("lifelong_rl.envs.gym_tasks.LOADED_PLUGINS", {"toy_envs"})
    value = {
        "id": WALK,
        "processes": True,
        "wrappers": [{"class": "toy_envs:Shift", "kwargs": {"by": -0.5}}],
    }
    here = make({**value, "processes": False}, 3, num_threads=2, seed=5, one_hot=(1, 2))
    there = make(value, 3, num_threads=2, seed=5, one_hot=(1, 2))
    try:
        np.testing.assert_array_equal(there.reset(), here.reset())
        assert_same(rollout(there, 30), rollout(here, 30))
        state = decode_tree(*encode_tree(there.state_dict()))
        np.testing.assert_equal(state, decode_tree(*encode_tree(here.state_dict())))
        expected = rollout(here, 30, seed=1)
        assert_same(rollout(there, 30, seed=1), expected)
        processes = [group._process for group in there._groups]
        assert len(processes) == 2
        for process in processes:  # Ctrl-C reaches all; the run has to save before it ends
            os.kill(process.pid, signal.SIGINT)
        there.load_state_dict(state)
        assert_same(rollout(there, 30, seed=1), expected)
        with pytest.raises(UserError, match="the task 'Walk-v0' has no MuJoCo model"):
            there.change_model({"gravity": 2.0})
        there.set_attr("unheard", 1, indices=2)
        assert there.get_attr("unheard", indices=[2]) == [1]
        with pytest.raises(RuntimeError, match="AttributeError"):
            there.get_attr("unheard", indices=[1])
        processes[1].kill()
        processes[1].join()
        with pytest.raises(UserError, match="a process that steps environments has ended"):
            there.step(np.zeros((3, 1)))
    finally:
        there.close()
    assert not any(process.is_alive() for process in processes)


# --- the page about them


PAGE = (ROOT / "docs/gymnasium_tasks.md").read_text()


def test_the_page_shows_tasks_and_changes_that_work() -> None:
    told = [parse_yaml(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
    tasks = [GymTask.parse(value) for value in told if "id" in value]
    assert [task.measure for task in tasks] == ["score", "success"]
    assert {key for value in told if "id" in value for key in value} == {
        name for name in GymTask.__dataclass_fields__
    }
    assert [task.dims() for task in tasks] == [(11, 2), (4, 1)]
    (factors,) = [value for value in told if "id" not in value]
    make("gym:HalfCheetah-v5", 1).change_model(factors)
    commands = re.findall(r'--sequence "(.*)" --agent', PAGE)
    assert len(commands) == 2
    for name in ",".join(commands).split(","):
        assert GymTask.parse(name).measure == "score"


def test_the_page_has_the_ranges_that_ship() -> None:
    rows = re.findall(r"^\| (\S+-v5) \| (.*) \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)
    assert {name: (float(low), float(high), source) for name, low, high, source in rows} == {
        name: (found.low, found.high, found.source) for name, found in SCORE_RANGES.items()
    }


def test_the_page_says_what_can_be_repeated() -> None:
    """All of Gymnasium's MuJoCo tasks; a probe of each is cheap."""
    for name in SCORE_RANGES:
        env = make(f"gym:{name}", 1, seed=0)
        env.reset()
        assert env.state_dict()["rows"]


def test_joint_environments_can_be_made_of_them() -> None:
    parts = [make("gym:Reacher-v5", 2, one_hot=(0, 2), obs_dim=10, action_dim=2)]
    parts += [make(f"gym:{WALK}", 1, one_hot=(1, 2), obs_dim=10, action_dim=2)]
    env = JointVecEnv(parts)  # type: ignore[arg-type]
    env.seed(3)
    first = env.reset()
    alone = make("gym:Reacher-v5", 2, seed=3, one_hot=(0, 2))
    np.testing.assert_array_equal(first[:2], alone.reset())
    for taken in np.zeros((60, 3, 2)):
        env.step(taken)
    state = decode_tree(*encode_tree(env.state_dict()))
    expected = [env.step(np.full((3, 2), 0.3))[0] for _ in range(30)]
    env.load_state_dict(state)
    again = [env.step(np.full((3, 2), 0.3))[0] for _ in range(30)]
    np.testing.assert_array_equal(again, expected)


def test_episodes_without_an_end_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lifelong_rl.envs.gym_row.LONGEST", 30)
    env = make({"id": "Pendulum-v1", "kwargs": {"max_episode_steps": -1}}, seed=0)
    env.reset()
    rollout(env, 30)
    with pytest.raises(UserError, match="has not ended after 30 steps; give it an end"):
        rollout(env, 1)
    ended = make({"id": "Pendulum-v1", "kwargs": {"max_episode_steps": 30}}, seed=0)
    ended.reset()
    rollout(ended, 70)
