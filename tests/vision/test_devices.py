"""All that learns to see leaves nothing on another device than asked for; see `pretend_device`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from moving_square import moving_squares
from pretend_device import PRETEND, pretend_device, tensors_in, where

from lifelong_rl.errors import UserError
from lifelong_rl.learning import gradient_step
from lifelong_rl.options import options_of
from lifelong_rl.registry import ENCODER_METHODS
from lifelong_rl.vision.continual.folder import pretrain_sequence_into
from lifelong_rl.vision.continual.sequence import SequenceConfig, pretrain_sequence
from lifelong_rl.vision.encoder import Encoder, EncoderSpec, load_encoder, save_encoder
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.neighbours import neighbour_grid
from lifelong_rl.vision.objectives import OBJECTIVES, make
from lifelong_rl.vision.pretrain import PretrainConfig, Sampler, Training, measure, pretrain
from lifelong_rl.vision.pretrain_folder import pretrain_into
from lifelong_rl.vision.references import compare

pytestmark = pytest.mark.device

QUICK = {"warmup": 1, "refresh": 1, "clusters": 6, "colours": 8, "tokens": 16, "queue": 40}
"""Options that reach all parts of an objective within a few steps."""
CASES = [(name, {}) for name in OBJECTIVES.names()]
CASES += [("cmc", {"between": "cameras"}), ("tcn", {"between": "cameras"})]


@pytest.fixture(scope="module")
def few() -> Frames:
    return moving_squares(episodes=10, length=12, size=32)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for is the pretended device."""
    for module in ("pretrain", "continual.sequence"):
        monkeypatch.setattr(f"lifelong_rl.vision.{module}.open_device", lambda name: PRETEND)


def learn(name: str, few: Frames, device: torch.device | str, **options: Any) -> Any:
    """The losses of some steps, what is measured after them, and the objective."""
    torch.manual_seed(3)
    known = options_of(OBJECTIVES.get(name))
    small = {option: value for option, value in QUICK.items() if option in known}
    objective = make(name, few, None, **{**small, **options}).to(device)
    learned = [p for p in objective.parameters() if p.requires_grad]
    training = Training(name, objective, torch.optim.Adam(learned, lr=1e-3))
    sampler = Sampler(few, objective, np.random.default_rng(0))
    found = []
    for _ in range(3):
        found.append(gradient_step(training, sampler.draw(8))["loss"])
        objective.after_step(training.optimizer)
        found.append(objective.collapse_value(8))
    images = torch.from_numpy(few.images[:16, 0])
    found += measure(found[0], found[1], objective, images).values()
    return found, objective


@pytest.mark.parametrize("name, options", CASES)
def test_every_objective(name: str, options: dict[str, Any], few: Frames) -> None:
    expected, _ = learn(name, few, "cpu", **options)
    with pretend_device() as device:
        found, objective = learn(name, few, device, **options)
        held = [*tensors_in(objective.state_dict()), *tensors_in(vars(objective))]
        left = [of for of, tensor in held if where(tensor) != PRETEND.type]
        assert left in ([], ["/_images"])  # frames stay on the CPU
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("method", ENCODER_METHODS.names())
def test_every_encoder_method(method: str, few: Frames, opened: None) -> None:
    config = SequenceConfig(PretrainConfig(steps=2, batch_size=8), method)
    with pretend_device():
        result = pretrain_sequence(few, config, lambda *told: None, points=1)
        assert {where(p) for p in result.encoder.parameters()} == {PRETEND.type}
    assert np.isfinite([list(measured.values()) for measured in result.measured]).all()


def test_pretraining_leaves_a_file_that_every_device_reads(
    few: Frames, opened: None, tmp_path: Path
) -> None:
    with pretend_device():
        result = pretrain(few, few, PretrainConfig(steps=1, batch_size=8), lambda *told: None)
        save_encoder(tmp_path / "e.safetensors", result.encoder, {})
        neighbour_grid(result.encoder, few)
    encoder, _ = load_encoder(tmp_path / "e.safetensors")
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, result.encoder.state_dict()[name].values)


def test_probes_and_their_references(few: Frames) -> None:
    torch.manual_seed(0)
    encoder = Encoder(EncoderSpec(32, 32, dim=16))
    expected = compare(encoder, few, supervised_steps=1)
    with pretend_device() as device:
        found = compare(encoder, few, supervised_steps=1, device=device)
    for name, result in expected.items():
        for kind, value in result.items():
            if isinstance(value, float):
                assert found[name][kind] == pytest.approx(value, rel=1e-3, abs=1e-3)


def test_a_device_that_is_not_there_leaves_no_folder(
    few: Frames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = PretrainConfig(device="cuda")
    with pytest.raises(UserError, match="there is no device 'cuda'"):
        pretrain_into(tmp_path / "at-once", few, config, lambda *told: None)
    with pytest.raises(UserError, match="there is no device 'cuda'"):
        sequence = SequenceConfig(config)
        pretrain_sequence_into(tmp_path / "by-task", few, sequence, lambda *told: None)
    assert not any(tmp_path.iterdir())
