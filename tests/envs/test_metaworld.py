"""Meta-World's environments: as it makes them, seeded, and in Continual World's setting.

What needs Meta-World itself is skipped where it is not installed; `make test-metaworld` installs
it first.
"""

from __future__ import annotations

import pickle
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from lifelong_rl.envs.continual_world import CW10_TASKS
from lifelong_rl.envs.metaworld import MetaWorldEnv, MetaWorldTask, demonstrations, installed
from lifelong_rl.envs.metaworld.task import make_row
from lifelong_rl.errors import UserError

needs_metaworld = pytest.mark.skipif(
    find_spec("metaworld") is None, reason="Meta-World is not installed; run make test-metaworld"
)
WELDED = """
<mujoco>
  <worldbody>
    <body name="mocap" mocap="true"/>
    <body name="hand"><freejoint/><geom size=".1"/></body>
    <body name="other" pos="1 0 0"><freejoint/><geom size=".1"/></body>
  </worldbody>
  <equality>
    <connect body1="other" anchor="0 0 .5"/>
    <weld body1="mocap" body2="hand"/>
  </equality>
</mujoco>
"""


def run(env: MetaWorldEnv, actions: np.ndarray) -> list[np.ndarray]:
    """Observations of an environment after each of some actions, whose episode does not end."""
    return [env.step(action)[0] for action in actions]


def random_actions(steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (steps, 4)).astype(np.float32)


