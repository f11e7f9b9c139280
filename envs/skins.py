"""A scene drawn in a few calls: all shapes of one look become one skin.

MuJoCo hands every geom to OpenGL in a call of its own, and without a GPU these calls are most of
what a small picture costs. A skin is one call, however many bodies carry it. Here each body
carries its vertices rigidly, so the picture stays the same but for how finely round shapes are
cut.
"""

from __future__ import annotations

from itertools import pairwise

import mujoco
import numpy as np
import numpy.typing as npt

from lifelong_rl.envs.robot import Array

SLICES = 16
"""Corners of the polygon that a circle is drawn as."""
STACKS = 4
"""Rings of faces that half a ball is drawn as."""

Faces = npt.NDArray[np.int64]
"""Three vertices of each triangle, anticlockwise as seen from outside, (f, 3)."""
Surface = tuple[Array, Faces]
"""Vertices, (v, 3), m, and faces; the surface is smooth where faces share a vertex."""
Look = tuple[int, tuple[float, ...]]
"""A material, -1 for none, and a colour."""

_HIDDEN = mujoco.mjNGROUP - 1
"""A group of geoms that is not drawn by default."""
_UNSET = (0.5, 0.5, 0.5, 1.0)
"""Colour of a geom that is given none; its material's is then drawn."""


def compile_with_skins(spec: mujoco.MjSpec) -> mujoco.MjModel:
    """Compile a scene to be drawn: the same model, but for skins in place of opaque shapes.

    What is textured or lets light through, planes, meshes, ellipsoids, hidden groups, and the
    geoms of bodies without a name stay as they are.

    Args:
        spec: the scene; it is given the skins.

    Returns:
        A model whose state is that of the scene's own.
    """
    model = spec.compile()
    geoms: dict[Look, list[int]] = {}
    for geom in range(model.ngeom):
        look = _look(model, geom)
        if _is_covered(model, geom, look):
            geoms.setdefault(look, []).append(geom)
    for look, alike in geoms.items():
        _add_skin(spec, model, look, alike)
    drawn = spec.compile()
    drawn.geom_group[[geom for alike in geoms.values() for geom in alike]] = _HIDDEN
    return drawn


def _look(model: mujoco.MjModel, geom: int) -> Look:
    """Return how a geom looks."""
    material, rgba = int(model.geom_matid[geom]), tuple(model.geom_rgba[geom].tolist())
    if material >= 0 and rgba == _UNSET:
        rgba = tuple(model.mat_rgba[material].tolist())
    return material, rgba


def _is_covered(model: mujoco.MjModel, geom: int, look: Look) -> bool:
    """Return whether a skin takes the place of a geom."""
    material, rgba = look
    return bool(
        model.geom_type[geom] in _SURFACES
        and rgba[3] == 1.0
        and (material < 0 or (model.mat_texid[material] < 0).all())
        and mujoco.MjvOption().geomgroup[model.geom_group[geom]]
        and model.body(model.geom_bodyid[geom]).name
    )


def _add_skin(spec: mujoco.MjSpec, model: mujoco.MjModel, look: Look, geoms: list[int]) -> None:
    """Add the skin of geoms that look alike."""
    material, rgba = look
    vertices, faces, count = [], [], 0
    carried: dict[str, list[Faces]] = {}
    for geom in geoms:
        own, triangles = _SURFACES[model.geom_type[geom]](model.geom_size[geom])
        rotation = np.empty(9)
        mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])
        vertices.append(own @ rotation.reshape(3, 3).T + model.geom_pos[geom])
        faces.append(triangles + count)
        body = model.body(model.geom_bodyid[geom]).name
        carried.setdefault(body, []).append(np.arange(count, count + len(own)))
        count += len(own)
    ids = [np.concatenate(parts) for parts in carried.values()]
    skin = spec.add_skin(rgba=rgba)
    if material >= 0:
        skin.material = model.mat(material).name
    skin.vert = np.concatenate(vertices).astype(np.float32).ravel()
    skin.face = np.concatenate(faces).astype(np.int32).ravel()
    skin.bodyname = list(carried)
    # the vertices are given in the frames of their bodies
    skin.bindpos = np.zeros(3 * len(ids), np.float32)
    skin.bindquat = np.tile(np.array([1, 0, 0, 0], np.float32), len(ids))
    skin.vertid = [own.astype(np.int32) for own in ids]
    skin.vertweight = [np.ones(len(own), np.float32) for own in ids]


