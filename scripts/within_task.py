"""Try checkpoints within a task: kill runs of every agent there, and tell what they cost.

    python scripts/within_task.py kills --json kills.json
    python scripts/within_task.py cost --minutes 0.05 -- --sequence arm3 --agent sac --method replay

`kills` ends a run of every agent with several methods by `kill -9` in the middle of the third
quarter of its second task, goes on from the checkpoint within the task and compares results,
metrics and all parameters, bit for bit, with those of a run that was left alone. `cost` runs what
it is told to, and tells the share of its time that checkpoints within tasks took.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STEPS = 160
SMALL = (
    *("--steps-per-task", str(STEPS), "--num-envs", "4", "--num-threads", "1"),
    *("--eval-episodes", "2", "--eval-points", "4"),
)
KEPT_AT, KILLED_AT = 0.55, 0.625
"""Shares of a task: the first checkpoint within it, and the kill after it."""
FEW: dict[str, tuple[str, ...]] = {
    "sac": ("learning_starts=16", "batch_size=16", "hidden=[16,16]"),
    "td3": ("learning_starts=16", "batch_size=16", "hidden=[16,16]"),
    "ppo": ("rollout_steps=5", "batch_size=10", "hidden=[16,16]"),
    "bc": ("episodes=2", "batch_size=16", "hidden=[16,16]"),
    "bc-stream": ("learning_starts=16", "batch_size=16", "hidden=[16,16]"),
    "offline-rl": ("episodes=2", "batch_size=16", "hidden=[16,16]"),
    "classifier": ("batch_size=16", "hidden=[16,16]"),
}
"""Options of each agent that make its run short."""
METHODS = ("replay", "packnet", "den", "generative-replay")


def try_kill(agent: str, method: str, folder: Path) -> dict[str, Any]:
    """Kill one run within its second task, and go on.

    Returns:
        The steps where it was killed and where it went on, and what was different at the end.
    """
    import forked
    import subjects

    sequence = "split-digits" if agent == "classifier" else "reach,button-press"
    options = ["--method-options", "updates=20"] if method == "generative-replay" else []
    words = [
        *("run", "--sequence", sequence, "--agent", agent, "--method", method, *SMALL),
        *("--agent-options", *FEW[agent], *options, "--quiet", "--run-dir"),
    ]
    told = folder / "told"
    first = forked.start([*words, str(folder / "whole")], folder / "out")
    if first.wait():
        return {"agent": agent, "method": method, "refused": first.lines[-1]}

    def kill_later(board: object) -> None:
        from lifelong_rl.runs.loop import SequenceLoop
        from lifelong_rl.runs.within_task import CheckpointClock

        now = [0, 0]
        progress = SequenceLoop._progress

        def note(loop: SequenceLoop, steps: int) -> None:
            progress(loop, steps)
            now[:] = loop._phase, loop._phase_step
            kept = any(folder.glob("killed/checkpoints/task-001-step-*"))
            if kept and now >= [1, round(KILLED_AT * STEPS)]:
                told.write_text(str(now[1]))
                os.kill(os.getpid(), signal.SIGKILL)

        def is_due(clock: CheckpointClock) -> bool:
            return now >= [1, round(KEPT_AT * STEPS)]

        SequenceLoop._progress = note  # type: ignore[method-assign]
        CheckpointClock.is_due = property(is_due)  # type: ignore[method-assign, assignment]

    killed = forked.start([*words, str(folder / "killed")], folder / "out", kill_later)
    problems = [] if killed.wait() == -signal.SIGKILL else [f"it ended with {killed.code}"]

    def note_step(board: object) -> None:
        from lifelong_rl.runs.loop import SequenceLoop

        go_on = SequenceLoop._go_on

        def note(loop: SequenceLoop, of_task: dict[str, Any]) -> None:
            told.write_text(f"{told.read_text()} {of_task['step']}")
            go_on(loop, of_task)

        SequenceLoop._go_on = note  # type: ignore[method-assign]

    words = ["resume", str(folder / "killed"), "--quiet"]
    resumed = forked.start(words, folder / "out", note_step)
    if resumed.wait():
        problems.append(resumed.lines[-1])
    else:
        problems += subjects.differences(folder / "killed", folder / "whole")
    at, from_step = [*told.read_text().split(), "0"][:2]
    return {
        "agent": agent,
        "method": method,
        "killed_at": int(at),
        "went_on_at": int(from_step),
        "problems": problems,
    }


def kills(agents: Sequence[str], methods: Sequence[str]) -> list[dict[str, Any]]:
    """Kill a run of every pair."""
    for library in ("OMP", "OPENBLAS", "MKL"):  # a process with threads cannot be forked
        os.environ[f"{library}_NUM_THREADS"] = "1"
    sys.path += [str(ROOT / "tests" / name) for name in ("toy", "faults")]
    found = []
    with tempfile.TemporaryDirectory() as place:
        os.environ["LIFELONG_RL_CACHE"] = str(Path(place) / "cache")
        from lifelong_rl.cli import main

        warm = ["run", "--sequence", "reach", "--agent", "sac", *SMALL, "--quiet"]
        main([*warm, "--agent-options", *FEW["sac"], "--run-dir", str(Path(place) / "warm")])
        for agent in agents:
            for method in methods:
                folder = Path(place) / f"{agent}-{method}"
                folder.mkdir()
                found.append(try_kill(agent, method, folder))
                print(json.dumps(found[-1]), flush=True)
    return found


def cost(minutes: float, words: Sequence[str]) -> dict[str, Any]:
    """Run, and measure what the checkpoints within tasks take."""
    from lifelong_rl.cli import main
    from lifelong_rl.runs.loop import SequenceLoop

    save, learn = SequenceLoop._save_within, SequenceLoop._learn
    spent: list[tuple[float, float]] = []
    learned = [0.0, 0.0]

    def clocks() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def timed_save(loop: SequenceLoop) -> None:
        before = clocks()
        save(loop)
        spent.append(tuple(b - a for a, b in zip(before, clocks(), strict=True)))  # type: ignore[arg-type]

    def timed_learn(loop: SequenceLoop, **more: Any) -> None:
        before = clocks()
        learn(loop, **more)
        for index, (a, b) in enumerate(zip(before, clocks(), strict=True)):
            learned[index] += b - a

    SequenceLoop._save_within = timed_save  # type: ignore[method-assign]
    SequenceLoop._learn = timed_learn  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as place:
        options = ["--checkpoint-minutes", str(minutes), "--quiet"]
        code = main(["run", *words, *options, "--run-dir", str(Path(place) / "run")])
    wall, cpu = (sum(each) for each in zip(*spent, strict=True)) if spent else (0.0, 0.0)
    return {
        "exit_code": code,
        "checkpoints": len(spent),
        "seconds_each": [round(each[0], 4) for each in spent],
        "cpu_seconds_each": [round(each[1], 4) for each in spent],
        "learning_seconds": round(learned[0], 2),
        "learning_cpu_seconds": round(learned[1], 2),
        "share": round(wall / max(learned[0], 1e-9), 4),
        "cpu_share": round(cpu / max(learned[1], 1e-9), 4),
    }


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("kills")
    one.add_argument("--agents", nargs="+", default=list(FEW))
    one.add_argument("--methods", nargs="+", default=list(METHODS))
    one.add_argument("--json", type=Path)
    two = commands.add_parser("cost")
    two.add_argument("--minutes", type=float, default=10.0)
    two.add_argument("words", nargs="*", help="of lifelong-rl run, after --")
    given = parser.parse_args()
    if given.command == "cost":
        print(json.dumps(cost(given.minutes, given.words), indent=2))
        return
    found = kills(given.agents, given.methods)
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=2) + "\n")
    tried = [each for each in found if "refused" not in each]
    failed = [each for each in tried if each["problems"]]
    print(f"{len(tried)} killed, {len(failed)} differ, {len(found) - len(tried)} refused")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
