"""Arguments of agents as plain data and back, with no pickle: loading them runs no code.

Numbers, strings, arrays and lists stand for themselves. What Stable-Baselines3 and torch give a
name (activations, optimizers, action noise, schedules, spaces) is written by that name, and only
names listed here are read. Everything else is refused by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common import buffers, noise, torch_layers, utils
from stable_baselines3.common.type_aliases import TrainFreq
from torch import nn

from lifelong_rl.errors import UserError
from lifelong_rl.networks.activations import CReLU
from lifelong_rl.vision.encoder import Encoder, EncoderSpec
from lifelong_rl.vision.eyes import Eyes

MOST_ENVIRONMENTS = 2**16
"""How many a file may ask for."""

Plain = Any
"""A state tree (`lifelong_rl.storage.state_tree`) in which each mapping has one key, its kind."""

CLASSES: Mapping[str, type] = {
    **{f"torch.nn.{name}": getattr(nn, name) for name in nn.modules.activation.__all__},
    "lifelong_rl.networks.activations.CReLU": CReLU,
    **{
        f"torch.optim.{name}": kind
        for name, kind in vars(torch.optim).items()
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)
    },
    **{
        f"stable_baselines3.common.torch_layers.{kind.__name__}": kind
        for kind in (
            torch_layers.FlattenExtractor,
            torch_layers.NatureCNN,
            torch_layers.CombinedExtractor,
        )
    },
    **{
        f"stable_baselines3.common.buffers.{kind.__name__}": kind
        for kind in (buffers.ReplayBuffer, buffers.NStepReplayBuffer)
    },
}
"""The classes that arguments may name."""
_NAMES = {kind: name for name, kind in CLASSES.items()}


class UnwritableError(UserError):
    """A value that cannot be written without pickle.

    Args:
        name: Where it stands, such as "policy_kwargs.activation_fn".
        value: The value.
    """

    def __init__(self, name: str, value: object) -> None:
        self.name = name
        if isinstance(value, type):
            told = f"the class {value.__module__}.{value.__qualname__}"
        elif callable(value) and hasattr(value, "__qualname__"):
            told = f"the function {value.__qualname__}"
        else:
            told = f"an object of {type(value).__module__}.{type(value).__qualname__}"
        super().__init__(f"{name} is {told}, which cannot be written without pickle")


def to_plain(value: object, name: str) -> Plain:
    """Write a value as plain data.

    Args:
        value: An argument of an agent.
        name: What to call it in an error.

    Raises:
        UnwritableError: It cannot be written without pickle.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
        return value
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, TrainFreq):
        return (value.frequency, value.unit.value)
    if type(value) in (list, tuple):
        assert isinstance(value, list | tuple)
        items = [to_plain(item, f"{name}[{k}]") for k, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    if type(value) in _WRITERS:  # before mappings: a dictionary of spaces is one
        kind, parts = _WRITERS[type(value)](value)
        return {kind: {part: to_plain(own, f"{name}.{part}") for part, own in parts.items()}}
    if isinstance(value, Mapping):
        return {"mapping": {k: to_plain(v, f"{name}.{k}") for k, v in _entries(value, name)}}
    if isinstance(value, type) and value in _NAMES:
        return {"class": _NAMES[value]}
    raise UnwritableError(name, value)


def from_plain(plain: Plain) -> Any:
    """Read a value that `to_plain` wrote.

    Raises:
        ValueError: It is damaged, or of a kind that does not exist.
    """
    if isinstance(plain, list | tuple):
        items = [from_plain(item) for item in plain]
        return items if isinstance(plain, list) else tuple(items)
    if not isinstance(plain, dict):
        return plain
    if len(plain) != 1:
        raise ValueError(f"a value has the kinds {sorted(map(str, plain))}")
    ((kind, parts),) = plain.items()
    if kind == "class":
        if parts not in CLASSES:
            raise ValueError(f"unknown class {parts!r}")
        return CLASSES[parts]
    read = {name: from_plain(part) for name, part in parts.items()}
    if kind == "mapping":
        return read
    if kind not in _READERS:
        raise ValueError(f"unknown kind of value {kind!r}")
    return _READERS[kind](**read)


def _entries(mapping: Mapping[Any, object], name: str) -> list[tuple[str | int, object]]:
    for key in mapping:
        if type(key) not in (str, int):
            raise UnwritableError(f"the key {key!r} of {name}", key)
    return list(mapping.items())


def _noise(value: Any) -> dict[str, Any]:
    return {"mean": value._mu, "sigma": value._sigma, "dtype": np.dtype(value._dtype).name}


def _write_eyes(eyes: Any) -> dict[str, Any]:
    options = {f.name: getattr(eyes, f.name) for f in dataclasses.fields(eyes)}
    options["encoders"] = [
        {"spec": dataclasses.asdict(e.spec), "state": dict(e.state_dict())} for e in eyes.encoders
    ]
    return options


def _read_eyes(*, encoders: list[dict[str, Any]], **options: Any) -> Eyes:
    return Eyes(encoders=tuple(_read_encoder(**encoder) for encoder in encoders), **options)


def _read_encoder(spec: dict[str, Any], state: dict[str, torch.Tensor]) -> Encoder:
    shape = EncoderSpec(**spec)
    height, width = shape.map_size
    check_size("an encoder", shape.filters * height * width * shape.dim, count_numbers(state))
    encoder = Encoder(shape)
    encoder.load_state_dict(state)
    return encoder


def _read_box(low: np.ndarray, high: np.ndarray, dtype: str) -> spaces.Box:
    return spaces.Box(low, high, dtype=np.dtype(dtype).type)


def _read_vectorized_noise(base_noise: noise.ActionNoise, n_envs: int) -> Any:
    check_environments(n_envs)
    return noise.VectorizedActionNoise(base_noise, n_envs)


_Parts = dict[str, Any]
_WRITERS: Mapping[type, Callable[[Any], tuple[str, _Parts]]] = {
    noise.NormalActionNoise: lambda v: ("normal_noise", _noise(v)),
    noise.OrnsteinUhlenbeckActionNoise: lambda v: (
        "ornstein_uhlenbeck_noise",
        {**_noise(v), "theta": v._theta, "dt": v._dt, "initial_noise": v.initial_noise},
    ),
    noise.VectorizedActionNoise: lambda v: (
        "vectorized_noise",
        {"base_noise": v.base_noise, "n_envs": v.n_envs},
    ),
    utils.ConstantSchedule: lambda v: ("constant_schedule", {"val": v.val}),
    utils.LinearSchedule: lambda v: (
        "linear_schedule",
        {"start": v.start, "end": v.end, "end_fraction": v.end_fraction},
    ),
    utils.FloatSchedule: lambda v: ("float_schedule", {"value_schedule": v.value_schedule}),
    spaces.Box: lambda v: ("box", {"low": v.low, "high": v.high, "dtype": v.dtype.name}),
    spaces.Discrete: lambda v: ("discrete", {"n": int(v.n), "start": int(v.start)}),
    spaces.MultiBinary: lambda v: ("multi_binary", {"n": v.n}),
    spaces.MultiDiscrete: lambda v: ("multi_discrete", {"nvec": v.nvec, "start": v.start}),
    spaces.Dict: lambda v: ("dict_space", {"spaces": dict(v.spaces)}),
    Eyes: lambda v: ("eyes", _write_eyes(v)),
}
_READERS: Mapping[str, Callable[..., Any]] = {
    "normal_noise": lambda dtype, **v: noise.NormalActionNoise(**v, dtype=np.dtype(dtype).type),
    "ornstein_uhlenbeck_noise": lambda dtype, **v: noise.OrnsteinUhlenbeckActionNoise(
        **v, dtype=np.dtype(dtype).type
    ),
    "vectorized_noise": _read_vectorized_noise,
    "constant_schedule": utils.ConstantSchedule,
    "linear_schedule": utils.LinearSchedule,
    "float_schedule": utils.FloatSchedule,
    "box": _read_box,
    "discrete": spaces.Discrete,
    "multi_binary": spaces.MultiBinary,
    "multi_discrete": spaces.MultiDiscrete,
    "dict_space": spaces.Dict,
    "eyes": _read_eyes,
}


def count_numbers(tree: object) -> int:
    """Count the numbers in all tensors and arrays of a tree."""
    if isinstance(tree, torch.Tensor):
        return tree.numel()
    if isinstance(tree, np.ndarray):
        return tree.size
    if isinstance(tree, Mapping):
        return sum(count_numbers(value) for value in tree.values())
    if isinstance(tree, list | tuple):
        return sum(count_numbers(value) for value in tree)
    return 0


def check_size(what: str, declared: int, there: int) -> None:
    """Refuse to make something larger than the numbers that a file has for it.

    Raises:
        ValueError: It declares more than there are.
    """
    if declared > there:
        raise ValueError(f"{what} with at least {declared} parameters has {there} in the file")


def check_environments(count: int) -> None:
    """Refuse to make something for more environments than there ever are.

    Raises:
        ValueError: `count` is less than 1 or more than `MOST_ENVIRONMENTS`.
    """
    if not 1 <= count <= MOST_ENVIRONMENTS:
        raise ValueError(f"{count} environments")
