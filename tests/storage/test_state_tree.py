"""State trees come back exactly as they were."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from lifelong_rl.runs.checkpoint import load_checkpoint, save_checkpoint
from lifelong_rl.storage.state_tree import decode_tree, encode_tree, tensor_bytes

dtypes = st.sampled_from(
    [
        torch.float32,
        torch.float64,
        torch.bfloat16,
        torch.float16,
        torch.int64,
        torch.uint8,
        torch.bool,
    ]
)
tensors = st.builds(
    lambda dtype, shape, seed: torch.from_numpy(
        np.random.default_rng(seed).normal(scale=50, size=shape)
    ).to(dtype),
    dtypes,
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
    st.integers(0, 9),
)
arrays = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint8, np.uint32, np.bool_]),
    hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3),
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | tensors
    | arrays
    | st.builds(np.float32, st.floats(width=32))
    | st.builds(np.float64, st.floats())
)
trees = st.recursive(
    leaves,
    lambda child: (
        st.lists(child, max_size=3)
        | st.lists(child, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.integers(), child, max_size=3)
    ),
    max_leaves=8,
)


def round_trip(tree: object) -> Any:
    blob, structure = encode_tree(tree)
    return decode_tree(blob, json.loads(json.dumps(structure, allow_nan=False)))


def same(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        bits = a.numpy().tobytes() if a.dtype != torch.bfloat16 else a.float().numpy().tobytes()
        other = b.numpy().tobytes() if b.dtype != torch.bfloat16 else b.float().numpy().tobytes()
        return a.dtype == b.dtype and a.shape == b.shape and bits == other
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float):
        if math.isnan(a):
            return math.isnan(b)
        return math.copysign(1, a) == math.copysign(1, b) and a == b
    return bool(a == b)


@given(trees)
def test_round_trip(tree):
    assert same(round_trip(tree), tree)


@settings(max_examples=25, deadline=None)
@given(tree=trees)
def test_round_trip_through_the_files_of_a_checkpoint(tree, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "task-001"
    save_checkpoint(path, {"tree": tree}, {})
    assert same(load_checkpoint(path, {}), {"tree": tree})


def test_optimizer_state_comes_back():
    network = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    assert same(round_trip(state), state)


def test_keys_with_slashes_and_numbers_stay_apart():
    tree = {"a/b": torch.zeros(1), "a": {"b": torch.ones(1)}, 1: torch.ones(2), "1": torch.zeros(2)}
    assert same(round_trip(tree), tree)


def test_tensors_that_share_memory_and_strided_ones_are_saved():
    base = torch.arange(6.0).reshape(2, 3)
    tree = {"whole": base, "row": base[0], "turned": base.T, "expanded": base[:1].expand(4, 3)}
    assert same(round_trip(tree), {k: v.contiguous() for k, v in tree.items()})


def test_what_is_loaded_can_be_changed_without_changing_what_was_saved():
    tensor = torch.zeros(2)
    loaded = round_trip({"x": tensor, "y": np.zeros(2)})
    loaded["x"] += 1
    loaded["y"] += 1
    assert tensor.sum() == 0


@pytest.mark.parametrize(
    "tree, place",
    [
        ({"a": [0, {"b": object()}]}, "a object at /a/1/b"),
        ({"a": {(1, 2): 3}}, r"the key \(1, 2\) at /a"),
        ({"a": np.array(["text"])}, "at /a"),
    ],
)
def test_what_cannot_be_saved_is_named_with_its_place(tree, place):
    with pytest.raises(TypeError, match=place):
        encode_tree(tree)


@pytest.mark.parametrize(
    "structure", [{"tensor": "5:/missing"}, {"what": 1}, {"dict": [1]}, {"list": 3}]
)
def test_a_structure_that_does_not_fit_is_refused(structure):
    blob, _ = encode_tree({"x": torch.zeros(1)})
    with pytest.raises(ValueError, match="damaged state"):
        decode_tree(blob, structure)


def test_tensor_bytes_counts_tensors_and_arrays_and_nothing_else():
    tree = {"a": torch.zeros(3), "b": [np.zeros(2), (torch.zeros(5, dtype=torch.uint8), "text", 7)]}
    assert tensor_bytes(tree) == 3 * 4 + 2 * 8 + 5
