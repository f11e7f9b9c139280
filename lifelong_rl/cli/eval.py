"""`lifelong-rl eval`: evaluate a checkpoint of a run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from lifelong_rl.cli.options import Command, Number, OptionalDevice, Repeated
from lifelong_rl.options import Together


@dataclass(frozen=True, kw_only=True)
class Eval(Command):
    """Evaluate a checkpoint of a run on every task; nothing in its folder changes.

    Attributes:
        run_dir: Folder of the run.
        checkpoint: Which one, such as task-001 (after the first task); by default the last.
        episodes: Episodes per task; by default as many as the run was evaluated on.
        task: Only this task.
        device: What to evaluate on: auto, cpu, cuda, cuda:N or mps; by default the run's own.
        plugin: Module to import first; those that the run names must be named here too.
        json: Print JSON.
    """

    run_dir: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_DIR")]
    checkpoint: Annotated[str | None, tyro.conf.arg(metavar="CHECKPOINT")] = None
    episodes: Annotated[Together | None, Number] = None
    task: Annotated[str | None, tyro.conf.arg(metavar="TASK")] = None
    device: OptionalDevice = None
    plugin: Repeated = ()
    json: bool = False

    def __call__(self) -> int:
        """Evaluate, and print a table."""
        from contextlib import closing

        from lifelong_rl.errors import UnknownNameError
        from lifelong_rl.runs.evaluation import Evaluator
        from lifelong_rl.runs.restore import load_agent, prepare_on
        from lifelong_rl.runs.run_folder import RunFolder
        from lifelong_rl.runs.sequence import measures_of, task_labels
        from lifelong_rl.text import format_table

        folder = RunFolder.open(self.run_dir)
        setup = prepare_on(self.device, folder.config, self.plugin)
        config, sequence = setup.config, setup.sequence
        labels = task_labels(sequence.tasks)
        if self.task is not None and self.task not in labels:
            raise UnknownNameError("task", self.task, labels, see="")
        agent, tasks_done = load_agent(setup, folder, self.checkpoint)
        evaluator = Evaluator(
            sequence,
            num_episodes=self.episodes or config.eval_episodes,
            num_threads=config.num_threads,
            agent=setup.agent_name,
            env_options=setup.env_options,
            starts=config.eval_starts,
        )
        with closing(evaluator):
            found = {
                label: evaluator.evaluate(agent.act, task_id)
                for task_id, label in enumerate(labels)
                if self.task in (None, label)
            }
        if self.json:
            content = {
                label: {
                    "success": evaluation.score,
                    "return": evaluation.mean_return,
                    "episodes": len(evaluation.scores),
                    "successes": evaluation.scores.tolist(),
                    "diverged": evaluation.num_diverged,
                }
                for label, evaluation in found.items()
            }
            print(json.dumps({"tasks_learned": tasks_done, "tasks": content}, indent=2))
            return 0
        print(f"after {tasks_done} of {len(setup.phases)} tasks, {folder.path}")
        rows = [
            [label, f"{e.score:.2f}", f"{e.mean_return:.2f}", str(len(e.scores))]
            for label, e in found.items()
        ]
        measures = set(measures_of(sequence))
        measure = measures.pop() if len(measures) == 1 else "score"
        print(format_table(["task", measure, "return", "episodes"], rows))
        return 0
