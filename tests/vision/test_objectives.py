"""What every objective promises, and what each one's own parts do."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from moving_square import moving_squares
from torch import Tensor, nn

from lifelong_rl.errors import UserError
from lifelong_rl.learning import gradient_step
from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.options import options_of
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.clustering import assign
from lifelong_rl.vision.continual.learner import EncoderLearner
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.heads import to_patches
from lifelong_rl.vision.losses import instance_discrimination
from lifelong_rl.vision.objectives import OBJECTIVES, make
from lifelong_rl.vision.objectives.base import SelfSupervised, near_in_time
from lifelong_rl.vision.objectives.colorization import places as colour_places
from lifelong_rl.vision.objectives.context import AROUND
from lifelong_rl.vision.objectives.counting import whole_and_quarters
from lifelong_rl.vision.objectives.deepcluster import whiten
from lifelong_rl.vision.objectives.invariance_propagation import neighbour_graph, propagate
from lifelong_rl.vision.objectives.jigsaw import different_permutations
from lifelong_rl.vision.objectives.mae import random_mask
from lifelong_rl.vision.objectives.odd_one_out import draw_clip_orders
from lifelong_rl.vision.objectives.rotation import turn
from lifelong_rl.vision.objectives.shuffle_and_learn import draw_order
from lifelong_rl.vision.objectives.split_brain import places as split_places
from lifelong_rl.vision.pretrain import PretrainConfig, Sampler, Training, optimise

BATCH = 16
QUICK = {"warmup": 1, "refresh": 1, "clusters": 6, "colours": 8, "tokens": 16, "queue": 40}
"""Options that reach all parts of an objective within a few steps."""
TWO_CAMERAS = [("cmc", {"between": "cameras"}), ("tcn", {"between": "cameras"})]
CASES = [(name, {}) for name in OBJECTIVES.names()] + TWO_CAMERAS


def quick(
    name: str, frames: Frames, augmentation: Augmentation | None = None, **options: object
) -> SelfSupervised:
    known = options_of(OBJECTIVES.get(name))
    small = {option: value for option, value in QUICK.items() if option in known}
    return make(name, frames, augmentation, **{**small, **options})


def learn(name: str, frames: Frames, steps: int, **options: object) -> tuple[list[float], Tensor]:
    """The losses of some steps, and the encoder's parameters after them."""
    torch.manual_seed(3)
    objective = quick(name, frames, **options)
    learned = [p for p in objective.parameters() if p.requires_grad]
    training = Training(name, objective, torch.optim.Adam(learned, lr=1e-3))
    sampler = Sampler(frames, objective, np.random.default_rng(0))
    losses = []
    for _ in range(steps):
        losses.append(gradient_step(training, sampler.draw(BATCH))["loss"])
        objective.after_step(training.optimizer)
        assert 0 < objective.collapse_value(BATCH) < math.inf
    return losses, torch.cat([p.detach().flatten() for p in objective.encoder.parameters()])


@pytest.fixture(scope="module")
def few() -> Frames:
    """Enough for every objective, few enough to be quick."""
    return moving_squares(episodes=8, length=12)


@pytest.mark.parametrize("name, options", CASES)
def test_contract(name: str, options: dict, few: Frames) -> None:
    """It learns, the encoder with it, and twice the same."""
    images = few.images.copy()
    losses, parameters = learn(name, few, 3, **options)
    assert np.isfinite(losses).all() and parameters.isfinite().all()
    _, fewer = learn(name, few, 2, **options)
    assert not torch.equal(parameters, fewer)
    again, same = learn(name, few, 3, **options)
    assert losses == again and torch.equal(parameters, same)
    assert np.array_equal(few.images, images)


