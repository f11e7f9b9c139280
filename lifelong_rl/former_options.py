"""Options that files of earlier versions hold, as this version has them."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from lifelong_rl.errors import UserError

WITHOUT_EFFECT = {"finetune": ("scope",), "joint": ("scope",), "l2": ("samples",)}
"""Options that decided nothing, or decide nothing now, by method: they are left out."""
BEFORE = {"ewc": {"floor": 0.0}, "mas": {"floor": 0.0}}
"""Options that came later, by method: what a run did that did not have them."""
NETWORKS: dict[str, Any] = {"activation": "relu"}
OFF_POLICY: dict[str, Any] = {
    **NETWORKS,
    "explore": "random",
    "explore_steps": None,
    "max_grad_norm": None,
}
BEFORE_OF_AGENTS: dict[str, dict[str, Any]] = {
    "sac": {"policy_delay": 1, **OFF_POLICY},
    "td3": OFF_POLICY,
    "ppo": {"activation": "tanh"},
    **dict.fromkeys(("bc", "bc-stream", "offline-rl", "classifier"), NETWORKS),
}
"""The same, by agent."""
RETRAINS = ("packnet", "den")
RETRAINED, FORMER_RETRAINED = "retrain_updates", 500
"""What their `retrain_share` was before, and its default."""


def update_fields(fields: Mapping[str, Any], *, complete: bool = False) -> dict[str, Any]:
    """The fields of a run, and the options of its method, as they are now.

    Args:
        fields: By their names in `RunConfig`; those of another kind stay as they are.
        complete: Whether all options stand in it, as in the folder of a run: those that came later
            then are what they were before.
    """
    if complete and "eval_episodes" in fields:  # once of the curves too
        fields = {"curve_episodes": fields["eval_episodes"], "eval_starts": "validation", **fields}
    agent, agent_options = fields.get("agent"), fields.get("agent_options")
    if complete and isinstance(agent, str) and isinstance(agent_options, Mapping) and agent_options:
        agent_options = {**BEFORE_OF_AGENTS.get(agent, {}), **agent_options}
        fields = {**fields, "agent_options": agent_options}
    method, options = fields.get("method"), fields.get("method_options")
    if not isinstance(method, str) or not isinstance(options, Mapping):
        return dict(fields)
    rate = agent_options.get("updates_per_step") if isinstance(agent_options, Mapping) else None
    numbers = [n for n in (rate, fields.get("steps_per_task")) if isinstance(n, (int, float))]
    try:
        updates = prod(numbers) if len(numbers) == 2 else None
    except OverflowError:  # of a number of steps that is refused where it is checked
        updates = None
    updated = update_options(method, options, complete=complete, updates=updates)
    return {**fields, "method_options": updated}


def update_options(
    method: str,
    options: Mapping[str, Any],
    *,
    complete: bool = False,
    updates: float | None = None,
) -> dict[str, Any]:
    """The options of a method, or of several joined by "+", as they are now.

    Args:
        method: Its name.
        options: By name; those of a chain by "METHOD.OPTION".
        complete: See `update_fields`.
        updates: Of a task, if known: `retrain_updates` are a share of them.

    Raises:
        UserError: An option holds a number that cannot be told in the terms of today.
    """
    updated = dict(options)
    parts = method.split("+")
    for part in parts:
        prefix = f"{part}." if len(parts) > 1 else ""
        for option in WITHOUT_EFFECT.get(part, ()):
            updated.pop(prefix + option, None)
        retrained = updated.pop(prefix + RETRAINED, None) if part in RETRAINS else None
        if retrained is not None:
            try:
                share = retrained / updates if isinstance(retrained, int) and updates else None
            except OverflowError:
                share = None
            if share is None and retrained == 0:
                share = 0.0
            if share is None and retrained == FORMER_RETRAINED:
                share = 0.1  # the default that took its place
            if share is None:
                raise UserError(
                    f"the option '{RETRAINED}' of method '{part}' is 'retrain_share' now, a share "
                    f"of the updates of a task: say which share {retrained!r} updates are"
                )
            updated[prefix + "retrain_share"] = share
        if complete and any(str(name).startswith(prefix) for name in updated):
            for option, value in BEFORE.get(part, {}).items():
                updated.setdefault(prefix + option, value)
    return updated
