"""`scripts/bench_device.py`: what it measures on the CPU alone, and what it says without a GPU."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "scripts" / "bench_device.py"
QUICK = ["--devices", "cpu", "--seconds", "0.01", "--repeats", "1"]


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_without_a_gpu_it_says_so(
    script: Any, no_gpu: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["--json", str(tmp_path / "b.json")]) == 1
    assert script.main(["--devices", "cpu", "cuda"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == "there is no GPU here; --devices cpu measures the CPU alone"
    assert second.startswith("there is no device 'cuda': ")
    assert not any(tmp_path.iterdir())


def test_the_cpu_alone(script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, case = tmp_path / "b.json", "state SAC [256, 256]"
    assert script.main([*QUICK, "--cases", case, "--cells", "0", "--json", str(out)]) == 0
    (row,) = json.loads(out.read_text())["rows"]
    assert (row["case"], row["device"], row["ratio"]) == (case, "cpu", 1.0)
    assert f"{row['updates_per_second']:.1f}" in capsys.readouterr().out


@pytest.mark.slow
def test_all_that_it_measures(script: Any, tmp_path: Path) -> None:
    out = tmp_path / "b.json"
    assert script.main([*QUICK, "--cells", "2", "--json", str(out)]) == 0
    rows = json.loads(out.read_text())["rows"]
    assert [row["case"] for row in rows[:-1]] == list(script.CASES)
    assert rows[-1]["case"].startswith("2 cells at once")
    assert all(row["updates_per_second"] > 0 for row in rows)


def test_it_counts_updates_and_waits_for_the_device(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ratios are taken pair by pair, each device against the first."""
    clock, waited = [0.0], []
    monkeypatch.setattr(script.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(script, "synchronize", waited.append)
    seconds = {"cpu": 0.5, "meta": 0.125}

    def make(device: torch.device) -> Any:
        def update(updates: int) -> None:
            clock[0] += updates * seconds[device.type]

        return update

    monkeypatch.setitem(script.CASES, "made up", make)
    devices = [torch.device("cpu"), torch.device("meta")]
    cpu, other = script.bench("made up", devices, seconds=1.0, repeats=3)
    assert (cpu["updates_per_second"], other["updates_per_second"]) == (2.0, 8.0)
    assert (other["ratio"], other["ratio_min"], other["ratio_max"]) == (4.0, 4.0, 4.0)
    assert waited.count(devices[1]) == 2 * (2 + 3)
