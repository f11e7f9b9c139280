"""What the contracts of import-linter in pyproject.toml cannot say about imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def imported_packages(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            yield (node.module or "").partition(".")[0]


def sources(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


def test_stable_baselines3_is_imported_only_by_the_vec_env_adapter() -> None:
    found = [
        path.name for path in sources("envs") if "stable_baselines3" in imported_packages(path)
    ]
    assert found == ["vec_env.py"]


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import lifelong_rl.envs", ["torch", "stable_baselines3"]),
        ("import lifelong_rl", ["torch", "numpy"]),
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
        for path in sources(package)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("optimizer.step")
    ]
    assert found == ["gradient_step.py"]
