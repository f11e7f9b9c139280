"""The devices that networks learn on: the CPU, and GPUs where there are some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lifelong_rl.errors import UserError

FURTHER = "choose --device cpu, or auto, which takes what there is"


def open_device(name: str) -> torch.device:
    """The device that a name stands for.

    Args:
        name: "cpu"; "cuda" for the first NVIDIA (or ROCm) GPU and "cuda:N" for a further one; "mps"
            for Apple's GPU; "auto" for the first GPU, or the CPU where there is none.

    Raises:
        UserError: It is not there.
    """
    if name == "auto":
        name = next(iter(find_gpus()), "cpu")
    kind, _, number = name.partition(":")
    if kind == "cuda":
        _refuse_missing_cuda(int(number or 0), name)
        return torch.device("cuda", int(number or 0))
    if kind == "mps" and not torch.backends.mps.is_available():
        why = (
            "this machine has no Apple GPU that torch can use"
            if torch.backends.mps.is_built()
            else f"the installed torch {torch.__version__} is built without MPS"
        )
        raise UserError(f"there is no device '{name}': {why}; {FURTHER}")
    return torch.device(kind)


def find_gpus() -> list[str]:
    """What `open_device` calls the GPUs of this machine; they are not used by asking."""
    if torch.cuda.is_available():
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return ["mps"] if torch.backends.mps.is_available() else []


def spread(names: Sequence[str]) -> list[str]:
    """The devices that work is spread over: of several GPUs all, where none is named by number.

    Args:
        names: As for `open_device`; "cuda" stands for all NVIDIA GPUs, and "auto" for all GPUs.

    Returns:
        Each once, by a name that stands for one device.

    Raises:
        UserError: One is not there, or the CPU stands beside GPUs.
    """
    found: dict[str, None] = {}
    for name in names:
        first = open_device(name)
        shared = name in ("auto", "cuda") and first.type != "cpu"
        found |= dict.fromkeys(find_gpus() if shared else [str(first)])
    if "cpu" in found and len(found) > 1:
        raise UserError(
            f"devices are {', '.join(names)}; name GPUs, or the CPU alone: their numbers differ, "
            "and so do their times"
        )
    return list(found)


def describe_device(device: torch.device) -> str:
    """Such as "cpu" or "cuda:0 (NVIDIA H100 80GB HBM3)", to tell a run's sessions apart."""
    if device.type != "cuda":
        return str(device)
    return f"{device} ({torch.cuda.get_device_name(device)})"


def describe_gpus() -> list[str]:
    """A line for each GPU: its name, what it is, and its memory."""
    return [
        f"{name}: {_describe_cuda(index)}" if name.startswith("cuda") else f"{name}: Apple GPU"
        for index, name in enumerate(find_gpus())
    ]


def synchronize(device: torch.device) -> None:
    """Wait until a device has done all that it was given; the CPU always has."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def move_tree(tree: Any, device: torch.device) -> Any:
    """The same state tree with its tensors on a device.

    Tensors of float64 come to the CPU: not every device has numbers of that kind, and what needs
    them is computed there.
    """
    if isinstance(tree, Tensor):
        return tree.cpu() if tree.dtype == torch.float64 else tree.to(device)
    if isinstance(tree, Mapping):
        return {name: move_tree(value, device) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        moved = [move_tree(value, device) for value in tree]
        return type(tree)(*moved) if hasattr(tree, "_fields") else type(tree)(moved)
    return tree


def _refuse_missing_cuda(index: int, name: str) -> None:
    """Raise UserError unless there is a CUDA device of this index."""
    if not torch.cuda.is_available():
        why = (
            "this machine has no GPU that torch can use, or no driver for it"
            if torch.version.cuda or torch.version.hip
            else f"the installed torch {torch.__version__} is built without CUDA"
        )
        raise UserError(f"there is no device '{name}': {why}; {FURTHER}")
    count = torch.cuda.device_count()
    if index >= count:
        last = f"cuda:{count - 1}"
        there = f"cuda:0 to {last}" if count > 1 else last
        raise UserError(f"there is no device '{name}': this machine has {there}")


def _describe_cuda(index: int) -> str:
    properties = torch.cuda.get_device_properties(index)
    return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB of memory"
