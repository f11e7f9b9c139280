"""Skins in place of shapes: closed surfaces of the right size, and the same pictures."""

from __future__ import annotations

import math
from collections import Counter

import mujoco
import numpy as np
import pytest

from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.rendering import Renderer, RenderingError
from lifelong_rl.envs.skins import (
    SLICES,
    STACKS,
    Surface,
    box,
    capsule,
    compile_with_skins,
    cylinder,
    sphere,
)
from lifelong_rl.envs.tasks import TASKS, get_task

POLYGON = 0.5 * SLICES * math.sin(2 * math.pi / SLICES)
"""Area of the polygon in a circle of radius 1."""


def volume(surface: Surface) -> float:
    """By the divergence theorem; negative if the faces look inwards."""
    vertices, faces = surface
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def half_ball() -> float:
    """Volume of half a ball of radius 1, cut into polygons: a pile of frusta."""
    angle = 0.5 * np.pi * np.arange(STACKS + 1) / STACKS
    out, up = np.sin(angle), np.cos(angle)
    areas = POLYGON * (out[1:] ** 2 + out[1:] * out[:-1] + out[:-1] ** 2) / 3
    return float((areas * (up[:-1] - up[1:])).sum())


@pytest.mark.parametrize(
    ("surface", "expected"),
    [
        (box(np.array([0.1, 0.2, 0.3])), 8 * 0.1 * 0.2 * 0.3),
        (cylinder(np.array([0.2, 0.5, 0.0])), POLYGON * 0.2**2 * 2 * 0.5),
        (sphere(np.array([0.3, 0.0, 0.0])), 2 * half_ball() * 0.3**3),
        (
            capsule(np.array([0.3, 0.5, 0.0])),
            2 * half_ball() * 0.3**3 + POLYGON * 0.3**2 * 2 * 0.5,
        ),
    ],
)
def test_surfaces_are_closed_and_look_outwards(surface: Surface, expected: float) -> None:
    assert volume(surface) == pytest.approx(expected, rel=1e-12)
    vertices, faces = surface
    corners = vertices.round(9)[faces]
    edges = Counter()
    for triangle in corners.tolist():
        for k in range(3):
            edges[tuple(triangle[k]), tuple(triangle[(k + 1) % 3])] += 1
    proper = {edge: count for edge, count in edges.items() if edge[0] != edge[1]}
    assert set(proper.values()) == {1}
    assert {edge[::-1] for edge in proper} == set(proper)


@pytest.mark.parametrize("task", ["push", "window-slide", "valve-wheel"])
def test_the_drawn_model_has_the_same_state_and_hides_what_skins_show(task: str) -> None:
    own = TASKS[task].model()
    drawn = compile_with_skins(TASKS[task].spec())
    for size in ("nq", "nv", "na", "nu", "nmocap", "nbody", "ngeom", "ncam", "nlight"):
        assert getattr(drawn, size) == getattr(own, size)
    shown = [drawn.geom(k).name for k in np.flatnonzero(drawn.geom_group < 3)]
    glass = ["window/fixed_glass", "window/pane_glass"] if task == "window-slide" else []
    assert shown == ["floor", *glass]
    covered = drawn.geom_group != own.geom_group
    materials = {int(k) for k in own.geom_matid[covered]}
    assert drawn.nskin == len(materials) and -1 not in materials


def test_a_geoms_own_colour_is_a_look_of_its_own() -> None:
    spec = mujoco.MjSpec.from_string(
        "<mujoco><asset><material name='red' rgba='1 0 0 1'/></asset><worldbody>"
        "<geom size='1' material='red'/><geom size='1' material='red' rgba='0 1 0 1'/>"
        "<geom size='1'/><geom size='1' rgba='1 1 1 .5'/><geom size='1' group='4'/>"
        "</worldbody></mujoco>"
    )
    drawn = compile_with_skins(spec)
    np.testing.assert_array_equal(drawn.skin_rgba, [[1, 0, 0, 1], [0, 1, 0, 1], [0.5, 0.5, 0.5, 1]])
    assert drawn.skin_matid.tolist() == [0, 0, -1]
    assert (drawn.geom_group < 3).tolist() == [False, False, False, True, False]


@pytest.mark.parametrize("task", ["push", "window-slide", "valve-crank"])
def test_pictures_are_those_of_the_shapes(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    env = BatchEnv(get_task(task), 1)
    env.seed(0)
    env.reset()

    def pictures() -> np.ndarray:
        try:
            renderer = Renderer(env, width=96, height=96)
        except RenderingError as error:
            pytest.skip(str(error))
        found = renderer.render_rows([0], ["front", "wrist"]).astype(int)
        renderer.close()
        return found

    with_skins = pictures()
    monkeypatch.setattr(
        "lifelong_rl.envs.rendering.compile_with_skins", lambda spec: spec.compile()
    )
    difference = np.abs(with_skins - pictures())
    assert difference.mean() < 0.7  # of 255
    assert (difference.max(axis=-1) > 20).mean() < 0.01  # at most some pixels along edges
