"""What a run does not import: it is what starting one would cost without being of use."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMPILER = {"torch._dynamo", "torch._inductor", "sympy"}
UNUSED = COMPILER | {"matplotlib", "pandas", "plotly", "scipy", "sklearn", "minari", "h5py"}
RUNS = {
    "sac": ["--agent-options", "learning_starts=60", "hidden=[8]", "batch_size=4"],
    "td3": ["--agent-options", "learning_starts=60", "hidden=[8]", "batch_size=4"],
    "ppo": ["--agent-options", "rollout_steps=4", "hidden=[8]", "batch_size=4", "epochs=1"],
    "bc": ["--agent-options", "hidden=[8]", "batch_size=4"],
}
CODE = f"""
import json
import sys
import torch
from lifelong_rl.cli import main
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.learning import Adam

at_first_step = []
step = BatchEnv.step

def note_modules(*arguments):
    if not at_first_step:
        at_first_step.extend(sys.modules)
    return step(*arguments)

BatchEnv.step = note_modules
after = {{}}
for agent, options in {RUNS!r}.items():
    small = ["--steps-per-task", "64", "--num-envs", "2", "--num-threads", "1"]
    small += ["--eval-episodes", "1", "--eval-points", "1", "--quiet", "--run-dir", agent]
    assert main(["run", "--sequence", "reach", "--agent", agent, *small, *options]) == 0, agent
    after[agent] = list(sys.modules)
assert main(["eval", "sac", "--episodes", "1"]) == 0  # loads what the run has saved
after["eval"] = list(sys.modules)
Adam([torch.nn.Parameter(torch.ones(1))]).zero_grad()  # as plug-ins may
after["zero_grad"] = list(sys.modules)
print(json.dumps([at_first_step, after]))
"""


def test_a_run_starts_and_ends_without_what_it_does_not_use(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    at_first_step, after = json.loads(done.stdout.splitlines()[-1])
    assert "lifelong_rl.agents.sac" in at_first_step
    assert UNUSED & set(at_first_step) == set()
    for what, modules in after.items():
        assert COMPILER & set(modules) == set(), what


def test_no_optimizer_is_made_that_imports_the_compiler() -> None:
    """All are `lifelong_rl.learning.Adam`; of torch's, names are taken for annotations only."""
    found = set()
    for package in ("envs", "agents", "lifelong_rl"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and node.module == "torch.optim":
                    found |= {(path.name, alias.name) for alias in node.names}
                elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "torch.optim":
                    found.add((path.name, node.attr))
    assert {name for file, name in found if file != "adam.py"} == {"Optimizer"}
