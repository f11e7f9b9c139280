"""Python files read without running them: what they register, and what their classes say.

Commands that only tell what there is import no learner and no torch; they read the source instead.
What is to be read this way has to stand in the file as it is: names and declarations are literals.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Registration:
    """What a file registers.

    Attributes:
        name: In the table.
        module: The file's.
        attribute: What the class is called in its file; empty where it is no class.
    """

    name: str
    module: str
    attribute: str


class SourceFile:
    """A module's syntax tree.

    Args:
        module: Its dotted name.
        path: Its file.

    Raises:
        OSError: The file cannot be read.
        SyntaxError: It is not Python.
    """

    def __init__(self, module: str, path: Path) -> None:
        self.module = module
        self.is_package = path.name == "__init__.py"
        self.tree = ast.parse(path.read_bytes(), str(path))
        self._classes: dict[str, ClassSource] = {}

    @cached_property
    def imports(self) -> dict[str, tuple[str, str]]:
        """The module of each name imported at the top, and its name there; "" for a module."""
        found: dict[str, tuple[str, str]] = {}
        for node in self._run_on_import():
            if isinstance(node, ast.ImportFrom):
                module = self._absolute(node)
                found |= {alias.asname or alias.name: (module, alias.name) for alias in node.names}
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    name = alias.asname or _package(alias.name)
                    found[name] = (alias.name if alias.asname else name, "")
        return found

    def registrations(self, table: str) -> tuple[list[Registration], bool]:
        """What the file registers by `TABLE.register("NAME")`, and whether it computes other names.

        Args:
            table: What the table is called, such as "METHODS".
        """
        found: dict[str, Registration] = {}
        computed = False
        classes = {
            decorator: node.name
            for node in self.tree.body
            if isinstance(node, ast.ClassDef)
            for decorator in node.decorator_list
        }
        for node in self._run_on_import():
            if not isinstance(node, ast.Call):
                continue
            if _called(node) == f"register_{table.lower().removesuffix('s')}":
                computed = True
            elif _called(node) == f"{table}.register" and node.args:
                name = node.args[0]
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    attribute = classes.get(node, "")
                    found[name.value] = Registration(name.value, self.module, attribute)
                else:
                    computed = True
        return list(found.values()), computed

    def find_class(self, name: str) -> ClassSource | None:
        """A class of this file, or one that it imports, by its name there ("Outer.Inner" too)."""
        if name not in self._classes:
            found = self._find_class(name)
            if found is None:
                return None
            self._classes[name] = found
        return self._classes[name]

    def _find_class(self, name: str) -> ClassSource | None:
        outer, _, inner = name.partition(".")
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef) and node.name == outer:
                found = ClassSource(self, node)
                return found.find_class(inner) if inner else found
        module, attribute = self.imports.get(outer, ("", ""))
        if module == self.module or not self._is_read(module):
            return None
        return find_class(module, ".".join(part for part in (attribute, inner) if part))

    def declares_nothing(self, name: str) -> bool:
        """Whether a base class, by its name here, is one of Python or of another package."""
        outer = name.partition(".")[0]
        module, _ = self.imports.get(outer, ("", ""))
        return not self._is_read(module) if module else hasattr(builtins, outer)

    def _is_read(self, module: str) -> bool:
        # Other packages declare nothing, and some, such as torch, take long to read.
        return _package(module) in ("lifelong_rl", _package(self.module))

    def _run_on_import(self) -> Iterator[ast.AST]:
        """All that is not inside of a function or a class."""
        for node in self.tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                parts: list[ast.expr] | list[ast.stmt] = node.decorator_list
            else:
                parts = [node]
            for part in parts:
                yield from ast.walk(part)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.module.split(".")
        parts = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*parts, *([node.module] if node.module else [])])


@dataclass(frozen=True)
class ClassSource:
    """A class as its file tells of it.

    Attributes:
        file: Holds it.
        node: The class.
    """

    file: SourceFile
    node: ast.ClassDef

    @property
    def doc(self) -> str:
        """Its docstring without indentation; empty if there is none."""
        return ast.get_docstring(self.node) or ""

    @cached_property
    def lineage(self) -> tuple[ClassSource, ...]:
        """The class and those that it inherits from, nearest first, as far as they can be read."""
        found = {(self.file.module, self.node.name): self}
        for base in self._bases:
            parent = self.file.find_class(base)
            for each in parent.lineage if parent else ():
                found.setdefault((each.file.module, each.node.name), each)
        return tuple(found.values())

    @cached_property
    def is_whole(self) -> bool:
        """Whether all of `lineage` that may declare something could be read.

        `class Mine(METHODS.get("ewc"))` is not: who its base is shows when it is imported.
        """
        return all(
            each.file.declares_nothing(base) or each.file.find_class(base) is not None
            for each in self.lineage
            for base in each._bases
        )

    @property
    def _bases(self) -> list[str]:
        """The base classes as they are written, without what stands in brackets."""
        return [
            ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
            for base in self.node.bases
        ]

    def declared(self, name: str) -> Any:
        """The value of a class attribute that the nearest of the classes sets by a literal.

        Raises:
            AttributeError: No class sets it.
            ValueError: It is set by something else.
        """
        for each in self.lineage:
            for node in each.node.body:
                if isinstance(node, ast.Assign):
                    target = node.targets[0]
                elif isinstance(node, ast.AnnAssign):
                    target = node.target
                else:
                    continue
                if isinstance(target, ast.Name) and target.id == name and node.value is not None:
                    return ast.literal_eval(node.value)
        raise AttributeError(name)

    def find_class(self, name: str) -> ClassSource | None:
        """A class that is nested in this one or in one that it inherits from."""
        for each in self.lineage:
            for node in each.node.body:
                if isinstance(node, ast.ClassDef) and node.name == name:
                    return ClassSource(each.file, node)
        return None

    def find_function(self, name: str) -> ast.FunctionDef | None:
        """A function of this class or of one that it inherits from."""
        for each in self.lineage:
            for node in each.node.body:
                if isinstance(node, ast.FunctionDef) and node.name == name:
                    return node
        return None


def find_class(module: str, name: str) -> ClassSource | None:
    """A class by its module and its name there; None if its source cannot be read."""
    try:
        found = read(module).find_class(name)
    except (ImportError, OSError, SyntaxError, ValueError):
        return None
    inner, _, rest = name.partition(".")  # of a module of the package
    return found if found is not None or not rest else find_class(f"{module}.{inner}", rest)


def read(module: str) -> SourceFile:
    """A module's source; it is not imported, nor are the packages that it is in.

    Raises:
        ImportError: There is no such module, or it has no source.
        OSError: The file cannot be read.
        SyntaxError: It is not Python.
    """
    return _parse(module, _find_file(module))


def read_registrations(module: str, table: str) -> tuple[list[Registration], bool]:
    """See `SourceFile.registrations`; a file that does not register anything is not parsed.

    Raises:
        ImportError: There is no such module, or it has no source.
        OSError: The file cannot be read.
        SyntaxError: It is not Python.
    """
    text = _find_file(module).read_bytes()
    if not any(word in text for word in (f"{table}.register(".encode(), b"register_")):
        return [], False
    return read(module).registrations(table)


def list_modules(module: str) -> Iterator[str]:
    """The module itself and, if it is a package, the modules in its folder by name.

    Raises:
        ImportError: There is no such module.
    """
    yield module
    folders = locate(module).submodule_search_locations or ()
    files = {path.stem for folder in folders for path in Path(folder).glob("*.py")}
    yield from (f"{module}.{stem}" for stem in sorted(files - {"__init__"}))


def locate(module: str) -> ModuleSpec:
    """Where a module lies.

    Raises:
        ImportError: There is no such module.
    """
    top, *inner = module.split(".")
    known = sys.modules.get(module)
    spec = getattr(known, "__spec__", None)
    if spec is None:
        spec, name = find_spec(top), top
        for part in inner:
            name = f"{name}.{part}"
            within = spec and spec.submodule_search_locations
            spec = PathFinder.find_spec(name, within) if within else None
    if spec is None:
        raise ImportError(f"no module named '{module}'")
    return spec


def summary(doc: str) -> str:
    """A docstring's first paragraph, as one line."""
    return " ".join(inspect.cleandoc(doc).partition("\n\n")[0].split())


def _find_file(module: str) -> Path:
    origin = locate(module).origin
    if origin is None or not origin.endswith(".py"):
        raise ImportError(f"the module '{module}' has no source")
    return Path(origin)


@cache
def _parse(module: str, path: Path) -> SourceFile:
    return SourceFile(module, path)


def _package(module: str) -> str:
    return module.partition(".")[0]


def _called(call: ast.Call) -> str:
    """The last two names of what is called, such as "METHODS.register"."""
    function = call.func
    if isinstance(function, ast.Name):
        return function.id
    if not isinstance(function, ast.Attribute):
        return ""
    if function.attr.startswith("register_"):
        return function.attr
    owner = function.value
    last = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
    return f"{last}.{function.attr}"
