"""`metrics.jsonl` and TensorBoard say the same, also after a run was cut off."""

import json
import os
import re

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2
from toy_runs import PLUGIN, metric_lines, results, run_toy

from lifelong_rl.cli import main
from lifelong_rl.errors import UserError
from lifelong_rl.runs import loop
from lifelong_rl.runs.evaluation import Evaluator
from lifelong_rl.storage import metrics_log
from lifelong_rl.storage.metrics_log import MetricsLog


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


def events_of(path):
    return EventAccumulator(str(path / "tb"), {"scalars": 0, "images": 0, "tensors": 0}).Reload()


def scalars_of(events):
    """By tag and step."""
    return {
        (tag, event.step): event.value
        for tag in events.Tags()["scalars"]
        for event in events.Scalars(tag)
    }


def logged(path):
    """What `metrics.jsonl` holds, in the precision of events."""
    return {
        (name, line["step"]): float(np.float32(value))
        for line in metric_lines(path)
        for name, value in line["values"].items()
    }


def test_events_are_those_of_the_file_also_after_a_run_was_stopped(tmp_path, monkeypatch):
    assert run_toy(tmp_path / "whole", "--quiet") == 0
    evaluate, calls = Evaluator.evaluate, []

    def stop_in_the_third_task(self, act, task_id):
        calls.append(task_id)
        if len(calls) == 3 * 3 + 2 * 3 + 3:
            raise KeyboardInterrupt
        return evaluate(self, act, task_id)

    monkeypatch.setattr(Evaluator, "evaluate", stop_in_the_third_task)
    assert run_toy(tmp_path / "stopped", "--quiet") == 130
    assert metric_lines(tmp_path / "stopped")[-1]["task"] == "up"  # cut off again below
    monkeypatch.undo()
    assert main(["resume", *PLUGIN, str(tmp_path / "stopped"), "--quiet"]) == 0
    assert len(list((tmp_path / "stopped" / "tb").iterdir())) == 2

    found = [events_of(tmp_path / name) for name in ("whole", "stopped")]
    for name, events in zip(("whole", "stopped"), found, strict=True):
        scalars = scalars_of(events)
        assert scalars == pytest.approx(logged(tmp_path / name), nan_ok=True)
        assert len(scalars) == sum(len(events.Scalars(tag)) for tag in events.Tags()["scalars"])
    whole, stopped = found
    assert without_clock(scalars_of(whole)) == without_clock(scalars_of(stopped))
    for tag in ("performance_matrix", "success_over_sequence"):
        one, other = (
            [(image.step, image.encoded_image_string) for image in events.Images(tag)]
            for events in found
        )
        assert one == other and [step for step, _ in one] == [0, 240, 480, 720]
    assert results(tmp_path / "whole")["metrics"] == results(tmp_path / "stopped")["metrics"]


def without_clock(scalars):
    return {key: value for key, value in scalars.items() if key[0] != "train/steps_per_second"}


def test_the_metrics_so_far_end_as_those_of_the_results(tmp_path):
    assert run_toy(tmp_path / "run", "--quiet") == 0
    rows = [
        line["values"]
        for line in metric_lines(tmp_path / "run")
        if "average_performance" in line["values"]
    ]
    assert len(rows) == 4
    assert not any(name.startswith("so_far/") for name in rows[0])
    metrics = results(tmp_path / "run")["metrics"]
    for name in ("average_performance", "forgetting", "backward_transfer", "forward_transfer"):
        assert rows[-1][f"so_far/{name}"] == pytest.approx(metrics[name])
    matrix = results(tmp_path / "run")["performance_matrix"]
    assert rows[2]["so_far/average_performance"] == pytest.approx(sum(matrix[2][:2]) / 2)
    assert rows[2]["so_far/forgetting"] == pytest.approx((matrix[1][0] - matrix[2][0]) / 2)
    cost = results(tmp_path / "run")["cost"]
    assert [row["cost/parameters"] for row in rows] == cost["parameters_after_each_task"]


def test_tensorboard_is_told_the_layout_and_what_the_run_is(tmp_path):
    assert run_toy(tmp_path / "run", "--quiet", "--method", "ewc", "--seed", "4") == 0
    events = events_of(tmp_path / "run")
    (layout,) = events.Tensors("custom_scalars__config__")
    shown = layout_pb2.Layout.FromString(layout.tensor_proto.string_val[0])
    charts = {chart.title: [*chart.multiline.tag] for c in shown.category for chart in c.chart}
    tags = events.Tags()["scalars"]
    for chart in ("success on each task", "forgetting", "transfer", "losses", "parameters"):
        assert any(re.match(pattern, tag) for pattern in charts[chart] for tag in tags), chart

    def content(tag):
        metadata = events.SummaryMetadata(tag).plugin_data.content
        return plugin_data_pb2.HParamsPluginData.FromString(metadata)

    facts = content("_hparams_/session_start_info").session_start_info.hparams
    assert facts["method"].string_value == "ewc" and facts["seed"].number_value == 4
    assert "strength=" in facts["method_options"].string_value
    experiment = content("_hparams_/experiment").experiment
    assert {info.name for info in experiment.hparam_infos} == set(facts)
    assert {info.name.tag for info in experiment.metric_infos} <= set(tags)
