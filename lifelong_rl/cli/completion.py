"""`lifelong-rl completion`: what a shell needs to complete what is typed."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import tyro

from lifelong_rl.cli.options import Choice, Command, find_options

SHELLS = ("bash", "zsh", "fish")


@dataclass(frozen=True, kw_only=True)
class Completion(Command):
    """Print a script that completes commands, options and names in bash, zsh or fish.

    Add a line to the file that the shell reads when it starts, and open a new one:

        ~/.bashrc                    source <(lifelong-rl completion bash)
        ~/.zshrc, after compinit     source <(lifelong-rl completion zsh)
        ~/.config/fish/config.fish   lifelong-rl completion fish | source

    A file that holds the script is read faster. It knows the names that there are when it is made,
    those of installed packages too.

    Attributes:
        shell: bash, zsh or fish.
    """

    shell: Annotated[
        Literal["bash", "zsh", "fish"],
        tyro.conf.Positional,
        Choice,
        tyro.conf.arg(metavar="SHELL"),
    ]

    COMMANDS: ClassVar[Mapping[str, type[Command]]] = {}
    """All commands by name; whoever lists them sets it."""

    def __call__(self) -> int:
        """Print the script."""
        make = _make_fish if self.shell == "fish" else _make_bash
        lines = [f"# Completion of lifelong-rl, made by: lifelong-rl completion {self.shell}"]
        if self.shell == "zsh":
            lines.append("autoload -Uz bashcompinit && bashcompinit")
        print("\n".join([*lines, *make(self.COMMANDS)]))
        return 0


def _make_bash(commands: Mapping[str, type[Command]]) -> Iterator[str]:
    """For bash, and for zsh, which has a stand-in for what bash offers."""
    yield from (
        "_lifelong_rl() {",
        '    local word="${COMP_WORDS[COMP_CWORD]}" words=""',
        '    local before="${COMP_WORDS[COMP_CWORD-1]}" command="${COMP_WORDS[1]}"',
        '    if [ "$COMP_CWORD" -eq 1 ]; then',
        f'        words="{" ".join([*commands, "--help", "--version"])}"',
        "    else",
        '        case "$command $before" in',
    )
    for name, command in commands.items():
        for option, values in _values(name, command).items():
            yield f'            "{name} {option or name}") words="{" ".join(values)}" ;;'
    yield from (
        "        esac",
        '        case "$word" in -*)',
        '            case "$command" in',
    )
    for name, command in commands.items():
        options = [*find_options(command), "--help"]
        yield f'                {name}) words="{" ".join(options)}" ;;'
    yield from (
        "            esac ;;",
        "        esac",
        "    fi",
        '    COMPREPLY=($(compgen -W "$words" -- "$word"))',
        "}",
        "complete -o default -F _lifelong_rl lifelong-rl",  # paths, where there is no word
    )


def _make_fish(commands: Mapping[str, type[Command]]) -> Iterator[str]:
    yield from (
        "function __lifelong_rl_command",
        "    set -l words (commandline -opc)",
        '    test "$words[2]" = "$argv[1]"',
        "end",
    )
    program = "complete -c lifelong-rl"
    for name, command in commands.items():
        told = (inspect.getdoc(command) or "").partition("\n")[0].replace("'", "\\'")
        yield f"{program} -n '__lifelong_rl_command \"\"' -f -a {name} -d '{told}'"
    for name, command in commands.items():
        condition = f"-n '__lifelong_rl_command {name}'"
        values = _values(name, command)
        if "" in values:
            yield f"{program} {condition} -f -a '{' '.join(values[''])}'"
        for option, takes_value in find_options(command).items():
            end = ""
            if option in values:
                end = f" -x -a '{' '.join(values[option])}'"
            elif takes_value:
                end = " -r"
            yield f"{program} {condition} -l {option.removeprefix('--')}{end}"


def _values(name: str, command: type[Command]) -> dict[str, list[str]]:
    """What options of a command may be, where that is one of some names.

    Returns:
        Names by option; by "" those of the word that follows the command.
    """
    from lifelong_rl.analysis.groups import MIXABLE
    from lifelong_rl.manual import TABLES

    tables: dict[str, Iterable[str]] = {
        "--agent": TABLES["agents"],
        "--method": TABLES["encoder-methods" if name == "pretrain" else "methods"],
        "--objective": TABLES["objectives"],
        "--sequence": [*TABLES["sequences"], *TABLES["tasks"]],
        "--task": TABLES["tasks"],
        "--observation": ("state", "pixels"),
        "--encoder-mode": ("frozen", "finetune", "scratch"),
        "--device": ("auto", "cpu", "cuda", "mps"),
        "--mix": MIXABLE,
    }
    found = {o: list(tables[o]) for o in find_options(command) if o in tables}
    if name == "list":
        found[""] = list(dict.fromkeys([*TABLES, *(n for t in TABLES.values() for n in t)]))
    if name == "completion":
        found[""] = list(SHELLS)
    return found
