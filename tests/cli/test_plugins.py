"""Agents, methods and sequences from outside, by `--plugin` and by entry point."""

import importlib
import sys

from toy_runs import SMALL, TOY, results

from lifelong_rl.cli import main

METHOD = '''
from lifelong_rl.continual import METHODS, ContinualMethod


@METHODS.register("shrink")
class Shrink(ContinualMethod):
    """Pulls every parameter towards zero."""

    def __init__(self, *, strength: float = 1.0, scope: str = "policy") -> None:
        super().__init__(scope=scope)
        self.strength = strength

    def penalty(self, component, batch):
        return self.strength * sum((p**2).sum() for p in component.module.parameters())
'''


def test_a_method_from_a_file_in_the_current_folder(
    tmp_path, monkeypatch, fresh_registries, capsys
):
    (tmp_path / "shrink_method.py").write_text(METHOD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    plugins = ["--plugin", "toy_plugin", "--plugin", "shrink_method"]
    assert main(["list", "methods", *plugins]) == 0
    assert "Pulls every parameter towards zero." in capsys.readouterr().out
    arguments = [*TOY, *SMALL, "--plugin", "shrink_method", "--method", "shrink", "--quiet"]
    assert main(["run", *arguments, "--run-dir", "strong"]) == 0
    assert main(["run", *arguments, "--run-dir", "weak", "--method-options", "strength=0"]) == 0
    strong = results(tmp_path / "strong")["metrics"]["learned_performance"]
    assert strong < results(tmp_path / "weak")["metrics"]["learned_performance"]
    assert main(["eval", "weak"]) == 0


def test_entry_points(tmp_path, monkeypatch, fresh_registries, capsys):
    info = tmp_path / "elsewhere-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[lifelong_rl.methods]\nshrink2 = elsewhere:Shrink\nlost = elsewhere_lost:Lost\n"
        "[lifelong_rl.agents]\ntoy2 = toy_plugin:ToyAgent\n"
        "[lifelong_rl.sequences]\ntoy4 = toy_plugin:ToySequence\n"
    )
    (tmp_path / "elsewhere.py").write_text(METHOD.replace('@METHODS.register("shrink")\n', ""))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert "toy2" in out and "toy4" in out and "shrink2" in out
    assert "broken: the method 'lost' (elsewhere_lost:Lost) cannot be imported" in out
    chosen = ["--sequence", "toy4", "--agent", "toy2", "--method", "shrink2"]
    path = tmp_path / "run"
    assert main(["run", *chosen, *SMALL, "--run-dir", str(path), "--quiet"]) == 0
    assert results(path)["agent"] == "toy2"
    assert main(["run", *chosen, *SMALL, "--method", "lost", "--run-dir", str(path) + "2"]) == 2
