"""Agents, methods and sequences from outside, by `--plugin` and by entry point."""

import importlib
import sys
from pathlib import Path

import gymnasium
import pytest
import toy_plugin
from toy_runs import SMALL, TOY, results

from lifelong_rl.cli import main
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.rendering import Renderer, RenderingError
from lifelong_rl.envs.tasks import get_task
from lifelong_rl.registry import SEQUENCES

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
    assert main(["eval", "weak", *plugins]) == 0


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


OLD_AGENT = '''
import torch
from toy_plugin import ToyAgent, ToyPolicy

from lifelong_rl.networks import NetworkSpec
from lifelong_rl.registry import AGENTS


class OldPolicy(ToyPolicy):
    """Batches keep the task as a one-hot at the end of "observations"."""

    def __init__(self, network, heads):
        self.module, self.heads = network, heads
        self.optimizer = torch.optim.Adam(network.parameters(), lr=0.02)

    def mean(self, observations):
        if not self.heads:
            return self.module(observations)
        return self.module(observations[:, :-3], observations[:, -3:])[0]

    def with_task(self, batch, task):
        rows = batch["observations"]
        ids = torch.as_tensor(task).expand(len(rows))
        one_hot = torch.nn.functional.one_hot(ids, 3).to(rows.dtype)
        return {**batch, "observations": torch.cat([rows[:, :-3], one_hot], dim=1)}

    def loss(self, batch):
        return ((self.mean(batch["observations"]) - batch["targets"]) ** 2).mean()

    def predict(self, batch):
        normal = torch.distributions.Normal(self.mean(batch["observations"]), 1.0)
        return torch.distributions.Independent(normal, 1)


@AGENTS.register("old")
class OldAgent(ToyAgent):
    """Written when networks took the task as a one-hot."""

    @classmethod
    def build(cls, env, *, num_tasks, method, seed, heads: bool = False):
        agent = cls(num_tasks, method, 8, 0.02)
        network = torch.nn.Linear(5, 2)
        if heads:
            network = method.build_network(NetworkSpec(2, (8,), (2,), num_tasks=num_tasks))
        agent.policy = OldPolicy(network, heads)
        agent.components = {"policy": agent.policy}
        return agent

    def act(self, observations):
        with torch.no_grad():
            return self.policy.mean(torch.as_tensor(observations)).numpy()
'''


@pytest.mark.parametrize(
    "method", ["replay", "lwf", "clone", "ewc", "single-task", "generative-replay"]
)
@pytest.mark.parametrize("heads", [False, True])
def test_an_agent_that_keeps_the_one_hot_in_observations_works_or_is_told_what_to_pass(
    heads, method, tmp_path, monkeypatch, fresh_registries, capsys
):
    (tmp_path / "old_agent.py").write_text(OLD_AGENT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(SEQUENCES._registered, "toy3", toy_plugin.ToySequence)
    plugins = ["--plugin", "old_agent"]
    chosen = ["--sequence", "toy3", "--agent", "old", "--agent-options", f"heads={heads}".lower()]
    options = ["--method-options", "updates=5"] if method == "generative-replay" else []
    run = ["run", *plugins, *chosen, *SMALL, "--method", method, *options, "--quiet"]
    monkeypatch.delitem(sys.modules, "old_agent", raising=False)
    code = main([*run, "--run-dir", "run"])
    if heads:
        assert code == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "pass one_hot.argmax(dim=1)" in line
    elif method == "single-task":  # has networks of its own only
        assert code == 2
    else:
        assert code == 0
        assert main(["eval", "run", *plugins]) == 0


@pytest.fixture
def hover(tmp_path, monkeypatch, fresh_registries):
    """The documentation's task, as a file in the current folder that is not yet imported."""
    example = Path(__file__).parents[2] / "docs/examples/hover.py"
    (tmp_path / "hover.py").write_text(example.read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "hover", raising=False)
    registered = dict(gymnasium.registry)
    monkeypatch.setattr(gymnasium.envs.registration, "registry", registered)
    monkeypatch.setattr(gymnasium, "registry", registered)
    yield tmp_path
    sys.modules.pop("hover", None)


@pytest.mark.parametrize(
    "command",
    [
        ["demos", "--task", "hover", "--episodes", "1"],
        ["record", "--expert", "--task", "hover", "--out", "hover.png"],
        ["frames", "--sequence", "hover", "--count", "3", "--size", "8"],
        ["list", "hover"],
    ],
)
def test_every_command_imports_what_brings_its_task(command, hover, capsys):
    if command[0] in ("record", "frames"):
        try:
            Renderer(BatchEnv(get_task("reach"), 1), width=16, height=16).close()
        except RenderingError as error:
            pytest.skip(str(error))
    assert main(command) == 2
    capsys.readouterr()
    assert main([*command, "--plugin", "hover"]) == 0
    assert "hover" in capsys.readouterr().out


def test_doctor_tries_what_a_plug_in_brings(hover, capsys):
    assert main(["doctor", "--plugin", "hover"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:-1] == ["ok      plug-in hover: tasks hover", "ok      task hover v0"]
    code = (hover / "hover.py").read_text()
    for name, good, bad in (
        ("tilted", '"puck/puck"', '"puck/none"'),
        ("skewed", '{"proximity": 1.0}', '{"nearness": 1.0}'),
    ):
        (hover / f"{name}.py").write_text(code.replace('"hover"', f'"{name}"').replace(good, bad))
    (hover / "halted.py").write_text("import no_such_module")
    plugins = [word for name in ("tilted", "skewed", "halted") for word in ("--plugin", name)]
    assert main(["doctor", *plugins]) == 1
    told = [line for line in capsys.readouterr().out.splitlines() if "broken  " in line]
    assert len(told) == 3 and all(line.isprintable() for line in told)
    assert told[0].startswith("broken  task tilted: the scene of task 'tilted' cannot be compiled:")
    assert told[1].startswith("broken  task skewed: the task 'skewed': reward_terms() tells")
    assert told[2].startswith(
        "broken  the plug-in 'halted' cannot be imported: ModuleNotFoundError"
    )
    for name in ("tilted", "skewed"):
        sys.modules.pop(name, None)
