"""Scenes: MuJoCo models put together from the MJCF files in ``assets/``.

Every scene is the workbench (room, light, table, cameras) with a robot on it, plus the
objects of one task. Each part keeps its names behind a prefix of its own: ``arm/hand``,
``drawer/handle``.

A part of one's own is the path of an MJCF file; the meshes and textures that it names are looked
for from the file's own folder on.

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

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import mujoco

from lifelong_rl.errors import UnknownNameError, UserError

ASSETS = Path(__file__).parents[1] / "assets"
"""The folder of the MJCF files."""

Part = str | Path
"""An MJCF file: the name of one in ``assets/``, without ``.xml``, or the path of one's own."""


def build_spec(
    parts: Iterable[Part], sensors: Mapping[str, tuple[mujoco.mjtSensor, str]]
) -> mujoco.MjSpec:
    """Put the workbench, a robot and some objects into one scene.

    Args:
        parts: MJCF files; each is attached at the world's origin under the prefix ``name/``, the
            name of the file without its ending.
        sensors: kind and site of each sensor by name, in the order of ``sensordata``.

    Returns:
        The scene, to be compiled.

    Raises:
        UnknownNameError: if there is no such file in ``assets/``.
        UserError: if a file of one's own cannot be read, or two parts have one name.
    """
    spec = mujoco.MjSpec.from_file(str(ASSETS / "workbench.xml"))
    names: set[str] = set()
    for part in parts:
        path = _find(part)
        name = path.stem
        if name in names:
            raise UserError(f"two parts of one scene are called '{name}'; rename {path}")
        names.add(name)
        spec.attach(_read(path), prefix=f"{name}/", frame=spec.worldbody.add_frame(name=name))
    for name, (kind, site) in sensors.items():
        spec.add_sensor(name=name, type=kind, objtype=mujoco.mjtObj.mjOBJ_SITE, objname=site)
    return spec


def own_files(parts: Iterable[Part]) -> tuple[Path, ...]:
    """Return the files of one's own among parts, and all that these include or name.

    Raises:
        UserError: if one cannot be read.
    """
    found: dict[Path, None] = {}
    for part in parts:
        if isinstance(part, Path):
            _read(part)
            folder = part.parent
            for name in mujoco.mju_getXMLDependencies(str(part)):
                found[folder / name] = None
    return tuple(found)


def digest(files: Sequence[Path]) -> str:
    """Return twelve hexadecimal digits that change with what is in the files, or how they lie.

    Raises:
        UserError: if one cannot be read.
    """
    contents = {}
    for path in files:
        where = Path(os.path.relpath(path, files[0].parent)).as_posix()
        try:
            contents[where] = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
    told = hashlib.sha256()
    for where, content in sorted(contents.items()):
        told.update(f"{where} {len(content)} ".encode() + content)
    return told.hexdigest()[:12]


def _find(part: Part) -> Path:
    """Return the file of a part."""
    if isinstance(part, Path):
        return part
    known = [path.stem for path in ASSETS.glob("*.xml")]
    if part not in known:
        raise UnknownNameError("part of a scene", part, known, see="a file of your own is a Path")
    return ASSETS / f"{part}.xml"


def _read(path: Path) -> mujoco.MjSpec:
    """Return what an MJCF file describes."""
    if not path.is_file():
        raise UserError(f"{path} is no file; it is named as a part of a scene")
    try:
        return mujoco.MjSpec.from_file(str(path))
    except ValueError as error:
        raise UserError(f"{path} is no MJCF: {' '.join(str(error).split())}") from error
