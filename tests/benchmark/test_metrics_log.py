"""`metrics.jsonl` and TensorBoard say the same, also after a run was cut off."""

import json
import os

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toy_runs import run_toy

from lifelong_rl.benchmark import loop, metrics_log
from lifelong_rl.benchmark.metrics_log import MetricsLog
from lifelong_rl.errors import UserError


def opened(folder, keep=0, keep_step=-1):
    return MetricsLog(folder / "metrics.jsonl", folder / "tb", keep=keep, keep_step=keep_step)


def test_what_comes_after_the_checkpoint_is_forgotten(tmp_path):
    log = opened(tmp_path)
    log.write("train", 10, "left", {"loss": 1.0})
    size = log.size
    log.write("train", 20, "left", {"loss": 2.0, "other": 3.0})
    log.close()
    log = opened(tmp_path, keep=size, keep_step=10)
    log.write("train", 30, "left", {"loss": 4.0})
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["values"]) for line in lines] == [
        (10, {"loss": 1.0}),
        (30, {"loss": 4.0}),
    ]
    events = EventAccumulator(str(tmp_path / "tb")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(10, 1.0), (30, 4.0)]


def test_what_is_not_finite_is_null(tmp_path):
    log = opened(tmp_path)
    log.write("train", 1, None, {"loss": float("inf")})
    log.close()
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {
        "type": "train",
        "step": 1,
        "task": None,
        "values": {"loss": None},
    }


def test_a_file_that_is_too_short_is_refused_and_left_alone(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match="has 3 bytes, but the checkpoint was made when it had 4"):
        opened(tmp_path, keep=4, keep_step=0)
    assert not (tmp_path / "tb").exists()


def test_sync_brings_both_to_the_disk(tmp_path, monkeypatch):
    log = opened(tmp_path)
    log.write("train", 1, None, {"loss": 1.0})
    synced = []
    monkeypatch.setattr(metrics_log.os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
    log.sync()
    assert synced == [(tmp_path / "metrics.jsonl").stat().st_ino]
    assert EventAccumulator(str(tmp_path / "tb")).Reload().Scalars("loss")[0].value == 1.0
    log.close()


def test_measurements_are_on_disk_before_the_checkpoint_that_counts_them(tmp_path, monkeypatch):
    order = []
    sync, save = MetricsLog.sync, loop.save_checkpoint
    monkeypatch.setattr(MetricsLog, "sync", lambda log: (order.append("sync"), sync(log))[1])
    monkeypatch.setattr(loop, "save_checkpoint", lambda *a: (order.append(a[0].name), save(*a))[1])
    assert run_toy(tmp_path / "run", "--quiet") == 0
    assert order == ["sync", "task-000", "sync", "task-001", "sync", "task-002", "sync", "task-003"]
