"""The leaderboard: its page is that of the committed rows, and says what rows come to."""

from __future__ import annotations

import importlib.util
import itertools
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests/analysis"))
from made_rows import make_row, write_trials, write_v1_run  # noqa: E402

from lifelong_rl.analysis.leaderboard import correct, describe_power, make_entries, write_board  # noqa: E402
from lifelong_rl.analysis.rank_agreement import read_published, write_agreement  # noqa: E402
from lifelong_rl.analysis.rows import Row, write_row  # noqa: E402
from lifelong_rl.analysis.significance import holm, welch  # noqa: E402
from lifelong_rl.analysis.submission import make_rows, read_trials  # noqa: E402
from lifelong_rl.runs.protocol import read_protocol  # noqa: E402

KEPT = {"finetune": 0.2, "ewc": 0.5, "packnet": 0.95, "single-task": 1.0, "joint": 0.9}


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"scripts/{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[Row]:
    folder = tmp_path_factory.mktemp("runs")
    return [make_row(folder, method, kept=kept) for method, kept in KEPT.items()]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory) -> Row:
    folder = tmp_path_factory.mktemp("tuned")
    for seed in range(100, 105):
        options = {"strength": 32.0}
        path = folder / "runs" / str(seed)
        write_v1_run(path, seed, "ewc", kept=0.8, method_options=options)
    tuning = read_trials(write_trials(folder / "tuning") / "trials.json")
    (row,), problems = make_rows([folder / "runs"], [tuning])
    assert not problems
    return row


def table(page: str, head: str) -> dict[str, list[str]]:
    """The cells of a table by what is in their second column."""
    lines = page.splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith(f"| {head} |"))
    found = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        found[cells[1].strip("`") if head == "rank" else cells[0].strip("`")] = cells
    return found


def test_the_pages_are_those_of_the_committed_rows():
    """`make leaderboard` after a row has changed; a row that does not follow is refused here."""
    made = load("leaderboard").make_page(ROOT / "docs/leaderboard", "v1")
    assert (ROOT / "docs/leaderboard.md").read_bytes() == made.encode()
    published = ROOT / "docs/results/published_tables.json"
    made = load("rank_agreement").make_page(ROOT / "docs/leaderboard", published, "v1")
    assert (ROOT / "docs/rank_agreement.md").read_bytes() == made.encode()


def test_rows_rank_as_published_or_not(rows):
    published, order = read_published(ROOT / "docs/results/published_tables.json")
    for told in published.values():
        values = told["average_performance"]
        for better, worse in itertools.combinations(order, 2):
            assert min(values[m] for m in better) > max(values[m] for m in worse)
    page = write_agreement(rows, published, order)
    assert "| `arm10-sac` | Continual World, CW20 | 3 | 1.00 | [1.00, 1.00] | – |" in page
    assert "Continual World, CW20 | COOM, from pixels | 8 | 0.50 |" in page
    assert "of 3 pairs from two groups: 3 in order, 0 open, 0 against it." in page


def test_the_command_makes_the_same_bytes_and_refuses_a_row_that_does_not_follow(rows, tmp_path):
    for row in rows:
        write_row(tmp_path / f"{row.name}.json", row)
    script = [sys.executable, str(ROOT / "scripts/leaderboard.py"), "--rows", str(tmp_path)]
    pages = []
    for name in ("one.md", "two.md"):
        subprocess.run([*script, "--out", str(tmp_path / name)], check=True)
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1] == write_board(rows[::-1], read_protocol("v1")).encode()
    write_row(tmp_path / f"{rows[0].name}.json", replace(rows[0], commit="unknown"))
    done = subprocess.run([*script, "--out", str(tmp_path / "three.md")], capture_output=True)
    assert done.returncode == 1 and not (tmp_path / "three.md").exists()
    assert b"arm10-sac-finetune.json: the commit is 'unknown'" in done.stderr


