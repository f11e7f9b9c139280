"""A second device without any hardware: what a GPU would refuse, it refuses.

Its tensors say that they are on the device `PRETEND`. Their numbers lie in CPU tensors, so all
code really runs, branches on values and gives the numbers that the CPU gives. `pretend_device`
watches every operation below autograd and vmap:

- a tensor of the CPU beside one of the device is refused, but for what a GPU takes too: scalars
  beside tensors, indices, and copies from one to the other;
- so is a generator of the CPU that is to draw on the device;
- so is a tensor of float64 on the device, which Apple's GPUs do not have;
- `numpy()` needs a `cpu()` before it.

So `torch.zeros(n)` without a device, rows from NumPy that are never moved and a network that is
left where it was made are found at the first operation with what is on the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

PRETEND = torch.device("privateuseone:0")  # of which "pretend:0" is the name once it is known
aten = torch.ops.aten
COPIES = {aten.copy_.default, aten._to_copy.default, aten.fill_.Tensor}
"""Operations between devices."""
INDEXING = {
    aten.index.Tensor: 1,
    aten.index_put.default: 1,
    aten.index_put_.default: 1,
    aten._index_put_impl_.default: 1,
}
"""Operations that take indices of the CPU, and the place of these among the arguments."""


class DeviceError(RuntimeError):
    """What a GPU would have refused."""


class PretendTensor(Tensor):
    """A tensor on the device.

    Args:
        values: Its numbers, on the CPU.
    """

    values: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values: Tensor) -> PretendTensor:
        if values.dtype in (torch.float64, torch.complex128):
            raise DeviceError(f"not every device has {values.dtype}")
        made = Tensor._make_wrapper_subclass(
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            layout=values.layout,
            device=PRETEND,
        )
        made.values = values
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def numpy(self, *, force: bool = False) -> Any:
        if force:
            return self.detach().cpu().numpy()
        raise TypeError(
            "can't convert pretend:0 device type tensor to numpy. Use Tensor.cpu() to copy the "
            "tensor to host memory first."
        )

    def __array__(self, dtype: Any = None) -> Any:
        return self.numpy()

    def tolist(self) -> Any:
        return self.detach().cpu().tolist()

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) not in memo:
            copied = self.detach().clone().requires_grad_(self.requires_grad)
            if isinstance(self, torch.nn.Parameter):
                copied = torch.nn.Parameter(copied, requires_grad=self.requires_grad)
            memo[id(self)] = copied
        return memo[id(self)]

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"PretendTensor({self.values!r})"


class _Watch(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def register_device() -> None:
    """Let torch know the device, in a process that has not gone backward yet.

    From its first backward pass on, torch then has threads of its own, which forks of the process
    do not survive. So the tests of the device have processes of their own: `pytest -m device`.
    """
    _setup_privateuseone_for_python_backend("pretend")


@contextmanager
def pretend_device() -> Iterator[torch.device]:
    """Let the device be there, and watch what is done with it.

    Tests that enter this are marked `device`; see `register_device`.
    """
    swaps = torch.__future__.get_swap_module_params_on_conversion()
    lifts = torch._C._only_lift_cpu_tensors()
    # as for a GPU, a parameter that is moved is the one that the optimizer knows
    torch.__future__.set_swap_module_params_on_conversion(True)
    # `torch.tensor(values, device=...)` makes a tensor of the CPU first, which is seen here
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        with mock.patch.object(torch.accelerator, "synchronize"), _Watch():
            yield PRETEND
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swaps)
        torch._C._set_only_lift_cpu_tensors(lifts)


def where(tensor: Tensor) -> str:
    """The kind of device that a tensor is on."""
    return tensor.device.type


def tensors_in(tree: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors of nested mappings and lists, with where they stand."""
    if isinstance(tree, Tensor):
        yield name, tree
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from tensors_in(value, f"{name}/{key}")
    elif isinstance(tree, Sequence) and not isinstance(tree, str | bytes):
        for index, value in enumerate(tree):
            yield from tensors_in(value, f"{name}/{index}")


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Do an operation with the numbers of the CPU, after checking where its tensors are."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    placed = any(isinstance(tensor, PretendTensor) for tensor in tensors)
    if placed:
        _refuse_mixture(func, args, kwargs)
    target = kwargs.get("device")
    on_device = placed if target is None else torch.device(target).type == PRETEND.type
    if target is not None and on_device:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    for leaf in tree_leaves((args, kwargs)):
        if isinstance(leaf, torch.Generator) and on_device:
            raise DeviceError(f"{func}: a generator of the {leaf.device} draws on the device")
    values, named = tree_map_only(PretendTensor, lambda tensor: tensor.values, (args, kwargs))
    found = func(*values, **named)
    if func is aten.copy_.default and not isinstance(args[0], PretendTensor):
        return args[0]  # to the CPU
    if not on_device:
        return found
    wrapped = tree_map_only(Tensor, PretendTensor, found)
    return return_and_correct_aliasing(func, args, kwargs, wrapped) if placed else wrapped


def _refuse_mixture(func: Any, args: Any, kwargs: dict[str, Any]) -> None:
    """Raise DeviceError for tensors of the CPU where a GPU takes none."""
    if func in COPIES:
        return
    checked = list(args)
    if func in INDEXING and isinstance(args[0], PretendTensor):
        checked[INDEXING[func]] = None
    scalars = torch.Tag.pointwise in func.tags or func in INDEXING or "_foreach_" in func.name()
    for leaf in tree_leaves((checked, kwargs)):
        if isinstance(leaf, Tensor) and not isinstance(leaf, PretendTensor):
            if leaf.ndim == 0 and scalars:
                continue
            raise DeviceError(
                f"{func}: a tensor {tuple(leaf.shape)} of the CPU stands beside one of the device"
            )
