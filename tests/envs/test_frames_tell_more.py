"""What frames tell beside a place, through two cameras, and along a drift of their look."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from lifelong_rl.cli import main
from lifelong_rl.envs import labelled_frames as frames
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.drift_frames import DRIFT_FRAMES, make_drift, read_drift
from lifelong_rl.envs.experts import get_expert
from lifelong_rl.envs.labelled_frames import film, find_contacts, make_dataset, pool, shuffle
from lifelong_rl.envs.looks import CAMERA, LIGHT, TINT, UNSET, drift
from lifelong_rl.envs.rendering import Renderer, RenderingError
from lifelong_rl.envs.tasks import get_task
from lifelong_rl.errors import UserError
from lifelong_rl.runs.sequence import load_sequence

ROWS, TRAIN, TEST = 4, 8, 4


@pytest.fixture(autouse=True, scope="module")
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("ROWS", ROWS), ("TRAIN_EPISODES", TRAIN), ("TEST_EPISODES", TEST)):
            patch.setattr(frames, name, value)
        film.cache_clear()
        try:
            Renderer(BatchEnv(get_task("push"), 1), width=16, height=16).close()
        except RenderingError as error:
            pytest.skip(str(error))
        yield
        film.cache_clear()


@pytest.fixture(scope="module")
def told() -> Any:
    return film("push", TRAIN + TEST)


def test_classes_are_what_the_state_tells(told: dict[str, np.ndarray]) -> None:
    order, train = shuffle(told["episodes"])
    rows = order[train[order]]
    expected = {
        "contact": told["contact"],
        "success": told["success"],
        "phase": np.where(told["success"], 2, told["moved"] > 0.01),
    }
    for asks, classes in expected.items():
        data = make_dataset(told, asks, ("front",))
        np.testing.assert_array_equal(data.train.labels, classes[rows].astype(int))
        np.testing.assert_array_equal(data.test.labels, classes[order[~train[order]]].astype(int))
        assert data.train.moments is not None
        np.testing.assert_array_equal(data.train.moments[:, 0], told["episodes"][rows])
        np.testing.assert_array_equal(data.train.moments[:, 1], told["steps"][rows])
    first = told["steps"] == 0
    assert not told["moved"][first].any() and not told["success"][first].any()
    assert told["moved"][~first].max() > 0.05 and told["contact"].any() and told["success"].any()
    assert not told["contact"][first].any()


def test_the_hand_touches_what_it_is_put_into() -> None:
    env = BatchEnv(get_task("push"), 3)
    env.seed(0)
    env.reset()
    assert not find_contacts(env).any()
    touched = np.zeros(3, bool)
    for _ in range(40):  # one of the three does what the expert would
        actions = np.zeros((3, env.task.action_dim))
        actions[1] = get_expert("push")(env.state())[1]
        env.step(actions)
        touched |= find_contacts(env)
    assert touched.tolist() == [False, True, False]


def test_two_cameras_see_the_same_moments(told: dict[str, np.ndarray]) -> None:
    both = film("push", TRAIN + TEST, ("front", "across"))
    assert both["frames"].shape[1:] == (2, 16, 16, 3)
    np.testing.assert_array_equal(both["frames"][:, 0], told["frames"])
    assert not np.array_equal(both["frames"][:, 1], told["frames"])
    env = load_sequence("frames-two-cameras").make_env(3, num_envs=2, num_threads=1, seed=0)
    assert env.observation_space.shape == (2 * 768 + 5,)
    layout = env.layout  # type: ignore[attr-defined]
    assert layout.cameras == ("front", "across") and layout.size == 2 * 768
    data = env.unlabelled_data()  # type: ignore[attr-defined]
    assert set(data) == {"observations", "episodes", "steps"} and len(data["steps"]) == 5 * TRAIN


def test_what_frames_ask_has_its_own_classes() -> None:
    for name, classes, tasks in (
        ("frames-contact", 2, 4),
        ("frames-phase", 3, 5),
        ("frames-success", 2, 5),
    ):
        sequence = load_sequence(name)
        assert sequence.num_tasks == tasks
        env = sequence.make_env(tasks - 2, num_envs=1, num_threads=1, seed=0)
        assert env.action_space.n == classes


def test_a_look_changes_light_colours_and_cameras_in_proportion() -> None:
    spec = get_task("push").spec()
    plain, half = spec.compile(), spec.compile()
    drift(0.5).change(half)
    share = 1 + 0.5 * (LIGHT - 1)
    np.testing.assert_allclose(half.light_diffuse, share * plain.light_diffuse)
    np.testing.assert_allclose(half.vis.headlight.diffuse, share * plain.vis.headlight.diffuse)
    tint = 1 + 0.5 * (TINT - 1)
    np.testing.assert_allclose(half.mat_rgba[:, :3], tint * plain.mat_rgba[:, :3], rtol=1e-6)
    unset = (plain.geom_rgba == UNSET).all(axis=1)
    assert unset.any()
    np.testing.assert_array_equal(half.geom_rgba[unset], plain.geom_rgba[unset])
    front, wrist = (plain.camera(name).id for name in ("front", "arm/wrist"))
    np.testing.assert_allclose(half.cam_pos[front] - plain.cam_pos[front], 0.5 * CAMERA)
    np.testing.assert_array_equal(half.cam_pos[wrist], plain.cam_pos[wrist])
    assert drift(0.0).clutter == () and len(drift(0.5).clutter) == 6
    assert drift(1.0).clutter[0].radius == 2 * drift(0.5).clutter[0].radius


def test_pictures_show_the_look_and_the_simulation_does_not() -> None:
    env = BatchEnv(get_task("push"), 1)
    env.seed(0)
    env.reset()
    before, shown = env.batch.model.mat_rgba.copy(), []
    for share in (0.0, 0.5, 1.0):
        renderer = Renderer(env, width=64, height=64, look=drift(share))
        shown.append(pool(renderer.render(0)).astype(float))
        renderer.close()
    plain = Renderer(env, width=64, height=64)
    np.testing.assert_array_equal(pool(plain.render(0)), shown[0])
    plain.close()
    np.testing.assert_array_equal(env.batch.model.mat_rgba, before)
    way = [np.abs(picture - shown[0]).mean() for picture in shown]
    assert 2.0 < way[1] < way[2]
    assert isinstance(env.batch.model, mujoco.MjModel)


def test_only_the_first_step_of_a_drift_is_labelled() -> None:
    sequence = make_drift(2)
    assert sequence.tasks == ("drift-0-of-2", "drift-1-of-2", "drift-2-of-2")
    assert sequence.heads == (0, 0, 0) and sequence.num_heads == 1
    envs = [sequence.make_env(k, num_envs=4) for k in range(3)]
    assert [len(env.labelled_data()["labels"]) for env in envs] == [5 * TRAIN, 0, 0]
    assert [len(env.unlabelled_data()["observations"]) for env in envs] == [5 * TRAIN] * 3
    assert envs[0].observation_space.shape == (768,)
    few = sequence.with_labels(1, seed=0)
    assert len(few.make_env(0, num_envs=1).labelled_data()["labels"]) == 5
    assert len(few.make_env(1, num_envs=1).labelled_data()["labels"]) == 0
    assert len(few.make_joint_env(num_envs=1).labelled_data()["labels"]) == 5
    # the last step is the same however many there are, and is scaled as the first is
    once = make_drift(1).make_env(1, num_envs=4)
    np.testing.assert_array_equal(once.reset(), envs[2].reset())
    assert abs(float(envs[0].unlabelled_data()["observations"].mean())) < 1e-5
    assert float(once.unlabelled_data()["observations"].mean()) < -0.2


def test_a_drift_has_as_many_steps_as_asked() -> None:
    assert load_sequence("drift-frames").num_tasks == 7
    assert load_sequence("drift-frames:3").num_tasks == 4
    assert DRIFT_FRAMES.name == "drift-frames" and read_drift("3").name == "drift-frames:3"
    for wrong in ("0", "101", "many", "1.5", "²"):
        with pytest.raises(UserError, match="a drift has 1 to 100 steps"):
            load_sequence(f"drift-frames:{wrong}")
    with pytest.raises(UserError, match="only its own order"):
        load_sequence("drift-frames", order=1)


def test_a_run_goes_along_a_drift(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--steps-per-task", "20", "--eval-episodes", "8", "--eval-points", "1", "--quiet"]
    words = ["run", "--sequence", "drift-frames:2", *short, "--run-dir", str(tmp_path / "run")]
    gradual = ["--agent", "semi-supervised", "--agent-options", "objective=gradual"]
    assert main([*words, *gradual, "--method", "replay"]) == 0
    capsys.readouterr()
    other = [*words[:-1], str(tmp_path / "other")]
    assert main([*other, "--agent", "classifier"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "needs data labelled with classes" in line and "'semi-supervised'" in line
    assert main([*other, "--agent", "semi-supervised"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "objective=gradual" in line
