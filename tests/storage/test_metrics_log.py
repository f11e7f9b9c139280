"""`metrics.jsonl` and TensorBoard say the same, also after a run was cut off."""

import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from tensorboard import context
from tensorboard.backend.event_processing import data_provider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2, backend_context, plugin_data_pb2
from toy_runs import PLUGIN, SMALL, TOY, metric_lines, results, run_toy, without_speed

from lifelong_rl.cli import main
from lifelong_rl.errors import UserError
from lifelong_rl.runs import loop
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.evaluation import Evaluator
from lifelong_rl.runs.reporters import Reporter
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.runs.setup import prepare
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
    assert facts["method_options.strength"].number_value == 10_000.0
    assert facts["method_options.decay"].string_value == "null"
    assert facts["steps_per_task"].number_value == 240
    assert "_hparams_/experiment" not in events.Tags()["tensors"]  # it would hide other runs' facts


def test_tensorboard_has_a_column_of_numbers_for_each_option_of_any_run(tmp_path):
    """Its plug-in, asked as its page asks it, about runs of two methods."""
    run_toy(tmp_path / "a", "--quiet", "--method", "ewc", "--method-options", "strength=7")
    run_toy(tmp_path / "b", "--quiet", "--method", "clone", "--seed", "1")
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(tmp_path))
    backend = backend_context.Context(TBContext(data_provider=provider))
    known = backend.hparams_metadata(context.RequestContext(), "")
    experiment = backend.experiment_from_metadata(
        context.RequestContext(),
        "",
        True,
        known,
        provider.list_hyperparameters(context.RequestContext(), experiment_ids=[""], limit=None),
    )
    columns = {info.name: info for info in experiment.hparam_infos}
    numbers = {name for name, info in columns.items() if info.type == api_pb2.DATA_TYPE_FLOAT64}
    assert {
        "seed",
        "steps_per_task",
        "method_options.strength",
        "method_options.per_task",
    } <= numbers
    assert columns["method"].type == api_pb2.DATA_TYPE_STRING
    assert "so_far/forgetting" in {info.name.tag for info in experiment.metric_infos}


class Follower(Reporter):
    """Notes what it is told, and fails when it is told a step."""

    def __init__(self, fails=False):
        self.fails, self.lines, self.pictures, self.warnings = fails, [], [], []

    def logged(self, kind, step, task, values):
        if self.fails:
            raise OSError("no space")
        self.lines.append((kind, step, task, values))

    def pictured(self, step, pictures):
        self.pictures.append((step, sorted(pictures)))

    def warn(self, text):
        self.warnings.append(text)


def follow(path, monkeypatch, **trackers):
    """A run that a reporter follows, and these trackers beside it."""
    monkeypatch.setattr(loop, "make_trackers", lambda names: trackers)
    config = RunConfig(
        sequence="toy3", agent="toy", plugin=("toy_plugin",), steps_per_task=240, num_envs=4,
        eval_episodes=6, eval_points=4,
    )  # fmt: skip
    folder = RunFolder.create(path, config)
    follower = Follower()
    found = loop.SequenceLoop(prepare(config, ["toy_plugin"])).run(folder, follower)
    folder.unlock()
    return found, follower


def test_a_reporter_is_told_what_the_file_holds(tmp_path, monkeypatch):
    _, follower = follow(tmp_path / "run", monkeypatch)
    told = [
        {"type": kind, "step": step, "task": task, "values": values}
        for kind, step, task, values in follower.lines
    ]
    assert told == metric_lines(tmp_path / "run")
    pictures = ["performance_matrix", "success_over_sequence"]
    assert follower.pictures == [(step, pictures) for step in (0, 240, 480, 720)]


def test_a_tracker_that_fails_is_told_no_more_and_the_run_goes_on(tmp_path, monkeypatch):
    broken, fine = Follower(fails=True), Follower()
    found, follower = follow(tmp_path / "run", monkeypatch, broken=broken, fine=fine)
    assert found["performance_matrix"]
    assert follower.warnings == ["broken does not follow this run any more (OSError: no space)"]
    assert broken.pictures == [] and len(fine.lines) == len(follower.lines)


def test_runs_without_tensorboard_have_the_same_numbers(tmp_path):
    assert run_toy(tmp_path / "with", "--quiet") == 0
    assert run_toy(tmp_path / "without", "--quiet", "--track") == 0
    assert not (tmp_path / "without" / "tb").exists()
    lines = [without_speed(metric_lines(tmp_path / name)) for name in ("with", "without")]
    assert lines[0] == lines[1]
    stopped = results(tmp_path / "without")
    assert stopped["performance_matrix"] == results(tmp_path / "with")["performance_matrix"]


def test_a_tracker_that_is_not_known_or_not_installed_is_answered(tmp_path, monkeypatch, capsys):
    assert run_toy(tmp_path / "run", "--track", "wandbb") == 2
    assert "wandbb" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert run_toy(tmp_path / "run", "--track", "wandb") == 2
    assert "--track wandb needs Weights & Biases: pip install 'lifelong-rl[wandb]'" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "run").exists()


class FakeWandb(types.ModuleType):
    """Notes what is asked of Weights & Biases."""

    def __init__(self):
        super().__init__("wandb")
        self.inits, self.rows, self.finished = [], [], 0
        self.Settings = dict
        self.Image = lambda picture: picture.shape

    def init(self, **arguments):
        self.inits.append(arguments)
        return self

    def define_metric(self, name, step_metric):
        assert (name, step_metric) == ("*", "step")

    def log(self, row):
        self.rows.append(row)

    def finish(self):
        self.finished += 1


def test_weights_and_biases_is_told_what_the_file_holds(tmp_path, monkeypatch):
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    path = tmp_path / "run"
    assert run_toy(path, "--quiet", "--track", "wandb", "--method", "ewc") == 0
    assert not (path / "tb").exists()
    (given,) = fake.inits
    assert (given["dir"], given["mode"], given["name"]) == (str(path), "offline", "run")
    assert given["config"]["method_options.strength"] == 10_000.0
    rows = [row for row in fake.rows if "performance_matrix" not in row]
    assert rows == [{**line["values"], "step": line["step"]} for line in metric_lines(path)]
    assert len(fake.rows) - len(rows) == 4 and fake.finished == 1
    assert main(["resume", *PLUGIN, str(path), "--from", "task-002", "--quiet"]) == 0
    assert fake.inits[1]["id"] == given["id"] and fake.inits[1]["resume"] == "allow"
    moved = path.rename(tmp_path / "moved")  # as when a cell works on a node's own disk
    assert main(["resume", *PLUGIN, str(moved), "--from", "task-002", "--quiet"]) == 0
    assert fake.inits[2]["id"] == given["id"]


@pytest.mark.slow
def test_weights_and_biases_itself_writes_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    code = "import sys; from lifelong_rl.cli import main; sys.exit(main(sys.argv[1:]))"
    path = tmp_path / "run"
    toy = str(Path(__file__).parents[1] / "toy")
    done = subprocess.run(
        [sys.executable, "-c", code, "run", *TOY, *SMALL, "--track", "wandb", "--run-dir", path],
        env={**os.environ, "PYTHONPATH": f"{Path(__file__).parents[2]}:{toy}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "does not follow" not in done.stderr
    (written,) = (path / "wandb").glob("offline-run-*/*.wandb")
    assert written.stat().st_size > 1000
    assert run_toy(tmp_path / "plain", "--quiet") == 0
    expected = results(tmp_path / "plain")["performance_matrix"]
    assert results(path)["performance_matrix"] == expected
