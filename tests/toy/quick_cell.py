"""Stands in for the process of a cell: learns nothing, and ends as runs/plan.json says.

By default it writes results at once. "fail" writes two lines to stderr, "die" is a crash, "flood"
fills a pipe before it finishes, "damage" writes
results that no run writes, "wait" goes on until it is stopped and "stubborn" until it is
killed; "until stdin" ends with 5 once its stdin is closed. The first time, "orphan" kills what
has started it and goes on until its stdin is closed, "until warned" goes on until USR1, and
"terminated" ends by SIGTERM as a process does that has not begun. What it did is in runs/events,
and in runs/devices what it was told to run on.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from toy_results import make_results

path = Path(sys.argv[-1])
plan = path.parent / "plan.json"
action = json.loads(plan.read_text()).get(path.name) if plan.exists() else None


def note(event):
    with (path.parent / "events").open("a") as file:
        file.write(f"{event} {path.name}\n")


if "--device" in sys.argv:
    with (path.parent / "devices").open("a") as devices:
        devices.write(f"{path.name} {sys.argv[sys.argv.index('--device') + 1]}\n")
if action == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if action == "until warned":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
note("begin")
if action == "fail":
    print("Traceback ...\nthe loss of 'policy' is nan", file=sys.stderr)
    sys.exit(1)
if action == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if action == "flood":
    print("x" * 300_000, file=sys.stderr)
if action in ("wait", "stubborn"):
    time.sleep(60)
    sys.exit(3)
if action == "until stdin":
    sys.stdin.read()
    note("closed")
    sys.exit(5)
if action in ("orphan", "until warned", "terminated") and not (path / "again").exists():
    (path / "again").touch()
    if action == "orphan":
        os.kill(os.getppid(), signal.SIGKILL)
        sys.stdin.read()
    elif action == "terminated":
        os.kill(os.getpid(), signal.SIGTERM)
    else:
        signal.sigwait([signal.SIGUSR1])
        note("warned")
    sys.exit(138)
note("end")
results = {"seed": 0} if action == "damage" else make_results()
(path / "results.json").write_text(json.dumps(results))
