"""`lifelong-rl run`, from the command line to what is in the folder."""

import json

import numpy as np
import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toy_runs import PLUGIN, SMALL, TOY, metric_lines, results, run_toy, without_speed

from lifelong_rl.cli import main
from lifelong_rl.cli.run import Run
from lifelong_rl.metrics import matrix as metrics
from lifelong_rl.metrics.matrix import Curve


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "ewc"
    assert run_toy(path, "--method", "ewc", "--method-options", "strength=1e2") == 0
    return path


def test_the_folder_holds_what_it_should(finished):
    assert sorted(p.name for p in finished.iterdir()) == [
        ".lock",
        "checkpoints",
        "config.yaml",
        "manifest.json",
        "metrics.jsonl",
        "results.json",
        "status.json",
        "tb",
    ]
    assert sorted(p.name for p in (finished / "checkpoints").iterdir()) == [
        "task-000",
        "task-001",
        "task-002",
        "task-003",
    ]
    assert json.loads((finished / "status.json").read_text())["status"] == "finished"


def test_results(finished):
    found = results(finished)
    assert found["sequence"] == "toy3"
    assert found["tasks"] == ["left", "right", "up"]
    assert found["task_versions"] == {"left": "v0", "right": "v0", "up": "v0"}
    assert (found["agent"], found["method"], found["seed"]) == ("toy", "ewc", 0)
    assert np.shape(found["performance_matrix"]) == (4, 3)
    assert found["budget"] == {
        "steps_per_task": 240,
        "num_envs": 4,
        "eval_episodes": 6,
        "curve_episodes": 2,
        "eval_points": 4,
    }
    assert (found["eval_starts"], found["protocol"]) == ("validation", None)
    means = [[np.mean([*map(int, told)]) for told in row] for row in found["episodes"]]
    assert means == found["performance_matrix"]
    assert {len(told) for row in found["episodes"] for told in row} == {6}
    assert found["diverged"] == {"training": 0, "evaluation": 0}
    assert found["versions"]["mujoco"] and found["versions"]["torch"]


def test_success_curves_go_from_row_to_row_of_the_matrix(finished):
    found = results(finished)
    matrix = found["performance_matrix"]
    for task_id, task in enumerate(found["tasks"]):
        curve = found["success_curves"][task]
        assert curve["steps"] == [0, 60, 120, 180, 240]
        assert curve["success"][0] == matrix[task_id][task_id]
        assert curve["success"][-1] == matrix[task_id + 1][task_id]
        assert len(curve["return"]) == 5


def test_curves_take_the_first_of_the_episodes_and_change_no_row_of_the_matrix(finished, tmp_path):
    wanted = ["--curve-episodes", "6", "--method", "ewc", "--method-options", "strength=1e2"]
    assert run_toy(tmp_path / "all", *wanted) == 0
    few, many = results(finished), results(tmp_path / "all")
    assert many["budget"]["curve_episodes"] == 6
    assert many["performance_matrix"] == few["performance_matrix"]
    assert many["return_matrix"] == few["return_matrix"]
    of_few, of_many = (
        [curve["return"] for curve in found["success_curves"].values()] for found in (few, many)
    )
    for some, all_of_them in zip(of_few, of_many, strict=True):
        assert some[0] == all_of_them[0] and some[-1] == all_of_them[-1]
        assert (np.array(some[1:-1]) != all_of_them[1:-1]).all()


def test_metrics_are_those_of_the_matrix(finished):
    found = results(finished)
    curves = [Curve(c["steps"], c["success"]) for c in found["success_curves"].values()]
    expected = metrics.compute_metrics(found["performance_matrix"], curves)
    assert found["metrics"] == expected