def box(size: Array) -> Surface:
    """Return a box with half the sides of ``size``, with edges."""
    vertices = []
    for axis in range(3):
        for side in (-1.0, 1.0):
            for a, b in ((-side, -1.0), (side, -1.0), (side, 1.0), (-side, 1.0)):
                corner = np.empty(3)
                corner[[axis, (axis + 1) % 3, (axis + 2) % 3]] = side, a, b
                vertices.append(corner)
    halves = np.array([[0, 1, 2], [0, 2, 3]])
    return np.array(vertices) * size, np.concatenate([halves + 4 * side for side in range(6)])


def cylinder(size: Array) -> Surface:
    """Return a cylinder along z of radius ``size[0]`` and half length ``size[1]``, with edges."""
    radius, half = size[:2]
    flat = [([0.0, radius], [half, half]), ([radius, 0.0], [-half, -half])]
    parts = [_revolve(*rings) for rings in (*flat, ([radius, radius], [half, -half]))]
    first = np.cumsum([0, *(len(vertices) for vertices, _ in parts)])
    return (
        np.concatenate([vertices for vertices, _ in parts]),
        np.concatenate([faces + k for (_, faces), k in zip(parts, first, strict=False)]),
    )


def capsule(size: Array) -> Surface:
    """Return a capsule along z of radius ``size[0]`` whose middles lie at ±``size[1]``."""
    out, up = _quarter_circle(size[0])
    return _revolve([*out, *out[::-1]], [*(up + size[1]), *(-up[::-1] - size[1])])


def sphere(size: Array) -> Surface:
    """Return a ball of radius ``size[0]``."""
    out, up = _quarter_circle(size[0])
    return _revolve([*out, *out[-2::-1]], [*up, *-up[-2::-1]])


def _quarter_circle(radius: float) -> tuple[Array, Array]:
    """Return how far out and up its points lie, from the top down, (STACKS + 1,) each."""
    angle = 0.5 * np.pi * np.arange(STACKS + 1) / STACKS
    return radius * np.sin(angle), radius * np.cos(angle)


def _revolve(radii: list[float], heights: list[float]) -> Surface:
    """Return the surface between rings about z, from top to bottom or from the middle outwards."""
    turn = 2.0 * np.pi * np.arange(SLICES) / SLICES
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    rings = [
        np.column_stack([radius * circle, np.full(SLICES, height)])
        for radius, height in zip(radii, heights, strict=True)
    ]
    here = np.arange(SLICES)
    after = np.roll(here, -1)
    faces = []
    for k, (upper, lower) in enumerate(pairwise(radii)):
        top, bottom = k * SLICES, (k + 1) * SLICES
        if upper > 0.0:
            faces.append(np.column_stack([top + here, bottom + here, top + after]))
        if lower > 0.0:
            faces.append(np.column_stack([top + after, bottom + here, bottom + after]))
    return np.concatenate(rings), np.concatenate(faces)


_SURFACES = {
    mujoco.mjtGeom.mjGEOM_BOX.value: box,
    mujoco.mjtGeom.mjGEOM_CYLINDER.value: cylinder,
    mujoco.mjtGeom.mjGEOM_CAPSULE.value: capsule,
    mujoco.mjtGeom.mjGEOM_SPHERE.value: sphere,
}
"""The surface of each kind of geom, from its size."""
