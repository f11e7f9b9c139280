"""How a scene looks: its light, its colours, where the cameras are, and what lies about.

A `Look` changes pictures and nothing else. `drift(share)` goes from a scene as it is (0) to another
domain (1), everything at once and in proportion: the light fails, colours turn warm, the cameras
move aside and up, and balls that were not there grow on the table.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from lifelong_rl.envs.robot import Marker

LIGHT = 0.75
"""Of the light there is in the other domain."""
TINT = np.array([1.0, 0.9, 0.8])
"""What red, green and blue are multiplied by there."""
CAMERA = np.array([0.02, 0.0, 0.02])
"""How far the cameras have moved there, m."""
UNSET = np.array([0.5, 0.5, 0.5, 1.0])
"""Colour of what is given none."""
CLUTTER_RADIUS = 0.025
"""Of the balls, m."""
CLUTTER = (
    (0.30, -0.30, (0.8, 0.2, 0.2, 1.0)),
    (0.42, 0.34, (0.2, 0.6, 0.3, 1.0)),
    (0.70, -0.26, (0.2, 0.3, 0.8, 1.0)),
    (0.74, 0.22, (0.9, 0.8, 0.2, 1.0)),
    (0.24, 0.10, (0.6, 0.3, 0.7, 1.0)),
    (0.62, 0.42, (0.9, 0.5, 0.1, 1.0)),
)
"""Where they lie on the table, x and y, m, and their colours."""


@dataclass(frozen=True)
class Look:
    """What is changed in a scene's pictures.

    Attributes:
        light: factor of all lights.
        tint: factors of red, green and blue, (3,).
        camera: how far all cameras are moved, (3,), m.
        clutter: balls beside what is there.
    """

    light: float
    tint: np.ndarray
    camera: np.ndarray
    clutter: tuple[Marker, ...]

    def change(self, model: mujoco.MjModel) -> None:
        """Change a model that is drawn, once."""
        model.vis.headlight.ambient[:] *= self.light
        model.vis.headlight.diffuse[:] *= self.light
        model.light_diffuse[:] *= self.light
        model.light_specular[:] *= self.light
        for colours in (model.geom_rgba, model.mat_rgba, model.skin_rgba):
            given = (colours != UNSET).any(axis=1)  # others are drawn in their material's colour
            colours[np.ix_(given, (0, 1, 2))] *= self.tint
        # cameras that ride on a body move in its frame: only those of the room are moved
        model.cam_pos[model.cam_bodyid == 0] += self.camera


def drift(share: float) -> Look:
    """Return the look at a share of the way from a scene as it is to the other domain.

    Args:
        share: in [0, 1].
    """
    radius = share * CLUTTER_RADIUS
    balls = [Marker(np.array([x, y, radius]), rgba, radius) for x, y, rgba in CLUTTER if radius > 0]
    return Look(
        light=1 + share * (LIGHT - 1),
        tint=1 + share * (TINT - 1),
        camera=share * CAMERA,
        clutter=tuple(balls),
    )
