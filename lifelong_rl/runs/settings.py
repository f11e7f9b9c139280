"""Settings that come with the package: files of options that were tuned, under `best/`."""

from __future__ import annotations

from pathlib import Path

from lifelong_rl.errors import UnknownNameError

PREFIX = "best/"
"""Begins the names of settings."""
FOLDER = Path(__file__).parents[1] / "best"
"""Holds a YAML file of each; its first comment says what it is, the others which study found it."""


def names() -> list[str]:
    """Such as "best/ewc-sac"."""
    return sorted(PREFIX + path.stem for path in FOLDER.glob("*.yaml"))


def find_settings(path: Path) -> Path:
    """The file that a path or a name of settings stands for.

    Args:
        path: Of a file, or a name such as best/ewc-sac; a file that is called so goes before.

    Raises:
        UnknownNameError: It begins as the names do, and is neither.
    """
    name = path.as_posix()
    if path.exists() or not name.startswith(PREFIX):
        return path
    if name not in names():
        raise UnknownNameError("settings", name, names(), see="lifelong-rl list settings")
    return FOLDER / f"{name.removeprefix(PREFIX)}.yaml"


def describe(name: str) -> str:
    """What settings are, in one line."""
    first, _, _ = read(name).partition("\n")
    return first.removeprefix("#").strip()


def read(name: str) -> str:
    """The file of settings as it is."""
    return find_settings(Path(name)).read_text(encoding="utf-8")
