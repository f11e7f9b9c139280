"""Encoders that learn task after task: methods, heads, and the sequence."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from moving_square import moving_squares
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from lifelong_rl.cli.main import main
from lifelong_rl.compatibility import find_refusal
from lifelong_rl.continual import ContinualMethod
from lifelong_rl.errors import UserError
from lifelong_rl.learning import Batch, Component
from lifelong_rl.vision.continual import ENCODER_METHODS
from lifelong_rl.vision.continual import make as make_method
from lifelong_rl.vision.continual.folder import pretrain_sequence_into
from lifelong_rl.vision.continual.learner import EncoderLearner, EveryClip
from lifelong_rl.vision.continual.lump import mix
from lifelong_rl.vision.continual.readouts import Readouts, Scores, summarise
from lifelong_rl.vision.continual.sequence import (
    SequenceConfig,
    SequencePretrained,
    pretrain_sequence,
    split_by_task,
)
from lifelong_rl.vision.encoder import Encoder, EncoderSpec, encode, load_encoder
from lifelong_rl.vision.frames import Frames, save_frames
from lifelong_rl.vision.losses import info_nce, nt_xent
from lifelong_rl.vision.objectives import OBJECTIVES, make
from lifelong_rl.vision.objectives.base import SelfSupervised, near_in_time
from lifelong_rl.vision.pretrain import PretrainConfig
from lifelong_rl.vision.probe import probe_features
from lifelong_rl.vision.sampling import fingerprint, select, split_episodes

BATCH = 16
SMALL = EncoderSpec(height=32, width=32)
QUICK = PretrainConfig(steps=2, batch_size=BATCH)


def ignore(task: str, step: int, measured: Mapping[str, float]) -> None:
    """Nobody is told."""


def learn(frames: Frames, method: str, seed: int = 0, **options: object) -> SequencePretrained:
    training = dataclasses.replace(QUICK, seed=seed)
    return pretrain_sequence(frames, SequenceConfig(training, method, options), ignore, points=1)


def flat(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def task(frames: Frames, *tasks: int) -> Frames:
    """The frames of some tasks, as if there were no others."""
    chosen = select(frames, np.flatnonzero(np.isin(frames.tasks, tasks)), ("front",))
    names = [frames.metadata["tasks"][k] for k in tasks]
    numbers = np.searchsorted(tasks, chosen.tasks)
    metadata = {**chosen.metadata, "tasks": names}
    return dataclasses.replace(chosen, tasks=numbers, metadata=metadata)


def learner_of(
    frames: Frames, method: ContinualMethod, objective: str = "simclr"
) -> EncoderLearner:
    """A learner that has begun the first of two tasks."""
    torch.manual_seed(0)
    learner = EncoderLearner(make(objective, task(frames, 0)), method, QUICK, 2)
    learner.begin_task(0, task(frames, 0))
    return learner


def next_task(frames: Frames, learner: EncoderLearner) -> None:
    learner.end_task(0)
    learner.begin_task(1, task(frames, 1))


def second_batch(frames: Frames, method: ContinualMethod) -> tuple[Component, Batch]:
    """A batch of the second task, after a first one whose batch the method left alone."""
    learner = learner_of(frames, method)
    (component,) = learner.components.values()
    batch = learner._sampler.draw(BATCH)
    assert method.extend_batch(component, batch) is batch
    next_task(frames, learner)
    return component, learner._sampler.draw(BATCH)


@pytest.fixture(scope="module")
def few() -> Frames:
    """Two tasks, of six episodes with eight small frames each."""
    return moving_squares(episodes=12, length=8, cameras=1, size=32)


# the sequence


def test_the_same_seed_learns_the_same(few: Frames) -> None:
    once = learn(few, "replay", per_task=8)
    torch.rand(3)
    again, other = learn(few, "replay", per_task=8), learn(few, "replay", seed=1, per_task=8)
    assert torch.equal(flat(once.encoder), flat(again.encoder))
    assert once.readouts == again.readouts and once.measured == again.measured
    assert not torch.equal(flat(once.encoder), flat(other.encoder))


def test_with_one_task_all_methods_are_one(few: Frames) -> None:
    """There is nothing to remember yet, and nothing to interleave."""
    alone = task(few, 1)
    expected = flat(learn(alone, "finetune").encoder)
    for method in ENCODER_METHODS.names():
        assert torch.equal(flat(learn(alone, method).encoder), expected), method


def test_with_two_tasks_all_methods_differ(few: Frames) -> None:
    found = {method: flat(learn(few, method).encoder) for method in ENCODER_METHODS.names()}
    for method, parameters in found.items():
        for other, others in found.items():
            assert torch.equal(parameters, others) == (method == other), (method, other)


def test_the_rows_follow_the_tasks(few: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    """What each phase learns from, without the test episodes; joint learns from all in each."""
    seen: list[set[int]] = []
    begin = EncoderLearner.begin_task

    def spy(self: EncoderLearner, task_id: int, frames: Frames) -> None:
        seen.append(set(frames.episodes.tolist()))
        begin(self, task_id, frames)

    monkeypatch.setattr(EncoderLearner, "begin_task", spy)
    found = learn(few, "finetune")
    test = set(few.episodes[split_episodes(few).test].tolist())
    red, green = ({e for e in range(12) if e % 2 == k} - test for k in (0, 1))
    assert seen == [red, green] and test
    assert found.steps == 4 and len(found.measured) == len(found.cpu_seconds) == 2
    seen.clear()
    learn(few, "joint")
    assert seen == [red | green] * 2


@pytest.mark.parametrize("objective", ["moco", "tcn", "mae", "cmc"])
def test_other_objectives_go_on_too(objective: str, few: Frames) -> None:
    options = {"moco": {"queue": 40}, "tcn": {"margin": 4}}.get(objective, {})
    training = dataclasses.replace(QUICK, objective=objective, options=options)
    method = "lump" if objective == "tcn" else "replay"
    found = pretrain_sequence(few, SequenceConfig(training, method), ignore, points=1)
    assert flat(found.encoder).isfinite().all()


# replay


def test_every_clip_comes_once(few: Frames) -> None:
    timeline = EveryClip(few.episodes, few.steps)
    rng = np.random.default_rng(0)
    clips = timeline.draw_clips(rng, 3, length=3, gap=2)
    starts = [k for k in range(96) if k % 8 < 4]
    assert sorted(clips[:, 0].tolist()) == starts
    assert (np.diff(clips, axis=1) == 2).all()


def test_the_reservoir_holds_every_frame_as_often(few: Frames) -> None:
    """Each of n frames with probability capacity / n, and none twice."""
    held = torch.zeros(96)
    runs = 200
    learner = learner_of(few, make_method("replay", per_task=12))
    rows = task(few, 0).images
    for _ in range(runs):
        learner.method = make_method("replay", per_task=12)
        learner.end_task(0)
        index = learner.method.memory.sample_task(0, 200)["index"].unique()
        assert len(index) == 12
        held[index] += 1
    assert (held[len(rows) :] == 0).all()
    shares = held[: len(rows)] / runs
    assert shares.mean() == pytest.approx(12 / 48)
    deviation = (0.25 * 0.75 / runs) ** 0.5
    assert (shares - 0.25).abs().max() < 4.5 * deviation


def test_replay_adds_rows_of_the_old_task(few: Frames) -> None:
    method = make_method("replay", per_task=12, ratio=0.5)
    component, batch = second_batch(few, method)
    extended = method.extend_batch(component, batch)
    assert extended["images"].shape == (24, 1, 3, 32, 32)
    assert torch.equal(extended["images"][:BATCH], batch["images"])
    assert (extended["episode"][:BATCH] % 2 == 1).all()
    assert (extended["episode"][BATCH:] % 2 == 0).all()


# LUMP


def test_mixed_images_by_hand() -> None:
    current, old = (torch.tensor([[a, b]], dtype=torch.uint8) for a, b in ((0, 255), (10, 55)))
    assert torch.equal(mix(current, old, 1.0), current)
    assert torch.equal(mix(current, old, 0.0), old)
    assert mix(current, old, 0.25).tolist() == [[8, 105]]  # 7.5 and 105
    assert mix(current, old, 0.25).dtype == torch.uint8


def test_lump_mixes_images_and_nothing_else(few: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    method = make_method("lump", per_task=48)
    component, batch = second_batch(few, method)
    share = 1.0
    beta = "lifelong_rl.vision.continual.lump.Beta.sample"
    monkeypatch.setattr(beta, lambda self: torch.tensor(share))
    mixed = method.extend_batch(component, batch)
    assert mixed.keys() == batch.keys()
    assert all(torch.equal(mixed[key], batch[key]) for key in batch)  # λ = 1
    share = 0.0
    mixed = method.extend_batch(component, batch)
    olds = torch.from_numpy(task(few, 0).images)
    for image in mixed["images"]:
        assert (image == olds).flatten(1).all(dim=1).any()
    assert all(torch.equal(mixed[key], batch[key]) for key in batch if key != "images")


# CaSSLe


@pytest.mark.parametrize("objective", ["simclr", "moco"])
def test_cassle_is_the_objectives_own_loss(objective: str, few: Frames) -> None:
    """Of the predicted features and those of the old encoder, for the same views."""
    method = make_method("cassle", strength=0.7)
    learner = learner_of(few, method, objective)
    (component,) = learner.components.values()
    batch = learner._sampler.draw(BATCH)
    assert method.penalty(component, batch) is None
    next_task(few, learner)
    learner.rehearse(2)
    batch = learner._sampler.draw(BATCH)
    torch.manual_seed(5)
    found = method.penalty(component, batch)
    torch.manual_seed(5)
    views = learner.objective.augmentation.views(batch["images"], aligned=False)
    predicted = method.predictor(learner.objective.encoder(views))
    old, near = method.old(views), near_in_time(batch, 5)
    if objective == "simclr":
        expected = nt_xent(predicted, old, 0.1, near)
    else:
        expected = info_nce(predicted, old, old, 0.2, near)
    torch.testing.assert_close(found, 0.7 * expected)


def test_the_old_encoder_stays_and_the_predictor_learns(few: Frames) -> None:
    method = make_method("cassle")
    learner = learner_of(few, method)
    learner.rehearse(2)
    end_of_first = copy.deepcopy(learner.objective.encoder)
    next_task(few, learner)
    predictor = flat(method.predictor)
    learner.rehearse(2)
    assert torch.equal(flat(method.old), flat(end_of_first))
    assert not any(p.requires_grad for p in method.old.parameters())
    assert not torch.equal(flat(learner.objective.encoder), flat(end_of_first))
    assert not torch.equal(flat(method.predictor), predictor)
    assert method.old is not learner.objective.encoder


def test_a_strong_cassle_keeps_what_could_be_told(few: Frames) -> None:
    """Old features are predicted better from an encoder that was distilled than from one not."""
    left = {}
    for method in ("cassle", "finetune"):
        options = {"strength": 100.0} if method == "cassle" else {}
        learner = learner_of(few, make_method(method, **options))
        learner.rehearse(2)
        old = copy.deepcopy(learner.objective.encoder)
        next_task(few, learner)
        learner.rehearse(10)
        images = torch.from_numpy(few.images[:, 0])
        features = encode(learner.objective.encoder, images)
        if method == "cassle":
            features = method_predictor(learner)(features).detach()
        left[method] = float(nn.functional.cosine_similarity(features, encode(old, images)).mean())
    assert left["cassle"] > left["finetune"]


def method_predictor(learner: EncoderLearner) -> nn.Module:
    predictor = learner.method.predictor
    assert isinstance(predictor, nn.Module)
    return predictor


# heads


def test_stale_heads_are_fresh_right_after_their_task(few: Frames) -> None:
    readouts = learn(few, "finetune").readouts
    assert list(readouts["fresh"]) == list(readouts["stale"]) == ["hand", "object", "joints"]
    for label, stale in readouts["stale"].items():
        fresh, stale = readouts["fresh"][label]["error"], stale["error"]
        assert stale[0] == [None, None] and stale[1][1] is None
        assert [stale[1][0], stale[2][1]] == [fresh[1][0], fresh[2][1]]
        assert stale[2][0] != fresh[2][0]
    assert readouts["stale"]["object"]["r2"][2] == [None] * 2  # it stays where it is


def test_an_encoder_that_stays_forgets_nothing(few: Frames) -> None:
    readouts, encoder = Readouts(few, split_by_task(few)), Encoder(SMALL)
    for _ in range(3):
        readouts.judge(encoder)
    for found in (readouts.results()["fresh"], readouts.results()["stale"]):
        assert found["hand"]["metrics"]["forgetting_r2"] == 0
        assert all(scores["metrics"]["forgetting_error"] == 0 for scores in found.values())


def test_fresh_heads_are_the_probe_of_each_tasks_episodes(few: Frames) -> None:
    readouts, encoder = Readouts(few, split_by_task(few)), Encoder(SMALL)
    readouts.judge(encoder)
    features = encode(encoder, torch.from_numpy(few.images[:, 0])).double().numpy()
    for j, split in enumerate(split_by_task(few)):
        assert set(few.tasks[np.concatenate(split)]) == {j}
        for label, scores in probe_features(features, few, split)["probe"].items():
            assert readouts.fresh[label].r2[0][j] == scores["r2"]
            assert readouts.fresh[label].error[0][j] == scores["error"]


def test_the_experts_action_is_read_where_it_is_known(few: Frames) -> None:
    """A linear function of the hand's position is read as well as that."""
    action = 3 * few.labels["hand"] @ np.array([[1, 0], [1, 1]], np.float32) + 1
    labelled = dataclasses.replace(few, labels={**few.labels, "action": action})
    readouts = Readouts(labelled, split_by_task(labelled))
    readouts.judge(Encoder(SMALL))
    readouts.judge(Encoder(SMALL))
    assert readouts.fresh["action"].unit == "1"
    assert readouts.stale["action"].r2[1][0] == readouts.fresh["action"].r2[1][0]
    assert "stale_action_r2/red" in readouts.last_row(["red", "green"])
    assert "stale_action_r2/green" not in readouts.last_row(["red", "green"])


