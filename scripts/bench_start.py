"""What starting costs: from the shell to a command's end, or to a run's first environment step.

    python scripts/bench_start.py --json docs/results/bench_start.json
    python scripts/bench_start.py --before ../lifelong-rl-of-before

Each start is a process of its own, and its figure the CPU time of that process and of those that it
starts, user and system together: other programs disturb that less than they do the time on the
clock. All take turns, the first turn is not counted, and byte code is kept, as it is from the
second start of an installation on. `run, first step` is a run that ends itself where it would step
environments for the first time; what comes before is as it always is: the agent is built, the
folder written. `cell` is the same of a cell of a sweep. Memory is the most that was resident.

With `--before`, another checkout takes its turns too, with the same installed packages.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.storage.atomic import write_json
from lifelong_rl.storage.versions import cpu_model, git_commit, versions
from lifelong_rl.text import format_table

# None of these imports torch: a child's peak memory is reported as no less than this process's.

ROOT = Path(__file__).resolve().parents[1]
STEPPED = 42
"""Exit code of a process that came to its first environment step."""
TO_FIRST_STEP = f"""
import os
import runpy
import sys
from lifelong_rl.envs.batch_env import BatchEnv
BatchEnv.step = lambda *arguments: os._exit({STEPPED})
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__")
"""
IMPORTS = {
    "python": "pass",
    "import torch": "import torch",
    "import stable_baselines3": "import stable_baselines3",
}
Turn = dict[str, dict[str, float]]
"""What each start cost, by its name."""
COMMANDS = ("--version", "--help", "list", "list methods", "completion bash", "run --help")


def start(arguments: list[str], environment: dict[str, str], exit_code: int) -> dict[str, float]:
    """Start Python, wait for its end, and return what it cost.

    Raises:
        RuntimeError: It ended otherwise than with `exit_code`.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", *arguments],
        env=environment,
        stdin=subprocess.PIPE,  # a cell ends when this is closed
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None and process.stdin is not None
    with process.stdin, process.stderr:
        said = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != exit_code:
        raise RuntimeError(f"{arguments} ended with {process.returncode}: {said.decode()}")
    memory = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"cpu_s": used.ru_utime + used.ru_stime, "memory_mb": memory / 2**20}


def take_turn(environment: dict[str, str], config: RunConfig) -> Turn:
    """Start everything once, and return what each start cost by its name."""
    found = {}
    for name, code in IMPORTS.items():
        found[name] = start(["-c", code], environment, 0)
    for command in COMMANDS:
        found[command] = start(["-m", "lifelong_rl", *command.split()], environment, 0)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run = ["lifelong_rl", "run", f"--sequence={config.sequence}", f"--agent={config.agent}"]
        run += [f"--method={config.method}", f"--run-dir={folder / 'run'}"]
        found["run, first step"] = start(["-c", TO_FIRST_STEP, *run], environment, STEPPED)
        RunFolder.create(folder / "cell", config).unlock()
        cell = ["lifelong_rl.studies.cell", str(folder / "cell")]
        found["cell, first step"] = start(["-c", TO_FIRST_STEP, *cell], environment, STEPPED)
    return found


def summarise(turns: Sequence[Turn]) -> dict[str, Any]:
    """Medians over turns, and the CPU time of each turn, by the name of a start."""
    return {
        what: {
            "cpu_s": median(turn[what]["cpu_s"] for turn in turns),
            "memory_mb": median(turn[what]["memory_mb"] for turn in turns),
            "turns_cpu_s": [turn[what]["cpu_s"] for turn in turns],
        }
        for what in turns[0]
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="counted turns")
    parser.add_argument("--sequence", default="arm10")
    parser.add_argument("--agent", default="sac")
    parser.add_argument("--method", default="finetune")
    parser.add_argument("--before", type=Path, help="a checkout to take turns with")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args()

    config = RunConfig(sequence=args.sequence, agent=args.agent, method=args.method)
    roots = {"now": ROOT} | ({"before": args.before.resolve()} if args.before else {})
    turns: dict[str, list[Turn]] = {name: [] for name in roots}
    with TemporaryDirectory() as byte_code:
        for _ in range(1 + args.repeats):
            for name, root in roots.items():
                environment = os.environ | {
                    "PYTHONPATH": str(root),
                    "PYTHONPYCACHEPREFIX": str(Path(byte_code) / name),
                }
                environment.pop("PYTHONDONTWRITEBYTECODE", None)
                turns[name].append(take_turn(environment, config))

    figures = {name: summarise(counted[1:]) for name, counted in turns.items()}
    header = ["start", "CPU s", "turns", "MB"]
    header += ["CPU s before", "MB before", "CPU now / before"] if args.before else []
    rows = []
    for what, now in figures["now"].items():
        cpu = now["turns_cpu_s"]
        row = [what, f"{now['cpu_s']:.2f}", f"{min(cpu):.2f} to {max(cpu):.2f}"]
        row.append(f"{now['memory_mb']:.0f}")
        if args.before:
            before = figures["before"][what]
            row += [f"{before['cpu_s']:.2f}", f"{before['memory_mb']:.0f}"]
            row.append(f"{now['cpu_s'] / before['cpu_s']:.2f}")
        rows.append(row)
    print(format_table(header, rows))
    if args.json:
        content = {
            "versions": versions(),
            "git_commit": git_commit(),
            "cpu": cpu_model(),
            "run": [args.sequence, args.agent, args.method],
            "repeats": args.repeats,
            "starts": figures,
        }
        write_json(args.json, content)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
