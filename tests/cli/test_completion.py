"""Shells complete the program as a whole: commands, options, names, and paths elsewhere."""

import re
import shutil
import subprocess

import pytest

from lifelong_rl.cli import main
from lifelong_rl.cli.main import COMMANDS
from lifelong_rl.cli.options import find_options
from lifelong_rl.registry import AGENTS, ENCODER_METHODS, METHODS

CASES = [
    (["re"], {"resume", "report", "record"}),
    (["run", "--agent", "b"], {"bc", "bc-stream"}),
    (["run", "--agent", "bc", "--method", "ew"], {"ewc"}),
    (["run", "--sequence", "drawer"], {"drawer-open", "drawer-close"}),
    (["run", "--observation", ""], {"state", "pixels"}),
    (["run", "--agent-"], {"--agent-options"}),
    (["run", "--no-q"], {"--no-quiet"}),
    (["resume", "--fr"], {"--from"}),
    (["pretrain", "--method", ""], set(ENCODER_METHODS)),
    (["compare", "--mix", "m"], {"mujoco"}),
    (["list", "sa"], {"sac"}),
    (["completion", "f"], {"fish"}),
]
BASH = """
source "$1"; shift
complete -p lifelong-rl >/dev/null || exit 1
COMP_WORDS=(lifelong-rl "$@") COMP_CWORD=$#
_lifelong_rl
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def script(tmp_path, capsys):
    def write(shell):
        assert main(["completion", shell]) == 0
        path = tmp_path / "script"
        path.write_text(capsys.readouterr().out)
        return path

    return write


def call(shell, *words):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    done = subprocess.run([shell, *map(str, words)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return {line.partition("\t")[0] for line in done.stdout.splitlines() if line}


def test_bash(script):
    path = script("bash")
    for words, expected in CASES:
        assert call("bash", "--norc", "-c", BASH, "bash", path, *words) == expected, words
    assert call("bash", "--norc", "-c", BASH, "bash", path, "eval", "runs/") == set()  # paths


def test_fish(script):
    path = script("fish")
    for words, expected in CASES:
        line = " ".join(["lifelong-rl", *words])
        found = call("fish", "--no-config", "-c", f'source {path}; complete -C "{line}"')
        assert found >= expected, words


def test_zsh_takes_over_the_one_of_bash(script):
    bash, zsh = script("bash").read_text(), script("zsh").read_text()
    first, loads, rest = zsh.split("\n", 2)
    assert first.endswith("zsh") and loads == "autoload -Uz bashcompinit && bashcompinit"
    assert rest == bash.split("\n", 1)[1]
    call("zsh", "-n", script("zsh"))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_are_those_that_help_tells(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main([name, "--help"])
    told = set()
    for line in capsys.readouterr().out.splitlines():
        head = re.match(r"\W{0,2}((?:-h, )?--[a-z].*?)(?:\s{2,}|$)", line)
        told |= set(re.findall(r"--[a-z][\w-]*", head.group(1))) if head else set()
    assert set(find_options(COMMANDS[name])) | {"--help"} == told


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_name_is_there(shell, script):
    text = script(shell).read_text()
    for name in [*COMMANDS, *AGENTS, *METHODS]:
        assert re.search(rf"[ \"']{re.escape(name)}[ \"']", text), name


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["completion"], "lifelong-rl completion: "),
        (["completion", "bsh"], "'bsh'"),
        (["run", "--tyro-print-completion", "bash"], "see: lifelong-rl completion --help"),
        (["resume", "x", "--form", "y"], "did you mean '--from'?"),
    ],
)
def test_bad_input_is_one_line(words, told, capsys):
    assert main(words) == 2
    captured = capsys.readouterr()
    assert told in captured.err and len(captured.err.splitlines()) == 1 and captured.out == ""
