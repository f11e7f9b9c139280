"""Running cells in processes: how many at a time, what becomes of those that fail, and when."""

import json
import os
import signal
import subprocess
import threading
import time

import pytest
import torch
from toy_runs import QUICK

from lifelong_rl.cli.sweep_progress import LineReporter
from lifelong_rl.errors import UserError
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.runs.setup import prepare
from lifelong_rl.studies.executors.executor import End
from lifelong_rl.studies.executors.local import LocalExecutor
from lifelong_rl.studies.study import Cell
from lifelong_rl.studies.sweep import (
    CELL,
    Entry,
    Estimate,
    SweepLoop,
    SweepReporter,
    describe_end,
    find_fraction,
)


def cells(folder, seeds, **fields):
    fields = {"sequence": "toy3", "agent": "toy", "plugin": ("toy_plugin",), **fields}
    configs = [RunConfig(seed=seed, **fields) for seed in seeds]
    return [Cell(folder / c.folder_name, prepare(c, c.plugin)) for c in configs]


def loop(folder, seeds=range(4), processes=2, **plan):
    """A sweep of quick cells; `plan` tells for "s0", "s1" … what they do."""
    folder.mkdir(exist_ok=True)
    names = {f"toy3-toy-finetune-seed{key[1:]}": action for key, action in plan.items()}
    (folder / "plan.json").write_text(json.dumps(names))
    return SweepLoop(cells(folder, seeds), QUICK, LocalExecutor(processes))


def states(sweep):
    return [entry.state for entry in sweep.entries]


def events(folder):
    """What the cells did, as "begin 0"."""
    return [
        f"{line.split()[0]} {line[-1]}" for line in (folder / "events").read_text().splitlines()
    ]


class Watch(SweepReporter):
    """Notes the largest number of cells that run at a time, and calls `at` at each tick."""

    def __init__(self, at=lambda loop: None):
        self.most, self.at, self.ended = 0, at, 0

    def begin(self, loop):
        self.loop = loop

    def changed(self, entry):
        self.most = max(self.most, len(self.loop.entries_in("running")))

    def tick(self):
        self.at(self.loop)

    def end(self):
        self.ended += 1


@pytest.mark.parametrize("processes", [1, 3])
def test_cells_run_in_order_and_so_many_at_a_time(tmp_path, processes):
    sweep, watch = loop(tmp_path / "runs", processes=processes), Watch()
    sweep.run(watch)
    assert states(sweep) == ["finished"] * 4
    assert (watch.most, watch.ended) == (processes, 1)
    assert [entry.seconds for entry in sweep.entries] == [60.0] * 4
    if processes == 1:
        assert events(tmp_path / "runs") == [f"{e} {s}" for s in range(4) for e in ("begin", "end")]


def test_what_should_be_known_of_a_cell_is_told_when_it_ends(tmp_path, capsys):
    sweep = loop(tmp_path / "runs", seeds=range(2), processes=1)
    noted = sweep.entries[1].cell
    RunFolder.create(noted.path, noted.setup.config).unlock()
    sessions = [{"notes": ["before"]}, {"notes": ["other versions", "old eyes"]}]
    (noted.path / "manifest.json").write_text(json.dumps({"sessions": sessions}))
    sweep.run(LineReporter())
    first, second = capsys.readouterr().out.splitlines()
    assert "seed0 finished in 1 min 00 s, " in first
    assert "seed1 finished in 1 min 00 s (other versions; old eyes), " in second


def test_failures_are_told_kept_from_spreading_and_tried_again(tmp_path):
    runs = tmp_path / "runs"
    sweep = loop(runs, s0="fail", s1="die", s2="flood")
    sweep.run()
    assert states(sweep) == ["failed", "failed", "finished", "finished"]
    assert sweep.entries[0].message == "the loss of 'policy' is nan"
    assert sweep.entries[1].message == "ended by signal 9 (Killed); was there enough memory?"
    log = sweep.entries[0].cell.path / "sweep.log"
    assert log.read_text() == "Traceback ...\nthe loss of 'policy' is nan\n"

    finished = [entry.cell.path for entry in sweep.entries[2:]]
    before = [path.stat().st_mtime_ns for folder in finished for path in folder.iterdir()]
    again = loop(runs)
    assert states(again) == ["to do", "to do", "finished", "finished"]
    again.run()
    assert states(again) == ["finished"] * 4
    assert not log.exists()
    assert [path.stat().st_mtime_ns for folder in finished for path in folder.iterdir()] == before
    assert sorted(events(runs)[-4:]) == ["begin 0", "begin 1", "end 0", "end 1"]


