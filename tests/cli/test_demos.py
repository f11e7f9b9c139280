"""`lifelong-rl demos`: files that are the same every time, a verdict on experts, bad input."""

import errno
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from lifelong_rl.cli import main
from lifelong_rl.envs.demonstrations import collect
from lifelong_rl.envs.experts import EXPERTS, get_expert
from lifelong_rl.envs.tasks import TASKS, get_task
from lifelong_rl.storage.demonstration_file import load_demonstrations


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def demos(*arguments):
    return main(["demos", *map(str, arguments)])


def refused(capsys, *arguments):
    """The line on stderr, after checking that nothing was done."""
    before = sorted(Path().rglob("*"))
    capsys.readouterr()
    assert demos(*arguments) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert captured.out == "" and sorted(Path().rglob("*")) == before
    return line


def idle(state):
    return np.zeros((len(state.hand), 4))


def test_the_file_holds_what_the_expert_did(capsys):
    assert demos("--task", "reach", "--episodes", 3, "--seed", 5, "--noise", 0.25) == 0
    (line,) = capsys.readouterr().out.splitlines()
    path = Path("demos/reach-seed5-noise0.25.npz")
    assert str(path) in line and "success 1.00" in line
    task = get_task("reach")
    found = load_demonstrations(path, task="reach", task_version=task.version)
    expected = collect(task, get_expert("reach"), episodes=3, seed=5, noise=0.25)
    for name, array in vars(expected).items():
        np.testing.assert_array_equal(getattr(found, name), array)
    assert f"return {expected.rewards.sum(axis=1).mean():.1f}" in line
    assert found.metadata["layout"] == {
        name: [entry.start, entry.stop] for name, entry in task.layout.items()
    }
    assert found.metadata["reward_terms"] == list(task.weights)
    assert (found.metadata["seed"], found.metadata["noise"]) == (5, 0.25)
    assert found.metadata["control_hz"] == task.control_hz
    assert found.metadata["versions"]["mujoco"]


def test_files_do_not_depend_on_threads():
    for threads in (1, 2):
        assert (
            demos(
                "--task",
                "reach",
                "--episodes",
                5,
                "--out",
                f"{threads}.npz",
                "--num-threads",
                threads,
            )
            == 0
        )
    assert Path("1.npz").read_bytes() == Path("2.npz").read_bytes()


def test_a_sequence_and_more_go_into_a_folder_each_once(capsys):
    assert demos("--task", "reach", "--sequence", "arm3", "--episodes", 1, "--out", "deep/er") == 0
    assert sorted(path.name for path in Path("deep/er").iterdir()) == [
        f"{task}-seed0.npz" for task in ("button-press", "drawer-open", "reach")
    ]
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_what_is_there_is_replaced_only_on_request(capsys):
    demos("--task", "reach", "--episodes", 1)
    before = Path("demos/reach-seed0.npz").read_bytes()
    line = refused(capsys, "--task", "drawer-open", "--task", "reach", "--episodes", 2)
    assert "demos/reach-seed0.npz is there already; add --overwrite" in line
    assert Path("demos/reach-seed0.npz").read_bytes() == before
    assert demos("--task", "reach", "--episodes", 2, "--overwrite") == 0
    assert load_demonstrations(Path("demos/reach-seed0.npz")).num_episodes == 2


def test_verify_passes_good_experts_and_writes_the_table(capsys):
    assert (
        demos("--verify", "--task", "reach", "--episodes", 20, "--json", "docs/experts.json") == 0
    )
    header, row = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["task", "solved", "needed"]
    assert row.split()[:3] == ["reach", "20/20", "19/20"]
    found = json.loads(Path("docs/experts.json").read_text())
    assert (found["episodes"], found["seed"]) == (20, 0)
    assert found["tasks"]["reach"]["solved"] == 20
    assert f"{found['tasks']['reach']['mean_steps_to_success']:.1f}" == row.split()[4]
    assert [path.name for path in Path().rglob("*.*")] == ["experts.json"]


def test_verify_fails_if_one_expert_is_bad(monkeypatch, capsys):
    monkeypatch.setitem(EXPERTS._registered, "drawer-open", idle)
    assert demos("--verify", "--sequence", "arm3", "--episodes", 10, "--json", "found.json") == 1
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.endswith("too few") for row in rows] == [False, True, False]
    assert rows[1].split()[:2] == ["drawer-open", "0/10"] and rows[1].split()[4] == "-"
    found = json.loads(Path("found.json").read_text())["tasks"]["drawer-open"]
    assert (found["solved"], found["needed"], found["mean_steps_to_success"]) == (0, 10, None)


