"""Changes of a model say what holds, relative to the original, and act on the physics."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest

from lifelong_rl import envs
from lifelong_rl.envs.batch_env import BatchEnv, log_to_no_file
from lifelong_rl.envs.model_changes import QUANTITIES, change_model, check_factors
from lifelong_rl.envs.sequences import get_sequence
from lifelong_rl.envs.tasks import get_task
from lifelong_rl.errors import UserError
from lifelong_rl.storage.state_tree import decode_tree, encode_tree

XML = """
<mujoco>
  <option timestep="0.001"/>
  <default><geom density="1000"/></default>
  <worldbody>
    <geom name="floor" type="plane" size="5 5 .1"/>
    <body name="puck" pos="0 0 1">
      <freejoint name="free"/>
      <geom name="puck" type="cylinder" size=".05 .02" friction=".6 .01 .001"/>
      <geom name="knob" type="sphere" size=".02" pos="0 0 .04"/>
    </body>
    <body name="arm" pos="1 0 1">
      <joint name="hinge" axis="0 1 0" damping=".5"/>
      <geom name="rod" type="capsule" fromto="0 0 0 .3 0 0" size=".02"/>
      <body name="hand" pos=".3 0 0">
        <joint name="wrist" axis="0 1 0" damping=".2"/>
        <geom type="box" size=".03 .02 .01"/>
      </body>
    </body>
  </worldbody>
  <contact><pair geom1="floor" geom2="puck" friction=".8 .8 .01 .001 .001"/></contact>
  <actuator><motor name="motor" joint="hinge"/></actuator>
