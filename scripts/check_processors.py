"""Run the tests that compare with committed numbers as processors with fewer instructions would.

python scripts/check_processors.py

Libraries choose their instructions when they start, and with them how they round. Each can be told
to leave some out: the tests marked ``golden`` run once without those of each library, and once
without all of them.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy._core import _multiarray_umath as dispatch

ROOT = Path(__file__).parents[1]
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
X86 = platform.machine().lower() in ("x86_64", "amd64")


def find_restrictions() -> dict[str, Mapping[str, str] | str]:
    """Return what makes each library leave instructions out, or why this machine has no such thing.

    Returns:
        Environment variables, or a reason in words, by the name of the library.
    """
    # NumPy refuses the names of features that it does not choose between
    features = [name for name in dispatch.__cpu_dispatch__ if dispatch.__cpu_features__[name]]
    not_x86 = f"it is for x86, and this is {platform.machine()}"
    of_x86: dict[str, tuple[bool, str, dict[str, str]]] = {
        "MKL": (
            torch.backends.mkl.is_available(),
            "this torch has none",
            {"MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
        ),
        "oneDNN": (
            torch.backends.mkldnn.is_available(),
            "this torch has none",
            {"ONEDNN_MAX_CPU_ISA": "SSE41"},
        ),
        "glibc": (
            platform.libc_ver()[0] == "glibc",
            "this is another C library",
            {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA"},
        ),
        "OpenBLAS, as on Zen": (True, "", {"OPENBLAS_CORETYPE": "Zen"}),
        "OpenBLAS, as on Nehalem": (True, "", {"OPENBLAS_CORETYPE": "Nehalem"}),
    }
    return {
        "NumPy": {"NPY_DISABLE_CPU_FEATURES": " ".join(features)}
        if features
        else f"NumPy {np.__version__} makes no choice on this processor",
        "torch": {"ATEN_CPU_CAPABILITY": "default"}
        if torch.backends.cpu.get_cpu_capability() != "DEFAULT"
        else "torch makes no choice on this processor",
        **{
            name: not_x86 if not X86 else variables if applies else reason
            for name, (applies, reason, variables) in of_x86.items()
        },
    }


def find_tests() -> list[str]:
    """Return the ids of the golden tests, so that only their files are imported each time."""
    found = subprocess.run(
        [*PYTEST, "--collect-only", "-m", "golden and not slow"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    tests = [line for line in found.stdout.splitlines() if "::" in line]
    if found.returncode != 0 or not tests:
        sys.exit(found.stdout + found.stderr)
    return tests


def run(tests: list[str], variables: Mapping[str, str]) -> bool:
    """Run the tests with some environment variables; print what fails, and return if none did."""
    done = subprocess.run(
        [*PYTEST, "--tb=short", *tests],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        print(done.stdout + done.stderr)
    return done.returncode == 0


def main() -> int:
    """Run all, and return 1 if a test failed."""
    tests = find_tests()
    together: dict[str, str] = {}
    failed = False
    restrictions = find_restrictions()
    for name, variables in [*restrictions.items(), ("all of them", together)]:
        if isinstance(variables, str):
            print(f"skipped  {name}: {variables}", flush=True)
            continue
        if not variables:
            print(f"skipped  {name}: there is nothing to leave out", flush=True)
            continue
        together |= variables
        start = time.monotonic()
        passed = run(tests, variables)
        failed |= not passed
        told = " ".join(f"{key}={value!r}" for key, value in variables.items())
        seconds = f"{time.monotonic() - start:.0f} s"
        print(f"{'passed' if passed else 'FAILED'}   {name}, {seconds}: {told}", flush=True)
    print(f"{len(tests)} tests that compare with committed numbers")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