class Blind(nn.Module):
    """An encoder to which all images are alike."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.spec = encoder.spec

    def forward(self, images: Tensor) -> Tensor:
        return torch.ones(len(images), self.spec.dim)

    def encode_views(self, *images: Tensor) -> list[Tensor]:
        views = len(self.spec.views)
        return [torch.ones(len(images[0]), self.spec.dim // views) for _ in range(views)]


@pytest.mark.parametrize("name", ["simclr", "cpc", "atc", "cmc", "tcn"])
def test_collapsed_objectives_have_their_collapse_value(name: str, few: Frames) -> None:
    """Through augmentation, encoder, heads and loss, with all pairs as negatives."""
    options = {} if name == "tcn" else {"margin": 0}
    objective = make(name, few, **options)
    objective.encoder = Blind(objective.encoder)
    if name == "atc":
        objective.slow.network[0] = objective.encoder
    batch = Sampler(few, objective, np.random.default_rng(0)).draw(BATCH)
    with torch.no_grad():
        assert float(objective.loss(batch)) == pytest.approx(
            objective.collapse_value(BATCH), rel=1e-5
        )


@pytest.mark.parametrize(
    "name",
    [
        "rotation",
        "jigsaw",
        "context",
        "exemplar",
        "deepcluster",
        "shuffle-and-learn",
        "odd-one-out",
        "arrow-of-time",
    ],
)
def test_guessing_all_classes_alike_has_the_collapse_value(name: str, few: Frames) -> None:
    objective = quick(name, few)
    last = [m for m in objective.head.modules() if isinstance(m, nn.Linear)][-1]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    batch = Sampler(few, objective, np.random.default_rng(0)).draw(BATCH)
    with torch.no_grad():
        assert float(objective.loss(batch)) == pytest.approx(objective.collapse_value(BATCH))


class Constant(nn.Module):
    """A decoder that says the same of every image, (places, outputs)."""

    def __init__(self, said: Tensor) -> None:
        super().__init__()
        self.said = said

    def forward(self, features: Tensor) -> Tensor:
        return self.said.expand(len(features), -1, -1)


@pytest.mark.parametrize("name", ["inpainting", "mae", "beit", "colorization"])
def test_the_best_constant_has_the_collapse_value(name: str, few: Frames) -> None:
    """On all frames at once, without augmentation; what is masked is drawn, so nearly."""
    still = Augmentation(shift=0, brightness=0, contrast=0, cutout=0)
    known = options_of(OBJECTIVES.get(name))
    options = {option: value for option, value in QUICK.items() if option in known}
    objective = make(name, few, still, **options)
    images = torch.from_numpy(few.images[:, 0]) / 255
    if name in ("inpainting", "mae"):
        middle = images[:, :, 16:48, 16:48] if name == "inpainting" else images
        said = to_patches(middle, 8).mean(dim=0)
    else:
        targets = to_patches(images, 8) if name == "beit" else colour_places(images)
        centres = objective.codebook if name == "beit" else objective.centres
        weight = torch.ones(len(centres)) if name == "beit" else objective.weight
        classes = assign(targets.flatten(0, 1), centres).view(len(images), -1)
        counts = nn.functional.one_hot(classes, len(centres)).sum(dim=0) * weight
        said = (counts / counts.sum(dim=1, keepdim=True)).clamp(min=1e-12).log()
    objective.decoder = Constant(said)
    batch = {"images": torch.from_numpy(few.images[:, :1])}
    with torch.no_grad():
        found = np.mean([float(objective.loss(batch)) for _ in range(3)])
    exact = name in ("inpainting", "colorization")
    assert found == pytest.approx(objective.collapse_value(96), rel=1e-4 if exact else 0.03)


def test_split_brain_by_its_variance(few: Frames) -> None:
    still = Augmentation(shift=0, brightness=0, contrast=0, cutout=0)
    objective = make("split-brain", few, still)
    images = torch.from_numpy(few.images[:, 0]) / 255
    for view, decoder in (("chroma", "to_chroma"), ("luminance", "to_luminance")):
        setattr(objective, decoder, Constant(split_places(images, view).mean(dim=0)))
    with torch.no_grad():
        found = float(objective.loss({"images": torch.from_numpy(few.images[:, :1])}))
    assert found == pytest.approx(objective.collapse_value(96), rel=1e-4) == 2


def alike(frames: Frames) -> Frames:
    """The same frames, all of which show the first one's picture."""
    return dataclasses.replace(frames, images=frames.images[:1].repeat(len(frames.images), 0))