</mujoco>
"""
EVERYTHING = {"gravity": 0.5, "friction": 2.0, "damping": 3.0, "mass": 4.0, "size": 1.5}


def arrays(model: mujoco.MjModel) -> dict[str, np.ndarray]:
    """All numbers of a model that a change could touch, by name."""
    names = [name for name in dir(model) if not name.startswith("_")]
    found = {name: getattr(model, name) for name in names}
    own = {name: value.copy() for name, value in found.items() if isinstance(value, np.ndarray)}
    stat = {f"stat.{n}": getattr(model.stat, n) for n in ("meaninertia", "meanmass", "extent")}
    return {**own, "opt.gravity": model.opt.gravity.copy(), **stat}


def differing(model: mujoco.MjModel, other: mujoco.MjModel) -> set[str]:
    found, expected = arrays(model), arrays(other)
    return {name for name in found if not np.array_equal(found[name], expected[name])}


@pytest.fixture
def original() -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(XML)


def changed(original: mujoco.MjModel, factors: dict[str, float]) -> mujoco.MjModel:
    model = copy.copy(original)
    change_model(model, original, factors)
    return model


@pytest.mark.parametrize(
    ("factors", "fields"),
    [
        ({"gravity": 0.5}, {"opt.gravity"}),
        ({"friction": 2.0}, {"geom_friction", "pair_friction"}),
        ({"damping": 3.0}, {"dof_damping"}),
        (
            {"mass": 4.0},
            {
                "body_mass",
                "body_inertia",
                "body_subtreemass",
                "body_invweight0",
                "dof_M0",
                "dof_invweight0",
                "actuator_acc0",
            },
        ),
        (
            {"size": 1.5},
            {"geom_size", "geom_rbound", "geom_aabb", "bvh_aabb", "dof_length"},
        ),
        ({}, set()),
    ],
)
def test_a_factor_changes_its_fields_and_no_other(
    original: mujoco.MjModel, factors: dict[str, float], fields: set[str]
) -> None:
    model = changed(original, factors)
    assert differing(model, original) == fields
    change_model(model, original, {})
    assert differing(model, original) == set()


def test_values_are_the_original_ones_times_the_factor(original: mujoco.MjModel) -> None:
    model = changed(original, EVERYTHING)
    np.testing.assert_array_equal(model.opt.gravity, [0, 0, -9.81 * 0.5])
    np.testing.assert_array_equal(model.geom("puck").friction, [1.2, 0.02, 0.002])
    np.testing.assert_array_equal(model.pair_friction[0], 2 * original.pair_friction[0])
    np.testing.assert_array_equal(model.joint("hinge").damping, 1.5)
    np.testing.assert_array_equal(model.body_mass, 4 * original.body_mass)
    np.testing.assert_array_equal(model.body_inertia, 4 * original.body_inertia)
    np.testing.assert_allclose(model.geom("puck").size[:2], [0.075, 0.03], rtol=1e-15)
    np.testing.assert_array_equal(model.geom("floor").size, original.geom("floor").size)
    # the bound of a cylinder is half its diagonal
    np.testing.assert_allclose(model.geom("puck").rbound, np.hypot(0.075, 0.03), rtol=1e-15)


def test_constants_are_those_of_a_model_compiled_with_these_masses_and_sizes(
    original: mujoco.MjModel,
) -> None:
    heavier = XML.replace('density="1000"', 'density="4000"')
    compiled = mujoco.MjModel.from_xml_string(heavier)
    model = changed(original, {"mass": 4.0})
    for name in ("body_subtreemass", "body_invweight0", "dof_M0", "dof_invweight0"):
        np.testing.assert_allclose(getattr(model, name), getattr(compiled, name), rtol=1e-12)


def test_one_element_has_its_own_factor_in_place_of_all(original: mujoco.MjModel) -> None:
    factors = {"friction/puck": 0.5, "friction": 2.0, "mass/hand": 3.0, "damping/wrist": 0.0}
    model = changed(original, factors)
    np.testing.assert_array_equal(model.geom("puck").friction, 0.5 * np.array([0.6, 0.01, 0.001]))
    np.testing.assert_array_equal(model.geom("rod").friction, 2 * original.geom("rod").friction)
    np.testing.assert_array_equal(model.pair_friction[0], 2 * original.pair_friction[0])
    assert model.body("hand").mass == 3 * original.body("hand").mass
    assert model.body("arm").mass == original.body("arm").mass
    assert model.joint("wrist").damping == 0 and model.joint("hinge").damping == 0.5
    backwards = changed(original, dict(reversed(factors.items())))
    assert differing(model, backwards) == set()


def test_a_body_stands_for_its_elements_and_the_end_of_a_name_for_the_whole() -> None:
    original = get_task("push").model()
    rim, ring = (original.geom(f"puck/puck_{part}").id for part in ("rim", "ring"))
    of_puck = original.geom_bodyid == original.body("puck/puck").id
    assert of_puck.sum() > 2
    for name in ("puck", "puck/puck"):
        model = changed(original, {f"friction/{name}": 0.5, "friction/puck_rim": 3.0})
        factor = model.geom_friction[:, 0] / original.geom_friction[:, 0]
        assert factor[rim] == 3.0 and factor[ring] == 0.5
        assert (factor[of_puck & (np.arange(original.ngeom) != rim)] == 0.5).all()
        assert (factor[~of_puck] == 1.0).all()
    two = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><geom name='a/end' size='1'/><geom name='b/end' size='1'/>"
        "</worldbody></mujoco>"
    )
    with pytest.raises(UserError, match="unknown geom 'end'; did you mean"):
        changed(two, {"friction/end": 2.0})


def test_a_change_does_not_depend_on_those_before(original: mujoco.MjModel) -> None:
    model = changed(original, EVERYTHING)
    for factors in ({"mass": 0.3, "size": 2.0}, {"gravity": 0.0}, EVERYTHING, EVERYTHING):
        change_model(model, original, factors)
        assert differing(model, changed(original, factors)) == set()


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({"gravty": 1.0}, "unknown quantity of a model 'gravty'; did you mean 'gravity'?"),
        ({"gravity/puck": 1.0}, "gravity is that of the whole model; write 'gravity'"),
        ({"friction/": 1.0}, "'friction/' names no geom"),
        ({"friction/pukc": 1.0}, "unknown geom 'pukc'; did you mean 'puck'?"),
        ({"damping/hing": 1.0}, "unknown joint 'hing'; did you mean 'hinge'?"),
        ({"mass/knob": 1.0}, "unknown body 'knob'; known: arm, hand, puck, world"),
        ({"mass": 0.0}, "the factor of mass is 0.0; it must be more than 0"),
        ({"size/puck": -1.0}, "the factor of size/puck is -1.0; it must be more than 0"),
        ({"friction": -1}, "the factor of friction is -1; it must be at least 0"),
        ({"gravity": float("nan")}, "the factor of gravity is nan; it must be a finite number"),
        ({"gravity": True}, "the factor of gravity is True; it must be a finite number"),
        ({"gravity": "2"}, "the factor of gravity is '2'; it must be a finite number"),
        ({"size/floor": 2.0}, "size/floor changes nothing: only planes, meshes and"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_and_nothing_changes(
    original: mujoco.MjModel, factors: dict[str, Any], message: str
) -> None:
    model = copy.copy(original)
    with pytest.raises(UserError) as error:
        change_model(model, original, {"damping": 2.0, **factors})
    assert str(error.value).startswith(message) and "\n" not in str(error.value)
    assert differing(model, original) == set()


def test_a_model_of_meshes_alone_has_no_size_to_change() -> None:
    plane = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><geom type='plane' size='1 1 1'/></worldbody></mujoco>"
    )
    with pytest.raises(UserError, match="size changes nothing"):
        changed(plane, {"size": 2.0})


def test_factors_are_checked_without_a_model() -> None:
    assert check_factors({"gravity": -1, "mass/any": np.float32(0.5)}) == {
        "gravity": -1.0,
        "mass/any": 0.5,
    }
    assert list(QUANTITIES) == ["gravity", "friction", "damping", "mass", "size"]


def free_fall(original: mujoco.MjModel, factors: dict[str, float]) -> float:
    """Seconds until the puck has fallen by half a metre."""
    model = changed(original, factors)
    data = mujoco.MjData(model)
    while data.joint("free").qpos[2] > 0.5:
        mujoco.mj_step(model, data)
    return float(data.time)


def test_a_fall_takes_longer_by_the_root_of_gravity(original: mujoco.MjModel) -> None:
    full, half = free_fall(original, {}), free_fall(original, {"gravity": 0.5})
    assert full == pytest.approx(np.sqrt(2 * 0.5 / 9.81), abs=0.003)
    assert half / full == pytest.approx(np.sqrt(2), abs=0.01)
    assert free_fall(original, {"mass": 5.0}) == full


# --- environments of our own


def rollout(env: Any, steps: int = 12) -> np.ndarray:
    rng = np.random.default_rng(0)
    shape = (env.num_envs, *env.action_space.shape)
    return np.stack([env.step(rng.uniform(-1, 1, shape))[0] for _ in range(steps)])


def test_a_batch_is_changed_and_others_of_its_task_are_not() -> None:
    env, other = (envs.make_vec("push", num_envs=3, seed=5) for _ in range(2))
    env.change_model({"friction": 0.2, "gravity": 0.5})
    first, plain = env.reset(), other.reset()
    np.testing.assert_array_equal(first, plain)
    found, expected = rollout(env), rollout(other)
    assert np.abs(found - expected).max() > 1e-3
    env.change_model({})
    env.seed(5)
    env.reset()
    np.testing.assert_array_equal(rollout(env), expected)


def test_a_change_within_an_episode_acts_from_the_next_step_on() -> None:
    """An episode under a change is the same whether the change came before or after its reset."""
    before, after = (envs.make_vec("drawer-open", num_envs=2, seed=1) for _ in range(2))
    factors = {"gravity": 0.3, "mass": 2.0, "damping": 4.0}
    before.change_model(factors)
    before.reset()
    after.reset()
    after.change_model({"damping": 9.0})
    after.change_model(factors)
    np.testing.assert_array_equal(rollout(after), rollout(before))


@pytest.mark.parametrize("way", ["state_dict", "pickle", "deepcopy"])
def test_a_changed_batch_goes_on_elsewhere_to_the_last_bit(way: str) -> None:
    env = envs.make_vec("push", num_envs=2, seed=3)
    env.reset()
    rollout(env, 5)
    env.change_model({"friction/puck": 0.1, "size/puck": 1.2})
    rollout(env, 5)
    if way == "state_dict":
        other = envs.make_vec("push", num_envs=2, seed=0)
        other.load_state_dict(decode_tree(*encode_tree(env.state_dict())))
    else:
        other = copy.deepcopy(env) if way == "deepcopy" else pickle.loads(pickle.dumps(env))
    assert other.batch_env.factors == {"friction/puck": 0.1, "size/puck": 1.2}
    np.testing.assert_array_equal(rollout(other, 45), rollout(env, 45))


def test_a_state_of_an_earlier_version_has_the_tasks_own_model() -> None:
    env = BatchEnv(get_task("reach"), 2)
    env.seed(0)
    env.reset()
    state = env.state_dict()
    del state["factors"]
    env.change_model({"gravity": 0.5})
    env.load_state_dict(state)
    assert env.factors == {}


def test_joint_environments_hand_changes_on() -> None:
    env = get_sequence("reach,push").make_joint_env(num_envs=2, seed=0)
    env.change_model({"gravity": 0.5})
    assert [part.batch_env.factors for part in env.parts] == [{"gravity": 0.5}] * 2


def test_demonstrations_are_of_the_changed_model() -> None:
    env = envs.make_vec("push", num_envs=1)
    plain = env.demonstrations(2, seed=0)
    env.change_model({"friction": 0.1})
    changed = env.demonstrations(2, seed=0)
    assert not np.array_equal(changed["observations"], plain["observations"])
    env.change_model({})
    again = env.demonstrations(2, seed=0)
    np.testing.assert_array_equal(again["observations"], plain["observations"])


def test_sizes_stay_where_pictures_are_observed() -> None:
    env = envs.make_vec("push", num_envs=1, observation="pixels", cameras=("front",))
    with pytest.raises(UserError, match="size cannot be changed where pictures are observed"):
        env.change_model({"size": 2.0})
    env.seed(0)
    before = env.reset()
    env.change_model({"gravity": 0.5})
    env.seed(0)
    np.testing.assert_equal(env.reset(), before)
    env.close()


@pytest.mark.parametrize("name", ["HalfCheetah-v5", "Humanoid-v5", "Pusher-v5"])
def test_gymnasiums_models_are_changed_and_changed_back(name: str) -> None:
    log_to_no_file()  # MuJoCo warns of what is old in one of them
    model = gymnasium.make(name, disable_env_checker=True).unwrapped.model  # type: ignore[attr-defined]
    original = copy.copy(model)
    change_model(model, original, EVERYTHING)
    # everything that MuJoCo itself derives from these masses and sizes is there
    derived = copy.copy(model)
    mujoco.mj_setConst(derived, mujoco.MjData(derived))
    assert differing(model, derived) == set()
    change_model(model, original, {})
    assert differing(model, original) == set()
