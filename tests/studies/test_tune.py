"""Tuning: what is tried, what is given up, and what a stop leaves."""

import json

import pytest
from toy_results import make_results

from lifelong_rl.errors import UserError
from lifelong_rl.runs.config import read_config
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.storage.atomic import WriteError
from lifelong_rl.studies.cell import STOP
from lifelong_rl.studies.sweep import Entry
from lifelong_rl.studies.tune import LOOK_SECONDS, METRICS, TRIALS, Tuner, TuneReporter, read_tuning

pytest.importorskip("optuna")

STUDY = """
sequences: arm3
agents: bc
methods: ewc
seeds: [0, 1]
method_options: {ewc: {samples: 7}}
space:
  method_options: {ewc: {strength: {low: 1, high: 1e6, log: true}, scope: [policy, both]}}
  agent_options: {bc: {hidden: [[8], [16, 16]]}}
"""


def read(tmp_path, text=STUDY):
    tmp_path.mkdir(exist_ok=True)
    path = tmp_path / "small.yaml"
    path.write_text(text)
    return read_tuning(path, tmp_path / "runs")


def tuner(tmp_path, text=STUDY, metric="average_performance", seed=0):
    return Tuner(read(tmp_path, text), metric, seed)


def peak(cell):
    """Best where the strength is 1000."""
    strength = cell.setup.config.method_options["strength"]
    seed = cell.setup.config.seed
    return 1.0 / (1.0 + abs(float(f"{strength:e}".split("e")[1]) - 3)) - 0.01 * seed


class Cells:
    """Stands in for a sweep: finishes cells at once, with what `score` says of each.

    Args:
        score: Of a cell; a text is why it failed.
        stop_at: Number of the cell at which Ctrl-C comes, counted over all calls.
    """

    def __init__(self, score=peak, stop_at=None):
        self.score, self.stop_at = score, stop_at
        self.ran = []
        self.batches = []

    def __call__(self, cells, reporter):
        self.batches.append([cell.name for cell in cells])
        entries = []
        for cell in cells:
            if self.stop_at is not None and len(self.ran) == self.stop_at:
                raise KeyboardInterrupt
            entries.append(self.finish(cell))
        reporter.tick()
        return entries

    def finish(self, cell):
        self.ran.append(cell.name)
        score = self.score(cell)
        if isinstance(score, str):
            return Entry(cell, "failed", score)
        if not (cell.path / "config.yaml").is_file():
            RunFolder.create(cell.path, cell.setup.config).unlock()
        results = make_results()
        results["metrics"]["average_performance"] = score
        results["metrics"]["forgetting"] = score
        RunFolder(cell.path, cell.setup.config).write_results(results)
        return Entry(cell, "finished")


def test_the_defaults_come_first_and_every_trial_is_within_the_space(tmp_path):
    tuning = tuner(tmp_path)
    cells = Cells()
    tuning.run(8, cells)
    first, *others = [trial.params for trial in tuning.trials]
    assert first == {
        "method_options.strength": 10_000.0,
        "method_options.scope": "policy",
        "agent_options.hidden": [128, 128],
    }
    assert len(others) == 7
    for params in others:
        assert 1 <= params["method_options.strength"] <= 1e6
        assert params["method_options.scope"] in ("policy", "both")
        assert params["agent_options.hidden"] in ([8], [16, 16])
        digits = f"{params['method_options.strength']:.10e}".split("e")[0].rstrip("0")
        assert len(digits.replace(".", "")) <= 3
    assert cells.batches[2] == ["arm3-bc-ewc-seed0-trial002", "arm3-bc-ewc-seed1-trial002"]
    cell = tuning.tuning.cells_of(tuning.trials[2])[1]
    config = cell.setup.config
    assert config.method_options["samples"] == 7 and config.seed == 1
    assert config.agent_options["hidden"] == tuning.trials[2].params["agent_options.hidden"]
    assert tuning.trials[2].value == pytest.approx((peak(cell) + peak(cell) + 0.01) / 2)
    values = {trial.number: trial.value for trial in tuning.trials}
    assert tuning.best.number == max(values, key=values.get)


