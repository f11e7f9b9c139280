"""Checkpoints are refused unless they are whole, unchanged and of this run."""

import json
import re

import pytest
import torch

from lifelong_rl.runs.checkpoint import (
    STRUCTURE,
    TENSORS,
    CheckpointError,
    _digest,
    load_checkpoint,
    save_checkpoint,
)

IDENTITY = {"sequence": "toy3", "seed": 0, "mujoco": "3.17.0", "task_versions": {"left": "v0"}}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "task-001"
    save_checkpoint(path, {"x": torch.arange(1000.0), "n": 3}, IDENTITY)
    return path


def refused(path, identity=IDENTITY):
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, identity)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_was_saved_is_loaded(saved):
    state = load_checkpoint(saved, IDENTITY)
    assert state["n"] == 3
    assert torch.equal(state["x"], torch.arange(1000.0))
    assert sorted(p.name for p in saved.iterdir()) == [STRUCTURE, TENSORS]


@pytest.mark.parametrize("name", [STRUCTURE, TENSORS])
@pytest.mark.parametrize("keep", [0, 0.5, 0.99])
def test_truncated(saved, name, keep):
    content = (saved / name).read_bytes()
    (saved / name).write_bytes(content[: int(len(content) * keep)])
    message = refused(saved)
    assert str(saved / name) in message and "truncated" in message


@pytest.mark.parametrize("name", [STRUCTURE, TENSORS])
def test_missing_file(saved, name):
    (saved / name).unlink()
    assert f"{saved / name} cannot be read: No such file" in refused(saved)


def test_one_changed_bit_of_a_tensor(saved):
    content = bytearray((saved / TENSORS).read_bytes())
    content[-1] ^= 1
    (saved / TENSORS).write_bytes(content)
    assert "its checksum differs" in refused(saved)


def test_one_changed_number_in_the_structure(saved):
    text = (saved / STRUCTURE).read_text()
    changed = re.sub(r'\["n", 3\]', '["n", 4]', text)
    assert changed != text
    (saved / STRUCTURE).write_text(changed)
    assert "was changed after it was written" in refused(saved)


@pytest.mark.parametrize("content", ["[]", "{}", '"text"', "3", "null", '{"weights": [1, 2]}'])
def test_json_of_something_else(saved, content):
    (saved / STRUCTURE).write_text(content)
    assert "is not a checkpoint of lifelong-rl" in refused(saved)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"a":' * 100_000, "NaN", '{"a": 1e999}', "\xff"]
)
def test_what_is_no_json_or_too_deep(saved, content):
    (saved / STRUCTURE).write_bytes(content.encode("latin-1"))
    assert "is truncated or not a checkpoint" in refused(saved)


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"identity": [1]}, "identity is [1], not an object"),
        ({"tensors_sha256": None}, "tensors_sha256 is None, not a text"),
        ({"state": 3}, "state is 3, not an object"),
        ({"state": {"list": [1]}}, "it is [1], not an object"),
        ({"state": {"dict": [["n", "three"]]}}, "n is 'three', not a whole number"),
        ({"state": {"dict": [[["n"], 3]]}}, "damaged state"),
        ({"state": {"dict": 3}}, "damaged state"),
        ({"state": {}}, "cannot be read"),
        ({"state": {"tensor": ["x"]}}, "damaged state"),
        ({"state": {"odd": 1}}, "unknown kind of node 'odd'"),
    ],
)
def test_a_structure_of_the_wrong_kind(saved, changes, reason):
    """With a checksum that is right, as whoever writes it on purpose would add."""
    content = json.loads((saved / STRUCTURE).read_text()) | changes
    content.pop("sha256")
    document = {"sha256": _digest(content), **content}
    (saved / STRUCTURE).write_text(json.dumps(document))
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(saved, IDENTITY, {"n": int})
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_tensors_of_another_checkpoint(saved, tmp_path):
    other = tmp_path / "other"
    save_checkpoint(other, {"x": torch.arange(1000.0) + 1, "n": 3}, IDENTITY)
    (saved / TENSORS).write_bytes((other / TENSORS).read_bytes())
    assert "its checksum differs" in refused(saved)


def test_another_run(saved):
    message = refused(saved, {**IDENTITY, "seed": 1})
    assert "belongs to another run: seed is 0 there and 1 here" in message


def test_another_version_of_a_task(saved):
    message = refused(saved, {**IDENTITY, "task_versions": {"left": "v1"}})
    assert "task versions" in message


def test_another_mujoco_version_says_what_to_install(saved):
    message = refused(saved, {**IDENTITY, "mujoco": "3.18.0"})
    assert "installed is 3.18.0" in message and "pip install mujoco==3.17.0" in message


def test_a_later_format_is_refused(saved, monkeypatch):
    monkeypatch.setattr("lifelong_rl.runs.checkpoint.FORMAT", 2)
    assert "has format 1; this version reads 2" in refused(saved)


def test_it_holds_no_pickle(saved):
    json.loads((saved / STRUCTURE).read_text())
    assert b"\x80\x04" not in (saved / TENSORS).read_bytes()[:8]