def test_a_weld_is_reset_to_eleven_numbers_and_what_is_no_weld_is_left_alone() -> None:
    model = mujoco.MjModel.from_xml_string(WELDED)
    model.eq_data[:] = 7.0
    installed.reset_mocap_welds(SimpleNamespace(model=model))
    assert (model.eq_data[0] == 7.0).all()
    assert model.eq_data[1].tolist() == [0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 5, *[7] * 1]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (None, "Meta-World is not installed: .*--no-deps metaworld==3.1.1"),
        ("3.0.0", "Meta-World is of version 3.0.0, .*those of 3.1.1: .*metaworld==3.1.1"),
    ],
)
def test_a_missing_or_another_meta_world_is_told_in_a_line_with_the_command(
    found: str | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if found is None:
            raise PackageNotFoundError(name)
        return found

    monkeypatch.setattr(installed, "version", version)
    installed.import_metaworld.cache_clear()
    with pytest.raises(UserError, match=told) as caught:
        MetaWorldEnv("push-v3")
    assert "\n" not in str(caught.value)


@needs_metaworld
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"name": "push-v2"}, "unknown task of Meta-World 'push-v2'; did you mean 'push-v3'"),
        ({"reward": "v3"}, "the reward of the task 'push-v3' .* is 'v3'; it is v1 or v2"),
        ({"observation": "long"}, "the observation of .* is 'long'; it is full or short"),
        ({"horizon": 0}, "the horizon of .* is 0; it is a number of control steps, at least 1"),
    ],
)
def test_what_is_not_allowed_is_refused(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        MetaWorldEnv(**{"name": "push-v3", **arguments})


def own_environment(name: str, reward_version: str, generator: np.random.Generator) -> Any:
    """Meta-World's own environment as its benchmark MT50 sets it up, with starts that are drawn."""
    metaworld = installed.import_metaworld()
    cls = metaworld.ALL_V3_ENVIRONMENTS[name]
    env = cls(reward_function_version=reward_version)
    data = {"rand_vec": None, "env_cls": cls, "partially_observable": False}
    env.set_task(metaworld.Task(env_name=name, data=pickle.dumps(data)))
    env._freeze_rand_vec, env.seeded_rand_vec, env.np_random = False, True, generator
    return env


@needs_metaworld
@pytest.mark.parametrize("reward_version", ["v1", "v2"])
@pytest.mark.parametrize("name", CW10_TASKS)
def test_episodes_are_those_of_meta_worlds_own_environment_to_the_last_bit(
    name: str, reward_version: Any
) -> None:
    compare_with_own(name, reward_version, steps=60)


@needs_metaworld
@pytest.mark.slow
def test_episodes_of_all_tasks_are_meta_worlds_own() -> None:
    for name in installed.import_metaworld().ALL_V3_ENVIRONMENTS:
        for reward_version in ("v1", "v2"):
            compare_with_own(name, reward_version, steps=200)


def compare_with_own(name: str, reward_version: Any, steps: int) -> None:
    """Step both by the same actions: a few at random, then those of the scripted policy."""
    env = MetaWorldEnv(name, reward=reward_version)
    observation, _ = env.reset(seed=3)
    own = own_environment(name, reward_version, np.random.default_rng(3))
    assert type(own).__mro__[1].__name__ == "SawyerXYZEnv"  # and none of our methods
    np.testing.assert_array_equal(observation, own.reset()[0])
    at_random = random_actions(20) * 1.5
    for t in range(steps):
        action = env.expert_action() if t >= 20 else at_random[t]
        observation, reward, _, _, info = env.step(action)
        theirs, own_reward, _, _, own_info = own.step(action)
        np.testing.assert_array_equal(observation, theirs)
        np.testing.assert_array_equal(env.data.qpos, own.data.qpos)
        assert reward == own_reward
        np.testing.assert_equal(info, own_info)


@needs_metaworld
def test_an_object_is_touched_where_meta_world_says_so() -> None:
    env = MetaWorldEnv("push-v3")
    env.reset(seed=0)
    own = own_environment("push-v3", "v2", np.random.default_rng(0))
    own.reset()
    puck = own.data.geom("objGeom").id
    pads = [own.data.geom(f"{side}pad_geom").id for side in ("left", "right")]
    told, touching_pads = set(), set()
    for t in range(120):
        action = env.expert_action()
        if t % 9 == 0:  # lose it now and then
            action = np.array([0, 1, 0.5, -1], np.float32)
        env.step(action), own.step(action)
        assert env._env.touching_object(puck) == own.touching_object(puck)
        told.add(own.touching_object(puck))
        pairs = [set(pair) for pair in own.data.contact.geom.tolist()]
        touching_pads.add(sum({pad, puck} in pairs for pad in pads))
    assert told == {False, True} and touching_pads == {0, 1, 2}


@needs_metaworld
def test_the_seed_decides_all_episodes_and_the_global_generator_none() -> None:
    env = MetaWorldEnv("push-v3", horizon=3)
    starts = []
    for seed in (1, 1, 2):
        np.random.seed(seed + len(starts))  # noqa: NPY002 (Meta-World draws from it by default)
        before = np.random.get_state()[1].tolist()  # noqa: NPY002
        starts.append([env.reset(seed=seed)[0], env.reset()[0], env.reset()[0]])
        assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
    np.testing.assert_array_equal(starts[0], starts[1])
    assert not np.array_equal(starts[0], starts[2])
    positions = np.array(starts)[:, :, 4:6], np.array(starts)[:, :, 36:38]  # of puck and goal
    for of_them in positions:
        assert len(np.unique(of_them[0], axis=0)) == 3


@needs_metaworld
@pytest.mark.parametrize("horizon", [5, 200])
def test_episodes_are_truncated_at_the_horizon_and_never_terminate(horizon: int) -> None:
    env = MetaWorldEnv("reach-v3", horizon=horizon)
    for _ in range(2 if horizon == 5 else 1):
        env.reset(seed=0)
        ends = [env.step(np.zeros(4, np.float32))[2:4] for _ in range(horizon)]
        assert ends == [(False, False)] * (horizon - 1) + [(False, True)]
    assert MetaWorldEnv("reach-v3").horizon == 200


@needs_metaworld
@pytest.mark.parametrize(("name", "second"), [("push-v3", None), ("hammer-v3", "nail_link")])
def test_the_short_observation_is_that_of_continual_world(name: str, second: str | None) -> None:
    first = {"push-v3": "obj", "hammer-v3": "hammer"}[name]
    short, full = MetaWorldEnv(name, observation="short"), MetaWorldEnv(name)
    short.reset(seed=0), full.reset(seed=0)
    for action in random_actions(5):
        seen, whole = short.step(action)[0], full.step(action)[0]
    assert seen.shape == short.observation_space.shape == (12,)
    assert whole.shape == full.observation_space.shape == (39,)
    at = [short.data.body(body).xpos for body in ("hand", first)]
    at.append(np.zeros(3) if second is None else short.data.body(second).xpos)
    np.testing.assert_array_equal(seen[:9], np.concatenate(at))
    np.testing.assert_allclose(seen[9:], short._env._target_pos, atol=0.02)  # clipped to its bounds
    np.testing.assert_array_equal(seen[9:], whole[36:])
    assert seen[9:].any()


@needs_metaworld
@pytest.mark.parametrize("name", CW10_TASKS)
def test_generator_and_actions_are_all_that_an_episode_depends_on(name: str) -> None:
    def make() -> MetaWorldEnv:
        return MetaWorldEnv(name, horizon=30)

    first = make()
    first.reset(seed=5)
    run(first, random_actions(30, seed=1))
    begun = first.np_random.bit_generator.state
    first.reset()
    run(first, random_actions(30, seed=2)[:20])
    second = make()
    second.reset(seed=77)
    run(second, random_actions(10, seed=3))
    second.np_random.bit_generator.state = begun
    second.reset()
    run(second, random_actions(30, seed=2)[:20])
    for action in random_actions(10, seed=4):
        np.testing.assert_array_equal(first.step(action)[0], second.step(action)[0])
    for field in ("qpos", "qvel", "mocap_pos", "qacc_warmstart"):
        np.testing.assert_array_equal(getattr(first.data, field), getattr(second.data, field))


@needs_metaworld
@pytest.mark.filterwarnings("ignore:.*observation space m.* value is.*infinity")
@pytest.mark.parametrize("observation", ["full", "short"])
def test_it_is_an_environment_of_gymnasium(observation: Any) -> None:
    check_env(MetaWorldEnv("push-v3", observation=observation), skip_render_check=True)


@needs_metaworld
def test_the_reward_of_version_v1_is_another_one() -> None:
    rewards = {}
    for version in ("v1", "v2"):
        env = MetaWorldEnv("push-v3", reward=version)  # type: ignore[arg-type]
        env.reset(seed=0)
        rewards[version] = [env.step(action)[1] for action in random_actions(3)]
    assert max(rewards["v1"]) < 0 < min(rewards["v2"])  # minus a distance; a product of shares


@needs_metaworld
def test_version_v1_of_stick_pull_takes_the_stick_for_the_thermos() -> None:
    env = MetaWorldEnv("stick-pull-v3", reward="v1")
    observation, _ = env.reset(seed=0)
    action = np.zeros(4, np.float32)

    def reward(changed: slice) -> float:
        told = observation.copy()
        told[changed] += 0.1
        value: float = env._env.compute_reward(action, told)[3]  # distance of the "object" to goal
        return value

    assert reward(slice(11, 14)) == reward(slice(0, 0))
    assert reward(slice(6, 8)) != reward(slice(0, 0))


@needs_metaworld
@pytest.mark.parametrize(
    # the last two are starts from which Meta-World's own policies lose the object
    ("name", "seed", "episode"),
    [("handle-press-side-v3", 0, 0), ("push-back-v3", 0, 0), ("shelf-place-v3", 0, 3)],
)
def test_experts_solve_a_task_and_keep_to_the_action_space(
    name: str, seed: int, episode: int
) -> None:
    env = MetaWorldEnv(name)
    env.reset(seed=seed)
    for _ in range(episode):
        env.reset()
    solved = truncated = False
    while not truncated and not solved:
        action = env.expert_action()
        assert action in env.action_space
        _, _, _, truncated, info = env.step(action)
        solved = bool(info["success"])
    assert solved


@needs_metaworld
def test_experts_act_alike_with_the_short_observation() -> None:
    short, full = (MetaWorldEnv("push-v3", observation=kind) for kind in ("short", "full"))
    short.reset(seed=1), full.reset(seed=1)
    np.testing.assert_array_equal(short.expert_action(), full.expert_action())


@needs_metaworld
@pytest.mark.slow
def test_experts_solve_97_of_100_episodes_of_cw10() -> None:
    solved = {}
    for name in CW10_TASKS:
        env = MetaWorldEnv(name)
        solved[name] = sum(solves(env, 0 if episode == 0 else None) for episode in range(10))
    assert sum(solved.values()) >= 97, solved


def solves(env: MetaWorldEnv, seed: int | None) -> bool:
    env.reset(seed=seed)
    success = truncated = False
    while not truncated:
        _, _, _, truncated, info = env.step(env.expert_action())
        success |= bool(info["success"])
    return success


def make_task(**arguments: Any) -> MetaWorldTask:
    return MetaWorldTask.parse({"id": "push-v3", **arguments})


def test_the_version_of_a_task_tells_all_that_decides_its_results() -> None:
    assert make_task().version == "3.1.1-reward-v2-horizon-200"
    others = [{"reward": "v1"}, {"horizon": 500}, {"observation": "short"}]
    versions = {make_task(**other).version for other in ({}, *others)}
    assert len(versions) == 4
    assert make_task(label="mine", processes=True).version == make_task().version


def test_a_task_is_read_from_a_text_and_from_a_mapping() -> None:
    assert MetaWorldTask.parse("metaworld:push-v3") == make_task() != make_task(reward="v1")
    task = make_task(label="mine", observation="short", reward="v1", horizon=9)
    assert (task.label, task.dims(), task.measure) == ("mine", (12, 4), "success")
    assert make_task().label == "push-v3" and make_task().dims() == (39, 4)
    assert task.offers == ("continuous actions", "expert")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"rewards": "v1"}, "unknown key of a task of Meta-World 'rewards'; did you mean 'reward'"),
        ({"reward": ["v1"]}, r"the reward of the task 'push-v3' .* is \['v1'\]; it is v1 or v2"),
        ({"observation": {}}, "the observation of .* is {}; it is full or short"),
        ({"horizon": 2.5}, "the horizon of .* is 2.5; it is a number of control steps"),
        ({"processes": "no"}, "processes of the task 'push-v3' .* is 'no'; it is true or false"),
        ({"id": 3}, "the id of a task of Meta-World is 3; it is a name such as push-v3"),
        ({"id": ""}, "the id of a task of Meta-World is ''"),
    ],
)
def test_a_wrong_task_is_told_in_a_line(content: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        make_task(**content)
    assert "\n" not in str(caught.value)


@needs_metaworld
def test_rows_show_what_the_environment_does_padded_and_with_a_one_hot() -> None:
    task = make_task(horizon=4)
    env = task.make_env(num_envs=2, seed=5, one_hot=(1, 3), obs_dim=41, action_dim=6)
    alone = task.make()
    seen, shown = alone.reset(seed=6)[0], env.reset()
    actions = np.random.default_rng(0).uniform(-1, 1, (4, 2, 6)).astype(np.float32)
    tail = [0, 0, 0, 1, 0]
    for action in actions:
        np.testing.assert_array_equal(shown[1], [*seen.astype(np.float32), *tail])
        seen, reward, *_ = alone.step(action[1, :4])
        shown, rewards, dones, infos = env.step(action)
        assert rewards[1] == np.float32(reward)
    assert dones.all() and infos[1]["TimeLimit.truncated"]
    np.testing.assert_array_equal(
        infos[1]["terminal_observation"], [*seen.astype(np.float32), *tail]
    )
    assert infos[1]["episode"]["l"] == 4 and infos[1]["episode"]["success"] is False
    np.testing.assert_array_equal(shown[1, :39], alone.reset()[0].astype(np.float32))


@needs_metaworld
def test_an_interrupted_episode_goes_on_to_the_last_bit() -> None:
    task = make_task(horizon=12)
    actions = np.random.default_rng(0).uniform(-1, 1, (30, 2, 4)).astype(np.float32)
    first, second = (task.make_env(num_envs=2, seed=seed) for seed in (1, 2))
    first.reset(), second.reset()
    for action in actions[:17]:
        first.step(action)
    second.load_state_dict(first.state_dict())
    for action in actions[17:]:
        for one, other in zip(first.step(action)[:3], second.step(action)[:3], strict=True):
            np.testing.assert_array_equal(one, other)


@needs_metaworld
def test_the_scripted_policy_acts_in_every_row_as_it_does_alone() -> None:
    task = make_task(observation="short")
    env = task.make_env(num_envs=2, seed=1, one_hot=(0, 2), obs_dim=12, action_dim=5)
    env.reset()
    alone = task.make()
    alone.reset(seed=2)
    for _ in range(3):
        actions = env.expert_actions()
        assert actions.shape == (2, 5) and actions.dtype == np.float32
        own = alone.expert_action()
        np.testing.assert_array_equal(actions[1], [*own, 0])
        env.step(actions)
        alone.step(own)


@needs_metaworld
@pytest.mark.slow
def test_processes_change_no_number() -> None:
    here, elsewhere = (
        make_task(horizon=5, processes=processes).make_env(num_envs=3, num_threads=2, seed=1)
        for processes in (False, True)
    )
    try:
        np.testing.assert_array_equal(here.reset(), elsewhere.reset())
        for _ in range(12):
            actions = here.expert_actions()
            np.testing.assert_array_equal(actions, elsewhere.expert_actions())
            for one, other in zip(here.step(actions)[:3], elsewhere.step(actions)[:3], strict=True):
                np.testing.assert_array_equal(one, other)
    finally:
        elsewhere.close()


@needs_metaworld
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_demonstrations_are_the_steps_that_the_scripted_policy_takes(noise: float) -> None:
    task = make_task(horizon=30)
    env = task.make_env(num_envs=1, seed=9, one_hot=(1, 2), obs_dim=40, action_dim=4)
    rows = env.demonstrations(2, seed=4, noise=noise)
    assert {name: array.shape for name, array in rows.items()} == {
        "observations": (60, 42),
        "next_observations": (60, 42),
        "actions": (60, 4),
        "expert_actions": (60, 4),
        "rewards": (60,),
        "dones": (60,),
    }
    assert not rows["dones"].any() and {str(rows[name].dtype) for name in rows} == {"float32"}
    again = task.make_env(num_envs=2, seed=4, one_hot=(1, 2), obs_dim=40, action_dim=4)
    shown = again.reset()
    for t in range(30):
        at = [t, 30 + t]
        np.testing.assert_array_equal(rows["observations"][at], shown)
        np.testing.assert_array_equal(rows["expert_actions"][at], again.expert_actions())
        shown, rewards, _, infos = again.step(rows["actions"][at])
        following = shown if t < 29 else [info["terminal_observation"] for info in infos]
        np.testing.assert_array_equal(rows["next_observations"][at], following)
        np.testing.assert_array_equal(rows["rewards"][at], rewards)
    apart = np.abs(rows["actions"] - rows["expert_actions"])
    assert (apart.max() > 0.3) if noise else (apart.max() == 0)


@needs_metaworld
def test_a_demonstrated_episode_depends_on_neither_their_number_nor_the_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demonstrations, "ROWS", 2)
    task = make_task(horizon=5)
    few, many = (
        demonstrations.collect(make_row(task), 5, episodes=episodes, seed=3, noise=0.1)
        for episodes in (3, 5)
    )
    env = task.make_env(num_envs=2, seed=3)
    shown = env.reset()
    for episode in range(4):
        if episode % 2 == 0:
            starts = shown
            for _ in range(5):
                shown = env.step(np.zeros((2, 4), np.float32))[0]
        np.testing.assert_array_equal(many.observations[episode, 0], starts[episode % 2])
    for name, array in vars(few).items():
        np.testing.assert_array_equal(array, getattr(many, name)[:3])
    assert not many.expert_actions[..., 3].any()  # so that none of its noise is clipped
    assert len(np.unique(many.actions[..., 3].round(6), axis=0)) == 5