def test_summary_by_hand() -> None:
    scores = Scores("cm", r2=[[0.0, 0.2], [0.8, 0.3], [0.5, 0.9]], error=[[9, 8], [2, 7], [5, 1]])
    assert summarise(scores) == pytest.approx(
        {
            "final_r2": 0.7,
            "learned_r2": 0.85,
            "forgetting_r2": 0.15,
            "forward_transfer_r2": 0.1,
            "final_error": 3.0,
            "learned_error": 1.5,
            "forgetting_error": 1.5,
        }
    )
    stale = Scores("cm", r2=[[None] * 2, [0.8, None], [0.5, 0.9]], error=[[None] * 2] * 3)
    found = summarise(stale)
    assert found["forgetting_r2"] == pytest.approx(0.15)
    assert found["forward_transfer_r2"] is None and found["final_error"] is None


# the folder and the command


def test_the_folder(few: Frames, tmp_path: Path) -> None:
    config = SequenceConfig(QUICK, "replay", {"per_task": 8})
    result = pretrain_sequence_into(tmp_path / "e", few, config, ignore)
    names = {
        ".lock",
        "encoder.safetensors",
        "manifest.json",
        "metrics.jsonl",
        "neighbours.png",
        "tb",
    }
    assert {entry.name for entry in (tmp_path / "e").iterdir()} == names | {"results.json"}
    encoder, made = load_encoder(tmp_path / "e" / "encoder.safetensors")
    assert torch.equal(flat(encoder), flat(result.encoder))
    assert (made["method"], made["steps"], made["frames"]["number"]) == ("replay", 4, 80)
    content = json.loads((tmp_path / "e" / "results.json").read_text())
    assert content["tasks"] == ["red", "green"] and content["readouts"] == result.readouts
    events = EventAccumulator(str(tmp_path / "e" / "tb")).Reload()
    assert [event.step for event in events.Scalars("loss_over_collapse")] == [1, 2, 3, 4]
    assert [event.step for event in events.Scalars("fresh_hand_error/red")] == [0, 2, 4]
    assert [event.step for event in events.Scalars("stale_hand_error/green")] == [4]
    with pytest.raises(UserError, match="holds an encoder already"):
        pretrain_sequence_into(tmp_path / "e", few, config, ignore)


