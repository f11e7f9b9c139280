"""`lifelong-rl record`: clips of the right length, size and speed, where pictures can be made."""

import io
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toy_runs import PLUGIN, run_toy

from lifelong_rl.cli import main
from lifelong_rl.cli.record import Record
from lifelong_rl.envs import filming
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.experts import EXPERTS
from lifelong_rl.envs.rendering import Renderer, RenderingError
from lifelong_rl.envs.tasks import get_task
from lifelong_rl.runs.restore import load_agent
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.runs.setup import prepare
from lifelong_rl.storage import clip, film

SMALL = ["--width", "64", "--height", "48"]
HORIZON, HOLD = 50, 12


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def rendering():
    """Skips where no picture can be made."""
    try:
        Renderer(BatchEnv(get_task("reach"), 1), width=32, height=32).close()
    except RenderingError as error:
        pytest.skip(str(error))


def record(*arguments):
    return main(["record", *map(str, arguments)])


def refused(capsys, *arguments):
    """The line on stderr, after checking that nothing was written."""
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()}
    capsys.readouterr()
    assert record(*arguments) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    after = {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()}
    assert captured.out == "" and before == after
    return line


def read_mp4(path):
    """Pictures, (n, height, width, 3), and pictures in a second."""
    av = pytest.importorskip("av", reason="PyAV is not installed")
    with av.open(path) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return np.array(pictures), float(stream.average_rate)


def read_gif(path):
    """Pictures, (n, height, width, 3), and how long each is shown, ms."""
    with Image.open(path) as image:
        assert image.info["loop"] == 0  # for ever
        pictures, shown = [], []
        for index in range(image.n_frames):
            image.seek(index)
            pictures.append(np.asarray(image.convert("RGB")))
            shown.append(image.info["duration"])
    return np.array(pictures), shown


@pytest.mark.usefixtures("rendering")
def test_mp4_has_every_state_and_holds_the_last(capsys):
    pytest.importorskip("av", reason="PyAV is not installed")
    arguments = ["--expert", "--task", "reach", "--episodes", 2, *SMALL]
    assert record(*arguments, "--out", "deep/reach.mp4") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("reach  solved 2 of 2  deep/reach.mp4  ")
    pictures, fps = read_mp4("deep/reach.mp4")
    assert pictures.shape == (2 * (HORIZON + 1 + HOLD), 48, 64, 3)
    assert fps == get_task("reach").control_hz
    assert pictures[0].std() > 10
    ends, starts = pictures[HORIZON], pictures[HORIZON + 1 + HOLD]
    steps = np.abs(np.diff(pictures.astype(float), axis=0)).mean(axis=(1, 2, 3))
    assert steps[HORIZON : HORIZON + HOLD].max() < 0.5  # nothing moves
    assert np.abs(ends.astype(float) - starts).mean() > 2
    assert Path("deep/reach.mp4").read_bytes().find(b"moov") < 100  # plays while it is loaded


@pytest.mark.usefixtures("rendering")
def test_gif_runs_at_the_speed_of_the_world(capsys):
    arguments = ["--expert", "--task", "reach", *SMALL, "--camera", "all", "--out", "reach.gif"]
    assert record(*arguments) == 0
    pictures, shown = read_gif("reach.gif")
    assert pictures.shape == (HORIZON + 1, 48, 192, 3)
    assert shown == [40] * HORIZON + [40 * (HOLD + 1)]
    assert "is there already; add --overwrite" in refused(capsys, *arguments)
    before = Path("reach.gif").read_bytes()
    assert record(*arguments, "--seed", 1, "--overwrite") == 0
    assert Path("reach.gif").read_bytes() != before


