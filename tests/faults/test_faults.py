"""Kills, disks that refuse, signals, pipes and races: a few of what `scripts/reliability.py` tries.

After each fault the run goes on, and ends as one that met none; see `subjects.differences`.
"""

import errno
import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import campaigns
import pytest
import subjects

ROOT = Path(__file__).parents[2]
EVENTS = 161
"""File events of the toy's run."""

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


def some(stop, step):
    """Every `step`-th number from 1 up to `stop` in the default run, and the others when slow."""
    return [
        pytest.param(n, marks=[] if n % step == step // 2 else pytest.mark.slow)
        for n in range(1, stop + 1)
    ]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return subjects.make_reference(subjects.SUBJECTS["toy"], tmp_path_factory.mktemp("runs"))


def check(*outcomes):
    assert [outcome for outcome in outcomes if outcome.problems] == []
    assert all(outcome.happened for outcome in outcomes)


def test_the_toys_events(reference):
    """What the numbers below go up to; there are events of every kind."""
    kinds = campaigns.count_events(reference)
    assert len(kinds) == EVENTS
    assert {*kinds} >= {*campaigns.DISK_KINDS, "unlink", "read"}


@pytest.mark.parametrize("number", some(EVENTS, 60))
def test_killed_before_a_file_event(reference, number):
    check(campaigns.kill_at_event(reference, number))


@pytest.mark.parametrize("number", some(EVENTS, 90))
def test_killed_with_half_of_a_write_done(reference, number):
    outcome = campaigns.kill_at_event(reference, number, torn=True)
    check(outcome)


@pytest.mark.parametrize("seed", some(20, 20))
def test_killed_at_random_moments(reference, seed):
    outcomes = campaigns.kill_at_moments(reference, random.Random(seed), kills=3)
    assert [outcome for outcome in outcomes if outcome.problems] == []


@pytest.mark.parametrize("number", some(EVENTS, 90))
@pytest.mark.parametrize("code, forever", [(errno.ENOSPC, True), (errno.EIO, False)])
def test_a_disk_that_refuses(reference, number, code, forever):
    check(campaigns.refuse_event(reference, number, code, forever=forever))


@pytest.mark.parametrize("number", some(EVENTS, 100))
@pytest.mark.parametrize("forever", [True, False])
def test_a_disk_that_refuses_half_of_a_write(reference, number, forever):
    check(campaigns.refuse_event(reference, number, errno.ENOSPC, forever=forever, torn=True))


@pytest.mark.parametrize(
    "limit",
    [0, 3000, *(pytest.param(k, marks=pytest.mark.slow) for k in (100, 400, 1000, 5000, 20000))],
)
def test_files_that_may_not_grow(reference, limit):
    check(campaigns.limit_size(reference, limit))


@pytest.mark.parametrize(
    "kibibytes", [40, *(pytest.param(k, marks=pytest.mark.slow) for k in range(4, 240, 20))]
)
def test_a_disk_that_is_full(reference, kibibytes):
    outcome = campaigns.full_disk(reference, kibibytes)
    if outcome is None:
        pytest.skip("nobody may mount a disk here")
    check(outcome)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
@pytest.mark.parametrize("seed", some(10, 10))
def test_a_signal_at_a_random_moment(reference, number, seed):
    outcome = campaigns.signal_at_moment(reference, random.Random(seed), number)
    assert outcome.problems == []


@pytest.mark.parametrize(
    "after", [100, *(pytest.param(k, marks=pytest.mark.slow) for k in (0, 1, 400))]
)
def test_a_reader_that_goes_away(reference, after):
    check(campaigns.close_output(reference, after))


@pytest.mark.parametrize("resumed", [True, False])
@pytest.mark.parametrize("seed", some(10, 10))
def test_a_race(reference, resumed, seed):
    check(campaigns.race(reference, random.Random(seed), resumed=resumed))


def test_a_fault_that_changes_something_is_seen(reference, tmp_path):
    """The comparison itself: each thing that a fault could change is told."""
    with campaigns.place(reference) as path:
        assert subjects.finish(reference, path) == []
        changes = {
            "results.json: metrics": (path / "results.json", b'"forgetting": ', b'"forgetting": 1'),
            "metrics.jsonl differs": (path / "metrics.jsonl", b'"step": 40', b'"step": 41'),
            "status.json does not": (path / "status.json", b"finished", b"running"),
            "task-002/state.safetensors differs": (
                path / "checkpoints/task-002/state.safetensors",
                b"\n",
                b"\r",
            ),
        }
        for told, (file, old, new) in changes.items():
            good = file.read_bytes()
            if told.startswith("checkpoints") or "safetensors" in told:
                file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
            else:
                assert old in good
                file.write_bytes(good.replace(old, new))
            (problem,) = subjects.differences(path, reference.path)
            assert told in problem
            file.write_bytes(good)
        (path / "left.tmp").touch()
        (problem,) = subjects.differences(path, reference.path)
        assert "left.tmp" in problem
        (path / "left.tmp").unlink()
        assert [*subjects.differences(path, reference.path)] == []


@pytest.mark.slow
def test_the_count_at_a_small_scale(tmp_path):
    """With the learners too, which have to be forked from a process of one thread."""
    script, out = ROOT / "scripts" / "reliability.py", tmp_path / "faults.json"
    subprocess.run(
        [sys.executable, script, "--scale", "0.02", "--json", out], check=True, cwd=tmp_path
    )
    counts = json.loads(out.read_text())
    assert counts["failures"] == []
    assert all(total["tried"] > 0 for total in counts["total"].values())