@pytest.mark.parametrize("name", ["inpainting", "mae", "beit", "colorization", "split-brain"])
def test_what_is_predicted_is_the_picture_before_it_was_changed(name: str, few: Frames) -> None:
    """Who knows the only picture there is errs by nothing, whatever the encoder is shown."""
    frames = alike(few)
    picture = torch.from_numpy(frames.images[:1, 0]) / 255
    objective = quick(name, frames, Augmentation(0, 0, brightness=0.3, contrast=0.3, cutout=48))
    shown: list[Tensor] = []
    objective.encoder.register_forward_pre_hook(lambda _, args: shown.append(args[0]))
    if name == "split-brain":
        objective.to_chroma = Constant(split_places(picture, "chroma")[0])
        objective.to_luminance = Constant(split_places(picture, "luminance")[0])
        encode_views = objective.encoder.encode_views
        objective.encoder.encode_views = lambda *args: shown.append(args[0]) or encode_views(*args)
    elif name in ("inpainting", "mae"):
        middle = picture[:, :, 16:48, 16:48] if name == "inpainting" else picture
        objective.decoder = Constant(to_patches(middle, 8)[0])
    else:
        targets = to_patches(picture, 8) if name == "beit" else colour_places(picture)
        centres = objective.codebook if name == "beit" else objective.centres
        said = nn.functional.one_hot(assign(targets[0], centres), len(centres))
        objective.decoder = Constant(100.0 * said)
    with torch.no_grad():
        loss = objective.loss({"images": torch.from_numpy(frames.images[:BATCH, :1])})
    assert float(loss) == pytest.approx(0, abs=1e-6)
    if name != "split-brain":  # which measures its errors in units of the variance
        assert objective.collapse_value(BATCH) == pytest.approx(0, abs=1e-9)
    assert ((shown[0] - picture).abs().amax(dim=(1, 2, 3)) > 0.1).all()


def test_the_two_views_of_cmc_are_changed_apart(few: Frames) -> None:
    """What both saw painted over alike would tell them which frame it is."""
    objective = make("cmc", few, Augmentation(0, 0, 0, 0, cutout=48))
    shown: dict[str, Tensor] = {}
    for view, tower in objective.encoder.towers.items():
        tower.register_forward_pre_hook(
            lambda _, args, view=view: shown.update({view: args[0]})  # type: ignore[misc]
        )
    images = torch.full((40, 1, 3, 64, 64), 128, dtype=torch.uint8)
    moment = {"episode": torch.arange(40), "position": torch.zeros(40, dtype=torch.int64)}
    objective.loss({"images": images, **moment})
    untouched = 128 / 255 - 0.5, 0.0
    hidden = [
        (shown[view] - value).abs().amax(dim=1) > 1e-3
        for view, value in zip(("luminance", "chroma"), untouched, strict=True)
    ]
    areas = [mask.sum(dim=(1, 2)) for mask in hidden]
    assert all((area > 0).sum() > 30 for area in areas)
    assert (areas[0] != areas[1]).sum() > 30


def test_quarters_are_not_painted_over_where_the_whole_is(few: Frames) -> None:
    """Or rectangles, which are in a quarter as they are in the whole, could be counted."""
    objective = make("counting", few, Augmentation(0, 0, 0, 0, cutout=48))
    shown: list[Tensor] = []
    objective.encoder.register_forward_pre_hook(lambda _, args: shown.append(args[0]))
    objective.loss({"images": torch.full((40, 1, 3, 64, 64), 128, dtype=torch.uint8)})
    (images,) = shown
    whole, *quarters = ((images - 128 / 255).abs().amax(dim=1) > 1e-3).chunk(5)
    areas = [mask.sum(dim=(1, 2)) for mask in quarters]
    assert all((area > 0).sum() > 30 for area in areas)
    assert (whole.sum(dim=(1, 2)) != sum(areas) / 4).sum() > 30


@pytest.mark.parametrize("continual", [False, True])
def test_a_new_classifier_of_deepcluster_begins_with_new_moments(
    few: Frames, continual: bool
) -> None:
    """Its first step is Adam's first, the learning rate each way; the encoder's is not."""
    objective = make("deepcluster", few, clusters=6, refresh=2)
    config = PretrainConfig("deepcluster", batch_size=BATCH, lr=1e-3)
    losses = optimise(objective, few, config)
    if continual:
        learner = EncoderLearner(objective, ContinualMethod(), config, num_tasks=1)
        learner.begin_task(0, few)
        losses = learner.learn()
    next(losses)
    first = objective.head.weight.detach().clone()
    next(losses)
    assert (objective.head.weight - first).abs().max() > 0.01  # a new one
    head, encoder = objective.head.weight, objective.encoder.towers["rgb"][0].weight
    before = [parameter.detach().clone() for parameter in (head, encoder)]
    next(losses)
    of_head, of_encoder = (
        (now - then).abs() for now, then in zip((head, encoder), before, strict=True)
    )
    torch.testing.assert_close(of_head, torch.full_like(of_head, 1e-3), rtol=1e-2, atol=0)
    assert of_encoder.min() < 0.5e-3


