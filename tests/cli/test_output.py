"""Output that goes away, is full or knows few letters: the work that it tells of goes on."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from toy_runs import results, run_toy

from lifelong_rl.cli import main
from lifelong_rl.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def closed_pipe():
    """What stdout is in `lifelong-rl … | head -0`."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", buffering=1) as stream:
        yield stream


@pytest.fixture
def full():
    with open("/dev/full", "w", buffering=1) as stream:
        yield stream


@pytest.mark.parametrize("stream", ["closed_pipe", "full"])
def test_a_run_does_not_depend_on_who_reads_it(tmp_path, request, monkeypatch, stream):
    gone = request.getfixturevalue(stream)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", gone)
        assert run_toy(tmp_path / "run") == 0
    assert json.loads((tmp_path / "run" / "status.json").read_text())["status"] == "finished"
    assert run_toy(tmp_path / "read", "--quiet") == 0
    assert results(tmp_path / "run")["return_matrix"] == results(tmp_path / "read")["return_matrix"]


def test_errors_that_nobody_reads(monkeypatch, closed_pipe):
    monkeypatch.setattr(sys, "stderr", closed_pipe)
    assert main(["resume", "nowhere"]) == 2


def test_who_closes_the_pipe_has_seen_enough(monkeypatch, capsys, closed_pipe):
    monkeypatch.setattr(sys, "stdout", closed_pipe)
    assert main(["list", "sequences"]) == 0
    assert capsys.readouterr().err == ""


def test_output_that_is_lost_is_a_failure_where_it_is_the_result(monkeypatch, capsys, full):
    monkeypatch.setattr(sys, "stdout", full)
    assert main(["list", "sequences"]) == 1
    assert capsys.readouterr().err == (
        "lifelong-rl: cannot write the output: No space left on device\n"
    )


def test_letters_that_the_encoding_does_not_have(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", line_buffering=True)
    monkeypatch.setattr(sys, "stderr", stream)
    assert main(["run", "--method", "\u00e9wc"]) == 2
    assert main(["run", "--method", "ewc\udcff"]) == 2  # a byte that is no letter
    first, second = stream.buffer.getvalue().decode("ascii").splitlines()
    assert "unknown method '\\xe9wc'; did you mean 'ewc'?" in first
    assert "method must be text, not 'ewc\\udcff'" in second


@pytest.mark.parametrize("redirection", ["| true", "> /dev/full", ">&-", ">&- 2>&- <&-", "2>&-"])
def test_processes_end_in_order(tmp_path, redirection):
    """Also what Python does when it ends, and without any stdout."""
    command = f"{sys.executable} -m lifelong_rl --help {redirection}"
    script = f"set -o pipefail; {command}"
    ended = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True)
    lost = redirection == "> /dev/full"
    assert ended.returncode == lost
    message = "lifelong-rl: cannot write the output: No space left on device\n"
    assert ended.stderr == (message if lost else "")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_tells_defaults_where_they_say_something(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    out = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert not re.findall(r"\(default: (?:None|True|False)?\)", out)
    if command == "run":
        assert "(default: arm3)" in out and "curvature. (default: on)" in out
        assert "by default it is the sequence's own. --agent STR" in out
        assert "(repeatable)" in out