@pytest.mark.usefixtures("rendering")
def test_without_a_task_every_expert_gets_a_clip(forget):
    for task in set(EXPERTS) - {"reach", "drawer-open"}:
        forget(EXPERTS, task)
    assert record("--expert", "--out", "clips", "--format", "png", *SMALL) == 0
    assert sorted(path.name for path in Path("clips").iterdir()) == ["drawer-open.png", "reach.png"]
    with Image.open("clips/reach.png") as image:
        assert image.size == (6 * 64, 48)


def filmed_once(*, captions):
    """An episode of what the expert of reach does, with seed 0."""
    rollout = filming.expert_rollout("reach", 0)
    cameras = filming.Cameras(rollout.env, ["front"], 64, 48, high_quality=False)
    (episode,) = filming.film_episodes("reach", rollout, cameras, 1, captions=captions)
    return episode


@pytest.mark.usefixtures("rendering")
def test_solved_is_shown_once_it_is(monkeypatch):
    texts = []
    monkeypatch.setattr(filming, "caption", lambda picture, text: (texts.append(text), picture)[1])
    record("--expert", "--task", "reach", "--out", "a.png", *SMALL)
    first = next(index for index, text in enumerate(texts) if text.endswith("   solved"))
    assert 1 < first < HORIZON
    assert texts[0] == "reach   step 0/50" and texts[-1] == "reach   step 50/50   solved"
    seen = []
    monkeypatch.setitem(
        EXPERTS._registered, "reach", lambda state: (seen.append(state.goal), np.zeros((1, 4)))[1]
    )
    texts.clear()
    record("--expert", "--task", "reach", "--out", "b.png", "--seed", 5, *SMALL)
    assert len(texts) == HORIZON + 1 and not any("solved" in text for text in texts)
    assert filmed_once(captions=True).solved_at is None
    monkeypatch.undo()
    plain, captioned = filmed_once(captions=False), filmed_once(captions=True)
    assert plain.solved_at == captioned.solved_at == first
    assert (plain.pictures[0] == captioned.pictures[0])[:-14].all()
    assert (plain.pictures[0] != captioned.pictures[0])[-14:].any()
    env = BatchEnv(get_task("reach"), 1)
    env.seed(5)
    env.reset()
    np.testing.assert_array_equal(seen[0], env.state().goal)


def test_caption_leaves_the_picture_above_it_alone():
    picture = np.full((96, 128, 3), 200, np.uint8)
    found = clip.caption(picture, "reach")
    assert (found[: 96 - 14] == 200).all()
    bar = found[96 - 14 :]
    assert (bar == (24, 26, 30)).all(axis=2).mean() > 0.5 and bar.max() > 200
    assert (picture == 200).all()


@pytest.fixture(scope="module")
def sac_run(tmp_path_factory):
    """A run that learns next to nothing, with a task that comes twice."""
    path = tmp_path_factory.mktemp("runs") / "run"
    arguments = [
        "--sequence",
        "drawer-open,reach,reach",
        "--steps-per-task",
        "64",
        "--num-envs",
        "2",
    ]
    arguments += ["--eval-episodes", "1", "--eval-points", "1", "--quiet", "--num-threads", "1"]
    options = ["learning_starts=60", "hidden=[8]", "batch_size=4"]
    assert main(["run", *arguments, "--agent-options", *options, "--run-dir", str(path)]) == 0
    return path


