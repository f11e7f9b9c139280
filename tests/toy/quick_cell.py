"""Stands in for the process of a cell: learns nothing, and ends as runs/plan.json says.

By default it writes results at once. "fail" writes two lines to stderr, "die" is a crash, "flood"
fills a pipe before it finishes, "damage" writes
results that no run writes, "wait" goes on until it is stopped and "stubborn" until it is
killed. What it did is in runs/events, and in runs/devices what it was told to run on.
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
note("end")
results = {"seed": 0} if action == "damage" else make_results()
(path / "results.json").write_text(json.dumps(results))
