"""The sequence loop: learn each task, evaluate all of them, keep a checkpoint."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, cast

import numpy as np
import torch

from lifelong_rl.errors import ContractError, NonFiniteError, UserError, no_exit
from lifelong_rl.learning.devices import describe_device, move_tree
from lifelong_rl.learning.protocols import Pause, ResumableAgent, StateTree
from lifelong_rl.learning.seeding import generator_state, seed_everything, set_generator_state
from lifelong_rl.runs.checkpoint import save_checkpoint
from lifelong_rl.runs.contract import check_diagnostics
from lifelong_rl.runs.diagnostics import Diagnostics
from lifelong_rl.runs.endings import (
    RunFailed,
    RunStopped,
    StopRequest,
    raise_when_stopped,
    stopping_exit_code,
)
from lifelong_rl.runs.evaluation import Evaluation, Evaluator
from lifelong_rl.runs.machine_memory import check_memory
from lifelong_rl.runs.measurements import Measurements, describe_run, make_results, one_scale
from lifelong_rl.runs.reporters import Reporter, Together
from lifelong_rl.runs.run_folder import CHECKPOINT, RunFolder
from lifelong_rl.runs.sequence import (
    VecEnvLike,
    head_of,
    measures_of,
    name_environments,
)
from lifelong_rl.runs.setup import Setup
from lifelong_rl.runs.trackers import make_trackers
from lifelong_rl.runs.update_cost import UpdateCost
from lifelong_rl.runs.within_task import CheckpointClock, Segments, find_obstacle
from lifelong_rl.storage.atomic import WriteError
from lifelong_rl.storage.metrics_log import MetricsLog


class SequenceLoop:
    """Learns a sequence from its first task, or from a checkpoint, to its last.

    The constructor builds everything and writes nothing, so that it can refuse bad options, and
    more experience than there is memory for, before there is a folder.

    Args:
        setup: What to run.
        state: What a checkpoint holds, to go on from there.
        segments: Folder of what one within a task needs beside.
    """

    def __init__(
        self,
        setup: Setup,
        state: dict[str, Any] | None = None,
        segments: Path | None = None,
    ) -> None:
        refusal = setup.refusal
        if refusal is not None:
            raise UserError(refusal)
        self._trackers = make_trackers(setup.config.track)
        self._device = setup.device
        torch.set_num_threads(setup.config.threads)
        self._setup = setup
        self._labels, self._phase_labels = setup.labels, setup.phase_labels
        self._phases = setup.phases
        self._measured = Measurements() if state is None else Measurements(**state["record"])
        self._metrics_bytes = 0 if state is None else int(state["metrics_bytes"])
        self._diagnostics = Diagnostics() if setup.config.diagnostics else None
        self._phase = self._measured.phases_done
        self._of_task: dict[str, Any] | None = None if state is None else state.get("task")
        self._phase_step = 0 if self._of_task is None else self._of_task["step"]
        self._measures = measures_of(setup.sequence)
        self._clock = CheckpointClock(setup.config.checkpoint_minutes)
        self._obstacle: str | None = None
        self._learning, self._evaluating = _Stopwatch(), _Stopwatch()
        self._env: VecEnvLike | None = None
        self._memory: str | None = None
        if self._phase < len(self._phases):
            self._env = setup.make_env(self._phase)
            at_its_end = state is not None and self._of_task is None
            self._agent, self._method = setup.build_agent(
                self._env, state["agent"] if state is not None and at_its_end else None
            )
            lengths = [setup.starts[b[-1] + 1] - setup.starts[b[0]] for b in setup.blocks]
            if hasattr(self._agent, "check_steps"):
                self._agent.check_steps(min(lengths))  # the longer ones learn more
            self._memory = check_memory(
                self._agent,
                setup.agent_name,
                max(lengths),
                len(lengths),
            )
            if self._diagnostics is not None and state is not None:
                rows = setup.update_state(self._agent, state.get("diagnostics", {}))
                self._diagnostics.load_state_dict(move_tree(rows, self._device))
            self._cost = UpdateCost(self._agent, partial(setup.build_reference, self._env))
            if state is not None and self._of_task is not None:
                # after the reference is built, which seeds what both share
                assert segments is not None
                agent: Any = self._agent
                agent.load_task_state(state["agent"], self._env)
                if agent.experience is not None:
                    Segments(segments, self._of_task["segments"]).load(agent.experience)
                cast(Any, self._env).load_state_dict(self._of_task["env"])
            self._obstacle = self._find_obstacle(self._env)

    def run(
        self,
        folder: RunFolder,
        reporter: Reporter | None = None,
        stop: StopRequest | None = None,
    ) -> dict[str, Any]:
        """Learn what is left, and write the results.

        Args:
            folder: Locked, and with no checkpoint later than the one to go on from.
            reporter: Is told how it goes.
            stop: Asks it to stop.

        Returns:
            The content of `results.json`.

        Raises:
            RunFailed: NaN, or the system refused something, such as a write to a full disk. The
                last checkpoint is intact.
        """
        config, sequence = self._setup.config, self._setup.sequence
        self._folder = folder
        self._segments = Segments(folder.segments, (self._of_task or {}).get("segments", ()))
        self._stop = stop or StopRequest()
        self._reporter = Together(reporter or Reporter(), self._trackers)
        begun = bool(self._measured.performance)
        folder.check_claim()
        self._log = MetricsLog(
            folder.metrics,
            folder.path / "tb" if "tensorboard" in config.track else None,
            keep=self._metrics_bytes,
            keep_step=self._global_step if begun else -1,
            check=folder.check_claim,
        )
        self._evaluator = self._make_evaluator(config.eval_episodes)
        try:
            with no_exit(), contextlib.closing(self._log), contextlib.closing(self._evaluator):
                folder.write_status("running")
                device = describe_device(self._device)
                changes = folder.note_changes(device) if begun else []
                notes = [*self._setup.notes, *changes]
                facts = {"tasks": self._labels, "task_versions": sequence.versions()}
                folder.add_session(facts, device, notes)
                for note in notes:
                    self._reporter.warn(note)
                self._reporter.begin(self._setup, folder.path, self._measured.phases_done)
                if self._of_task is not None:
                    self._reporter.resume(self._phase, self._phase_step)
                if self._memory is not None:
                    self._reporter.note(self._memory)
                self._note_obstacle()
                self._tidy()
                if not begun:
                    self._log.describe(describe_run(config))
                    self._evaluate_all()
                    self._save()
                while self._phase < len(self._phases):
                    self._learn_task()
            results = make_results(self._measured, self._setup)
            folder.write_results(results)
            folder.write_status("finished")
        except KeyboardInterrupt:
            self._note_end("interrupted", f"stopped in {self._where}")
            raise
        except (NonFiniteError, WriteError, OSError) as error:
            message = f"{self._where}: {error}"
            self._note_end("failed", message)
            raise RunFailed(f"stopped in {message}", self._last_checkpoint) from error
        except Exception as error:
            told = error if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            self._note_end("failed", f"{self._where}: {told}")
            raise
        finally:
            self._reporter.end()
            if self._env is not None:
                self._env.close()
        return results

    @property
    def _global_step(self) -> int:
        return self._setup.starts[self._phase] + self._phase_step

    @property
    def _steps(self) -> int:
        """Environment steps of the phase."""
        return self._setup.phase_steps[self._phase]

    @property
    def _where(self) -> str:
        phase = min(self._phase, len(self._phases) - 1)
        return f"{self._name_phase(phase)} at step {self._phase_step}"

    def _name_phase(self, phase: int) -> str:
        return f"task {phase + 1} of {len(self._phases)} '{self._phase_labels[phase]}'"

    def tell_kept(self, folder: RunFolder) -> str:
        """What of the run in a folder its last checkpoint keeps."""
        names = folder.checkpoint_names()
        last = CHECKPOINT.fullmatch(names[-1]) if names else None
        if last is None:
            return "nothing is kept yet"
        done, step = int(last[1]), last[2]
        if not (done or step):
            return "kept is the evaluation before the first task"
        end, phase = (f"step {int(step)}", done) if step else ("the end", done - 1)
        return f"kept up to {end} of {self._name_phase(phase)}"

    @property
    def _last_checkpoint(self) -> str:
        names = self._folder.checkpoint_names()
        if not names:
            return "there is no checkpoint yet"
        return f"the last checkpoint {self._folder.checkpoints / names[-1]} is intact"

    def _note_end(self, state: Any, message: str) -> None:
        with contextlib.suppress(UserError):
            self._folder.write_status(state, message)

    def _make_evaluator(self, num_episodes: int) -> Evaluator:
        return Evaluator(
            self._setup.sequence,
            num_episodes=num_episodes,
            num_threads=self._setup.config.num_threads,
            agent=self._setup.agent_name,
            env_options=self._setup.env_options,
            starts=self._setup.config.eval_starts,
        )

    def _find_obstacle(self, env: VecEnvLike) -> str | None:
        """Why there cannot be checkpoints within the next task; None if there can, or shall not."""
        setup = self._setup
        if not setup.config.checkpoint_minutes:
            return None
        of_env = name_environments(setup.sequence, self._phases[self._phase].tasks[0])
        names = setup.agent_name, f"the method '{setup.config.method}'", of_env
        return find_obstacle(self._agent, self._method, env, names)

    def _note_obstacle(self) -> None:
        if self._obstacle is not None:
            self._reporter.note(f"checkpoints at the ends of tasks only: {self._obstacle}")

    def _learn_task(self) -> None:
        env = self._env
        if env is None:
            self._env = env = self._setup.make_env(self._phase)
            before, self._obstacle = self._obstacle, self._find_obstacle(env)
            if self._obstacle != before:
                self._note_obstacle()
        self._on_the_way = self._make_evaluator(self._setup.curve_episodes)
        if self._of_task is None:
            self._begin_task(env)
        else:
            self._go_on(self._of_task)
        self._clock.restart()
        if self._setup.config.checkpoint_minutes and self._obstacle is None:
            with self._stop.deferred():
                self._learn(pause=self._pause)
                self._end_task(env)
        else:
            self._learn()
            with self._stop.deferred():
                self._end_task(env)

    def _begin_task(self, env: VecEnvLike) -> None:
        seed_everything(self._setup.config.seed, 1 + self._phase)
        env.seed(self._setup.env_seed(self._phase))
        self._begin_phase()
        head = head_of(self._setup.sequence, self._phases[self._phase].tasks[0])
        # To the agent, the phases of interleaved tasks are one task that it takes up again.
        self._agent.begin_task(0 if self._setup.interleaves else head, env)
        self._cost.begin_task()

    def _begin_phase(self) -> None:
        config, measured = self._setup.config, self._measured
        tasks = self._phases[self._phase].tasks
        measured.curves.append(
            {
                "steps": [0],
                "success": [float(np.mean([measured.performance[-1][j] for j in tasks]))],
                "return": [float(np.mean([measured.returns[-1][j] for j in tasks]))],
            }
        )
        self._due = [self._steps * k // config.eval_points for k in range(1, config.eval_points)]
        self._mark = 0, 0.0
        self._learning = _Stopwatch()
        self._learning.start()

    def _go_on(self, of_task: dict[str, Any]) -> None:
        """Stand where the task stood at the checkpoint, which the constructor has loaded."""
        self._of_task = None
        self._due, self._mark = of_task["due"], of_task["mark"]
        self._learning = _Stopwatch(of_task["learn_seconds"], of_task.get("learn_cpu_seconds"))
        self._evaluating = _Stopwatch(of_task["evaluate_seconds"])
        self._cost.load_state_dict(of_task["update_cost"])
        set_generator_state(of_task["generators"])
        self._learning.start()

    def _learn(self, **pause: Pause) -> None:
        block, starts = self._setup.block_of(self._phase), self._setup.starts
        steps = starts[block[-1] + 1] - starts[block[0]]
        with contextlib.closing(self._on_the_way):
            self._agent.learn_task(steps, self._progress, **pause)
        self._learning.stop()

    def _end_task(self, env: VecEnvLike) -> None:
        self._cost.measure()
        diagnosed = self._diagnose()
        if self._diagnostics is not None:
            self._diagnostics.end_task(self._phase_labels[self._phase], self._agent)
        self._learning.start()
        self._agent.end_task()
        self._learning.stop()
        self._measured.diverged_training += int(getattr(env, "num_diverged", 0))
        self._end_phase(diagnosed)
        env.close()
        self._env = None
        self._save()

    def _end_phase(self, diagnosed: dict[str, float]) -> None:
        """Note what the phase has cost, evaluate every task, and stand before the next phase."""
        measured = self._measured
        measured.updates.append(self._cost.result())
        self._phase_step = self._steps
        self._log_training(diagnosed)
        measured.learn_seconds.append(self._learning.seconds)
        measured.learn_cpu_seconds.append(self._learning.cpu_seconds)
        self._evaluate_all()
        self._phase, self._phase_step = self._phase + 1, 0

    def _go_to_next_phase(self) -> None:
        """End a phase whose next one is not announced: the agent learns on."""
        self._learning.stop()
        self._cost.measure()
        self._end_phase(self._diagnose())
        self._cost.begin_task()
        self._begin_phase()

    def _pause(self) -> None:
        """Keep a checkpoint if it is time or if it is the last moment, and stop if asked to."""
        if self._clock.is_due or self._stop.pending is not None:
            self._learning.stop()
            started = perf_counter()
            self._save_within()
            self._clock.restart(perf_counter() - started)
            self._learning.start()
        self._stop.obey()

    def _progress(self, steps: int) -> None:
        block, starts = self._setup.block_of(self._phase), self._setup.starts
        done = starts[block[0]] + steps
        while self._phase < block[-1] and done >= starts[self._phase + 1]:
            self._go_to_next_phase()
        self._phase_step = min(done - starts[self._phase], self._steps)
        self._reporter.step(self._phase, self._phase_step)
        if self._phase_step < self._steps and self._due and self._due[0] <= self._phase_step:
            self._due = [point for point in self._due if point > self._phase_step]
            self._learning.stop()
            self._cost.measure()
            self._evaluate_current()
            self._learning.start()

    def _evaluate_current(self) -> None:
        """Evaluate the task that is being learned: one point of its success curve."""
        tasks = self._phases[self._phase].tasks
        with self._evaluating:
            found = {j: self._on_the_way.evaluate(self._agent.act, j) for j in tasks}
        self._measured.diverged_evaluation += sum(e.num_diverged for e in found.values())
        score = self._add_point(list(found.values()))
        speed = self._log_training({**self._named(found), **self._diagnose()})
        self._reporter.evaluated(self._phase, self._phase_step, score, speed)

    def _named(self, found: Mapping[int, Evaluation]) -> dict[str, float]:
        """What was measured on tasks, by the names in the log."""
        values = {}
        for j, evaluation in found.items():
            values[f"{self._measures[j]}/{self._labels[j]}"] = evaluation.score
            values[f"return/{self._labels[j]}"] = evaluation.mean_return
        return values

    def _evaluate_all(self) -> None:
        """Evaluate every task: one row of the performance matrix."""
        measured = self._measured
        with self._evaluating:
            row = self._evaluator.evaluate_all(self._agent.act)
        measured.diverged_evaluation += sum(evaluation.num_diverged for evaluation in row)
        measured.performance.append([evaluation.score for evaluation in row])
        measured.returns.append([evaluation.mean_return for evaluation in row])
        measured.outcomes.append([evaluation.outcomes for evaluation in row])
        measured.add_size(self._agent.components.values(), self._method)
        measured.evaluate_seconds.append(self._evaluating.seconds)
        self._evaluating = _Stopwatch()
        learned = measured.phases_done
        if learned:
            self._add_point([row[j] for j in self._phases[learned - 1].tasks])
        values = self._named(dict(enumerate(row)))
        if one_scale(self._measures):
            values["average_performance"] = sum(measured.performance[-1]) / len(row)
        values |= measured.so_far(self._setup)
        task = self._phase_labels[learned - 1] if learned else None
        self._write("evaluation", task, values)
        if self._setup.config.track:
            pictures = measured.pictures(self._setup)
            self._log.show(self._global_step, pictures)
            self._reporter.pictured(self._global_step, pictures)
        self._reporter.row(learned, measured.performance[-1])

    def _add_point(self, found: Sequence[Evaluation]) -> float:
        """Add the mean over what the phase learns to its curve, and return it."""
        curve = self._measured.curves[self._phase]
        score = float(np.mean([evaluation.score for evaluation in found]))
        curve["steps"].append(self._phase_step)
        curve["success"].append(score)
        curve["return"].append(float(np.mean([evaluation.mean_return for evaluation in found])))
        return score

    def _diagnose(self) -> dict[str, float]:
        if self._diagnostics is None:
            return {}
        measured = self._diagnostics.measure(self._agent)
        return {f"diagnostics/{name}": value for name, value in measured.items()}

    def _log_training(self, values: dict[str, float]) -> float:
        """Write what the updates reported since the last call; returns steps per second."""
        steps, seconds = self._phase_step, self._learning.seconds
        speed = (steps - self._mark[0]) / max(seconds - self._mark[1], 1e-9)
        self._mark = steps, seconds
        told = check_diagnostics(self._agent.diagnostics(), self._setup.agent_name)
        measured = {f"train/{name}": value for name, value in told.items()}
        label = self._phase_labels[self._phase]
        self._write("train", label, {**values, **measured, "train/steps_per_second": speed})
        return speed

    def _write(self, kind: str, task: str | None, values: dict[str, float]) -> None:
        self._log.write(kind, self._global_step, task, values)
        self._reporter.logged(kind, self._global_step, task, values)

    def _save(self) -> None:
        """Keep a checkpoint at a task's end, in place of those within the task."""
        path = self._folder.checkpoint(self._measured.phases_done)
        self._write_checkpoint(path, self._agent.state_dict())
        self._segments = Segments(self._folder.segments)
        self._tidy()

    def _save_within(self) -> None:
        """Keep a checkpoint within the task, in place of the last one."""
        path = self._folder.checkpoint_within(self._measured.phases_done, self._phase_step)
        if path.exists():  # updates that no step came between; they can be done again
            return
        self._folder.check_claim()
        agent, env = cast(ResumableAgent, self._agent), cast(Any, self._env)
        if agent.experience is not None:
            self._segments.extend(agent.experience)
        state = agent.task_state()
        assert state is not None
        of_task = {
            "step": self._phase_step,
            "due": self._due,
            "mark": self._mark,
            "learn_seconds": self._learning.seconds,
            "learn_cpu_seconds": self._learning.cpu_seconds,
            "evaluate_seconds": self._evaluating.seconds,
            "update_cost": self._cost.state_dict(),
            "generators": generator_state(),
            "env": env.state_dict(),
            "segments": self._segments.listing,
        }
        self._write_checkpoint(path, state, {"task": of_task})
        self._tidy(path.name)

    def _tidy(self, within: str | None = None) -> None:
        """Remove the checkpoints within tasks but one, and segments that are not needed."""
        if within is None and self._of_task is not None:
            within = self._folder.checkpoint_within(self._phase, self._phase_step).name
        self._folder.remove_within(within)
        self._segments.tidy()

    def _write_checkpoint(
        self, path: Path, agent: StateTree, more: StateTree | None = None
    ) -> None:
        self._log.sync()
        state = {
            "agent": agent,
            "record": dataclasses.asdict(self._measured),
            "metrics_bytes": self._log.size,
            **(more or {}),
        }
        if self._diagnostics is not None:
            state["diagnostics"] = self._diagnostics.state_dict()
        self._folder.check_claim()
        try:
            save_checkpoint(path, state, self._setup.identity)
        except (TypeError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            raise ContractError(
                self._setup.agent_name, f"its state_dict() cannot be saved: {error}"
            ) from error


class _Stopwatch:
    """Seconds between each start and stop, added up, and those of them that this process computed.

    The latter are of all its threads; None if they are not known of what came before.
    """

    def __init__(self, seconds: float = 0.0, cpu_seconds: float | None = 0.0) -> None:
        self.seconds, self.cpu_seconds = seconds, cpu_seconds
        self._started = self._cpu_started = 0.0

    def start(self) -> None:
        self._started, self._cpu_started = perf_counter(), process_time()

    def stop(self) -> None:
        self.seconds += perf_counter() - self._started
        if self.cpu_seconds is not None:
            self.cpu_seconds += process_time() - self._cpu_started

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def run_to_end(loop: SequenceLoop, folder: RunFolder, reporter: Reporter) -> dict[str, Any]:
    """Run a loop to its end, unlock its folder, and return the results.

    Raises:
        RunStopped: Ctrl-C, SIGTERM, SIGHUP or SIGUSR1.
        RunFailed: The run cannot go on.
    """
    try:
        with raise_when_stopped() as stop:
            return loop.run(folder, reporter, stop)
    except KeyboardInterrupt as error:
        raise RunStopped(
            f"stopped; {loop.tell_kept(folder)}; go on with: {folder.command('resume')}",
            stopping_exit_code(error),
        ) from error
    finally:
        folder.unlock()


def run_anew(setup: Setup, path: Path, reporter: Reporter) -> dict[str, Any]:
    """Begin a run in a new folder, run it to its end, and return the results.

    Args:
        setup: What to run.
        path: The folder.
        reporter: Is told how it goes.

    Raises:
        UserError: An option is bad, or something is in the folder already, which stays as it is.
        RunStopped: See `run_to_end`.
        RunFailed: See `run_to_end`.
    """
    loop = SequenceLoop(setup)
    return run_to_end(loop, RunFolder.create(path, setup.config), reporter)
