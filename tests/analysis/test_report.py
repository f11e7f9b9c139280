"""A report holds the comparison, and beside it the curves, profiles, commands and sentences."""

import csv
import io
import shlex
import time
from pathlib import Path

import numpy as np
import pytest
from made_runs import TASKS, make_results, write_run, write_study

from lifelong_rl.analysis.comparison import compare
from lifelong_rl.analysis.report import THRESHOLDS, make_report
from lifelong_rl.analysis.report_figures import draw_report
from lifelong_rl.analysis.report_page import make_report_page
from lifelong_rl.analysis.reproduction import command, describe_origin
from lifelong_rl.analysis.runs import find_runs
from lifelong_rl.analysis.tables import Table, format_interval, make_report_tables, name_section
from lifelong_rl.cli.run import Run
from lifelong_rl.runs.config import RunConfig

LOST = {"finetune": 0.5, "ewc": 0.2, "replay": 0.05}
MATRIX = [[0.0, 0.1, 0.0], [0.9, 0.0, 0.1], [0.5, 1.0, 0.2], [0.3, 0.8, 0.7]]
CURVES = [[0.0, 0.4, 0.9], [0.0, 0.5, 1.0], [0.2, 0.2, 0.7]]


def report_on(*folders, **options):
    runs, left_out = find_runs(folders)
    return make_report(runs, left_out, reps=200, **options)


def test_it_holds_the_comparison(tmp_path):
    write_study(tmp_path, LOST)
    runs, left_out = find_runs([tmp_path])
    report, comparison = make_report(runs, left_out, reps=200), compare(runs, left_out, reps=200)
    for section, expected in zip(report["sections"], comparison["sections"], strict=True):
        assert {key: section[key] for key in expected if key != "groups"} == {
            key: expected[key] for key in expected if key != "groups"
        }
        for group, own in zip(section["groups"], expected["groups"], strict=True):
            assert {key: group[key] for key in own} == own


def test_one_run_in_numbers(tmp_path):
    write_run(tmp_path / "run", make_results(MATRIX, curves=CURVES))
    (section,) = report_on(tmp_path)["sections"]
    (group,) = section["groups"]
    assert section["statistic"] == "mean"
    assert group["matrix"] == MATRIX
    assert group["curves"]["reach"] == {
        "steps": [0, 500, 1000, 2000, 3000],
        "value": [0.0, 0.4, 0.9, 0.5, 0.3],
        "low": None,
        "high": None,
    }
    assert group["curves"]["drawer-open"]["steps"] == [0, 1000, 1500, 2000, 3000]
    assert group["curves"]["drawer-open"]["value"] == [0.1, 0.0, 0.5, 1.0, 0.8]
    assert group["curves"]["all tasks"]["value"] == pytest.approx([0.1 / 3, 1 / 3, 1.7 / 3, 0.6])
    assert section["improvement"] == {}
    assert section["findings"] == [
        "sac with finetune learned the 3 tasks of arm3 one after another (1 seed): success is 0.87 "
        "right after learning a task, and 0.60 on all tasks at the end.",
        "Forgetting is 0.27, most of it of reach: from 0.90 to 0.30.",
        "Forward transfer is 0.05: success on a task just before it is learned, less that before "
        "any training.",
    ]


def test_curves_and_profiles_have_intervals_around_them(tmp_path):
    write_study(tmp_path, LOST, agents=("sac",), seeds=range(5))
    (section,) = report_on(tmp_path)["sections"]
    for group in section["groups"]:
        last = np.array([run["matrix"][-1] for run in group["runs_by_seed"]])
        assert group["curves"]["all tasks"]["value"][-1] == pytest.approx(last.mean())
        profile = group["profiles"]["average_performance"]
        shares = [(last > threshold).mean() for threshold in THRESHOLDS]
        assert profile["value"] == pytest.approx(shares)
        for curve in (*group["curves"].values(), *group["profiles"].values()):
            assert np.all(np.array(curve["low"]) <= np.array(curve["value"]) + 1e-12)
            assert np.all(np.array(curve["value"]) <= np.array(curve["high"]) + 1e-12)


