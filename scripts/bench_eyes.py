r"""SAC on the state, and from pictures: eyes that are frozen, fine-tuned or learned from scratch.

    lifelong-rl frames --sequence reach,drawer-open --policy noisy --count 20000 \
        --cameras front across wrist --out frames/eyes.npz
    for camera in front across wrist; do
        lifelong-rl pretrain --frames frames/eyes.npz --camera $camera --objective atc \
            --options gap=10 --shift 0 --relative-shift 8 --out encoders/$camera
    done
    python scripts/bench_eyes.py --encoder encoders/front encoders/across encoders/wrist \
        --learned-options batch_size=32 --json docs/results/bench_eyes.json
    python scripts/bench_eyes.py --encoder encoders/front encoders/across encoders/wrist \
        --variants state frozen --seeds 1 2 --json docs/results/bench_eyes.json

Frames 0.4 s apart share the goal beside much of where the hand is, and shifts of 8 pixels between
them make features change smoothly with position: an agent that has seen some hundred goals then
knows what to do about another.

Each task, variant and seed is a cell: what `lifelong-rl run --sequence TASK --seed SEED` would
learn in the same number of environment steps, with the same evaluations. The file is written after
each cell; cells that it holds already are not run again, so that parts can be run apart.

`frames` are what the agent has seen of the world: the steps of its task, and those that its
encoders were pretrained on, in full for each cell although the tasks share them. `to 0.8` is the
first evaluation that succeeds so often, counted in steps of the task. `seconds` are those of
learning, without evaluations; `x state` is their ratio to the state's, and is only told of cells
that ran in the same call; `x state, CPU` is the same of the CPU time, which depends less on what
else the machine did.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

from lifelong_rl import envs
from lifelong_rl.cli.options import parse_options
from lifelong_rl.learning.seeding import seed_everything
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.evaluation import Evaluator
from lifelong_rl.runs.setup import Setup, prepare
from lifelong_rl.storage.atomic import write_json
from lifelong_rl.storage.versions import versions
from lifelong_rl.vision.encoder import load_encoder
from lifelong_rl.vision.pretrain_folder import find_encoder

VARIANTS = ("state", "frozen", "finetuned", "scratch")
LEVEL = 0.8


def configure(variant: str, task: str, seed: int, args: argparse.Namespace) -> RunConfig:
    """Return what a cell runs."""
    fields: dict[str, Any] = {}
    if variant != "state":
        fields = {
            "observation": "pixels",
            "cameras": tuple(args.cameras),
            "frame_stack": args.frame_stack,
        }
    if variant in ("frozen", "finetuned"):
        mode = "finetune" if variant == "finetuned" else "frozen"
        fields |= {"encoder": tuple(args.encoder), "encoder_mode": mode}
    options = parse_options(args.learned_options) if variant in ("finetuned", "scratch") else {}
    return RunConfig(
        sequence=task,
        seed=seed,
        steps_per_task=args.steps,
        eval_points=args.eval_points,
        eval_episodes=args.eval_episodes,
        num_threads=1,
        agent_options=options,
        **fields,
    )


def pretraining_frames(config: RunConfig) -> int:
    """Return how many control steps the encoders of a run were pretrained on."""
    counts = {}
    for path in config.encoder:
        _, made = load_encoder(find_encoder(Path(path)))
        counts[made["frames"]["sha256"]] = made["frames"]["metadata"]["count"]
    return sum(counts.values())


def train(setup: Setup) -> dict[str, Any]:
    """Learn one task, and return its success curve, with the time to each point, and its cost."""
    config, steps = setup.config, setup.phase_steps[0]
    env = setup.make_env(0)
    agent, _ = setup.build_agent(env)
    evaluator = Evaluator(
        setup.sequence,
        num_episodes=config.eval_episodes,
        num_threads=1,
        env_options=setup.env_options,
    )
    curve: dict[str, list[float]] = {"steps": [], "success": [], "cpu_seconds": []}
    spent = {"seconds": 0.0, "cpu_seconds": 0.0}
    mark = time.perf_counter(), time.process_time()

    def pause() -> None:
        spent["seconds"] += time.perf_counter() - mark[0]
        spent["cpu_seconds"] += time.process_time() - mark[1]

    def evaluate(done: int) -> None:
        nonlocal mark
        pause()
        curve["steps"].append(done)
        curve["cpu_seconds"].append(round(spent["cpu_seconds"], 2))
        curve["success"].append(evaluator.evaluate(agent.act, 0).score)
        mark = time.perf_counter(), time.process_time()

    def progress(done: int) -> None:
        due = steps * len(curve["steps"]) // config.eval_points
        if done >= due and len(curve["steps"]) <= config.eval_points:
            evaluate(min(done, steps))

    evaluate(0)
    spent, curve["cpu_seconds"] = dict.fromkeys(spent, 0.0), [0.0]
    seed_everything(config.seed, 1)
    env.seed(setup.env_seed(0))
    agent.begin_task(0, env)
    agent.learn_task(steps, progress)
    pause()
    evaluator.close()
    env.close()
    return {
        "curve": curve,
        "final_success": curve["success"][-1],
        "steps_to_level": next(
            (int(s) for s, v in zip(curve["steps"], curve["success"], strict=True) if v >= LEVEL),
            None,
        ),
        **{name: round(value, 1) for name, value in spent.items()},
    }


def identify(setup: Setup, variant: str) -> dict[str, Any]:
    """Return what tells a cell from all others."""
    config = setup.config
    return {
        "task": config.sequence,
        "variant": variant,
        "seed": config.seed,
        "steps": setup.phase_steps[0],
        "agent_options": dict(config.agent_options),
        "sight": setup.sight,
        "task_version": envs.get_task(config.sequence).version,
    }


def run_cell(setup: Setup, identity: dict[str, Any], session: int) -> dict[str, Any]:
    """Learn one task in one variant with one seed."""
    pretraining = pretraining_frames(setup.config)
    return {
        **identity,
        "pretraining_frames": pretraining,
        "frames": setup.phase_steps[0] + pretraining,
        **train(setup),
        "session": session,
        "versions": versions(),
    }


def print_table(cells: list[dict[str, Any]]) -> None:
    """Print a line for each cell."""
    print(
        f"\n{'task':<14}{'variant':<11}{'seed':>5}{'final':>7}{'to 0.8':>8}{'steps':>8}"
        f"{'frames':>8}{'seconds':>9}{'x state':>9}{'x state, CPU':>14}"
    )
    for cell in cells:
        state = next(
            (
                other
                for other in cells
                if other["variant"] == "state"
                and all(other[key] == cell[key] for key in ("task", "seed", "steps"))
            ),
            None,
        )
        wall, cpu = "-", "-"
        if state is not None:
            cpu = f"{cell['cpu_seconds'] / state['cpu_seconds']:.2f}"
            if state["session"] == cell["session"]:
                wall = f"{cell['seconds'] / state['seconds']:.2f}"
        print(
            f"{cell['task']:<14}{cell['variant']:<11}{cell['seed']:>5}{cell['final_success']:>7.2f}"
            f"{cell['steps_to_level'] or '-':>8}{cell['steps']:>8}{cell['frames']:>8}"
            f"{cell['seconds']:>9.0f}{wall:>9}{cpu:>14}"
        )


def main() -> None:
    """Run the cells that are missing, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=["reach", "drawer-open"])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, default=10_000, help="environment steps of a task")
    parser.add_argument("--encoder", nargs="+", default=[], help="as that of lifelong-rl run")
    parser.add_argument("--cameras", nargs="+", default=["front", "across", "wrist"])
    parser.add_argument("--frame-stack", type=int, default=1)
    parser.add_argument("--eval-points", type=int, default=10)
    parser.add_argument("--eval-episodes", type=int, default=50)
    parser.add_argument(
        "--learned-options",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="agent options of the variants whose encoder is learned, such as batch_size=64",
    )
    parser.add_argument("--json", type=Path, help="file for the figures, added to if it is there")
    args = parser.parse_args()
    if not args.encoder and {"frozen", "finetuned"} & set(args.variants):
        parser.error("the variants frozen and finetuned need --encoder")
    torch.set_num_threads(1)
    session = int(time.time())
    report: dict[str, Any] = {"command": "python scripts/bench_eyes.py", "cells": []}
    if args.json and args.json.exists():
        report = json.loads(args.json.read_text(encoding="utf-8"))
    report["machine"] = f"{platform.platform()}, {os.cpu_count()} cores"
    cells = report["cells"]
    for seed in args.seeds:
        for task in args.tasks:
            for variant in args.variants:
                setup = prepare(configure(variant, task, seed, args))
                identity = identify(setup, variant)
                if any(identity.items() <= cell.items() for cell in cells):
                    continue
                cells.append(run_cell(setup, identity, session))
                print_table(cells[-1:])
                if args.json:
                    args.json.parent.mkdir(parents=True, exist_ok=True)
                    write_json(args.json, report)
    print_table(cells)


if __name__ == "__main__":
    main()
