"""The report in a real browser: every control works, and what is shown is what runs have found."""

import base64
import json

import numpy as np
import pytest
from chromium import open_page
from made_runs import TASKS, make_results, write_run, write_study
from PIL import Image

from lifelong_rl.analysis.report import make_report
from lifelong_rl.analysis.report_page import CLIP_BYTES, make_report_page
from lifelong_rl.analysis.runs import find_runs

LOST = {"finetune": 0.5, "ewc": 0.2, "replay": 0.05}
METRICS = (
    "average_performance",
    "learned_performance",
    "forgetting",
    "retention",
    "forward_transfer",
)


def write_page(folder, out):
    runs, left_out = find_runs([folder])
    report = make_report(runs, left_out, reps=100)
    out.write_text(make_report_page(report))
    return f"file://{out}", report


def results_of(folder):
    """By agent, method and seed."""
    found = {}
    for path in folder.glob("*/results.json"):
        results = json.loads(path.read_text())
        found[results["agent"], results["method"], results["seed"]] = results
    return found


def png(path, size=(4, 4), noise=False):
    pixels = np.zeros((*size, 3), np.uint8)
    if noise:
        pixels = np.random.default_rng(0).integers(0, 256, pixels.shape, dtype=np.uint8)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)


def draw_all(page):
    """Draw the figures that are not yet in view too, as for paper."""
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.locator(".chart:not(:has(.subplot))").first.wait_for(state="detached")


def figure(page, kind):
    return page.locator(f'figure[data-kind="{kind}"]')


def traces(page, kind):
    return (
        figure(page, kind)
        .locator(".chart")
        .evaluate(
            """(chart) => chart.data.map(({ type, name, x, y, z, text, error_x }) =>
            ({ type, name, x, y, z, text, error_x }))"""
        )
    )


def choose(page, kind, label, option):
    figure(page, kind).get_by_label(label, exact=True).select_option(label=option)


def test_what_is_shown_is_what_the_runs_have_found(tmp_path, browser):
    folder = write_study(tmp_path / "runs", LOST)
    png(folder / "sac-ewc-1" / "clips" / "reach.png")
    results = results_of(folder)
    address, _ = write_page(folder, tmp_path / "report.html")
    with open_page(browser, address) as page:
        draw_all(page)

        for (agent, method, seed), found in results.items():
            choose(page, "matrix", "method", f"{method}, {agent}")
            choose(page, "matrix", "run", f"seed {seed}")
            (heat,) = traces(page, "matrix")
            assert heat["z"] == np.transpose(found["performance_matrix"]).tolist()
            assert heat["y"] == [f"{j + 1} {task}" for j, task in enumerate(TASKS)]
            shown = figure(page, "matrix").locator(".heatmap-label").all_text_contents()
            expected = [f"{value:.2f}" for row in heat["z"] for value in row]
            assert shown == expected
        cells = figure(page, "matrix").locator(".nsewdrag")
        cells.scroll_into_view_if_needed()
        box = cells.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 1.5 / 4, box["y"] + box["height"] / 6)
        value = found["performance_matrix"][1][0]
        told = figure(page, "matrix").locator(".hovertext").text_content()
        assert told == f"1 reach, after reach: {value:.2f}"

        page.get_by_label("statistic").select_option("mean")
        options = figure(page, "bars").get_by_label("score").locator("option")
        names = dict(
            zip(
                options.evaluate_all("(all) => all.map((option) => option.value)"),
                options.all_text_contents(),
                strict=True,
            )
        )
        assert list(names) == list(METRICS)
        for metric, text in names.items():
            choose(page, "bars", "score", text)
            bars = traces(page, "bars")
            assert [bar["name"] for bar in bars] == ["bc", "sac"]
            for bar in bars:
                assert bar["y"] == list(LOST)
                for method, value in zip(LOST, bar["x"], strict=True):
                    own = [results[bar["name"], method, s]["metrics"][metric] for s in range(3)]
                    assert value == pytest.approx(np.mean(own))

        rows = page.locator("details table").last.locator("tr").all()[1:]
        assert len(rows) == len(results)
        for row in rows:
            method, agent, seed, learned, average, forgetting, *_ = row.locator(
                "td"
            ).all_text_contents()
            metrics = results[agent, method, int(seed)]["metrics"]
            assert learned == f"{metrics['learned_performance']:.3f}"
            assert average == f"{metrics['average_performance']:.3f}"
            assert forgetting == f"{metrics['forgetting']:.3f}"

        assert page.locator(".clips img").evaluate("(image) => image.naturalWidth") == 4
        assert page.problems == [] and page.requests == []