def test_moco_momentum_and_queue(few: Frames) -> None:
    objective = quick("moco", few, momentum=0.9)
    slow = [p.clone() for p in objective.slow.parameters()]
    fast = [p.clone() for p in objective.network.parameters()]
    for q, k in zip(fast, slow, strict=True):
        assert torch.equal(q, k)
    sampler = Sampler(few, objective, np.random.default_rng(0))
    with torch.no_grad():
        for p in objective.network.parameters():
            p.add_(1)
        batch = sampler.draw(BATCH)
        objective.loss(batch)
    objective.after_step(torch.optim.Adam(objective.network.parameters()))
    for k, before in zip(objective.slow.parameters(), slow, strict=True):
        torch.testing.assert_close(k, before + 0.1)
    assert objective.queue.episodes[:BATCH].tolist() == batch["episode"].tolist()
    assert not any(p.requires_grad for p in objective.slow.parameters())


def test_moco_versions(few: Frames) -> None:
    one, two = make("moco", few, version=1), make("moco", few)
    assert (one.temperature, two.temperature) == (0.07, 0.2)
    assert [type(m) for m in one.head] == [nn.Linear]
    assert [type(m) for m in two.head] == [nn.Linear, nn.ReLU, nn.Linear]


def test_near_frames_are_no_negatives(few: Frames) -> None:
    """Of one episode and less than the margin apart; by the distance in frames."""
    batch = {"episode": torch.tensor([0, 0, 0, 1]), "position": torch.tensor([0, 4, 5, 4])}
    assert near_in_time(batch, 5).int().tolist() == [
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [0, 1, 1, 0],
        [0, 0, 0, 1],
    ]


def test_instance_discrimination_begins_local_aggregation(few: Frames) -> None:
    objective = make("local-aggregation", few, warmup=10)
    batch = Sampler(few, objective, np.random.default_rng(0)).draw(BATCH)
    torch.manual_seed(1)
    found = objective.loss(batch)
    torch.manual_seed(1)
    embeddings = objective.embed(batch)
    expected = instance_discrimination(
        embeddings, objective.bank.vectors, batch["index"], 0.07, objective.too_close_to(batch)
    )
    assert torch.equal(found, expected)
    assert objective.collapse_value(BATCH) == math.log(96)


