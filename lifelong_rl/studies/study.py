"""A study: the runs that a file asks for, one for each sequence, agent, method and seed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

from lifelong_rl import continual
from lifelong_rl.compatibility import read_offers
from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.options import check_options
from lifelong_rl.registry import AGENTS, load_plugins
from lifelong_rl.runs.config import (
    FORMER,
    MAY_CHANGE,
    RunConfig,
    check_fields,
    flatten,
    read_mapping,
    tell_differences,
    with_underscores,
)
from lifelong_rl.runs.protocol import fill
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.runs.setup import Setup, prepare
from lifelong_rl.storage.lock import is_locked
from lifelong_rl.storage.versions import installed
from lifelong_rl.studies.grid import fit_name, grid_points, read_grid

LISTS = {"sequences": "sequence", "agents": "agent", "methods": "method", "seeds": "seed"}
"""Lists of a block, and the field of a run that each is for."""
OPTIONS = {"agent_options": "agents", "method_options": "methods"}
"""Options of a block, and the list whose names they are given for."""
COMMON = tuple(
    field.name
    for field in dataclasses.fields(RunConfig)
    if field.name not in (*LISTS.values(), *OPTIONS)
)
"""Fields of a run that a block sets for all of its cells."""
VARIED = tuple(name for name in COMMON if name not in (*MAY_CHANGE, "plugin", "protocol"))
"""Fields of a run that a grid may vary: what decides its numbers."""
DEFAULTS = {"num_threads": 1}
"""Where a study differs from a run: the other cores have cells of their own."""
QUICK = {"episodes": 1}
"""Options of agents that have them; they make trying quick."""

CellState = Literal["to do", "running elsewhere", "finished"]


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        path: Its folder.
        setup: What is run.
    """

    path: Path
    setup: Setup

    @property
    def name(self) -> str:
        """That of its folder."""
        return self.path.name

    @property
    def num_steps(self) -> int:
        """Environment steps of all tasks."""
        return self.setup.starts[-1]

    def find_state(self) -> CellState:
        """How it stands, read from its folder.

        Raises:
            UserError: The folder holds another run, or cannot be read.
        """
        if (self.path / "config.yaml").is_file():
            folder = RunFolder.open(self.path)
            results = folder.results()
            self._refuse_other(folder.config, results)
            if results:
                return "finished"
        return "running elsewhere" if is_locked(self.path) else "to do"

    def find_refusal(self) -> str | None:
        """Why the method cannot serve the agent; None if it can.

        What both declare decides, and then whether the agent can be made. An agent that declares
        nothing begins a first task.

        Raises:
            UserError: Methods do not go together, the agent does not accept a value of an option,
                or one that declares nothing cannot learn the sequence at all.
        """
        config = replace(self.setup.config, device="cpu")  # GPUs are for the cells' own processes
        setup = replace(self.setup, config=config)
        continual.make(config.method, **config.method_options)
        if read_offers(AGENTS, config.agent) is not None:
            refusal = setup.refusal
            if refusal is None:
                _build(setup)
            return refusal
        try:
            _begin(setup)
        except UserError as error:
            alone = replace(config, method="finetune", method_options={})
            _begin(replace(setup, config=alone, interleaves=False))
            return str(error)
        except Exception:  # its run will fail with this, and tell where
            return None
        return None

    def _refuse_other(self, config: RunConfig, results: Mapping[str, Any]) -> None:
        """Raise UserError unless what is in the folder has the numbers that this cell would have.

        Args:
            config: Of the run in the folder.
            results: Of the run in the folder; empty unless it has finished.
        """
        there, here = _deciding(config), _deciding(self.setup.config)
        if {*config.plugin} <= {*self.setup.config.plugin}:
            if there != here:  # what was added since is as it is by default
                there = _deciding(prepare(config, config.plugin).config)
            there["plugin"] = here["plugin"]  # more of them decide nothing of a run without them
        else:  # they are not imported for this, and only they tell what else it is
            there, here = ({"plugin": fields["plugin"]} for fields in (there, here))
        if results:  # for the others, their checkpoints are checked when they go on
            there |= {"tasks": results["task_versions"], "MuJoCo": results["versions"]["mujoco"]}
            here |= {"tasks": self.setup.sequence.versions(), "MuJoCo": installed("mujoco")}
        problem = tell_differences(there, here)
        if problem:
            raise UserError(
                f"{self.path} holds another run ({problem}); move it away, or give the study "
                "another folder of runs or the block a name"
            )


