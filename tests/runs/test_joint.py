"""Learning all tasks at once: the environments side by side, and the phases of a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_runs import SMALL, TOY

from lifelong_rl.cli import main
from lifelong_rl.envs.sequences import get_sequence
from lifelong_rl.errors import UserError
from lifelong_rl.runs.checkpoint import load_checkpoint
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.loop import SequenceLoop
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.runs.setup import prepare

CONFIG = RunConfig(
    sequence="reach,button-press",
    method="joint",
    steps_per_task=30,
    num_envs=3,
    eval_episodes=1,
    eval_points=1,
    num_threads=1,
    agent_options={
        "hidden": [8, 8],
        "learning_starts": 9,
        "batch_size": 16,
        # With three environments an update is owed now and then.
        "updates_per_step": 0.5,
    },
)


@pytest.mark.parametrize(
    ("num_envs", "counts"), [(16, [6, 5, 5]), (3, [1, 1, 1]), (1, [1, 1, 1]), (5, [2, 2, 1])]
)
def test_environments_are_spread_evenly_over_the_tasks(num_envs, counts):
    env = get_sequence("arm3").make_joint_env(num_envs=num_envs)
    assert [part.num_envs for part in env.parts] == counts
    assert env.num_envs == sum(counts)
    env.seed(3)
    one_hots = env.reset()[:, -3:]
    assert np.array_equal(one_hots.argmax(axis=1), np.repeat(range(3), counts))
    env.close()


def test_rows_are_those_of_the_tasks_environments():
    """Every row steps as it does in its own task's environment, and seeding starts it again."""
    sequence = get_sequence("reach,button-press")
    joint = sequence.make_joint_env(num_envs=3, seed=5)
    parts = [
        sequence.make_env(0, num_envs=2, seed=5),
        sequence.make_env(1, num_envs=1, seed=5 + 2),  # the seed of the row that it begins with
    ]
    rng = np.random.default_rng(0)
    first = joint.reset()
    assert np.array_equal(first, np.concatenate([part.reset() for part in parts]))
    for _ in range(101):  # past the end of an episode
        actions = rng.uniform(-1, 1, (3, 4)).astype(np.float32)
        found = joint.step(actions)
        expected = [parts[0].step(actions[:2]), parts[1].step(actions[2:])]
        for column in range(3):
            assert np.array_equal(found[column], np.concatenate([e[column] for e in expected]))
        assert len(found[3]) == 3
        for info, other in zip(found[3], expected[0][3] + expected[1][3], strict=True):
            assert info["reward_terms"] == other["reward_terms"]
            assert info.get("episode") == other.get("episode")
    joint.seed(5)
    assert np.array_equal(joint.reset(), first)
    assert [task.name for task in joint.get_attr("task")] == ["reach", "reach", "button-press"]
    assert joint.num_diverged == 0
    joint.close()


def test_demonstrations_are_those_of_all_tasks():
    joint = get_sequence("reach,button-press").make_joint_env(num_envs=2)
    shown = joint.demonstrations(1, seed=3, noise=0.1)
    alone = [part.demonstrations(1, seed=3, noise=0.1) for part in joint.parts]
    assert shown["observations"][:, -2:].sum(axis=0).tolist() == [len(a["actions"]) for a in alone]
    for name, rows in shown.items():
        assert np.array_equal(rows, np.concatenate([a[name] for a in alone]))
    joint.close()


def run(setup, path, tasks_done=None):
    """Run to the end, or go on from the checkpoint after `tasks_done` tasks."""
    if tasks_done is None:
        folder, state = RunFolder.create(path, setup.config), None
    else:
        folder = RunFolder.open(path)
        folder.lock()
        folder.rewind(f"task-{tasks_done:03d}")
        state = load_checkpoint(folder.checkpoint(tasks_done), setup.identity)
    loop = SequenceLoop(setup, state)
    buffers = []
    progress = loop._progress

    def watch(steps):
        progress(steps)
        buffers.append(loop._agent.replay_buffer.size())

    loop._progress = watch
    results = loop.run(folder)
    folder.unlock()
    return results, loop._agent, buffers


def test_phases_keep_the_buffer_and_resume_exactly(tmp_path):
    setup = prepare(CONFIG)
    options = setup.config.agent_options
    assert (options["reset_buffer"], options["reset_optimizers"]) == (False, False)
    results, agent, buffers = run(setup, tmp_path / "run")
    assert np.shape(results["performance_matrix"]) == (3, 2)
    assert buffers == list(range(20)), "before each of ten steps of three environments, twice"
    observations = agent.replay_buffer.observations
    tasks = observations[:20, :, -2:].argmax(axis=2)
    assert (tasks == [0, 0, 1]).all(), "all tasks in every phase"
    parameters = {key: value.clone() for key, value in agent.policy.state_dict().items()}

    again, resumed, buffers = run(setup, tmp_path / "run", tasks_done=1)
    assert buffers == list(range(10, 20))
    for key, value in resumed.policy.state_dict().items():
        assert torch.equal(value, parameters[key]), key
    assert np.array_equal(resumed.replay_buffer.observations, observations)
    for key in ("performance_matrix", "return_matrix", "success_curves", "diverged"):
        assert again[key] == results[key]


def test_what_is_kept_can_be_chosen():
    options = {**CONFIG.agent_options, "reset_buffer": True}
    resolved = prepare(replace(CONFIG, agent_options=options)).config
    assert resolved.agent_options["reset_buffer"] is True
    assert resolved.agent_options["reset_optimizers"] is False
    assert prepare(resolved).config == resolved
    plain = prepare(replace(CONFIG, method="finetune")).config
    assert plain.agent_options["reset_buffer"] is True


def test_a_sequence_without_joint_environments_is_refused(capsys, tmp_path):
    status = main(["run", *TOY, *SMALL, "--run-dir", str(tmp_path / "r"), "--method", "joint"])
    assert status == 2
    assert "has no make_joint_env" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
    with pytest.raises(UserError, match="unknown joint option 'strength'"):
        prepare(replace(CONFIG, method_options={"strength": 1.0}))
