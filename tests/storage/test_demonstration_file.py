"""Files of demonstrations: what was written comes back, and anything else is told apart."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifelong_rl.storage.atomic import WriteError
from lifelong_rl.storage.demonstration_file import (
    FORMAT,
    Demonstrations,
    DemonstrationsError,
    load_demonstrations,
    save_demonstrations,
)

E, T, OBS, ACT, TERMS = 4, 6, 5, 2, 3
ARRAYS = (
    "observations",
    "actions",
    "expert_actions",
    "rewards",
    "reward_terms",
    "success",
    "lengths",
)


@pytest.fixture
def made() -> Demonstrations:
    """Episodes that are solved after 2, never, 6 and 1 steps."""
    rng = np.random.default_rng(0)
    success = np.zeros((E, T), bool)
    success[0, [1, 4]] = success[2, 5] = success[3, 0] = True
    return Demonstrations(
        observations=rng.normal(size=(E, T + 1, OBS)).astype(np.float32),
        actions=rng.uniform(-1, 1, (E, T, ACT)).astype(np.float32),
        expert_actions=rng.uniform(-1, 1, (E, T, ACT)).astype(np.float32),
        rewards=np.arange(E * T, dtype=np.float64).reshape(E, T),
        reward_terms=rng.random((E, T, TERMS)),
        success=success,
        lengths=np.full(E, T),
        metadata={
            "task": "lift",
            "task_version": "v1",
            "layout": {"hand": [0, 3], "object": [3, OBS]},
            "reward_terms": ["near", "touch", "high"],
            "control_hz": 25,
            "seed": 7,
            "noise": 0.1,
        },
    )


@pytest.fixture
def path(made: Demonstrations, tmp_path: Path) -> Path:
    """Where they are saved."""
    path = tmp_path / "deep" / "lift.npz"
    save_demonstrations(path, made)
    return path


def test_what_was_saved_is_loaded(path: Path, made: Demonstrations) -> None:
    found = load_demonstrations(path, task="lift", task_version="v1")
    assert found.metadata == made.metadata
    for name in ARRAYS:
        array, expected = getattr(found, name), getattr(made, name)
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected)
    assert [entry.name for entry in path.parent.iterdir()] == ["lift.npz"]


def test_numpy_alone_can_read_the_file(path: Path, made: Demonstrations) -> None:
    with np.load(path) as file:
        assert set(file.files) == {*ARRAYS, "metadata"}
        np.testing.assert_array_equal(file["rewards"], made.rewards)
        assert json.loads(str(file["metadata"]))["task"] == "lift"


def test_the_same_demonstrations_make_the_same_bytes(path: Path, made: Demonstrations) -> None:
    save_demonstrations(path.with_name("again.npz"), made)
    assert path.with_name("again.npz").read_bytes() == path.read_bytes()


def test_statistics(made: Demonstrations) -> None:
    assert made.num_episodes == E
    assert made.solved.tolist() == [True, False, True, True]
    assert made.returns.tolist() == [15, 51, 87, 123]
    assert made.mean_steps_to_success == (2 + 6 + 1) / 3
    nothing = replace(made, success=np.zeros((E, T), bool))
    assert nothing.mean_steps_to_success is None


def test_every_byte_matters(path: Path) -> None:
    blob = path.read_bytes()
    harmless = 0
    for place in np.linspace(0, len(blob) - 1, 60).astype(int):
        changed = bytearray(blob)
        changed[place] ^= 0x40
        path.write_bytes(bytes(changed))
        try:
            load_demonstrations(path)
        except DemonstrationsError as error:
            assert str(error).startswith(f"{path} ")
            assert "\n" not in str(error)
        else:  # a byte that ZIP itself does not look at, such as a date
            harmless += 1
    assert harmless < 15


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_truncated(path: Path, share: float) -> None:
    blob = path.read_bytes()
    path.write_bytes(blob[: int(share * len(blob))])
    with pytest.raises(DemonstrationsError, match=r"truncated or damaged|is not a file of demon"):
        load_demonstrations(path)


def test_an_unknown_way_of_compression(path: Path) -> None:
    blob = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as file:
        entry = file.getinfo("metadata.npy")
    listed = blob.rindex(b"PK\x01\x02", 0, blob.rindex(b"metadata.npy"))
    for method in (entry.header_offset + 8, listed + 10):
        blob[method : method + 2] = (77).to_bytes(2, "little")
    path.write_bytes(blob)
    with pytest.raises(DemonstrationsError, match="is truncated or damaged"):
        load_demonstrations(path)


def rewrite(path: Path, **changes: np.ndarray) -> None:
    """Write the file with some entries changed, valid as an .npz."""
    with np.load(path) as file:
        content = {name: file[name] for name in file.files}
    box = io.BytesIO()
    np.savez(box, **{**content, **changes})
    path.write_bytes(box.getvalue())


def test_changed_numbers_and_metadata_are_noticed(path: Path, made: Demonstrations) -> None:
    kept = path.read_bytes()
    better = made.rewards.copy()
    better[1, 2] += 1e-9
    rewrite(path, rewards=better)
    with pytest.raises(DemonstrationsError, match="was changed after it was written"):
        load_demonstrations(path)
    path.write_bytes(kept)
    with np.load(path) as file:
        document = json.loads(str(file["metadata"]))
    rewrite(path, metadata=np.array(json.dumps({**document, "noise": 0.0})))
    with pytest.raises(DemonstrationsError, match="was changed after it was written"):
        load_demonstrations(path)
    rewrite(path, metadata=np.array(json.dumps({**document, "format": "a later one"})))
    with pytest.raises(DemonstrationsError, match="has the format 'a later one'; this version"):
        load_demonstrations(path)


def test_foreign_files(tmp_path: Path) -> None:
    text, archive, array, pickled = (tmp_path / name for name in ("a", "b.npz", "c.npy", "d.npz"))
    text.write_text("no demonstrations")
    np.savez(archive, observations=np.zeros(3))
    np.save(array, np.zeros(3))
    for path in (text, archive, array):
        with pytest.raises(DemonstrationsError, match="is not a file of demonstrations"):
            load_demonstrations(path)
    np.savez(pickled, **dict.fromkeys([*ARRAYS, "metadata"], np.array([{}], object)))  # type: ignore[arg-type]
    with pytest.raises(DemonstrationsError, match="is truncated or damaged"):
        load_demonstrations(pickled)
    with pytest.raises(DemonstrationsError, match="cannot be read: No such file"):
        load_demonstrations(tmp_path / "nowhere.npz")
    with pytest.raises(DemonstrationsError, match="cannot be read: Is a directory"):
        load_demonstrations(tmp_path)


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"task": 3}, "in its metadata task is 3, not a text"),
        ({"layout": [["x", 0, 5]]}, "in its metadata layout is"),
        ({"layout": {"x": 3}}, "in its metadata layout.x is 3, not an array"),
        ({"layout": {"x": [3]}}, "holds no demonstrations: "),
        ({"noise": "much"}, "in its metadata noise is 'much', not a number"),
        ({"reward_terms": ["one"] * 9}, "holds no demonstrations: reward_terms is float64"),
    ],
)
def test_metadata_of_the_wrong_kind(path: Path, changes: dict[str, Any], reason: str) -> None:
    """With a checksum that is right, as whoever writes it on purpose would add."""
    arrays, metadata = FORMAT.load(path)
    FORMAT.save(path, arrays, metadata | changes)
    with pytest.raises(DemonstrationsError) as caught:
        load_demonstrations(path)
    assert reason in str(caught.value) and "\n" not in str(caught.value)
    del arrays["rewards"]
    FORMAT.save(path, arrays, metadata)
    with pytest.raises(DemonstrationsError, match=r"holds no demonstrations: .*'rewards'"):
        load_demonstrations(path)


def test_another_task_or_version_is_refused(path: Path) -> None:
    with pytest.raises(DemonstrationsError, match="holds demonstrations of 'lift', not of 'push'"):
        load_demonstrations(path, task="push")
    expected = (
        "was made with v1 of 'lift', which is v2 now; make it anew: "
        "lifelong-rl demos --task lift --overwrite"
    )
    with pytest.raises(DemonstrationsError, match=expected):
        load_demonstrations(path, task="lift", task_version="v2")


def test_arrays_that_do_not_fit_together_are_refused(made: Demonstrations) -> None:
    with pytest.raises(ValueError, match=r"observations is float32 of shape \(4, 6, 5\), not"):
        replace(made, observations=made.observations[:, 1:])
    with pytest.raises(ValueError, match="actions is float64 of shape"):
        replace(made, actions=made.actions.astype(np.float64))
    with pytest.raises(ValueError, match=r"lengths is int64 of shape \(3,\)"):
        replace(made, lengths=made.lengths[:3])
    with pytest.raises(ValueError, match="the metadata lacks seed, noise"):
        metadata = {k: v for k, v in made.metadata.items() if k not in ("seed", "noise")}
        replace(made, metadata=metadata)


def test_a_folder_that_cannot_be_made(made: Demonstrations, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"cannot write .*lift\.npz"):
        save_demonstrations(tmp_path / "file" / "lift.npz", made)
