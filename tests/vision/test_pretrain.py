"""Pretraining: it learns, it can be repeated, it tells when nothing was learned."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from moving_square import moving_squares
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lifelong_rl.errors import NonFiniteError, UserError
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.encoder import Encoder, encode, load_encoder
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.neighbours import BORDER, neighbour_grid
from lifelong_rl.vision.objectives import OBJECTIVES, make
from lifelong_rl.vision.objectives.base import SelfSupervised
from lifelong_rl.vision.pretrain import PretrainConfig, find_collapse, measure, pretrain
from lifelong_rl.vision.pretrain_folder import ENCODER, find_encoder, pretrain_into
from lifelong_rl.vision.probe import probe_module
from lifelong_rl.vision.sampling import fingerprint, select, split_episodes

QUICK = PretrainConfig(steps=6, batch_size=32, threads=1)
MEASURED = {"loss", "loss_over_collapse", "alignment", "uniformity", "effective_rank"}


def ignore(step: int, measured: Mapping[str, float]) -> None:
    """Nobody is told."""


@pytest.fixture(scope="module")
def folder(squares: Frames, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoders") / "deep" / "simclr"
    pretrain_into(path, squares, QUICK, ignore, camera="side")
    return path


def test_the_folder(folder: Path, squares: Frames) -> None:
    names = {
        ".lock",
        "encoder.safetensors",
        "manifest.json",
        "metrics.jsonl",
        "neighbours.png",
        "tb",
    }
    assert {entry.name for entry in folder.iterdir()} == names
    encoder, made = load_encoder(find_encoder(folder))
    assert made["config"]["objective"] == "simclr" and made["steps"] == 6
    assert made["camera"] == "side" and made["frames"]["sha256"] == fingerprint(squares)
    assert made["frames"]["number"] == 320  # the test episodes are not learned from
    assert set(made["measured"]) == MEASURED and "torch" in made["versions"]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[-1]["values"] == made["measured"]
    picture = np.asarray(Image.open(folder / "neighbours.png"))
    test = select(squares, split_episodes(squares).test, ("side",))
    np.testing.assert_array_equal(picture, neighbour_grid(encoder, test))


def test_two_pretrainings_do_not_mix_their_files(squares: Frames, tmp_path: Path) -> None:
    """The second begins in the midst of the first, the third when it was stopped, and is alone."""

    def begin_another(step: int, measured: Mapping[str, float]) -> None:
        with pytest.raises(
            UserError, match=rf"{tmp_path / 'e'} is in use: .* \(pid {os.getpid()}\)"
        ):
            pretrain_into(tmp_path / "e", squares, QUICK, ignore)
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain_into(tmp_path / "e", squares, QUICK, begin_another)
    pretrain_into(tmp_path / "e", squares, QUICK, ignore)
    lines = (tmp_path / "e" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_a_folder_in_which_a_pretraining_was_killed_at_once(
    squares: Frames, tmp_path: Path
) -> None:
    (tmp_path / ".lock").write_text("1\n")
    (tmp_path / "manifest.json.tmp").write_text("{")
    pretrain_into(tmp_path, squares, QUICK, ignore)
    assert (tmp_path / ENCODER).exists() and not (tmp_path / "manifest.json.tmp").exists()


def test_tensorboard_has_scalars_and_the_picture(folder: Path) -> None:
    events = EventAccumulator(str(folder / "tb")).Reload()
    assert set(events.Tags()["scalars"]) == MEASURED
    assert [event.step for event in events.Scalars("loss_over_collapse")] == [1, 2, 3, 4, 5, 6]
    assert events.Tags()["images"] == ["neighbours"]


def test_the_same_seed_learns_the_same(folder: Path, squares: Frames, tmp_path: Path) -> None:
    torch.rand(5)
    pretrain_into(tmp_path / "again", squares, QUICK, ignore, camera="side")
    pretrain_into(
        tmp_path / "other", squares, dataclasses.replace(QUICK, seed=1), ignore, camera="side"
    )
    first, again, other = (
        (path / ENCODER).read_bytes() for path in (folder, tmp_path / "again", tmp_path / "other")
    )
    assert first == again != other


def test_measuring_more_often_does_not_change_what_is_learned(squares: Frames) -> None:
    found = [pretrain(squares, squares, QUICK, ignore, points=points) for points in (1, 6)]
    for one, other in zip(
        found[0].encoder.parameters(), found[1].encoder.parameters(), strict=True
    ):
        assert torch.equal(one, other)


def test_what_is_measured_does_not_depend_on_the_draws(squares: Frames) -> None:
    objective, images = make("simclr", squares), torch.from_numpy(squares.images[:50, 0])
    once = measure(1.0, 2.0, objective, images)
    torch.rand(3)
    assert measure(1.0, 2.0, objective, images) == once
    assert once["loss_over_collapse"] == 0.5 and once["alignment"] > 0


def test_of_one_class_there_is_nothing_to_tell(squares: Frames) -> None:
    objective = make("colorization", squares, colours=1)
    assert (
        measure(0.0, 0.0, objective, torch.from_numpy(squares.images[:8, 0]))["loss_over_collapse"]
        == 1.0
    )


def test_out_of_time(squares: Frames) -> None:
    told: list[int] = []
    config = dataclasses.replace(QUICK, steps=10_000, minutes=1e-6)
    result = pretrain(squares, squares, config, lambda step, _: told.append(step))
    assert result.steps == 1 and told == [1]


def test_neighbours_are_of_other_episodes() -> None:
    frames = moving_squares(episodes=3, length=4)
    encoder = Encoder()
    picture = neighbour_grid(encoder, frames, rows=2, columns=50)
    assert picture.shape == (2 * (64 + BORDER), 9 * (64 + BORDER), 3)  # eight of other episodes
    features = torch.nn.functional.normalize(encode(encoder, torch.from_numpy(frames.images[:, 0])))
    for row, query in enumerate((0, 11)):
        others = np.flatnonzero(frames.episodes != frames.episodes[query])
        order = others[(features[query] @ features[others].T).argsort(descending=True).numpy()]
        for column, frame in enumerate([query, *order]):
            top, left = row * (64 + BORDER), column * (64 + BORDER)
            shown = picture[top : top + 64, left : left + 64]
            np.testing.assert_array_equal(shown, frames.images[frame, 0].transpose(1, 2, 0))


# what goes wrong


def test_collapse_is_told(squares: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder that is pulled to one point: the loss ends where it must, and so does the rank."""

    class Pulled(SelfSupervised):
        def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return (self.encoder(batch["images"][:, 0]) - 1).square().mean()

        def collapse_value(self, n: int) -> float:
            return 1.0

    monkeypatch.setitem(OBJECTIVES._registered, "pulled", Pulled)
    config = dataclasses.replace(QUICK, objective="pulled", steps=40, lr=1e-2)
    result = pretrain(squares, squares, config, ignore, points=1)
    assert result.warning is not None and "\n" not in result.warning
    assert "pulled has collapsed: the features of all frames point in one direction" in (
        result.warning
    )
    healthy = {"loss": 1.0, "loss_over_collapse": 0.5, "effective_rank": 20.0}
    assert find_collapse("simclr", healthy) is None
    stuck = find_collapse("simclr", {**healthy, "loss_over_collapse": 0.999})
    assert stuck is not None and "simclr has learned nothing: its loss 1.000 is 1.00 of" in stuck