def test_without_rows_it_says_so():
    page = write_board([], read_protocol("v1"))
    assert page.count("There is no row yet.") == 4 and "| rank |" not in page


def test_methods_are_ranked_and_references_are_not(rows):
    found = table(write_board(rows, read_protocol("v1")), "rank")
    ranks = [(cells[0], name) for name, cells in found.items()]
    assert ranks[:3] == [("1", "packnet"), ("2", "ewc"), ("3", "finetune")]
    assert sorted(ranks[3:]) == [("–", "joint"), ("–", "single-task")]
    final = np.mean([row.outcomes[:, -1].mean() for row in rows if row.method == "ewc"])
    value, low, high = map(float, re.findall(r"[\d.]+", found["ewc"][2]))
    assert value == pytest.approx(final, abs=0.005) and low < value < high
    assert found["finetune"][7:9] == ["–", "–"] and found["finetune"][11] == "1.00"
    assert found["ewc"][9] == "2.0 MB" and found["ewc"][10] == "100 000"
    assert found["single-task"][6] == "–" and found["single-task"][8] == "–"
    assert found["ewc"][6].startswith(("0.", "-0."))


def test_differences_are_those_of_means_and_corrected_for_their_number(rows):
    entries = {entry.row.method: entry for entry in make_entries(rows)}
    ewc, finetune = entries["ewc"], entries["finetune"]
    assert ewc.difference.value == pytest.approx(ewc.final.mean() - finetune.final.mean())
    alike = [e.final.mean(axis=(1, 2)) for e in (ewc, finetune)]
    without = welch(ewc.difference.value, [(found.var(ddof=1), 5) for found in alike])
    assert without < ewc.p < 0.01
    corrected = correct([*entries.values()])
    assert {*corrected} == {"arm10-sac-ewc", "arm10-sac-packnet"}
    assert [*corrected.values()] == holm([e.p for e in entries.values() if e.p is not None])
    assert ewc.forgetting.value == pytest.approx(ewc.learned.value - ewc.average.value)


def test_what_is_tuned_stands_beside_the_defaults(rows, tuned):
    page = write_board([*rows, tuned], read_protocol("v1"))
    plain, found = table(page, "rank"), table(page, "tuned")
    assert plain["ewc"][3] == found["ewc"][2] != plain["ewc"][2]
    assert found["ewc"][1] == "`strength=32.0`"
    assert found["ewc"][3].startswith("+0.") and plain["packnet"][3] == "–"
    assert len(correct(make_entries([*rows, tuned]))) == 3


def test_a_tuning_that_found_nothing_is_told(rows, tmp_path):
    tuning = read_trials(write_trials(tmp_path / "tuning", best=1e4) / "trials.json")
    told = [replace(row, tuning=tuning) if row.method == "ewc" else row for row in rows]
    page = write_board(told, read_protocol("v1"))
    assert "Tuned without finding better options than the defaults: ewc." in page


def test_other_processors_are_marked(rows):
    others = [replace(r, processors=["Intel Xeon"]) if r.method == "ewc" else r for r in rows]
    page = write_board(others, read_protocol("v1"))
    assert table(page, "rank")["ewc"][11].endswith("†") and "† on other processors" in page
    assert "†" not in write_board(rows, read_protocol("v1"))


def test_what_five_seeds_can_tell_apart_is_from_the_spread_of_all_methods(rows):
    told = describe_power(make_entries(rows))
    found = [r.outcomes[:, -1].mean(axis=(1, 2)) for r in rows if r.method in [*KEPT][:3]]
    spread = np.sqrt(np.mean([runs.var(ddof=1) for runs in found]))
    assert f"standard deviation of {spread:.3f}" in told
    assert "the smallest p of 2 that are corrected for" in told


def test_without_fine_tuning_nothing_is_set_against_it(rows):
    page = write_board([row for row in rows if row.method == "ewc"], read_protocol("v1"))
    assert "There is no row of fine-tuning yet" in page
    assert table(page, "rank")["ewc"][7:9] == ["–", "–"]
