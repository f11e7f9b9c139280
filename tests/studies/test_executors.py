"""Cells on Ray and Slurm, as far as one machine shows it, and what travels between machines."""

import contextlib
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from toy_runs import CELL, QUICK, needs_submitit, toy_cells, wait_until

import lifelong_rl
from lifelong_rl.errors import UserError
from lifelong_rl.options import options_of
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.storage.atomic import remove_temporary
from lifelong_rl.storage.lock import lock_folder
from lifelong_rl.studies.executors import archive
from lifelong_rl.studies.executors import ray as on_ray
from lifelong_rl.studies.executors.archive import land, pack, unpack
from lifelong_rl.studies.executors.executor import End, Job
from lifelong_rl.studies.executors.process import CellProcess
from lifelong_rl.studies.executors.ray import RayExecutor, run_on_node
from lifelong_rl.studies.executors.slurm import CellJob, Slurm, SlurmExecutor
from lifelong_rl.studies.sweep import SweepLoop

ROOT = Path(__file__).parents[2]
RAY_SWEEP = ROOT / "tests" / "toy" / "ray_sweep.py"


def cells(runs, number, **plan):
    """Quick cells; `plan` tells for "s0", "s1" … what they do."""
    runs.mkdir()
    (runs / "plan.json").write_text(json.dumps({CELL + k[1:]: a for k, a in plan.items()}))
    return toy_cells(runs, number)


def states(loop):
    return [entry.state for entry in loop.entries]


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture
def run(tmp_path):
    """A run that has come to its second task: config, metrics and two checkpoints."""
    folder = RunFolder.create(tmp_path / "run", RunConfig(sequence="toy3", agent="toy"))
    for name in ("task-000", "task-001"):
        (folder.checkpoints / name).mkdir(parents=True)
        (folder.checkpoints / name / "state.json").write_text(name)
    folder.metrics.write_text("one\n")
    yield folder.path
    folder.unlock()


# What travels


def test_a_folder_travels_without_its_lock_and_what_is_unfinished(tmp_path, run):
    (run / "landing.tmp").mkdir()
    (run / "landing.tmp" / "metrics.jsonl").write_text("half")
    (run / "status.json.tmp").write_text("half")
    unpack(pack(run), tmp_path / "there")
    assert sorted(files(tmp_path / "there")) == [
        "checkpoints/task-000/state.json",
        "checkpoints/task-001/state.json",
        "config.yaml",
        "metrics.jsonl",
    ]
    assert files(tmp_path / "there").items() <= files(run).items()


def test_links_of_trackers_stay_where_they_are(tmp_path, run):
    (run / "wandb").mkdir()
    (run / "wandb" / "run.log").write_text("told")
    (run / "wandb" / "debug.log").symlink_to(run / "wandb" / "run.log")
    unpack(pack(run), tmp_path / "there")
    assert [path.name for path in (tmp_path / "there" / "wandb").iterdir()] == ["run.log"]


def test_what_lands_takes_the_place_of_what_was_there(tmp_path, run):
    there = tmp_path / "there"
    unpack(pack(run), there)
    (there / "checkpoints" / "task-002").mkdir()
    (there / "checkpoints" / "task-002" / "state.json").write_text("new")
    (there / "checkpoints" / "task-000" / "state.json").unlink()
    (there / "metrics.jsonl").write_text("one\ntwo\n")
    (there / "results.json").write_text("{}")
    land(pack(there), run)
    found = {name: content for name, content in files(run).items() if ".claim" not in name}
    assert found == files(there)


def test_a_landing_that_is_cut_short_leaves_a_run_that_begins_or_goes_on(
    tmp_path, run, monkeypatch
):
    there = tmp_path / "there"
    unpack(pack(run), there)
    (there / "metrics.jsonl").write_text("one\ntwo\n")
    (there / "results.json").write_text("{}")
    sent, put = pack(there), os.replace

    def cut(source, target, *, after=None):
        if Path(target) == run / after:
            raise OSError(5, "cut")
        put(source, target)

    for after, kept in (("metrics.jsonl", False), ("checkpoints", False), ("results.json", True)):
        with monkeypatch.context() as patch:
            patch.setattr(archive.os, "replace", lambda s, t, after=after: cut(s, t, after=after))
            with pytest.raises(UserError, match="cut"):
                land(sent, run)
        assert not (run / "results.json").exists()
        assert (run / "checkpoints").exists() is kept
    land(sent, run)
    assert (run / "results.json").exists() and not (run / "landing.tmp").exists()


