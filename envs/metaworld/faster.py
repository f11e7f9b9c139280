"""What Meta-World's environments compute at each step, to the last bit, with less Python.

Half of a step's time is spent on small arrays: on a gripper's position by name, on a clip of three
numbers, on an object for each contact. These four methods are what all tasks share of it. They are
those of a subclass, so that Meta-World's own environments stay as they are.
"""

from __future__ import annotations

import math
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@cache
def make_faster(environment_class: Any) -> Any:
    """Return a subclass of one of Meta-World's classes that does the same in less time."""
    return type(environment_class.__name__, (_Faster, environment_class), {})


class _Faster:
    """Methods in place of those of `metaworld.sawyer_xyz_env.SawyerXYZEnv`."""

    model: Any
    data: Any
    mocap_low: Array
    mocap_high: Array
    action_scale: float
    _obs_obj_max_len: int
    _prev_obs: Array
    _partially_observable: bool
    _get_pos_objects: Any
    _get_quat_objects: Any
    _get_pos_goal: Any

    @cached_property
    def _bodies(self) -> tuple[int, int, int]:
        """Numbers of the hand and of the two claws."""
        hand, right, left = (self.model.body(n).id for n in ("hand", "rightclaw", "leftclaw"))
        return hand, right, left

    @cached_property
    def _pads(self) -> tuple[int, int]:
        """Numbers of the geoms that touch what is gripped."""
        left, right = (self.model.geom(name).id for name in ("leftpad_geom", "rightpad_geom"))
        return left, right

    def set_xyz_action(self, action: npt.NDArray[Any]) -> None:
        """Move the mocap body, (3,) in [-1, 1], within its bounds."""
        position = self.data.mocap_pos
        position += np.minimum(np.maximum(action, -1), 1) * self.action_scale
        position[0] = np.minimum(np.maximum(position[0], self.mocap_low), self.mocap_high)
        self.data.mocap_quat[:] = (1, 0, 1, 0)

    def touching_object(self, object_geom_id: int) -> bool:
        """Return whether both pads press on a geom."""
        contact = self.data.contact
        pairs, addresses = contact.geom, contact.efc_address
        touching = (pairs == object_geom_id).any(axis=1)
        forces = self.data.efc_force
        for pad in self._pads:
            by_pad = np.flatnonzero(touching & (pairs == pad).any(axis=1))
            if not sum(forces[addresses[k]] for k in by_pad) > 0:
                return False
        return True

    def _get_curr_obs_combined_no_goal(self) -> Array:
        """Return positions and opening of the hand, then each object's position and quaternion."""
        positions = self.data.xpos
        hand, right, left = self._bodies
        apart = positions[right] - positions[left]
        seen = np.zeros(4 + self._obs_obj_max_len)
        seen[:3] = positions[hand]
        seen[3] = min(math.sqrt(apart.dot(apart)) / 0.1, 1.0)
        objects, turned = self._get_pos_objects(), self._get_quat_objects()
        for k in range(len(objects) // 3):
            at = 4 + 7 * k
            seen[at : at + 3] = objects[3 * k : 3 * k + 3]
            seen[at + 3 : at + 7] = turned[4 * k : 4 * k + 4]
        return seen

    def _get_obs(self) -> Array:
        """Return what is seen now, what was seen before, and the goal."""
        goal = self._get_pos_goal()
        seen = self._get_curr_obs_combined_no_goal()
        shown = np.concatenate((seen, self._prev_obs, goal * (not self._partially_observable)))
        self._prev_obs = seen
        return shown