@pytest.mark.usefixtures("rendering")
def test_a_run_is_filmed_as_it_acted(sac_run, monkeypatch, capsys):
    """What is filmed is what `eval` would see: the checkpoint's agent with the task's one-hot."""
    from lifelong_rl.agents.sac import SAC

    seen, taken = [], []
    act = SAC.act

    def watched(self, observations):
        seen.append(observations.copy())
        taken.append(act(self, observations))
        return taken[-1]

    monkeypatch.setattr(SAC, "act", watched)
    assert record("--run-dir", sac_run, "--task", "reach-2", "--out", "a.gif", *SMALL) == 0
    assert capsys.readouterr().out.startswith("reach-2  solved ")
    assert len(seen) == HORIZON and seen[0].shape == (1, 26 + 3)
    assert (np.concatenate(seen)[:, 26:] == [0, 0, 1]).all()
    env = BatchEnv(get_task("reach"), 1)
    env.seed(0)
    np.testing.assert_array_equal(seen[0][:, :26], env.reset())
    for action, observation in zip(taken[:-1], seen[1:], strict=True):
        np.testing.assert_array_equal(env.step(action).observation, observation[:, :26])
    arguments = ["--run-dir", sac_run, "--checkpoint", "task-000", "--task", "reach-2", *SMALL]
    assert record(*arguments, "--out", "b.gif") == 0
    np.testing.assert_array_equal(seen[HORIZON], seen[0])
    assert not np.array_equal(taken[HORIZON], taken[0])  # it had learned nothing yet
    assert record("--run-dir", sac_run, "--out", "clips", "--format", "png", *SMALL) == 0
    clips = sorted(path.name for path in Path("clips").iterdir())
    assert clips == ["drawer-open.png", "reach-2.png", "reach.png"]
    shown = EventAccumulator(str(sac_run / "tb" / "clips"), {"images": 0}).Reload()
    assert {*shown.Tags()["images"]} == {"clips/drawer-open", "clips/reach", "clips/reach-2"}
    assert {image.step for image in shown.Images("clips/reach-2")} == {0, 3 * 64}
    with Image.open(io.BytesIO(shown.Images("clips/reach")[0].encoded_image_string)) as strip:
        np.testing.assert_array_equal(np.asarray(strip), np.asarray(Image.open("clips/reach.png")))


@pytest.mark.usefixtures("rendering")
def test_a_film_shows_every_task_after_every_task(sac_run, monkeypatch, capsys):
    """Each column has its checkpoint's agent, each row one start; success goes where it was."""
    from lifelong_rl.agents.sac import SAC

    seen, taken, made = [], [], []
    act, make_film, film_episodes = SAC.act, film.make_film, filming.film_episodes

    def watched(self, observations):
        seen.append(observations[0])
        taken.append(act(self, observations)[0])
        return taken[-1][None]

    def pretended(name, *arguments, **more):
        (episode,) = film_episodes(name, *arguments, **more)
        number = len(seen) // HORIZON - 1
        return [replace(episode, solved_at=number if number in (0, 5) else None)]

    monkeypatch.setattr(SAC, "act", watched)
    monkeypatch.setattr(filming, "film_episodes", pretended)
    monkeypatch.setattr(film, "make_film", lambda *a: (made.append(a), make_film(*a))[1])
    assert record("--run-dir", sac_run, "--film", "film.gif", *SMALL, "--seed", 7) == 0
    header, *rows, path = capsys.readouterr().out.splitlines()
    labels = ["drawer-open", "reach", "reach-2"]
    assert header.split() == ["task", *f"after {' after '.join(labels)}".split()]
    assert [row.split() for row in rows] == [
        ["drawer-open", "solved", "-", "-"],
        ["reach", "-", "-", "-"],
        ["reach-2", "-", "solved", "-"],
    ]
    assert path.startswith("film.gif  ")
    firsts, actions = (
        np.array(each[::HORIZON]).reshape(3, 3, -1).swapaxes(0, 1) for each in (seen, taken)
    )
    for task, row in enumerate(firsts):
        assert (row == row[0]).all() and row[0, 26:].tolist() == np.eye(3)[task].tolist()
    assert not np.array_equal(firsts[0, 0, :26], firsts[1, 0, :26])
    folder = RunFolder.open(sac_run)
    setup = prepare(folder.config)
    for column in range(3):
        agent, _ = load_agent(setup, folder, f"task-00{column + 1}")
        np.testing.assert_allclose(act(agent, firsts[:, column]), actions[:, column], atol=1e-5)
    assert np.abs(np.diff(actions, axis=1)).max(axis=(0, 2)).min() > 1e-3  # they differ
    ((cells, *_),) = made
    assert [[cell.faded for cell in row] for row in cells] == [
        [False, False, False],
        [True, False, False],
        [True, True, False],
    ]
    pictures, shown = read_gif("film.gif")
    assert shown == [40] * HORIZON + [40 * (HOLD + 1)]
    assert pictures.shape[2] > 3 * 64 and pictures.shape[1] > 3 * 48
    assert record("--run-dir", sac_run, "--film", "film.png", *SMALL, "--task", "reach") == 0
    with Image.open("film.png") as sheet:
        assert sheet.height < pictures.shape[1] - 48 and sheet.width <= pictures.shape[2]