@pytest.mark.parametrize("kind", ["absolute", "above", "link", "folder"])
def test_an_archive_writes_nowhere_else(tmp_path, kind):
    member = tarfile.TarInfo(
        {"absolute": str(tmp_path / "x"), "above": "../x"}.get(kind, "config.yaml")
    )
    if kind == "link":
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    if kind == "folder":
        member.type = tarfile.DIRTYPE
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as made:
        made.addfile(member, io.BytesIO(b""))
    with pytest.raises(UserError, match="which is no file"):
        unpack(content.getvalue(), tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_too_large_stays(run, monkeypatch):
    monkeypatch.setattr(archive, "MOST_BYTES", 10)
    with pytest.raises(UserError, match="give the sweep a folder that they share"):
        pack(run)


# On a node


def job(folder):
    return Job((*QUICK, str(folder)), folder, "cpu", 1, 1)


VERSION = lifelong_rl.__version__


def test_a_node_that_sees_the_folder_works_there(run):
    (run.parent / ".shared-token.tmp").touch()
    assert run_on_node(job(run), {}, VERSION, "token", None) == (End(0), None)
    assert (run / "results.json").exists()


@pytest.mark.parametrize("there", [None, "of another sweep"])
def test_a_node_that_does_not_see_it_asks_for_it_and_sends_it_back(run, there, tmp_path):
    if there:
        (run.parent / f".shared-{there}.tmp").touch()
    assert run_on_node(job(run), {}, VERSION, "token", None) == (None, None)
    before = files(run)
    end, back = run_on_node(job(run), {}, VERSION, "token", pack(run))
    assert end == End(0) and files(run) == before
    unpack(back, tmp_path / "back")
    made = files(tmp_path / "back")
    assert json.loads(made.pop("results.json"))["sequence"] == "toy3"
    assert made.items() <= before.items()


def test_a_node_with_another_version_runs_nothing(run):
    end, _ = run_on_node(job(run), {}, "9.9", "token", pack(run))
    assert end.code == 2 and b"install the same on all nodes" in end.stderr


def test_a_process_whose_wait_is_broken_off_ends(run, monkeypatch):
    """As when Ray cancels a task, or the sweep is gone."""
    (run.parent / "plan.json").write_text(json.dumps({"run": "until stdin"}))
    process = CellProcess(job(run))
    looks = []

    def stop(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("lifelong_rl.studies.executors.process.time.sleep", stop)
    with pytest.raises(KeyboardInterrupt):
        process.wait()
    assert process.popen.returncode == 5


def test_a_warning_in_the_middle_of_a_look_is_obeyed(run, monkeypatch):
    """Where a handler of signals is called, `Popen.poll` may have its lock."""
    (run.parent / "plan.json").write_text(json.dumps({"run": "wait"}))
    process = CellProcess(job(run))
    looks = []

    def look(seconds):
        looks.append(seconds)
        assert len(looks) < 100
        sleep(0.1)

    sleep = time.sleep
    monkeypatch.setattr("lifelong_rl.studies.executors.process.time.sleep", look)
    with process.popen._waitpid_lock:
        process.interrupt(signal.SIGTERM)
    assert process.wait() == End(-signal.SIGTERM)


# Ray


class Refused(Exception):
    """Stands for all that Ray raises."""


class PretendRay:
    """Runs a task when it is asked what came of it.

    Args:
        sees: Whether its nodes see the folders of the runs.
    """

    exceptions = SimpleNamespace(TaskCancelledError=Refused, RayTaskError=Refused, RayError=Refused)

    def __init__(self, sees=True):
        self.sees, self.asked = sees, []

    def options(self, **_):
        return self

    def remote(self, *arguments):
        self.asked.append(arguments)
        return len(self.asked) - 1

    def wait(self, refs, **_):
        return refs, []

    def get(self, ref):
        return run_on_node(*self.asked[ref]) if self.sees else (None, None)

    def cluster_resources(self):
        return {"CPU": 2}

    def shutdown(self): ...


def pretend_executor(**given):
    """An executor that has entered a pretended cluster."""
    executor = RayExecutor(None, 2)
    executor._ray = executor._run = PretendRay(**given)
    return executor


def test_two_sweeps_on_ray_have_the_same_cell_wait(run):
    """Neither takes the nodes for ones that do not see the folder."""
    first, second = (pretend_executor() for _ in range(2))
    first.start(job(run))
    second.start(job(run))
    remove_temporary(run)  # as whoever locks the folder does
    assert [end for _, end in first.collect()] == [End(0)]
    assert [end for _, end in second.collect()] == [End(0)]
    assert len(list(run.parent.glob(".shared-*"))) == 2
    for executor in (first, second):
        executor.kill()
    assert not list(run.parent.glob(".shared-*"))


def test_a_folder_that_cannot_be_sent_fails_its_cell_alone(run, tmp_path):
    executor = pretend_executor(sees=False)
    other = tmp_path / "other"
    other.mkdir()
    for folder in (run, other):
        executor.start(job(folder))
    ((failed, end),) = executor.collect()
    assert failed.folder == run and b"in use" in end.stderr  # the fixture has it locked
    assert [task.job.folder for task in executor._tasks.values()] == [other]
    executor.kill()


def test_a_sweep_on_ray(tmp_path):
    """One fails, one takes its worker with it, and the rest is done once."""
    pytest.importorskip("ray", reason="the extra [ray] is not installed")
    runs = tmp_path / "runs"
    loop = SweepLoop(cells(runs, 5, s1="fail", s2="orphan"), QUICK, RayExecutor(None, 2))
    handler = signal.getsignal(signal.SIGTERM)
    loop.run()
    assert states(loop) == ["finished", "failed", "finished", "finished", "finished"]
    assert loop.entries[1].message == "the loss of 'policy' is nan"
    assert [entry.lost for entry in loop.entries] == [0, 0, 1, 0, 0]
    events = (runs / "events").read_text().split()
    assert [events.count(CELL + str(seed)) for seed in range(5)] == [2, 1, 3, 2, 2]
    assert not list(runs.rglob("*.tmp"))
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.slow
def test_nodes_that_do_not_see_the_folder(tmp_path, monkeypatch):
    """The sweep leaves its token where no node looks."""
    pytest.importorskip("ray", reason="the extra [ray] is not installed")
    monkeypatch.setattr(on_ray, "SHARED", ".elsewhere-")
    runs = tmp_path / "runs"
    loop = SweepLoop(cells(runs, 4), QUICK, RayExecutor(None, 2))
    loop.run()
    assert states(loop) == ["finished"] * 4
    assert not (runs / "events").exists()
    for entry in loop.entries:
        lock_folder(entry.cell.path).release()  # nobody holds it any more


def sweep_on_ray(output, *arguments):
    """A sweep on Ray in a process of its own; Ray prints the logs of dead nodes too."""
    places = [str(ROOT), str(ROOT / "tests" / "toy")]
    return subprocess.Popen(
        [sys.executable, str(RAY_SWEEP), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        stdout=output,
        start_new_session=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_cells_on_ray_end_with_the_sweep(tmp_path, number):
    pytest.importorskip("ray", reason="the extra [ray] is not installed")
    runs = tmp_path / "runs"
    cells(runs, 3, s0="until stdin", s1="until stdin")

    def events():
        return (runs / "events").read_text().split() if (runs / "events").exists() else []

    with sweep_on_ray(None, runs, 3, "quick_cell.py") as sweep:
        wait_until(lambda: events().count("begin") == 2)
        os.kill(sweep.pid, number)
        assert sweep.wait() == (-number if number == signal.SIGKILL else 7)
    if number != signal.SIGKILL:  # after which Ray's raylet kills what its workers have started
        wait_until(lambda: events().count("closed") == 2)
    wait_until(lambda: not processes_with(str(runs)))
    assert events().count("begin") == 2


def processes_with(words):
    """Processes that have these words in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if words.encode() in path.read_bytes():
                found.append(path.parent.name)
    return found


@pytest.mark.slow
def test_a_node_that_is_killed_again_and_again(tmp_path, monkeypatch):
    """Two raylets with one CPU each; cells that hold their folders as runs do."""
    pytest.importorskip("ray", reason="the extra [ray] is not installed")
    from ray.cluster_utils import Cluster

    cell = {"HOST": "node", "STALE": "120", "SECONDS": "3"}
    for name, value in {**cell, "RAY_worker_niceness": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests" / "toy")]))
    runs = tmp_path / "runs"
    runs.mkdir()
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    try:
        second = cluster.add_node(num_cpus=1)
        with (
            (tmp_path / "told").open("w+") as output,
            sweep_on_ray(output, runs, 24, "claiming_cell.py", cluster.address) as sweep,
        ):
            while sweep.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    sweep.wait(20)
                    break
                cluster.remove_node(second, allow_graceful=False)
                second = cluster.add_node(num_cpus=1)
            assert sweep.returncode == 0
            output.seek(0)
            told = json.loads(output.read().splitlines()[-1])
    finally:
        cluster.shutdown()
    assert [state for state, _ in told.values()] == ["finished"] * 24
    assert sum(lost for _, lost in told.values()) > 0
    events = [line.split()[:2] for line in (runs / "events").read_text().splitlines()]
    for name, (_, lost) in told.items():
        done = [event for event, cell_name in events if cell_name == name]
        assert done == ["begin"] * (1 + lost) + ["end"]
    wait_until(lambda: not processes_with(str(runs)))


def test_devices_of_one_machine_are_no_cluster_s(tmp_path):
    made = cells(tmp_path / "runs", 1)
    for executor in (
        RayExecutor(None, 1, "cuda:1"),
        SlurmExecutor(tmp_path, Slurm.Options(), 1, "auto"),
    ):
        with pytest.raises(UserError, match="give --device cuda, or --device cpu"):
            SweepLoop(made, QUICK, executor)


# Slurm


@needs_submitit
def test_submitit_closes_no_handler_of_another_library():
    """As absl's, which closes the stream that it writes to."""
    script = """if True:
        import logging, os
        from lifelong_rl.studies.executors import slurm
        class Handler(logging.Handler):
            def close(self):
                print("closed")
        handler = Handler()
        slurm._import_submitit()
        print("imported", os.environ.get(slurm.LOG_OF_SUBMITIT), flush=True)
        os._exit(0)
    """
    env = {name: value for name, value in os.environ.items() if name != "SUBMITIT_LOG_LEVEL"}
    found = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, env=env
    )
    assert found.stdout.split() == ["imported", "None"]


@needs_submitit
def test_a_sweep_through_submitits_local_executor(tmp_path):
    runs = tmp_path / "runs"
    options = Slurm.Options(cluster="local", scratch=str(tmp_path))
    loop = SweepLoop(cells(runs, 3, s1="fail"), QUICK, SlurmExecutor(runs, options, 2))
    loop.executor.poll_seconds = 0.1
    loop.run()
    assert states(loop) == ["finished", "finished", "finished"]  # in scratch there is no plan
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]


@needs_submitit
def test_a_job_near_its_time_limit_keeps_where_it_is_and_goes_on(tmp_path):
    """USR1 to submitit's process, as Slurm sends it; the same job runs again."""
    runs = tmp_path / "runs"
    made = cells(runs, 1, s0="until warned")
    loop = SweepLoop(made, QUICK, SlurmExecutor(runs, Slurm.Options(cluster="local"), 1))
    loop.executor.poll_seconds = 0.1
    warned = []

    class Warn:
        def begin(self, loop): ...
        def changed(self, entry): ...
        def end(self): ...

        def tick(self):
            begun = (runs / "events").exists() and (runs / "events").read_text()
            if begun and not warned:
                (stopped,) = children(loop.executor._jobs[made[0].path][1]._process.pid)
                warned.append(stopped)
                os.kill(stopped, signal.SIGUSR1)

    loop.run(Warn())
    assert states(loop) == ["finished"]
    assert [line.split()[0] for line in (runs / "events").read_text().splitlines()] == [
        "begin",
        "warned",
        "begin",
        "end",
    ]


def children(pid):
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@needs_submitit
def test_what_comes_of_a_job_in_scratch_is_kept_before_the_time_limit(tmp_path, run, monkeypatch):
    (run.parent / "scratch").mkdir()
    monkeypatch.setenv("NODE_DISK", str(run.parent / "scratch"))
    waits = CellProcess.wait

    class Out(Exception):
        pass

    def warned(process):
        """The signal comes; submitit calls `checkpoint` and leaves."""
        (process.job.folder / "metrics.jsonl").write_text("one\ntwo\n")
        again.append(cell.checkpoint())
        waits(process)
        raise Out

    monkeypatch.setattr(CellProcess, "wait", warned)
    cell, again = CellJob(job(run), "$NODE_DISK"), []
    os.close(os.open(run / "unlocked", os.O_CREAT))  # the fixture's claim is of this process
    with pytest.raises(UserError, match="in use"):
        lock_folder(run)
    RunFolder.open(run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lifelong_rl.studies.executors.slurm.lock_folder", lambda folder: Held())
        with pytest.raises(Out):
            cell()
    assert (run / "metrics.jsonl").read_text() == "one\ntwo\n"
    assert list((run.parent / "scratch").iterdir()) == []
    assert again[0].function.job == cell.job


def test_a_folder_of_any_size_comes_back_from_a_nodes_own_disk(tmp_path, run, monkeypatch):
    monkeypatch.setattr(archive, "MOST_BYTES", 10)
    monkeypatch.setattr("lifelong_rl.studies.executors.slurm.lock_folder", lambda folder: Held())
    before = files(run)
    assert CellJob(job(run), str(tmp_path))() == End(0)
    after = files(run)
    assert after.pop("results.json") and after == before


@needs_submitit
def test_a_warning_while_the_folder_on_the_node_is_removed_takes_nothing_away(
    tmp_path, run, monkeypatch
):
    cell = CellJob(job(run), str(tmp_path))
    leave, warned = tempfile.TemporaryDirectory.__exit__, []

    def warn(folder, *error):
        leave(folder, *error)
        warned.append(cell.checkpoint())

    monkeypatch.setattr("lifelong_rl.studies.executors.slurm.lock_folder", lambda folder: Held())
    monkeypatch.setattr(tempfile.TemporaryDirectory, "__exit__", warn)
    assert cell() == End(0) and warned
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["task-000", "task-001"]


class Held:
    """A lock that is held already."""

    def check(self): ...

    def release(self): ...


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """`sbatch` and its like, which keep what they are given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, does in {
        "sbatch": f'cp "$1" {tmp_path}/script; echo Submitted batch job 77',
        "srun": "exit 1",
        "scancel": f'echo "$@" >> {tmp_path}/cancelled',
        "sacct": "echo 'JobID|State|NodeList'",
    }.items():
        path = folder / name
        path.write_text(f"#!/bin/sh\n{does}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return tmp_path


def on_two_cores(cell):
    config = replace(cell.setup.config, num_threads=2)
    return replace(cell, setup=replace(cell.setup, config=config))


@needs_submitit
def test_what_slurm_is_asked_for(slurm):
    options = Slurm.Options.of(
        None,
        {
            "partition": "long",
            "account": "lab",
            "time_limit": 240,
            "notice": 300,
            "memory": 4,
            "prologue": ["module load python", "source env/bin/activate"],
            "sbatch": ["qos=high", "exclusive"],
        },
    )
    runs = slurm / "runs"
    made = [on_two_cores(cell) for cell in cells(runs, 3)]
    loop = SweepLoop(made, QUICK, SlurmExecutor(runs, options, 2))
    loop.executor.poll_seconds = 0.01

    class Stop:
        def begin(self, loop): ...
        def changed(self, entry): ...
        def end(self): ...

        def tick(self):
            assert states(loop) == ["queued"] * 3
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.run(Stop())
    script = (slurm / "script").read_text()
    asked = {line.removeprefix("#SBATCH --") for line in script.splitlines()}
    assert asked >= {
        "partition=long",
        "account=lab",
        "time=240",
        "signal=USR1@300",
        "mem=4GB",
        "cpus-per-task=2",
        "array=0-2%2",
        "qos=high",
        "exclusive",
        "requeue",
        "export SUBMITIT_PREEMPT_SIGNAL=USR1",
    }
    lines = script.splitlines()
    order = [lines.index(words) for words in ("module load python", "source env/bin/activate")]
    assert order == sorted(order) and order[-1] < next(
        number for number, line in enumerate(lines) if line.startswith("srun")
    )
    assert {line.split()[0] for line in (slurm / "cancelled").read_text().splitlines()} == {
        "77_0",
        "77_1",
        "77_2",
    }
    assert states(loop) == ["to do"] * 3


@needs_submitit
def test_ctrl_c_before_the_jobs_are_submitted_waits_for_none(slurm, monkeypatch):
    runs = slurm / "runs"
    loop = SweepLoop(cells(runs, 3), QUICK, SlurmExecutor(runs, Slurm.Options(), 2))
    start = SlurmExecutor.start
    started, looks = [], []

    def press(executor, job):
        start(executor, job)
        started.append(job)
        if len(started) == 2:
            raise KeyboardInterrupt

    def look(seconds):
        looks.append(seconds)
        assert len(looks) < 5

    monkeypatch.setattr(SlurmExecutor, "start", press)
    monkeypatch.setattr("lifelong_rl.studies.sweep.time.sleep", look)
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    assert states(loop) == ["to do"] * 3
    assert not (slurm / "script").exists()


@needs_submitit
def test_what_slurm_refuses_is_told_in_a_line(slurm):
    (slurm / "bin" / "sbatch").write_text("#!/bin/sh\necho 'invalid partition' >&2; exit 1\n")
    runs = slurm / "runs"
    loop = SweepLoop(cells(runs, 2), QUICK, SlurmExecutor(runs, Slurm.Options(), None))
    with pytest.raises(UserError, match=r"cannot be submitted: .*invalid partition") as error:
        loop.run()
    assert "\n" not in str(error.value)


@needs_submitit
def test_without_slurm_the_message_names_the_other_way(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    runs = tmp_path / "runs"
    loop = SweepLoop(cells(runs, 1), QUICK, SlurmExecutor(runs, Slurm.Options(), None))
    with pytest.raises(UserError, match=r"there is no Slurm here: .*--print-commands"):
        loop.run()


@pytest.mark.parametrize(
    "given, told",
    [
        ({"partitoin": "x"}, "did you mean 'partition'"),
        ({"time_limit": 0}, "at least 1"),
        ({"cluster": "pbs"}, "must be 'slurm' or 'local'"),
    ],
)
def test_options_of_slurm_are_checked(given, told):
    with pytest.raises(UserError, match=told):
        Slurm.Options.of(None, given)


def test_the_page_tells_the_options_of_slurm():
    page = (Path(__file__).parents[2] / "docs" / "clusters.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert rows == [*options_of(Slurm.Options)]


def test_options_that_contradict_each_other(tmp_path):
    with pytest.raises(UserError, match=r"notice=60 .* time_limit=1 minutes"):
        SlurmExecutor(tmp_path, Slurm.Options(time_limit=1, notice=60))
    with pytest.raises(UserError, match="leave prologue out"):
        SlurmExecutor(tmp_path, Slurm.Options(cluster="local", prologue=("module load x",)))


@pytest.mark.parametrize("name, extra", [("ray", "ray"), ("submitit", "slurm")])
def test_an_extra_that_is_missing_is_named(tmp_path, monkeypatch, name, extra):
    monkeypatch.setitem(sys.modules, name, None)
    runs = tmp_path / "runs"
    executor = (
        RayExecutor(None, 1) if extra == "ray" else SlurmExecutor(runs, Slurm.Options(), None)
    )
    loop = SweepLoop(cells(runs, 1), QUICK, executor)
    with pytest.raises(UserError, match=rf"pip install 'lifelong-rl\[{extra}\]'"):
        loop.run()


@pytest.mark.parametrize(
    "address, told",
    [
        ("127.0.0.1:1", "there is no Ray cluster at 127.0.0.1:1: .*refused"),
        ("127.0.0.1:99999999", "there is no Ray cluster at 127.0.0.1:99999999: "),
        ("ray://head:10001", "--address must be auto or HOST:PORT"),
        ("head", "--address must be auto or HOST:PORT"),
    ],
)
def test_a_cluster_that_is_not_there(tmp_path, address, told):
    pytest.importorskip("ray", reason="the extra [ray] is not installed")
    loop = SweepLoop(cells(tmp_path / "runs", 1), QUICK, RayExecutor(address))
    with pytest.raises(UserError, match=told):
        loop.run()
    assert states(loop) == ["to do"]
