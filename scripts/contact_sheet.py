"""Draw every task at the start of an episode, from the front camera and from the wrist.

python scripts/contact_sheet.py docs/tasks.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from envs.batch_env import BatchEnv
from envs.rendering import Renderer
from envs.tasks import TASKS, get_task


def pictures(task: str, width: int, height: int, seed: int) -> np.ndarray:
    """One picture from each camera, one above the other, (cameras * height, width, 3)."""
    env = BatchEnv(get_task(task), num_envs=1)
    env.seed(seed)
    env.reset()
    column = []
    for camera in env.task.cameras:
        renderer = Renderer(env, camera=camera, width=width, height=height, high_quality=True)
        column.append(renderer.render())
        renderer.close()
    return np.concatenate(column)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="PNG to write")
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    sheet = np.concatenate(
        [pictures(task, args.width, args.height, args.seed) for task in TASKS], axis=1
    )
    image = Image.fromarray(sheet)
    draw = ImageDraw.Draw(image)
    for column, task in enumerate(TASKS):
        draw.text((column * args.width + 8, 6), task, fill="white", font_size=16)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    image.save(args.out, optimize=True)


if __name__ == "__main__":
    main()
