"""Peg-unplug: pull a peg out of its socket by its handle."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lifelong_rl.envs.arm.observation import MAX_OPENING, State, distance
from lifelong_rl.envs.arm.task import ArmTask, Start
from lifelong_rl.envs.robot import Array, clip
from lifelong_rl.envs.task import uniform
from lifelong_rl.registry import TASKS

SOCKET_LOW, SOCKET_HIGH = np.array([0.42, -0.15, 0.0]), np.array([0.58, 0.15, 0.0])
"""Corners of the area the socket stands in, m."""
HANDLE = np.array([0.0, 0.0, 0.08989])
"""Middle of the handle of a peg that rests in the socket, from the socket's position, m; the
floor gives under the peg's weight by 0.11 mm."""
HAND_LOW, HAND_HIGH = np.array([-0.04, -0.04, 0.05]), np.array([0.04, 0.04, 0.10])
"""Corners of the box the hand starts in, from the handle, m."""
OUT = np.array([0.0, 0.0, 0.06])
"""Way of a handle until its peg is out: the socket is 5 cm deep, m."""
HANDLE_WIDTH = 0.026
"""Opening of a gripper that holds the handle, m."""
GRASP_RADIUS = 0.02
"""Distance from hand to handle within which closing the gripper counts, m; from there to twice
as far it counts less and less."""
HALF_DISTANCE = 0.05
"""Distance at which the reach term is one half, m."""


@TASKS.register("peg-unplug")
class PegUnplug(ArmTask):
    """Pull a peg out of its socket by its handle.

    The peg stands loosely in a hole 5 cm deep with 1.5 mm of play, so it comes out only
    upwards, held by the friction of closed fingers. The open gripper, which it starts with,
    fits over the handle.

    **Observation** (the shared layout, `lifelong_rl.envs.arm.observation`): the object is the
    middle of the handle, and the goal is where that is when the peg is out: 6 cm above where it is
    in. 13 and 19 are always 0 and -0.25.

    **Action**: `lifelong_rl.envs.arm.controller`; the gripper has to be open on the way down and
    closed on the way up.

    **Reward**, in [0, 1]:

    ====== ====== ============================================================================
    term   weight value
    ====== ====== ============================================================================
    reach  0.2    1 / (1 + d / 5 cm), d the distance from hand to handle
    grasp  0.2    how far the gripper is closed, 1 at the handle's width, times how near it is:
                  1 up to d = 2 cm, from there less and less to 0 at 4 cm
    pull   0.6    how far the handle is up, 1 at 6 cm and beyond
    ====== ====== ============================================================================

    **Success**: the handle is up by 6 cm or more, so the peg's lower end is above the socket.

    **Start**: the socket stands uniformly in an area of 16 x 30 cm, the peg resting in it; the
    hand is uniform in a box 8 x 8 x 5 cm above the handle, at least 5 cm over it, its gripper
    open. An episode has 50 control steps (2 s) and is only ever truncated. A peg that is dropped
    outside its socket stays where it falls.

    **Version**: v0.
    """

    name = "peg-unplug"
    horizon = 50
    objects = ("peg",)
    object_site = "peg/handle"
    weights: ClassVar[dict[str, float]] = {"reach": 0.2, "grasp": 0.2, "pull": 0.6}

    def sample(self, rng: np.random.Generator) -> Start:
        """Draw the socket's place and the hand's."""
        socket = uniform(rng, SOCKET_LOW, SOCKET_HIGH)
        handle = socket + HANDLE
        return Start(
            hand=handle + uniform(rng, HAND_LOW, HAND_HIGH),
            goal=handle + OUT,
            opening=MAX_OPENING,
            fixture=socket,
            qpos={"peg/peg": np.array([*handle, 1.0, 0.0, 0.0, 0.0])},
        )

    def reward_terms(self, state: State) -> dict[str, Array]:
        """Return how near the hand is, whether it grasps, and how far the peg is out."""
        reach = distance(state.hand, state.object)
        near = clip(2.0 - reach / GRASP_RADIUS, 0.0, 1.0)
        closed = clip((MAX_OPENING - state.opening) / (MAX_OPENING - HANDLE_WIDTH), 0.0, 1.0)
        left = (state.goal[:, 2] - state.object[:, 2]) / OUT[2]
        return {
            "reach": 1.0 / (1.0 + reach / HALF_DISTANCE),
            "grasp": near * closed,
            "pull": clip(1.0 - left, 0.0, 1.0),
        }

    def success(self, state: State) -> np.ndarray:
        """Return whether the handle is `OUT` above where it was while the peg was in."""
        return state.object[:, 2] >= state.goal[:, 2]
