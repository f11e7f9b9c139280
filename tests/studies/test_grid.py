"""The grid of a study: which cells it makes, and what their folders are called."""

import pytest

from lifelong_rl.errors import UserError
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.studies.grid import fit_name, format_value
from lifelong_rl.studies.study import read_study

BC = "sequences: arm3\nagents: bc\nmethods: [finetune, ewc]\nseeds: [0, 1]\n"


def study(tmp_path, text):
    path = tmp_path / "small.yaml"
    path.write_text(text)
    return read_study(path, runs=tmp_path / "runs")


def configs(found):
    return {cell.name: cell.setup.config for cell in found.cells}


def test_each_combination_is_a_cell_whose_folder_tells_what_varies(tmp_path):
    grid = "grid: {steps-per-task: [10, 20], method_options: {ewc: {strength: [3, 1e3]}}}\n"
    found = configs(study(tmp_path, BC.replace("[0, 1]", "0") + grid))
    assert list(found) == [
        "arm3-bc-finetune-seed0-steps_per_task=10",
        "arm3-bc-finetune-seed0-steps_per_task=20",
        "arm3-bc-ewc-seed0-steps_per_task=10-strength=3",
        "arm3-bc-ewc-seed0-steps_per_task=10-strength=1000",
        "arm3-bc-ewc-seed0-steps_per_task=20-strength=3",
        "arm3-bc-ewc-seed0-steps_per_task=20-strength=1000",
    ]
    last = found["arm3-bc-ewc-seed0-steps_per_task=20-strength=1000"]
    assert (last.steps_per_task, last.method_options["strength"]) == (20, 1000.0)


@pytest.mark.parametrize(
    "hidden, expected",
    [
        ("[256, 256]", {"256x256": [256, 256]}),
        ("[[256, 256]]", {"256x256": [256, 256]}),
        ("[[256, 256], [64]]", {"256x256": [256, 256], "64": [64]}),
    ],
)
def test_a_list_that_the_option_takes_is_one_value(tmp_path, hidden, expected):
    text = BC.replace("[0, 1]", "0").replace("[finetune, ewc]", "ewc")
    found = configs(
        study(tmp_path, text + f"grid: {{agent_options: {{bc: {{hidden: {hidden}}}}}}}\n")
    )
    start = "arm3-bc-ewc-seed0-hidden="
    assert {name.removeprefix(start): c.agent_options["hidden"] for name, c in found.items()} == {
        name: value for name, value in expected.items()
    }


def test_blocks_have_grids_of_their_own_and_names_beside_them(tmp_path):
    blocks = """
grid: {method_options: {ewc: {strength: [1, 2]}}}
blocks:
- seeds: 0
- seeds: 0
  name: wide
  agent_options: {bc: {hidden: [64]}}
  grid: {method_options: {ewc: {strength: [5]}}}
"""
    text = BC.replace("seeds: [0, 1]\n", "").replace("[finetune, ewc]", "ewc")
    assert list(configs(study(tmp_path, text + blocks))) == [
        "arm3-bc-ewc-seed0-strength=1",
        "arm3-bc-ewc-seed0-strength=2",
        "arm3-bc-ewc-seed0-wide-strength=5",
    ]


def test_options_of_one_name_are_told_by_whose_they_are(tmp_path):
    text = BC.replace("[finetune, ewc]", "[ewc+l2]").replace("[0, 1]", "0")
    grid = "grid: {method_options: {ewc+l2: {ewc.strength: [1], l2.strength: [2]}}}\n"
    (name,) = configs(study(tmp_path, text + grid))
    assert name == "arm3-bc-ewc+l2-seed0-ewc.strength=1-l2.strength=2"
    both = """
agents: classifier
sequences: split-digits
methods: clone
seeds: 0
grid: {agent_options: {classifier: {batch_size: [8]}}, method_options: {clone: {batch_size: [4]}}}
"""
    (name,) = configs(study(tmp_path, both))
    assert name == "split-digits-classifier-clone-seed0-classifier.batch_size=8-clone.batch_size=4"


@pytest.mark.parametrize(
    "grid, message",
    [
        ("3", "grid must be 'name: values' lines, not 3"),
        ("{seed: [0]}", "unknown option of a grid 'seed'"),
        ("{num_threads: [1, 2]}", "unknown option of a grid 'num_threads'"),
        ("{step_per_task: [1]}", "'step_per_task'; did you mean 'steps_per_task'"),
        ("{method_options: {strength: [1]}}", "method_options of a grid must be given by method"),
        ("{method_options: {ecw: {strength: [1]}}}", "unknown method in method_options 'ecw'; did"),
        ("{method_options: {ewc: {strenth: [1]}}}", "seed0: unknown ewc option 'strenth'; did you"),
        ("{method_options: {ewc: {strength: []}}}", "strength of the grid has no values"),
        ("{method_options: {ewc: {strength: [-1]}}}", "strength.* a number of at least 0, not -1"),
        ("{method_options: {ewc: {strength: [1, [2]]}}}", r"strength.*, not \[2\]"),
        ("{eval_points: [0]}", "eval-points must be a whole number of at least 1"),
        ("{num_envs: [2]}", "num_envs is set beside the grid and in it"),
        ("{agent_options: {bc: {hidden: [[8]]}}}", "hidden of bc is in agent_options and in the"),
    ],
)
def test_mistakes_in_a_grid_are_answered_before_anything_runs(tmp_path, grid, message):
    text = BC + "num_envs: 4\nagent_options: {bc: {hidden: [4]}}\n"
    with pytest.raises(UserError, match=message):
        study(tmp_path, text + f"grid: {grid}\n")
    assert not (tmp_path / "runs").exists()


def test_values_of_two_spellings_are_one_cell(tmp_path):
    text = BC.replace("[finetune, ewc]", "ewc")
    found = study(tmp_path, text + "grid: {method_options: {ewc: {strength: [1, 1.0]}}}\n")
    assert len(found.cells) == 2


@pytest.mark.parametrize(
    "value, name",
    [
        (3e-4, "0.0003"),
        (1e-5, "1e-05"),
        (1000.0, "1000"),
        (0.1 + 0.2, "0.30000000000000004"),
        (True, "true"),
        (None, "null"),
        ("both", "both"),
        ("pseudo-label", "pseudo-label"),
        ("-.inf", "9e9bbda1"),
        (["front", "wrist"], "front+wrist"),
        ((64, 32), "64x32"),
    ],
)
def test_values_in_names(value, name):
    assert format_value(value) == name


def test_names_of_folders_stay_within_what_file_systems_allow():
    assert fit_name("start", "-x=1") == "start-x=1"
    long = [fit_name("start", "-x=" + "9" * 250 + last) for last in "12"]
    assert max(map(len, long)) < 30 and long[0] != long[1]
    other = format_value("../a b")
    assert "/" not in other and " " not in other and other != format_value("../a c")


def test_another_run_is_told_by_just_what_differs(tmp_path):
    def options(**changes):
        return {"strength": 1.0, "samples": 7, "floor": 0.0, **changes}

    path = tmp_path / "run"
    RunFolder.create(path, RunConfig(method="ewc", method_options=options())).unlock()
    other = RunConfig(method="ewc", method_options=options(samples=8), seed=3)
    with pytest.raises(UserError) as error:
        RunFolder.create(path, other)
    assert str(error.value) == (
        f"{path} holds another run (seed 0, not 3; method_options.samples 7, not 8); "
        "choose another --run-dir"
    )
    with pytest.raises(UserError, match=r"run \(method 'ewc', not 'si'\)"):
        RunFolder.create(path, RunConfig(method="si", method_options={"strength": 5}))
