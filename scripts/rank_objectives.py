"""Rank the self-supervised objectives: what each learns of the same frames in the same time.

    lifelong-rl frames --sequence arm10 --count 20000
    python scripts/rank_objectives.py --frames frames/arm10-mixed-20000-seed0.npz --json rank.json

Every objective has the same encoder, batch size, learning rate and augmentation and its own default
options, and learns for the same number of minutes of one core's time (the processor's, so that
other work on the machine does not count; how many steps that were is told). Its encoder is probed
as `lifelong-rl probe` does it, on other episodes, and ranked by the error of the object's position.
Beside them stand an encoder that was never trained, the principal components of the pixels, and the
same encoder trained on the labels for as long. The file of --json is written after each of them; a
second call with it goes on with those that are missing.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from torch import nn

from lifelong_rl.errors import NonFiniteError, UnknownNameError, UserError
from lifelong_rl.learning.seeding import seed_everything
from lifelong_rl.storage.results_file import ResultsFile
from lifelong_rl.storage.versions import cpu_model, versions
from lifelong_rl.text import format_table
from lifelong_rl.vision.encoder import Encoder, EncoderSpec, save_encoder
from lifelong_rl.vision.frames import Frames, load_frames
from lifelong_rl.vision.objectives import OBJECTIVES, make
from lifelong_rl.vision.objectives.base import SelfSupervised
from lifelong_rl.vision.pixel_pca import PixelPCA
from lifelong_rl.vision.pretrain import PretrainConfig, find_collapse, optimise
from lifelong_rl.vision.probe import mean_predictor, probe_module
from lifelong_rl.vision.references import sizes
from lifelong_rl.vision.sampling import camera_order, fingerprint, select, split_episodes
from lifelong_rl.vision.supervised import Supervised

REFERENCES = ("random-init", "pixel-PCA", "supervised-from-pixels")
RECENT = 0.1
"""Share of the steps, the last ones, whose mean loss is told."""
HEADER = (
    *("features", "rank", "object cm", "R²", "hand cm", "R²", "NN object cm", "NN hand cm"),
    *("NN task", "alignment", "uniformity", "eff. rank", "loss/collapse", "steps", "warning"),
)


class Ranking:
    """Trains and judges one entry after another on the same frames.

    Args:
        frames: Of one camera.
        minutes: Of processor time for each that is trained.
        config: Batch size, learning rate, seed and augmentation of all.
    """

    def __init__(self, frames: Frames, minutes: float, config: PretrainConfig) -> None:
        self.frames, self.minutes, self.config = frames, minutes, config
        self.split = split_episodes(frames)
        cameras = tuple(frames.metadata["cameras"])
        self.labelled = select(frames, self.split.train, cameras)
        unlabelled = np.concatenate([self.split.train, self.split.validation])
        self.unlabelled = select(frames, unlabelled, cameras)
        height, width = frames.images.shape[-2:]
        self.spec = EncoderSpec(height=height, width=width)

    def judge(self, name: str) -> tuple[dict[str, Any], nn.Module]:
        """What an objective or a reference is worth, and its map from images to features.

        Raises:
            UserError: It cannot be learned from these frames.
            NonFiniteError: Its loss is NaN or infinite.
        """
        seed_everything(self.config.seed)
        module, told = self._features(name)
        judged = probe_module(module, self.frames, self.split, self.config.augmentation)
        if name not in REFERENCES:
            measured = {"loss": told["loss"], "loss_over_collapse": told["loss_over_collapse"]}
            rank = {"effective_rank": judged["effective_rank"]}
            told["warning"] = find_collapse(name, {**measured, **rank})
        return {**told, **judged}, module

    def _features(self, name: str) -> tuple[nn.Module, dict[str, Any]]:
        if name == "random-init":
            return Encoder(self.spec), {}
        if name == "pixel-PCA":
            images = torch.from_numpy(self.labelled.images[:, 0])
            return PixelPCA(images, self.spec.dim, self.config.seed), {}
        started = process_time()
        augmentation = self.config.augmentation
        if name == "supervised-from-pixels":
            return self._train(name, Supervised(self.labelled, augmentation), started)
        return self._train(name, make(name, self.unlabelled, augmentation), started)

    def _train(
        self, name: str, objective: SelfSupervised, started: float
    ) -> tuple[Encoder, dict[str, Any]]:
        """Step an objective until its time, from `started` on, is over."""
        train = self.labelled if isinstance(objective, Supervised) else self.unlabelled
        config = dataclasses.replace(self.config, objective=name)
        losses: list[float] = []
        for loss in optimise(objective, train, config):
            losses.append(loss)
            seconds = process_time() - started
            if seconds >= 60 * self.minutes:
                break
        loss = float(np.mean(losses[-math.ceil(RECENT * len(losses)) :]))
        share = loss / objective.collapse_value(config.batch_size)
        told = {"steps": len(losses), "seconds": seconds}
        return objective.encoder, {**told, "loss": loss, "loss_over_collapse": share}


def order(results: dict[str, Any]) -> list[str]:
    """Names by the error of the object's position, those that failed last."""

    def error(name: str) -> float:
        probe = results[name].get("probe", {})
        return float(probe.get("object", {}).get("error", math.inf))

    return sorted(results, key=error)


