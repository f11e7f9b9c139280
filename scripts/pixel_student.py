r"""A student that sees and learns from a teacher on the state, beside SAC that sees, task by task.

    python scripts/pixel_student.py --encoder encoders/front encoders/across encoders/wrist \
        --json docs/results/pixel_student.json

For each task and seed three agents learn in turn: the teacher, SAC on the state, a whole run whose
folder is kept under --runs; SAC from pictures; and the student, `bc-stream` from the same pictures
with `teacher=` that folder. The latter two have the same encoders (scripts/bench_eyes.py says how
they are made; without any, they learn one from scratch), steps, evaluations and options.

`CPU to 0.9` is the CPU time of learning, without evaluations, up to the first evaluation that
succeeds so often, and `steps to 0.9` are its environment steps. The last line of a task gives both
times as shares of what SAC takes from pictures, the student alone and with all of its teacher's
learning. Figures of a machine that does other things at the same time are worth little.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from bench_eyes import train

from lifelong_rl.cli.options import parse_options
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.loop import SequenceLoop
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.runs.setup import prepare
from lifelong_rl.storage.results_file import ResultsFile
from lifelong_rl.storage.versions import versions
from lifelong_rl.text import format_table

LEVEL = 0.9
TEACHER = "teacher, on the state"
AGENTS = {"SAC from pictures": "sac", "student": "bc-stream"}


def configure(task: str, seed: int, args: argparse.Namespace, **fields: Any) -> RunConfig:
    """What is common to all three."""
    return RunConfig(
        sequence=task,
        seed=seed,
        eval_points=args.eval_points,
        eval_episodes=args.eval_episodes,
        curve_episodes=args.eval_episodes,
        num_threads=1,
        diagnostics=False,
        track=(),
        **fields,
    )


def teach(task: str, seed: int, args: argparse.Namespace, path: Path) -> dict[str, Any]:
    """Run the teacher, unless its folder holds it finished, and return its curve and times."""
    if not path.exists():
        options = parse_options(args.teacher_options)
        config = configure(
            task, seed, args, steps_per_task=args.teacher_steps, agent_options=options
        )
        setup = prepare(config)
        loop = SequenceLoop(setup)
        folder = RunFolder.create(path, setup.config)
        try:
            loop.run(folder)
        finally:
            folder.unlock()
    results = RunFolder.open(path).results()
    (cost,) = results["cost"]["seconds_per_task"]
    (curve,) = results["success_curves"].values()
    return {
        "curve": curve,
        "final_success": results["performance_matrix"][-1][0],
        "seconds": cost["learn"],
        "cpu_seconds": cost["learn_cpu"],
    }


def learn(
    task: str, seed: int, agent: str, args: argparse.Namespace, teacher: Path
) -> dict[str, Any]:
    """Learn a task from pictures."""
    options = parse_options(args.options)
    if agent == "bc-stream":
        options["teacher"] = str(teacher)
    seen = {
        "observation": "pixels",
        "cameras": tuple(args.cameras),
        "encoder": tuple(args.encoder),
        "encoder_mode": args.encoder_mode,
    }
    config = configure(
        task, seed, args, steps_per_task=args.steps, agent=agent, agent_options=options, **seen
    )
    return train(prepare(config))


def reach(curve: dict[str, list[float]]) -> tuple[int, float] | None:
    """Steps and CPU time to the first evaluation at `LEVEL`; None if there is none."""
    points = zip(curve["steps"], curve["success"], curve["cpu_seconds"], strict=True)
    return next(((int(steps), cpu) for steps, value, cpu in points if value >= LEVEL), None)


def tabulate(results: dict[str, Any], task: str, seed: int) -> str:
    """The three agents of a task and seed, and the student's time as a share of SAC's."""
    teacher = results[name_of(task, seed, TEACHER)]
    told = [f"{teacher['final_success']:.2f}", "-", "-", f"{teacher['cpu_seconds']:.0f}"]
    rows, times = [[TEACHER, *told]], []
    for label in AGENTS:
        found = results[name_of(task, seed, label)]
        reached = reach(found["curve"])
        times.append(None if reached is None else reached[1])
        told = ["-", "-"] if reached is None else [str(reached[0]), f"{reached[1]:.0f}"]
        rows.append([label, f"{found['final_success']:.2f}", *told, f"{found['cpu_seconds']:.0f}"])
    header = [f"{task}, seed {seed}", "at the end", "steps to 0.9", "CPU to 0.9", "CPU seconds"]
    lines = [format_table(header, rows)]
    sac, student = times
    if sac and student is not None:
        both = (student + teacher["cpu_seconds"]) / sac
        lines.append(f"student / SAC, CPU to 0.9: {student / sac:.2f}; with its teacher {both:.2f}")
    return "\n".join(lines)


def name_of(task: str, seed: int, label: str) -> str:
    return f"{task} seed {seed} {label}"


def main(arguments: list[str] | None = None) -> None:
    """Run what is missing, print the tables and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=["reach", "drawer-open"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, default=10_000, help="from pictures")
    parser.add_argument("--teacher-steps", type=int, default=10_000)
    parser.add_argument("--encoder", nargs="+", default=[], help="as that of lifelong-rl run")
    parser.add_argument("--encoder-mode", help="as that of lifelong-rl run")
    parser.add_argument("--cameras", nargs="+", default=["front", "across", "wrist"])
    parser.add_argument("--eval-points", type=int, default=20)
    parser.add_argument("--eval-episodes", type=int, default=50)
    parser.add_argument(
        "--options", nargs="*", default=[], metavar="KEY=VALUE", help="of both agents that see"
    )
    parser.add_argument(
        "--teacher-options", nargs="*", default=[], metavar="KEY=VALUE", help="of the teacher"
    )
    parser.add_argument("--runs", type=Path, help="folder of the teachers; by default none is kept")
    parser.add_argument("--json", type=Path, help="file for the figures, added to if it is there")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    told = {k: v for k, v in vars(args).items() if k not in ("tasks", "seeds", "runs", "json")}
    file = ResultsFile(args.json, {"command": "python scripts/pixel_student.py", **told})
    with tempfile.TemporaryDirectory() as temporary:
        for seed in args.seeds:
            for task in args.tasks:
                path = (args.runs or Path(temporary)) / f"{task}-seed{seed}"
                missing = [
                    label
                    for label in (TEACHER, *AGENTS)
                    if name_of(task, seed, label) not in file.results
                ]
                if missing:  # the student needs its folder, also where its figures are there
                    missing = [TEACHER, *(label for label in missing if label != TEACHER)]
                for label in missing:
                    file.results[name_of(task, seed, label)] = (
                        teach(task, seed, args, path)
                        if label == TEACHER
                        else learn(task, seed, AGENTS[label], args, path)
                    )
                    file.write(versions=versions())
                print(tabulate(file.results, task, seed), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