def test_neighbours_of_local_aggregation(few: Frames) -> None:
    objective = make("local-aggregation", few, background=20, clusterings=2)
    batch = Sampler(few, objective, np.random.default_rng(0)).draw(BATCH)
    objective.assignments[0] = torch.arange(96) % 3
    objective.assignments[1] = torch.arange(96) // 48
    embeddings = torch.nn.functional.normalize(torch.randn(BATCH, 128))
    similarity = embeddings @ objective.bank.vectors.T
    rows, close, background = objective.neighbours(similarity, batch)
    for row, index in enumerate(batch["index"].tolist()):
        in_cluster = {j for j in range(96) if j % 3 == index % 3 or j // 48 == index // 48}
        nearest = similarity[row].topk(20).indices.tolist()
        moments = {j for j in range(96) if j // 12 == index // 12 and abs(j - index) < 5}
        expected = {j for j in nearest if j in in_cluster or j not in moments} | {index}
        assert sorted(rows[row][background[row]].tolist()) == sorted(expected)
        assert set(rows[row][close[row]].tolist()) == in_cluster & {*nearest, index}


def test_invariance_propagates_along_a_chain() -> None:
    graph = torch.tensor([[1], [2], [3], [3]])
    found = propagate(graph, torch.tensor([0, 2]), hops=2)
    assert found.tolist() == [[False, True, True, False], [False, False, False, True]]
    line = torch.nn.functional.normalize(torch.tensor([[1.0, 0], [1, 0.1], [1, 0.3], [1, 0.7]]))
    assert neighbour_graph(line, 1, chunk=3).flatten().tolist() == [1, 0, 1, 2]


@pytest.mark.parametrize("positives, negatives", [(2, 3), (20, 3), (2, 95)])
def test_hard_samples_by_hand(positives: int, negatives: int, few: Frames) -> None:
    """Also where fewer are reached, or fewer are left, than are asked for."""
    objective = make(
        "invariance-propagation",
        few,
        positives=positives,
        negatives=negatives,
        neighbours=2,
        hops=2,
    )
    objective.graph.copy_(neighbour_graph(objective.bank.vectors, 2))
    batch = Sampler(few, objective, np.random.default_rng(0)).draw(BATCH)
    embeddings = torch.nn.functional.normalize(torch.randn(BATCH, 128))
    similarity = embeddings @ objective.bank.vectors.T
    rows, close, background = objective.neighbours(similarity, batch)
    graph = objective.graph.tolist()
    for row, index in enumerate(batch["index"].tolist()):
        reached = set(graph[index]) | {k for j in graph[index] for k in graph[j]}
        reached -= {index}
        by_similarity = sorted(range(96), key=lambda j: float(similarity[row, j]))
        hardest = [j for j in by_similarity if j in reached][:positives]
        assert sorted(rows[row][close[row]].tolist()) == sorted(hardest)
        moments = {j for j in range(96) if j // 12 == index // 12 and abs(j - index) < 5}
        others = [j for j in by_similarity if j not in reached and j not in moments][-negatives:]
        assert sorted(rows[row][background[row]].tolist()) == sorted(hardest + others)


def test_turns() -> None:
    images = torch.rand(5, 3, 8, 8)
    turned = turn(images, torch.tensor([0, 1, 2, 3, 1]))
    for image, found, k in zip(images, turned, [0, 1, 2, 3, 1], strict=True):
        np.testing.assert_array_equal(found, np.rot90(image.numpy(), k, axes=(1, 2)))


def test_permutations_differ() -> None:
    few_tiles = different_permutations(4, 24)
    assert len({tuple(order) for order in few_tiles.tolist()}) == 24  # all that there are
    many = different_permutations(16, 32)
    assert torch.equal(many.sort(dim=1).values, torch.arange(16).expand(32, -1))
    apart = (many.unsqueeze(1) != many).sum(dim=2) + 99 * torch.eye(32).long()
    random = torch.stack([torch.randperm(16) for _ in range(32)])
    random_apart = (random.unsqueeze(1) != random).sum(dim=2) + 99 * torch.eye(32).long()
    assert apart.min() >= 14 > random_apart.min()
    with pytest.raises(ValueError, match="2 tiles have fewer than 3 orders"):
        different_permutations(2, 3)


def test_context_patches_are_where_they_are_said_to_be(few: Frames) -> None:
    objective = make("context", few, jitter=0)
    column = torch.arange(64.0).expand(64, 64)
    images = torch.stack([column.T, column, column]).expand(8, -1, -1, -1)
    patches = objective.patches(images, torch.tensor(AROUND))
    assert patches.shape == (8, 3, 64, 64)
    for patch, (down, right) in zip(patches, AROUND, strict=True):
        assert patch[0].unique().tolist() == list(range(24 + 21 * down, 40 + 21 * down))
        assert patch[1].unique().tolist() == list(range(24 + 21 * right, 40 + 21 * right))


def test_whole_and_quarters() -> None:
    images = torch.rand(3, 3, 8, 8)
    found = whole_and_quarters(images)
    assert found.shape == (15, 3, 8, 8)
    expected = torch.nn.functional.avg_pool2d(images, 2)
    torch.testing.assert_close(found[:3, :, ::2, ::2], expected)
    assert torch.equal(found[3:6, :, ::2, ::2], images[:, :, :4, :4])
    assert torch.equal(found[6:9, :, 1::2, 1::2], images[:, :, :4, 4:])
    assert torch.equal(found[12:, :, ::2, 1::2], images[:, :, 4:, 4:])


def test_whitening() -> None:
    features = torch.randn(500, 6) @ torch.randn(6, 10)  # of rank 6
    found = whiten(features, 8)
    covariance = found.T @ found / 500
    torch.testing.assert_close(
        covariance, torch.diag(torch.tensor([0.0] * 2 + [1] * 6)), atol=1e-3, rtol=0
    )


def test_masks_hide_the_same_share_everywhere() -> None:
    mask = random_mask(2000, 16, 0.75)
    assert (mask.sum(dim=1) == 12).all()
    assert (mask.float().mean(dim=0) - 0.75).abs().max() < 0.05


def test_orders_of_shuffle_and_learn() -> None:
    order, in_order = draw_order(4000)
    found = {label: {tuple(o) for o in order[in_order == label].tolist()} for label in (0, 1)}
    assert found[1] == {(1, 2, 3), (3, 2, 1)}
    assert found[0] == {(1, 0, 3), (3, 0, 1), (1, 4, 3), (3, 4, 1)}
    assert float(in_order.float().mean()) == pytest.approx(0.5, abs=0.05)


def test_one_clip_is_odd() -> None:
    order, odd = draw_clip_orders(500, 3)
    steps = order.diff(dim=2)
    monotone = (steps > 0).all(dim=2) | (steps < 0).all(dim=2)
    for row, which in zip(monotone.tolist(), odd.tolist(), strict=True):
        assert [not m for m in row] == [k == which for k in range(3)]
    assert odd.bincount(minlength=3).min() > 120


def test_exemplars_are_apart(few: Frames) -> None:
    objective = make("exemplar", few, margin=4, classes=20)
    chosen = objective.labels >= 0
    assert sorted(objective.labels[chosen].tolist()) == list(range(20))
    assert (torch.from_numpy(few.steps)[chosen] % 4 == 0).all()
    rows = Sampler(few, objective, np.random.default_rng(0)).draw(15)["index"]
    assert chosen[rows].all() and len(rows.unique()) == 15


def test_colour_objectives_are_blind_to_what_they_predict(few: Frames) -> None:
    assert make("colorization", few, colours=8).encoder.spec.views == ("luminance",)
    assert make("split-brain", few).encoder.spec.views == ("luminance", "chroma")


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("simclrr", {}, "unknown objective 'simclrr'; did you mean 'simclr'"),
        ("simclr", {"temprature": 1}, "unknown simclr option 'temprature'; did you mean"),
        (
            "simclr",
            {"temperature": 0.0},
            "'temperature' of objective 'simclr' must be a number above 0",
        ),
        ("moco", {"version": 3}, "'version' of objective 'moco' must be 1 or 2, not 3"),
        ("moco", {"queue": 0}, "'queue' of objective 'moco' must be a whole number of at"),
        ("atc", {"momentum": 1.5}, r"must be a number in \[0, 1\], not 1.5"),
        ("tcn", {"margin": 1}, "'margin' of TCN must be more than gap, 1, not 1"),
        ("cmc", {"between": "ears"}, "must be 'colour' or 'cameras', not 'ears'"),
        ("jigsaw", {"grid": 5}, "5×5 square tiles do not make 64×64"),
        ("context", {"jitter": 9}, "'jitter' of Context must be at most 3, not 9"),
        ("mae", {"masked": 0.0}, r"'masked' of objective 'mae' must be a number in \(0, 1\), not"),
        ("mae", {"patch": 7}, "patches of 7 pixels do not divide 64×64"),
        ("deepcluster", {"components": 500}, "128 features have fewer than 500 components"),
        ("odd-one-out", {"clips": 1}, "must be a whole number of at least 2, not 1"),
    ],
)
def test_bad_input(name: str, options: dict, message: str, few: Frames) -> None:
    with pytest.raises(UserError, match=message) as caught:
        make(name, few, **options)
    assert "\n" not in str(caught.value)


def test_two_cameras_are_needed() -> None:
    with pytest.raises(UserError, match="2 cameras are needed, and the frames are of 1"):
        make("cmc", moving_squares(episodes=5, cameras=1), between="cameras")


def test_the_second_camera_is_seen_where_it_should_be(few: Frames) -> None:
    """TCN with two cameras: anchor of the first; positive and negative of the second."""
    objective = make("tcn", few, Augmentation(0, 0, 0, 0, 0), between="cameras")
    seen = []
    objective.encoder.register_forward_pre_hook(lambda _, images: seen.append(images[0]))
    rows = objective.draw(
        timeline := Sampler(few, objective, np.random.default_rng(0))._timeline,
        np.random.default_rng(0),
        4,
    )
    batch = Sampler(few, objective, np.random.default_rng(0)).draw(4)
    objective.loss(batch)
    expected = [few.images[rows[:, 0], 0], few.images[rows[:, 0], 1], few.images[rows[:, 1], 1]]
    np.testing.assert_allclose(seen[0].numpy(), np.concatenate(expected) / 255, atol=1e-6)
    assert (abs(timeline.positions[rows[:, 0]] - timeline.positions[rows[:, 1]]) >= 5).all()


def test_plug_ins_are_objectives_too(few: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OBJECTIVES._registered, "mine", type("Mine", (SelfSupervised,), {}))
    assert make("mine", few).dim == 128
    monkeypatch.setitem(OBJECTIVES._registered, "wrong", int)
    with pytest.raises(UserError, match=r"'wrong' .* is not a subclass of SelfSupervised"):
        make("wrong", few)
