"""Changes of a MuJoCo model by factors: gravity, friction, damping, mass and size.

A change is a mapping such as ``{"gravity": 0.5, "friction/puck": 2.0}``. It says what holds from
then on: every quantity is its original value times its factor, and 1 where none is given, so that
the same change made twice, or after another, gives the same model. A key names a quantity, or that
of one geom (friction, size), joint (damping) or body (mass), which then counts for it in place of
the factor of all. A body stands for all its geoms or joints, and of a name with slashes, such as
``puck/puck_rim``, the last part is enough where no other ends so.

- ``gravity``: ``opt.gravity``.
- ``friction``: ``geom_friction``, all three coefficients, and ``pair_friction``. Of two geoms that
  touch, MuJoCo takes the larger friction, unless one has priority.
- ``damping``: ``dof_damping`` and ``dof_dampingpoly``.
- ``mass``: ``body_mass`` and ``body_inertia``.
- ``size``: ``geom_size`` of spheres, capsules, ellipsoids, cylinders and boxes; positions and
  masses stay.

The constants that MuJoCo derives from masses and sizes follow them.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from lifelong_rl.errors import UserError, lookup
from lifelong_rl.text import one_line, shorten

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Quantity:
    """What a factor scales.

    Attributes:
        element: what has it of its own, None for what all share.
        may_be_zero: whether a model without it can be simulated.
    """

    element: str | None
    may_be_zero: bool = True


QUANTITIES = {
    "gravity": _Quantity(None),
    "friction": _Quantity("geom"),
    "damping": _Quantity("joint"),
    "mass": _Quantity("body", may_be_zero=False),
    "size": _Quantity("geom", may_be_zero=False),
}
"""What can be changed, by name."""

_OBJECTS = {
    "geom": mujoco.mjtObj.mjOBJ_GEOM,
    "joint": mujoco.mjtObj.mjOBJ_JOINT,
    "body": mujoco.mjtObj.mjOBJ_BODY,
}
_SCALABLE = [
    kind.value
    for kind in (
        mujoco.mjtGeom.mjGEOM_SPHERE,
        mujoco.mjtGeom.mjGEOM_CAPSULE,
        mujoco.mjtGeom.mjGEOM_ELLIPSOID,
        mujoco.mjtGeom.mjGEOM_CYLINDER,
        mujoco.mjtGeom.mjGEOM_BOX,
    )
]
_DERIVED = (
    "body_subtreemass",
    "body_invweight0",
    "bvh_aabb",
    "dof_length",
    "dof_invweight0",
    "dof_M0",
    "geom_aabb",
    "geom_rbound",
    "geom_fluid",
    "tendon_invweight0",
    "actuator_acc0",
)
"""What MuJoCo computes from masses and sizes."""


def check_factors(factors: Mapping[str, Any]) -> dict[str, float]:
    """Return factors after checking all that can be checked without a model.

    Args:
        factors: by quantity or ``QUANTITY/NAME``; finite numbers. Gravity may be turned around by
            a negative one, mass and size have to stay positive, and the others at least 0.

    Raises:
        UserError: if a quantity is unknown or has no elements, or a factor is out of its range.
    """
    checked = {}
    for given, factor in factors.items():
        key = one_line(str(given))
        name, slash, element = key.partition("/")
        quantity = lookup("quantity of a model", name, QUANTITIES, see="")
        if slash and quantity.element is None:
            raise UserError(f"{name} is that of the whole model; write '{name}' for {shorten(key)}")
        if slash and not element:
            raise UserError(f"{shorten(key)} names no {quantity.element}")
        if not isinstance(factor, Real) or isinstance(factor, bool) or not math.isfinite(factor):
            raise UserError(f"the factor of {key} is {shorten(factor)}; it must be a finite number")
        if name != "gravity" and (factor < 0 or (factor == 0 and not quantity.may_be_zero)):
            least = "at least 0" if quantity.may_be_zero else "more than 0"
            raise UserError(f"the factor of {key} is {factor}; it must be {least}")
        checked[key] = float(factor)
    return checked


def change_model(
    model: mujoco.MjModel, original: mujoco.MjModel, factors: Mapping[str, float]
) -> None:
    """Modify `model` in place so that every quantity is that of `original` times its factor.

    Args:
        model: a copy of `original`, changed before or not.
        original: stays as it is.
        factors: see `check_factors`; what has none is as in `original`.

    Raises:
        UserError: if a factor is wrong, or the model has no such element; `model` is then as it
            was.
    """
    factors = check_factors(factors)
    of = {name: _of_elements(original, factors, name) for name in QUANTITIES}
    scalable = np.isin(original.geom_type, _SCALABLE)
    for key in factors:
        name, slash, element = key.partition("/")
        geoms = _named(original, "geom")[element] if slash and name == "size" else slice(None)
        if name == "size" and not scalable[geoms].any():
            raise UserError(f"{key} changes nothing: only planes, meshes and the like have it")

    model.opt.gravity[:] = original.opt.gravity * of["gravity"]
    friction = of["friction"]
    model.geom_friction[:] = original.geom_friction * friction[:, None]
    of_pairs = np.maximum(friction[original.pair_geom1], friction[original.pair_geom2])
    model.pair_friction[:] = original.pair_friction * of_pairs[:, None]
    damping = of["damping"][original.dof_jntid]
    model.dof_damping[:] = original.dof_damping * damping
    model.dof_dampingpoly[:] = original.dof_dampingpoly * damping[:, None]
    model.body_mass[:] = original.body_mass * of["mass"]
    model.body_inertia[:] = original.body_inertia * of["mass"][:, None]
    model.geom_size[:] = original.geom_size * np.where(scalable, of["size"], 1.0)[:, None]
    _derive(model, original)


def _of_elements(model: mujoco.MjModel, factors: Mapping[str, float], name: str) -> Array:
    """Return the factor of each element that has a quantity, (n,), or of all, (1,).

    Raises:
        UserError: if the model has no such element.
    """
    element = QUANTITIES[name].element
    if element is None:
        return np.full(1, factors.get(name, 1.0))
    count = {"geom": model.ngeom, "joint": model.njnt, "body": model.nbody}[element]
    values = np.full(count, factors.get(name, 1.0))
    own = {key.partition("/")[2]: f for key, f in factors.items() if key.startswith(f"{name}/")}
    if own:
        named = _named(model, element)
        for known, factor in own.items():
            values[lookup(element, known, named, see="")] = factor
    return values


def _named(model: mujoco.MjModel, element: str) -> dict[str, npt.NDArray[np.int64]]:
    """Return the ids of a kind of elements by what they may be called, full names before others."""
    owner = {
        "geom": model.geom_bodyid,
        "joint": model.jnt_bodyid,
        "body": np.arange(model.nbody),
    }[element]
    full: dict[str, npt.NDArray[np.int64]] = {}
    for body in range(model.nbody):
        full[mujoco.mj_id2name(model, _OBJECTS["body"], body)] = np.flatnonzero(owner == body)
    for i in range(len(owner)):
        full[mujoco.mj_id2name(model, _OBJECTS[element], i)] = np.array([i])
    full = {name: ids for name, ids in full.items() if name and len(ids)}
    ends = Counter(name.rpartition("/")[2] for name in full)
    short = {name.rpartition("/")[2]: ids for name, ids in full.items()}
    return {**{name: ids for name, ids in short.items() if ends[name] == 1}, **full}


def _derive(model: mujoco.MjModel, original: mujoco.MjModel) -> None:
    """Write the constants that follow from masses and sizes, and nothing else that MuJoCo would."""
    source = original
    if not (
        np.array_equal(model.body_mass, original.body_mass)
        and np.array_equal(model.geom_size, original.geom_size)
    ):
        source = copy.copy(model)
        mujoco.mj_setConst(source, mujoco.MjData(source))
    for name in _DERIVED:
        getattr(model, name)[:] = getattr(source, name)
