"""What modules are called now that had other names, for those who import them from outside."""

from __future__ import annotations

import re
from importlib.util import find_spec
from traceback import extract_tb

FORMER_NAMES = {
    "agents": "lifelong_rl.agents",
    "agents.demonstrations": "lifelong_rl.agents.from_demonstrations",
    "envs": "lifelong_rl.envs",
    "envs.names": "lifelong_rl.errors",
    "lifelong_rl.analysis.page.make_page": "lifelong_rl.analysis.page.make_comparison_page",
    "lifelong_rl.benchmark": "lifelong_rl.registry",
    "lifelong_rl.benchmark.array_file": "lifelong_rl.storage.array_file",
    "lifelong_rl.benchmark.atomic": "lifelong_rl.storage.atomic",
    "lifelong_rl.benchmark.checkpoint": "lifelong_rl.runs.checkpoint",
    "lifelong_rl.benchmark.config": "lifelong_rl.runs.config",
    "lifelong_rl.benchmark.dataset_cache": "lifelong_rl.storage.dataset_cache",
    "lifelong_rl.benchmark.demonstrations": "lifelong_rl.storage.demonstration_file",
    "lifelong_rl.benchmark.diagnostics": "lifelong_rl.runs.diagnostics",
    "lifelong_rl.benchmark.endings": "lifelong_rl.runs.endings",
    "lifelong_rl.benchmark.evaluation": "lifelong_rl.runs.evaluation",
    "lifelong_rl.benchmark.loop": "lifelong_rl.runs.loop",
    "lifelong_rl.benchmark.metrics": "lifelong_rl.metrics.matrix",
    "lifelong_rl.benchmark.metrics_log": "lifelong_rl.storage.metrics_log",
    "lifelong_rl.benchmark.record": "lifelong_rl.runs.measurements",
    "lifelong_rl.benchmark.run_folder": "lifelong_rl.runs.run_folder",
    "lifelong_rl.benchmark.run_pictures": "lifelong_rl.runs.run_pictures",
    "lifelong_rl.benchmark.seeding": "lifelong_rl.learning.seeding",
    "lifelong_rl.benchmark.sequence": "lifelong_rl.runs.sequence",
    "lifelong_rl.benchmark.setup": "lifelong_rl.runs.setup",
    "lifelong_rl.benchmark.state_tree": "lifelong_rl.storage.state_tree",
    "lifelong_rl.benchmark.study": "lifelong_rl.studies.study",
    "lifelong_rl.benchmark.success_curves": "lifelong_rl.metrics.curves",
    "lifelong_rl.benchmark.sweep": "lifelong_rl.studies.sweep",
    "lifelong_rl.benchmark.update_cost": "lifelong_rl.runs.update_cost",
    "lifelong_rl.benchmark.versions": "lifelong_rl.storage.versions",
    "lifelong_rl.cli.clip": "lifelong_rl.storage.clip",
    "lifelong_rl.cli.compatibility": "lifelong_rl.compatibility",
    "lifelong_rl.continual.base": "lifelong_rl.learning.method",
    "lifelong_rl.continual.projection.flatten": "lifelong_rl.learning.parameters.flatten",
    "lifelong_rl.continual.projection.unflatten": "lifelong_rl.learning.parameters.unflatten",
    "lifelong_rl.learning.features": "lifelong_rl.networks.features",
    "lifelong_rl.learning.gradient_step.loss_gradient": (
        "lifelong_rl.learning.parameters.loss_gradient"
    ),
    "lifelong_rl.vision.results_file": "lifelong_rl.storage.results_file",
}
"""What moved: a module, or a name in a module that stayed, to where it is now."""


def explain_import_error(error: BaseException) -> str:
    """The end of a message that names what a failed import is called today, or "".

    Args:
        error: As it was caught, with its traceback.
    """
    wanted = _find_wanted(error)
    current = None if wanted is None else find_current_name(wanted)
    return "" if current is None else f"; '{wanted}' is '{current}' now (see docs/renaming.md)"


def find_current_name(name: str) -> str | None:
    """What a module, or a name in one, is called now; None if it never had another name."""
    if name in FORMER_NAMES:
        return FORMER_NAMES[name]
    former = name.rpartition(".")[0]
    while former and former not in FORMER_NAMES:
        former = former.rpartition(".")[0]
    if not former:
        return None
    current = FORMER_NAMES[former] + name.removeprefix(former)
    try:
        found = find_spec(current)  # a user's own envs.something was never ours
    except ModuleNotFoundError:
        return None
    return None if found is None else current


def _find_wanted(error: BaseException) -> str | None:
    """The full name that an import statement asked for, None for another error."""
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        # where a package is missing the error names it, and not the module in it
        line = extract_tb(error.__traceback__)[-1].line or ""
        asked = re.match(r"\s*(?:from|import)\s+([\w.]+)", line)
        if asked is not None and f"{asked[1]}.".startswith(f"{error.name}."):
            return asked[1]
        return error.name
    if isinstance(error, ImportError):
        asked = re.match(r"cannot import name '(\w+)' from '([\w.]+)'", str(error))
        return None if asked is None else f"{asked[2]}.{asked[1]}"
    return None
