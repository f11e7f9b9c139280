"""`lifelong-rl doctor`: is this installation able to run?"""

from __future__ import annotations

from dataclasses import dataclass

from lifelong_rl.cli.options import Command


@dataclass(frozen=True, kw_only=True)
class Doctor(Command):
    """Check versions, known-bad combinations, devices and rendering."""

    def __call__(self) -> int:
        """Print one line for each check; 1 if something is broken."""
        from lifelong_rl.runs.installation import checks

        levels = []
        for level, line in checks():
            print(f"{level:<7} {line}", flush=True)
            levels.append(level)
        if "broken" in levels:
            print("something is broken: see above for what to do")
            return 1
        print("ready to run")
        return 0
