"""`lifelong-rl doctor`: is this installation able to run?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lifelong_rl.cli.options import Command, Repeated

if TYPE_CHECKING:
    from lifelong_rl.runs.installation import Level


@dataclass(frozen=True, kw_only=True)
class Doctor(Command):
    """Check versions, known-bad combinations, devices, rendering, and plug-ins.

    Attributes:
        plugin: Module to import, whose tasks are tried too.
    """

    plugin: Repeated = ()

    def __call__(self) -> int:
        """Print one line for each check; 1 if something is broken."""
        levels = []
        for level, line in self._checks():
            print(f"{level:<7} {line}", flush=True)
            levels.append(level)
        if "broken" in levels:
            print("something is broken: see above for what to do")
            return 1
        print("ready to run")
        return 0

    def _checks(self) -> Iterator[tuple[Level, str]]:
        from lifelong_rl.runs.installation import checks

        yield from checks()
        for module in self.plugin:
            yield from check_plugin(module)


def check_plugin(module: str) -> Iterator[tuple[Level, str]]:
    """Yield whether a plug-in can be imported and what it brings, and try each of its tasks.

    Args:
        module: Its name, see `lifelong_rl.registry.load_plugins`.
    """
    from lifelong_rl.errors import UserError
    from lifelong_rl.manual import TABLES
    from lifelong_rl.registry import load_plugins

    before = {kind: table.names() for kind, table in TABLES.items()}
    try:
        load_plugins([module])
    except UserError as error:
        yield "broken", str(error)
        return
    brought = {
        kind: [name for name in table.names() if name not in before[kind]]
        for kind, table in TABLES.items()
    }
    told = [f"{kind} {', '.join(names)}" for kind, names in brought.items() if names]
    yield "ok", f"plug-in {module}: {'; '.join(told) or 'nothing that is not known without it'}"
    for task in brought["tasks"]:
        yield check_task(task)


def check_task(name: str) -> tuple[Level, str]:
    """Whether the scene of a task can be compiled, and an episode begins and goes on."""
    from lifelong_rl.envs.batch_env import BatchEnv
    from lifelong_rl.envs.tasks import get_task

    try:
        task = get_task(name)
        env = BatchEnv(task, 1)
        env.reset()
        env.step([[0.0] * task.action_dim])
    except Exception as error:  # whatever a task from outside raises
        return "broken", f"task {name}: {' '.join(str(error).split())}"
    return "ok", f"task {name} {task.revision()}"
