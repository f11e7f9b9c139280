"""`lifelong-rl pretrain`: learn an encoder from frames, without labels."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from lifelong_rl.cli.options import Command, OptionalName, OptionalPath, Options, Repeated
from lifelong_rl.errors import UserError

FOLDER = Path("encoders")


@dataclass(frozen=True, kw_only=True)
class Pretrain(Command):
    """Learn an encoder from frames without labels, by one of the self-supervised objectives.

    Attributes:
        frames: File of frames, see `lifelong-rl frames`.
        objective: See `lifelong-rl list objectives`.
        options: Options of the objective.
        camera: Camera that the encoder is for; by default the first in the file.
        steps: Gradient steps.
        minutes: Stop after so many minutes if the steps take longer.
        batch_size: Rows of a batch.
        lr: Learning rate.
        shift: Largest shift of an image, in pixels; all views of a frame are shifted alike.
        brightness: Largest change of the brightness, of 1.
        contrast: Largest relative change of the contrast.
        cutout: Largest side of the rectangle that is painted over, in pixels.
        seed: Decides all that is random.
        threads: Threads of each torch operation.
        out: New folder of the encoder, by default encoders/FRAMES-OBJECTIVE-seedN.
        plugin: Module to import first; it may register objectives.
        quiet: Print only where the encoder is.
    """

    frames: Path
    objective: str = "simclr"
    options: Options = field(default_factory=dict)
    camera: OptionalName = None
    steps: int = 1000
    minutes: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    batch_size: int = 256
    lr: float = 1e-3
    shift: int = 4
    brightness: float = 0.2
    contrast: float = 0.2
    cutout: int = 12
    seed: int = 0
    threads: int = 1
    out: OptionalPath = None
    plugin: Repeated = ()
    quiet: bool = False

    def __call__(self) -> int:
        """Pretrain, and print the course of it."""
        from lifelong_rl.benchmark.config import resolve_options
        from lifelong_rl.benchmark.setup import load_plugins
        from lifelong_rl.cli.summary import format_seconds
        from lifelong_rl.vision.augment import Augmentation
        from lifelong_rl.vision.frames import load_frames
        from lifelong_rl.vision.objectives import OBJECTIVES
        from lifelong_rl.vision.pretrain import PretrainConfig
        from lifelong_rl.vision.pretrain_folder import ENCODER, pretrain_into, refuse_occupied

        load_plugins(self.plugin)
        factory = OBJECTIVES.get(self.objective)
        try:
            augmentation = Augmentation(
                shift=self.shift,
                brightness=self.brightness,
                contrast=self.contrast,
                cutout=self.cutout,
            )
        except ValueError as error:
            raise UserError(str(error)) from error
        config = PretrainConfig(
            objective=self.objective,
            steps=self.steps,
            minutes=self.minutes,
            batch_size=self.batch_size,
            lr=self.lr,
            seed=self.seed,
            threads=self.threads,
            augmentation=augmentation,
            options=resolve_options("objective", self.objective, factory, self.options),  # type: ignore[arg-type]
        )
        name = f"{self.frames.stem}-{self.objective}-seed{self.seed}"
        path = self.out or FOLDER / name
        refuse_occupied(path)
        frames = load_frames(self.frames)
        result = pretrain_into(path, frames, config, self._report, self.camera)
        print(f"{path / ENCODER}  {result.steps} steps in {format_seconds(result.seconds)}")
        if not self.quiet:
            print(f"what it is worth:  lifelong-rl probe {path} --frames {self.frames}")
        if result.warning is not None:
            print(f"lifelong-rl: warning: {result.warning}", file=sys.stderr)
        return 0

    def _report(self, step: int, measured: dict[str, float]) -> None:
        if self.quiet:
            return
        values = "  ".join(f"{name.replace('_', ' ')} {v:.3f}" for name, v in measured.items())
        print(f"step {step}/{self.steps}  {values}", flush=True)
