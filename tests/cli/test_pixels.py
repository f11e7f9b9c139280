"""`run --observation pixels`: SAC and behaviour cloning that see, and what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from toy_runs import SMALL, TOY, results

from lifelong_rl.cli import main
from lifelong_rl.cli.run import Run
from lifelong_rl.envs import rendering
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.rendering import Renderer, RenderingError
from lifelong_rl.envs.tasks import get_task
from lifelong_rl.runs.checkpoint import load_checkpoint
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.runs.setup import prepare
from lifelong_rl.vision.encoder import Encoder, EncoderSpec, save_encoder

SIZE = 32
SPEC = EncoderSpec(SIZE, SIZE, dim=4, filters=2)
SEEING = ["--sequence", "reach,push", "--observation", "pixels"]
QUICK = [
    *("--num-envs", "4", "--num-threads", "1", "--eval-episodes", "1", "--eval-points", "1"),
    *("--steps-per-task", "32", "--quiet", "--no-diagnostics"),
]
OF_AGENT = {
    "sac": ["--agent-options", "learning_starts=16", "hidden=[8]", "batch_size=8"],
    "bc": ["--agent", "bc", "--agent-options", "episodes=2", "hidden=[8]", "batch_size=8"],
}


@pytest.fixture(scope="module", autouse=True)
def renderer_needed():
    """Skip where no picture can be made."""
    try:
        Renderer(BatchEnv(get_task("reach"), 1), width=16, height=16).close()
    except RenderingError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_encoder(path: Path, seed: int = 0, camera: str = "front", **spec: int) -> Path:
    torch.manual_seed(seed)
    save_encoder(path, Encoder(replace(SPEC, **spec)), {"camera": camera})
    return path


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoders") / "front.safetensors")


def run(*arguments):
    return main(["run", *map(str, arguments)])


def refused(capsys, *arguments):
    """The line on stderr, after checking that it is one and that nothing was written."""
    before = sorted(Path().rglob("*"))
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert captured.out == "" and sorted(Path().rglob("*")) == before
    return line


@pytest.fixture(scope="module")
def finished(encoder, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    given = ["--encoder", encoder, "--method", "ewc"]
    assert run(*SEEING, *QUICK, *OF_AGENT["sac"], *given, "--run-dir", path) == 0
    return path


def test_a_frozen_run_says_what_it_saw_with(finished, encoder):
    config = yaml.safe_load((finished / "config.yaml").read_text())
    assert config["observation"] == "pixels" and config["encoder"] == [str(encoder)]
    assert config["encoder_mode"] == "frozen"
    options = results(finished)["agent_options"]
    assert options["observation"] == "pixels" and options["hidden"] == [8]
    assert options["encoder"] == [hashlib.sha256(encoder.read_bytes()).hexdigest()]
    (session,) = json.loads((finished / "manifest.json").read_text())["sessions"]
    (note,) = session["notes"]
    assert note.startswith(f"{encoder} does not tell which MuJoCo rendered")


def test_a_run_that_sees_resumes_to_the_same_numbers(finished, tmp_path):
    again = Path(shutil.copytree(finished, tmp_path / "again"))
    (again / "results.json").unlink()
    shutil.rmtree(again / "checkpoints" / "task-002")
    assert main(["resume", str(again), "--quiet"]) == 0
    for key in ("performance_matrix", "return_matrix", "success_curves"):
        assert results(again)[key] == results(finished)[key]


def test_it_is_evaluated_and_filmed_with_its_eyes(finished, capsys):
    capsys.readouterr()
    assert main(["eval", str(finished), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["tasks"]
    assert [found[task]["return"] for task in ("reach", "push")] == pytest.approx(
        results(finished)["return_matrix"][-1]
    )
    clip = ["--out", "push.png", "--task", "push", "--width", "64", "--height", "48"]
    assert main(["record", "--run-dir", str(finished), *clip]) == 0
    assert Path("push.png").stat().st_size > 0


def test_another_encoder_in_the_same_place_is_refused(finished, encoder, tmp_path, capsys):
    again = Path(shutil.copytree(finished, tmp_path / "again"))
    (again / "results.json").unlink()
    shutil.rmtree(again / "checkpoints" / "task-002")
    config = yaml.safe_load((again / "config.yaml").read_text())
    moved = tmp_path / "moved.safetensors"
    shutil.copy(encoder, moved)
    (again / "config.yaml").write_text(yaml.safe_dump({**config, "encoder": [str(moved)]}))
    setup = prepare(RunFolder.open(again).config)
    load_checkpoint(again / "checkpoints" / "task-001", setup.identity)  # the content counts
    write_encoder(moved, seed=1)
    for command in ("resume", "eval"):
        line = refused(capsys, command, again)
        assert "belongs to another run: encoder is" in line


@pytest.mark.parametrize("agent", ["sac", "bc"])
@pytest.mark.parametrize("kind", ["finetune", "two cameras"])
def test_encoders_are_learned_on_and_may_be_several(agent, kind, encoder, tmp_path):
    wrist = write_encoder(tmp_path / "wrist.safetensors", 1, "wrist")
    given = {
        "finetune": ["--encoder", encoder, "--encoder-mode", "finetune", "--frame-stack", "2"],
        "two cameras": ["--cameras", "front", "wrist", "--encoder", encoder, wrist],
    }[kind]
    arguments = [*SEEING, *QUICK, *OF_AGENT[agent], *given, "--method", "agem"]
    assert run(*arguments, "--method-options", "per_task=8", "--run-dir", "run") == 0
    setup = prepare(RunFolder.open(Path("run")).config)
    env = setup.make_env(0)
    built, _ = setup.build_agent(env)
    env.close()
    component = built.components["actor" if agent == "sac" else "policy"]
    own = sum(parameter.numel() for parameter in component.module.parameters())
    # two pictures of 4 features and 7 numbers of proprioception, 8 hidden units, LayerNorm, and
    # heads of 8 outputs for two tasks
    network = (8 + 7 + 1) * 8 + 2 * 8 + 2 * (8 + 1) * 8
    in_front = sum(p.numel() for p in Encoder(SPEC).parameters()) if kind == "finetune" else 0
    assert own == network + in_front


def test_all_tasks_at_once(encoder):
    given = ["--encoder", encoder, "--method", "joint"]
    assert run(*SEEING, *QUICK, *OF_AGENT["bc"], *given, "--run-dir", "run") == 0


def test_the_command_line_goes_before_the_files_encoder_mode(encoder):
    Path("f.yaml").write_text(f"observation: pixels\nencoder: {encoder}\nfinetune: true\n")

    def mode(*arguments: str) -> str | None:
        return Run.parse("run", ["--config", "f.yaml", *arguments]).encoder_mode

    assert mode() == "finetune" and mode("--encoder-mode", "frozen") == "frozen"
    assert Run.parse("run", ["--config", "f.yaml"]).encoder == (str(encoder),)
    Path("f.yaml").write_text("observation: pixels\nencoder_mode: scratch\n")
    assert mode() == "scratch" and mode("--encoder", str(encoder)) is None


def test_a_run_from_before_encoder_modes_goes_on(finished, tmp_path):
    again = Path(shutil.copytree(finished, tmp_path / "again"))
    (again / "results.json").unlink()
    shutil.rmtree(again / "checkpoints" / "task-002")
    config = yaml.safe_load((again / "config.yaml").read_text())
    assert config.pop("encoder_mode") == "frozen"
    (again / "config.yaml").write_text(yaml.safe_dump({**config, "finetune": False}))
    there = json.loads((again / "checkpoints" / "task-001" / "state.json").read_text())["identity"]
    assert there["finetune"] is False and "encoder_mode" not in there  # as it was written then
    assert main(["resume", str(again), "--quiet"]) == 0
    assert results(again)["performance_matrix"] == results(finished)["performance_matrix"]
    assert results(again)["agent_options"] == results(finished)["agent_options"]


def test_what_runs_without_pictures_is_unchanged():
    """Checkpoints and results of runs that were made before there were pictures are of use."""
    setup = prepare(RunConfig(sequence="reach"))
    assert not {"observation", "encoder", "cameras", "shift"} & set(setup.identity)
    assert setup.sight == setup.env_options == {}
    assert "eyes" not in setup.config.agent_options


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["--encoder", "x"], "encoder goes with --observation pixels only"),
        ([*SEEING, "--encoder", "x"], "x cannot be read: No such file or directory"),
        ([*SEEING, "--freeze"], "write --encoder-mode frozen for --freeze"),
        ([*SEEING, "--finetune"], "write --encoder-mode finetune for --finetune"),
        ([*SEEING, "--encoder-mode", "frozn"], "'scratch', not 'frozn'; did you mean 'frozen'?"),
        ([*SEEING, "--encoder-mode", "frozen"], "--encoder-mode frozen requires --encoder"),
        (
            [*SEEING, "--encoder", "x", "--encoder-mode", "scratch"],
            "--encoder-mode scratch learns from nothing; leave out --encoder",
        ),
        ([*SEEING, "--agent", "ppo"], "the agent 'ppo' cannot see, as it does not declare"),
        (
            ["--plugin", "toy_plugin", "--sequence", "toy3", "--agent", "sac", *SEEING[2:]],
            "the sequence 'toy3' has no cameras",
        ),
        ([*SEEING, "--cameras", "frnt"], "unknown camera 'frnt'; did you mean 'front'?"),
        ([*SEEING, "--observation", "pixel"], "not 'pixel'; did you mean 'pixels'?"),
        ([*SEEING, "--method", "den"], "take --encoder-mode frozen, or another method"),
        ([*TOY, *SMALL, "--observation", "pixels"], "the agent 'toy' cannot see"),
    ],
)
def test_one_line_and_nothing_written(arguments, expected, capsys):
    assert expected in refused(capsys, "run", *arguments)


def test_what_is_no_encoder_for_the_camera_is_refused(tmp_path, capsys):
    Path("text").write_text("x")
    assert "text is not an encoder of lifelong-rl (make one with: lifelong-rl pretrain)" in refused(
        capsys, "run", *SEEING, "--encoder", "text"
    )
    front, wrist = (write_encoder(tmp_path / c, camera=c) for c in ("front", "wrist"))
    both = [*SEEING, "--cameras", "front", "wrist"]
    assert f"{wrist} is for the camera 'wrist' and stands where that of 'front' should" in refused(
        capsys, "run", *both, "--encoder", wrist, front
    )
    assert "3 encoders do not fit 2 cameras" in refused(
        capsys, "run", *both, "--encoder", front, wrist, front
    )
    wide = write_encoder(tmp_path / "wide", width=40)
    assert "pictures of 40×32 pixels, and cameras take square ones" in refused(
        capsys, "run", *SEEING, "--encoder", wide
    )


def test_a_machine_that_cannot_render_says_so(encoder, monkeypatch, capsys):
    def fail(model):
        raise RenderingError("cannot render: no OpenGL context")

    monkeypatch.setattr(rendering, "_open_context", fail)
    for agent in OF_AGENT.values():
        line = refused(capsys, "run", *SEEING, *agent, "--encoder", encoder)
        assert "cannot render: no OpenGL context" in line
