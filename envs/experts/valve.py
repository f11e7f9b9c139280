"""The experts of the valves: fingers that push on, lift, reach back and land again.

Each finger goes through a cycle of its own. While it is *down* it pushes an arm of the valve ahead
of it; when it has come to the end of its stroke, or has no arm ahead, it is *raised*, reaches back
and lands behind the next arm. Whether it is down or raised is read from the height that the last
action sent it to, so that the expert remembers nothing. A valve without arms is squeezed by the
three fingers and turned by friction.

Angles of fingers and arms count forwards: in the direction the valve is to be turned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from lifelong_rl.envs.claw.kinematics import FINGER_ANGLES, fingertips, joints_for
from lifelong_rl.envs.claw.observation import HOME, JOINT_SCALE, State, wrapped
from lifelong_rl.envs.robot import Array
from lifelong_rl.envs.tasks.valve import MORE_VALVES, VALVES
from lifelong_rl.registry import EXPERTS

ARMS: Mapping[str, tuple[int, ...]] = {
    "tri": (60, 180, 300),
    "cross": (30, 90, 210, 270),
    "tee": (60, 150, 330),
    "bar": (90, 270),
    "ell": (60, 150),
    "star": (30, 90, 150, 210, 270, 330),
    "square": (),
    "hexagon": (),
    "wheel": (90, 210, 330),
    "crank": (60,),
}
"""Where each valve's arms point at angle 0, degrees; none: it is squeezed."""

LOW, HIGH = 0.030, 0.058
"""Heights that fingertips are sent to when down and when raised, m."""
PUSHING_HEIGHT = 0.043
"""Height below which a fingertip that is down moves forwards, m."""
CLEAR_HEIGHT = 0.046
"""Height above which a raised fingertip reaches back, over the arms, m."""
RAISED_RADIUS = 0.07
"""Radius that raised fingertips are sent to, m."""
AHEAD = 0.9
"""How far ahead of itself a pushing fingertip aims at most, rad."""
BACK = 1.0
"""How far from itself a raised fingertip aims at most, rad; further, it would dip on its way."""
OVERSHOOT = 0.1
"""How far past the target a pushing fingertip aims, rad: the servos give way a little."""
TOUCH = 0.36
"""Angle between an arm and a fingertip that touches it, rad."""
LANDING = 0.42
"""Angle behind an arm at which fingertips land, rad."""
LANDED = 0.15
"""Angle from there within which they come down, rad."""
FIRST, LAST = -1.3, 0.85
"""Angles between which fingertips land, rad; further apart than two fingers, so one always can."""
WAITING = -1.05
"""Angle at which a raised fingertip waits for an arm, rad."""
SHORTEST = 0.15
"""A stroke shorter than this is not worth staying down for, rad."""
PASSED = 0.2
"""How far a fingertip may have slid past the touching angle of the arm it pushes, rad."""
AMBIGUOUS = 0.9
"""Within this of half a turn away, the valve is turned in the positive direction, rad."""
DONE = 0.04
"""Error below which the fingers hold still, rad."""


@dataclass(frozen=True)
class Stroke:
    """How the fingertips move while they are down.

    Attributes:
        radius: radius they are sent to, m.
        end: angle at which they are raised, rad.
        furthest: the furthest angle they are sent to, rad.
    """

    radius: float
    end: float
    furthest: float


PUSH = Stroke(radius=0.058, end=1.15, furthest=1.3)
"""Against an arm."""
PUSH_PEG = Stroke(radius=0.066, end=1.15, furthest=1.3)
"""Against the crank's peg, through its middle."""
SQUEEZE = Stroke(radius=0.042, end=0.7, furthest=1.0)
"""Around a block; its faces are further out than the radius."""
SQUEEZE_START = -1.0
"""Angle at which fingertips land beside a block, rad."""


def turn(state: State, shape: str) -> Array:
    """Return the expert's actions, (n, 9).

    Args:
        state: the states.
        shape: the valve's shape, a name in `ARMS`.
    """
    error = state.error
    error = np.where(error < AMBIGUOUS - np.pi, error + 2.0 * np.pi, error)[:, None]
    forwards = np.where(error >= 0.0, 1.0, -1.0)
    angle, _, height = fingertips(state.joints)
    angle *= forwards
    _, _, sent_to = fingertips(HOME + JOINT_SCALE * state.last_action)
    raised = sent_to > 0.5 * (LOW + HIGH)

    if ARMS[shape]:
        stroke = PUSH_PEG if shape == "crank" else PUSH
        arms = _arms(state, shape, forwards)
        landing = _landing(arms)
        gap = _gap(arms, angle, stroke.end)
    else:
        stroke = SQUEEZE
        landing = np.full_like(angle, SQUEEZE_START)
        gap = np.zeros_like(angle)
    can_land, can_push = np.isfinite(landing), np.isfinite(gap)
    landing = np.where(can_land, landing, WAITING)
    gap = np.where(can_push, gap, 0.0)

    landed = can_land & (np.abs(angle - landing) < LANDED)
    raise_it = np.where(raised, ~landed, ~can_push | (angle > stroke.end))
    reach_back = np.clip(landing, angle - BACK, angle + BACK)
    push_on = np.minimum(
        angle + np.minimum(AHEAD, gap + np.abs(error) + OVERSHOOT), stroke.furthest
    )
    moving = np.where(raise_it, height > CLEAR_HEIGHT, height < PUSHING_HEIGHT)
    aim = np.where(moving, np.where(raise_it, reach_back, push_on), angle)
    joints = joints_for(
        forwards * aim,
        np.where(raise_it, RAISED_RADIUS, stroke.radius),
        np.where(raise_it, HIGH, LOW),
    )
    joints = np.where(np.abs(error) < DONE, state.joints, joints)
    actions: Array = np.clip((joints - HOME) / JOINT_SCALE, -1.0, 1.0)
    return actions


def _arms(state: State, shape: str, forwards: Array) -> list[Array]:
    """Return for each arm where it is, forwards from each finger, (n, 3), rad."""
    valve = state.valve[:, None] - FINGER_ANGLES
    return [wrapped(forwards * (valve + np.radians(arm))) for arm in ARMS[shape]]


def _landing(arms: list[Array]) -> Array:
    """Return the landing furthest back behind an arm, (n, 3), rad; infinite where there is none."""
    landing = np.full_like(arms[0], np.inf)
    for arm in arms:
        behind = arm - LANDING
        possible = (behind > FIRST) & (behind < LAST)
        landing = np.where(possible, np.minimum(landing, behind), landing)
    return landing


def _gap(arms: list[Array], angle: Array, end: float) -> Array:
    """Return how far each fingertip is from touching the next arm it can push on, (n, 3), rad.

    Infinite where no arm ahead is worth the stroke; 0 for an arm that is being pushed.
    """
    gap = np.full_like(angle, np.inf)
    for arm in arms:
        touching = arm - TOUCH
        possible = (touching - angle > -PASSED) & (touching < end - SHORTEST)
        gap = np.where(possible, np.minimum(gap, touching - angle), gap)
    return np.maximum(gap, 0.0)


for _valve in (*VALVES, *MORE_VALVES):
    EXPERTS.register(_valve.name)(partial(turn, shape=_valve.shape))
