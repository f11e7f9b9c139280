"""A student that sees learns from a finished run on the state, task after task."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_runs import results

from lifelong_rl import agents
from lifelong_rl.cli import main
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.rendering import Renderer, RenderingError
from lifelong_rl.envs.sequences import Sequence
from lifelong_rl.envs.tasks import get_task
from lifelong_rl.errors import UserError
from lifelong_rl.learning.seeding import seed_everything
from lifelong_rl.runs.restore import load_agent
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.runs.setup import prepare
from lifelong_rl.runs.teacher import open_teacher
from lifelong_rl.vision.encoder import Encoder, EncoderSpec, save_encoder

QUICK = [
    *("--num-envs", "4", "--num-threads", "1", "--eval-episodes", "1", "--eval-points", "1"),
    *("--steps-per-task", "32", "--quiet", "--no-diagnostics"),
]
SMALL = ["--agent-options", "learning_starts=16", "hidden=[8]", "batch_size=8"]
TASKS = ["--sequence", "reach,push"]
SEES = ["--observation", "pixels", "--encoder"]


@pytest.fixture(scope="module", autouse=True)
def renderer_needed() -> None:
    """Skip where no picture can be made."""
    try:
        Renderer(BatchEnv(get_task("reach"), 1), width=16, height=16).close()
    except RenderingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: Any) -> Path:
    path: Path = tmp_path_factory.mktemp("encoders") / "front.safetensors"
    torch.manual_seed(0)
    save_encoder(path, Encoder(EncoderSpec(32, 32, dim=4, filters=2)), {"camera": "front"})
    return path


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: Any) -> Path:
    path: Path = tmp_path_factory.mktemp("teacher") / "run"
    assert main(["run", *TASKS, *QUICK, *SMALL, "--run-dir", str(path)]) == 0
    return path


def learn(teacher: Path, encoder: Path, run_dir: Path, *more: str) -> int:
    student = ["--agent", "bc-stream", *SMALL, f"teacher={teacher}"]
    sees = [*SEES, str(encoder), "--run-dir", str(run_dir)]
    return main(["run", *TASKS, *QUICK, *student, *sees, *more])


@pytest.fixture(scope="module")
def student(teacher: Path, encoder: Path, tmp_path_factory: Any) -> Path:
    path: Path = tmp_path_factory.mktemp("student") / "run"
    assert learn(teacher, encoder, path) == 0
    return path


def test_the_student_is_told_what_the_teacher_would_do(student: Path, teacher: Path) -> None:
    """By the agent that the teacher's folder holds, on the state; and as any other student."""
    setup = prepare(RunFolder.open(student).config)
    assert setup.teacher is not None
    folder = RunFolder.open(teacher)
    expected, _ = load_agent(prepare(folder.config), folder, None)
    seed_everything(0, 9)
    before = torch.random.get_rng_state()
    states = np.random.default_rng(0).normal(size=(5, 30)).astype(np.float32)
    states = states[:, : expected.observation_space.shape[0]]  # type: ignore[attr-defined]
    np.testing.assert_array_equal(setup.teacher.agent.act(states), expected.act(states))
    assert torch.equal(torch.random.get_rng_state(), before)
    env = setup.make_env(0)
    taught, _ = setup.build_agent(env)
    assert isinstance(taught, agents.BCStream) and taught._expert is setup.teacher.agent
    alone = agents.BCStream.build(
        env, num_tasks=2, method=None, seed=0, eyes=setup.eyes, hidden=(8,)
    )
    for name, value in alone.policy.state_dict().items():
        assert torch.equal(taught.policy.state_dict()[name], value), "a teacher draws nothing"
    env.close()


