"""Tables of text and CSV hold the numbers of the comparison."""

import csv
import io

import pytest
from made_runs import TASKS, make_results, write_run, write_study

from lifelong_rl.analysis.comparison import compare
from lifelong_rl.analysis.runs import find_runs
from lifelong_rl.analysis.tables import (
    CSV_HEADER,
    describe_section,
    format_bytes,
    format_csv,
    format_interval,
    format_number,
    make_tables,
    name_section,
)


@pytest.fixture
def comparison(tmp_path):
    write_study(tmp_path, {"finetune": 0.5, "ewc": 0.2, "replay": 0.1}, memory_bytes=2_500_000)
    runs, left_out = find_runs([tmp_path])
    return compare(runs, left_out, reps=100)


def test_numbers():
    assert [format_number(x) for x in (0.456, -0.004, -0.005001, 1.0)] == [
        "0.46",
        "0.00",
        "-0.01",
        "1.00",
    ]
    assert format_interval(None) == "-"
    assert format_interval({"value": 0.5, "low": None, "high": None}) == "0.50"
    assert format_interval({"value": 0.5, "low": -0.004, "high": 0.75}) == "0.50 [0.00, 0.75]"
    assert (format_bytes(0), format_bytes(7_690_000)) == ("-", "7.7 MB")


def test_tables_have_a_row_for_each_group_and_gap(comparison):
    (section,) = comparison["sections"]
    performance, cost, gaps, ranks = make_tables(section)
    expected = [(m, a) for m in ("finetune", "ewc", "replay") for a in ("bc", "sac")]
    assert [row[:2] for row in performance.rows] == [row[:2] for row in cost.rows] == expected
    assert [row[:2] for row in gaps.rows] == [
        (method, "bc → sac") for method in ("finetune", "ewc", "replay")
    ]
    assert [row[0] for row in ranks.rows] == ["average performance", "forgetting", "retention"]
    for table in (performance, cost, gaps, ranks):
        assert {len(row) for row in table.rows} == {len(table.header)}
    group = section["groups"][1]
    row = dict(zip(performance.header, performance.rows[1], strict=True))
    assert row["runs"] == "3"
    assert row["forgetting"] == format_interval(group["scores"]["forgetting"]["iqm"])
    assert row["retention"] == format_interval(group["scores"]["retention"]["iqm"])
    row = dict(zip(cost.header, cost.rows[1], strict=True))
    assert row["update time"] == "× " + format_interval(group["scores"]["update_ratio"]["iqm"])
    assert (row["memory"], row["more parameters"], row["s/task"]) == ("2.5 MB", "0", "11")


def test_little_that_was_learned_is_marked(tmp_path):
    little = [[0.0] * 3, [0.4, 0.0, 0.0], [0.4, 0.4, 0.0], [0.4, 0.0, 0.4]]
    write_run(tmp_path / "run", make_results(little))
    (section,) = compare(find_runs([tmp_path])[0])["sections"]
    assert make_tables(section)[0].rows[0][3] == "0.40!"
    assert len(make_tables(section)) == 2  # no gaps, no ranks


def test_a_section_tells_what_was_learned_and_how(tmp_path):
    matrix = [[0.0] * 3, [1.0] * 3, [1.0] * 3, [1.0] * 3]
    write_run(tmp_path / "a", make_results(matrix, agent="bc", tasks=TASKS[::-1]), order=5)
    write_run(tmp_path / "b", make_results(matrix, agent="zoo", tasks=TASKS[::-1]), order=5)
    (section,) = compare(find_runs([tmp_path])[0])["sections"]
    assert name_section(section) == "arm3 in order 5"
    assert describe_section(section) == [
        "tasks: button-press, drawer-open, reach",
        "budget: 1000 steps a task in 16 environments, 50 evaluation episodes; MuJoCo 3.17.0",
        "supervised: bc (fixed data, fixed targets)",
        "zoo",
    ]


def test_csv_has_every_score(comparison):
    rows = list(csv.DictReader(io.StringIO(format_csv(comparison))))
    assert tuple(rows[0]) == CSV_HEADER
    (section,) = comparison["sections"]
    found = {(row["method"], row["regime"], row["score"]): row for row in rows}
    assert len(found) == len(rows)
    for group in section["groups"]:
        for name, estimate in group["scores"].items():
            row = found[group["method_label"], group["agent_label"], name]
            assert float(row["iqm"]) == estimate["iqm"]["value"]
            assert float(row["iqm_high"]) == estimate["iqm"]["high"]
            assert float(row["mean_low"]) == estimate["mean"]["low"]
    assert float(found["ewc", "sac", "memory_bytes"]["mean"]) == 2_500_000
    gap = section["gaps"][0]["scores"]["retention"]["iqm"]
    assert float(found["finetune", "sac - bc", "retention"]["iqm"]) == gap["value"]