def test_probability_of_improvement_counts_pairs(tmp_path):
    for method, last in {"finetune": [0.1, 0.2, 0.3], "ewc": [0.2, 0.3, 0.4]}.items():
        for seed, value in enumerate(last):
            matrix = [[0.0, 0.0], [1.0, 0.0], [value, 1.0]]
            results = make_results(matrix, tasks=TASKS[:2], method=method, seed=seed)
            write_run(tmp_path / f"{method}-{seed}", results)
    write_run(
        tmp_path / "alone", make_results([[0.0, 0.0]] * 3, tasks=TASKS[:2], method="single-task")
    )
    (section,) = report_on(tmp_path)["sections"]
    found = section["improvement"]["sac"]["average_performance"]
    assert found["methods"] == ["finetune", "ewc"]  # references are not ranked
    # on the first task ewc wins 6 pairs of 9 and ties 2; the second is always a tie
    expected = ((6 + 2 / 2) / 9 + 0.5) / 2
    assert found["value"][1][0] == pytest.approx(expected)
    assert found["value"][0][1] == pytest.approx(1 - expected)
    assert found["value"][0][0] is None
    assert found["low"][1][0] <= expected <= found["high"][1][0]
    assert found["low"][0][1] == pytest.approx(1 - found["high"][1][0])
    # what is forgotten less counts as better
    forgetting = section["improvement"]["sac"]["forgetting"]
    assert forgetting["value"] == found["value"]


def test_methods_beyond_what_a_table_of_pairs_can_show_are_not_paired(tmp_path, monkeypatch):
    monkeypatch.setattr("lifelong_rl.analysis.report.MOST_PAIRED", 2)
    write_study(tmp_path / "few", {"ewc": 0.2, "si": 0.3, "joint": 0.0}, agents=("bc",))
    write_study(tmp_path / "many", {"ewc": 0.2, "si": 0.3, "l2": 0.4}, agents=("sac",))
    (section,) = report_on(tmp_path)["sections"]
    assert list(section["improvement"]) == ["bc"]
    assert section["notes"][-1] == (
        "3 methods with sac are too many to be set against one another in pairs (at most 2)"
    )


def test_findings_tell_what_differs_and_what_does_not(tmp_path):
    for agent, lost in (("bc", 0.1), ("sac", 0.8)):
        methods = {"finetune": lost, "replay": 0.05, "clone": 0.05}
        write_study(tmp_path / agent, methods, agents=(agent,), seeds=range(5), draw=len(agent))
    (section,) = report_on(tmp_path)["sections"]
    first, *sentences = section["findings"]
    assert first == "30 runs on 3 tasks: 3 methods with bc, sac, 5 seeds each."
    groups = {(g["agent_label"], g["method"]): g["scores"] for g in section["groups"]}
    best = max(
        ("replay", "clone"), key=lambda m: groups["sac", m]["average_performance"]["iqm"]["value"]
    )
    other = {"replay": "clone", "clone": "replay"}[best]
    high, low, most = (
        format_interval(groups["sac", method][score]["iqm"])
        for method, score in (
            (best, "average_performance"),
            ("finetune", "average_performance"),
            ("finetune", "forgetting"),
        )
    )
    assert (
        f"reinforcement: sac: success at the end is highest with {best}, {high}, and lowest with "
        f"finetune, {low}; most is forgotten with finetune, {most}."
    ) in sentences
    assert f"reinforcement: sac: these runs do not tell {best} apart from {other}." in sentences
    gaps = {g["method"]: format_interval(g["scores"]["forgetting"]["iqm"]) for g in section["gaps"]}
    assert f"sac forgets more than bc with finetune ({gaps['finetune']})." in sentences
    (same,) = (s for s in sentences if "neither clearly more nor clearly less" in s)
    assert f"clone ({gaps['clone']})" in same and f"replay ({gaps['replay']})" in same


def test_each_of_the_kinds_that_must_not_be_mixed_has_a_section(tmp_path):
    for seed in range(3):
        write_run(tmp_path / f"new-{seed}", make_results(MATRIX, seed=seed))
    write_run(tmp_path / "a-old", make_results(MATRIX, seed=3, mujoco="3.16.0"))
    write_run(tmp_path / "b-short", make_results(MATRIX, seed=4, steps_per_task=7))
    write_run(tmp_path / "other", make_results(MATRIX, seed=4, sequence="mine", steps_per_task=7))
    report = report_on(tmp_path)
    assert report["left_out"] == []
    found = [
        (name_section(section), [Path(path).name for path in section["groups"][0]["runs"]])
        for section in report["sections"]
    ]
    assert found == [
        ("arm3, MuJoCo 3.17.0, steps_per_task 1000", ["new-0", "new-1", "new-2"]),
        ("arm3, MuJoCo 3.16.0, steps_per_task 1000", ["a-old"]),
        ("arm3, MuJoCo 3.17.0, steps_per_task 7", ["b-short"]),
        ("mine", ["other"]),
    ]
    assert len(report["settings"]["notes"]) == 2
    assert [section["starts"][1] for section in report["sections"]] == [1000, 1000, 7, 7]
    report = report_on(tmp_path, mix=("mujoco",))
    assert [len(section["groups"][0]["runs"]) for section in report["sections"]] == [4, 1, 1]


