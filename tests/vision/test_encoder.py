"""The encoder and its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from lifelong_rl.storage.atomic import WriteError
from lifelong_rl.vision.colour import chroma, luminance
from lifelong_rl.vision.encoder import (
    CHUNK,
    FORMAT,
    Encoder,
    EncoderFileError,
    EncoderSpec,
    _digest,
    encode,
    load_encoder,
    save_encoder,
)
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.representation import effective_rank

MADE = {"objective": "simclr", "camera": "front"}


def draw_images(n: int, size: int = 64) -> torch.Tensor:
    return torch.randint(256, (n, 3, size, size), dtype=torch.uint8)


def test_the_default_is_small_and_has_neither_batch_norm_nor_pooling() -> None:
    encoder = Encoder()
    convolutions = [m for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.out_channels, c.kernel_size, c.stride[0]) for c in convolutions] == [
        (32, (3, 3), stride) for stride in (2, 2, 2, 1)
    ]
    kinds = {type(m) for m in encoder.modules()} - {nn.Sequential, nn.ModuleDict, Encoder}
    assert kinds == {nn.Conv2d, nn.ReLU, nn.Flatten, nn.Linear, nn.LayerNorm}
    assert encoder.spec.map_size == (5, 5)
    assert sum(p.numel() for p in encoder.parameters()) == 896 + 3 * 9248 + 128 * 801 + 256


def test_rows_do_not_see_each_other_however_many_there_are() -> None:
    encoder, images = Encoder(), draw_images(2 * CHUNK + 3)
    features = encoder(images)
    assert features.shape == (len(images), 128)
    alone = torch.cat([encoder(image.unsqueeze(0)) for image in images[::40]])
    torch.testing.assert_close(features[::40], alone, atol=1e-5, rtol=1e-4)


def test_whole_numbers_and_fractions_are_the_same_image() -> None:
    encoder, images = Encoder(), draw_images(4)
    before = images.clone()
    torch.testing.assert_close(encoder(images), encoder(images.float() / 255))
    assert torch.equal(images, before)


def test_a_new_encoder_tells_frames_apart(squares: Frames) -> None:
    """It must not start collapsed: PyTorch's own initialisation gives an effective rank of 6."""
    assert effective_rank(encode(Encoder(), torch.from_numpy(squares.images[:, 0]))) > 30