def test_a_tuning_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path):
    whole = tuner(tmp_path / "a")
    whole.run(7, Cells())
    stopped = tuner(tmp_path / "b")
    cells = Cells(stop_at=9)  # in the middle of a trial
    with pytest.raises(KeyboardInterrupt):
        stopped.run(7, cells)
    again = tuner(tmp_path / "b")
    assert [trial.state for trial in again.trials] == ["finished"] * 4 + ["to do"]
    more = Cells()
    again.run(7, more)
    assert [t.params for t in again.trials] == [t.params for t in whole.trials]
    assert [t.value for t in again.trials] == [t.value for t in whole.trials]
    assert not {name for name in cells.ran if "trial004" not in name} & {*more.ran}
    third = Cells()
    tuner(tmp_path / "b").run(7, third)
    assert third.ran == []
    other = tuner(tmp_path / "c", seed=1)
    other.run(7, Cells())
    assert [t.params for t in other.trials] != [t.params for t in whole.trials]


def test_trials_run_together_where_there_is_room(tmp_path):
    tuning = tuner(tmp_path)
    cells = Cells()
    tuning.run(5, cells, together=2)
    assert [len(batch) for batch in cells.batches] == [4, 4, 2]


def test_what_is_to_be_small_is_made_small(tmp_path):
    tuning = tuner(tmp_path, metric="forgetting")
    tuning.run(6, Cells())
    values = [trial.value for trial in tuning.trials]
    assert tuning.best.value == min(values) < max(values)


def test_optuna_learns_from_what_was_tried(tmp_path):
    text = STUDY.split("space:")[0] + (
        "space: {method_options: {ewc: {strength: {low: 1, high: 1e6, log: true}}}}\n"
    )
    tuning = tuner(tmp_path, text)
    tuning.run(30, Cells())
    near = [100 <= trial.params["method_options.strength"] < 1e5 for trial in tuning.trials]
    assert sum(near[10:]) / 20 > 0.75  # at random it is a half


def test_trials_that_fail_are_told_and_do_not_end_it(tmp_path):
    def score(cell):
        return "the loss is NaN" if "trial001" in cell.name else peak(cell)

    tuning = tuner(tmp_path)
    tuning.run(3, Cells(score))
    assert [trial.state for trial in tuning.trials] == ["finished", "failed", "finished"]
    assert tuning.trials[1].message == "arm3-bc-ewc-seed0-trial001: the loss is NaN"
    nothing = tuner(tmp_path / "none")
    nothing.run(2, Cells(lambda cell: "no"))
    assert nothing.best is None


def test_what_failed_is_tried_again_when_it_is_called_again(tmp_path):
    first = tuner(tmp_path)
    first.run(4, Cells(lambda cell: "the disk was full"))
    assert first.best is None
    again = tuner(tmp_path)
    assert [trial.state for trial in again.trials] == ["failed"] * 4
    cells = Cells()
    again.run(3, cells, together=2)
    assert [len(batch) for batch in cells.batches] == [4, 2]
    assert [trial.state for trial in again.trials] == ["finished"] * 3 + ["failed"]
    assert again.trials[1].message == "" and again.best is not None


