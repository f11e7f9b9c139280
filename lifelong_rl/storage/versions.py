"""What a run was made with."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

import lifelong_rl

PACKAGES = ("torch", "numpy", "mujoco", "gymnasium", "stable-baselines3")


@cache
def installed(package: str) -> str | None:
    """Version of an installed distribution, None if there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def versions() -> dict[str, str | None]:
    """Versions of all that can change the numbers of a run."""
    return {
        "lifelong-rl": lifelong_rl.__version__,
        "python": platform.python_version(),
        **{package: installed(package) for package in PACKAGES},
    }


def find_changes(before: Mapping[str, Any], now: Mapping[str, str | None]) -> list[str]:
    """What has another version than before, each as "NAME OLD → NEW".

    Args:
        before: As `versions` told; what it does not tell of has not changed, as far as is known.
        now: What `versions` tells.
    """
    return [
        f"{name} {before[name]} → {version}"
        for name, version in now.items()
        if name in before and before[name] != version
    ]


def describe_session() -> dict[str, Any]:
    """When, where and how a run begins in this process, and how long that took to start."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "startup_seconds": round(perf_counter() - lifelong_rl.IMPORTED, 3),
        "argv": sys.argv,
        "git_commit": git_commit(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cpu_count": os.cpu_count(),
        "versions": versions(),
    }


def git_commit() -> str | None:
    """Commit of the checkout this package lies in, "+changes" added if it differs from it."""
    root = Path(lifelong_rl.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit + ("+changes" if _git(root, "status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def cpu_model() -> str:
    """Name of the processor."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=10
    ).stdout.strip()