def test_views_see_nothing_else() -> None:
    encoder = Encoder(EncoderSpec(views=("luminance", "chroma")))
    images = torch.rand(3, 3, 64, 64) * 0.5
    bright, colour = encoder.encode_views(images)
    assert bright.shape == colour.shape == (3, 64)
    torch.testing.assert_close(encoder(images), torch.cat([bright, colour], dim=1))
    lighter = encoder.encode_views(images + 0.3)
    torch.testing.assert_close(lighter[1], colour, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(lighter[0], bright, atol=1e-2)
    mixed = encoder.encode_views(images + 0.3, images)
    assert torch.equal(mixed[0], lighter[0]) and torch.equal(mixed[1], colour)


def test_colours_by_hand() -> None:
    red, grey = torch.tensor([1.0, 0, 0]), torch.full((3,), 0.7)
    images = torch.stack([red, grey]).view(2, 3, 1, 1)
    assert luminance(images).flatten().tolist() == pytest.approx([0.299, 0.7])
    expected = [0.5 - 0.299 / (2 * 0.886), 1.0, 0.5, 0.5]
    assert chroma(images).flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    "spec, message",
    [
        ({"height": 16, "width": 64}, "64×16 pixels are too small"),
        ({"views": ("depth",)}, "views must be some of rgb, luminance, chroma"),
        ({"views": ()}, "views must be some of"),
        ({"dim": 3, "views": ("rgb", "chroma")}, "3 features cannot be had of 2 views"),
    ],
)
def test_shapes_that_cannot_be(spec: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EncoderSpec(**spec)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "deep" / "encoder.safetensors"
    save_encoder(path, Encoder(EncoderSpec(dim=8, filters=4, views=("luminance", "chroma"))), MADE)
    return path


def test_what_was_saved_is_loaded(path: Path) -> None:
    encoder, made = load_encoder(path)
    again = path.with_name("again.safetensors")
    save_encoder(again, encoder, made)
    assert made == MADE and encoder.spec.views == ("luminance", "chroma")
    images = draw_images(3)
    assert torch.equal(load_encoder(again)[0](images), encoder(images))
    assert again.read_bytes() == path.read_bytes()
    assert sorted(p.name for p in path.parent.iterdir()) == [again.name, path.name]


def test_every_byte_matters(path: Path) -> None:
    blob = path.read_bytes()
    for place in np.linspace(0, len(blob) - 1, 60).astype(int):
        changed = bytearray(blob)
        changed[place] ^= 0x04
        path.write_bytes(bytes(changed))
        with pytest.raises(EncoderFileError) as caught:
            load_encoder(path)
        assert str(caught.value).startswith(f"{path} ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.2, 0.9, 0.999])
def test_truncated(path: Path, share: float) -> None:
    blob = path.read_bytes()
    path.write_bytes(blob[: int(share * len(blob))])
    with pytest.raises(EncoderFileError, match=r"truncated or damaged|is not an encoder"):
        load_encoder(path)


def test_foreign_files(tmp_path: Path) -> None:
    text, other = tmp_path / "a", tmp_path / "b.safetensors"
    text.write_text("no encoder at all")
    safetensors.torch.save_file({"weight": torch.zeros(3)}, other)
    for path in (text, other):
        with pytest.raises(EncoderFileError, match="is not an encoder of lifelong-rl"):
            load_encoder(path)
    with pytest.raises(EncoderFileError, match="cannot be read: No such file"):
        load_encoder(tmp_path / "nowhere")
    with pytest.raises(EncoderFileError, match="cannot be read: Is a directory"):
        load_encoder(tmp_path)


SPEC = {"height": 64, "width": 64, "dim": 8, "filters": 4, "views": ["rgb"]}


@pytest.mark.parametrize(
    "document, reason",
    [
        ([], "is truncated or damaged"),
        ({"spec": 3, "made": {}}, "spec is 3, not an object"),
        ({"spec": SPEC, "made": []}, "made is [], not an object"),
        ({"spec": SPEC | {"dim": "8"}, "made": {}}, "spec.dim is '8', not a whole number"),
        ({"spec": SPEC | {"views": "rgb"}, "made": {}}, "spec.views is 'rgb', not an array"),
        ({"spec": SPEC | {"depth": 9}, "made": {}}, "unexpected keyword argument 'depth'"),
        ({"spec": SPEC | {"dim": 0}, "made": {}}, "0 features cannot be had of 1 views"),
        ({"spec": SPEC | {"dim": 10**12}, "made": {}}, "do not have the shapes"),
        ({"spec": SPEC | {"dim": 10**30}, "made": {}}, "holds no encoder"),
        ({"spec": SPEC, "made": {}}, "do not have the shapes"),
    ],
)
def test_a_header_of_the_wrong_kind(tmp_path: Path, document: Any, reason: str) -> None:
    """With a checksum that is right, as whoever writes it on purpose would add."""
    path, tensors = tmp_path / "e", {"weight": torch.zeros(3)}
    if isinstance(document, dict):
        document = {"format": FORMAT, **document}
        document["sha256"] = _digest(document, tensors)
    header = {"lifelong_rl": json.dumps(document)}
    path.write_bytes(safetensors.torch.save(tensors, metadata=header))
    with pytest.raises(EncoderFileError) as caught:
        load_encoder(path)
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_numbers_of_another_kind(tmp_path: Path) -> None:
    header = {"lifelong_rl": json.dumps({"format": FORMAT})}
    blob = safetensors.torch.save({"x": torch.zeros(3, dtype=torch.bfloat16)}, metadata=header)
    (tmp_path / "e").write_bytes(blob)
    with pytest.raises(EncoderFileError, match=r"holds no encoder: .*BFloat16"):
        load_encoder(tmp_path / "e")


def test_an_encoder_of_another_format(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lifelong_rl.vision.encoder.FORMAT", "lifelong-rl encoder 2")
    with pytest.raises(EncoderFileError, match="has the format 'lifelong-rl encoder 1'; this"):
        load_encoder(path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot write"):
        save_encoder(tmp_path / "file" / "encoder.safetensors", Encoder(), MADE)