def test_cost_counts_parameters_memory_and_time(finished):
    cost = results(finished)["cost"]
    parameters = 2 * 8 + 8 + 8 * 2 + 2
    assert cost["parameters"] == cost["trainable_parameters"] == parameters
    assert cost["parameters_after_each_task"] == [parameters] * 4
    assert cost["memory_bytes_after_each_task"][0] == 0
    assert cost["memory_bytes"] >= 2 * 4 * parameters  # importance and anchor of each parameter
    assert [entry["task"] for entry in cost["seconds_per_task"]] == ["left", "right", "up"]
    parts = [entry["learn"] + entry["evaluate"] for entry in cost["seconds_per_task"]]
    assert 0 < sum(parts) <= cost["seconds"] + 0.01
    assert all(entry["learn_cpu"] > 0 for entry in cost["seconds_per_task"])


def test_each_line_of_metrics_is_in_tensorboard(finished):
    events = EventAccumulator(str(finished / "tb")).Reload()
    found = {
        (tag, event.step): event.value
        for tag in events.Tags()["scalars"]
        for event in events.Scalars(tag)
    }
    expected = {}
    for line in metric_lines(finished):
        for name, value in line["values"].items():
            assert (name, line["step"]) not in expected
            expected[name, line["step"]] = pytest.approx(value, rel=1e-6)
    assert found == expected
    assert {"success/left", "return/up", "average_performance", "train/policy_loss"} <= {
        name for name, _ in found
    }


def test_the_config_of_a_run_makes_the_same_run(finished, tmp_path):
    config = yaml.safe_load((finished / "config.yaml").read_text())
    assert config["agent_options"] == {"hidden": 8, "lr": 0.02}
    assert config["method_options"]["strength"] == 100.0
    again = tmp_path / "again"
    file = str(finished / "config.yaml")
    assert main(["run", "--config", file, *PLUGIN, "--run-dir", str(again)]) == 0
    a, b = results(finished), results(again)
    for key in ("performance_matrix", "return_matrix", "success_curves"):
        assert a[key] == b[key]
    assert without_speed(metric_lines(finished)) == without_speed(metric_lines(again))


def test_another_seed_makes_another_run(finished, tmp_path):
    run_toy(tmp_path / "b", "--method", "ewc", "--method-options", "strength=1e2", "--seed", "1")
    assert results(tmp_path / "b")["return_matrix"] != results(finished)["return_matrix"]


def test_other_starts_change_what_is_measured_and_not_what_is_learned(finished, tmp_path):
    arguments = ["--method", "ewc", "--method-options", "strength=1e2", "--eval-starts", "test"]
    run_toy(tmp_path / "b", *arguments)
    found = results(tmp_path / "b")
    assert found["eval_starts"] == "test"
    assert found["return_matrix"] != results(finished)["return_matrix"]
    learned = [
        [
            line["values"]["train/policy_loss"]
            for line in metric_lines(path)
            if "train" in line["type"]
        ]
        for path in (tmp_path / "b", finished)
    ]
    assert learned[0] == learned[1]


def test_how_often_is_evaluated_does_not_change_what_is_learned(finished, tmp_path):
    arguments = ["--method", "ewc", "--method-options", "strength=1e2", "--eval-points", "9"]
    run_toy(tmp_path / "b", *arguments)
    assert results(tmp_path / "b")["return_matrix"] == results(finished)["return_matrix"]


def test_the_flags_of_the_command_line_go_before_the_file(tmp_path):
    file = tmp_path / "f.yaml"
    for filed in (True, False):
        file.write_text(f"diagnostics: {str(filed).lower()}\n")
        for words, diagnostics in (
            ([], filed),
            (["--diagnostics"], True),
            (["--no-diagnostics"], False),
        ):
            assert Run.parse("run", ["--config", str(file), *words]).diagnostics == diagnostics


def test_the_command_line_goes_before_the_file_and_the_file_before_the_defaults(tmp_path):
    file = tmp_path / "f.yaml"
    file.write_text(
        "sequence: toy3\nagent: toy\nplugin: toy_plugin\nseed: 5\nsteps-per-task: 20\n"
        "num-envs: 4\neval-episodes: 3\neval-points: 1\nagent-options: {hidden: 3, lr: 1e-1}\n"
    )
    path = tmp_path / "run"
    arguments = ["--config", str(file), "--run-dir", str(path), "--quiet"]
    assert main(["run", *arguments, *PLUGIN, "--seed", "6", "--agent-options", "lr=0.5"]) == 0
    config = yaml.safe_load((path / "config.yaml").read_text())
    assert config["plugin"] == ["toy_plugin"]  # and not twice
    assert (config["seed"], config["steps_per_task"], config["num_threads"]) == (6, 20, 2)
    assert config["agent_options"] == {"hidden": 3, "lr": 0.5}