def test_a_film_is_small_where_there_are_many_columns(sac_run, monkeypatch):
    sizes = []
    monkeypatch.setattr(
        Record, "_film", lambda self, name, rollout, size, **_: sizes.append(size) or 1 / 0
    )
    for count, size in (
        *((3, (240, 180)), (7, (228, 170)), (10, (160, 120))),
        *((20, (80, 60)), (40, (40, 32)), (100, (32, 32))),
    ):
        found = {f"task {k}": "task-001" for k in range(count)}
        monkeypatch.setattr("lifelong_rl.cli.record.find_checkpoints", lambda *_, f=found: f)
        with pytest.raises(ZeroDivisionError):
            Record(run_dir=sac_run, film=Path("film.png"))()
        assert sizes[-1] == size


def test_bad_input_about_a_film(sac_run, tmp_path, capsys):
    part = tmp_path / "part"
    shutil.copytree(sac_run, part)
    shutil.rmtree(part / "checkpoints" / "task-001")
    line = refused(capsys, "--run-dir", part, "--film", "a.gif")
    assert "has no checkpoint task-001 any more, which would show what it did after dr" in line
    for name in ("task-002", "task-003"):
        shutil.rmtree(part / "checkpoints" / name)
    line = refused(capsys, "--run-dir", part, "--film", "a.gif")
    assert "has no checkpoint after a task yet; go on with: lifelong-rl resume" in line
    Path("a.gif").write_text("x")
    line = refused(capsys, "--run-dir", sac_run, "--film", "a.gif")
    assert "a.gif is there already; add --overwrite" in line
    line = refused(capsys, "--run-dir", sac_run, "--film", "b.gif", "--task", "rech")
    assert "unknown task 'rech'; did you mean 'reach'?" in line
    for width in ("63", "0"):
        line = refused(capsys, "--run-dir", sac_run, "--film", "b.gif", "--width", width)
        assert f"width must be an even number of 32 to 1280, not {width}" in line


def test_bad_input_about_a_run(sac_run, capsys):
    line = refused(capsys, "--run-dir", sac_run, "--task", "rech", "--out", "a.gif")
    assert "unknown task 'rech'; did you mean 'reach'?" in line
    line = refused(capsys, "--run-dir", sac_run, "--task", "button-press", "--out", "a.gif")
    assert "unknown task 'button-press'; known: drawer-open, reach, reach-2" in line
    line = refused(capsys, "--run-dir", sac_run, "--checkpoint", "task-3", "--out", "a.gif")
    assert "unknown checkpoint 'task-3'; did you mean 'task-00" in line
    begun = Path("begun")
    begun.mkdir()
    shutil.copy(sac_run / "config.yaml", begun)
    line = refused(capsys, "--run-dir", begun, "--task", "reach", "--out", "a.gif")
    assert "begun has no checkpoint yet; go on with: lifelong-rl resume begun" in line


