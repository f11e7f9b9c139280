"""Pictures of a batch's simulations, rendered off screen.

``envs`` picks EGL when there is no display, which needs no GPU (Debian: ``libegl1
libegl-mesa0 libgl1-mesa-dri``). A renderer belongs to the thread that made it; close it when
done.
"""

from __future__ import annotations

import atexit
import contextlib
import copy
import os
import threading
import warnings
import weakref
from collections.abc import Sequence

import mujoco
import numpy as np
import numpy.typing as npt

from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.looks import Look
from lifelong_rl.envs.robot import Marker
from lifelong_rl.envs.skins import SLICES, STACKS, compile_with_skins
from lifelong_rl.errors import lookup

PACKAGES = "Debian: apt install libegl1 libegl-mesa0 libgl1-mesa-dri"
MAX_MARKERS = 10
"""Balls that a picture may show beside the model's geoms."""


class RenderingError(RuntimeError):
    """No picture can be made on this machine, or not in this thread."""


def check_render_mode(render_mode: str | None, known: Sequence[str] = ("rgb_array",)) -> None:
    """Raise a ValueError unless the render mode is None or one of those known."""
    if render_mode is not None and render_mode not in known:
        allowed = ", ".join(map(repr, (None, *known)))
        raise ValueError(f"unknown render_mode {render_mode!r}; allowed: {allowed}")


class Renderer:
    """Renders any row of a batch through any of its task's cameras.

    Without a GPU, the time goes into handing shapes to OpenGL one by one and into their vertices:
    see `lifelong_rl.envs.skins`.
    """

    def __init__(
        self,
        env: BatchEnv,
        *,
        camera: str = "front",
        width: int = 320,
        height: int = 240,
        high_quality: bool = False,
        look: Look | None = None,
    ) -> None:
        """Open an OpenGL context.

        Args:
            env: the batch to look at.
            camera: the camera `render` looks through, a name of the task's `cameras`.
            width: of the pictures, in pixels.
            height: of the pictures, in pixels.
            high_quality: smooth shapes, shadows and multisampling, at many times the cost.
            look: how the scene looks; by default as it is.

        Raises:
            UnknownNameError: if the camera is unknown.
            RenderingError: if no OpenGL context can be made, as in a fork of a process that has
                made one.
        """
        self._camera_ids = {
            name: env.batch.model.camera(lookup("camera", name, env.task.cameras, see="")).id
            for name in (*env.task.cameras, camera)
        }
        self._env, self._camera = env, camera
        self._model = model = (
            copy.copy(env.batch.model) if high_quality else compile_with_skins(env.task.spec())
        )
        self._clutter = () if look is None else look.clutter
        if look is not None:
            look.change(model)
        self._data = mujoco.MjData(model)
        # the quality and the size have to be set before the context is made
        model.vis.global_.offwidth, model.vis.global_.offheight = width, height
        quality = model.vis.quality
        if high_quality:
            quality.offsamples, quality.shadowsize = 8, 4096
        else:
            quality.offsamples, quality.shadowsize = 0, 0
            quality.numslices, quality.numstacks, quality.numquads = SLICES, 2 * STACKS, 1
        self._scene = mujoco.MjvScene(model, model.ngeom + model.nskin + MAX_MARKERS)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = high_quality
        self._option = mujoco.MjvOption()
        self._view = mujoco.MjvCamera()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._frame = mujoco.MjrRect(0, 0, width, height)
        self._thread = threading.get_ident()
        self._gl, self._context = _open_context(model)
        self._close = weakref.finalize(self, _free_context, self._gl, self._context)
        self._close.atexit = False  # that may be too late: see `_close_all`
        _OPEN.add(self)

    def render(self, row: int = 0) -> npt.NDArray[np.uint8]:
        """Return a picture of one row from the renderer's own camera, (height, width, 3).

        Raises:
            RenderingError: if the renderer is closed, or belongs to another thread or process.
        """
        picture: npt.NDArray[np.uint8] = self.render_rows([row], [self._camera])[0, 0]
        return picture

    def render_rows(
        self, rows: Sequence[int] | npt.NDArray[np.int64], cameras: Sequence[str]
    ) -> npt.NDArray[np.uint8]:
        """Return pictures of some rows, (rows, cameras, height, width, 3), a fresh array.

        Args:
            rows: their ids.
            cameras: names of the task's `cameras`.

        Raises:
            RenderingError: if the renderer is closed, or belongs to another thread or process.
        """
        _refuse_fork()
        if not self._close.alive:
            raise RenderingError("cannot render: the renderer is closed")
        self._check_thread()
        self._gl.make_current()
        size = self._frame.height, self._frame.width
        upside_down = np.empty((len(rows), len(cameras), *size, 3), np.uint8)
        for k, row in enumerate(rows):
            self._env.batch.get_data(int(row), self._data)
            mujoco.mj_kinematics(self._model, self._data)
            mujoco.mj_comPos(self._model, self._data)
            mujoco.mj_camlight(self._model, self._data)
            for c, camera in enumerate(cameras):
                self._update_scene(int(row), self._camera_ids[camera])
                mujoco.mjr_render(self._frame, self._scene, self._context)
                mujoco.mjr_readPixels(upside_down[k, c], None, self._frame, self._context)
        return np.ascontiguousarray(upside_down[:, :, ::-1])

    def close(self) -> None:
        """Free the OpenGL context; a second call does nothing.

        Raises:
            RenderingError: if the renderer belongs to another thread.
        """
        if self._close.alive:
            self._check_thread()
        self._close()
        _OPEN.discard(self)

    def _check_thread(self) -> None:
        if threading.get_ident() != self._thread:
            raise RenderingError(
                "cannot render: a renderer works only in the thread that opened it; open one in "
                "each thread"
            )

    def _update_scene(self, row: int, camera: int) -> None:
        """Put into the scene what a camera may see of a row."""
        self._view.fixedcamid = camera
        mujoco.mjv_updateScene(
            self._model,
            self._data,
            self._option,
            None,
            self._view,
            mujoco.mjtCatBit.mjCAT_ALL.value,
            self._scene,
        )
        draw_markers(self._scene, [*self._env.robot.markers(row), *self._clutter])


