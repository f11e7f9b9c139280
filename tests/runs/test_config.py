"""Configurations are read, checked and written without loss."""

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifelong_rl.envs.pixels import Pixels
from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.options import resolve_options
from lifelong_rl.runs.config import (
    RunConfig,
    parse_value,
    read_config,
)
from lifelong_rl.storage.yaml_file import dump_yaml
from lifelong_rl.vision.eyes import DEFAULT_SIZE, Eyes


@pytest.mark.parametrize(
    "text, value",
    [
        ("1e-3", 0.001),
        ("1e4", 10000.0),
        ("-2.5E+3", -2500.0),
        ("3", 3),
        ("true", True),
        ("null", None),
        ("[64, 64]", [64, 64]),
        ("both", "both"),
        ("1e4x", "1e4x"),
    ],
)
def test_values_are_yaml_in_which_exponents_are_numbers(text, value):
    found = parse_value(text)
    assert found == value and type(found) is type(value)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # on a busy machine
@given(
    st.dictionaries(
        st.text(min_size=1),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text()
        | st.sampled_from(["1e4", "null", "3", "yes"])
        | st.lists(st.integers()),
    )
)
def test_what_is_written_is_read_back(options):
    assert parse_value(dump_yaml(options)) == options


def test_a_whole_configuration_is_read_back(tmp_path):
    config = RunConfig(seed=3, method_options={"strength": 1e4}, plugin=("a", "b"))
    (tmp_path / "config.yaml").write_text(dump_yaml(config.as_dict()))
    assert RunConfig(**read_config(tmp_path / "config.yaml")) == config


@pytest.mark.parametrize(
    "content, message",
    [
        ("sed: 3", r"unknown option 'sed'; did you mean 'seed'\? \(see: .*f.yaml\)"),
        ("seed: [", "f.yaml is not YAML"),
        ("- a\n- b", "does not hold options"),
        ("agent-options: 3", "agent-options must be 'name: value' lines, not 3"),
        ("plugin: {a: b}", "plugin must be a list of texts, not {'a'"),
        ("agent: 3", "agent must be text, not 3"),
        ("cameras: 3", "cameras must be a list of texts, not 3"),
        ("encoder: [3]", r"encoder must be a list of texts, not \[3\]"),
        ("finetune: 1", "finetune must be true or false, not 1"),
    ],
)
def test_bad_files_are_refused(tmp_path, content, message):
    path = tmp_path / "f.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_config(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*f.yaml: No such file"):
        read_config(tmp_path / "f.yaml")


@pytest.mark.parametrize(
    "field, value", [("seed", -1), ("steps_per_task", 0), ("num_envs", 1.5), ("threads", True)]
)
def test_bad_numbers_are_refused(field, value):
    with pytest.raises(UserError, match=f"{field.replace('_', '-')} must be a whole number"):
        RunConfig(**{field: value}).checked()


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"observation": "pixel"}, "observation must be 'state' or 'pixels', not 'pixel'; did you"),
        ({"encoder": ("x",)}, "encoder goes with --observation pixels only"),
        ({"frame_stack": 3, "shift": 0}, "frame-stack, shift goes with --observation pixels only"),
        ({"proprioception": False}, "proprioception goes with --observation pixels only"),
        (
            {"observation": "pixels", "encoder_mode": "finetune"},
            "--encoder-mode finetune requires --e",
        ),
        (
            {"observation": "pixels", "encoder": ("x",), "shift": 2},
            "encoder-mode finetune, or leave out",
        ),
        ({"observation": "pixels", "cameras": ()}, "cameras are []; name at least one"),
        ({"observation": "pixels", "cameras": ("front", "front")}, "and none twice"),
        ({"observation": "pixels", "frame_stack": 0}, "frame-stack must be a whole number of at"),
        ({"observation": "pixels", "shift": -1}, "shift must be a whole number of at least 0"),
    ],
)
def test_what_contradicts_itself_is_refused(fields, message):
    with pytest.raises(UserError) as error:
        RunConfig(**fields).checked()
    assert message in str(error.value)


def test_what_is_not_said_of_pictures_is_the_same_for_runs_and_environments():
    of_pixels, of_runs = (
        {entry.name for entry in dataclasses.fields(cls)} for cls in (Pixels, RunConfig)
    )
    shared = of_pixels & of_runs
    assert shared == {"cameras", "frame_stack", "proprioception"}
    for name in shared:
        assert getattr(Pixels(), name) == getattr(RunConfig(), name), name
    assert (Pixels().size, Eyes().shift) == (DEFAULT_SIZE, RunConfig().shift)


def test_runs_that_see_have_folders_of_their_own():
    assert RunConfig().folder_name == "arm3-sac-finetune-seed0"
    assert RunConfig(observation="pixels").folder_name == "arm3-sac-pixels-finetune-seed0"
    long, other = (
        RunConfig(sequence=f"gym:{'Käse-v0,' * 40}{end}").folder_name for end in ("a", "b")
    )
    assert long.startswith("gym-Käse-v0+Käse-v0") and long.endswith("-sac-finetune-seed0")
    assert long != other and len(long.encode()) < 150


class Method:
    def __init__(self, *, strength: float = 1.0, sizes: tuple[int, ...] = (3, 4), kind: type = int):
        pass


class Agent:
    @classmethod
    def build(
        cls, env: object, *, num_tasks: int, method: object, seed: int, lr: float = 0.1
    ) -> None:
        pass


def test_defaults_are_filled_in_where_a_file_can_hold_them():
    assert resolve_options(Method, {}, "method 'm'") == {"strength": 1.0, "sizes": [3, 4]}
    assert resolve_options(Method, {"strength": 2}, "method 'm'")["strength"] == 2
    assert resolve_options(Agent, {}, "agent 'a'") == {"lr": 0.1}


@pytest.mark.parametrize("name", ["lrr", "seed", "num_tasks", "method", "env"])
def test_options_that_an_agent_does_not_have_are_refused(name):
    with pytest.raises(UnknownNameError, match=f"unknown a option '{name}'"):
        resolve_options(Agent, {name: 1}, "agent 'a'")


@pytest.mark.parametrize(
    "value, good",
    [(2, True), (0.5, True), ("high", False), (True, False), (None, False), ([1.0], False)],
)
def test_a_number_must_be_a_number(value, good):
    if good:
        assert resolve_options(Method, {"strength": value}, "method 'm'")["strength"] == value
    else:
        with pytest.raises(UserError, match="'strength' of method 'm' must be a number, not"):
            resolve_options(Method, {"strength": value}, "method 'm'")


def test_lists_are_checked_entry_by_entry():
    assert resolve_options(Method, {"sizes": [1, 2]}, "method 'm'")["sizes"] == [1, 2]
    with pytest.raises(
        UserError, match=r"'sizes' of method 'm' must be a list of whole numbers, not"
    ):
        resolve_options(Method, {"sizes": [1, "b"]}, "method 'm'")
