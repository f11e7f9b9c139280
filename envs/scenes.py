"""Scenes: MuJoCo models put together from the MJCF files in ``assets/``.

Every scene is the workbench (room, light, table, cameras) with a robot on it, plus the
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

from collections.abc import Iterable, Mapping
from pathlib import Path

import mujoco

ASSETS = Path(__file__).parents[1] / "assets"
"""The folder of the MJCF files."""


def build_spec(
    parts: Iterable[str], sensors: Mapping[str, tuple[mujoco.mjtSensor, str]]
) -> mujoco.MjSpec:
    """Put the workbench, a robot and some objects into one scene.

    Args:
        parts: names of MJCF files in ``assets/``, without ``.xml``; each is attached at the
            world's origin under the prefix ``name/``.
        sensors: kind and site of each sensor by name, in the order of ``sensordata``.

    Returns:
        The scene, to be compiled.
    """
    spec = mujoco.MjSpec.from_file(str(ASSETS / "workbench.xml"))
    for name in parts:
        part = mujoco.MjSpec.from_file(str(ASSETS / f"{name}.xml"))
        spec.attach(part, prefix=f"{name}/", frame=spec.worldbody.add_frame(name=name))
    for name, (kind, site) in sensors.items():
        spec.add_sensor(name=name, type=kind, objtype=mujoco.mjtObj.mjOBJ_SITE, objname=site)
    return spec
