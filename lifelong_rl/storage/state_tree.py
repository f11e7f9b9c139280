"""State trees ⇄ one safetensors blob and one JSON value; no pickle, so loading runs no code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

Json = Any


def encode_tree(tree: object) -> tuple[bytes, Json]:
    """Split a tree of dicts, lists and tuples into its tensors and its structure.

    Args:
        tree: Leaves are tensors, NumPy arrays and scalars, numbers, strings, booleans and None;
            keys of dicts are strings or whole numbers.

    Returns:
        The tensors in safetensors format, and the structure as a JSON value.

    Raises:
        TypeError: Something else is in the tree; the message says where.
    """
    tensors: dict[str, Tensor] = {}
    structure = _encode(tree, "", tensors)
    return safetensors.torch.save(tensors), structure


def decode_tree(blob: bytes, structure: Json) -> Any:
    """The tree that `encode_tree` split.

    Raises:
        ValueError: The two do not fit together or are damaged.
    """
    try:
        return _decode(structure, safetensors.torch.load(blob))
    except (safetensors.SafetensorError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"damaged state: {error}") from error


def tensor_bytes(tree: object) -> int:
    """Bytes of all tensors and arrays in a tree."""
    if isinstance(tree, (Tensor, np.ndarray)):
        return int(tree.nbytes)
    if isinstance(tree, Mapping):
        return sum(tensor_bytes(value) for value in tree.values())
    if isinstance(tree, (list, tuple)):
        return sum(tensor_bytes(value) for value in tree)
    return 0


def _encode(node: object, path: str, tensors: dict[str, Tensor]) -> Json:
    if node is None or type(node) in (bool, int, str):
        return node
    if type(node) is float:
        return node if math.isfinite(node) else {"float": str(node)}
    if isinstance(node, Tensor):
        return {"tensor": _store(node.detach().cpu(), path, tensors)}
    if isinstance(node, np.ndarray | np.generic):
        try:
            tensor = torch.from_numpy(np.array(node, order="C"))
        except TypeError as error:
            raise TypeError(f"cannot save an array of {node.dtype} at {path or '/'}") from error
        return {
            "array" if isinstance(node, np.ndarray) else "scalar": _store(tensor, path, tensors)
        }
    if isinstance(node, Mapping):
        for key in node:
            if type(key) not in (str, int):
                raise TypeError(f"cannot save the key {key!r} at {path or '/'}")
        return {"dict": [[k, _encode(v, f"{path}/{k}", tensors)] for k, v in node.items()]}
    if isinstance(node, (list, tuple)):
        kind = "list" if isinstance(node, list) else "tuple"
        return {kind: [_encode(v, f"{path}/{i}", tensors) for i, v in enumerate(node)]}
    raise TypeError(f"cannot save a {type(node).__name__} at {path or '/'}")


def _store(tensor: Tensor, path: str, tensors: dict[str, Tensor]) -> str:
    name = f"{len(tensors)}:{path}"  # the number keeps names apart whatever the keys are
    tensors[name] = tensor.clone(memory_format=torch.contiguous_format)
    return name


def _decode(node: Json, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(node, dict):
        return node
    ((kind, value),) = node.items()
    match kind:
        case "float":
            return float(value)
        case "tensor":
            return tensors[value]
        case "array":
            return tensors[value].numpy()
        case "scalar":
            return tensors[value].numpy()[()]
        case "dict":
            return {key: _decode(child, tensors) for key, child in value}
        case "list":
            return [_decode(child, tensors) for child in value]
        case "tuple":
            return tuple(_decode(child, tensors) for child in value)
    raise ValueError(f"damaged state: unknown kind of node '{kind}'")
