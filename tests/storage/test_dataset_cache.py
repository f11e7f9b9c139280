"""Datasets made once: a file is taken if it is good, and nothing that is wrong with it matters."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch

from lifelong_rl import agents
from lifelong_rl.errors import UserError
from lifelong_rl.runs.sequence import load_sequence
from lifelong_rl.storage import atomic
from lifelong_rl.storage.array_file import ArrayFileError, ArrayFormat
from lifelong_rl.storage.dataset_cache import Arrays, cache_folder, file_name, get_dataset
from lifelong_rl.storage.demonstration_file import load_demonstrations

DESCRIPTION = {"kind": "pictures", "task": "lift", "seed": 3}


class Maker:
    """Makes a dataset, and counts how often."""

    def __init__(self, value: float = 1.0) -> None:
        self.value = value
        self.count = 0

    def __call__(self) -> Arrays:
        self.count += 1
        return {"pixels": np.full((2, 3), self.value), "labels": np.arange(2)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIFELONG_RL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def assert_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    assert set(one) == set(other)
    for name, array in one.items():
        assert array.dtype == other[name].dtype
        np.testing.assert_array_equal(array, other[name])


def test_a_dataset_is_made_once(folder: Path) -> None:
    make = Maker()
    first = get_dataset(DESCRIPTION, make)
    assert_same(get_dataset(dict(reversed(DESCRIPTION.items())), make), first)
    assert make.count == 1
    assert files(folder) == [f"pictures/{file_name(DESCRIPTION)}"]
    assert file_name(DESCRIPTION).startswith("lift-")


def test_another_description_is_another_dataset(folder: Path) -> None:
    get_dataset(DESCRIPTION, Maker(1.0))
    other = get_dataset({**DESCRIPTION, "seed": 4}, Maker(2.0))
    assert other["pixels"][0, 0] == 2.0
    assert len(files(folder)) == 2


@pytest.mark.parametrize("harm", ["a byte", "half", "another's", "text"])
def test_a_file_that_is_not_good_is_made_anew(
    harm: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    get_dataset(DESCRIPTION, Maker())
    path = folder / "pictures" / file_name(DESCRIPTION)
    good = path.read_bytes()
    if harm == "a byte":
        bad = bytearray(good)
        bad[len(good) // 3] ^= 1
    elif harm == "half":
        bad = good[: len(good) // 2]
    elif harm == "text":
        bad = b"nothing of the kind"
    else:
        get_dataset({**DESCRIPTION, "seed": 4}, Maker(2.0))
        bad = path.with_name(file_name({**DESCRIPTION, "seed": 4})).read_bytes()
    path.write_bytes(bad)
    make = Maker()
    assert get_dataset(DESCRIPTION, make)["pixels"][0, 0] == 1.0
    assert make.count == 1
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"{path} ")
    assert record.getMessage().endswith("; it is made anew")
    assert "\n" not in record.getMessage()
    assert path.read_bytes() == good


def test_any_bit_that_is_flipped_is_noticed_or_changes_nothing(folder: Path) -> None:
    """Such as the flag that tells that a file is encrypted, and the number of its compression."""
    wanted = get_dataset(DESCRIPTION, Maker())
    path = folder / "pictures" / file_name(DESCRIPTION)
    good = path.read_bytes()
    kind = ArrayFormat("pictures", 1, command="run", error=ArrayFileError)
    refused = 0
    for bit in range(0, 8 * len(good), 7):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bad)
        try:
            arrays, _ = kind.load(path)
        except ArrayFileError as error:
            refused += 1
            assert len(str(error).splitlines()) == 1
        else:  # such as the time at which a part was written, which nobody reads
            assert_same(arrays, wanted)
    assert refused > len(good) / 2


@pytest.mark.parametrize("offset, value", [(6, 1), (8, 99), (8, 14), (8, 12)])
def test_an_encrypted_file_and_ways_of_compression(folder: Path, offset: int, value: int) -> None:
    """Local header of the first part: flags at 6, compression at 8; 14 is LZMA and 12 bzip2."""
    wanted = get_dataset(DESCRIPTION, Maker())
    path = folder / "pictures" / file_name(DESCRIPTION)
    bad = bytearray(path.read_bytes())
    bad[offset] = value
    bad[bad.index(b"PK\x01\x02") + offset + 2] = value  # the same in the directory at its end
    path.write_bytes(bad)
    assert_same(get_dataset(DESCRIPTION, make := Maker()), wanted)
    assert make.count == 1


def test_a_pipe_in_place_of_a_file(folder: Path) -> None:
    path = folder / "pictures" / file_name(DESCRIPTION)
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    assert_same(get_dataset(DESCRIPTION, Maker()), Maker()())
    assert_same(get_dataset(DESCRIPTION, Maker(2.0)), Maker()())


def test_a_folder_that_cannot_be_written_is_said_once_and_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("LIFELONG_RL_CACHE", str(blocked))
    make = Maker()
    for seed in range(3):
        get_dataset({**DESCRIPTION, "seed": seed}, make)
    assert make.count == 3
    assert [record.getMessage() for record in caplog.records] == [
        f"datasets are not kept in {blocked}: Not a directory"
    ]


def test_a_full_disk_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_half(file: BinaryIO, content: bytes) -> None:
        file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "_write_through", write_half)
    make = Maker()
    assert_same(get_dataset(DESCRIPTION, make), make())
    assert files(folder) == []


def test_two_processes_may_make_the_same_dataset(folder: Path) -> None:
    def make_while_another_does() -> Arrays:
        get_dataset(DESCRIPTION, Maker())
        return Maker()()

    get_dataset(DESCRIPTION, make_while_another_does)
    assert len(files(folder)) == 1
    assert_same(get_dataset(DESCRIPTION, Maker(2.0)), Maker()())


def test_stopped_while_writing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        get_dataset(DESCRIPTION, Maker())
    assert files(folder) == []


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_what_killed_writers_have_left_does_not_pile_up(folder: Path) -> None:
    for _ in range(3):
        child = os.fork()
        if child == 0:
            os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
            get_dataset(DESCRIPTION, Maker())
            os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        assert files(folder) == [f"pictures/{file_name(DESCRIPTION)}.tmp"]
    get_dataset(DESCRIPTION, Maker())
    assert files(folder) == [f"pictures/{file_name(DESCRIPTION)}"]


def test_what_cannot_be_made_here_is_the_users_to_know() -> None:
    def make() -> Arrays:
        raise RuntimeError("no OpenGL context")

    with pytest.raises(UserError, match=r"^the pictures of 'lift' cannot be made: no Open"):
        get_dataset({**DESCRIPTION, "seed": "never made"}, make)


def test_where_datasets_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIFELONG_RL_CACHE", "here")
    assert cache_folder() == tmp_path / "here"
    monkeypatch.setenv("LIFELONG_RL_CACHE", "")
    assert cache_folder() is None
    make = Maker()
    get_dataset(DESCRIPTION, make)
    get_dataset(DESCRIPTION, make)
    assert make.count == 2
    monkeypatch.delenv("LIFELONG_RL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/lifelong_rl")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder() == Path("/home/someone/.cache/lifelong_rl")
    monkeypatch.setenv("LIFELONG_RL_CACHE", "~/data")  # as an env file has it, without a shell
    assert cache_folder() == Path("/home/someone/data")
    monkeypatch.delenv("LIFELONG_RL_CACHE")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # no HOME, and no entry of it
    assert cache_folder() is None
    get_dataset(DESCRIPTION, make)
    assert make.count == 3 and list(tmp_path.iterdir()) == []


def learn(agent_class: Any) -> dict[str, torch.Tensor]:
    """Parameters after a few updates on demonstrations of the second task of two."""
    sequence = load_sequence("reach,button-press")
    env = sequence.make_env(1, num_envs=2, num_threads=1, seed=0)
    agent = agent_class.build(env, num_tasks=2, method=None, seed=0, episodes=2, hidden=(8,))
    torch.manual_seed(0)
    agent.begin_task(1, env)
    agent.learn_task(20, lambda done: None)
    parameters: dict[str, torch.Tensor] = agent.policy.state_dict()
    return parameters


@pytest.mark.parametrize("agent_class", [agents.BC, agents.OfflineRL])
def test_learning_is_the_same_with_a_cache_that_has_the_data_or_not_and_without(
    agent_class: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missed = learn(agent_class)
    (file,) = files(folder)
    shown = load_demonstrations(folder / file, task="button-press")
    assert shown.num_episodes == 2 and shown.metadata["noise"] == 0.1
    with monkeypatch.context() as patch:
        patch.setattr("lifelong_rl.envs.vec_env.collect", None)  # would fail if it were called
        hit = learn(agent_class)
    monkeypatch.setenv("LIFELONG_RL_CACHE", "")
    without = learn(agent_class)
    for name, value in missed.items():
        assert torch.equal(hit[name], value), name
        assert torch.equal(without[name], value), name
