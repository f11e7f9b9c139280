"""Lets quick resumes be quick, and tests find what they try faults with."""

import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import toy_plugin

from lifelong_rl.runs.within_task import CheckpointClock

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "vision")]


@pytest.fixture(autouse=True)
def no_waiting(request, monkeypatch):
    """Resume within the second of the start, unless a test reads the TensorBoard events."""
    if "reads_events" not in request.fixturenames:
        log = "lifelong_rl.storage.metrics_log"
        monkeypatch.setattr(f"{log}.wait_for_next_name", lambda events: None)


@pytest.fixture(scope="session")
def checkpoints_at():
    """A context in which checkpoints within tasks are made at these places only, by no clock."""

    @contextmanager
    def context(*places, then=lambda task_id, step: None):
        now = []

        def on_step(task_id, step):
            now[:] = [(task_id, step)]
            then(task_id, step)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(toy_plugin, "on_step", on_step)
            is_due = property(lambda clock: now[-1:] and now[-1] in places)
            patch.setattr(CheckpointClock, "is_due", is_due)
            yield

    return context


@pytest.fixture
def reads_events():
    """Keep the order of event files."""