def test_a_loss_that_is_not_finite_stops_it(
    squares: Frames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = "lifelong_rl.vision.objectives.simclr.nt_xent"
    monkeypatch.setattr(broken, lambda first, *_: first.sum() * torch.nan)
    with pytest.raises(NonFiniteError, match="the loss of 'simclr' is nan"):
        pretrain_into(tmp_path / "e", squares, QUICK, ignore)
    assert not (tmp_path / "e" / ENCODER).exists()
    monkeypatch.undo()
    pretrain_into(tmp_path / "e", squares, QUICK, ignore)  # what was left is taken over
    lines = (tmp_path / "e" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 6


def test_features_that_are_not_finite_stop_it(squares: Frames) -> None:
    """The loss is found before a step, so that of the step that broke the encoder is finite."""
    config = dataclasses.replace(QUICK, steps=1, lr=1e30)
    with pytest.raises(NonFiniteError, match=r"largest feature of 'encoder' is (nan|inf)"):
        pretrain(squares, squares, config, ignore)


def test_folders_that_are_in_use(folder: Path, squares: Frames, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("")
    for path, message in (
        (folder, "holds an encoder already; choose another --out"),
        (tmp_path / "file", "is a file; choose another --out"),
        (tmp_path / "thesis", "is not empty and holds no pretraining; choose another --out"),
    ):
        with pytest.raises(UserError, match=message):
            pretrain_into(path, squares, QUICK, ignore)
    with pytest.raises(UserError, match=r"thesis holds no encoder\.safetensors \(make one with"):
        find_encoder(tmp_path / "thesis")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"batch_size": 1000}, "have 400 frames, too few for a batch of 1000"),
        ({"objective": "atc", "options": {"gap": 30}}, "have 0 clips of 31 frames"),
        (
            {"objective": "tcn", "options": {"margin": 20}},
            "have 0 clips of 2 frames with another 20 frames away, too few for a batch of 32",
        ),
    ],
)
def test_frames_that_are_too_few(squares: Frames, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pretrain(squares, squares, dataclasses.replace(QUICK, **changes), ignore)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"steps": 0}, "steps must be a whole number of at least 1, not 0"),
        ({"batch_size": 1}, "batch-size must be a whole number of at least 2, not 1"),
        ({"lr": 0.0}, "lr must be a number above 0, not 0.0"),
        ({"minutes": -1.0}, "minutes must be a number above 0, not -1.0"),
    ],
)
def test_numbers_outside_their_range(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        PretrainConfig(**options)


# it learns


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["simclr", "atc"])
def test_positions_can_be_read_better_than_off_a_random_encoder(objective: str) -> None:
    """Of the hand or of the object, by a linear probe in other episodes."""
    frames = select(moving_squares(episodes=200), np.arange(4000), ("front",))
    split = split_episodes(frames)
    train = select(frames, np.concatenate([split.train, split.validation]), ("front",))
    held_out = select(frames, split.test, ("front",))
    config = PretrainConfig(objective=objective, steps=300, batch_size=128, threads=1)
    learned = pretrain(train, held_out, config, ignore).encoder
    torch.manual_seed(0)
    errors = [
        probe_module(encoder, frames, split, Augmentation())["probe"]["object"]["error"]
        for encoder in (learned, Encoder())
    ]
    assert errors[0] < 0.8 * errors[1]
