"""The manual of one thing: what it is, its options, its references, and who goes with whom.

It comes from the source of the thing's class, which is read, not imported; only what is an object,
such as a sequence, is imported, and neither tasks nor sequences need torch.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from dataclasses import dataclass
from typing import Any

from lifelong_rl import options
from lifelong_rl.compatibility import PAIRS, Partners, find_partners
from lifelong_rl.options import GIVEN_TO_BUILD, REQUIRED, Option, options_of, read_entries
from lifelong_rl.registry import (
    AGENTS,
    ENCODER_METHODS,
    EXPERTS,
    METHODS,
    OBJECTIVES,
    SEQUENCES,
    TASKS,
    UNLABELLED_OBJECTIVES,
    Registry,
)
from lifelong_rl.source import ClassSource

TABLES: dict[str, Registry] = {
    f"{table.kind}s": table
    for table in (
        TASKS,
        SEQUENCES,
        AGENTS,
        METHODS,
        UNLABELLED_OBJECTIVES,
        OBJECTIVES,
        ENCODER_METHODS,
    )
}
"""What there is to choose from, by the kind in the plural."""
FLAGS = {
    "agents": "--agent-options",
    "methods": "--method-options",
    "unlabelled-objectives": "in --agent-options objective_options={...}, as",
    "objectives": "--options",
    "encoder-methods": "--method-options",
}
"""What options are given by, in `run` or `pretrain`."""
SECTION = re.compile(r"(Args|Attributes|Raises|Returns|References):")
WIDTH = 88


@dataclass(frozen=True)
class Manual:
    """What there is to know of one thing.

    Attributes:
        kind: In the plural.
        name: As it is chosen.
        module: Where it is defined; empty if that is not known.
        text: What it is, the first line a sentence; reStructuredText without sections.
        facts: More of it, a name and a value each.
        options: What can be set, in order.
        references: Papers.
        partners: Who goes with it.
    """

    kind: str
    name: str
    module: str
    text: str
    facts: tuple[tuple[str, str], ...] = ()
    options: tuple[Option, ...] = ()
    references: tuple[str, ...] = ()
    partners: tuple[Partners, ...] = ()


def read_manual(kind: str, name: str) -> Manual:
    """The manual of what is called `name`.

    Args:
        kind: A key of `TABLES`.
        name: In that table.

    Raises:
        UnknownNameError: No such name.
        UserError: It has to be imported, and cannot be.
    """
    table = TABLES[kind]
    table.check(name)
    source = table.source(name)
    thing = None
    if source is None or kind in ("tasks", "sequences"):
        thing = table.get(name)
        source = table.source(name)
    doc = source.doc if source is not None else inspect.getdoc(thing) or ""
    text, references = read_docstring(doc)
    if kind == "sequences":
        text, references = table.describe(name), ()
    elif kind == "tasks" and source is not None and table.describe(name) not in text:
        text = f"{table.describe(name)}\n\n{text}"
    found = () if kind not in FLAGS else _read_options(source, thing)
    module = source.file.module if source is not None else getattr(thing, "__module__", "")
    facts = _FACTS[kind](name) if kind in _FACTS else ()
    return Manual(kind, name, module, text, facts, found, references, _partners(table, name))


def read_docstring(doc: str) -> tuple[str, tuple[str, ...]]:
    """A Google docstring without its sections, and its references one by one."""
    text: list[str] = []
    references: list[str] = []
    section = ""
    for line in inspect.cleandoc(doc).splitlines():
        if SECTION.fullmatch(line):
            section = line
        elif line and not line.startswith(" "):
            section = ""
        if not section:
            text.append(line)
        elif section == "References:" and line.startswith("    "):
            if line.startswith("     ") and references:
                references[-1] += f" {line.strip()}"
            else:
                references.append(line.strip())
    return "\n".join(text).strip(), tuple(references)


def read_options(source: ClassSource) -> tuple[Option, ...]:
    """What `options_of` finds, from the source alone.

    Args:
        source: A class that declares its options in a class `Options`, or whose constructor or
            `build` has keyword parameters.
    """
    found: dict[str, Option] = {}
    called = "build" if source.find_function("build") else "__init__"
    for owner in source.lineage:
        for node in owner.node.body:
            if isinstance(node, ast.ClassDef) and node.name == "Options":
                declared = _read_fields(ClassSource(owner.file, node))
                more = {name: one for name, one in declared.items() if name not in found}
                return tuple((found | more).values())
            if isinstance(node, ast.FunctionDef) and node.name == called:
                own = _read_parameters(owner, node)
                found |= {name: option for name, option in own.items() if name not in found}
                if node.args.kwarg is None:
                    return tuple(found.values())
    return tuple(found.values())


def format_manual(manual: Manual) -> str:
    """The manual as plain text."""
    title = f"{manual.name} ({manual.kind.removesuffix('s')})"
    parts = [title, "", manual.text]
    if manual.facts:
        width = max(len(name) for name, _ in manual.facts)
        parts += ["", *(_wrap(f"{name:<{width}}  ", value) for name, value in manual.facts)]
    if manual.options:
        parts += ["", f"options ({FLAGS[manual.kind]} NAME=VALUE ...):"]
        for option in manual.options:
            parts.append(f"  {option.name}: {describe_values(option)}")
            if option.doc:
                parts.append(_wrap("      ", option.doc))
    if manual.references:
        parts += ["", "references:", *(_wrap("  ", one, "    ") for one in manual.references)]
    for partners in manual.partners:
        parts += ["", f"{partners.kind}:"]
        for label, names in (("go with it", partners.fitting), ("do not tell", partners.untold)):
            if names:
                parts.append(_wrap(f"  {label}: ", ", ".join(names), "    "))
        for reason, others in group_by_reason(partners):
            parts.append(_wrap("  ", f"not {', '.join(others)} ({reason})", "    "))
    if manual.module:
        parts += ["", f"defined in {manual.module}"]
    return "\n".join(parts)


def describe_values(option: Option) -> str:
    """What an option may be and is by default, such as "a number above 0; default 0.1"."""
    if option.default is REQUIRED:
        return f"{option.allowed}; to be given"
    return f"{option.allowed}; default {spell(option.default)}"


def group_by_reason(partners: Partners) -> list[tuple[str, list[str]]]:
    """Why some do not go with a thing, each reason with all names that it is for."""
    found: dict[str, list[str]] = {}
    for name, reason in partners.refused.items():
        found.setdefault(reason, []).append(name)
    return list(found.items())


def spell(value: Any) -> str:
    """A value as it is given on a command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(spell, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _read_options(source: ClassSource | None, thing: Any) -> tuple[Option, ...]:
    if source is not None:
        return read_options(source)
    return tuple(options_of(thing).values()) if callable(thing) else ()


def _read_fields(declared: ClassSource) -> dict[str, Option]:
    """The fields of a class `Options`, its own before those that it inherits."""
    found: dict[str, Option] = {}
    fixed: set[str] = set()
    docs: dict[str, str] = {}
    for owner in declared.lineage:
        docs = read_entries(owner.doc, "Attributes") | docs
        for node in owner.node.body:
            if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
                continue
            name = node.target.id
            if name in found or name in fixed:
                continue
            if isinstance(node.value, ast.Call):  # field(default=..., init=False): no option
                fixed.add(name)
                continue
            default = REQUIRED if node.value is None else ast.literal_eval(node.value)
            found[name] = Option(name, _evaluate(node.annotation), default)
    return {
        name: Option(name, option.annotation, option.default, docs.get(name, ""))
        for name, option in found.items()
    }


def _read_parameters(owner: ClassSource, function: ast.FunctionDef) -> dict[str, Option]:
    """The options that are keyword parameters of a function."""
    docs = read_entries(owner.doc, "Args")
    docs |= read_entries(ast.get_docstring(function), "Args")
    arguments = function.args
    defaulted = arguments.args[len(arguments.args) - len(arguments.defaults) :]
    parameters = [
        *zip(defaulted, arguments.defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    return {
        node.arg: Option(
            node.arg,
            Any if node.annotation is None else _evaluate(node.annotation),
            REQUIRED if default is None else _literal(default),
            docs.get(node.arg, ""),
        )
        for node, default in parameters
        if node.arg not in (*GIVEN_TO_BUILD, "options")
    }


def _evaluate(annotation: ast.expr) -> Any:
    """What an annotation means by the names of `lifelong_rl.options`; else its text."""
    text = ast.unparse(annotation)
    try:
        return eval(text, dict(vars(options)))  # names and limits, from a file that would be run
    except Exception:
        return text


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def _partners(table: Registry, name: str) -> tuple[Partners, ...]:
    return tuple(
        find_partners(table, name, other)
        for pair in PAIRS
        for one, other in (pair, pair[::-1])
        if one is table
    )


def _describe_agent(name: str) -> tuple[tuple[str, str], ...]:
    return (("observes", "state or pixels" if AGENTS.declared(name, "sees") else "state"),)


def _describe_task(name: str) -> tuple[tuple[str, str], ...]:
    task, sequences = TASKS[name], []
    for sequence in SEQUENCES:
        try:
            if name in _get_sequence(sequence).tasks:
                sequences.append(sequence)
        except Exception:  # a broken plug-in's
            continue
    return (
        ("version", task.revision()),
        ("steps of an episode", str(task.horizon)),
        ("cameras", ", ".join(task.cameras)),
        ("expert", "yes" if name in EXPERTS else "none: it can be learned by reinforcement"),
        ("sequences", ", ".join(sequences) or "none"),
    )


def _get_sequence(name: str) -> Any:
    """A sequence, made where what is registered is a class or a function that makes it."""
    found = SEQUENCES[name]
    return found() if isinstance(found, type) or not hasattr(found, "make_env") else found


def _describe_sequence(name: str) -> tuple[tuple[str, str], ...]:
    sequence = _get_sequence(name)
    steps = getattr(sequence, "steps_per_task", None)
    of_phases = {str(phase.steps) for phase in getattr(sequence, "phases", ())}
    if of_phases:
        told = of_phases.pop() if len(of_phases) == 1 else "of each phase its own"
    else:
        told = "as for every sequence" if steps is None else str(steps)
    return (("tasks", ", ".join(sequence.tasks)), ("steps per task", told))


_FACTS = {
    "agents": _describe_agent,
    "tasks": _describe_task,
    "sequences": _describe_sequence,
}


def _wrap(first: str, text: str, indent: str | None = None) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first) if indent is None else indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
