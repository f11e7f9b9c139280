"""Archives hold the package once and whole, and what is installed from them works anywhere.

Nothing is downloaded: the build backend and the dependencies are those that are installed here.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
SMALL = ["--steps-per-task", "64", "--num-envs", "2", "--num-threads", "1", "--quiet"]
SMALL += ["--eval-episodes", "1", "--eval-points", "1"]
SMALL += ["--agent-options", "learning_starts=60", "hidden=[8]", "batch_size=4"]
PLUGIN = '''
from lifelong_rl.continual import METHODS, ContinualMethod


@METHODS.register("mine")
class Mine(ContinualMethod):
    """Does nothing."""

    def __init__(self) -> None:
        super().__init__(scope="policy")
'''
STUDY = """
runs: cells
sequences: reach
agents: sac
methods: mine
seeds: 0
plugin: [my_method]
steps_per_task: 64
num_envs: 2
eval_episodes: 1
eval_points: 1
agent_options: {sac: {learning_starts: 60, hidden: [8], batch_size: 4}}
"""


def call(*words: str | Path, cwd: Path) -> str:
    """What a program prints, without what this process's environment says of Python."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(target: str, source: Path, out: Path) -> Path:
    """Build an archive of a source tree as pip does, but with what is installed here."""
    call(sys.executable, "-m", "hatchling", "build", "--target", target, "-d", out, cwd=source)
    (archive,) = out.iterdir()
    return archive


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the unpacked sdist."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (source,) = unpacked.iterdir()
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


def sources() -> set[str]:
    """The files of the package in this checkout, through its links."""
    return {
        Path(folder, name).relative_to(ROOT).as_posix()
        for folder, _, names in os.walk(ROOT / "lifelong_rl", followlinks=True)
        for name in names
        if not name.endswith(".pyc")
    }


def files(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return [name for name in archive.namelist() if ".dist-info/" not in name]


def test_the_sdist_holds_every_file_of_the_package_once_and_no_link(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert all(member.isreg() for member in members)
    names = [member.name.partition("/")[2] for member in members]
    assert len(names) == len(set(names))
    assert {name for name in names if name.startswith("lifelong_rl/")} == sources()
    rest = {name.partition("/")[0] for name in names} - {"lifelong_rl"}
    folders = {name for name in rest if (ROOT / name).is_dir()}
    assert folders == {"tests", "scripts", "studies"}
    assert not [name for name in names if name.endswith(".pyc") or "cache" in Path(name).parts[0]]


def test_wheels_from_the_sdist_and_from_a_checkout_hold_the_package_alone(
    wheel: Path, tmp_path: Path
) -> None:
    found = files(wheel)
    assert len(found) == len(set(found)) and set(found) == sources()
    assert sorted(files(build("wheel", ROOT, tmp_path))) == sorted(found)
    assert "lifelong_rl/assets/arm.xml" in found and "lifelong_rl/py.typed" in found
    assert "lifelong_rl/analysis/report_page.js" in found


def install(wheel: Path, environment: Path) -> None:
    """Install a wheel in a new environment, which sees the dependencies that are installed here."""
    call(sys.executable, "-m", "venv", "--without-pip", environment, cwd=environment)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    call(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=environment)
    purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(call(python, "-c", purelib, cwd=environment).strip())
    # a line of a .pth file adds a folder, and leaves alone the .pth files in it: not our own
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs what is installed, in a folder whose modules are called as ours and Python's."""
    environment = tmp_path_factory.mktemp("installed")
    install(wheel, environment)
    folder = tmp_path_factory.mktemp("elsewhere")
    for module in ("envs/__init__.py", "agents/__init__.py", "random.py"):
        (folder / module).parent.mkdir(exist_ok=True)
        (folder / module).write_text(f"raise RuntimeError('{module} of the working directory')\n")
    (folder / "my_method.py").write_text(PLUGIN)
    (folder / "study.yaml").write_text(STUDY)

    def start(name: str, *words: str) -> str:
        return call(environment / "bin" / name, *words, cwd=folder)

    return start


def test_an_editable_install_gives_the_package_and_no_other_name(tmp_path: Path) -> None:
    wheel = build("wheel:editable", ROOT, tmp_path / "wheel")
    install(wheel, tmp_path)
    found = (
        "import importlib.util as u, lifelong_rl.envs as e, lifelong_rl.agents as a;"
        "print(e.__file__, a.__file__, u.find_spec('envs'), u.find_spec('agents'))"
    )
    package = ROOT / "lifelong_rl"
    assert call(tmp_path / "bin" / "python", "-c", found, cwd=tmp_path).split() == [
        str(package / "envs" / "__init__.py"),
        str(package / "agents" / "__init__.py"),
        "None",
        "None",
    ]


def test_modules_of_the_working_directory_take_no_ones_place(program: Callable[..., str]) -> None:
    found = program("python", "-c", "import lifelong_rl.envs as e, random; print(e.__file__)")
    assert Path(found.strip()).match("installed*/lib/*/site-packages/lifelong_rl/envs/__init__.py")


def test_what_is_installed_runs_reports_records_and_lists(program: Callable[..., str]) -> None:
    run = ["run", "--sequence", "reach", "--method", "ewc", "--run-dir", "a", *SMALL]
    assert program("lifelong-rl", *run).startswith("a: learned 0 of 1 tasks  average_performance")
    assert "page:   a/report.html" in program("lifelong-rl", "report", "a")
    listed = program("lifelong-rl", "list", "--plugin", "my_method")
    assert "  arm10 " in listed and "  mine " in listed and "broken" not in listed
    sweep = ["sweep", "study.yaml", "--processes", "1", "--plugin", "my_method"]
    assert "1 finished" in program("lifelong-rl", *sweep)
    if "ok      rendering" in program("lifelong-rl", "doctor"):
        film = ["record", "--run-dir", "a", "--out", "a.png", "--width", "64", "--height", "48"]
        assert program("lifelong-rl", *film).startswith("reach  solved ")


def test_what_the_package_imports_it_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"]]
    for packages in project["optional-dependencies"].values():
        needed += packages
    declared = {canonicalize_name(Requirement(need).name) for need in needed}
    names = set()
    for path in sources():
        if path.endswith(".py"):
            for node in ast.walk(ast.parse((ROOT / path).read_text())):
                if isinstance(node, ast.Import):
                    names |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    names.add(str(node.module).partition(".")[0])
    distributions = packages_distributions()
    for name in names - sys.stdlib_module_names - {"lifelong_rl"}:
        found = distributions.get(name, [name])  # of an extra that is not installed, its own name
        assert declared & {canonicalize_name(one) for one in found}, name


def test_the_workflow_checks_every_python_that_is_named() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    start = "Programming Language :: Python :: 3."
    named = ["3." + c.removeprefix(start) for c in project["classifiers"] if c.startswith(start)]
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == named
    assert project["requires-python"] == f">={named[0]}"
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
