"""What the README prints is what runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lifelong_rl.analysis.tables import format_interval
from lifelong_rl.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_method_in_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n# (\w+)\.py\n(.*?)```", README, re.DOTALL)
    module, code = example
    (tmp_path / f"{module}.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    (command,) = re.findall(rf"^    lifelong-rl (run --plugin {module} .*)$", README, re.MULTILINE)
    small = "--steps-per-task 200 --num-envs 4 --eval-episodes 2 --eval-points 1 --run-dir run"
    options = "--agent-options learning_starts=100 batch_size=16"
    assert main([*command.split(), *small.split(), *options.split()]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["method"] in command
    assert results["cost"]["memory_bytes"] > 0


@pytest.mark.golden
def test_the_numbers_in_the_readme_are_those_of_the_committed_results() -> None:
    comparison = json.loads((ROOT / "docs/results/first_study.json").read_text())
    (section,) = [one for one in comparison["sections"] if one["sequence"] == "arm3"]
    shown = 0
    for group in section["groups"]:
        for line in re.findall(rf"^\| {group['method']} \|.*$", README, re.MULTILINE):
            if group["agent"] != "sac":
                continue
            for name in ("learned_performance", "average_performance", "forgetting"):
                assert f"| {format_interval(group['scores'][name]['mean'])} |" in line, line
            shown += 1
    assert shown >= 7
