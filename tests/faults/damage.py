"""Files of every kind that are damaged, and what is made of them.

A file with a checksum is refused, or what is read from it is what was written. A file that people
read and write too has none; of it only this is asked: it is refused in one line, or it has the
shape that it should have.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from campaigns import Outcome
from moving_square import moving_squares
from subjects import Reference

from lifelong_rl.agents.agent_file import read_agent, write_agent
from lifelong_rl.analysis.runs import find_runs
from lifelong_rl.cli.main import explain
from lifelong_rl.errors import UserError
from lifelong_rl.runs.checkpoint import load_checkpoint
from lifelong_rl.runs.restore import STATE, load_state
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.runs.setup import prepare
from lifelong_rl.storage.dataset_cache import cache_folder, get_dataset
from lifelong_rl.storage.demonstration_file import (
    Demonstrations,
    load_demonstrations,
    save_demonstrations,
)
from lifelong_rl.storage.state_tree import encode_tree
from lifelong_rl.studies.study import Cell
from lifelong_rl.studies.sweep import find_fraction
from lifelong_rl.vision.encoder import Encoder, EncoderSpec, load_encoder, save_encoder
from lifelong_rl.vision.frames import load_frames, save_frames

KIB = 1024
PLUGINS = ("toy_plugin",)
Change = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        path: A good one.
        read: Reads it as the commands do, and returns all that was read as bytes.
        checked: Whether it has a checksum.
    """

    path: Path
    read: Callable[[], bytes]
    checked: bool


def make_kinds(reference: Reference, folder: Path) -> dict[str, Kind]:
    """A good file of each kind, in a folder; a copy of the reference is one of them."""
    run = Path(shutil.copytree(reference.path, folder / "run"))
    setup = prepare(RunFolder.open(run).config, PLUGINS)
    last = run / "checkpoints" / "task-003"
    cell = Cell(run, setup)

    def read_checkpoint() -> bytes:
        return flat(load_checkpoint(last, setup.identity, STATE))

    def read_config() -> bytes:
        there = RunFolder.open(run)
        changed = prepare(there.config, PLUGINS)
        load_state(changed, there, None)  # refuses what decides other numbers
        return flat(changed.identity)

    def read_results() -> bytes:
        runs, left_out = find_runs([run])
        if not runs:
            raise UserError(left_out[0].reason)
        return flat({key: _plain(value) for key, value in vars(runs[0]).items()})

    kinds = {
        "checkpoint, tensors": Kind(last / "state.safetensors", read_checkpoint, True),
        "checkpoint, structure": Kind(last / "state.json", read_checkpoint, True),
        "config.yaml": Kind(run / "config.yaml", read_config, False),
        "results.json": Kind(run / "results.json", read_results, False),
        "status.json": Kind(run / "status.json", lambda: flat(RunFolder.open(run).status()), False),
        "manifest.json": Kind(
            run / "manifest.json", lambda: flat(RunFolder.open(run).sessions()), False
        ),
        "metrics.jsonl": Kind(
            run / "metrics.jsonl", lambda: flat({"fraction": find_fraction(cell)}), False
        ),
    }
    return kinds | _datasets(folder) | _networks(folder)


def _datasets(folder: Path) -> dict[str, Kind]:
    demonstrations, frames = folder / "demonstrations.npz", folder / "frames.npz"
    save_demonstrations(demonstrations, make_demonstrations())
    save_frames(frames, moving_squares(episodes=4, length=3, cameras=1, size=32))
    description = {"kind": "demonstrations", "task": "lift", "seed": 0}

    def make() -> Mapping[str, Any]:
        return {"positions": np.random.default_rng(0).normal(size=(40, 6))}

    get_dataset(description, make)
    kept = cache_folder()
    assert kept is not None
    (cached,) = kept.glob("demonstrations/lift-*.npz")

    def read_cached() -> bytes:
        content = flat(dict(get_dataset(description, make)))
        assert flat(dict(make())) == content, "the dataset is another one"
        return content

    return {
        "demonstrations": Kind(
            demonstrations, lambda: flat(dict(vars(load_demonstrations(demonstrations)))), True
        ),
        "frames": Kind(frames, lambda: flat(dict(vars(load_frames(frames)))), True),
        "dataset in the cache": Kind(cached, read_cached, True),
    }


