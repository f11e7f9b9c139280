"""`lifelong-rl probe`: what an encoder is worth, beside encoders that are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from lifelong_rl.cli.options import Command, OptionalPath
from lifelong_rl.options import Device, Seed, Threads, Whole

HEADER = (
    *("features", "hand R²", "cm", "object R²", "cm", "joints R²", "rad"),
    *("NN hand cm", "NN object cm", "NN joints rad", "NN task"),
    *("alignment", "uniformity", "rank"),
)
HEADER_OF_RECORDINGS = (
    *("features", "progress R²", "error", "NN progress"),
    *("alignment", "uniformity", "rank"),
)
DIGITS = {"hand": 1, "object": 1, "joints": 2}
"""Of the labels' errors."""
PROGRESS = "progress"
DIGITS_OF_RECORDINGS = {PROGRESS: 2}
UNLABELLED = (
    "these frames are recordings without labels: hand, object and joints cannot be probed; "
    "progress is the share of the episode that has gone by"
)


@dataclass(frozen=True, kw_only=True)
class Probe(Command):
    """Tell what an encoder is worth: what can be read off its features, and what it finds alike.

    Probes are ridge regressions, fitted, chosen and judged on different episodes; NN is the error
    of the nearest neighbour in another episode. Of recordings, which have no labels, it is told how
    far their episode has got.

    Attributes:
        encoder: File of an encoder, or the folder that pretrain has written.
        frames: File of frames, see `lifelong-rl frames`.
        supervised_steps: Gradient steps of the reference that learns from the labels; 0 to leave it
            out.
        seed: Of the references.
        threads: Threads of each torch operation.
        device: What to compute on: auto, cpu, cuda, cuda:N or mps.
        json: Write the result here too.
    """

    encoder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ENCODER")]
    frames: Path
    supervised_steps: Whole = 1000
    seed: Seed = 0
    threads: Threads = 1
    device: Device = "cpu"
    json: OptionalPath = None

    def __call__(self) -> int:
        """Probe, and print a table."""
        import torch

        from lifelong_rl.learning.devices import open_device
        from lifelong_rl.storage.atomic import write_json, writing
        from lifelong_rl.storage.versions import versions
        from lifelong_rl.text import format_table
        from lifelong_rl.vision.encoder import load_encoder
        from lifelong_rl.vision.frames import load_frames
        from lifelong_rl.vision.pretrain_folder import MADE, find_encoder, rendered_with
        from lifelong_rl.vision.probe import for_encoder
        from lifelong_rl.vision.references import compare, sizes
        from lifelong_rl.vision.sampling import fingerprint

        device = open_device(self.device)
        torch.set_num_threads(self.threads)
        path = find_encoder(self.encoder)
        encoder, made = load_encoder(path, MADE)
        frames = load_frames(self.frames)
        sha256 = fingerprint(frames)
        frames = for_encoder(frames, self.frames, encoder, made, path)
        results = compare(
            encoder,
            frames,
            supervised_steps=self.supervised_steps,
            seed=self.seed,
            device=device,
        )
        print(f"{path}: {made['config']['objective']}, {made['steps']} steps")
        unlabelled = PROGRESS in frames.labels
        header = HEADER_OF_RECORDINGS if unlabelled else HEADER
        digits = DIGITS_OF_RECORDINGS if unlabelled else DIGITS
        print(format_table(header, [row(*result, digits) for result in results.items()]))
        if unlabelled:
            print(UNLABELLED)
        same = sha256 == made["frames"]["sha256"]
        if not same:
            print("these are not the frames that it was pretrained on")
        there, here = rendered_with(made), frames.metadata.get("mujoco")
        if there is not None and there != here:
            print(f"it was pretrained on frames of MuJoCo {there}, and these are of {here}")
        if self.json is not None:
            content = {
                "encoder": made,
                "frames": {"sha256": sha256, "pretrained_on": same, "split": sizes(frames)},
                "seed": self.seed,
                "supervised_steps": self.supervised_steps,
                "versions": versions(),
                "results": results,
            }
            with writing(self.json):
                self.json.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.json, content)
        return 0


def row(name: str, result: Mapping[str, Any], digits: Mapping[str, int]) -> list[str]:
    """The cells of one line of the table.

    Args:
        name: Of the features.
        result: See `lifelong_rl.vision.probe.probe_module`.
        digits: Of the error of each label, in the order of the header.
    """
    probe, retrieval = result["probe"], result.get("retrieval", {})
    cells = [name]
    for label, places in digits.items():
        found = probe.get(label, {})
        cells += [_cell(found.get("r2"), 2), _cell(found.get("error"), places)]
    for label, places in digits.items():
        cells.append(_cell(retrieval.get(label, {}).get("error"), places))
    if PROGRESS not in digits:  # recordings are of one task
        cells.append(_cell(retrieval.get("task"), 2))
    return (
        cells
        + [_cell(result.get(key), 2) for key in ("alignment", "uniformity")]
        + [_cell(result.get("effective_rank"), 1)]
    )


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
