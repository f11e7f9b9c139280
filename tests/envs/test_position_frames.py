"""Camera frames that are labelled with where the object is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from lifelong_rl.cli import main
from lifelong_rl.envs import labelled_frames as frames
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.labelled_data import Dataset, Samples
from lifelong_rl.envs.labelled_frames import film, make_dataset, shuffle
from lifelong_rl.envs.position_frames import FRAMES_POSITION, TOLERANCE, PositionEnv
from lifelong_rl.envs.rendering import Renderer, RenderingError
from lifelong_rl.envs.tasks import get_task
from lifelong_rl.runs.sequence import load_sequence

ROWS, TRAIN, TEST = 4, 8, 4


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in (("ROWS", ROWS), ("TRAIN_EPISODES", TRAIN), ("TEST_EPISODES", TEST)):
        monkeypatch.setattr(frames, name, value)
    film.cache_clear()
    try:
        Renderer(BatchEnv(get_task("push"), 1), width=16, height=16).close()
    except RenderingError as error:
        pytest.skip(str(error))
    yield
    film.cache_clear()


def positions(*rows: tuple[float, float, float]) -> Samples:
    labels = np.array(rows, np.float32)
    return Samples(np.zeros((len(rows), 2), np.float32), labels)


def test_a_position_is_judged_by_its_distance() -> None:
    shown = positions((0.5, 0.0, 0.1), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    env = PositionEnv(Dataset(shown, shown), None, 3)
    assert env.action_space == gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    env.reset()
    near, far = 0.99 * TOLERANCE, 1.01 * TOLERANCE
    actions = np.array([[0.5 + near, 0.0, 0.1], [0.0, far, 0.0], [1.3, 1.0, 0.6]], np.float32)
    _, rewards, dones, infos = env.step(actions)
    np.testing.assert_allclose(rewards, [-near, -far, -0.5], rtol=1e-4)
    assert rewards.dtype == np.float32 and dones.all()
    assert [info["success"] for info in infos] == [True, False, False]
    assert [info["episode"]["success"] for info in infos] == [True, False, False]
    assert [info["episode"]["r"] for info in infos] == rewards.tolist()
    assert TOLERANCE == 0.02


def test_labels_are_where_the_object_was(small: None) -> None:
    told = film("push", TRAIN + TEST)
    data = make_dataset(told, "position", ("front",))
    order, train = shuffle(told["episodes"])
    for part, rows in ((data.train, train), (data.test, ~train)):
        assert part.labels.dtype == np.float32
        np.testing.assert_array_equal(
            part.labels, told["objects"][order[rows[order]]].astype(np.float32)
        )
    places = make_dataset(told, "place", ("front",))
    np.testing.assert_array_equal(data.train.features, places.train.features)


def test_the_stream_shows_and_takes_positions(small: None) -> None:
    sequence = load_sequence("frames-position")
    assert sequence.tasks == FRAMES_POSITION.tasks == load_sequence("frames").tasks
    env: Any = sequence.make_env(3, num_envs=2, num_threads=1, seed=0)
    assert isinstance(env, PositionEnv) and env.action_space.shape == (3,)
    data = env.labelled_data()
    assert data["labels"].shape == (5 * TRAIN, 3)
    height = data["labels"][:, 2]  # of a puck that is pushed over the table
    assert height.min() > 0.0 and height.max() < 0.05
    few: Any = sequence.with_labels(0.1, seed=0)  # type: ignore[attr-defined]
    assert len(few.make_env(3, num_envs=2).labelled_data()["labels"]) == 4
    joint: Any = few.make_joint_env(num_envs=2)
    assert isinstance(joint, PositionEnv) and joint.labelled_data()["labels"].shape == (20, 3)


def test_a_run_learns_positions_and_no_other_agent_does(
    small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ["--steps-per-task", "20", "--eval-episodes", "8", "--eval-points", "1", "--quiet"]
    words = ["run", "--sequence", "frames-position", *short, "--run-dir"]
    assert main([*words, str(tmp_path / "run"), "--agent", "regressor", "--method", "replay"]) == 0
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    returns = np.array(found["return_matrix"])
    assert returns.shape == (6, 5) and (returns > -2.0).all() and (returns < 0.0).all()
    assert returns[-1].mean() > returns[0].mean()
    capsys.readouterr()
    for agent in ("semi-supervised", "classifier", "sac"):
        assert main([*words, str(tmp_path / "other"), "--agent", agent]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"the agent '{agent}' needs" in line
        assert "(agents that learn it: 'regressor')" in line
    icarl = ["--agent", "regressor", "--method", "icarl"]
    assert main([*words, str(tmp_path / "other"), *icarl]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'icarl' needs classes to predict" in line
    digits = ["run", "--sequence", "split-digits", "--agent", "regressor", "--run-dir"]
    assert main([*digits, str(tmp_path / "other")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "needs data labelled with numbers to regress" in line and "'classifier'" in line
