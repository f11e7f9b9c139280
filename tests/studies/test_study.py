"""What a study file asks for, and how a cell stands."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import toy_plugin
from toy_results import make_results

from lifelong_rl.errors import UserError
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.runs.setup import prepare
from lifelong_rl.storage.yaml_file import dump_yaml
from lifelong_rl.studies.study import Cell, read_study

ROOT = Path(__file__).parents[2]
TOY = "sequences: toy3\nagents: toy\nmethods: [finetune, ewc]\nseeds: [0, 1]\n"
VERSIONS = {"left": "v0", "right": "v0", "up": "v0"}


def study(tmp_path, text, **arguments):
    path = tmp_path / "small.yaml"
    path.write_text(text)
    return read_study(path, **arguments)


def names(found):
    return [cell.name for cell in found.cells]


def test_one_block_is_every_combination_lowest_seed_first(tmp_path):
    found = study(tmp_path, TOY + "steps-per-task: 20\nruns: elsewhere\n")
    assert names(found) == [
        "toy3-toy-finetune-seed0",
        "toy3-toy-ewc-seed0",
        "toy3-toy-finetune-seed1",
        "toy3-toy-ewc-seed1",
    ]
    assert str(found.cells[0].path) == "elsewhere/toy3-toy-finetune-seed0"
    configs = [cell.setup.config for cell in found.cells]
    assert {(c.steps_per_task, c.num_threads, c.eval_episodes) for c in configs} == {(20, 1, 50)}
    assert found.cells[0].num_steps == 60


def test_runs_go_where_the_call_says_then_the_file_then_the_name_of_the_file(tmp_path):
    assert str(study(tmp_path, TOY).runs) == "runs/small"
    assert str(study(tmp_path, TOY + "runs: x\n").runs) == "x"
    assert study(tmp_path, TOY + "runs: x\n", runs=tmp_path).cells[0].path.parent == tmp_path


BLOCKS = """
agents: [sac, td3]
seeds: [1, 0]
eval_points: 4
method_options: {ewc: {strength: 1e3}, replay: {per_task: 7}}
blocks:
- sequences: [arm3, "reach,push"]
  methods: [finetune, ewc, ewc+replay]
  method_options: {ewc+replay: {ewc.strength: 5}}
  order: 2
- sequences: split-digits
  methods: [ewc, replay]
  agents: classifier
  agent_options: {classifier: {batch_size: 9}}
  eval_points: 2
  num_threads: 3
