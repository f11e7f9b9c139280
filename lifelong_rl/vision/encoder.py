"""The encoder, from a camera image to features, and the file it is kept in."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from lifelong_rl.errors import FileError
from lifelong_rl.storage.atomic import write_file, writing
from lifelong_rl.storage.json_file import Shape, check_shape, parse_json
from lifelong_rl.storage.plain_file import read_bytes
from lifelong_rl.vision.colour import chroma, luminance

FORMAT = "lifelong-rl encoder 1"
HEADER: Shape = {
    "spec": {"height": int, "width": int, "dim": int, "filters": int, "views": [str]},
    "made": dict,
}
"""Shape of the JSON text in a file's header, beside "format" and "sha256"."""
CHANNELS = {"rgb": 3, "luminance": 1, "chroma": 2}
"""What an encoder may look at, and its number of channels."""
STRIDES = (2, 2, 2, 1)
CHUNK = 64
"""Images that go through the convolutions together.

Few enough for their activations to stay in a core's cache: 1.8 times as fast as 512 at once.
"""


class EncoderFileError(FileError):
    """A file that cannot be used as an encoder."""


@dataclass(frozen=True)
class EncoderSpec:
    """The shape of an encoder.

    Attributes:
        height: Of the images, in pixels.
        width: Of the images, in pixels.
        dim: Number of features.
        filters: Of each convolution.
        views: What it looks at, of `CHANNELS`; each view has convolutions and features of its
            own, dim / len(views) of them.

    Raises:
        ValueError: An encoder cannot have this shape.
    """

    height: int = 64
    width: int = 64
    dim: int = 128
    filters: int = 32
    views: tuple[str, ...] = ("rgb",)

    def __post_init__(self) -> None:
        """Check the numbers."""
        if min(self.map_size) < 1:
            raise ValueError(f"images of {self.width}×{self.height} pixels are too small to encode")
        if not self.views or any(view not in CHANNELS for view in self.views):
            raise ValueError(f"views must be some of {', '.join(CHANNELS)}, not {self.views}")
        if min(self.dim, self.filters) < 1 or self.dim % len(self.views):
            raise ValueError(f"{self.dim} features cannot be had of {len(self.views)} views")

    @property
    def map_size(self) -> tuple[int, int]:
        """Height and width of the last convolution's output."""
        height, width = self.height, self.width
        for stride in STRIDES:
            height, width = (height - 3) // stride + 1, (width - 3) // stride + 1
        return height, width