def test_it_resumes_and_is_evaluated(student: Path, tmp_path: Path, capsys: Any) -> None:
    again = Path(shutil.copytree(student, tmp_path / "again"))
    (again / "results.json").unlink()
    shutil.rmtree(again / "checkpoints" / "task-002")
    assert main(["resume", str(again), "--quiet"]) == 0
    for key in ("performance_matrix", "return_matrix"):
        assert results(again)[key] == results(student)[key]
    capsys.readouterr()
    assert main(["eval", str(again), "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["tasks"]) == {"reach", "push"}


def test_a_teacher_is_told_by_what_it_knows(
    student: Path, teacher: Path, tmp_path: Path, capsys: Any
) -> None:
    """Not by where it lies: another one in its place is not gone on with."""
    folder = Path(shutil.copytree(student, tmp_path / "student"))
    moved = Path(shutil.copytree(teacher, tmp_path / "moved"))
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace(str(teacher), str(moved)))
    assert main(["eval", str(folder), "--json"]) == 0
    other = tmp_path / "other"
    command = ["run", *TASKS, *QUICK, *SMALL, "--seed", "1", "--run-dir", str(other)]
    assert main(command) == 0
    shutil.rmtree(moved)
    other.rename(moved)
    capsys.readouterr()
    assert main(["eval", str(folder), "--json"]) == 2
    assert "belongs to another run: agent options is" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ("nothing", "there is no folder"),
        ("empty", "holds no run (no config.yaml)"),
        ("unfinished", "the run has not finished; go on with: lifelong-rl resume"),
        ("pictures", "its agent sees pictures; a teacher acts on the state"),
        ("student", "its agent had a teacher itself; take that one"),
        ("tasks", "it has learned reach, push in this order, and what is to be learned is push"),
        ("plugin", "the plug-in 'evil' is named by a file alone"),
        ("damaged", "config.yaml"),
    ],
)
def test_what_cannot_teach_is_refused_in_one_line(
    wrong: str,
    expected: str,
    teacher: Path,
    encoder: Path,
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, more = tmp_path / "teacher", []
    if wrong == "empty":
        folder.mkdir()
    elif wrong != "nothing":
        shutil.copytree(teacher, folder)
    config = folder / "config.yaml"
    if wrong == "unfinished":
        (folder / "results.json").unlink()
    elif wrong == "pictures":
        text = config.read_text().replace("observation: state", "observation: pixels")
        config.write_text(text)
    elif wrong == "student":
        text = config.read_text().replace("agent: sac", "agent: bc-stream")
        config.write_text(text.replace("agent_options:", "agent_options:\n  teacher: x"))
    elif wrong == "tasks":
        more = ["--sequence", "push,reach"]
    elif wrong == "plugin":
        (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
        monkeypatch.chdir(tmp_path)
        config.write_text(config.read_text().partition("plugin:")[0] + "plugin: [evil]\n")
    elif wrong == "damaged":
        config.write_text("{")
    before = sorted(tmp_path.rglob("*"))
    assert learn(folder, encoder, tmp_path / "run", *more) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"lifelong-rl: the teacher {folder} cannot teach: ")
    assert expected in line
    assert sorted(tmp_path.rglob("*")) == before


def test_other_versions_of_the_tasks_are_other_tasks(teacher: Path) -> None:
    class Later(Sequence):
        def versions(self) -> dict[str, str]:
            return super().versions() | {"push": "later"}

    sequence = Later("later", ("reach", "push"), "as they will be")
    with pytest.raises(UserError, match=r"it has learned version \S+ of 'push', not later$"):
        open_teacher(str(teacher), sequence, prepare, (), "cpu")


def test_a_damaged_checkpoint_is_refused(
    teacher: Path, encoder: Path, tmp_path: Path, capsys: Any
) -> None:
    folder = Path(shutil.copytree(teacher, tmp_path / "teacher"))
    tensors = folder / "checkpoints" / "task-002" / "state.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1])
    assert learn(folder, encoder, tmp_path / "run") == 2
    line = f"checkpoint {tensors} is truncated or was changed: its checksum differs"
    assert capsys.readouterr().err == f"lifelong-rl: {line}\n"
    assert not (tmp_path / "run").exists()


def test_only_agents_that_ask_have_teachers(teacher: Path, capsys: Any) -> None:
    command = ["run", *TASKS, "--agent", "bc", "--agent-options", f"teacher={teacher}"]
    assert main(command) == 2
    assert "unknown bc option 'teacher'" in capsys.readouterr().err
