"""`lifelong-rl tune`, the settings that it writes, and those that come with the package."""

import json
from pathlib import Path

import pytest
from toy_runs import PLUGIN, QUICK, SMALL, needs_submitit

from lifelong_rl.cli import main
from lifelong_rl.runs import settings
from lifelong_rl.runs.run_folder import RunFolder

pytest.importorskip("optuna")
ROOT = Path(__file__).parents[2]
STUDY = """
runs: found
sequences: toy3
agents: toy
methods: ewc
seeds: [0]
plugin: toy_plugin
space: {method_options: {ewc: {strength: {low: 1, high: 1e6, log: true}}}}
"""


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """Cells that learn nothing: all trials are equal, and the defaults the first of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests' / 'toy'}")
    monkeypatch.setattr("lifelong_rl.studies.sweep.CELL", QUICK)
    Path("s.yaml").write_text(STUDY)


def tune(capsys, *arguments):
    capsys.readouterr()
    code = main(["tune", *PLUGIN, "s.yaml", *arguments])
    out = capsys.readouterr()
    return code, out.out.splitlines(), out.err


def test_a_tuning_from_its_study_to_settings_that_run_reads(quick, capsys):
    arguments = ("--trials", "3", "--judge", "2", "--processes", "1")
    code, lines, _ = tune(capsys, *arguments)
    assert code == 0
    assert lines[0] == "trial000 of 3: strength=10000.0"
    assert lines[1] == "trial000: average_performance 0.000; the best is trial000, 0.000"
    assert lines[-5:] == [
        "average_performance with fresh seeds 1 to 2:",
        "  the defaults: 0.000",
        "  no trial was better than the defaults",
        "settings: found/best.yaml",
        "use them: lifelong-rl run --config found/best.yaml",
    ]
    text = Path("found/best.yaml").read_text()
    command = "lifelong-rl tune s.yaml --metric average_performance --trials 3 --plugin toy_plugin"
    assert text.startswith(f"# ewc with toy, tuned on toy3\n#\n# Found by: {command}\n")
    assert main(["run", *PLUGIN, *SMALL, "--config", "found/best.yaml", "--sequence", "toy3",
                 "--method-options", "samples=5", "--run-dir", "run", "--quiet"]) == 0  # fmt: skip
    config = RunFolder.open(Path("run")).config
    assert (config.agent, config.method) == ("toy", "ewc")
    assert (config.method_options["strength"], config.method_options["samples"]) == (10_000.0, 5)
    begun = Path("found/events").read_text().count("begin")
    assert begun == 3 + 2
    code, lines, _ = tune(capsys, *arguments, "--quiet")
    assert code == 0 and Path("found/events").read_text().count("begin") == begun
    assert lines[0].split() == ["trial", "average_performance", "state", "options"]


@needs_submitit
def test_a_tuning_goes_through_an_executor_as_a_sweep_does(quick, capsys, tmp_path):
    slurm = ("--executor", "slurm", "--slurm", "cluster=local", f"scratch={tmp_path}")
    code, _, error = tune(capsys, "--trials", "2", *slurm)
    assert code == 2 and "with --executor slurm say how many cells run at a time" in error
    assert not Path("found").exists()
    code, lines, _ = tune(capsys, "--trials", "2", "--judge", "0", "--processes", "2", *slurm)
    assert code == 0 and lines[-1] == "use them: lifelong-rl run --config found/best.yaml"
    trials = json.loads(Path("found/trials.json").read_text())["trials"]
    assert len(trials) == 2
    assert len([*Path("found").glob("*-trial*/results.json")]) == 2


def test_what_an_executor_has_no_use_for_is_refused(quick, capsys):
    for words, message in (
        (("--address", "auto"), "--address is for --executor ray"),
        (("--slurm", "partition=cpu"), "--slurm is for --executor slurm"),
    ):
        code, _, error = tune(capsys, *words)
        assert code == 2 and message in error


def test_a_tuning_of_which_nothing_finishes_says_why(quick, capsys):
    Path("found").mkdir()
    plan = {f"toy3-toy-ewc-seed0-trial00{n}": "fail" for n in range(2)}
    Path("found/plan.json").write_text(json.dumps(plan))
    code, lines, _ = tune(capsys, "--trials", "2", "--processes", "1")
    assert code == 1
    failed = "toy3-toy-ewc-seed0-trial001: the loss of 'policy' is nan"
    assert lines[-2] == f"no trial finished: {failed}"
    assert (
        lines[-1].startswith("try again: lifelong-rl tune s.yaml") and "--processes 1" in lines[-1]
    )


def test_settings_take_the_place_of_settings_only(quick, capsys):
    Path("mine.yaml").write_text("agent: toy\n")
    code, _, err = tune(capsys, "--trials", "1", "--judge", "0", "--out", "mine.yaml")
    assert code == 2 and "mine.yaml is there already, and no settings that were tuned" in err
    assert not Path("found").exists() and Path("mine.yaml").read_text() == "agent: toy\n"
    for _ in range(2):
        assert tune(capsys, "--trials", "1", "--judge", "0", "--out", "new/a.yaml")[0] == 0
    assert "Found by" in Path("new/a.yaml").read_text()


def test_a_study_to_tune_is_not_swept_and_the_other_way_round(quick, capsys):
    assert main(["sweep", *PLUGIN, "s.yaml"]) == 2
    assert "s.yaml has a space to search; for that there is: lifelong-rl tune s.yaml" in (
        capsys.readouterr().err
    )
    Path("s.yaml").write_text(STUDY.partition("space")[0])
    code, _, err = tune(capsys)
    assert code == 2 and "has no space to search; add one, such as space:" in err


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    folder = tmp_path / "package" / "best"
    folder.mkdir(parents=True)
    (folder / "ewc-toy.yaml").write_text(
        "# ewc with toy, tuned on toy3\n#\n# Found by: lifelong-rl tune studies/x.yaml\n"
        "agent: toy\nmethod: ewc\nmethod_options:\n  strength: 7.0\n"
    )
    monkeypatch.setitem(settings.FOLDERS, "best/", folder)
    monkeypatch.chdir(tmp_path)


def test_settings_of_the_package_are_listed_shown_and_read(shipped, capsys):
    assert main(["list", "settings"]) == 0
    assert "\n  best/ewc-toy     ewc with toy, tuned on toy3\n" in capsys.readouterr().out
    assert main(["list", "best/ewc-toy"]) == 0
    assert "# Found by: lifelong-rl tune studies/x.yaml\nagent: toy" in capsys.readouterr().out
    arguments = [*PLUGIN, *SMALL, "--sequence", "toy3", "--quiet"]
    assert main(["run", *arguments, "--config", "best/ewc-toy", "--run-dir", "a"]) == 0
    assert RunFolder.open(Path("a")).config.method_options["strength"] == 7.0
    Path("best").mkdir()
    Path("best/ewc-toy").write_text("agent: toy\nmethod: ewc\nmethod_options: {strength: 8}\n")
    assert main(["run", *arguments, "--config", "best/ewc-toy", "--run-dir", "b"]) == 0
    assert RunFolder.open(Path("b")).config.method_options["strength"] == 8.0


@pytest.mark.parametrize("words", [["list"], ["run", "--config"]])
def test_settings_that_are_not_there_are_answered_with_the_nearest(shipped, capsys, words):
    assert main([*words, "best/ewc-tyo"]) == 2
    assert "unknown settings 'best/ewc-tyo'; did you mean 'best/ewc-toy'? (see: lifelong-rl " in (
        capsys.readouterr().err
    )


TUNED = [name for name in settings.names() if name.startswith(settings.PREFIX)]


@pytest.mark.parametrize("name", TUNED)
def test_the_settings_of_the_package_name_the_study_that_found_them(name):
    text = settings.read(name)
    study = text.partition("# Found by: lifelong-rl tune ")[2].split()[0]
    assert (ROOT / study).is_file()
    assert settings.describe(name) and "agent: " in text