def test_environments_that_cannot_be_seen(tmp_path, capsys):
    assert run_toy(tmp_path / "toy", "--quiet") == 0
    line = refused(capsys, *PLUGIN, "--run-dir", tmp_path / "toy", "--task", "up", "--out", "a.gif")
    assert "the tasks of the sequence 'toy3' cannot be filmed" in line


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["--out", "a.gif"], "say whom to film: either --expert or --run-dir DIR"),
        (["--expert", "--run-dir", "x", "--out", "a.gif"], "either --expert or --run-dir DIR"),
        (["--expert", "--checkpoint", "task-001", "--out", "a.gif"], "--checkpoint goes with"),
        (["--run-dir", "nowhere", "--out", "a.gif"], "there is no folder nowhere"),
        (
            ["--expert", "--out", "a.webm"],
            "a clip cannot end in '.webm'; allowed: .mp4, .gif, .png",
        ),
        (["--expert", "--out", "a", "--format", "avi"], "a clip cannot end in '.avi'; allowed"),
        (["--expert", "--out", "a.gif", "--format", "gif"], "--format goes with a folder"),
        (["--expert", "--task", "rech", "--out", "a.gif"], "unknown task 'rech'; did you mean 're"),
        (["--expert", "--out", "a.gif"], "a.gif is one clip, and there are "),
        (
            ["--expert", "--task", "reach", "--out", "a.gif", "--episodes", "0"],
            "a whole number of at least",
        ),
        (
            ["--expert", "--task", "reach", "--out", "a.gif", "--width", "63"],
            "width must be an even number of 32 to 1280, not 63",
        ),
        (
            ["--expert", "--task", "reach", "--out", "a.gif", "--height", "2000"],
            "height must be an even number of 32 to 960, not 2000",
        ),
        (
            ["--expert", "--task", "reach", "--out", "a.gif", "--camera", "wirst"],
            "unknown camera 'wirst'; did you mean 'wrist'?",
        ),
        (["--expert"], "say where to: either --out for clips or --film for one film"),
        (["--run-dir", "x", "--out", "a.gif", "--film", "b.gif"], "say where to: either --out"),
        (["--expert", "--film", "a.gif"], "--film goes with --run-dir"),
        (["--run-dir", "x", "--film", "a.webm"], "a clip cannot end in '.webm'; allowed: .mp4"),
        (["--run-dir", "x", "--film", "a"], "a clip cannot end in ''; allowed: .mp4, .gif, .png"),
        (
            ["--run-dir", "x", "--film", "a.gif", "--checkpoint", "task-001"],
            "a film has one episode with every checkpoint; leave out --checkpoint",
        ),
        (["--run-dir", "x", "--film", "a.gif", "--episodes", "2"], "leave out --episodes"),
        (["--run-dir", "x", "--film", "a.gif", "--format", "gif"], "leave out --format"),
        (["--run-dir", "nowhere", "--film", "a.gif"], "there is no folder nowhere"),
    ],
)
def test_bad_input_is_one_line(capsys, arguments, expected):
    assert expected in refused(capsys, *arguments)


def test_a_file_in_place_of_the_folder(capsys):
    Path("notes").write_text("x")
    line = refused(capsys, "--expert", "--out", "notes", "--format", "gif")
    assert "notes is a file; give a folder" in line


def test_without_pyav_a_line_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setattr(clip, "find_spec", lambda name: None)
    line = refused(capsys, "--expert", "--task", "reach", "--out", "a.mp4")
    assert "an .mp4 needs PyAV: pip install 'lifelong-rl[video]'; a .gif does without" in line


@pytest.mark.parametrize("whom", ["expert", "run"])
def test_without_a_renderer_one_line_says_what_to_install(whom, sac_run, tmp_path):
    command = [sys.executable, "-m", "lifelong_rl", "record"]
    if whom == "expert":
        command += ["--expert", "--task", "reach", "--out", "a.gif"]
    else:
        command += ["--run-dir", str(sac_run), "--film", "a.gif"]
    done = subprocess.run(
        command,
        env={"MUJOCO_GL": "disable", "PATH": "", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("lifelong-rl: cannot render: no OpenGL context with ")
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
