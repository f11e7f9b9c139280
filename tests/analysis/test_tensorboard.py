"""TensorBoard itself, on a folder of three runs: its layout, its pictures and its numbers."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from chromium import find_chromium, open_page

sys.path.append(str(Path(__file__).parents[1] / "toy"))

from toy_runs import PLUGIN, metric_lines, run_toy

from lifelong_rl.cli import main
from lifelong_rl.runs.evaluation import Evaluator
from lifelong_rl.storage.metrics_log import LAYOUT

PATIENCE = 120
"""Seconds until the server is given up."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three runs, the last of them stopped in its second task and resumed."""
    folder = tmp_path_factory.mktemp("runs")
    assert run_toy(folder / "finetune", "--quiet") == 0
    assert run_toy(folder / "ewc", "--quiet", "--method", "ewc") == 0
    evaluate, calls = Evaluator.evaluate, []

    def stop(self, act, task_id):
        calls.append(task_id)
        if len(calls) == 3 * 2 + 3 + 2:
            raise KeyboardInterrupt
        return evaluate(self, act, task_id)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Evaluator, "evaluate", stop)
        assert run_toy(folder / "stopped", "--quiet", "--seed", "1") == 130
    assert main(["resume", *PLUGIN, str(folder / "stopped"), "--quiet"]) == 0
    return folder


@pytest.fixture(scope="module")
def address(runs):
    find_chromium()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", "--logdir", str(runs), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://localhost:{port}/"
    try:
        deadline = time.monotonic() + PATIENCE
        while len(read(address, "data/runs")) < 3:
            assert server.poll() is None and time.monotonic() < deadline
            time.sleep(1.0)
        yield address
    finally:
        server.terminate()
        server.wait()


def read(address, path):
    """The JSON at a path; nothing while the server starts."""
    try:
        with urllib.request.urlopen(address + path) as answer:
            return json.load(answer)
    except OSError:
        return []


def test_it_serves_the_numbers_of_the_file(runs, address):
    for run in ("finetune", "ewc", "stopped"):
        expected = {}
        for line in metric_lines(runs / run):
            for name, value in line["values"].items():
                expected.setdefault(name, []).append([line["step"], pytest.approx(value, rel=1e-6)])
        for name, points in expected.items():
            query = (
                f"data/plugin/scalars/scalars?run={quote(run + '/tb', '')}&tag={quote(name, '')}"
            )
            assert [point[1:] for point in read(address, query)] == points, (run, name)


def test_it_shows_the_layout_and_the_matrices(browser, address):
    with open_page(browser, f"{address}#custom_scalars") as page:
        for group, charts in LAYOUT.items():
            page.get_by_text(group, exact=True).first.wait_for()
            if group == "forgetting":
                for chart in charts:
                    page.get_by_text(chart, exact=True).first.wait_for()
    with open_page(browser, f"{address}#images") as page:
        images = page.locator("tf-image-loader img")
        images.nth(5).wait_for()
        for tag in ("performance_matrix", "success_over_sequence"):
            assert page.locator("tf-image-loader", has_text=f"tag: {tag}").count() == 3
        widths = images.evaluate_all("(all) => all.map((image) => image.naturalWidth)")
        assert np.min(widths) > 100
    with open_page(browser, f"{address}#hparams") as page:
        page.get_by_text("so_far/forgetting", exact=True).first.wait_for()
        page.get_by_text("method_options", exact=True).first.wait_for()
        assert page.get_by_text("stopped/tb").count() >= 1