def test_fewer_trials_than_there_are_run_no_more(tmp_path):
    stopped = tuner(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        stopped.run(4, Cells(stop_at=7))
    cells = Cells()
    again = tuner(tmp_path)
    again.run(3, cells)
    assert cells.ran == [] and again.trials[3].state == "to do"


def test_a_stop_between_trials_that_ran_together_changes_nothing(tmp_path):
    class Stop(TuneReporter):
        def end(self, trial):
            if trial.number == 6:
                raise KeyboardInterrupt

    whole = tuner(tmp_path / "a")
    whole.run(12, Cells(), together=2)
    stopped = tuner(tmp_path / "b")
    with pytest.raises(KeyboardInterrupt):
        stopped.run(12, Cells(), together=2, reporter=Stop())
    again = tuner(tmp_path / "b")
    again.run(12, Cells(), together=2)
    assert again.trials == whole.trials


def test_a_tuning_whose_folder_was_taken_over_writes_nothing_more(tmp_path):
    tuning = tuner(tmp_path)
    tuning.run(1, Cells())
    file = tmp_path / "runs" / TRIALS
    before = file.read_bytes()
    with tuning.locked():
        (claim,) = file.parent.glob(".claim-*")
        claim.rename(claim.with_name(".claim-9"))  # as another machine leaves it
        with pytest.raises(WriteError, match="the folder was lost"):
            tuning.run(2, Cells())
    assert file.read_bytes() == before


def log_tasks(cell, values):
    """What a cell has logged after so many tasks."""
    lines = [{"type": "evaluation", "step": 0, "task": None, "values": {}}]
    lines += [{"type": "train", "step": 1, "task": "reach", "values": {}}]
    for value in values:
        told = {f"so_far/{metric}": value for metric in METRICS}
        lines.append({"type": "evaluation", "step": 9, "task": "reach", "values": told})
    if not cell.path.exists():
        RunFolder.create(cell.path, cell.setup.config).unlock()
    text = "\n".join(map(json.dumps, lines)) + '\n{"type": "eval'
    (cell.path / "metrics.jsonl").write_text(text)


class Slow(Cells):
    """Cells that learn a task between two looks, with the same success on each."""

    def __init__(self, curves, monkeypatch):
        super().__init__()
        self.curves, self.seen = curves, []
        self.now = 0.0
        monkeypatch.setattr("lifelong_rl.studies.tune.monotonic", lambda: self.now)

    def __call__(self, cells, reporter):
        number = int(cells[0].name[-3:])
        curve = self.curves[number]
        self.score = lambda cell: curve[-1]
        for done in range(1, 4):
            for cell in cells:
                log_tasks(cell, curve[:done])
            self.now += LOOK_SECONDS
            reporter.tick()
            if any((cell.path / STOP).exists() for cell in cells):
                self.seen.append((number, done))
                return [Entry(cell, "failed", "stopped") for cell in cells]
        return [self.finish(cell) for cell in cells]


GOOD, BAD, FIRST_BAD = [0.9, 0.8, 0.7], [0.9, 0.2, 0.1], [0.1, 0.9, 0.9]


def test_a_trial_is_given_up_after_a_task_that_goes_worse_than_most(tmp_path, monkeypatch):
    tuning = tuner(tmp_path)
    slow = Slow([GOOD, BAD, GOOD, GOOD, BAD, GOOD, FIRST_BAD], monkeypatch)
    tuning.run(7, slow)
    # trial 1 came before there was anything to compare it with
    assert [trial.state for trial in tuning.trials] == [
        *["finished"] * 4,
        "pruned",
        "finished",
        "finished",
    ]
    assert slow.seen == [(4, 2)]
    assert tuning.trials[4].by_task == pytest.approx([0.9, 0.2])
    assert tuning.best.number == 6
    again = tuner(tmp_path)
    assert again.trials == tuning.trials


def test_a_stop_while_a_trial_is_given_up_runs_it_no_more(tmp_path, monkeypatch):
    tuning = tuner(tmp_path)
    tuning.run(2, Cells())
    trial = tuning.trials[1]
    trial.state, trial.value = "to do", None
    tuning._write()
    for cell in tuning.tuning.cells_of(trial):
        (cell.path / "results.json").unlink()
        log_tasks(cell, [0.5, 0.25])
        (cell.path / STOP).write_text("")
    again = tuner(tmp_path)
    more = Cells()
    again.run(2, more)
    assert more.ran == [] and again.trials[1].state == "pruned"
    assert again.trials[1].by_task == pytest.approx([0.5, 0.25])


def test_the_best_is_judged_on_fresh_seeds(tmp_path):
    tuning = tuner(tmp_path)
    tuning.run(4, Cells())
    cells = Cells()
    values = tuning.judge([tuning.trials[0], tuning.trials[1]], [2, 3, 4], cells)
    assert len(cells.ran) == 6 and all(not name.endswith(TRIALS) for name in cells.ran)
    assert {name.split("-")[3] for name in cells.ran} == {"seed2", "seed3", "seed4"}
    assert values[0] == pytest.approx([0.5 - 0.01 * seed for seed in (2, 3, 4)])
    with pytest.raises(UserError, match=r"seed9-trial000 did not finish: no"):
        tuning.judge([tuning.trials[0]], [9], Cells(lambda cell: "no"))


def test_settings_are_what_run_reads(tmp_path):
    tuning = tuner(tmp_path)
    tuning.run(3, Cells())
    trial = tuning.trials[2]
    path = tmp_path / "best.yaml"
    tuning.write_settings(path, trial, ["one", "two: three"])
    assert path.read_text().startswith("# one\n# two: three\nagent: bc\nmethod: ewc\n")
    fields = read_config(path)
    assert fields["method_options"] == {
        "strength": trial.params["method_options.strength"],
        "scope": trial.params["method_options.scope"],
    }
    assert fields["agent_options"] == {"hidden": trial.params["agent_options.hidden"]}


def test_the_folder_of_another_tuning_is_refused(tmp_path):
    tuner(tmp_path).run(2, Cells())
    for text, metric, told in [
        (STUDY, "retention", "metric 'average_performance', not 'retention'"),
        (STUDY.replace("1e6", "1e5"), "average_performance", "space.method_options.strength"),
        (
            STUDY.replace("samples: 7", "samples: 8"),
            "average_performance",
            "method_options.samples 7, not 8",
        ),
        (
            STUDY.replace("samples: 7", "samples: 7, strength: 5"),
            "average_performance",
            r"method_options.strength 10000.0, not 5.0",
        ),
        (STUDY.replace("[0, 1]", "[0, 2]"), "average_performance", r"seeds \[0, 1\], not \[0, 2"),
    ]:
        with pytest.raises(
            UserError, match=f"is of (another tuning|a tuning from other defaults) .{told}"
        ):
            tuner(tmp_path, text, metric)
    trials = tmp_path / "runs" / TRIALS
    content = trials.read_text()
    trials.write_text(content.replace('"finished"', '"done"'))
    with pytest.raises(UserError, match="trial 0 is none of this study"):
        tuner(tmp_path)
    trials.write_text(content[:-9])
    with pytest.raises(UserError, match=r"cannot read .*trials.json"):
        tuner(tmp_path)


def test_two_tunings_in_one_folder_are_refused(tmp_path):
    first, second = tuner(tmp_path), tuner(tmp_path)
    with first.locked(), pytest.raises(UserError, match="in use"), second.locked():
        pass


def test_nothing_is_tried_twice(tmp_path):
    text = STUDY.split("space:")[0] + "space: {method_options: {ewc: {scope: [policy, both]}}}\n"
    tuning = tuner(tmp_path, text)
    tuning.run(20, Cells())
    assert [trial.params["method_options.scope"] for trial in tuning.trials] == ["policy", "both"]


@pytest.mark.parametrize(
    "space, message",
    [
        ("3", "space must be options and what they may be"),
        ("{}", "space must be options"),
        ("{method_options: {}}", "space names no option"),
        ("{options: {}}", "unknown kind of option in space 'options'"),
        ("{method_options: {si: {strength: [1, 2]}}}", "unknown method in space 'si'"),
        ("{method_options: {ewc: {strenth: [1, 2]}}}", "unknown ewc option 'strenth'; did you"),
        ("{method_options: {ewc: {strength: [1]}}}", "strength has nothing to choose from"),
        ("{method_options: {ewc: {strength: [1, 1.0]}}}", "strength lists a value twice"),
        ("{method_options: {ewc: {strength: 3}}}", "must be a list of choices or a range"),
        ("{method_options: {ewc: {strength: {low: 1}}}}", "must be a list of choices or a range"),
        ("{method_options: {ewc: {strength: {low: 2, high: 1}}}}", "not 2.0 to 1.0"),
        ("{method_options: {ewc: {strength: {low: 0, high: 1, log: true}}}}", "begin above 0"),
        ("{method_options: {ewc: {strength: {low: -1, high: 1}}}}", "at least 0, not -1"),
        ("{method_options: {ewc: {scope: {low: policy, high: both}}}}", "is no number"),
        ("{method_options: {ewc: {samples: {low: 1, high: 2.5}}}}", "samples.* not 2.5"),
        ("{method_options: {ewc: {samples: {low: 1, high: 2, lg: true}}}}", "'lg'; did you"),
    ],
)
def test_mistakes_in_a_space_are_answered_before_anything_runs(tmp_path, space, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, STUDY.split("space:")[0] + f"space: {space}\n")


@pytest.mark.parametrize(
    "change, message",
    [
        (("space:", "grid:"), "has no space to search; add one, such as space: "),
        (("agents: bc", "agents: [bc, sac]"), "a study to tune has one agent, not 2 agents"),
        (("sequences: arm3", "sequences: [arm3, arm5]"), "has one sequence, not 2 sequences"),
        (("seeds: [0, 1]", "seeds: 0\ngrid: {}"), "a study to tune has no grid"),
        (("seeds:", "eval_starts: test\nseeds:"), "what is tuned must not have seen them"),
        (("seeds: [0, 1]", "blocks: [{seeds: 0}]"), "a study to tune has no blocks"),
    ],
)
def test_studies_that_cannot_be_tuned_are_refused(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, STUDY.replace(*change))


def test_an_unknown_metric_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(UserError, match="unknown metric 'forgeting'; did you mean 'forgetting'"):
        tuner(tmp_path, metric="forgeting")


def test_without_optuna_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UserError, match=r"tune needs Optuna: pip install 'lifelong-rl\[tune\]'"):
        tuner(tmp_path)
