r"""Tell why tasks that SAC learns alone are learned late or not at all after others.

    for seed in 0 1 2; do
      lifelong-rl run --sequence arm10 --agent sac --method finetune --seed $seed \
          --eval-points 4 --no-diagnostics --num-threads 1 --run-dir runs/late/$seed
    done
    python scripts/late_tasks.py --runs runs/late/* --json docs/results/late_tasks.json

Each run's checkpoint before push and the one before pick-place are gone on from, each time with one
thing changed: `VARIANTS`. A cell is a run, a task and a variant; it evaluates 50 episodes every
2 500 steps. A finished cell leaves a file in --out and is not run again. Cells come in an order in
which every variant has been seen with the first run before any is repeated with the next.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lifelong_rl.learning.seeding import seed_everything
from lifelong_rl.runs.evaluation import Evaluator
from lifelong_rl.runs.restore import load_state
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.runs.setup import prepare
from lifelong_rl.storage.versions import versions

EVAL_STEPS = 2_500
BUDGETS = {"push": 20_000, "pick-place": 40_000}
FLOOR = 0.01


def as_it_is(agent: Any, fresh: Any) -> None:
    """Change nothing."""


def new_actor(agent: Any, fresh: Any) -> None:
    """Take the actor of an agent that has learned nothing."""
    agent.actor.load_state_dict(fresh.actor.state_dict())


def new_critic(agent: Any, fresh: Any) -> None:
    """Take the critic of an agent that has learned nothing."""
    agent.critic.load_state_dict(fresh.critic.state_dict())
    agent.critic_target.load_state_dict(fresh.critic_target.state_dict())


def new_networks(agent: Any, fresh: Any) -> None:
    """Take all networks of an agent that has learned nothing: the task alone."""
    new_actor(agent, fresh)
    new_critic(agent, fresh)


def hold_entropy(agent: Any) -> None:
    """Keep the learned entropy coefficient at `FLOOR` or above."""
    with torch.no_grad():
        agent.log_ent_coef.clamp_(min=math.log(FLOOR))


@dataclass(frozen=True)
class Variant:
    """What is changed before the task.

    Attributes:
        options: Of the agent.
        change: Is given the agent and one that has learned nothing.
        hold: Is given the agent after each step of its environments.
    """

    options: dict[str, Any] = field(default_factory=dict)
    change: Callable[[Any, Any], None] = as_it_is
    hold: Callable[[Any], None] | None = None


VARIANTS = {
    "carried over": Variant(),
    "new networks": Variant(change=new_networks),
    "entropy floor 0.01": Variant(hold=hold_entropy),
    "new critic": Variant(change=new_critic),
    "new actor": Variant(change=new_actor),
    "entropy fixed 0.01": Variant({"ent_coef": 0.01}),
    "target entropy -2": Variant({"target_entropy": -2.0}),
}


def learn(run: Path, task: str, variant: Variant) -> dict[str, Any]:
    """Go on from the checkpoint before a task, and return its success curve."""
    folder = RunFolder.open(run)
    setup = prepare(folder.config)
    task_id = setup.sequence.tasks.index(task)
    state = load_state(setup, folder, f"task-{task_id:03d}")
    assert state is not None
    changed = prepare(
        replace(setup.config, agent_options={**setup.config.agent_options, **variant.options})
    )
    env = changed.make_env(task_id)
    fresh, _ = changed.build_agent(env)
    agent: Any
    agent, _ = changed.build_agent(env, state["agent"])
    variant.change(agent, fresh)
    evaluator = Evaluator(setup.sequence, num_episodes=50, num_threads=1)
    curve: dict[str, list[float]] = {"steps": [], "success": [], "entropy_coefficient": []}

    def progress(done: int) -> None:
        if variant.hold is not None:
            variant.hold(agent)
        if done >= EVAL_STEPS * (len(curve["steps"]) + 1) or done >= BUDGETS[task]:
            curve["steps"].append(done)
            curve["success"].append(evaluator.evaluate(agent.act, task_id).score)
            curve["entropy_coefficient"].append(agent.diagnostics()["entropy_coefficient"])

    seed_everything(setup.config.seed, 1 + task_id)
    env.seed(setup.env_seed(task_id))
    agent.begin_task(task_id, env)
    agent.learn_task(BUDGETS[task], progress)
    evaluator.close()
    env.close()
    return {"seed": setup.config.seed, "task": task, "curve": curve, "versions": versions()}


def mean_success(cells: list[dict[str, Any]], steps: int) -> str:
    """Success of each run at the last evaluation up to so many steps, and their mean."""
    at = [
        cell["curve"]["success"][int(np.searchsorted(cell["curve"]["steps"], steps + 16)) - 1]
        for cell in cells
    ]
    return f"{np.mean(at):.2f} ({', '.join(f'{value:.2f}' for value in at)})"


def print_table(cells: list[dict[str, Any]]) -> None:
    for task, budget in BUDGETS.items():
        print(f"\n{task}: success after {budget // 2} and {budget} steps, mean (each run)")
        for variant in VARIANTS:
            of_it = [c for c in cells if (c["task"], c["variant"]) == (task, variant)]
            if of_it:
                half, end = (mean_success(of_it, steps) for steps in (budget // 2, budget))
                alpha = np.mean([c["curve"]["entropy_coefficient"][-1] for c in of_it])
                print(f"  {variant:<20}{half:<28}{end:<28}entropy coefficient {alpha:.4f}")


def main() -> None:
    """Run the cells that are missing, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", nargs="+", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", choices=BUDGETS, default=list(BUDGETS))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--out", type=Path, default=Path("runs/late_tasks"))
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    cells = []
    for run in args.runs:
        for task in args.tasks:
            for name in args.variants:
                path = args.out / f"{run.name}-{task}-{name.replace(' ', '-')}.json"
                if not path.exists():
                    cell = {"variant": name, **learn(run, task, VARIANTS[name])}
                    part = path.with_suffix(".part")
                    part.write_text(json.dumps(cell), encoding="utf-8")
                    part.replace(path)
                cells.append(json.loads(path.read_text(encoding="utf-8")))
                print(
                    f"{run.name} {task} {name}: {cells[-1]['curve']['success'][-1]:.2f}", flush=True
                )
    print_table(cells)
    if args.json:
        figures = {"command": "python scripts/late_tasks.py", "cells": cells}
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
