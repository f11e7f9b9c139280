"""Labelled data as sequences: what is learned from, what is shown, and what the loop asks for."""

from __future__ import annotations

import numpy as np
import pytest

from lifelong_rl.envs.labelled import (
    NOISY_DIGITS,
    NUM_TEST,
    PERMUTED_DIGITS,
    SPLIT_DIGITS,
    LabelledEnv,
    LabelledSequence,
    digits,
    permuted,
    two_digits,
    with_noise,
)
from lifelong_rl.envs.labelled_data import Dataset, Samples
from lifelong_rl.runs.evaluation import Evaluator
from lifelong_rl.runs.sequence import load_sequence

SEQUENCES = (SPLIT_DIGITS, PERMUTED_DIGITS, NOISY_DIGITS)


def small(num_test: int = 3, num_envs: int = 2) -> LabelledEnv:
    """Test sample i has the feature i and the class i mod 2; one training sample."""
    features = np.arange(num_test, dtype=np.float32)[:, None]
    test = Samples(features, np.arange(num_test) % 2)
    train = Samples(np.full((1, 1), 9, np.float32), np.array([1]))
    return LabelledEnv(Dataset(train, test).in_task(1, 3), 2, num_envs)


def test_digits_are_split_without_overlap_and_evenly() -> None:
    data = digits()
    assert data.train.features.shape == (1797 - NUM_TEST, 64)
    assert data.test.features.shape == (NUM_TEST, 64)
    assert data.train.features.dtype == np.float32
    assert data.train.features.min() == 0.0 and data.train.features.max() == 1.0
    assert np.bincount(data.test.labels).tolist() == [NUM_TEST // 10] * 10
    rows = np.concatenate([data.train.features, data.test.features])
    assert len(np.unique(rows, axis=0)) == 1797  # no digit comes twice


def test_the_split_is_the_same_every_time() -> None:
    again = digits.__wrapped__()
    for part in ("train", "test"):
        one, other = getattr(digits(), part), getattr(again, part)
        np.testing.assert_array_equal(one.features, other.features)
        np.testing.assert_array_equal(one.labels, other.labels)


def test_the_first_50_test_samples_are_of_all_classes() -> None:
    counts = np.bincount(digits().test.labels[:50], minlength=10)
    assert counts.min() >= 2 and counts.max() <= 9


def test_split_digits_are_the_digits_in_pairs() -> None:
    parts = [two_digits(first) for first in range(0, 10, 2)]
    assert sum(len(part.train.labels) for part in parts) == 1797 - NUM_TEST
    assert [len(part.test.labels) for part in parts] == [NUM_TEST // 5] * 5
    whole = digits().train
    np.testing.assert_array_equal(
        parts[2].train.features[parts[2].train.labels == 1], whole.features[whole.labels == 5]
    )
    assert {tuple(np.unique(part.train.labels)) for part in parts} == {(0, 1)}


def test_permutations_move_pixels_alike_in_training_and_testing() -> None:
    plain, moved = digits(), permuted(3)
    order = [
        np.flatnonzero((plain.train.features == column[:, None]).all(axis=0))
        for column in moved.train.features.T
    ]
    named = {int(found[0]) for found in order if len(found) == 1}
    assert len(named) > 55  # a few border pixels are always white
    for target, found in enumerate(order):
        if len(found) == 1:
            np.testing.assert_array_equal(
                moved.test.features[:, target], plain.test.features[:, found[0]]
            )
    np.testing.assert_array_equal(moved.train.labels, plain.train.labels)
    assert not np.array_equal(permuted(2).train.features, moved.train.features)
    np.testing.assert_array_equal(permuted(3).train.features, moved.train.features)


def test_noise_is_on_the_pixels_of_training_and_testing_alike() -> None:
    noisy, clean = with_noise(0.5), digits()
    for part in ("train", "test"):
        of_noisy, of_clean = getattr(noisy, part), getattr(clean, part)
        noise = of_noisy.features - of_clean.features
        assert abs(noise.mean()) < 0.01
        assert noise.std() == pytest.approx(0.5, abs=0.01)
        np.testing.assert_array_equal(of_noisy.labels, of_clean.labels)
    np.testing.assert_array_equal(with_noise(0.0).train.features, clean.train.features)
    np.testing.assert_array_equal(with_noise(0.5).test.features, noisy.test.features)


def test_rows_go_through_the_test_samples_in_order_and_seeding_starts_anew() -> None:
    env = small()
    assert env.reset()[:, 0].tolist() == [0, 1]
    observations, _, dones, _ = env.step(np.zeros(2))
    assert observations[:, 0].tolist() == [2, 0]
    assert dones.tolist() == [True, True]
    assert env.reset()[:, 0].tolist() == [1, 2]
    for seed in (0, 7, None):
        env.seed(seed)
        assert env.reset()[:, 0].tolist() == [0, 1]


def test_the_right_class_is_rewarded_and_a_success() -> None:
    env = small()
    env.reset()
    _, rewards, _, infos = env.step(np.array([1, 1]))  # samples 0 and 1
    assert rewards.tolist() == [0.0, 1.0]
    assert [info["success"] for info in infos] == [False, True]
    assert infos[1]["episode"] == {"r": 1.0, "l": 1, "success": True}
    _, rewards, _, _ = env.step(np.array([0, 0]))  # samples 2 and 0
    assert rewards.tolist() == [1.0, 1.0]


def test_every_observation_ends_with_the_one_hot() -> None:
    env = small()
    assert env.reset()[:, 1:].tolist() == [[0, 1, 0]] * 2
    assert env.observation_space.shape == (4,)
    data = env.labelled_data()
    assert data["observations"].tolist() == [[9, 0, 1, 0]]
    assert data["observations"].dtype == np.float32
    assert data["labels"].tolist() == [1]


def test_test_samples_are_no_training_data() -> None:
    for sequence in SEQUENCES:
        env = sequence.make_env(0, num_envs=NUM_TEST // sequence.num_tasks)
        learned = {row.tobytes() for row in env.labelled_data()["observations"]}
        assert not any(row.tobytes() in learned for row in env.reset())


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_a_perfect_policy_has_accuracy_1_and_a_constant_one_that_of_its_class(
    sequence: LabelledSequence,
) -> None:
    evaluator = Evaluator(sequence, num_episodes=NUM_TEST, num_threads=1)
    last = sequence.num_tasks - 1
    test = sequence.problems[last].load().test
    known = {row.tobytes(): label for row, label in zip(test.features, test.labels, strict=True)}

    def perfect(observations: np.ndarray) -> np.ndarray:
        inputs = np.ascontiguousarray(observations[:, : -sequence.num_tasks])
        return np.array([known[row.tobytes()] for row in inputs])

    assert evaluator.evaluate(perfect, last).score == 1.0
    constant = evaluator.evaluate(lambda observations: np.ones(len(observations)), last)
    assert constant.score == 1 / sequence.num_classes


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_sequences_describe_themselves(sequence: LabelledSequence) -> None:
    assert load_sequence(sequence.name) == sequence
    assert sequence.num_tasks == len(sequence.tasks) == len(set(sequence.tasks))
    assert set(sequence.versions()) == set(sequence.tasks)
    assert sequence.description and sequence.steps_per_task > 0
    env = sequence.make_env(1, num_envs=2)
    assert env.reset()[:, -sequence.num_tasks :].argmax(axis=1).tolist() == [1, 1]
    assert env.action_space.n == sequence.num_classes
    orders = {sequence.reordered(seed).tasks for seed in range(10)}
    assert len(orders) > 1
    assert sequence.reordered(4).tasks == load_sequence(sequence.name, order=4).tasks
    with pytest.raises(ValueError, match=rf"sequence '{sequence.name}' has tasks 0 to "):
        sequence.make_env(sequence.num_tasks, num_envs=1)


def test_the_joint_environment_has_the_data_of_all_tasks() -> None:
    joint = SPLIT_DIGITS.make_joint_env(num_envs=NUM_TEST)
    parts = [SPLIT_DIGITS.make_env(k, num_envs=NUM_TEST // 5) for k in range(5)]
    for name in ("observations", "labels"):
        np.testing.assert_array_equal(
            joint.labelled_data()[name],
            np.concatenate([part.labelled_data()[name] for part in parts]),
        )
    np.testing.assert_array_equal(joint.reset(), np.concatenate([part.reset() for part in parts]))


def test_no_environment_is_refused() -> None:
    with pytest.raises(ValueError, match="num_envs is 0; it must be at least 1"):
        small(num_envs=0)