def _networks(folder: Path) -> dict[str, Kind]:
    encoder, agent = folder / "encoder.safetensors", folder / "agent.zip"
    torch.manual_seed(0)
    save_encoder(encoder, Encoder(EncoderSpec(32, 32, 8, 4)), {"steps": 3, "note": "é"})
    write_agent(agent, "SAC", {"weights": torch.arange(500.0), "note": {"é": [1, None, 0.5]}})

    def read_encoder() -> bytes:
        found, made = load_encoder(encoder)
        return flat({"weights": dict(found.state_dict()), "spec": repr(found.spec), "made": made})

    return {
        "encoder": Kind(encoder, read_encoder, True),
        "agent": Kind(agent, lambda: flat(read_agent(agent, "SAC")[0]), True),
    }


def make_demonstrations() -> Demonstrations:
    """Two episodes of three steps."""
    draw = np.random.default_rng(0)
    return Demonstrations(
        observations=draw.normal(size=(2, 4, 5)).astype(np.float32),
        actions=draw.uniform(-1, 1, (2, 3, 2)).astype(np.float32),
        expert_actions=draw.uniform(-1, 1, (2, 3, 2)).astype(np.float32),
        rewards=draw.random((2, 3)),
        reward_terms=draw.random((2, 3, 1)),
        success=np.ones((2, 3), bool),
        lengths=np.full(2, 3),
        metadata={
            "task": "lift",
            "task_version": "v1",
            "layout": {"hand": [0, 5]},
            "reward_terms": ["near"],
            "control_hz": 25,
            "seed": 7,
            "noise": 0.0,
        },
    )


def damage(kind: str, file: Kind, change: Change, where: str) -> Outcome:
    """Change a file, read it as the commands do, and put it back.

    Returns:
        The outcome's kind is what became of it: "refused", "read as it was", or "not noticed" for
        a file that has no checksum.
    """
    good, expected = file.path.read_bytes(), file.read()
    bad = change(good)
    outcome = Outcome("refused", int(bad != good), where=f"{kind}, {where}")
    file.path.write_bytes(bad)
    try:
        content = file.read()
        outcome.kind = "read as it was" if content == expected else "not noticed"
        if outcome.kind == "not noticed" and file.checked:
            outcome.problems.append("something else was read from it")
    except Exception as error:
        message, code = explain(error)
        if code != 2 or len(message.splitlines()) != 1:
            outcome.problems.append(f"exit code {code}: {message}")
    finally:
        file.path.write_bytes(good)
    return outcome


def flip_bit(place: int) -> Change:
    """Change one bit."""

    def change(content: bytes) -> bytes:
        byte, bit = divmod(place % (8 * len(content)), 8)
        changed = bytearray(content)
        changed[byte] ^= 1 << bit
        return bytes(changed)

    return change


def spoil(kib: int, how: str, choose: random.Random) -> Change:
    """Damage the n-th KiB: zeros, noise, or nothing from there on."""

    def change(content: bytes) -> bytes:
        start, stop = kib * KIB, min((kib + 1) * KIB, len(content))
        if how == "cut off":
            return content[:start]
        middle = bytes(stop - start) if how == "zeros" else choose.randbytes(stop - start)
        return content[:start] + middle + content[stop:]

    return change


def flat(tree: Any) -> bytes:
    """A tree of arrays and plain values as bytes, equal for equal trees only."""
    tensors, structure = encode_tree(_plain(tree))
    return tensors + json.dumps(structure).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, torch.Tensor | np.ndarray | float | int | str | bool | None):
        return value
    return repr(value)
