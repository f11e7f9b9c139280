"""What a run may come to keep is told when it begins, and refused where there is no room for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_plugin
from toy_runs import run_toy

from lifelong_rl.registry import AGENTS
from lifelong_rl.runs import machine_memory
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.machine_memory import check_memory, memory_of_machine
from lifelong_rl.runs.setup import prepare

PHYSICAL = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
GROUPS: list[tuple[dict[str, str], int]] = [
    ({}, PHYSICAL),
    ({"sys/fs/cgroup/memory.max": "max\n"}, PHYSICAL),
    ({"sys/fs/cgroup/memory.max": "4096\n"}, 4096),
    (
        {
            "proc/self/cgroup": "0::/job/step\n",
            "sys/fs/cgroup/job/memory.max": "8192\n",
            "sys/fs/cgroup/job/step/memory.max": "max\n",
        },
        8192,
    ),
    (
        {
            "proc/self/cgroup": "5:cpu:/job\n4:memory,hugetlb:/job\n",
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "12288\n",
        },
        12288,
    ),
    ({"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2**63 - 4096}\n"}, PHYSICAL),
    ({"proc/self/cgroup": "odd", "sys/fs/cgroup/memory.max": "?"}, PHYSICAL),
]


@pytest.mark.parametrize(("files", "expected"), GROUPS)
def test_a_container_may_have_less_than_the_machine(
    files: dict[str, str], expected: int, tmp_path: Path
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert memory_of_machine(tmp_path) == expected


def telling(size: int) -> type:
    class Telling(toy_plugin.ToyAgent):
        def memory_bytes(self, steps_per_task: int, num_tasks: int) -> int:
            assert (steps_per_task, num_tasks) == (240, 3)
            return size

    return Telling


def test_it_is_told_in_one_line_or_refused_before_there_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine_memory, "memory_of_machine", lambda: 8_000_000_000)
    monkeypatch.setitem(AGENTS._registered, "toy", telling(7_900_000_000))
    assert run_toy(tmp_path / "fits") == 0
    told = "the agent 'toy' may come to keep 7.9 GB of experience; this machine has 8.0 GB of"
    assert capsys.readouterr().out.splitlines()[1].startswith(told)
    monkeypatch.setitem(AGENTS._registered, "toy", telling(36_900_000_000))
    assert run_toy(tmp_path / "large", "--quiet") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "may come to keep 36.9 GB of experience, and this machine has 8.0 GB" in line
    assert "buffer_size" in line and not (tmp_path / "large").exists()


def test_where_the_system_does_not_tell_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_memory, "memory_of_machine", lambda: None)
    agent: Any = telling(10**15).__new__(telling(10**15))
    line = check_memory(agent, "the agent 'toy'", 240, 3)
    assert line == "the agent 'toy' may come to keep 1000000.0 GB of experience"
    assert check_memory(object(), "the agent 'other'", 240, 3) is None


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({"buffer_size": 1_000_000}, 1000),
        ({"buffer_size": 400}, 400),
        ({"buffer_size": 1_000_000, "reset_buffer": False}, 3000),
    ],
)
def test_a_replay_buffer_takes_what_its_rows_take(options: dict[str, Any], rows: int) -> None:
    config = RunConfig(steps_per_task=1000, num_envs=4, num_threads=1, agent_options=options)
    setup = prepare(config)
    env = setup.make_env(0)
    agent: Any = setup.build_agent(env)[0]
    dim, action_dim = env.observation_space.shape[0], env.action_space.shape[0]
    # observations twice, actions, reward, done and timeout, of four bytes each
    assert agent.memory_bytes(1000, 3) == rows * 4 * (2 * dim + action_dim + 3)
    assert np.float32().nbytes == 4


def test_more_than_can_be_addressed_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from lifelong_rl.cli import main

    arguments = ["--sequence", "reach", "--agent-options", "buffer_size=1000000000000000"]
    assert main(["run", *arguments, "--run-dir", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lifelong-rl: agent 'sac': Unable to allocate")