def table(results: dict[str, Any]) -> str:
    """The ranking; references have no rank."""
    places, rows = count(1), []
    for name in order(results):
        found = results[name]
        probe, retrieval = found.get("probe", {}), found.get("retrieval", {})
        trained = name in OBJECTIVES.names() and "probe" in found
        warning = "failed" if "error" in found else "yes" if found.get("warning") else "-"
        rows.append(
            [
                name,
                str(next(places)) if trained else "-",
                *(
                    cell(probe.get(label, {}).get(key), digits)
                    for label in ("object", "hand")
                    for key, digits in (("error", 1), ("r2", 2))
                ),
                cell(retrieval.get("object", {}).get("error"), 1),
                cell(retrieval.get("hand", {}).get("error"), 1),
                cell(retrieval.get("task"), 2),
                cell(found.get("alignment"), 2),
                cell(found.get("uniformity"), 2),
                cell(found.get("effective_rank"), 1),
                cell(found.get("loss_over_collapse"), 2),
                cell(found.get("steps"), 0),
                warning,
            ]
        )
    return format_table(HEADER, rows)


def cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def rank(arguments: Sequence[str] | None = None) -> None:
    """Judge what is missing, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=Path, required=True, help="see: lifelong-rl frames")
    parser.add_argument("--objectives", nargs="+", help="default: all of them")
    parser.add_argument("--minutes", type=float, default=3.0, help="of one core, for each")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--camera", help="default: the first of the frames")
    parser.add_argument("--json", type=Path, help="file for the figures; goes on with it")
    parser.add_argument("--keep", type=Path, help="folder for the encoders")
    args = parser.parse_args(arguments)

    objectives = args.objectives or OBJECTIVES.names()
    for name in objectives:
        if name not in (known := OBJECTIVES.names()):
            raise UnknownNameError("objective", name, known, see="lifelong-rl list objectives")
    torch.set_num_threads(1)
    config = PretrainConfig(minutes=args.minutes, batch_size=args.batch_size, seed=args.seed)
    frames = load_frames(args.frames)
    sha256 = fingerprint(frames)
    camera = camera_order(frames, args.camera)[0]
    frames = select(frames, np.arange(len(frames.images)), (camera,))
    common = {
        key: value
        for key, value in dataclasses.asdict(config).items()
        if key not in ("objective", "steps", "options")
    }
    settings = {"frames_sha256": sha256, "camera": camera, **common, "versions": versions()}
    kept = ResultsFile(args.json, settings)
    results = kept.results
    ranking = Ranking(frames, args.minutes, config)
    mean = mean_predictor(frames, ranking.split)
    for name in (*REFERENCES, *objectives):
        if name in results:
            continue
        try:
            results[name], module = ranking.judge(name)
        except (UserError, NonFiniteError) as error:
            results[name] = {"error": str(error)}
            print(f"{name}: {error}", flush=True)
        else:
            place = results[name]["probe"]["object"]["error"]
            steps = results[name].get("steps", 0)
            print(f"{name}: object {place:.1f} cm after {steps} steps", flush=True)
            if args.keep and isinstance(module, Encoder):
                made = {
                    "config": {**common, "objective": name},
                    "camera": camera,
                    "frames": {"sha256": sha256, "metadata": dict(frames.metadata)},
                    "versions": versions(),
                    "steps": steps,
                }
                save_encoder(args.keep / f"{name}.safetensors", module, made)
        kept.write(
            frames=dict(frames.metadata),
            split=sizes(frames),
            cpu=cpu_model(),
            ranking=order(results),
            mean=mean,
        )
    shown = {name: results[name] for name in (*REFERENCES, *objectives)}
    print(table({**shown, "mean": mean}))
    for name, found in shown.items():
        if found.get("warning"):
            print(f"{name}: {found['warning']}")


def main() -> int:
    try:
        rank()
    except UserError as error:
        print(f"rank_objectives: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
