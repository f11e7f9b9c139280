"""Continual World's sequences as streams; most of it does not need Meta-World."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from lifelong_rl.cli.main import main
from lifelong_rl.envs.continual_world import CW5, CW5_TASKS, CW10, CW10_TASKS, CW20, make_variant
from lifelong_rl.errors import UserError
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.sequence import is_plain, load_sequence, phases_of
from lifelong_rl.runs.setup import prepare

needs_metaworld = pytest.mark.skipif(
    find_spec("metaworld") is None, reason="Meta-World is not installed; run make test-metaworld"
)


def test_cw10_is_the_papers_ten_tasks_in_its_order() -> None:
    names = "hammer push-wall faucet-close push-back stick-pull handle-press-side push shelf-place"
    names += " window-close peg-unplug-side"
    assert CW10.tasks == tuple(f"{name}-v3" for name in names.split())
    assert is_plain(phases_of(CW10)) and {stage.steps for stage in CW10.stages} == {1_000_000}
    assert set(CW10.measures) == {"success"} and CW10.action_dims is None
    assert CW10.most_envs == 5
    assert CW10.offers == ("continuous actions", "expert")


def test_cw20_is_the_ten_twice_with_a_head_for_each_of_the_twenty() -> None:
    assert CW20.tasks == (*CW10.tasks, *(f"{name}-2" for name in CW10.tasks))
    assert CW20.heads == tuple(range(20))
    ids = [placed.task.id for placed in CW20.placed.values()]
    assert ids == [*CW10_TASKS, *CW10_TASKS]


def test_cw5_is_five_of_the_ten_in_their_order() -> None:
    assert CW5.tasks == CW5_TASKS == tuple(name for name in CW10_TASKS if name in CW5_TASKS)
    assert len(CW5.tasks) == 5


def test_versions_keep_rewards_and_observations_apart() -> None:
    names = ("cw10", "cw10:v2,full", "cw10:v1", "cw10:short", "cw10:v1,short")
    told = [load_sequence(name).versions()["push-v3"] for name in names]
    assert told[0] == told[1] == "3.1.1-reward-v2-horizon-200"
    assert len(set(told)) == 4
    short = make_variant(CW20, "v1,short").placed["push-v3-2"].task
    assert (short.reward, short.observation, short.dims()) == ("v1", "short", (12, 4))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("cw10:v3", "unknown option of cw10 'v3'; did you mean 'v2'"),
        ("cw5:", "unknown option of cw5 ''"),
        ("cw10:v1,v2", "the sequence 'cw10:v1,v2' sets reward twice"),
        ("metaworld:", "the id of a task of Meta-World is ''"),
    ],
)
def test_a_wrong_name_is_told_in_a_line(name: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        load_sequence(name)
    assert "\n" not in str(caught.value)


def test_what_stick_pull_rewards_in_version_v1_is_told() -> None:
    assert load_sequence("cw10").notes == ()  # type: ignore[attr-defined]
    (note,) = load_sequence("cw20:v1").notes  # type: ignore[attr-defined]
    assert note.startswith("rewards of version v1 of stick-pull-v3")
    setup = prepare(RunConfig(sequence="cw10:v1,short"))
    assert setup.notes == (note,)
    assert prepare(RunConfig(sequence="cw10")).notes == ()


@needs_metaworld
@pytest.mark.slow
@pytest.mark.parametrize("agent", ["sac", "bc", "bc-stream", "offline-rl"])
def test_a_task_and_its_twins_are_learned_by_the_same_commands(agent: str, tmp_path: Path) -> None:
    words = ["--sequence", "metaworld:handle-press-side-v3,push-v3", "--agent", agent]
    words += ["--steps-per-task", "2400", "--num-envs", "4", "--eval-points", "1", "--quiet"]
    words += ["--eval-episodes", "4", "--method", "ewc", "--run-dir", str(tmp_path / "run")]
    if agent in ("bc", "offline-rl"):
        words += ["--agent-options", "episodes=5"]
    assert main(["run", *words]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert set(results["task_versions"].values()) == {"3.1.1-reward-v2-horizon-200"}
    returns = results["return_matrix"]
    if agent == "bc":  # which this little is enough for
        assert returns[1][0] > 5 * returns[0][0]
