"""What encoders forget: each continual method on the same frames, task after task.

    lifelong-rl frames --sequence arm5 --count 20000
    python scripts/continual_encoders.py --frames frames/arm5-mixed-20000-seed0.npz --json out.json

Every method learns the tasks of the frames in their order (joint learns them all at once) with the
same objective, for the same number of gradient steps and of new rows in each; replay and cassle
take more time for a step. After each task linear heads are fitted and judged on test episodes, see
`lifelong_rl.vision.continual.readouts`: fresh ones tell what the encoder has forgotten, stale ones
what a head that was fitted right after its task would have lost. The file of --json is written
after each method; a second call with it goes on with those that are missing.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lifelong_rl.errors import UserError
from lifelong_rl.storage.results_file import ResultsFile
from lifelong_rl.storage.versions import cpu_model, versions
from lifelong_rl.text import format_table
from lifelong_rl.vision.continual import ENCODER_METHODS
from lifelong_rl.vision.continual.sequence import SequenceConfig, pretrain_sequence
from lifelong_rl.vision.encoder import save_encoder
from lifelong_rl.vision.frames import Frames, load_frames
from lifelong_rl.vision.pretrain import PretrainConfig
from lifelong_rl.vision.sampling import camera_order, fingerprint, select

HEADER = (
    *("method", "before", "learned", "final", "forgetting", "old head", "forgetting"),
    *("R² learned", "final", "forgetting", "old head", "forgetting"),
)


def learn(frames: Frames, method: str, training: PretrainConfig) -> tuple[dict[str, Any], Any]:
    """The results of a method, and the encoder that it ends with."""

    def report(task: str, step: int, measured: dict[str, float]) -> None:
        if "loss" in measured:
            share = measured["loss_over_collapse"]
            print(f"{method}  {task}  step {step}  loss/collapse {share:.2f}", flush=True)

    found = pretrain_sequence(frames, SequenceConfig(training, method), report, points=1)
    told = {
        field.name: getattr(found, field.name)
        for field in dataclasses.fields(found)
        if field.name != "encoder"
    }
    return told, found.encoder


def table(results: dict[str, Any], label: str) -> str:
    """One label's errors and R² of every method, means over the tasks."""
    rows = []
    for method, found in results.items():
        fresh, stale = (found["readouts"][kind][label] for kind in ("fresh", "stale"))
        m, s = fresh["metrics"], stale["metrics"]
        digits = 1 if fresh["unit"] == "cm" else 2
        errors = [float(np.mean(fresh["error"][0])), m["learned_error"], m["final_error"]]
        errors += [m["forgetting_error"], s["final_error"], s["forgetting_error"]]
        shares = [m["learned_r2"], m["final_r2"], m["forgetting_r2"]]
        shares += [s["final_r2"], s["forgetting_r2"]]
        rows.append(
            [
                method,
                *("-" if value is None else f"{value:.{digits}f}" for value in errors),
                *("-" if value is None else f"{value:.2f}" for value in shares),
            ]
        )
    return format_table(HEADER, rows)


def compare(arguments: Sequence[str] | None = None) -> None:
    """Learn what is missing, print the tables and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=Path, required=True, help="see: lifelong-rl frames")
    parser.add_argument("--methods", nargs="+", help="default: all of them")
    parser.add_argument("--objective", default="simclr")
    parser.add_argument("--steps", type=int, default=150, help="of each task")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--camera", help="default: the first of the frames")
    parser.add_argument("--json", type=Path, help="file for the figures; goes on with it")
    parser.add_argument("--keep", type=Path, help="folder for the encoders")
    args = parser.parse_args(arguments)

    methods = args.methods or ENCODER_METHODS.names()
    for method in methods:
        ENCODER_METHODS.check(method)
    training = PretrainConfig(
        objective=args.objective, steps=args.steps, batch_size=args.batch_size, seed=args.seed
    )
    frames = load_frames(args.frames)
    sha256 = fingerprint(frames)
    cameras = camera_order(frames, args.camera)
    frames = select(frames, np.arange(len(frames.images)), cameras)
    settings = {
        "frames_sha256": sha256,
        "camera": cameras[0],
        **{key: value for key, value in dataclasses.asdict(training).items() if key != "minutes"},
        "versions": versions(),
    }
    kept = ResultsFile(args.json, settings)
    results = kept.results
    for method in methods:
        if method in results:
            continue
        results[method], encoder = learn(frames, method, training)
        if args.keep:
            made = {
                "config": {**dataclasses.asdict(training), "method": method},
                "camera": cameras[0],
                "frames": {"sha256": sha256, "metadata": dict(frames.metadata)},
                "versions": versions(),
                "steps": results[method]["steps"],
            }
            save_encoder(args.keep / f"{method}.safetensors", encoder, made)
        kept.write(frames=dict(frames.metadata), cpu=cpu_model())
    shown = {method: results[method] for method in methods}
    for label, scores in shown[methods[0]]["readouts"]["fresh"].items():
        unit = "error" if scores["unit"] == "1" else scores["unit"]
        print(f"\n{label}: {unit}, then R²; means over the tasks")
        print(table(shown, label))
    print()
    for method, found in shown.items():
        for warning in found["warnings"]:
            print(f"{method}, {warning}")
        print(f"{method}: {sum(found['cpu_seconds']):.0f} s of processor time")


def main() -> int:
    try:
        compare()
    except UserError as error:
        print(f"continual_encoders: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
