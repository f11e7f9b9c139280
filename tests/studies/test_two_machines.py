"""Two sweeps of one study on machines that share a folder, and no locks."""

import os
import signal
import sys
from pathlib import Path

import claiming_cell
import pytest
from toy_runs import wait_until

from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.setup import prepare
from lifelong_rl.studies import sweep
from lifelong_rl.studies.executors.local import LocalExecutor
from lifelong_rl.studies.study import Cell

CELL = (sys.executable, str(Path(claiming_cell.__file__)))
STALE = 6.0
NUMBER = 6
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


def start(runs, host):
    """A sweep on another machine: its process."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.environ.update(HOST=host, STALE=str(STALE))
        claiming_cell.pretend(host, STALE)
        sweep.LOOK_ELSEWHERE_SECONDS = 0.05
        configs = [RunConfig(sequence="toy3", agent="toy", seed=n) for n in range(NUMBER)]
        cells = [Cell(runs / c.folder_name, prepare(c, ("toy_plugin",))) for c in configs]
        loop = sweep.SweepLoop(cells, CELL, LocalExecutor(1))
        loop.run()
        os._exit(len(loop.entries_in("failed")))
    finally:
        os._exit(99)


def events(runs):
    """What cells have done: event, seed, machine and process."""
    if not (runs / "events").exists():
        return []
    found = [line.split() for line in (runs / "events").read_text().splitlines()]
    return [(event, int(name[-1]), host, int(pid)) for event, name, host, pid in found]


def test_no_cell_runs_twice_at_a_time_and_a_dead_machines_cell_is_taken_over(tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "hold").touch()
    first = start(runs, "node1")
    wait_until(lambda: events(runs))
    ((_, held, _, held_by),) = events(runs)
    second = start(runs, "node2")
    wait_until(lambda: sum(event == "end" for event, *_ in events(runs)) == NUMBER - 1)
    alive = events(runs)  # the second has done all but the cell that the first has in hand
    assert {host for _, seed, host, _ in alive if seed == held} == {"node1"}
    os.kill(first, signal.SIGSTOP)
    for pid in (held_by, first):  # as in a power cut
        os.kill(pid, signal.SIGKILL)
    os.waitpid(first, 0)
    assert os.waitstatus_to_exitcode(os.waitpid(second, 0)[1]) == 0
    for seed in range(NUMBER):
        done = [(event, host) for event, number, host, _ in events(runs) if number == seed]
        by_second = [("begin", "node2"), ("end", "node2")]
        assert done == ([("begin", "node1"), *by_second] if seed == held else by_second)
    assert not list(runs.glob("*/.claim-[0-9]*"))