def test_a_cell_that_a_cluster_ends_before_it_has_begun_is_started_again(tmp_path):
    class Queue(LocalExecutor):
        queues = True

    runs = tmp_path / "runs"
    made = loop(runs, seeds=range(2), s0="terminated", s1="fail").entries
    sweep = SweepLoop([entry.cell for entry in made], QUICK, Queue(1))
    sweep.run()
    assert states(sweep) == ["finished", "failed"]
    assert [entry.lost for entry in sweep.entries] == [1, 0]


def test_a_folder_with_another_run_fails_and_stays_as_it_is(tmp_path):
    runs = tmp_path / "runs"
    RunFolder.create(runs / "toy3-toy-finetune-seed1", RunConfig(sequence="toy3")).unlock()
    (runs / "toy3-toy-finetune-seed2").mkdir()
    (runs / "toy3-toy-finetune-seed2" / "thesis.tex").write_text("x")
    (runs / "toy3-toy-finetune-seed3").write_text("x")
    before = sorted(runs.rglob("*"))
    sweep = loop(runs)
    assert states(sweep) == ["to do", "failed", "to do", "to do"]
    sweep.run()
    assert states(sweep) == ["finished", "failed", "failed", "failed"]
    assert "holds another run (agent 'sac', not 'toy'; seed 0, not 1)" in sweep.entries[1].message
    assert "is not empty and holds no run" in sweep.entries[2].message
    assert "is a file" in sweep.entries[3].message
    mine = {runs / "plan.json", runs / "events"}
    seed0 = runs / "toy3-toy-finetune-seed0"
    after = [p for p in runs.rglob("*") if p not in mine and seed0 not in (p, *p.parents)]
    assert sorted(after) == before


def test_a_cell_that_runs_elsewhere_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("lifelong_rl.studies.sweep.LOOK_ELSEWHERE_SECONDS", 0.0)
    (cell,) = cells(tmp_path / "runs", [0])
    elsewhere = RunFolder.create(cell.path, cell.setup.config)
    sweep = loop(tmp_path / "runs", seeds=[0, 1])
    assert states(sweep) == ["running elsewhere", "to do"]

    def leave(sweep):
        if states(sweep)[1] == "finished":
            elsewhere.unlock()

    sweep.run(Watch(leave))  # which left it without results, so it is run here
    assert states(sweep) == ["finished"] * 2
    assert events(tmp_path / "runs")[-2:] == ["begin 0", "end 0"]


def test_two_sweeps_at_once_share_the_work(tmp_path):
    """Real folders and locks, with a process that holds the lock as a run does."""
    runs = tmp_path / "runs"
    first, second = loop(runs, seeds=range(6)), loop(runs, seeds=range(6))
    thread = threading.Thread(target=second.run)
    thread.start()
    first.run()
    thread.join()
    assert states(first) == states(second) == ["finished"] * 6


@pytest.mark.parametrize("action, times", [("wait", 1), ("stubborn", 2)])
def test_ctrl_c_stops_the_cells_and_another_one_kills_them(tmp_path, action, times):
    runs = tmp_path / "runs"
    sweep = loop(runs, s1=action, s2=action)
    processes, groups = [], set()

    def press():
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)

    def interrupt(sweep):
        begun = (runs / "events").exists() and events(runs)
        if begun and {"begin 1", "begin 2"} <= set(begun):
            processes.extend(process.popen for process in sweep.executor._running)
            groups.update(os.getpgid(process.pid) for process in processes)
            threading.Thread(target=press).start()
            time.sleep(5)

    watch = Watch(interrupt)
    with pytest.raises(KeyboardInterrupt):
        sweep.run(watch)
    assert states(sweep) == ["finished", "to do", "to do", "to do"]
    end = -signal.SIGTERM if action == "wait" else -signal.SIGKILL
    assert [process.poll() for process in processes] == [end, end]
    assert os.getpgid(0) not in groups  # to which a terminal sends Ctrl-C
    assert watch.ended == 1


