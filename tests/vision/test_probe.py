"""Probes: ridge in closed form, scores by hand, splits by episode, references."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from torch import Tensor, nn

from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.encoder import Encoder, EncoderSpec, encode
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.pixel_pca import PixelPCA
from lifelong_rl.vision.probe import (
    STRENGTHS,
    error_in,
    find_neighbours,
    fit_ridges,
    mean_predictor,
    probe_features,
    probe_module,
    r2,
    squared_error,
)
from lifelong_rl.vision.references import compare, sizes
from lifelong_rl.vision.sampling import select, split_episodes


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_ridge_is_that_of_scikit_learn(rng: np.random.Generator) -> None:
    features = rng.normal(size=(60, 7)) * np.arange(1, 8) + 3
    targets = features[:, :3] @ rng.normal(size=(3, 2)) + rng.normal(size=(60, 2))
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    unseen = rng.normal(size=(5, 7))
    strengths = np.array([1e-3, 0.1, 10.0])
    for strength, found in zip(strengths, fit_ridges(features, targets, strengths), strict=True):
        theirs = Ridge(alpha=strength * 60).fit(standard, targets)
        scaled = (unseen - features.mean(axis=0)) / features.std(axis=0)
        np.testing.assert_allclose(found.predict(unseen), theirs.predict(scaled), rtol=1e-8)


def test_ridge_leaves_features_that_never_change_alone(rng: np.random.Generator) -> None:
    features = np.column_stack([rng.normal(size=50), np.full(50, 0.1)])
    targets = 2 * features[:, :1] + 5
    (fit,) = fit_ridges(features, targets, np.array([1e-9]))
    changed = features + np.array([0, 100])
    np.testing.assert_allclose(fit.predict(changed), targets, rtol=1e-6)


def test_r2_is_that_of_scikit_learn(rng: np.random.Generator) -> None:
    targets = rng.normal(size=(40, 3)) * [1, 5, 0.1]
    predicted = targets + rng.normal(size=(40, 3))
    expected = r2_score(targets, predicted, multioutput="variance_weighted")
    assert r2(predicted, targets) == pytest.approx(expected)
    assert r2(predicted, np.ones((40, 3))) is None


def test_errors_by_hand() -> None:
    targets = np.zeros((2, 3))
    predicted = np.array([[0.03, 0, 0.04], [0, 0, 0.01]])
    assert error_in("cm", predicted, targets) == pytest.approx(3)
    assert error_in("rad", predicted, targets) == pytest.approx(0.08 / 6)


def test_the_labels_themselves_are_perfect_features(squares: Frames) -> None:
    """And noise is no better than the mean; both on episodes that were not fitted."""
    split = split_episodes(squares)
    labels = np.concatenate(list(squares.labels.values()), axis=1).astype(np.float64)
    found = probe_features(labels, squares, split)
    for name in squares.labels:
        assert found["probe"][name]["r2"] > 0.999999
        assert found["probe"][name]["error"] < 1e-2
    noise = np.random.default_rng(0).normal(size=(400, 5))
    nothing = probe_features(noise, squares, split)["probe"]
    mean = mean_predictor(squares, split)["probe"]
    for name in squares.labels:
        assert nothing[name]["error"] == pytest.approx(mean[name]["error"], rel=0.1)
        assert mean[name]["r2"] <= 0


def test_a_probe_is_not_fooled_by_what_tells_the_episode(squares: Frames) -> None:
    """The object stands still in an episode: by frame the episode tells it, by episode nothing."""
    split = split_episodes(squares)
    code = np.eye(20)[squares.episodes]
    by_episode = probe_features(code, squares, split)["probe"]["object"]["r2"]
    order = np.random.default_rng(0).permutation(400)
    by_frame = type(split)(order[:240], order[240:320], order[320:])
    assert probe_features(code, squares, by_frame)["probe"]["object"]["r2"] > 0.99
    assert by_episode < 0.05


def test_the_strength_is_chosen_on_other_episodes_than_it_is_judged_on(squares: Frames) -> None:
    """Where the two would choose differently, and be told apart by the score."""
    split = split_episodes(squares)
    features = np.random.default_rng(1).normal(size=(400, 60))
    features[split.validation] *= 0.1  # less noise there, so less of a penalty is best
    features[:, :2] += 20 * squares.labels["hand"]
    hand = squares.labels["hand"].astype(np.float64)
    fits = fit_ridges(features[split.train], hand[split.train], STRENGTHS)
    errors = [
        [squared_error(fit.predict(features[rows]), hand[rows]) for fit in fits]
        for rows in (split.validation, split.test)
    ]
    chosen, best = (int(np.argmin(each)) for each in errors)
    found = probe_features(features, squares, split)["probe"]["hand"]["r2"]
    assert chosen != best
    assert found == r2(fits[chosen].predict(features[split.test]), hand[split.test])


def test_neighbours_are_of_the_training_episodes(squares: Frames) -> None:
    split = split_episodes(squares)
    features = np.concatenate([squares.labels["hand"], np.ones((400, 1))], axis=1)
    found = find_neighbours(features.astype(np.float64), split)
    assert set(found) <= set(split.train)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    expected = split.train[(unit[split.test] @ unit[split.train].T).argmax(axis=1)]
    hand = squares.labels["hand"]
    np.testing.assert_allclose(hand[found], hand[expected], atol=1e-2)
    task = probe_features(features, squares, split)["retrieval"]["task"]
    assert task == pytest.approx(
        np.mean(squares.tasks[found] == squares.tasks[split.test]), abs=1e-9
    )


def test_frames_without_a_label_are_left_out(squares: Frames) -> None:
    split = split_episodes(squares)
    features = np.random.default_rng(0).normal(size=(400, 4))
    thing = squares.labels["object"].copy()
    thing[squares.tasks == 1] = np.nan
    partly = dataclasses.replace(squares, labels={**squares.labels, "object": thing})
    found = probe_features(features, partly, split)
    assert np.isfinite(found["probe"]["object"]["error"])
    assert found["probe"]["hand"] == probe_features(features, squares, split)["probe"]["hand"]
    nowhere = np.full_like(thing, np.nan)
    without = dataclasses.replace(squares, labels={**squares.labels, "object": nowhere})
    assert set(probe_features(features, without, split)["probe"]) == {"hand", "joints"}


def test_pixel_pca_is_that_of_scikit_learn(squares: Frames) -> None:
    images = torch.from_numpy(squares.images[:300, 0])
    pixels = images.flatten(1).numpy() / 255
    theirs = PCA(8, svd_solver="full").fit(pixels)
    found = PixelPCA(images, dim=8)(images).numpy()
    variance = found.var(axis=0, ddof=1)
    np.testing.assert_allclose(variance, theirs.explained_variance_, rtol=1e-2)
    overlap = np.abs(np.corrcoef(found.T, theirs.transform(pixels).T)[:8, 8:])
    np.testing.assert_allclose(np.diag(overlap)[:5], 1, atol=1e-2)


class Brightest(nn.Module):
    """Where red is brightest: a map that sees exactly one thing."""

    def forward(self, images: Tensor) -> Tensor:
        floating = images.float() / (255 if images.dtype == torch.uint8 else 1)
        red = (floating[:, 0] - floating[:, 1]).clamp(min=0)
        share = red / red.sum(dim=(1, 2), keepdim=True).clamp(min=1e-6)
        grid = torch.arange(64.0)
        return torch.stack([(share.sum(1) * grid).sum(1), (share.sum(2) * grid).sum(1)], dim=1)


def test_a_module_is_judged_by_what_it_sees(squares: Frames) -> None:
    split = split_episodes(squares)
    found = probe_module(Brightest(), squares, split, Augmentation())
    assert found["probe"]["hand"]["error"] < 1.5
    assert found["probe"]["object"]["error"] > 10
    assert 1 <= found["effective_rank"] <= 2
    assert found == probe_module(Brightest(), squares, split, Augmentation())


def test_references(squares: Frames) -> None:
    frames = select(squares, np.arange(400), ("front",))
    encoder = Encoder(EncoderSpec(dim=16, filters=8))
    before = encode(encoder, torch.from_numpy(frames.images[:, 0]))
    found = compare(encoder, frames, supervised_steps=2)
    names = ["mean", "this encoder", "random encoder", "pixel PCA", "supervised from pixels"]
    assert list(found) == names
    assert list(compare(encoder, frames, supervised_steps=0)) == names[:-1]
    assert torch.equal(encode(encoder, torch.from_numpy(frames.images[:, 0])), before)
    assert found["this encoder"] != found["random encoder"]
    assert sizes(frames)["test"] == {"frames": 80, "episodes": 4}
    unlabelled = compare(encoder, dataclasses.replace(frames, labels={}), supervised_steps=2)
    assert list(unlabelled) == names[:-1] and unlabelled["this encoder"]["probe"] == {}
    assert unlabelled["pixel PCA"]["effective_rank"] == found["pixel PCA"]["effective_rank"]


@pytest.mark.slow
def test_learning_from_labels_beats_the_mean(squares: Frames) -> None:
    frames = select(squares, np.arange(400), ("front",))
    found = compare(Encoder(), frames, supervised_steps=100)
    error = found["supervised from pixels"]["probe"]["hand"]["error"]
    assert error < 0.5 * found["mean"]["probe"]["hand"]["error"]