def test_every_control_works(tmp_path, browser):
    folder = write_study(tmp_path / "runs", LOST)
    address, _ = write_page(folder, tmp_path / "report.html")
    with open_page(browser, address) as page:
        draw_all(page)
        kinds = ["matrix", "curves", "bars", "by-task", "profiles", "improvement", "gap", "cost"]
        found = page.locator("figure.plot").evaluate_all("(all) => all.map((f) => f.dataset.kind)")
        assert found == kinds
        for kind in kinds:
            for control in figure(page, kind).locator("select").all():
                seen = set()
                for value in control.locator("option").evaluate_all(
                    "(all) => all.map((option) => option.value)"
                ):
                    control.select_option(value)
                    seen.add(json.dumps([traces(page, kind), axis_titles(page, kind)]))
                count = control.locator("option").count()
                assert len(seen) == count or kind == "improvement", (kind, count, len(seen))

        choose(page, "bars", "score", "forgetting")
        page.get_by_label("ewc", exact=True).uncheck()
        assert [bar["y"] for bar in traces(page, "bars")] == [["finetune", "replay"]] * 2
        assert "ewc" not in json.dumps([traces(page, kind) for kind in kinds[3:]])
        page.get_by_label("bc", exact=True).uncheck()
        assert [bar["name"] for bar in traces(page, "bars")] == ["sac"]
        page.get_by_label("replay", exact=True).uncheck()
        (bar,) = traces(page, "bars")  # one group is left: its tasks are shown
        assert [name[2:] for name in bar["y"]] == list(TASKS)
        page.get_by_label("finetune", exact=True).uncheck()
        assert figure(page, "bars").get_by_text("nothing to show").count() == 1
        for name in ("bc", "finetune", "ewc", "replay"):
            page.get_by_label(name, exact=True).check()
        assert [bar["y"] for bar in traces(page, "bars")] == [list(LOST)] * 2

        with page.expect_download() as download:
            page.get_by_text("LaTeX").first.click()
        assert download.value.suggested_filename == "arm3-scores.tex"
        assert page.problems == [] and page.requests == []


def axis_titles(page, kind):
    return figure(page, kind).locator(".infolayer .xtitle, .infolayer .ytitle").all_text_contents()


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_on_a_phone_and_on_paper(tmp_path, browser, color_scheme):
    folder = write_study(tmp_path / "runs", LOST)
    address, _ = write_page(folder, tmp_path / "report.html")
    with open_page(browser, address, width=390, color_scheme=color_scheme) as page:
        draw_all(page)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        ink = "getComputedStyle(document.querySelector('.xtick text')).fill"
        paper = "getComputedStyle(document.body).backgroundColor"
        dark = color_scheme == "dark"
        assert (brightness(page.evaluate(ink)) > 200) == dark
        assert (brightness(page.evaluate(paper)) < 50) == dark
        assert page.locator("details[open]").count() == 0
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.locator("details:not([open])").count() == 0
        page.emulate_media(media="print", color_scheme=color_scheme)
        assert brightness(page.evaluate(ink)) < 50 and brightness(page.evaluate(paper)) > 200
        assert not page.locator("select").first.is_visible()
        assert page.problems == [] and page.requests == []


def brightness(colour):
    """Of "rgb(r, g, b)"."""
    return sum(map(int, colour[4:-1].split(","))) / 3


def test_one_run(tmp_path, browser):
    matrix = [[0.0] * 3, [0.9, 0.0, 0.1], [0.5, 1.0, 0.2], [0.3, 0.8, 0.7]]
    write_run(tmp_path / "run", make_results(matrix))
    address, _ = write_page(tmp_path / "run", tmp_path / "report.html")
    with open_page(browser, address) as page:
        draw_all(page)
        kinds = page.locator("figure.plot").evaluate_all("(all) => all.map((f) => f.dataset.kind)")
        assert kinds == ["matrix", "curves", "bars", "cost"]
        (bar,) = traces(page, "bars")
        assert bar["y"] == ["1 reach", "2 drawer-open", "3 button-press"]
        assert bar["x"] == pytest.approx([0.6, 0.2, 0.0])
        curve = traces(page, "curves")[0]
        assert (curve["x"], curve["y"]) == ([0, 500, 1000, 2000, 3000], [0, 0.9, 0.9, 0.5, 0.3])
        assert page.problems == [] and page.requests == []


def test_clips_that_do_not_fit_are_named(tmp_path):
    matrix = [[0.0] * 3, [1.0] * 3, [1.0] * 3, [1.0] * 3]
    run = write_run(tmp_path / "run", make_results(matrix))
    png(run / "clips" / "large.png", size=(1100, 1100), noise=True)
    png(run / "clips" / "small.png")
    (run / "clips" / "notes.txt").write_text("no clip")
    assert (run / "clips" / "large.png").stat().st_size > CLIP_BYTES
    _, report = write_page(run, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert [clip["title"].partition(":")[0] for clip in report["sections"][0]["clips"]] == [
        "large",
        "small",
    ]
    encoded = base64.b64encode((run / "clips" / "small.png").read_bytes()).decode()
    assert f'src="data:image/png;base64,{encoded}"' in text
    assert "clips/large.png (3.6 MB) does not fit into a page" in text
    assert "notes.txt" not in text


@pytest.mark.parametrize("evil", ["</script><script>alert(1)</script>", "<!--<script>", "a<b"])
def test_text_that_looks_like_html_stays_text(tmp_path, evil):
    matrix = [[0.0], [1.0]]
    write_run(tmp_path / "run", make_results(matrix, tasks=[evil], agent=evil))
    _, report = write_page(tmp_path, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert evil not in page.partition("<script>")[0]
    assert report["sections"][0]["tasks"] == [evil]
    data = page.partition('<script type="application/json" id="report">')[2].partition("<")[0]
    assert json.loads(data)["sections"][0]["tasks"] == [evil]


@pytest.mark.parametrize("name", ["clips", "clips/private.png"])
def test_a_page_shows_nothing_from_elsewhere(tmp_path, name):
    (tmp_path / "private.png").write_bytes(b"secret")
    path = write_run(tmp_path / "run", make_results([[0.0], [1.0]], tasks=("reach",)))
    (path / name).parent.mkdir(exist_ok=True)
    (path / name).symlink_to(tmp_path / ("" if name == "clips" else "private.png"))
    write_page(path, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "c2VjcmV0" not in page and f"{path / name} is a link to" in page
