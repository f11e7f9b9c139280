"""Sweeps toy cells on Ray, in a process of its own that can be killed.

A process that has talked to Ray must not fork, and the process that starts and kills Ray's nodes
does so in its main thread.

    python ray_sweep.py RUNS NUMBER PROGRAM [ADDRESS]

It ends with 7 after a signal, and else prints the states of its cells and how often each was lost.
"""

import json
import sys
from pathlib import Path

from toy_runs import toy_cells

from lifelong_rl.runs.endings import raise_when_stopped
from lifelong_rl.studies.executors.ray import RayExecutor
from lifelong_rl.studies.sweep import SweepLoop


def main(runs, number, program, address=None):
    command = (sys.executable, str(Path(__file__).with_name(program)))
    cells = toy_cells(Path(runs), int(number), num_threads=1)  # a node has one CPU
    loop = SweepLoop(cells, command, RayExecutor(address, 2))
    try:
        with raise_when_stopped():
            loop.run()
    except KeyboardInterrupt:
        sys.exit(7)
    told = {entry.cell.name: [entry.state, entry.lost] for entry in loop.entries}
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
