"""Files of frames: what was written comes back, and anything else is told apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lifelong_rl.storage.demonstration_file import DemonstrationsError, load_demonstrations
from lifelong_rl.vision.frames import Frames, FramesError, load_frames, save_frames

N, CAMERAS, SIZE = 6, 2, 8


@pytest.fixture
def made() -> Frames:
    rng = np.random.default_rng(0)
    return Frames(
        images=rng.integers(0, 256, (N, CAMERAS, 3, SIZE, SIZE)).astype(np.uint8),
        episodes=np.array([0, 0, 0, 1, 1, 2]),
        steps=np.array([0, 1, 2, 0, 1, 0]),
        tasks=np.array([0, 0, 0, 1, 1, 1]),
        policies=np.array([0, 0, 0, 0, 0, 1]),
        labels={
            "hand": rng.random((N, 3)).astype(np.float32),
            "joints": rng.random((N, 7)).astype(np.float32),
        },
        metadata={
            "tasks": ["reach", "push"],
            "cameras": ["front", "wrist"],
            "policies": ["expert", "random"],
            "seed": 3,
        },
    )


@pytest.fixture
def path(made: Frames, tmp_path: Path) -> Path:
    path = tmp_path / "deep" / "some.npz"
    save_frames(path, made)
    return path


def test_what_was_saved_is_loaded(path: Path, made: Frames) -> None:
    found = load_frames(path)
    for name in ("images", "episodes", "steps", "tasks", "policies"):
        array, expected = getattr(found, name), getattr(made, name)
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected)
    assert list(found.labels) == ["hand", "joints"]
    for name, values in made.labels.items():
        np.testing.assert_array_equal(found.labels[name], values)
    assert found.metadata == made.metadata
    save_frames(path.with_name("again.npz"), found)
    assert path.with_name("again.npz").read_bytes() == path.read_bytes()


def test_a_changed_pixel_is_noticed(path: Path) -> None:
    with np.load(path) as file:
        content = {name: file[name] for name in file.files}
    content["images"][3, 1, 2, 4, 4] ^= 1
    np.savez(path, **content)
    with pytest.raises(FramesError, match=r"some\.npz was changed after it was written"):
        load_frames(path)


def test_other_files_are_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DemonstrationsError,
        match="has the format 'lifelong-rl frames 1'; this version reads "
        "'lifelong-rl demonstrations 1'",
    ):
        load_demonstrations(path)
    text = tmp_path / "notes.npz"
    text.write_text("no frames")
    with pytest.raises(FramesError, match=r"is not a file of frames \(see: lifelong-rl frames --h"):
        load_frames(text)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FramesError, match="is truncated or damaged"):
        load_frames(path)
    with pytest.raises(FramesError, match="cannot be read: No such file"):
        load_frames(tmp_path / "nowhere.npz")


def test_arrays_that_do_not_fit_together_are_refused(made: Frames) -> None:
    with pytest.raises(ValueError, match=r"images is uint8 of shape \(6, 1, 3, 8, 8\), not uint8"):
        replace(made, images=made.images[:, :1])
    with pytest.raises(ValueError, match=r"steps is int64 of shape \(5,\), not int64 of shape"):
        replace(made, steps=made.steps[1:])
    with pytest.raises(ValueError, match="tasks is float64 of shape"):
        replace(made, tasks=made.tasks.astype(float))
    with pytest.raises(ValueError, match=r"labels/hand is float32 of shape \(3, 3\), not"):
        replace(made, labels={"hand": made.labels["hand"][:3]})
    with pytest.raises(ValueError, match="the metadata lacks tasks, policies"):
        replace(made, metadata={"cameras": ["front", "wrist"]})