def test_ctrl_c_while_ended_cells_are_looked_at_waits_for_none(tmp_path, monkeypatch):
    class Both(LocalExecutor):
        def collect(self):
            ended = all(process.popen.poll() is not None for process in self._running)
            return super().collect() if ended else []

    class Press(SweepReporter):
        def changed(self, entry):
            if entry.state == "finished":
                looks.append(0)
                raise KeyboardInterrupt

    def look(seconds):
        looks.extend(looks[:1])
        assert len(looks) < 5
        sleep(seconds)

    sleep, looks = time.sleep, []
    monkeypatch.setattr("lifelong_rl.studies.sweep.time.sleep", look)
    runs = tmp_path / "runs"
    runs.mkdir()
    sweep = SweepLoop(cells(runs, range(2)), QUICK, Both(2))
    with pytest.raises(KeyboardInterrupt):
        sweep.run(Press())
    assert states(sweep) == ["finished"] * 2


def test_damaged_results_fail_their_cell_alone(tmp_path):
    runs = tmp_path / "runs"
    first = loop(runs)
    for entry in first.entries[:2]:
        RunFolder.create(entry.cell.path, entry.cell.setup.config).unlock()
    (first.entries[0].cell.path / "results.json").write_text('{"seed": 0}')
    (first.entries[1].cell.path / "results.json").write_text("[" * 100_000)
    sweep = loop(runs, s2="damage")
    assert states(sweep) == ["failed", "failed", "to do", "to do"]
    sweep.run()
    assert states(sweep) == ["failed", "failed", "failed", "finished"]
    for entry, reason in zip(
        sweep.entries,
        ("it lacks 'sequence'", "it is nested more than 200 levels deep", "it lacks 'sequence'"),
        strict=False,
    ):
        assert entry.message == f"cannot read {entry.cell.path / 'results.json'}: {reason}"


def test_a_full_disk_fails_the_cell_with_a_line(tmp_path, monkeypatch):
    import errno

    from lifelong_rl.storage import atomic

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sweep = loop(tmp_path / "runs", seeds=[0])
    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "fsync", full)
        sweep.run()
    assert states(sweep) == ["failed"]
    assert "config.yaml: No space left on device" in sweep.entries[0].message
    again = loop(tmp_path / "runs", seeds=[0])
    again.run()
    assert states(again) == ["finished"]


def test_pairs_that_make_no_sense_are_left_out_and_tried_once_for_all_seeds(tmp_path, monkeypatch):
    tried = []

    def refuse(cell):
        tried.append(cell.name)
        return "no rows" if cell.setup.config.method == "replay" else None

    monkeypatch.setattr(Cell, "find_refusal", refuse)
    runs = tmp_path / "runs"
    both = [*cells(runs, [0, 1]), *cells(runs, [0, 1], method="replay")]
    sweep = SweepLoop(both, QUICK, LocalExecutor(2))
    assert tried == ["toy3-toy-finetune-seed0", "toy3-toy-replay-seed0"]
    sweep.run()
    assert states(sweep) == ["finished"] * 2 + ["left out"] * 2
    assert sweep.entries[3].message == "no rows"
    assert sorted(path.name for path in runs.glob("toy3*")) == [
        "toy3-toy-finetune-seed0",
        "toy3-toy-finetune-seed1",
    ]


def test_options_that_are_not_accepted_are_an_error_that_names_the_cell(tmp_path):
    made = cells(tmp_path, [0], agent_options={"lr": -1.0})
    with pytest.raises(UserError, match=r"seed0: .*lr must be positive, not -1"):
        SweepLoop(made, QUICK, LocalExecutor(1))


METHODS = ("finetune", "ewc", "si")


def entry(cell, state="to do", **values):
    return Entry(cell, state, **values)


def test_estimates_come_from_the_most_alike(tmp_path):
    finetune, ewc, si = (cells(tmp_path, [0], steps_per_task=100, method=m)[0] for m in METHODS)
    (long,) = cells(tmp_path, [1], steps_per_task=200, method="ewc")
    other = Cell(tmp_path, prepare(RunConfig(agent="sac", steps_per_task=50)))
    known = [
        entry(finetune, "finished", seconds=30.0),
        entry(finetune, "finished", seconds=60.0),
        entry(ewc, "finished", seconds=90.0),
    ]
    estimate = Estimate([*known, entry(si, "running", fraction=0.5, started=time.monotonic() - 9)])
    assert estimate.seconds(finetune) == pytest.approx(45)
    assert estimate.seconds(long) == pytest.approx(180)  # twice the steps
    assert estimate.seconds(si) == pytest.approx(60)  # all of toy3 with toy
    assert estimate.seconds(other) == pytest.approx(30)  # 150 of 300 steps, all there is