def draw_markers(scene: mujoco.MjvScene, markers: Sequence[Marker]) -> None:
    """Add balls to the shapes of a scene, which has room for them."""
    for marker in markers:
        mujoco.mjv_initGeom(
            scene.geoms[scene.ngeom],
            mujoco.mjtGeom.mjGEOM_SPHERE,
            np.full(3, marker.radius),
            marker.position,
            np.eye(3).ravel(),
            np.array(marker.rgba, np.float32),
        )
        scene.ngeom += 1


_OPEN: weakref.WeakSet[Renderer] = weakref.WeakSet()
"""Renderers that are not closed yet."""
_FIRST_OPENED_BY: set[int] = set()
"""The process that has opened the first context, if one has."""
_OF_PARENT: list[object] = []
"""In a fork, the contexts of its parent: kept, because to drop them would free them."""


def _open_context(model: mujoco.MjModel) -> tuple[mujoco.GLContext, mujoco.MjrContext]:
    """Return an OpenGL context, current in this thread, with the model's shapes in it.

    Raises:
        RenderingError: if there is no OpenGL here.
    """
    _refuse_fork()
    size = model.vis.global_
    try:
        with warnings.catch_warnings(record=True, action="always") as complaints:
            gl = mujoco.GLContext(size.offwidth, size.offheight)
            gl.make_current()
        if complaints:  # GLFW only warns, and MuJoCo would end the process
            raise RuntimeError(str(complaints[0].message))
        context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, context)
    except Exception as error:  # every backend fails in its own way
        raise RenderingError(f"cannot render: {_explain(error)}") from error
    _FIRST_OPENED_BY.add(os.getpid())
    # MuJoCo shuts EGL down at exit; what is registered later runs earlier
    atexit.unregister(_close_all)
    atexit.register(_close_all)
    return gl, context


def _explain(error: Exception) -> str:
    """Why there is no OpenGL context, and what to do about it."""
    backend = os.environ.get("MUJOCO_GL") or "MuJoCo's default"
    device = os.environ.get("MUJOCO_EGL_DEVICE_ID")
    if backend != "egl":
        mend = f"set MUJOCO_GL=egl, which needs no display ({PACKAGES})"
    elif device is not None:
        mend = f"set MUJOCO_EGL_DEVICE_ID, which is {device!r}, to a device, or unset it"
    else:
        mend = PACKAGES
    reason = " ".join(str(error).split()).rstrip(".")
    return f"no OpenGL context with {backend}: {reason}; {mend}"


def _refuse_fork() -> None:
    """Raise a RenderingError in a fork of a process that has opened a context.

    OpenGL's threads are not in the fork, and would be waited for without end.
    """
    if _FIRST_OPENED_BY and os.getpid() not in _FIRST_OPENED_BY:
        raise RenderingError(
            "cannot render in a fork of a process that has rendered: OpenGL's threads are not in "
            "it; start the process by multiprocessing's 'spawn', or fork before the first picture"
        )


def _forget_contexts() -> None:
    """Leave alone, in a fork, what only its parent can free."""
    for renderer in list(_OPEN):
        found = renderer._close.detach()
        if found is not None:
            _, _, contexts, _ = found
            _OF_PARENT.append(contexts)
    _OPEN.clear()
    atexit.unregister(_close_all)


os.register_at_fork(after_in_child=_forget_contexts)


def _free_context(gl: mujoco.GLContext, context: mujoco.MjrContext) -> None:
    """Free a context with what is in it."""
    gl.make_current()  # or its textures' numbers would be freed in another's context
    context.free()
    gl.free()


def _close_all() -> None:
    """Close at exit what was left open."""
    for renderer in list(_OPEN):
        with contextlib.suppress(Exception):  # some other thread's: it ends with the process
            renderer._close()
