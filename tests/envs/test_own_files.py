"""Tasks from outside with MJCF files, meshes and textures of their own."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from PIL import Image

from lifelong_rl import envs
from lifelong_rl.cli.main import main
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.demonstrations import describe
from lifelong_rl.envs.rendering import Renderer, RenderingError
from lifelong_rl.envs.scenes import build_spec
from lifelong_rl.envs.sequences import Sequence
from lifelong_rl.envs.tasks import get_task
from lifelong_rl.envs.tasks.reach import Reach
from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.registry import SEQUENCES

EXAMPLES = Path(__file__).parents[2] / "docs/examples"


@pytest.fixture
def folder(tmp_path: Path, fresh_registries: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of the documentation's beacon, in a folder that is not the current one."""
    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))
    monkeypatch.setattr(gymnasium, "registry", gymnasium.envs.registration.registry)
    place = tmp_path / "its own"
    place.mkdir()
    for name in ("beacon.xml", "beacon.obj"):
        shutil.copy(EXAMPLES / name, place)
    Image.new("RGB", (8, 8), (250, 0, 250)).save(place / "beacon.png")
    return place


def beacon(folder: Path) -> Reach:
    """A fresh instance of a reaching task beside the beacon."""

    class Beside(Reach):
        """Reach a point beside a beacon."""

        name = "beside"
        objects = (folder / "beacon.xml",)

    return Beside()


def test_meshes_and_textures_are_looked_for_beside_the_file(folder: Path) -> None:
    model = beacon(folder).model()
    corners = model.mesh("beacon/beacon").vertnum[0]
    assert corners >= 5 and model.texture("beacon/paint").width[0] == 8
    assert model.site("beacon/tip").id >= 0 and model.nmocap == 1


def test_folders_that_the_file_names_count_from_it(folder: Path) -> None:
    mjcf, shapes = folder / "beacon.xml", folder / "shapes"
    shapes.mkdir()
    for name in ("beacon.obj", "beacon.png"):
        shutil.move(folder / name, shapes)
    named = '<compiler meshdir="shapes" texturedir="shapes"/>'
    mjcf.write_text(mjcf.read_text().replace("<asset>", f"{named}<asset>"))
    task = beacon(folder)
    task.model()
    before = task.revision()
    assert {path.name for path in task.files()} == {"beacon.xml", "beacon.obj", "beacon.png"}
    Image.new("RGB", (8, 8)).save(shapes / "beacon.png")
    assert beacon(folder).revision() != before


def test_the_texture_is_seen(folder: Path) -> None:
    env = BatchEnv(beacon(folder), 1)
    env.seed(0)
    env.reset()
    env.batch.bind("mocap_pos")[0, 0] = [0.5, 0.0, 0.1]
    try:
        renderer = Renderer(env, width=64, height=64)
    except RenderingError as error:
        pytest.skip(str(error))
    shown = renderer.render().astype(int)
    renderer.close()
    pink = (shown[..., 0] > 2 * shown[..., 1] + 30) & (shown[..., 2] > 2 * shown[..., 1] + 30)
    assert pink.sum() > 20


@pytest.mark.parametrize("name", ["beacon.xml", "beacon.obj", "beacon.png"])
def test_the_revision_changes_with_every_file_and_not_with_the_folder(
    name: str, folder: Path, tmp_path: Path
) -> None:
    before = beacon(folder).revision()
    assert before.startswith("v0+") and len(before) == 15
    shutil.copytree(folder, tmp_path / "elsewhere" / "deeper")
    assert beacon(tmp_path / "elsewhere" / "deeper").revision() == before
    path = folder / name
    path.write_bytes(path.read_bytes() + b"\n")
    assert beacon(folder).revision() != before


def test_what_is_compared_tells_the_revision(folder: Path) -> None:
    task = beacon(folder)
    envs.register_task(task)
    sequence = Sequence("both", ("reach", "beside"), "")
    assert sequence.versions() == {"reach": "v0", "beside": task.revision()}
    assert describe(task, seed=0, noise=0.0)["task_version"] == task.revision()
    assert "LifelongRL/Beside-v0" in gymnasium.registry
    assert get_task("reach").revision() == "v0"  # as before: its files are the package's


def test_a_file_that_changes_under_way_is_refused(folder: Path) -> None:
    task = beacon(folder)
    BatchEnv(task, 1)
    task.revision()
    BatchEnv(task, 1)
    mjcf = folder / "beacon.xml"
    mjcf.write_text(mjcf.read_text().replace("0 0 0.08", "0 0 0.09"))
    with pytest.raises(UserError, match="the files of task 'beside' have changed since"):
        BatchEnv(task, 1)
    BatchEnv(beacon(folder), 1)


def test_a_run_does_not_go_on_with_another_scene(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def register() -> None:
        envs.register_task(beacon(folder))  # as another process would
        SEQUENCES.register("alone")(Sequence("alone", ("beside",), "", steps_per_task=64))

    register()
    small = ["--num-envs", "4", "--eval-episodes", "2", "--eval-points", "1", "--quiet"]
    sac = ["--agent-options", "learning_starts=32", "batch_size=16"]
    run = str(tmp_path / "run")
    assert (
        main(["run", "--sequence", "alone", "--agent", "sac", *sac, *small, "--run-dir", run]) == 0
    )
    assert main(["eval", run]) == 0
    mjcf = folder / "beacon.xml"
    mjcf.write_text(mjcf.read_text().replace("0 0 0.08", "0 0 0.09"))
    register()
    capsys.readouterr()
    assert main(["eval", run]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(r"belongs to another run: task versions is {'beside': 'v0\+", line)


def test_bad_files_are_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown part of a scene 'pucc'; did you mean 'pu"):
        build_spec(["pucc"], {})
    with pytest.raises(UnknownNameError, match="a file of your own is a Path"):
        build_spec([str(folder / "beacon")], {})
    with pytest.raises(
        UserError, match=r"nowhere\.xml is no file; it is named as a part of a scene"
    ):
        build_spec([tmp_path / "nowhere.xml"], {})
    (folder / "bad.xml").write_text("<mujoco><worldbody>")
    with pytest.raises(UserError, match=r"bad\.xml is no MJCF: XML") as error:
        build_spec([folder / "bad.xml"], {})
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="two parts of one scene are called 'puck'; rename "):
        build_spec(["puck", folder / "puck.xml"], {})
    (folder / "beacon.obj").unlink()
    with pytest.raises(UserError, match="the scene of task 'beside' cannot be compiled: ") as error:
        beacon(folder).model()
    assert "beacon.obj" in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"beacon\.obj cannot be read: No such file"):
        beacon(folder).revision()


def test_rows_do_not_depend_on_how_many_there_are(folder: Path) -> None:
    one, many = BatchEnv(beacon(folder), 1), BatchEnv(beacon(folder), 3)
    for env in (one, many):
        env.seed(4)
    np.testing.assert_array_equal(one.reset()[0], many.reset()[0])
    action = np.full(4, 0.3)
    for _ in range(5):
        np.testing.assert_array_equal(
            one.step([action]).observation[0], many.step([action] * 3).observation[0]
        )