def test_before_any_is_finished_those_that_run_tell(tmp_path, monkeypatch):
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    finetune, ewc, _ = (cells(tmp_path, [0], method=m)[0] for m in METHODS)
    assert Estimate([entry(finetune), entry(ewc, "running")]).seconds(finetune) is None
    begun = {"fraction": 0.75, "fraction_before": 0.5, "started": now - 10}
    estimate = Estimate([entry(finetune), entry(ewc, "running", **begun)])
    assert estimate.seconds(finetune) == pytest.approx(40)


def test_time_left_is_that_of_the_last_to_end(tmp_path):
    sweep = loop(tmp_path / "runs", seeds=range(6))
    assert sweep.seconds_left() is None
    for index, state, fraction in [
        (0, "finished", 0.0),
        (1, "running", 0.5),
        (2, "running elsewhere", 0.9),
        (3, "to do", 0.0),
        (4, "to do", 0.25),
        (5, "failed", 0.0),
    ]:
        now = sweep.entries[index]
        now.state, now.fraction, now.seconds = state, fraction, 100.0
    # one processor is free after 10 s and then after 110, the other after 50 and then after 125
    assert sweep.seconds_left() == pytest.approx(125)


def test_the_time_left_counts_the_start_of_each_process(tmp_path):
    """A hundred cells of a second each take the time of a hundred starts."""
    sweep = loop(tmp_path / "runs", range(4), processes=1)
    done, waiting, *running = sweep.entries
    done.state, done.seconds, done.startup = "finished", 10.0, 6.0
    waiting.fraction = 0.5
    assert Estimate(sweep.entries).seconds(waiting.cell) == 16.0
    assert Estimate(sweep.entries).seconds_left(waiting) == 6.0 + 5.0
    now = time.monotonic()
    for entry, begun, started in zip(running, (0.25, 0.0), (now - 60, now - 60), strict=True):
        entry.state, entry.fraction, entry.started = "running", begun, started
    left = [Estimate(sweep.entries).seconds_left(entry) for entry in running]
    assert left == [7.5, 10.0]  # of the second, the start takes longer than it should
    running[1].started = now - 2
    assert Estimate(sweep.entries).seconds_left(running[1]) == pytest.approx(14.0, abs=1.0)


def test_what_runs_tells_of_its_steps_without_its_start(tmp_path):
    sweep = loop(tmp_path / "runs", range(2))
    entry, other = sweep.entries
    entry.state, entry.fraction, entry.startup = "running", 0.5, 6.0
    entry.started = time.monotonic() - 16
    assert Estimate(sweep.entries).seconds(other.cell) == pytest.approx(26.0, abs=1.0)


def test_what_a_start_took_is_read_from_the_manifest(tmp_path):
    sweep = loop(tmp_path / "runs", range(4))
    sweep.run()
    for told, entry in zip((5.0, 8.0, None, -1.0), sweep.entries, strict=True):
        session = {} if told is None else {"startup_seconds": told}
        manifest = {"sessions": [{"startup_seconds": 99.0}, session]}
        (entry.cell.path / "manifest.json").write_text(json.dumps(manifest))
    again = loop(tmp_path / "runs", range(4))
    assert [entry.startup for entry in again.entries] == [5.0, 8.0, None, None]
    assert Estimate(again.entries).seconds(again.entries[0].cell) == 66.5


def test_a_cell_to_do_is_as_far_as_its_last_checkpoint(tmp_path):
    made = cells(tmp_path, range(4), steps_per_task=100)
    names = ("task-001", "task-001-step-000000050", "task-099")
    for cell, last in zip(made[1:], names, strict=True):
        folder = RunFolder.create(cell.path, cell.setup.config)
        for name in ("task-000", "task-001", last):
            (folder.checkpoints / name).mkdir(parents=True, exist_ok=True)
        folder.unlock()
    sweep = SweepLoop(made, QUICK, LocalExecutor(1))
    assert [entry.fraction for entry in sweep.entries] == pytest.approx([0, 1 / 3, 1 / 2, 1])


