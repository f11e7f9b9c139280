"""Camera frames as labelled data, where this machine can render any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifelong_rl.cli import main
from lifelong_rl.envs import labelled_frames as frames
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.experts import get_expert
from lifelong_rl.envs.labelled_frames import FRAMES, NUM_BINS, PER_EPISODE, film, label, pool
from lifelong_rl.envs.rendering import Renderer, RenderingError
from lifelong_rl.envs.tasks import get_task
from lifelong_rl.runs.sequence import load_sequence

ROWS, EPISODES = 4, 8


@pytest.fixture(scope="module")
def few() -> Any:
    """Eight episodes of push, four at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frames, "ROWS", ROWS)
        try:
            yield film.__wrapped__("push", EPISODES)
        except RenderingError as error:
            pytest.skip(str(error))


def test_frames_show_the_episodes_they_are_said_to(few: dict[str, np.ndarray]) -> None:
    size = EPISODES * PER_EPISODE
    assert few["frames"].shape == (size, 16, 16, 3) and few["frames"].dtype == np.uint8
    assert np.bincount(few["episodes"]).tolist() == [PER_EPISODE] * EPISODES
    # the first frames are of the starts of the rows, in which the puck has not moved
    task = get_task("push")
    env = BatchEnv(task, ROWS)
    env.seed(frames.SEED)
    env.reset()
    np.testing.assert_array_equal(few["episodes"][:ROWS], np.arange(ROWS))
    np.testing.assert_array_equal(few["objects"][:ROWS], env.state().object)
    renderer = Renderer(env, width=64, height=64)
    np.testing.assert_array_equal(few["frames"][2], pool(renderer.render(2)))
    # and a fifth of an episode later the noisy expert has brought it elsewhere
    noise = np.random.default_rng(frames.SEED)
    for _ in range(task.horizon // PER_EPISODE):
        disturbance = frames.NOISE * noise.standard_normal((ROWS, task.action_dim))
        action = np.clip(get_expert("push")(env.state()), -1, 1).astype(np.float32)
        env.step(action + disturbance)
    np.testing.assert_array_equal(few["objects"][ROWS : 2 * ROWS], env.state().object)
    np.testing.assert_array_equal(few["frames"][ROWS + 3], pool(renderer.render(3)))
    renderer.close()
    assert not np.array_equal(few["frames"][3], few["frames"][ROWS + 3])


def test_filming_again_gives_the_same(
    few: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "ROWS", ROWS)
    for name, array in film.__wrapped__("push", EPISODES).items():
        np.testing.assert_array_equal(array, few[name])


def test_pooling_takes_the_mean_of_squares() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[4:8, 8:12, 1] = 200
    picture[4, 8, 1] = 0
    pooled = pool(picture)
    assert pooled[1, 2].tolist() == [0, 188, 0]  # 200 · 15 / 16 = 187.5, rounded to even
    assert pooled.sum() == 188


def synthetic() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames whose first entry tells their number, in the order of filming."""
    rng = np.random.default_rng(0)
    episodes = np.tile(np.arange(400), PER_EPISODE)
    pictures = rng.integers(0, 256, (len(episodes), 16, 16, 3)).astype(np.uint8)
    return pictures, rng.normal(size=len(episodes)), episodes


def test_training_and_testing_have_no_episode_in_common() -> None:
    pictures, positions, episodes = synthetic()
    data = label(pictures, positions, episodes)
    train = episodes < frames.TRAIN_EPISODES
    assert len(data.train.labels) == train.sum() == frames.TRAIN_EPISODES * PER_EPISODE
    assert len(data.test.labels) == frames.TEST_EPISODES * PER_EPISODE
    # undo the scaling to find every frame again
    flat = pictures.reshape(len(pictures), -1).astype(float)
    mean = flat[train].mean(axis=0)
    scale = (flat[train] - mean).std()
    edges = np.quantile(positions[train], [0.2, 0.4, 0.6, 0.8])
    for part, of_part in ((data.train, train), (data.test, ~train)):
        rows = (part.features * scale + mean).round().astype(np.uint8)
        known = {row.tobytes(): i for i, row in enumerate(pictures.reshape(len(pictures), -1))}
        numbers = np.array([known[row.tobytes()] for row in rows])
        assert sorted(numbers) == np.flatnonzero(of_part).tolist()
        assert not np.array_equal(numbers, np.sort(numbers))  # in random order
        expected = (positions[numbers][:, None] >= edges).sum(axis=1)
        np.testing.assert_array_equal(part.labels, expected)
    assert np.bincount(data.train.labels).tolist() == [len(data.train.labels) // NUM_BINS] * 5
    np.testing.assert_allclose(data.train.features.mean(axis=0), 0.0, atol=1e-6)
    assert data.train.features.std() == pytest.approx(1.0, abs=1e-6)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ROWS", 4), ("TRAIN_EPISODES", 4), ("TEST_EPISODES", 4)):
        monkeypatch.setattr(frames, name, value)
    film.cache_clear()


def test_frames_are_rendered_once(
    few: Any, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFELONG_RL_CACHE", str(tmp_path))
    sequence = load_sequence("frames")
    assert sequence == FRAMES
    rendered = sequence.make_env(3, num_envs=20, num_threads=1, seed=0)
    assert [path.parent.name for path in tmp_path.rglob("push-*.npz")] == ["labelled frames"]
    monkeypatch.setattr(frames, "film", None)  # would fail if it were called
    read = sequence.make_env(3, num_envs=20, num_threads=1, seed=1)
    for name, rows in rendered.labelled_data().items():
        np.testing.assert_array_equal(read.labelled_data()[name], rows)
    np.testing.assert_array_equal(read.reset(), rendered.reset())
    assert read.observation_space.shape == (16 * 16 * 3 + 5,)
    assert read.action_space.n == NUM_BINS
    assert read.reset()[:, -5:].tolist() == [[0, 0, 0, 1, 0]] * 20
    film.cache_clear()


def test_a_run_learns_them(few: Any, small: None, tmp_path: Path) -> None:
    path = tmp_path / "run"
    options = ("--sequence", "frames", "--agent", "classifier", "--steps-per-task", "20")
    assert main(["run", *options, "--eval-points", "1", "--quiet", "--run-dir", str(path)]) == 0
    assert (path / "results.json").exists()
    film.cache_clear()


def test_without_a_renderer_a_run_is_refused_in_one_line(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RenderingError("cannot render: no OpenGL context")

    monkeypatch.setenv("LIFELONG_RL_CACHE", "")
    monkeypatch.setattr(frames, "Renderer", fail)
    path = tmp_path / "run"
    assert (
        main(["run", "--sequence", "frames", "--agent", "classifier", "--run-dir", str(path)]) == 2
    )
    (line,) = capsys.readouterr().err.splitlines()
    assert "the labelled frames of 'reach' cannot be made: cannot render: no OpenGL context" in line
    assert not path.exists()


def test_the_sequence_describes_itself() -> None:
    assert FRAMES.tasks == (
        "reach-frames",
        "button-press-frames",
        "window-slide-frames",
        "push-frames",
        "pick-place-frames",
    )
    assert FRAMES.versions()["push-frames"] == get_task("push").version
    assert FRAMES.reordered(4).tasks == load_sequence("frames", order=4).tasks
    assert FRAMES.description and "\n" not in FRAMES.description