@dataclass(frozen=True)
class Study:
    """What a study file asks for.

    Attributes:
        path: The file.
        runs: Folder of the cells' folders.
        cells: In the order in which they are to be run: those of the lowest seed first, so that
            half a study compares everything with everything, and then as in the file.
    """

    path: Path
    runs: Path
    cells: tuple[Cell, ...]


def read_study(path: Path, runs: Path | None = None, plugins: Collection[str] = ()) -> Study:
    """Read a study file.

    It is YAML, with either dashes or underscores in its names. A block has the lists `sequences`,
    `agents`, `methods` and `seeds`, and each combination is a cell. A block may also have any
    other field of `RunConfig`, the same for its cells, but `agent_options` and `method_options`
    are given by the name of the agent or method: `method_options: {ewc: {strength: 1e3}}`.

    A block may have a `grid`: lists of values for the same fields and options, of which each
    combination is run, `grid: {method_options: {ewc: {strength: [1e2, 1e3]}}}`. What varies is
    added to the names of the folders, as in arm3-sac-ewc-seed0-strength=100.

    The file holds a list of `blocks`; what stands beside them is for every block that does not
    say otherwise itself, and without `blocks` it is the only one. Cells that come twice are run
    once. If two blocks have cells that differ in options alone, one of the blocks needs a `name`:
    it is added to the names of its cells' folders, which are otherwise those of `lifelong-rl run`.

    Args:
        path: The file.
        runs: Folder of the cells' folders, relative to the working directory; by default what the
            file says in `runs`, or else runs/STUDY.
        plugins: Modules to import first, see `lifelong_rl.runs.setup.prepare`. Those that the file
            does not name become part of all cells, as `run --plugin` makes them part of a run.

    Raises:
        UserError: The file cannot be read, or asks for what is not there or contradicts itself.
    """
    return make_study(read_mapping(path), path, runs, plugins)


def make_study(
    content: Mapping[str, Any],
    path: Path,
    runs: Path | None = None,
    plugins: Collection[str] = (),
) -> Study:
    """The study that the content of a file asks for, see `read_study`.

    Raises:
        UserError: It asks for what is not there or contradicts itself.
    """
    content = dict(content)
    if "space" in content:
        raise UserError(f"{path} has a space to search; for that there is: lifelong-rl tune {path}")
    folder = content.pop("runs", f"runs/{path.stem}")
    blocks = content.pop("blocks", [{}])
    try:
        folder = check_options(Study, {"runs": folder}, "")["runs"]
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if not (isinstance(blocks, list) and blocks):
        raise UserError(f"{path}: blocks must be a list of what the study has, not {blocks!r}")
    _check_names(content, (*LISTS, *OPTIONS, *COMMON, "grid", "runs", "blocks"), path)
    load_plugins(plugins)  # which may have what a grid varies
    content |= _read_grid(content, path)
    cells: dict[str, Cell] = {}
    merged = []
    for block in blocks:
        own = with_underscores(block, path)
        _check_names(own, (*LISTS, *OPTIONS, *COMMON, "grid", "name"), path)
        own |= _read_grid(own, path)
        merged.append({**content, **own})
        for cell in _read_cells(merged[-1], path, runs or folder, plugins):
            other = cells.setdefault(cell.name, cell)
            problem = tell_differences(_deciding(other.setup.config), _deciding(cell.setup.config))
            if problem:
                raise UserError(
                    f"{path}: {cell.name} comes twice ({problem}); give one of the blocks a name"
                )
        _check_options(own, merged[-1:], path)
    _check_options(content, merged, path)
    in_file = {module for cell in cells.values() for module in cell.setup.config.plugin}
    others = [module for module in plugins if module not in in_file]
    named = [_with_plugins(cell, others) for cell in cells.values()]
    by_seed = sorted(named, key=lambda cell: cell.setup.config.seed)
    return Study(path, runs or folder, tuple(by_seed))


