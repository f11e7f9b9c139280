"""Stands in for the process of a cell on a machine of its own; learns nothing.

It claims its folder as a run does, under the host name in HOST, on a file system whose `flock`
tells other machines nothing, and where a process counts as dead after STALE seconds. What it did
is in runs/events; while runs/hold is there it goes on for ever on node1, and otherwise for SECONDS.
It ends when its stdin is closed.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

from toy_results import make_results

from lifelong_rl.errors import UserError
from lifelong_rl.storage import lock


def pretend(host, stale):
    """Be another machine, for the rest of this process."""
    lock.socket.gethostname = lambda: host
    lock.LOCK = f".claim-lock-{host}"  # other machines do not see that it is locked
    lock.HEARTBEAT_SECONDS, lock.STALE_SECONDS = stale / 10, stale
    lock.CLOCKS_SECONDS = 0.0


def end_with_sweep():
    os.read(sys.stdin.fileno(), 1)
    os._exit(143)


def main(path):
    threading.Thread(target=end_with_sweep, daemon=True).start()
    host = os.environ["HOST"]
    pretend(host, float(os.environ["STALE"]))

    def note(event):
        line = f"{event} {path.name} {host} {os.getpid()}\n".encode()
        descriptor = os.open(path.parent / "events", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line)
        os.close(descriptor)

    try:
        held = lock.lock_folder(path)
    except UserError as error:
        sys.exit(str(error))
    if not (path / "results.json").exists():
        note("begin")
        while (path.parent / "hold").exists() and host == "node1":
            time.sleep(0.01)
        time.sleep(float(os.environ.get("SECONDS", 0)))
        held.check()
        note("end")
        (path / "results.tmp").write_text(json.dumps(make_results()))
        os.replace(path / "results.tmp", path / "results.json")
    held.release()


if __name__ == "__main__":
    main(Path(sys.argv[-1]))
