"""Scenes: MuJoCo models put together from the MJCF files in ``assets/``.

Every scene is the workbench (room, light, table, front camera) with the arm on it, plus the
objects of one task. Each part keeps its names behind a prefix of its own: ``arm/hand``,
``drawer/handle``.

Contacts are filtered by three kinds of geom:

======== ======= =========== ===========================================
kind     contype conaffinity touches
======== ======= =========== ===========================================
hand     1       0           fixtures and loose objects
fixture  0       3           hand and loose objects (table, cabinet, ...)
loose    2       3           hand, fixtures and other loose objects
======== ======= =========== ===========================================
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import mujoco

SENSORS = ("hand_position", "hand_velocity", "object_position", "object_axis", "object_velocity")
"""The sensors of every scene, three numbers each, in the order of ``sensordata``.

Positions in metres and velocities in metres per second, of the hand's site and of the task's
object site, in the world frame; ``object_axis`` is the object's unit x axis."""


def assets_dir() -> Path:
    """Return the folder that holds the MJCF files.

    It lies inside the package in a wheel, and beside it in a checkout.

    Raises:
        FileNotFoundError: if it is in neither place.
    """
    package = Path(__file__).resolve().parent
    candidates = (package / "assets", package.parent / "assets")
    for folder in candidates:
        if (folder / "workbench.xml").is_file():
            return folder
    raise FileNotFoundError(
        f"the MuJoCo models are missing: looked for workbench.xml in {candidates[0]} and "
        f"{candidates[1]} (reinstall lifelong-rl, or restore the assets folder of the checkout)"
    )


def build_model(objects: Iterable[str], object_site: str) -> mujoco.MjModel:
    """Compile the workbench, the arm and some objects into one model.

    Args:
        objects: names of MJCF files in ``assets/``, without ``.xml``; each is attached at the
            world's origin under the prefix ``name/``.
        object_site: full name of the site the ``object_*`` sensors measure, as ``drawer/handle``.

    Returns:
        The compiled model, with the sensors named in `SENSORS`.
    """
    folder = assets_dir()
    spec = mujoco.MjSpec.from_file(str(folder / "workbench.xml"))
    for name in ("arm", *objects):
        part = mujoco.MjSpec.from_file(str(folder / f"{name}.xml"))
        spec.attach(part, prefix=f"{name}/", frame=spec.worldbody.add_frame(name=name))
    kinds = mujoco.mjtSensor
    measured = (
        (kinds.mjSENS_FRAMEPOS, "arm/hand"),
        (kinds.mjSENS_FRAMELINVEL, "arm/hand"),
        (kinds.mjSENS_FRAMEPOS, object_site),
        (kinds.mjSENS_FRAMEXAXIS, object_site),
        (kinds.mjSENS_FRAMELINVEL, object_site),
    )
    for sensor, (kind, site) in zip(SENSORS, measured, strict=True):
        spec.add_sensor(name=sensor, type=kind, objtype=mujoco.mjtObj.mjOBJ_SITE, objname=site)
    return spec.compile()
