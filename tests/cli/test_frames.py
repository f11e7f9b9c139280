"""`lifelong-rl frames`: a file with everything in its place, made once; bad input."""

from pathlib import Path

import numpy as np
import pytest

from lifelong_rl.cli.frames import Frames
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.rendering import Renderer, RenderingError
from lifelong_rl.envs.tasks import get_task
from lifelong_rl.errors import UserError
from lifelong_rl.vision.frames import load_frames


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def renderer():
    try:
        Renderer(BatchEnv(get_task("reach"), 1), width=16, height=16).close()
    except RenderingError as error:
        pytest.skip(str(error))


def frames(*arguments):
    return Frames.parse("frames", [*map(str, arguments)])()


def test_frames_of_a_sequence(renderer, capsys):
    asked = ("--sequence", "reach,push", "--count", 320, "--size", 8, "--cameras", "wrist", "front")
    assert frames(*asked) == 0
    path = Path("frames/reach+push-mixed-320-seed0.npz")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[:2] for line in lines[:2]] == [
        ["[1/2] reach", "161 of 320 frames"],
        ["[2/2] push", "320 of 320 frames"],
    ]
    assert lines[2].startswith(f"320 frames of 12 episodes  {path}  ")
    found = load_frames(path)
    assert found.images.shape == (320, 2, 3, 8, 8)
    assert found.metadata["tasks"] == ["reach", "push"]
    assert found.metadata["task_versions"] == ["v0", "v0"]
    assert found.metadata["cameras"] == ["wrist", "front"]
    assert found.metadata["policies"] == ["expert", "random", "noisy"]
    assert (found.metadata["size"], found.metadata["seed"], found.metadata["count"]) == (8, 0, 320)
    assert found.metadata["mujoco"] == found.metadata["versions"]["mujoco"]
    cells = 3 * found.tasks + found.policies
    np.testing.assert_array_equal(np.bincount(cells), [54, 54, 53, 53, 53, 53])
    # an episode is of one cell, and all its moments follow one another
    for episode in range(12):
        ids = np.flatnonzero(found.episodes == episode)
        np.testing.assert_array_equal(found.steps[ids], range(len(ids)))
        np.testing.assert_array_equal(ids, ids[0] + np.arange(len(ids)))
        assert len(set(cells[ids])) == 1
    assert set(found.labels) == {"hand", "object", "goal", "joints", "action"}
    # no two cells start alike
    starts = found.labels["hand"][found.steps == 0]
    assert len(np.unique(starts, axis=0)) == 12


def test_the_same_is_made_once(renderer, capsys):
    asked = ("--sequence", "reach", "--policy", "random", "--count", 4, "--size", 8)
    out = ("--out", "some.npz")
    assert frames(*asked, *out) == 0
    written, content = Path("some.npz").stat().st_mtime_ns, Path("some.npz").read_bytes()
    capsys.readouterr()
    assert frames(*asked, *out, "--num-threads", 1) == 0
    assert capsys.readouterr().out == "some.npz holds these 4 frames already\n"
    assert Path("some.npz").stat().st_mtime_ns == written
    with pytest.raises(UserError, match=r"other frames \(seed: 0, not 1\); add --overwrite"):
        frames(*asked, *out, "--seed", 1)
    assert Path("some.npz").read_bytes() == content
    assert frames(*asked, *out, "--seed", 1, "--overwrite") == 0
    assert load_frames(Path("some.npz")).metadata["seed"] == 1
    assert frames(*asked, *out, "--overwrite") == 0
    assert Path("some.npz").read_bytes() == content
    Path("some.npz").write_bytes(content[:-30])
    with pytest.raises(UserError, match=r"some\.npz is truncated or damaged"):
        frames(*asked, *out)
    assert frames(*asked, *out, "--overwrite") == 0
    assert Path("some.npz").read_bytes() == content


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["--sequence", "arm33"], "unknown sequence 'arm33'; did you mean 'arm3'?"),
        (["--policy", "nosy"], "unknown policy 'nosy'; did you mean 'noisy'?"),
        (["--cameras", "front", "wris"], "unknown camera 'wris'; did you mean 'wrist'?"),
        (["--cameras", "front", "front"], "name at least one, and none twice"),
        (["--size", "4"], "size is 4; allowed: 8 to 512"),
        (["--count", "29"], "count must be at least 30, a frame of each task and policy, not 29"),
        (["--seed", "-1"], "seed must be a whole number in [0, 4294967295], not -1"),
        (["--num-threads", "0"], "num-threads must be a whole number in [1, 1024], not 0"),
        (["--out", "some.npy"], "some.npy is no name for a file of frames; it must end in .npz"),
        (["--sequence", "split-digits"], "the task 'digits-0-1' of 'split-digits' has no cameras"),
        (["--camera", "front"], "unknown option '--camera'; did you mean '--cameras'?"),
    ],
)
def test_bad_input_is_one_line(arguments, expected):
    with pytest.raises(UserError) as error:
        frames(*arguments)
    assert expected in str(error.value) and "\n" not in str(error.value)
    assert not list(Path().iterdir())


def test_without_a_renderer_a_line_says_what_to_install(monkeypatch):
    def refuse(*args, **options):
        raise RenderingError("cannot render: no OpenGL context (install …)")

    monkeypatch.setattr("lifelong_rl.envs.pixels.Renderer", refuse)
    with pytest.raises(UserError, match="cannot render: no OpenGL context"):
        frames("--sequence", "reach", "--count", 3)
    assert not list(Path().iterdir())
