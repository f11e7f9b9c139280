"""How agents see: pictures become the flat rows that buffers, memories and networks are made for.

An encoder that stays as it is stands at the agent's door: each picture is encoded once, when it
comes in, and all that is behind the door, the replay buffer too, knows features only. An encoder
that is learned is part of the networks: rows then hold the pixels, and each component has an
encoder of its own, as it has a trunk of its own.
"""

from __future__ import annotations

import copy
import inspect
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from torch import Tensor, nn

from lifelong_rl.continual import ContinualMethod
from lifelong_rl.continual.chain import Chain
from lifelong_rl.errors import UserError
from lifelong_rl.learning import split_task
from lifelong_rl.vision.augment import random_shift
from lifelong_rl.vision.encoder import Encoder, EncoderSpec, encode
from lifelong_rl.vision.eyes import Eyes

CPU = torch.device("cpu")


@dataclass(frozen=True)
class View:
    """What environments show: pictures, and numbers beside them.

    Attributes:
        pictures: Of three colours each, in an observation: cameras times frames.
        size: Their width and height, in pixels.
        numbers: What stands beside them: proprioception and the task one-hot.
    """

    pictures: int
    size: int
    numbers: int

    @classmethod
    def of(cls, space: spaces.Space[Any]) -> View:
        """That of environments with this observation space.

        Raises:
            UserError: They show no pictures.
        """
        parts = space.spaces if isinstance(space, spaces.Dict) else {"pixels": space}
        shape = parts["pixels"].shape if "pixels" in parts else None
        if shape is None or len(shape) != 3 or shape[0] % 3 or shape[1] != shape[2]:
            raise UserError(
                f"eyes are for environments made with observation='pixels', not for {space}"
            )
        numbers = parts["state"].shape[0] if "state" in parts else 0  # type: ignore[index]
        return cls(shape[0] // 3, shape[1], numbers)

    @property
    def num_pixels(self) -> int:
        """Bytes of an observation's pictures."""
        return 3 * self.pictures * self.size**2

    def pictures_of(self, pixels: Tensor) -> Tensor:
        """Pixels (n, ...) as (n, pictures, 3, size, size)."""
        return pixels.reshape(len(pixels), self.pictures, 3, self.size, self.size)

    def split(self, observations: Any) -> tuple[np.ndarray, np.ndarray]:
        """Pictures (n, channels, size, size) uint8 and numbers (n, k) float32 of observations."""
        if isinstance(observations, dict):
            return observations["pixels"], observations["state"]
        return observations, np.zeros((len(observations), 0), np.float32)


class Sight(ABC):
    """Makes flat rows of what environments show.

    Args:
        view: What they show.

    Attributes:
        space: Of a row.
    """

    space: spaces.Box

    def __init__(self, view: View) -> None:
        self.view = view

    @abstractmethod
    def rows(self, observations: Any) -> np.ndarray:
        """Rows (n, dim) float32 of n observations; the task one-hot stays at their end."""

    def keep(self, observations: Any, num_tasks: int) -> tuple[Tensor, Tensor | None]:
        """The rows of many observations without the task, as small as they can be kept.

        Args:
            observations: As the environments show them.
            num_tasks: Length of the one-hot that the numbers end with; with 1 there is none.

        Returns:
            Rows (n, ...), and the task of each (n,) of int64; None with one task.
        """
        pixels, numbers = self.view.split(observations)
        inputs, task = split_task(torch.as_tensor(numbers), num_tasks)
        return self._keep(pixels, inputs.numpy()), task

    @abstractmethod
    def keep_rows(self, rows: np.ndarray) -> np.ndarray:
        """Rows (n, dim) without the task as small as they can be kept, as `keep` does."""

    @abstractmethod
    def restore(self, kept: Tensor) -> Tensor:
        """The rows (n, dim) float32 that `keep` has made small."""

    @abstractmethod
    def _keep(self, pixels: np.ndarray, numbers: np.ndarray) -> Tensor:
        """Rows of pictures and numbers, as small as they can be kept."""

    def augment(self, rows: Tensor) -> Tensor:
        """Rows (n, dim) for an update, changed at random in what must not matter."""
        return rows

    def policy_arguments(self) -> dict[str, Any]:
        """What networks on such rows need of Stable-Baselines3's policies."""
        return {}

    def make_extractor(self, space: spaces.Space[Any]) -> PictureExtractor | None:
        """A new features extractor for the rows of a space; None where they are the features."""
        return None

    def wrap(self, env: Any) -> SightedVecEnv:
        """Environments that show rows."""
        return SightedVecEnv(env, self)


def open_sight(
    eyes: Eyes,
    space: spaces.Space[Any],
    method: ContinualMethod | None,
    device: torch.device = CPU,
) -> Sight:
    """The sight of an agent.

    Args:
        eyes: What it is given.
        space: What its environments show.
        method: Its continual method.
        device: That it encodes pictures on.

    Raises:
        UserError: They do not go together.
    """
    view = View.of(space)
    if eyes.size != view.size:
        raise UserError(
            f"the encoder is for pictures of {eyes.size}×{eyes.size} pixels, and the environments "
            f"show {view.size}×{view.size}"
        )
    if view.pictures % eyes.num_cameras:
        raise UserError(
            f"the eyes are for {eyes.num_cameras} cameras, and an observation has {view.pictures} "
            "pictures"
        )
    if eyes.frozen:
        return FrozenSight(view, eyes, device)
    for part in method.methods.values() if isinstance(method, Chain) else (method,):
        if "networks alone" in getattr(part, "needs", ()):
            raise UserError(
                f"{type(part).__name__} protects nothing but the layers of its own networks: an "
                "encoder that is learned beside them would forget; leave a pretrained one as it "
                "is (--encoder PATH --encoder-mode frozen), or choose another method"
            )
    return LearnedSight(view, eyes)


class CameraEncoders(nn.Module):
    """Encodes the pictures of observations, those of each camera by its own encoder.

    Args:
        eyes: Their encoders are copied; where there are none, new ones are made at random.
    """

    def __init__(self, eyes: Eyes) -> None:
        super().__init__()
        scratch = (Encoder(EncoderSpec(eyes.size, eyes.size)) for _ in range(eyes.num_cameras))
        encoders = [copy.deepcopy(e) for e in eyes.encoders] if eyes.encoders else scratch
        self.encoders = nn.ModuleList(encoders)
        self.num_cameras = eyes.num_cameras

    def features_dim(self, pictures: int) -> int:
        """Features of an observation of so many pictures."""
        return sum(
            cast(Encoder, self._of_camera(k % self.num_cameras)).spec.dim for k in range(pictures)
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """Features (n, features_dim) of (n, pictures, 3, h, w), uint8 or float in [0, 1]."""
        by_camera = []
        for camera in range(self.num_cameras):
            own = pictures[:, camera :: self.num_cameras]
            features = self._of_camera(camera)(own.flatten(0, 1))
            by_camera.append(features.reshape(*own.shape[:2], -1))
        return torch.cat(by_camera, dim=2).flatten(start_dim=1)

    def _of_camera(self, camera: int) -> nn.Module:
        return self.encoders[camera % len(self.encoders)]


class FrozenSight(Sight):
    """Rows hold the features of each picture, then the numbers beside the pictures.

    Args:
        view: What environments show.
        eyes: Their encoders make the features; copies are taken, which nothing changes.
        device: That the encoders are on; rows come back to the CPU.
    """

    def __init__(self, view: View, eyes: Eyes, device: torch.device = CPU) -> None:
        super().__init__(view)
        self.encoders = CameraEncoders(eyes).eval().requires_grad_(False).to(device)
        dim = self.encoders.features_dim(view.pictures) + view.numbers
        self.space = spaces.Box(-math.inf, math.inf, (dim,), np.float32)

    def rows(self, observations: Any) -> np.ndarray:
        """See `Sight.rows`."""
        return self._join(*self.view.split(observations))

    def keep_rows(self, rows: np.ndarray) -> np.ndarray:
        """The rows themselves."""
        return rows

    def restore(self, kept: Tensor) -> Tensor:
        """The rows themselves."""
        return kept

    def _keep(self, pixels: np.ndarray, numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(self._join(pixels, numbers))

    def _join(self, pixels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Rows (n, dim) of pictures and numbers."""
        pictures = self.view.pictures_of(torch.from_numpy(np.ascontiguousarray(pixels)))
        features = encode(self.encoders, pictures).cpu().numpy()
        return np.concatenate([features, numbers], axis=1)


class LearnedSight(Sight):
    """Rows hold the pixels, 0 to 255, then the numbers beside the pictures.

    They are kept with a byte a pixel. In an update the pictures of each row are shifted alike, at
    random (DrQ, Kostrikov et al. 2021), so that a small encoder does not learn by heart.

    Args:
        view: What environments show.
        eyes: Where the encoders of each component start, and how far pictures are shifted.
    """

    def __init__(self, view: View, eyes: Eyes) -> None:
        super().__init__(view)
        self.eyes = eyes
        low = np.full(view.num_pixels + view.numbers, -math.inf, np.float32)
        high = -low
        low[: view.num_pixels], high[: view.num_pixels] = 0, 255
        self.space = spaces.Box(low, high, dtype=np.float32)

    @property
    def num_bytes(self) -> int:
        """Of a row that is kept."""
        return self.view.num_pixels + 4 * self.view.numbers

    def rows(self, observations: Any) -> np.ndarray:
        """See `Sight.rows`."""
        pixels, numbers = self.view.split(observations)
        flat = pixels.reshape(len(pixels), -1).astype(np.float32)
        return np.concatenate([flat, numbers], axis=1)

    def keep_rows(self, rows: np.ndarray) -> np.ndarray:
        """Pixels, then the bytes of the numbers, (n, num_bytes) uint8, of rows (n, dim)."""
        pixels = self.view.num_pixels
        return _join_bytes(rows[:, :pixels].astype(np.uint8), rows[:, pixels:])

    def restore(self, kept: Tensor) -> Tensor:
        """See `Sight.restore`."""
        pixels = self.view.num_pixels
        numbers = kept[:, pixels:].contiguous().view(torch.float32)
        return torch.cat([kept[:, :pixels].to(torch.float32), numbers], dim=1)

    def _keep(self, pixels: np.ndarray, numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(_join_bytes(pixels.reshape(len(pixels), -1), numbers))

    def augment(self, rows: Tensor) -> Tensor:
        """Rows whose pictures are shifted, the pictures of a row alike."""
        view = self.view
        pixels, numbers = rows[:, : view.num_pixels], rows[:, view.num_pixels :]
        shifted = random_shift(view.pictures_of(pixels), self.eyes.shift).flatten(start_dim=1)
        return torch.cat([shifted, numbers], dim=1)

    def policy_arguments(self) -> dict[str, Any]:
        """The features extractor, of which each component makes one of its own."""
        return {
            "features_extractor_class": PictureExtractor,
            "features_extractor_kwargs": {"view": self.view, "eyes": self.eyes},
        }

    def make_extractor(self, space: spaces.Space[Any]) -> PictureExtractor:
        """See `Sight.make_extractor`."""
        return PictureExtractor(space, self.view, self.eyes)


class PictureExtractor(BaseFeaturesExtractor):
    """Encodes the pictures in the rows of a `LearnedSight`, and leaves the numbers as they are.

    Args:
        observation_space: Of a row.
        view: The pictures that it begins with.
        eyes: Where the encoders start.
    """

    def __init__(self, observation_space: spaces.Space[Any], view: View, eyes: Eyes) -> None:
        encoders = CameraEncoders(eyes)
        (entries,) = observation_space.shape or ()
        numbers = entries - view.num_pixels
        super().__init__(observation_space, encoders.features_dim(view.pictures) + numbers)
        self.view = view
        # Optimizers and methods take parameters, gradients and moments for flat vectors: were the
        # layout of some of them another, fused Adam would silently mix up their entries.
        self.encoders = encoders.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def forward(self, rows: Tensor) -> Tensor:
        """Features of each picture, then the numbers, (n, features_dim)."""
        pixels, numbers = rows[:, : self.view.num_pixels], rows[:, self.view.num_pixels :]
        features = self.encoders(self.view.pictures_of(pixels) * (1 / 255))
        return torch.cat([features, numbers], dim=1)


class SightedVecEnv(VecEnvWrapper):
    """Environments whose observations are rows of a sight; all else is theirs.

    Args:
        env: Shows pictures.
        sight: Makes rows of them.
    """

    def __init__(self, env: VecEnv, sight: Sight) -> None:
        super().__init__(env, observation_space=sight.space)
        self._sight = sight

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what Stable-Baselines3 notes of the class, which cannot be copied."""
        return {name: value for name, value in vars(self).items() if name != "class_attributes"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over the state of another; without this, looking for it would never end."""
        vars(self).update(state)
        self.class_attributes = dict(inspect.getmembers(type(self)))

    def reset(self) -> np.ndarray:
        """Start new episodes: rows (n, dim)."""
        return self._sight.rows(self.venv.reset())

    def step_wait(self) -> Any:
        """Rows (n, dim), rewards, dones and infos, whose terminal observations are rows too."""
        observations, rewards, dones, infos = self.venv.step_wait()
        for row in np.flatnonzero(dones):
            last = infos[row]["terminal_observation"]
            alone = _with_axis(last)
            infos[row]["terminal_observation"] = self._sight.rows(alone)[0]
        return self._sight.rows(observations), rewards, dones, infos


def _with_axis(observation: Any) -> Any:
    """One observation as a batch of one."""
    if isinstance(observation, dict):
        return {name: array[None] for name, array in observation.items()}
    return observation[None]


def _join_bytes(pixels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Pixels (n, p) uint8 and the bytes of numbers (n, k) float32, (n, p + 4k) uint8."""
    return np.concatenate([pixels, np.ascontiguousarray(numbers).view(np.uint8)], axis=1)
