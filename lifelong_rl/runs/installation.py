"""Is this installation able to run: versions, known-bad combinations, rendering."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import requires
from typing import Literal

from lifelong_rl.storage.versions import cpu_model, installed

REASONS = {
    "torch": "older ones do not load weights safely",
    "mujoco": "mujoco.batch came with 3.17, and 4.0.0 has a solver that goes wrong",
}

RENDER = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    "<mujoco><worldbody><light pos='0 0 2'/><geom type='plane' size='1 1 1'/></worldbody></mujoco>"
)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 32, 32) as renderer:
    renderer.update_scene(data)
    assert renderer.render().any()
"""

Level = Literal["ok", "warn", "broken"]


def checks() -> Iterator[tuple[Level, str]]:
    """Yield what is there and whether it is as it should be."""
    yield check_python(sys.version_info[:2])
    for package, specifier in requirements().items():
        yield check_version(package, installed(package), specifier)
    yield "ok", f"{os.cpu_count()} cores, {cpu_model()}, {platform.platform()}"
    yield from check_devices()
    yield check_rendering()


def requirements() -> dict[str, str]:
    """What the installed project declares that it needs: distribution to version specifier."""
    from packaging.requirements import Requirement

    declared = map(Requirement, requires("lifelong-rl") or ())
    return {need.name: str(need.specifier) for need in declared if need.marker is None}


def check_python(version: tuple[int, ...]) -> tuple[Level, str]:
    """Whether Python is new enough."""
    text = ".".join(map(str, version))
    return (
        ("ok", f"python {text}")
        if version >= (3, 11)
        else ("broken", f"python {text}: needs 3.11 or newer")
    )


def check_version(package: str, version: str | None, specifier: str) -> tuple[Level, str]:
    """Whether an installed version is one that works."""
    from packaging.specifiers import SpecifierSet

    fix = f"pip install '{package}{specifier}'"
    if version is None:
        return "broken", f"{package} is not installed: {fix}"
    if not SpecifierSet(specifier).contains(version, prereleases=True):
        because = f" ({REASONS[package]})" if package in REASONS else ""
        return "broken", f"{package} {version} does not work{because}: {fix}"
    return "ok", f"{package} {version}"


def check_devices() -> Iterator[tuple[Level, str]]:
    """The devices that networks can learn on; the CPU always is one."""
    if installed("torch") is None:
        return
    from lifelong_rl.learning.devices import describe_gpus

    yield "ok", "device cpu, the default"
    for line in describe_gpus():
        yield "ok", f"device {line}"


def check_rendering() -> tuple[Level, str]:
    """Whether MuJoCo can render here; tried in another process, because it may crash."""
    environment = dict(os.environ)
    if (
        "MUJOCO_GL" not in environment
        and not environment.get("DISPLAY")
        and sys.platform == "linux"
    ):
        environment["MUJOCO_GL"] = "egl"
    backend = environment.get("MUJOCO_GL", "default")
    try:
        subprocess.run(
            [sys.executable, "-P", "-c", RENDER],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
            env=environment,
        )
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]
    except subprocess.TimeoutExpired:
        said = "no answer within 60 s"
    else:
        return "ok", f"rendering ({backend})"
    return "warn", (
        f"no rendering ({backend}: {said}); learning works, pictures need: "
        "apt install libegl1 libegl-mesa0 libgl1-mesa-dri, or another MUJOCO_GL"
    )
