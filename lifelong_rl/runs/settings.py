"""Settings that come with the package: presets, and files of options that were tuned, as `best/`.

Each is a YAML file whose first comment says what it is; the others say where its options are from.
"""

from __future__ import annotations

from pathlib import Path

from lifelong_rl.errors import UnknownNameError

PREFIX = "best/"
"""Begins the names of settings that were tuned."""
PACKAGE = Path(__file__).parents[1]
FOLDERS = {"": PACKAGE / "presets", PREFIX: PACKAGE / "best"}
"""Where the files are, by what their names begin with."""


def names() -> list[str]:
    """Such as "continual-world" and "best/ewc-sac"."""
    return [
        prefix + path.stem
        for prefix, folder in FOLDERS.items()
        for path in sorted(folder.glob("*.yaml"))
    ]


def find_settings(path: Path) -> Path:
    """The file that a path or a name of settings stands for.

    Args:
        path: Of a file, or a name such as continual-world or best/ewc-sac; a file that is called so
            goes before.

    Raises:
        UnknownNameError: It begins as the names of tuned settings do, and is neither.
    """
    name = path.as_posix()
    if path.exists():
        return path
    known = names()
    if name not in known:
        if name.startswith(PREFIX):
            raise UnknownNameError("settings", name, known, see="lifelong-rl list settings")
        return path
    folder, _, stem = name.rpartition("/")
    return FOLDERS[f"{folder}/" if folder else ""] / f"{stem}.yaml"


def describe(name: str) -> str:
    """What settings are, in one line."""
    first, _, _ = read(name).partition("\n")
    return first.removeprefix("#").strip()


def read(name: str) -> str:
    """The file of settings as it is."""
    return find_settings(Path(name)).read_text(encoding="utf-8")