def test_verify_looks_at_all_tasks_if_none_is_named(monkeypatch, capsys):
    for task in TASKS:
        monkeypatch.setitem(
            EXPERTS._registered, task, lambda state, dim=TASKS[task].action_dim: np.zeros((1, dim))
        )
    assert demos("--verify", "--episodes", 1) == 1
    assert [row.split()[0] for row in capsys.readouterr().out.splitlines()[1:]] == list(TASKS)


def test_noise_makes_experts_fail_visibly(capsys):
    assert demos("--verify", "--task", "reach", "--episodes", 20, "--noise", 30) == 1
    assert capsys.readouterr().out.splitlines()[1].endswith("too few")


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ([], "say what to demonstrate: --task NAME or --sequence NAME"),
        (["--task", "rech"], "unknown task 'rech'; did you mean 'reach'? (see: lifelong-rl list t"),
        (["--sequence", "arm33"], "unknown sequence 'arm33'; did you mean 'arm3'?"),
        (["--verify", "--task", "rech"], "unknown task 'rech'; did you mean 'reach'?"),
        (
            ["--task", "reach", "--episodes", "0"],
            "episodes must be a whole number of at least 1, not 0",
        ),
        (
            ["--task", "reach", "--seed", "-1"],
            "seed must be a whole number in [0, 4294967295], not -1",
        ),
        (
            ["--task", "reach", "--num-threads", "0"],
            "num-threads must be a whole number in [1, 1024], not 0",
        ),
        (["--task", "reach", "--noise", "-1"], "noise must be a number of at least 0, not -1.0"),
        (["--task", "reach", "--noise", "nan"], "noise must be a number of at least 0, not nan"),
        (["--task", "reach", "--json", "x"], "--json goes with --verify"),
        (["--verify", "--out", "x"], "--verify writes no demonstrations; leave out --out"),
        (["--verify", "--overwrite"], "leave out --overwrite"),
        (["--sequence", "arm3", "--out", "x.npz"], "x.npz is one file for 3 tasks; give a folder"),
        (
            ["--task", "reach", "--export", "minary"],
            "unknown export 'minary'; did you mean 'minari'",
        ),
        (["--task", "reach", "--nois", "1"], "unknown option '--nois'; did you mean '--noise'?"),
    ],
)
def test_bad_input_is_one_line(capsys, arguments, expected):
    assert expected in refused(capsys, *arguments)


def test_a_file_in_place_of_the_folder(capsys):
    Path("notes").write_text("x")
    line = refused(capsys, "--task", "reach", "--out", "notes")
    assert line.endswith("notes is a file; give a folder, or a file that ends in .npz")


def test_a_task_without_an_expert(forget, capsys):
    forget(EXPERTS, "reach")
    assert "the task 'reach' has no expert" in refused(capsys, "--task", "reach")
    assert "the task 'reach' has no expert" in refused(capsys, "--verify")


def test_without_minari_a_line_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "minari", None)
    line = refused(capsys, "--task", "reach", "--export", "minari")
    assert "--export minari needs Minari: pip install 'lifelong-rl[minari]'" in line


def fill_the_disk(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_minari_reads_what_was_exported(tmp_path, monkeypatch, capsys):
    minari = pytest.importorskip("minari", reason="Minari is not installed")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    arguments = ["--task", "reach", "--episodes", 3, "--noise", 0.1, "--export", "minari"]
    assert demos(*arguments) == 0
    found = load_demonstrations(Path("demos/reach-seed0-noise0.1.npz"))
    (name,) = minari.list_local_datasets()
    assert name in capsys.readouterr().out
    dataset = minari.load_dataset(name)
    assert dataset.env_spec.id == "LifelongRL/Reach-v0"
    assert dataset.total_episodes == 3
    for k, episode in enumerate(dataset.iterate_episodes()):
        np.testing.assert_array_equal(episode.observations, found.observations[k])
        np.testing.assert_array_equal(episode.actions, found.actions[k])
        np.testing.assert_array_equal(episode.rewards, found.rewards[k])
        np.testing.assert_array_equal(np.flatnonzero(episode.truncations), [49])
        assert not episode.terminations.any()
        np.testing.assert_array_equal(episode.infos["success"][1:], found.success[k])
        np.testing.assert_array_equal(episode.infos["expert_actions"][:-1], found.expert_actions[k])
    for path in Path("demos").iterdir():
        path.unlink()
    assert f"Minari has a dataset '{name}' already" in refused(capsys, *arguments)
    with monkeypatch.context() as patch:
        patch.setattr(minari, "create_dataset_from_buffers", fill_the_disk)
        assert demos(*arguments, "--overwrite") == 2
    assert minari.load_dataset(name).total_episodes == 3
    assert minari.list_local_datasets().keys() == {name}
    assert demos(*arguments[:2], "--episodes", 2, *arguments[4:], "--overwrite") == 0
    assert minari.load_dataset(name).total_episodes == 2