def test_the_default_folder_says_what_it_holds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["run", *TOY, *SMALL, "--seed", "7", "--quiet"])
    assert (tmp_path / "runs" / "toy3-toy-finetune-seed7" / "results.json").exists()


def test_output_is_lines_where_there_is_no_terminal(tmp_path, capsys):
    run_toy(tmp_path / "run")
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("[2/3 right] step ") for line in lines) == 3
    assert any(line.startswith("after right: left ") for line in lines)
    matrix = results(tmp_path / "run")["performance_matrix"]
    row = next(line for line in lines if line.startswith("2 right"))
    assert row.split()[2:] == [f"{matrix[i][1]:.2f}" for i in range(4)]
    assert any("lifelong-rl eval" in line for line in lines)
    assert len(lines) < 40


def test_quiet_prints_one_line(tmp_path, capsys):
    run_toy(tmp_path / "run", "--quiet")
    (line,) = capsys.readouterr().out.splitlines()
    average = results(tmp_path / "run")["metrics"]["average_performance"]
    assert f"average_performance {average:.3f}" in line


def test_a_task_that_comes_twice_is_counted_apart(tmp_path, monkeypatch):
    import toy_plugin

    monkeypatch.setattr(toy_plugin.ToySequence, "tasks", ("left", "right", "left"))
    run_toy(tmp_path / "run", "--quiet")
    found = results(tmp_path / "run")
    assert found["tasks"] == ["left", "right", "left-2"]
    assert set(found["success_curves"]) == {"left", "right", "left-2"}


def test_diverged_simulations_are_counted_and_told(tmp_path, monkeypatch, capsys):
    import toy_plugin

    step = toy_plugin.ToyEnv.step

    def diverging(self, actions):
        observations, rewards, dones, infos = step(self, actions)
        infos[0]["diverged"] = bool(dones[0]) and self.task_id == 1
        self.num_diverged += infos[0]["diverged"]
        return observations, rewards, dones, infos

    monkeypatch.setattr(toy_plugin.ToyEnv, "step", diverging)
    run_toy(tmp_path / "run")
    training_episodes = 240 // 4 // toy_plugin.HORIZON
    points = 3  # task 1 is evaluated that often while it is learned, and in each of four rows
    assert results(tmp_path / "run")["diverged"] == {
        "training": training_episodes,
        "evaluation": points + 4,
    }
    assert (
        f"{training_episodes + points + 4} simulations became unstable" in capsys.readouterr().out
    )


def test_more_environments_than_steps_give_one_point_at_the_end(tmp_path):
    run_toy(tmp_path / "run", "--quiet", "--steps-per-task", "3")
    curve = results(tmp_path / "run")["success_curves"]["left"]
    assert curve["steps"] == [0, 3]


def test_frozen_parameters_are_not_trainable(tmp_path, monkeypatch):
    import toy_plugin

    end_task = toy_plugin.ToyAgent.end_task

    def freeze(self):
        end_task(self)
        self.policy.module[0].weight.requires_grad_(False)

    monkeypatch.setattr(toy_plugin.ToyAgent, "end_task", freeze)
    run_toy(tmp_path / "run", "--quiet")
    cost = results(tmp_path / "run")["cost"]
    assert cost["parameters"] - cost["trainable_parameters"] == 2 * 8


def test_options_of_another_method_than_the_files_are_left_out(finished, tmp_path):
    path = tmp_path / "run"
    arguments = ["--config", str(finished / "config.yaml"), "--run-dir", str(path), "--quiet"]
    assert main(["run", *arguments, *PLUGIN, "--method", "replay"]) == 0
    assert "strength" not in yaml.safe_load((path / "config.yaml").read_text())["method_options"]
