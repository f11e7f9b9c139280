"""Settings that come with the package are those of a run that can be set up."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lifelong_rl.runs import settings
from lifelong_rl.runs.config import RunConfig, read_config
from lifelong_rl.runs.setup import Setup, prepare


def read(name: str) -> Setup:
    return prepare(RunConfig(**read_config(settings.find_settings(Path(name)))))


@pytest.mark.parametrize("name", settings.names())
def test_settings_make_a_run_and_are_described_in_a_line(name: str) -> None:
    assert read(name)
    described = settings.describe(name)
    assert described and "\n" not in described and not described.startswith("#")


def test_the_preset_of_continual_world_is_the_papers_setting() -> None:
    setup = read("continual-world")
    assert setup.sequence.name == "cw10:v1,short" and set(setup.phase_steps) == {1_000_000}
    versions = set(setup.sequence.versions().values())
    assert versions == {"3.1.1-reward-v1-horizon-200-short"}
    options = setup.config.agent_options
    assert tuple(options["hidden"]) == (256,) * 4 and options["layer_norm"]
    told = [options[name] for name in ("learning_rate", "batch_size", "gamma", "buffer_size")]
    assert told == [1e-3, 128, 0.99, 1_000_000]
    assert (options["learning_starts"], options["updates_per_step"]) == (10_000, 1.0)
    sigma = 0.089
    entropy = 4 * (math.log(sigma) + 0.5 * math.log(2 * math.pi * math.e))
    assert options["target_entropy"] == pytest.approx(entropy, abs=1e-4)
    initial = float(options["ent_coef"].removeprefix("auto_"))
    assert math.log(initial) == pytest.approx(1.0, abs=1e-8)


def test_clonex_is_clone_with_old_heads_that_explore_and_bounded_gradients() -> None:
    setup, plain = read("clonex"), prepare(RunConfig(method="clone"))
    options = dict(setup.config.agent_options)
    assert options.pop("explore") == "best-old-head"
    assert options.pop("max_grad_norm") == 0.1
    # a round of episodes to try heads in, and one for the best
    assert options.pop("explore_steps") == 2 * setup.config.num_envs * 50
    assert {n: plain.config.agent_options[n] for n in options} == options
    assert setup.config.method_options == plain.config.method_options
    assert setup.config.method == "clone" and setup.config.agent == "sac"


def test_a_file_of_the_name_goes_before_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("continual-world").write_text("agent: bc\n", encoding="utf-8")
    assert read_config(settings.find_settings(Path("continual-world"))) == {"agent": "bc"}