@pytest.mark.parametrize(
    "config",
    [
        RunConfig(),
        RunConfig(
            sequence="reach,push",
            order=3,
            agent="bc",
            method="replay+ewc",
            seed=7,
            steps_per_task=100,
            num_envs=2,
            diagnostics=False,
            plugin=("one", "two"),
            agent_options={"hidden": [64, 64], "learning_rate": 1e-5, "ent_coef": "auto_0.1"},
            method_options={"ewc.strength": 1e20, "ewc.decay": None, "scope": "yes", "on": True},
        ),
        RunConfig(agent_options={"names": ["é", "\U0001f600"], "name": "\U0001f600: é"}),
    ],
)
def test_the_command_means_the_same_run(config):
    words = shlex.split(command(config, [config.seed]))
    assert words[:2] == ["lifelong-rl", "run"]
    again = Run.parse("run", words[2:])
    assert {name: getattr(again, name) for name in config.as_dict()} == vars(config)
    loop = command(config, [1, 2])
    assert loop.startswith("for seed in 1 2; do lifelong-rl run ")
    assert loop.endswith(" --seed $seed; done")


def test_the_origin_is_told_once(tmp_path):
    for seed in range(2):
        write_run(tmp_path / f"{seed}", make_results(MATRIX, seed=seed))
    sessions = [{"git_commit": "abc", "started": "2025-01-02T03:04:05+00:00", "cpu": "fast"}]
    (tmp_path / "0" / "manifest.json").write_text(str({"sessions": sessions}).replace("'", '"'))
    (tmp_path / "1" / "manifest.json").write_text("not json")
    assert describe_origin(find_runs([tmp_path])[0]) == {
        "mujoco": ["3.17.0"],
        "commit": ["abc"],
        "processor": ["fast"],
        "started": ["2025-01-02"],
    }


def test_tables_as_csv_and_latex(tmp_path):
    table = Table("t", "100 %", ("method", "gap", "P(more)"), (("a_b", "bc → sac", "1,0"),))
    assert list(csv.reader(io.StringIO(table.as_csv()))) == [[*table.header], [*table.rows[0]]]
    assert table.as_latex().splitlines() == [
        r"% 100 %",
        r"\begin{tabular}{llr}",
        r"  \toprule",
        r"  method & gap & P(more) \\",
        r"  \midrule",
        r"  a\_b & bc $\to$ sac & 1,0 \\",
        r"  \bottomrule",
        r"\end{tabular}",
    ]
    write_study(tmp_path, LOST)
    (section,) = report_on(tmp_path)["sections"]
    tables = {table.name: table for table in make_report_tables(section)}
    assert len(tables["runs"].rows) == 18
    matrix = section["groups"][0]["matrix"]
    assert tables["matrix-finetune with bc"].rows[1] == (
        "2",
        "drawer-open",
        *(f"{row[1]:.2f}" for row in matrix),
    )


def test_figures_for_papers(tmp_path):
    write_study(tmp_path, {"finetune": 0.5, "ewc": 0.1})
    (section,) = report_on(tmp_path)["sections"]
    drawings = {drawing.name: drawing for drawing in draw_report(section)}
    assert {
        "arm3-forgetting",
        "arm3-forward-transfer",
        "arm3-matrix-ewc-with-sac",
        "arm3-success-ewc-with-sac",
        "arm3-success-on-all-tasks",
        "arm3-profile-retention",
        "arm3-improvement-sac-forgetting",
    } <= set(drawings)
    image = drawings["arm3-matrix-ewc-with-sac"].figure.axes[0].images[0]
    group = next(g for g in section["groups"] if (g["method"], g["agent"]) == ("ewc", "sac"))
    np.testing.assert_array_equal(image.get_array(), np.transpose(group["matrix"]))
    lines = drawings["arm3-success-ewc-with-sac"].figure.axes[0].lines
    (reach,) = (line for line in lines if line.get_label() == "1 reach")
    assert reach.get_ydata().tolist() == list(group["curves"]["reach"]["value"])
    for name in ("arm3-profile-retention", "arm3-improvement-sac-forgetting"):
        assert drawings[name].render("svg").startswith(b"<?xml")


@pytest.mark.slow
def test_a_hundred_runs_take_half_a_minute_and_ten_megabytes(tmp_path):
    tasks = [f"task-{j}" for j in range(10)]
    methods = {f"method-{i}": 0.05 * i for i in range(10)}
    write_study(tmp_path, methods, agents=("sac",), seeds=range(10), tasks=tasks, sequence="arm10")
    started = time.perf_counter()
    runs, left_out = find_runs([tmp_path])
    page = make_report_page(make_report(runs, left_out))
    assert time.perf_counter() - started <= 30
    assert len(runs) == 100 and len(page.encode()) < 10e6
