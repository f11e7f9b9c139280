"""Frames made without a simulator: a red square and a green one move over a room."""

from __future__ import annotations

import numpy as np

from lifelong_rl.vision.frames import Frames

SIZE = 64
PIXELS_PER_METRE = 60


def moving_squares(
    episodes: int = 20, length: int = 20, seed: int = 0, cameras: int = 2, size: int = SIZE
) -> Frames:
    """Frames of two squares of 8 pixels: "hand" is where the red one is, "object" the green one.

    The red one moves along a line, the green one stays where it is, in a room whose brightness
    differs from episode to episode. The second camera sees the first one's picture turned by 90°.
    """
    rng = np.random.default_rng(seed)
    n = episodes * length
    side = size // 8
    start, end, still = rng.uniform(0, size - side, (3, episodes, 1, 2))
    share = np.linspace(0, 1, length)[None, :, None]
    hand = (start + share * (end - start)).reshape(n, 2)
    thing = np.broadcast_to(still, (episodes, length, 2)).reshape(n, 2)
    images = np.empty((n, 1, 3, size, size), np.uint8)
    images[:] = rng.integers(60, 160, (episodes, 1)).repeat(length, 0)[:, :, None, None, None]
    floor = np.linspace(0, 60, size).astype(np.uint8)[:, None]
    images += floor
    for place, colour in ((thing, (30, 200, 40)), (hand, (220, 30, 30))):
        for i, (x, y) in enumerate(place.round().astype(int)):
            images[i, 0, :, y : y + side, x : x + side] = np.array(colour)[:, None, None]
    turned = np.rot90(images, axes=(3, 4))
    joints = np.column_stack([np.arctan2(hand[:, 1], 1 + hand[:, 0]), hand[:, 0] / size])
    return Frames(
        images=np.ascontiguousarray(np.concatenate([images, turned], axis=1)[:, :cameras]),
        episodes=np.repeat(np.arange(episodes), length),
        steps=np.tile(np.arange(length), episodes),
        tasks=np.repeat(np.arange(episodes) % 2, length),
        policies=np.zeros(n, np.int64),
        labels={
            "hand": (hand / PIXELS_PER_METRE).astype(np.float32),
            "object": (thing / PIXELS_PER_METRE).astype(np.float32),
            "joints": joints.astype(np.float32),
        },
        metadata={
            "tasks": ["red", "green"],
            "cameras": ["front", "side"][:cameras],
            "policies": ["line"],
            "seed": seed,
        },
    )
