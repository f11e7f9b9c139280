"""What import-linter holds is held, and what it cannot say about imports and calls."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import lifelong_rl.envs", ["torch", "stable_baselines3"]),
        ("import lifelong_rl", ["torch", "numpy"]),
        ("import lifelong_rl; lifelong_rl.load_runs", ["torch", "matplotlib", "pandas"]),
        ("import lifelong_rl.registry", ["torch", "numpy"]),
        ("import lifelong_rl.cli", ["torch", "mujoco"]),
    ],
)
def test_light_imports_stay_light(statement: str, absent: list[str]) -> None:
    check = f"import sys; {statement}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_only_gradient_step_steps_an_optimizer() -> None:
    found = [
        path.name
        for package in ("envs", "agents", "lifelong_rl")
        for path in sorted((ROOT / package).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("optimizer.step")
    ]
    assert found == ["gradient_step.py"]


WRONG = {  # a module, what it must not import, and the contract that says so
    "learning/method.py": ("lifelong_rl.runs.config", "every import points down"),
    "envs/task.py": ("lifelong_rl.agents.sac", "every import points down"),
    "runs/config.py": ("gymnasium", "only the adapter of the tasks and the agents know"),
    "envs/robot.py": ("stable_baselines3", "of the tasks only their adapter knows"),
    "vision/losses.py": ("lifelong_rl.vision.pretrain", "no circle on any floor"),
}


def test_the_contracts_refuse_wrong_imports(tmp_path: Path) -> None:
    """`make lint` checks that the contracts are kept; this, that they can be broken."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    package = tmp_path / "lifelong_rl"
    shutil.copytree(ROOT / "lifelong_rl", package, ignore=shutil.ignore_patterns("__pycache__"))
    for module, (imported, _) in WRONG.items():
        with (package / module).open("a") as file:
            file.write(f"\nimport {imported}\n")
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", lint, "--no-cache"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    kept = [line for line in done.stdout.splitlines() if line.endswith(" KEPT")]
    for module, (imported, contract) in WRONG.items():
        importer = "lifelong_rl." + module.removesuffix(".py").replace("/", ".")
        told = f"{importer} -> {imported}" if "circle" not in contract else "in lifelong_rl.vision."
        assert told in done.stdout, module
        assert not any(line.startswith(contract) for line in kept)
