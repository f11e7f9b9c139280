"""Draw every task at the start of an episode: the front camera, and the wrist's in its corner.

python scripts/contact_sheet.py docs/tasks.png
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from PIL import Image

from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.rendering import Renderer
from lifelong_rl.envs.tasks import TASKS, get_task
from lifelong_rl.storage.clip import Picture, caption

INSET = 0.3
"""Width of the wrist's picture, as a share of the front camera's."""
EDGE = 2
"""Width of the line around the wrist's picture, in pixels."""
BACKGROUND = (24, 26, 30)


def take_pictures(task: str, sizes: dict[str, tuple[int, int]], seed: int) -> dict[str, Picture]:
    """Return pictures of the start of an episode.

    Args:
        task: the task's name.
        sizes: width and height in pixels, by camera.
        seed: decides the episode.
    """
    env = BatchEnv(get_task(task), num_envs=1)
    env.seed(seed)
    env.reset()
    pictures = {}
    for camera, (width, height) in sizes.items():
        renderer = Renderer(env, camera=camera, width=width, height=height, high_quality=True)
        pictures[camera] = renderer.render()
        renderer.close()
    return pictures


def draw(task: str, width: int, height: int, seed: int) -> Picture:
    """Return one cell of the sheet, (height, width, 3)."""
    inset = round(INSET * width), round(INSET * height)
    pictures = take_pictures(task, {"front": (width, height), "wrist": inset}, seed)
    cell = caption(pictures["front"], task).copy()
    cell[: inset[1] + EDGE, width - inset[0] - EDGE :] = BACKGROUND
    cell[: inset[1], width - inset[0] :] = pictures["wrist"]
    return cell


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="PNG to write")
    parser.add_argument("--columns", type=int, default=5)
    parser.add_argument("--width", type=int, default=320, help="of a cell")
    parser.add_argument("--height", type=int, default=240, help="of a cell")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    columns = min(args.columns, len(TASKS))
    rows = math.ceil(len(TASKS) / columns)
    sheet = Image.new("RGB", (columns * args.width, rows * args.height), BACKGROUND)
    for index, task in enumerate(TASKS):
        row, column = divmod(index, columns)
        cell = draw(task, args.width, args.height, args.seed)
        sheet.paste(Image.fromarray(cell), (column * args.width, row * args.height))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(args.out, optimize=True)


if __name__ == "__main__":
    main()