@needs_metaworld
def test_demonstrations_are_made_once_and_anew_for_another_setting() -> None:
    made: list[dict[str, Any]] = []

    def store(description: Any, make: Any) -> Any:
        made.append(dict(description))
        return make()

    for arguments in ({}, {}, {"reward": "v1"}, {"observation": "short"}, {"horizon": 4}):
        task = make_task(**{"horizon": 3, **arguments}).with_store(store)
        env = task.make_env(num_envs=1)
        if len(made) == 1:
            env.change_model({"gravity": 0.5})
        env.demonstrations(1, seed=0)
        env.close()
    assert len({str(description) for description in made}) == 5
    assert made[1]["factors"] == {"gravity": 0.5} and made[0]["task"] == "push-v3"


@needs_metaworld
def test_demonstrations_of_a_changed_model_are_made_with_it() -> None:
    env = make_task(horizon=20).make_env(num_envs=1, seed=0)
    plain = env.demonstrations(1, seed=0)["next_observations"]
    env.change_model({"damping": 20.0})
    changed = env.demonstrations(1, seed=0)["next_observations"]
    env.reset()
    for t in range(19):
        shown = env.step(env.expert_actions())[0][0]
        np.testing.assert_array_equal(shown, changed[t])
    assert not np.array_equal(plain, changed)
