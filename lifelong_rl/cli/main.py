"""From the command line to a command, and from an error to one line and an exit code."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Sequence

import lifelong_rl
from lifelong_rl.cli.compare import Compare
from lifelong_rl.cli.completion import Completion
from lifelong_rl.cli.demos import Demos
from lifelong_rl.cli.doctor import Doctor
from lifelong_rl.cli.eval import Eval
from lifelong_rl.cli.frames import Frames
from lifelong_rl.cli.list import List
from lifelong_rl.cli.options import Command
from lifelong_rl.cli.output import patient_output
from lifelong_rl.cli.pretrain import Pretrain
from lifelong_rl.cli.probe import Probe
from lifelong_rl.cli.record import Record
from lifelong_rl.cli.report import Report
from lifelong_rl.cli.resume import Resume
from lifelong_rl.cli.run import Run
from lifelong_rl.cli.submit import Submit
from lifelong_rl.cli.sweep import Sweep
from lifelong_rl.cli.tune import Tune
from lifelong_rl.errors import UnknownNameError, UserError, is_out_of_memory, no_exit
from lifelong_rl.runs.endings import RunFailed, RunStopped
from lifelong_rl.text import one_line

COMMANDS: dict[str, type[Command]] = {
    "run": Run,
    "resume": Resume,
    "sweep": Sweep,
    "tune": Tune,
    "eval": Eval,
    "compare": Compare,
    "report": Report,
    "submit": Submit,
    "record": Record,
    "demos": Demos,
    "frames": Frames,
    "pretrain": Pretrain,
    "probe": Probe,
    "list": List,
    "doctor": Doctor,
    "completion": Completion,
}
Completion.COMMANDS = COMMANDS
IN_FOLDERS = ("run", "resume", "sweep", "tune")
"""Commands whose results are in folders: they have not failed if what they print is lost."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows the program's name; by default that of this process.

    Returns:
        Exit code: 0 done, 1 failed, 2 bad input, 129, 130, 138 or 143 stopped.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    with patient_output() as out:
        exit_code = _main(words)
        out.flush()
        if out.lost and out.error is not None:
            print(f"lifelong-rl: cannot write the output: {out.error.strerror}", file=sys.stderr)
            return exit_code if words[:1] and words[0] in IN_FOLDERS else exit_code or 1
    return exit_code


def _main(words: Sequence[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(help_text())
        return 0
    if words[0] == "--version":
        print(f"lifelong-rl {lifelong_rl.__version__}")
        return 0
    try:
        return run_command(words[0], words[1:])
    except KeyboardInterrupt:
        print("lifelong-rl: stopped", file=sys.stderr)
        return 130
    except Exception as error:
        message, exit_code = explain(error)
        if "--debug" in words:
            traceback.print_exc()
        else:
            print(f"lifelong-rl: {message}", file=sys.stderr)
        return exit_code


def run_command(name: str, arguments: Sequence[str]) -> int:
    """Parse the arguments of a command and do it."""
    if name not in COMMANDS:
        raise UnknownNameError("command", name, COMMANDS, see="lifelong-rl --help")
    command = COMMANDS[name].parse(name, arguments)  # which ends the program after --help
    with no_exit():
        return command()


def explain(error: Exception) -> tuple[str, int]:
    """One line about an error, and the exit code."""
    message, exit_code = _explain(error)
    return one_line(message), exit_code


def _explain(error: Exception) -> tuple[str, int]:
    if isinstance(error, UserError):
        return str(error), 2
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}", 2
    if isinstance(error, RunStopped):
        return str(error), error.exit_code
    if isinstance(error, RunFailed):
        return str(error), 1
    if is_out_of_memory(error):
        return f"there is not enough memory: {error}; ask for less", 1
    return f"unexpected {type(error).__name__}: {error} (add --debug for the traceback)", 1


def help_text() -> str:
    """What `lifelong-rl --help` prints."""
    lines = [
        "usage: lifelong-rl COMMAND [OPTIONS]",
        "",
        "Learn a sequence of manipulation tasks, and measure what is forgotten.",
        "",
        "commands:",
    ]
    for name, command in COMMANDS.items():
        lines.append(f"  {name:<10} {(inspect.getdoc(command) or '').partition(chr(10))[0]}")
    lines += ["", "lifelong-rl COMMAND --help tells the options; --version the version."]
    return "\n".join(lines)