class Encoder(nn.Module):
    """Four 3×3 convolutions with strides 2, 2, 2, 1, a linear layer and layer normalisation.

    There is neither batch normalisation, through which the rows of a batch would see each other,
    nor pooling over positions, which would lose where things are. Weights start orthogonal, as in
    DrQ (Kostrikov et al. 2021): with PyTorch's own start the features of all images nearly agree.

    Args:
        spec: The shape.
    """

    def __init__(self, spec: EncoderSpec | None = None) -> None:
        super().__init__()
        self.spec = EncoderSpec() if spec is None else spec
        self.towers = nn.ModuleDict({view: _tower(self.spec, view) for view in self.spec.views})
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.orthogonal_(layer.weight, 2**0.5 if isinstance(layer, nn.Conv2d) else 1)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, dim) of colour images (n, 3, h, w), uint8 or float in [0, 1]."""
        found = [torch.cat(self._encode(part), dim=1) for part in torch.split(images, CHUNK)]
        return torch.cat(found)

    def encode_views(self, *images: Tensor) -> list[Tensor]:
        """The features of each view apart, (n, dim / views) each.

        Args:
            *images: What all views are of, or each view in turn, as for `forward`.
        """
        chunks = (torch.split(shown, CHUNK) for shown in images)
        parts = [self._encode(*part) for part in zip(*chunks, strict=True)]
        return [torch.cat(view) for view in zip(*parts, strict=True)]

    def _encode(self, *images: Tensor) -> list[Tensor]:
        shown = [to_float(part) for part in images]
        if len(shown) == 1:
            shown *= len(self.towers)
        return [
            tower(_channels_last(see(part, view).sub(0.5)))
            for (view, tower), part in zip(self.towers.items(), shown, strict=True)
        ]


def to_float(images: Tensor) -> Tensor:
    """Images as float in [0, 1], in the memory layout that convolutions like best.

    Args:
        images: (n, c, h, w), uint8 or float in [0, 1].
    """
    if images.dtype == torch.uint8:
        converted = images.to(torch.float32, memory_format=torch.channels_last)
        return converted.mul_(1 / 255)
    return images


def see(images: Tensor, view: str) -> Tensor:
    """One view, (n, `CHANNELS[view]`, h, w), of colour images (n, 3, h, w) in [0, 1]."""
    if view == "luminance":
        return luminance(images)
    if view == "chroma":
        return chroma(images)
    return images


def encode(encoder: nn.Module, images: Tensor, batch_size: int = 512) -> Tensor:
    """The features of many images without a gradient, (n, dim), on the encoder's device.

    Args:
        encoder: Maps (n, 3, h, w) of uint8 to (n, dim).
        images: (n, 3, h, w) uint8, on any device.
        batch_size: Images at a time.
    """
    device = next(chain(encoder.parameters(), encoder.buffers()), images).device
    with torch.no_grad():
        parts = torch.split(images, batch_size)
        return torch.cat([encoder(part.to(device)) for part in parts])


def save_encoder(path: Path, encoder: Encoder, made: Mapping[str, Any]) -> None:
    """Write an encoder; at any moment the file is there completely or not at all.

    Args:
        path: The file; safetensors, with a JSON text in its header.
        encoder: What to save.
        made: How it was made, as JSON.

    Raises:
        WriteError: The disk refused.
    """
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in encoder.state_dict().items()
    }
    document = {"format": FORMAT, "spec": dataclasses.asdict(encoder.spec), "made": dict(made)}
    document["sha256"] = _digest(document, tensors)
    header = {"lifelong_rl": json.dumps(document, allow_nan=False, ensure_ascii=False)}
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, safetensors.torch.save(tensors, metadata=header))


def load_encoder(path: Path, made: Shape = dict) -> tuple[Encoder, dict[str, Any]]:
    """The encoder in a file, and how it was made.

    Args:
        path: The file.
        made: What has to be told of how it was made, see `lifelong_rl.storage.json_file`.

    Raises:
        EncoderFileError: The file is missing, damaged or something else.
    """
    document, tensors = _read(path)
    if document.get("format") != FORMAT:
        raise EncoderFileError(
            path, f"has the format {document.get('format')!r}; this version reads {FORMAT!r}"
        )
    try:
        if document.pop("sha256", None) != _digest(document, tensors):
            raise EncoderFileError(path, "was changed after it was written: its checksum differs")
        check_shape(document, HEADER)
        check_shape(document["made"], made, "made")
        spec = EncoderSpec(**{**document["spec"], "views": tuple(document["spec"]["views"])})
        with torch.device("meta"):  # takes no memory, whatever the header says
            wanted = {name: value.shape for name, value in Encoder(spec).state_dict().items()}
        if wanted != {name: value.shape for name, value in tensors.items()}:
            raise ValueError("the tensors do not have the shapes that the header tells")
        encoder = Encoder(spec)
        encoder.load_state_dict(tensors)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise EncoderFileError(path, f"holds no encoder: {reason}") from error
    return encoder, document["made"]


def _channels_last(images: Tensor) -> Tensor:
    """The same images in the memory layout that convolutions like best."""
    try:
        return images.contiguous(memory_format=torch.channels_last)
    except RuntimeError:  # under vmap there is one layout only
        return images


def _tower(spec: EncoderSpec, view: str) -> nn.Sequential:
    channels = (CHANNELS[view], *(spec.filters for _ in STRIDES))
    layers: list[nn.Module] = []
    for i, stride in enumerate(STRIDES):
        layers += [nn.Conv2d(channels[i], channels[i + 1], 3, stride), nn.ReLU(inplace=True)]
    height, width = spec.map_size
    dim = spec.dim // len(spec.views)
    head = [nn.Flatten(), nn.Linear(spec.filters * height * width, dim), nn.LayerNorm(dim)]
    return nn.Sequential(*layers, *head)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The document and the tensors of a file, both unchecked."""
    foreign = "is not an encoder of lifelong-rl (make one with: lifelong-rl pretrain)"
    try:
        if (
            read_bytes(path)[8:9] != b"{"
        ):  # a safetensors file begins with a length and a JSON object
            raise EncoderFileError(path, foreign)
        with safetensors.safe_open(path, framework="pt") as opened:
            header = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except OSError as error:
        raise EncoderFileError(path, f"cannot be read: {error.strerror}") from error
    except safetensors.SafetensorError as error:
        raise EncoderFileError(path, "is truncated or damaged") from error
    if "lifelong_rl" not in header:
        raise EncoderFileError(path, foreign)
    try:
        document: dict[str, Any] = parse_json(header["lifelong_rl"], dict)
    except ValueError as error:
        raise EncoderFileError(path, "is truncated or damaged") from error
    return document, tensors


def _digest(document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the document and of every tensor's name, type, shape and content."""
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