@pytest.fixture(scope="module")
def path(few: Frames, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("frames") / "squares.npz"
    save_frames(path, few)
    return path


def test_the_command(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["pretrain", "--frames", str(path), "--steps", "2", "--batch-size", "16"]
    assert main([*arguments, "--method", "replay", "--method-options", "per_task=8"]) == 0
    folder = Path("encoders/squares-simclr-replay-seed0")
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("  loss")[0] for line in lines[:4]] == [
        "red  step 1",
        "red  step 2",
        "green  step 3",
        "green  step 4",
    ]
    content = json.loads((folder / "results.json").read_text())
    options = content["method_options"]
    assert (options["per_task"], options["ratio"], options["keep"]) == (8, 1.0, "real")
    hand = content["readouts"]["stale"]["hand"]["error"][-1]
    (old,) = (
        line for line in lines if line.startswith("in the end, old head") and "hand  " in line
    )
    assert old.split()[-3:] == [f"{value:.1f}" for value in (*hand, np.mean(hand))]
    assert main(["probe", str(folder), "--frames", str(path), "--supervised-steps", "0"]) == 0
    assert f"{folder}/encoder.safetensors: simclr, 4 steps" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["--method", "replai"], "unknown encoder-method 'replai'; did you mean 'replay'?"),
        (["--method", "replay", "--method-options", "per_tsk=3"], "did you mean 'per_task'"),
        (
            ["--method", "lump", "--method-options", "alpha=-1"],
            "'alpha' of encoder-method 'lump' must",
        ),
        (
            ["--method", "replay", "--method-options", "per_task=0"],
            "'per_task' of encoder-method 'replay'",
        ),
        (["--method", "cassle", "--objective", "rotation"], "(objectives that do: moco, simclr)"),
        (
            ["--method", "replay", "--objective", "instdisc"],
            "the objective 'instdisc' does not offer",
        ),
        (["--method", "lump", "--minutes", "1"], "minutes cannot be given for a sequence of tasks"),
        (["--method-options", "per_task=3"], "--method-options are those of a --method"),
    ],
)
def test_bad_input(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    quick = ["--steps", "1", "--batch-size", "16"]
    assert main(["pretrain", "--frames", str(path), *quick, *arguments]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert expected in line and captured.out == ""


def test_the_frames_are_known_whichever_camera_the_encoder_is_for(tmp_path: Path) -> None:
    frames = moving_squares(episodes=12, length=8, cameras=2, size=32)
    for camera in frames.metadata["cameras"]:
        config = SequenceConfig(QUICK, "finetune")
        pretrain_sequence_into(tmp_path / camera, frames, config, lambda *_: None, camera)
        _, made = load_encoder(tmp_path / camera / "encoder.safetensors")
        assert made["camera"] == camera
        assert made["frames"]["sha256"] == fingerprint(frames)


def test_what_objectives_and_methods_declare_is_so(few: Frames) -> None:
    for name in OBJECTIVES.names():
        compares = OBJECTIVES.get(name).contrast is not SelfSupervised.contrast
        refusal = find_refusal(ENCODER_METHODS, "cassle", OBJECTIVES, name)
        knows = OBJECTIVES.get(name).knows_frames
        assert (refusal is None) == (compares and not knows)
        assert (find_refusal(ENCODER_METHODS, "finetune", OBJECTIVES, name) is None) == (not knows)
    assert [name for name in sorted(OBJECTIVES.names()) if OBJECTIVES.get(name).knows_frames] == [
        "deepcluster",
        "exemplar",
        "instdisc",
        "invariance-propagation",
        "local-aggregation",
    ]


def test_tasks_with_too_few_episodes() -> None:
    frames = moving_squares(episodes=9, length=4, cameras=1)
    with pytest.raises(UserError, match="the frames have 4 episodes of 'green'; 5 of each task"):
        learn(frames, "finetune")


def test_methods_that_ask_for_predictions_are_told(few: Frames) -> None:
    (component,) = learner_of(few, ContinualMethod()).components.values()
    with pytest.raises(UserError, match="an encoder predicts nothing"):
        component.predict({})
    with pytest.raises(UserError, match=r"is not a subclass of ContinualMethod"):
        ENCODER_METHODS._registered["wrong"] = int
        try:
            make_method("wrong")
        finally:
            del ENCODER_METHODS._registered["wrong"]


def test_the_list_of_methods(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "encoder-methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "encoder-methods:"
    assert [line.split()[0] for line in lines[1:]] == ENCODER_METHODS.names()
