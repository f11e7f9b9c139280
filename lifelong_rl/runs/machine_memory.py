"""How much memory there is for a process, and whether what a run keeps fits into it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from lifelong_rl.errors import UserError
from lifelong_rl.text import format_size


def memory_of_machine(root: Path = Path("/")) -> int | None:
    """Bytes of memory that this process may have: of the machine, or less in a container.

    Args:
        root: Where the system tells the limits of control groups, of versions 1 and 2.

    Returns:
        The bytes; None where the system does not tell.
    """
    found = list(_group_limits(root))
    with suppress(ValueError, OSError, AttributeError):  # not every system has them
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min((limit for limit in found if limit > 0), default=None)


def check_memory(agent: Any, owner: str, steps_per_task: int, num_tasks: int) -> str | None:
    """Say how much an agent may come to keep, and how much memory there is.

    Args:
        agent: It tells by `memory_bytes(steps_per_task, num_tasks)`, if at all.
        owner: What to call it.
        steps_per_task: Environment steps of the longest task.
        num_tasks: Number of tasks.

    Returns:
        One line; None for an agent that does not tell.

    Raises:
        UserError: It is more than there is.
    """
    if not hasattr(agent, "memory_bytes"):
        return None
    needed, there = agent.memory_bytes(steps_per_task, num_tasks), memory_of_machine()
    grows = f"{owner} may come to keep {format_size(needed)} of experience"
    if there is None:
        return grows
    if needed > there:
        raise UserError(
            f"{grows}, and this machine has {format_size(there)} of memory; let it keep less, such "
            f"as by --agent-options buffer_size=NUMBER"
        )
    return f"{grows}; this machine has {format_size(there)} of memory"


def _group_limits(root: Path) -> Iterator[int]:
    """Limits of the control groups that this process is in."""
    groups = root / "sys/fs/cgroup"
    places = [groups / "memory.max", groups / "memory/memory.limit_in_bytes"]
    with suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            for group in (Path(path), *Path(path).parents):
                within = str(group).lstrip("/")
                if not controllers:
                    places.append(groups / within / "memory.max")
                elif "memory" in controllers.split(","):
                    places.append(groups / "memory" / within / "memory.limit_in_bytes")
    for place in places:
        with suppress(OSError, ValueError):  # not there, or "max"
            yield int(place.read_text(encoding="utf-8"))