"""


def test_blocks_have_their_own_lists_and_options(tmp_path):
    found = study(tmp_path, BLOCKS)
    assert len(found.cells) == 2 * (2 * 2 * 3 + 2)
    assert names(found)[0] == "arm3-order2-sac-finetune-seed0"
    assert "reach+push-order2-td3-ewc+replay-seed1" in names(found)
    by_name = {cell.name: cell.setup.config for cell in found.cells}
    ewc = by_name["arm3-order2-sac-ewc-seed0"]
    assert ewc.method_options["strength"] == 10_000  # the block's options take the place of all
    assert (ewc.eval_points, ewc.num_threads) == (4, 1)
    chain = by_name["arm3-order2-td3-ewc+replay-seed1"].method_options
    assert chain["ewc.strength"] == 5
    digits = by_name["split-digits-classifier-ewc-seed1"]
    assert digits.method_options["strength"] == 1000
    assert digits.agent_options["batch_size"] == 9
    assert (digits.eval_points, digits.num_threads, digits.order) == (2, 3, None)
    assert by_name["split-digits-classifier-replay-seed0"].method_options["per_task"] == 7


def test_cells_that_come_twice_are_one_and_a_name_tells_others_apart(tmp_path):
    twice = "blocks:\n- seeds: [0, 1]\n- seeds: [1, 2]\n"
    lists = TOY.replace("seeds: [0, 1]\n", "")
    assert len(study(tmp_path, lists + twice).cells) == 6
    other = "blocks:\n- seeds: 0\n- seeds: 0\n  method_options: {ewc: {strength: 3}}\n"
    with pytest.raises(
        UserError, match=r"toy3-toy-ewc-seed0 comes twice \(method_options.str"
    ) as e:
        study(tmp_path, lists + other)
    assert "strength 10000.0, not 3.0); give one of the blocks a name" in str(e.value)
    found = study(tmp_path, lists + other + "  name: weak\n")
    assert names(found)[2:] == ["toy3-toy-finetune-seed0-weak", "toy3-toy-ewc-seed0-weak"]
    speed = "blocks:\n- seeds: 0\n- seeds: 0\n  num_threads: 2\n"
    assert len(study(tmp_path, lists + speed).cells) == 2


@pytest.mark.parametrize(
    "text, message",
    [
        (
            TOY + "methds: ewc\n",
            r"unknown option 'methds'; did you mean 'methods'\? \(see: .*small",
        ),
        ("sequence: toy3\n", "unknown option 'sequence'; did you mean 'sequences'"),
        (TOY + "name: x\n", "unknown option 'name'"),
        (TOY + "blocks:\n- runs: x\n", "unknown option 'runs'"),
        (TOY.replace("ewc", "ecw"), "toy3-toy-ecw-seed0: unknown method 'ecw'; did you mean 'ewc'"),
        (TOY.replace("toy\n", "tyo\n"), "toy3-tyo-finetune-seed0: unknown agent 'tyo'; did you me"),
        (TOY.replace("toy3", "toy33"), "unknown sequence 'toy33'; did you mean 'toy3'"),
        (
            TOY.replace("[0, 1]", "[0, x]"),
            "seed must be a whole number in .0, 4294967295., not",
        ),
        (TOY.replace("[0, 1]", "[]"), "small.yaml has a block without seeds; list at least one"),
        ("sequences: toy3\n", "has a block without agents"),
        (TOY.replace("agents: toy", "agents: [[toy]]"), "agent must be text"),
        (TOY + "eval_points: 0\n", "eval-points must be a whole number of at least 1"),
        (TOY + "method_options: {ewcc: {strength: 1}}\n", "method in method_options 'ewcc'; did"),
        (TOY + "method_options: {ewc: {strenth: 1}}\n", "unknown ewc option 'strenth'; did you"),
        (TOY + "method_options: {ewc: 3}\n", "method-options must be 'name: value' lines, not 3"),
        (TOY + "agent_options: 3\n", "agent_options must be given by agent, not 3"),
        (TOY + "agent_options:\n", "agent_options must be given by agent, not None"),
        (
            TOY + "agent_options: 3\nblocks: [{agent_options: {}}]\n",
            "agent_options must be given by agent, not 3",
        ),
        (
            TOY + "runs: ~no-such-user/runs\n",
            "runs must be a path, not '~no-such-user/runs' .there",
        ),
        (TOY + "blocks: 3\n", "blocks must be a list of what the study has, not 3"),
        (TOY + "blocks: []\n", "blocks must be a list"),
        (TOY + "blocks: [3]\n", "does not hold options as 'name: value' lines"),
        (TOY + "blocks:\n- name: a/b\n", "the name of a block must be letters"),
        (TOY + "runs: [x]\n", "runs must be a path, not ..x"),
        (TOY + "eval-points: 1\neval_points: 2\n", "sets eval_points twice"),
        (TOY + "plugin: no_such_module\n", "the plug-in 'no_such_module' is named by a"),
    ],
)
def test_mistakes_are_answered_before_anything_runs(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        study(tmp_path, text, runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_plug_ins_that_the_file_does_not_name_are_part_of_the_cells(tmp_path):
    """Or the commands that go on with a cell, or make it again, would lack them."""
    found = study(tmp_path, TOY, plugins=["toy_plugin"])
    assert [cell.setup.config.plugin for cell in found.cells] == [("toy_plugin",)] * 4
    folder = RunFolder.create(tmp_path / "run", found.cells[0].setup.config)
    folder.unlock()
    assert folder.command("resume").endswith("run --plugin toy_plugin")
    blocks = "blocks: [{name: a, plugin: toy_plugin}, {name: b}]\n"
    found = study(tmp_path, TOY + blocks, plugins=["toy_plugin", "toy_runs"])
    assert {cell.name[-1]: cell.setup.config.plugin for cell in found.cells} == {
        "a": ("toy_plugin", "toy_runs"),
        "b": ("toy_runs",),
    }


def test_options_that_only_another_block_has_use_for_are_fine_where_all_blocks_see_them(tmp_path):
    text = TOY.replace("methods: [finetune, ewc]\n", "")
    both = "method_options: {ewc: {strength: 3}}\nblocks:\n- methods: ewc\n- methods: finetune\n"
    assert study(tmp_path, text + both).cells[0].setup.config.method_options["strength"] == 3
    own = "blocks:\n- methods: ewc\n- methods: finetune\n  method_options: {ewc: {strength: 3}}\n"
    with pytest.raises(UserError, match="unknown method in method_options 'ewc'"):
        study(tmp_path, text + own)


def cell(path, **fields):
    return Cell(path, prepare(RunConfig(sequence="toy3", agent="toy", **fields)))


def finish(folder, **changes):
    folder.write_results(make_results(**changes))


def test_a_cell_stands_as_its_folder_says(tmp_path):
    made = cell(tmp_path / "run", method="ewc")
    assert made.find_state() == "to do"
    folder = RunFolder.create(made.path, made.setup.config)
    assert made.find_state() == "running elsewhere"
    folder.unlock()
    assert made.find_state() == "to do"
    finish(folder)
    assert made.find_state() == "finished"


def test_fields_that_were_added_later_count_as_their_defaults(tmp_path):
    made = cell(tmp_path / "run", method="ewc", num_threads=1)
    made.path.mkdir()
    (made.path / "config.yaml").write_text(
        dump_yaml({"sequence": "toy3", "agent": "toy", "method": "ewc", "num_threads": 2})
    )
    finish(RunFolder.open(made.path))
    assert made.find_state() == "finished"


@pytest.mark.parametrize(
    "fields, changes, problem",
    [
        ({"seed": 3}, {}, "seed 3, not 0"),
        ({"method_options": {"strength": 7.0}}, {}, "method_options.strength 7.0, not 10000.0"),
        ({}, {"versions": {"mujoco": "2.0"}}, "MuJoCo '2.0', not"),
        ({}, {"task_versions": {**VERSIONS, "up": "v1"}}, "tasks .*v1"),
    ],
)
def test_a_folder_of_another_run_is_named_and_left_alone(tmp_path, fields, changes, problem):
    path = tmp_path / "run"
    folder = RunFolder.create(path, cell(path, method="ewc", **fields).setup.config)
    finish(folder, **changes)
    folder.unlock()
    with pytest.raises(UserError, match=rf"run holds another run \({problem}.*; move it away"):
        cell(path, method="ewc").find_state()


def test_results_that_cannot_be_read_are_named(tmp_path):
    made = cell(tmp_path / "run")
    folder = RunFolder.create(made.path, made.setup.config)
    folder.unlock()
    (made.path / "results.json").write_text("{")
    with pytest.raises(UserError, match=r"cannot read .*results.json"):
        made.find_state()


def test_looking_at_a_cell_changes_nothing(tmp_path):
    made = cell(tmp_path / "run")
    RunFolder.create(made.path, made.setup.config).unlock()
    finish(RunFolder.open(made.path))
    before = {path: path.stat().st_mtime_ns for path in [made.path, *made.path.rglob("*")]}
    made.find_state()
    assert {p: p.stat().st_mtime_ns for p in [made.path, *made.path.rglob("*")]} == before
    assert json.loads((made.path / "results.json").read_text())


def digits(tmp_path, **fields):
    return Cell(tmp_path, prepare(RunConfig(sequence="split-digits", num_envs=1, **fields)))


def test_pairs_that_make_no_sense_are_told_from_mistakes(tmp_path):
    assert digits(tmp_path, agent="classifier", method="icarl").find_refusal() is None
    imitation = Cell(tmp_path, prepare(RunConfig(agent="bc", method="icarl", num_envs=2)))
    assert "'icarl' needs classes" in imitation.find_refusal()
    with pytest.raises(UserError, match="'bc' needs tasks with continuous actions"):
        digits(tmp_path, agent="bc", method="ewc")
    with pytest.raises(UserError, match="lr must be positive"):
        cell(tmp_path, agent_options={"lr": -1.0}).find_refusal()
    with pytest.raises(UserError, match="strength"):
        digits(
            tmp_path, agent="classifier", method="ewc", method_options={"strength": -1.0}
        ).find_refusal()


def test_a_study_of_before_there_were_encoder_modes(tmp_path, monkeypatch):
    monkeypatch.setattr("lifelong_rl.runs.setup._open_eyes", lambda *given: None)
    file = tmp_path / "s.yaml"
    file.write_text(
        "sequences: arm3\nagents: sac\nmethods: ewc\nseeds: 0\nobservation: pixels\n"
        "finetune: false\nblocks:\n- {encoder: e, finetune: true, name: tuned}\n- encoder: e\n"
        "- name: alone\n"
    )
    modes = [cell.setup.config.encoder_mode for cell in read_study(file).cells]
    assert modes == ["finetune", "frozen", "scratch"]


def test_options_that_do_not_go_together_are_found_before_a_sweep_begins(tmp_path):
    options = {"rollout_steps": 10, "batch_size": 7}
    config = RunConfig(agent="ppo", num_envs=2, method="ewc", agent_options=options)
    with pytest.raises(UserError, match=r"batch_size.* must be a divisor of the 20 rows"):
        Cell(tmp_path, prepare(config)).find_refusal()


def test_what_is_broken_is_left_to_its_own_run_to_tell(tmp_path, monkeypatch):
    monkeypatch.setattr(toy_plugin.ToyAgent, "begin_task", lambda self, task, env: 1 / 0)
    assert cell(tmp_path).find_refusal() is None


def test_the_first_study_has_all_that_it_compares():
    study = read_study(ROOT / "studies" / "first_study.yaml")
    found = {cell.name: cell.setup.config for cell in study.cells}
    methods = "finetune single-task joint l2 ewc si gem agem replay clone progressive packnet"
    streams = ["split-digits", "permuted-digits", "noisy-digits"]
    kinds = ["arm3-bc", "arm3-sac", *(f"{stream}-classifier" for stream in streams)]
    plain = RunConfig(sequence="arm3", num_threads=1, curve_episodes=50)
    for kind, method, seed in product(kinds, methods.split(), range(3)):
        config = found[f"{kind}-{method}-seed{seed}"]
        if kind.startswith("arm3"):
            assert (
                config == prepare(replace(plain, method=method, seed=seed, agent=kind[5:])).config
            )
        else:
            assert (config.eval_episodes, config.method_options.get("per_task", 100)) == (360, 100)
