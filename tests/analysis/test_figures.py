"""Figures show the numbers of the comparison; the page needs nothing from elsewhere."""

import re
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from made_runs import make_results, write_run, write_study

from lifelong_rl.analysis.comparison import compare
from lifelong_rl.analysis.figures import COLOURS, PALETTE, draw
from lifelong_rl.analysis.page import INK, make_comparison_page
from lifelong_rl.analysis.runs import find_runs

SVG = "{http://www.w3.org/2000/svg}"


def comparison_of(path):
    runs, left_out = find_runs([path])
    return compare(runs, left_out, reps=100)


@pytest.fixture
def comparison(tmp_path):
    return comparison_of(write_study(tmp_path, {"finetune": 0.5, "packnet": 0.0}))


def figures_of(comparison):
    (section,) = comparison["sections"]
    return {drawing.name: drawing for drawing in draw(section)}


def test_names(comparison):
    assert list(figures_of(comparison)) == [
        "arm3-forgetting",
        "arm3-retention",
        "arm3-average-performance",
        "arm3-forward-transfer",
        "arm3-scatter-bc-sac",
        "arm3-decay-finetune",
        "arm3-decay-packnet",
    ]


def test_bars_are_the_interquartile_means_with_their_intervals(comparison):
    (axes,) = figures_of(comparison)["arm3-forgetting"].figure.axes
    groups = {(g["agent_label"], g["method_label"]): g for g in comparison["sections"][0]["groups"]}
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["finetune", "packnet"]
    bars = [patch for patch in axes.patches if patch.get_height() > 0]
    assert len(bars) == 4
    for bar in bars:
        agent = {"#0072b2": "bc", "#d55e00": "sac"}[_hex(bar.get_facecolor())]
        method = labels[round(bar.get_y() + bar.get_height() / 2)]
        estimate = groups[agent, method]["scores"]["forgetting"]["iqm"]
        assert bar.get_width() == pytest.approx(estimate["value"])
    ends = sorted(
        np.ravel([segment[:, 0] for line in axes.collections for segment in line.get_segments()])
    )
    expected = [g["scores"]["forgetting"]["iqm"] for g in groups.values()]
    assert ends == pytest.approx(sorted(e[end] for e in expected for end in ("low", "high")))


def _hex(colour):
    return "#" + "".join(f"{round(255 * c):02x}" for c in colour[:3])


def test_the_scatter_has_supervised_forgetting_across_and_the_diagonal(comparison):
    (axes,) = figures_of(comparison)["arm3-scatter-bc-sac"].figure.axes
    assert axes.get_xlabel() == "forgetting, supervised: bc"
    assert axes.get_ylabel() == "forgetting, reinforcement: sac"
    groups = {(g["agent_label"], g["method_label"]): g for g in comparison["sections"][0]["groups"]}
    points = {tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() != "None"}
    assert points >= {
        tuple(groups[a, method]["scores"]["forgetting"]["iqm"]["value"] for a in ("bc", "sac"))
        for method in ("finetune", "packnet")
    }
    diagonal = axes.lines[-1].get_xydata()
    np.testing.assert_array_equal(diagonal[:, 0], diagonal[:, 1])


def test_decay_has_a_line_for_each_task_in_each_regime(comparison):
    supervised, reinforcement = figures_of(comparison)["arm3-decay-finetune"].figure.axes
    assert supervised.get_title() == "supervised: bc"
    assert reinforcement.get_title() == "reinforcement: sac"
    decay = comparison["sections"][0]["groups"][1]["decay"]
    for line, (task, success) in zip(reinforcement.lines, decay.items(), strict=True):
        np.testing.assert_allclose(
            line.get_xydata(), np.column_stack([range(len(success)), success])
        )
        assert task in ("reach", "drawer-open", "button-press")


def test_a_regime_alone_has_bars_and_no_scatter(tmp_path):
    found = figures_of(comparison_of(write_study(tmp_path, {"ewc": 0.2}, ["sac"], seeds=[0])))
    assert list(found) == [
        "arm3-forgetting",
        "arm3-retention",
        "arm3-average-performance",
        "arm3-forward-transfer",
        "arm3-decay-ewc",
    ]


def test_one_task_has_nothing_to_retain(tmp_path):
    write_run(tmp_path / "run", make_results([[0.0], [0.8]], tasks=("reach",)))
    assert list(figures_of(comparison_of(tmp_path))) == [
        "arm3-forgetting",
        "arm3-average-performance",
    ]


def test_more_regimes_than_colours_of_their_own(tmp_path):
    agents = ["bc", "sac", "zoo", "yak"]
    comparison = comparison_of(write_study(tmp_path, {"ewc": 0.2}, agents, seeds=[0]))
    (axes,) = figures_of(comparison)["arm3-forgetting"].figure.axes
    colours = [_hex(patch.get_facecolor()).upper() for patch in axes.patches]
    assert len(set(colours)) == 4 and set(colours) <= set(PALETTE)
    assert colours[:2] == [COLOURS["bc"], COLOURS["sac"]]


def test_files_are_the_same_every_time(comparison):
    for kind, magic in (("svg", b"<?xml"), ("png", b"\x89PNG")):
        first, again = (figures_of(comparison)["arm3-forgetting"].render(kind) for _ in range(2))
        assert first == again and first.startswith(magic)


def test_a_matplotlibrc_changes_nothing(comparison, monkeypatch):
    """One of the working directory may be somebody else's, and could have LaTeX run."""
    plain = figures_of(comparison)["arm3-scatter-bc-sac"].render("svg")
    for name, value in {"text.usetex": True, "font.size": 30, "lines.linewidth": 9}.items():
        monkeypatch.setitem(matplotlib.rcParams, name, value)
    assert figures_of(comparison)["arm3-scatter-bc-sac"].render("svg") == plain


def test_the_page_is_whole_and_refers_to_nothing_outside(comparison):
    page = make_comparison_page(comparison)
    assert page == make_comparison_page(comparison)
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert "prefers-color-scheme: dark" in page
    outside = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert "http" not in outside and "<script" not in page and "@import" not in page
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids)) > 0
    assert set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', page)) <= {
        pair for one in ids for pair in ((one, ""), ("", one))
    }
    assert INK not in page and "currentColor" in page


def test_the_figures_in_the_page_are_well_formed_and_described(comparison):
    svgs = re.findall(r"<svg.*?</svg>", make_comparison_page(comparison), re.DOTALL)
    assert len(svgs) == 7
    for svg in svgs:
        root = ElementTree.fromstring(svg)
        assert root.get("role") == "img" and root.get("aria-label")
        background = root.find(f".//{SVG}path")
        assert "fill: none" in background.get("style")


def test_names_in_the_page_are_text(tmp_path):
    results = make_results(np.ones((2, 1)), tasks=("<b>$x_1$",), method="<script>", agent="a&b")
    write_run(tmp_path / "run", results)
    page = make_comparison_page(comparison_of(tmp_path))
    assert "<script>" not in page and "&lt;script&gt;" in page and "a&amp;b" in page


def test_the_page_tells_what_was_left_out(tmp_path):
    write_study(tmp_path, {"ewc": 0.2}, seeds=[0])
    (tmp_path / "sac-ewc-0" / "results.json").write_text("{")
    page = make_comparison_page(comparison_of(tmp_path))
    assert "Left out" in page and str(tmp_path / "sac-ewc-0") in page
