"""Pictures of a batch's simulations, rendered off screen.

``envs`` picks EGL when there is no display, which needs no GPU (Debian: ``libegl1
libegl-mesa0 libgl1-mesa-dri``). A renderer belongs to the thread that made it; close it when
done.
"""

from __future__ import annotations

import copy
import weakref

import mujoco
import numpy as np
import numpy.typing as npt

from envs.batch_env import BatchEnv


class RenderingError(RuntimeError):
    """No picture can be made on this machine."""


def check_render_mode(render_mode: str | None) -> None:
    """Raise a ValueError unless the render mode is None or ``"rgb_array"``."""
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"unknown render_mode {render_mode!r}; allowed: None, 'rgb_array'")


class Renderer:
    """Renders any row of a batch through one of its cameras."""

    def __init__(
        self,
        env: BatchEnv,
        *,
        camera: str = "front",
        width: int = 320,
        height: int = 240,
        high_quality: bool = False,
    ) -> None:
        """Open an OpenGL context.

        Args:
            env: the batch to look at.
            camera: a name of the task's `cameras`.
            width: of the pictures, in pixels.
            height: of the pictures, in pixels.
            high_quality: smooth shapes, shadows and multisampling, at some thirty times the cost.

        Raises:
            ValueError: if the camera is unknown.
            RenderingError: if no OpenGL context can be made.
        """
        cameras = env.task.cameras
        if camera not in cameras:
            raise ValueError(f"unknown camera {camera!r}; known: {', '.join(cameras)}")
        self._env = env
        self._camera = cameras[camera]
        self._data = mujoco.MjData(env.batch.model)
        # the quality has to be set before the context is made
        self._model = copy.copy(env.batch.model)
        quality = self._model.vis.quality
        if high_quality:
            quality.offsamples, quality.shadowsize = 8, 4096
        else:  # without a GPU, the time goes into the vertices of round and flat shapes
            quality.offsamples, quality.shadowsize = 0, 0
            quality.numslices, quality.numstacks, quality.numquads = 16, 8, 1
        try:
            self._renderer = mujoco.Renderer(self._model, height, width)
        except Exception as error:  # every backend fails in its own way
            raise RenderingError(
                "cannot render: no OpenGL context (install libegl1, libegl-mesa0 and "
                "libgl1-mesa-dri, and set MUJOCO_GL=egl before importing mujoco)"
            ) from error
        # also frees the context at exit, while EGL still works, if close() was forgotten
        self._close = weakref.finalize(self, self._renderer.close)
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = high_quality

    def render(self, row: int = 0) -> npt.NDArray[np.uint8]:
        """Return a picture of one row, (height, width, 3)."""
        self._env.batch.get_data(row, self._data)
        mujoco.mj_forward(self._model, self._data)
        self._renderer.update_scene(self._data, self._camera)
        self._add_markers(row)
        picture: npt.NDArray[np.uint8] = self._renderer.render()
        return picture

    def close(self) -> None:
        """Free the OpenGL context; a second call does nothing."""
        self._close()

    def _add_markers(self, row: int) -> None:
        """Add to the scene what is no part of the model."""
        scene = self._renderer.scene
        for marker in self._env.robot.markers(row):
            mujoco.mjv_initGeom(
                scene.geoms[scene.ngeom],
                mujoco.mjtGeom.mjGEOM_SPHERE,
                np.full(3, marker.radius),
                marker.position,
                np.eye(3).ravel(),
                np.array(marker.rgba, np.float32),
            )
            scene.ngeom += 1