def test_the_fraction_is_that_of_the_last_whole_line(tmp_path):
    (made,) = cells(tmp_path, [0], steps_per_task=100)
    assert find_fraction(made) == 0
    made.path.mkdir(parents=True)
    metrics = made.path / "metrics.jsonl"
    metrics.write_text("")
    assert find_fraction(made) == 0
    lines = [json.dumps({"step": step, "values": {"x": "y" * 900}}) for step in range(0, 151, 1)]
    metrics.write_text("\n".join(lines) + "\n")
    assert find_fraction(made) == 0.5
    metrics.write_text("\n".join(lines) + '\n{"step": 2')
    assert find_fraction(made) == 0.5
    for damaged in ("[1]", "{}", '{"step": null}', '{"step": "x"}', "[" * 9999, "\udc80"):
        metrics.write_bytes(damaged.encode(errors="surrogateescape") + b"\n")
        assert find_fraction(made) == 0


@pytest.mark.parametrize(
    "code, stderr, told",
    [
        (1, b"Traceback\n  x\nno space left\n\n", "no space left"),
        (2, b"", "ended with exit code 2 and without results"),
        (0, b"", "ended with exit code 0 and without results"),
        (-11, b"x", "ended by signal 11 (Segmentation fault)"),
        (-9, b"x", "ended by signal 9 (Killed); was there enough memory?"),
    ],
)
def test_the_end_of_a_process_is_one_line(code, stderr, told):
    assert describe_end(End(code, stderr)) == told


@pytest.mark.parametrize("name", ["statistics.py", "agents/__init__.py", "lifelong_rl/__init__.py"])
def test_modules_of_the_working_directory_are_not_those_of_a_cell(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("raise RuntimeError('of the working directory')")
    module = name.partition("/")[0].removesuffix(".py")
    flags = CELL[: CELL.index("-m")]
    find = f"from importlib.util import find_spec as f; s = f('{module}'); print(s and s.origin)"
    done = subprocess.run([*flags, "-c", find], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and str(tmp_path) not in done.stdout


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def devices(folder):
    """What each cell was told to run on, in the order in which they began."""
    return [line.split()[1] for line in (folder / "devices").read_text().splitlines()]


def test_cells_are_spread_over_gpus_and_share_them(tmp_path, two_gpus):
    folder = tmp_path / "runs"
    folder.mkdir()
    sweep = SweepLoop(cells(folder, range(6)), QUICK, LocalExecutor(8, ["cuda"], per_device=2))
    assert sweep.executor.gpus == ("cuda:0", "cuda:1") and sweep.executor.processes == 4

    def look(loop):
        running = [entry.device for entry in loop.entries_in("running")]
        assert max(map(running.count, loop.executor.gpus)) <= 2

    watch = Watch(look)
    sweep.run(watch)
    assert states(sweep) == ["finished"] * 6
    assert watch.most == 4
    assert [entry.device for entry in sweep.entries[:4]] == ["cuda:0", "cuda:1"] * 2
    assert sorted(devices(folder)) == sorted(entry.device for entry in sweep.entries)


def test_a_cell_waits_for_its_gpu_while_others_run_on_the_cpu(tmp_path, two_gpus):
    folder = tmp_path / "runs"
    folder.mkdir()
    (folder / "plan.json").write_text("{}")
    on_gpu = cells(folder, range(2), device="cuda:1")
    on_cpu = cells(folder, range(2, 4))
    sweep = SweepLoop([*on_gpu, *on_cpu], QUICK, LocalExecutor(3))
    assert sweep.executor.gpus == ("cuda:1",) and sweep.executor.processes == 3
    started = []
    sweep.run(Watch(lambda loop: started.append([e.device for e in loop.entries_in("running")])))
    assert [entry.device for entry in sweep.entries] == ["cuda:1", "cuda:1", "cpu", "cpu"]
    assert started[0] == ["cuda:1", "cpu", "cpu"]
    assert all(running.count("cuda:1") <= 1 for running in started)
    assert not (folder / "devices").exists()  # all ran on what their folders say


def test_gpus_stay_unused_by_a_sweep_itself(tmp_path, two_gpus):
    """Agents that are made to find out who goes together are made on the CPU."""
    (cell,) = cells(tmp_path, [0], device="cuda")
    assert cell.find_refusal() is None
