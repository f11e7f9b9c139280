"""Damage to files of every kind: refused in one line, or read as it was; see `damage`."""

import random

import damage
import pytest
import subjects

CHECKED = {
    "checkpoint, tensors",
    "checkpoint, structure",
    "demonstrations",
    "frames",
    "dataset in the cache",
    "encoder",
    "agent",
}
FILES = CHECKED | {"config.yaml", "results.json", "status.json", "manifest.json", "metrics.jsonl"}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    from toy_runs import run_toy

    folder = tmp_path_factory.mktemp("damage")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIFELONG_RL_CACHE", str(folder / "cache"))
        assert run_toy(folder / "toy", "--quiet") == 0
        subject = subjects.SUBJECTS["toy"]
        (folder / "files").mkdir()
        reference = subjects.Reference(subject, folder / "toy", {}, 0.0)
        yield damage.make_kinds(reference, folder / "files")


def test_every_kind_of_file_is_tried(kinds):
    assert {*kinds} == FILES
    assert {kind for kind, file in kinds.items() if file.checked} == CHECKED


def check(outcome):
    assert outcome.problems == [], outcome.where
    return outcome.kind


@pytest.mark.parametrize("kind", sorted(FILES))
@pytest.mark.parametrize("number", [10, pytest.param(500, marks=pytest.mark.slow)])
def test_flipped_bits(kinds, kind, number):
    file, choose = kinds[kind], random.Random(kind)
    size = 8 * file.path.stat().st_size
    for place in (choose.randrange(size) for _ in range(number)):
        became = check(damage.damage(kind, file, damage.flip_bit(place), f"bit {place}"))
        assert became == "refused" or not kind.startswith("checkpoint")


@pytest.mark.parametrize("kind", sorted(FILES))
@pytest.mark.parametrize("how", ["zeros", "noise", "cut off"])
def test_a_damaged_kib(kinds, kind, how):
    file, choose = kinds[kind], random.Random(kind)
    for kib in range(min(4, -(-file.path.stat().st_size // damage.KIB))):
        became = check(damage.damage(kind, file, damage.spoil(kib, how, choose), f"KiB {kib}"))
        assert became == "refused" or kind in ("dataset in the cache", "metrics.jsonl")


@pytest.mark.parametrize("kind", sorted(FILES))
def test_damage_that_is_not_noticed_is_told(kinds, kind, monkeypatch):
    """The comparison itself: what a file with a checksum is read as must not change."""
    file = kinds[kind]
    answers = iter([b"one", b"another"])
    odd = damage.Kind(file.path, lambda: next(answers), file.checked)
    outcome = damage.damage(kind, odd, damage.flip_bit(0), "")
    assert outcome.kind == "not noticed" and bool(outcome.problems) == file.checked
