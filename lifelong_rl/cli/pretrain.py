"""`lifelong-rl pretrain`: learn an encoder from frames, without labels."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from lifelong_rl.cli.options import Command, OptionalName, OptionalPath, Options, Repeated
from lifelong_rl.errors import UserError
from lifelong_rl.options import Device, resolve_options

if TYPE_CHECKING:
    from lifelong_rl.vision.augment import Augmentation
    from lifelong_rl.vision.pretrain import PretrainConfig

FOLDER = Path("encoders")


@dataclass(frozen=True, kw_only=True)
class Pretrain(Command):
    """Learn an encoder from frames without labels, by one of the self-supervised objectives.

    All frames are learned at once; with --method the tasks are learned one after another, and what
    the encoder forgets of each is told.

    Attributes:
        frames: File of frames, see `lifelong-rl frames`.
        objective: See `lifelong-rl list objectives`.
        options: Options of the objective.
        camera: Camera that the encoder is for; by default the first in the file.
        method: Learn the tasks in the order of the file by this continual method, see
            `lifelong-rl list encoder-methods`; joint learns them all at once, as often.
        method_options: Options of the method.
        steps: Gradient steps; with a method, of each task.
        minutes: Stop after so many minutes if the steps take longer; not with a method.
        batch_size: Rows of a batch.
        lr: Learning rate.
        shift: Largest shift of an image, in pixels; all views of a frame are shifted alike.
        relative_shift: Largest further shift of each view by itself, in pixels, where views are to
            be found alike.
        brightness: Largest change of the brightness, of 1.
        contrast: Largest relative change of the contrast.
        cutout: Largest side of the rectangle that is painted over, in pixels.
        seed: Decides all that is random.
        threads: Threads of each torch operation.
        device: What to learn on: auto, cpu, cuda, cuda:N or mps.
        out: New folder of the encoder, by default encoders/FRAMES-OBJECTIVE-seedN, with a
            method encoders/FRAMES-OBJECTIVE-METHOD-seedN.
        plugin: Module to import first; it may register objectives and encoder-methods.
        quiet: Print only where the encoder is.
    """

    frames: Path
    objective: str = "simclr"
    options: Options = field(default_factory=dict)
    camera: OptionalName = None
    method: OptionalName = None
    method_options: Options = field(default_factory=dict)
    steps: int = 1000
    minutes: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    batch_size: int = 256
    lr: float = 1e-3
    shift: int = 4
    relative_shift: int = 2
    brightness: float = 0.2
    contrast: float = 0.2
    cutout: int = 12
    seed: int = 0
    threads: int = 1
    device: Device = "cpu"
    out: OptionalPath = None
    plugin: Repeated = ()
    quiet: bool = False

    def __call__(self) -> int:
        """Pretrain, and print the course of it."""
        from lifelong_rl.registry import load_plugins
        from lifelong_rl.text import format_seconds, quote
        from lifelong_rl.vision.objectives import OBJECTIVES
        from lifelong_rl.vision.pretrain import PretrainConfig
        from lifelong_rl.vision.pretrain_folder import ENCODER, refuse_occupied

        load_plugins(self.plugin)
        factory = OBJECTIVES.get(self.objective)
        config = PretrainConfig(
            objective=self.objective,
            steps=self.steps,
            minutes=self.minutes,
            batch_size=self.batch_size,
            lr=self.lr,
            seed=self.seed,
            threads=self.threads,
            device=self.device,
            augmentation=self._augmentation(),
            options=resolve_options(factory, self.options, f"objective '{self.objective}'"),
        )
        method = "" if self.method is None else f"-{self.method}"
        name = f"{self.frames.stem}-{self.objective}{method}-seed{self.seed}"
        path = self.out or FOLDER / name
        refuse_occupied(path)
        learn = self._learn_at_once if self.method is None else self._learn_tasks
        started = perf_counter()
        steps, warnings = learn(path, config)
        print(f"{path / ENCODER}  {steps} steps in {format_seconds(perf_counter() - started)}")
        if not self.quiet:
            probe = f"lifelong-rl probe {quote(path)} --frames {quote(self.frames)}"
            print(f"what it is worth:  {probe}")
        for warning in warnings:
            print(f"lifelong-rl: warning: {warning}", file=sys.stderr)
        return 0

    def _augmentation(self) -> Augmentation:
        from lifelong_rl.vision.augment import Augmentation

        return Augmentation(
            shift=self.shift,
            relative_shift=self.relative_shift,
            brightness=self.brightness,
            contrast=self.contrast,
            cutout=self.cutout,
        )

    def _learn_at_once(self, path: Path, config: PretrainConfig) -> tuple[int, list[str]]:
        """Learn all frames; the number of steps, and what is wrong with the encoder."""
        from lifelong_rl.vision.frames import load_frames
        from lifelong_rl.vision.pretrain_folder import pretrain_into

        if self.method_options:
            raise UserError("--method-options are those of a --method, and none is given")
        frames = load_frames(self.frames)
        result = pretrain_into(path, frames, config, self._report, self.camera)
        return result.steps, [] if result.warning is None else [result.warning]

    def _learn_tasks(self, path: Path, config: PretrainConfig) -> tuple[int, list[str]]:
        """Learn task after task; the number of steps, and what is wrong with the encoder."""
        from lifelong_rl.vision.continual import ENCODER_METHODS
        from lifelong_rl.vision.continual.folder import RESULTS, pretrain_sequence_into
        from lifelong_rl.vision.continual.sequence import SequenceConfig
        from lifelong_rl.vision.frames import load_frames

        method = str(self.method)
        factory = ENCODER_METHODS.get(method)
        options = resolve_options(factory, self.method_options, f"encoder-method '{method}'")
        sequence = SequenceConfig(config, method, options)
        frames = load_frames(self.frames)
        result = pretrain_sequence_into(path, frames, sequence, self._report_task, self.camera)
        if not self.quiet:
            print(forgetting_table(frames.metadata["tasks"], result.readouts))
            print(f"results:  {path / RESULTS}")
        return result.steps, result.warnings

    def _report_task(self, task: str, step: int, measured: dict[str, float]) -> None:
        if "loss" in measured:  # the scores of heads are told at the end
            self._report(step, measured, f"{task}  ")

    def _report(self, step: int, measured: dict[str, float], task: str = "") -> None:
        if self.quiet:
            return
        values = "  ".join(f"{name.replace('_', ' ')} {v:.3f}" for name, v in measured.items())
        steps = f"step {step}" if task else f"step {step}/{self.steps}"
        print(f"{task}{steps}  {values}", flush=True)


def forgetting_table(tasks: Sequence[str], readouts: Mapping[str, Any]) -> str:
    """What heads read of each task before, right after and long after it was learned.

    Args:
        tasks: Their names.
        readouts: See `lifelong_rl.vision.continual.readouts.Readouts.results`.
    """
    from lifelong_rl.text import format_table

    header = ["", "label", "error", *tasks, "mean"]
    rows = []
    for label, fresh in readouts["fresh"].items():
        stale = readouts["stale"][label]
        learned = [row[j] for j, row in enumerate(fresh["error"][1:])]
        lines = {
            "predicting the mean": readouts["mean"][label],
            "before the first task": fresh["error"][0],
            "right after the task": learned,
            "in the end": fresh["error"][-1],
            "in the end, old head": stale["error"][-1],
        }
        for name, values in lines.items():
            mean = sum(values) / len(values)
            unit = "" if fresh["unit"] == "1" else fresh["unit"]
            digits = 1 if unit == "cm" else 2
            shown = [f"{value:.{digits}f}" for value in (*values, mean)]
            rows.append([name, label, unit, *shown])
    return format_table(header, rows)