def _read_cells(
    block: Mapping[str, Any], path: Path, runs: Path, plugins: Collection[str]
) -> Iterator[Cell]:
    """The cells of a block.

    Raises:
        UserError: A list is missing, or a cell is not what can be run.
    """
    name = block.get("name")
    if name is not None and not re.fullmatch(r"[\w.+-]+", str(name)):
        raise UserError(
            f"{path}: the name of a block must be letters, digits and any of .+-_, not {name!r}"
        )
    common = {field: block[field] for field in (*COMMON, *FORMER) if field in block}
    for values in product(*(_read_list(block, key, path) for key in LISTS)):
        chosen = check_fields(dict(zip(LISTS.values(), values, strict=True)), path)
        for kind, key in OPTIONS.items():
            chosen[kind] = block.get(kind, {}).get(chosen[LISTS[key]], {})
        given = check_fields({**common, **chosen}, path)
        ending = "" if name is None else f"-{name}"
        place = f"{path}: {RunConfig(**given).folder_name}{ending}"
        try:
            points = [*grid_points(block.get("grid", {}), given)]
        except UserError as error:
            raise UserError(f"{place}: {error}") from error
        for point in points:
            try:
                config = RunConfig(**{**DEFAULTS, **fill(point.over(given))})
                setup = prepare(config, plugins)
                folder = fit_name(setup.config.folder_name + ending, point.suffix)
                yield Cell(runs / folder, setup)
            except UserError as error:
                raise UserError(f"{place}{point.suffix}: {error}") from error


def _with_plugins(cell: Cell, plugins: Iterable[str]) -> Cell:
    """The cell with more plug-ins, so that its folder tells what it was made with."""
    config = cell.setup.config
    together = tuple(dict.fromkeys((*config.plugin, *plugins)))
    return replace(cell, setup=replace(cell.setup, config=replace(config, plugin=together)))


def _read_list(block: Mapping[str, Any], key: str, path: Path) -> list[Any]:
    """A list of a block; one value stands for a list of it."""
    values = block.get(key, [])
    values = values if isinstance(values, list) else [values]
    if not values:
        raise UserError(f"{path} has a block without {key}; list at least one")
    return values


def _check_names(content: Mapping[str, Any], known: tuple[str, ...], path: Path) -> None:
    for name in content:
        if name not in known and name not in FORMER:
            raise UnknownNameError("option", name, known, see=str(path))
    for kind, key in OPTIONS.items():
        given = content.get(kind, {})
        if not isinstance(given, dict):
            raise UserError(f"{path}: {kind} must be given by {LISTS[key]}, not {given!r}")


def _read_grid(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    return {"grid": read_grid(content["grid"], VARIED, path)} if "grid" in content else {}


def _check_options(
    given: Mapping[str, Any], blocks: Sequence[Mapping[str, Any]], path: Path
) -> None:
    """Raise UnknownNameError for options of an agent or method that none of the blocks has."""
    for kind, key in OPTIONS.items():
        known = {name for block in blocks for name in _read_list(block, key, path)}
        for name in (*given.get(kind, {}), *given.get("grid", {}).get(kind, {})):
            if name not in known:
                raise UnknownNameError(f"{LISTS[key]} in {kind}", str(name), known, see=str(path))


def _build(setup: Setup) -> None:
    """Make a run's agent: options that do not go together are found by that.

    Raises:
        UserError: It cannot be made.
    """
    try:
        with closing(setup.make_env(0)) as env:
            setup.build_agent(env)
    except UserError:
        raise
    except Exception:  # its run will fail with this, and tell where
        return


def _begin(setup: Setup) -> None:
    """Let a run's agent begin its first task."""
    options = setup.config.agent_options
    quick = {option: value for option, value in QUICK.items() if option in options}
    config = replace(setup.config, agent_options={**options, **quick})
    with closing(setup.make_env(0)) as env:
        agent, _ = replace(setup, config=config).build_agent(env)
        agent.begin_task(0, env)


def _deciding(config: RunConfig) -> dict[str, Any]:
    """All that decides the numbers of a run, options one by one."""
    return {name: value for name, value in flatten(config).items() if name not in MAY_CHANGE}
