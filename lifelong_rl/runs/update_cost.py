"""What an update costs with a method, beside one of plain fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from lifelong_rl.learning.seeding import preserved_generators

BLOCK = 8
"""Updates of the reference at each measurement."""


class UpdateCost:
    """Times the updates of an agent, and in turns with them those of a reference.

    The reference is the same agent with plain fine-tuning. It learns from the agent's own data and
    is used for nothing else, so that no random number of the run depends on it. A ratio is taken
    over times a moment apart, which other work on the machine slows alike.

    Agents without `update_clock` and `borrow_data` are not timed, and need no reference.

    Args:
        agent: What is timed.
        build_reference: Makes the same agent with the method "finetune".
    """

    def __init__(self, agent: Any, build_reference: Callable[[], Any]) -> None:
        self._agent = agent
        self._timed = hasattr(agent, "update_clock") and hasattr(agent, "borrow_data")
        self._reference: Any = build_reference() if self._timed else None
        self._warm = False
        self.begin_task()

    def begin_task(self) -> None:
        """Forget the last task's measurements."""
        self._own: list[float] = []
        self._plain: list[float] = []
        self._ratios: list[float] = []
        self._mark = self._read(self._agent) if self._timed else (0, 0.0)

    def measure(self) -> None:
        """Compare the agent's updates since the last call with a few of the reference."""
        if not self._timed:
            return
        own = self._since(self._agent, self._mark)
        if own is None:
            return
        self._reference.borrow_data(self._agent)
        with preserved_generators():
            if not self._warm:
                self._reference.rehearse(1)  # the first one allocates
                self._warm = True
            mark = self._read(self._reference)
            self._reference.rehearse(BLOCK)
        plain = self._since(self._reference, mark)
        assert plain is not None
        self._own.append(own)
        self._plain.append(plain)
        self._ratios.append(own / plain)
        self._mark = self._read(self._agent)

    def state_dict(self) -> dict[str, list[float]]:
        """The task's measurements so far."""
        return {"own": self._own, "plain": self._plain, "ratios": self._ratios}

    def load_state_dict(self, state: Mapping[str, list[float]]) -> None:
        """Go on from the measurements of another process; updates since the last are not timed."""
        self.begin_task()
        self._own, self._plain, self._ratios = (
            list(state[name]) for name in ("own", "plain", "ratios")
        )

    def result(self) -> dict[str, float] | None:
        """Medians over the task's measurements; None if there was none.

        Returns:
            "seconds" of an update, "finetune_seconds" of one of the reference, and their "ratio".
        """
        if not self._own:
            return None
        return {
            "seconds": median(self._own),
            "finetune_seconds": median(self._plain),
            "ratio": median(self._ratios),
        }

    @staticmethod
    def _read(agent: Any) -> tuple[int, float]:
        return agent.update_clock.updates, agent.update_clock.seconds

    def _since(self, agent: Any, mark: tuple[int, float]) -> float | None:
        """Seconds per update since the clock stood at `mark`."""
        updates, seconds = self._read(agent)
        return (seconds - mark[1]) / (updates - mark[0]) if updates > mark[0] else None
