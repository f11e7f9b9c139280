"""Pretraining an encoder on frames, without labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor
from torch.optim import Optimizer

from lifelong_rl.errors import NonFiniteError
from lifelong_rl.learning import Adam, Batch, gradient_step
from lifelong_rl.learning.devices import open_device
from lifelong_rl.learning.seeding import preserved_generators, seed_everything
from lifelong_rl.options import Count, Device, Positive, Seed, Threads, check_options
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.encoder import Encoder, encode
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.objectives import make
from lifelong_rl.vision.objectives.base import SelfSupervised
from lifelong_rl.vision.representation import alignment, effective_rank, uniformity
from lifelong_rl.vision.sampling import Rows, Timeline

HELD_OUT = 512
"""Held-out frames that the representation is measured on."""
COLLAPSED_SHARE = 0.99
"""A loss that ends above this share of its value at collapse has learned nothing."""
COLLAPSED_RANK = 1.5
"""So has an encoder whose features have a lower effective rank than this."""


@dataclass(frozen=True)
class PretrainConfig:
    """Everything that decides what is learned, but for the frames.

    Attributes:
        objective: See `lifelong-rl list objectives`.
        steps: Gradient steps.
        minutes: Stop after so many minutes if the steps take longer; the result then depends on the
            speed of the machine.
        batch_size: Rows of a batch.
        lr: Learning rate of Adam.
        seed: Decides all that is random.
        threads: Threads of each torch operation.
        device: What is learned on, see `lifelong_rl.learning.devices.open_device`.
        augmentation: How images are changed.
        options: Of the objective.
    """

    objective: str = "simclr"
    steps: Count = 1000
    minutes: Positive | None = None
    batch_size: Annotated[int, Ge(2)] = 256
    lr: Positive = 1e-3
    seed: Seed = 0
    threads: Threads = 1
    device: Device = "cpu"
    augmentation: Augmentation = field(default_factory=Augmentation)
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise UserError for a number outside its range."""
        check_options(PretrainConfig, vars(self), "")


@dataclass(frozen=True)
class Pretrained:
    """What has come of pretraining.

    Attributes:
        encoder: The encoder.
        steps: Gradient steps done.
        seconds: They took, with measuring.
        measured: What was last measured, see `measure`.
        warning: What is wrong with the encoder, in one line; None if nothing is.
    """

    encoder: Encoder
    steps: int
    seconds: float
    measured: dict[str, float]
    warning: str | None


Report = Callable[[int, dict[str, float]], None]
"""Called with the number of steps done and what was measured."""


@dataclass
class Training:
    """A self-supervised objective as `gradient_step` knows objectives.

    Attributes:
        name: For messages.
        module: The objective.
        optimizer: Steps its parameters.
    """

    name: str
    module: SelfSupervised
    optimizer: Optimizer

    def loss(self, batch: Batch) -> Tensor:
        """The objective's loss."""
        return self.module.loss(batch)


def pretrain(
    train: Frames, held_out: Frames, config: PretrainConfig, report: Report, *, points: int = 20
) -> Pretrained:
    """Learn an encoder from frames.

    Args:
        train: To learn from.
        held_out: Frames of other episodes, to measure the representation on.
        config: What is learned and how.
        report: Called `points` times, evenly spaced.
        points: How often to measure.

    Raises:
        UserError: The objective cannot be learned from these frames, or the device is not there.
        NonFiniteError: The loss is NaN or infinite.
    """
    device = open_device(config.device)
    torch.set_num_threads(config.threads)
    seed_everything(config.seed)
    objective = make(config.objective, train, config.augmentation, **config.options).to(device)
    shown, started = torch.from_numpy(held_out.images[:, 0]), perf_counter()
    losses = optimise(objective, train, config)
    for step, measured in measured_steps(objective, losses, config, shown, points):
        report(step, measured)
    return Pretrained(
        encoder=objective.encoder,
        steps=step,
        seconds=perf_counter() - started,
        measured=measured,
        warning=find_collapse(config.objective, measured),
    )


def measured_steps(
    objective: SelfSupervised,
    losses: Iterator[float],
    config: PretrainConfig,
    images: Tensor,
    points: int,
) -> Iterator[tuple[int, dict[str, float]]]:
    """Take the steps of a training until the last, and measure now and then.

    Args:
        objective: Is trained.
        losses: Takes a step whenever it is asked for one more loss.
        config: How many steps, or minutes.
        images: Held-out frames to measure on, (n, 3, h, w) uint8.
        points: How often to measure, evenly spaced, the last step among them.

    Yields:
        The number of steps done, and what was measured, see `measure`.
    """
    shown = images[:: max(len(images) // HELD_OUT, 1)][:HELD_OUT]
    due = {round(config.steps * (i + 1) / points) for i in range(points)}
    started, recent = perf_counter(), []
    for step, loss in enumerate(losses, start=1):
        recent.append(loss)
        minutes = (perf_counter() - started) / 60
        last = step == config.steps or (config.minutes is not None and minutes >= config.minutes)
        if step in due or last:
            collapse = objective.collapse_value(config.batch_size)
            yield step, measure(float(np.mean(recent)), collapse, objective, shown)
            recent.clear()
        if last:
            return


def optimise(objective: SelfSupervised, frames: Frames, config: PretrainConfig) -> Iterator[float]:
    """Step an objective without end, and tell the loss before each step.

    Args:
        objective: Its parameters that require a gradient are learned.
        frames: To learn from.
        config: Learning rate, batch size and seed.
    """
    learned = [p for p in objective.parameters() if p.requires_grad]
    training = Training(config.objective, objective, Adam(learned, lr=config.lr))
    sampler = Sampler(frames, objective, np.random.default_rng(config.seed))
    while True:
        batch = sampler.draw(config.batch_size)
        loss = gradient_step(training, batch)["loss"]
        objective.after_step(training.optimizer)
        yield loss


class Sampler:
    """Batches of frames for an objective, on its device; see `SelfSupervised`.

    The frames stay on the CPU, as bytes: a GPU need not have room for all of them.

    Args:
        frames: To draw from.
        objective: Chooses what goes together.
        rng: Draws.
    """

    def __init__(self, frames: Frames, objective: SelfSupervised, rng: np.random.Generator) -> None:
        self._images = torch.from_numpy(frames.images)
        self._episodes = torch.from_numpy(frames.episodes).to(objective.device)
        self._timeline = Timeline(frames.episodes, frames.steps)
        self._positions = torch.from_numpy(self._timeline.positions).to(objective.device)
        self._objective, self._rng = objective, rng

    def draw(self, n: int) -> Batch:
        """A batch of n rows."""
        return self.batch(self._objective.draw(self._timeline, self._rng, n))

    def batch(self, frames: Rows) -> Batch:
        """The batch of these frames, (n, k), see `SelfSupervised.draw`."""
        rows, device = torch.from_numpy(frames), self._objective.device
        images = self._images[rows][:, :, : self._objective.num_cameras].flatten(1, 2)
        first = rows[:, 0].to(device)
        return {
            "images": images.to(device),
            "index": first,
            "episode": self._episodes[first],
            "position": self._positions[first],
        }


def measure(
    loss: float, collapse: float, objective: SelfSupervised, images: Tensor
) -> dict[str, float]:
    """The loss, beside its value at collapse, and how the representation of held-out frames lies.

    Args:
        loss: Mean since the last time.
        collapse: Its value if the encoder tells nothing.
        objective: Has the encoder.
        images: Held-out frames, (n, 3, h, w) uint8.
    """
    images = images.to(objective.device)
    with preserved_generators():
        torch.manual_seed(0)  # the same views each time
        one, other = objective.augmentation.views(images.unsqueeze(1), copies=2).chunk(2)
        features = encode(objective.encoder, images)
        if not bool(features.isfinite().all()):
            raise NonFiniteError("largest feature", "encoder", float(features.abs().max()))
        views = encode(objective.encoder, one), encode(objective.encoder, other)
    return {
        "loss": loss,
        "loss_over_collapse": loss / collapse if collapse else 1.0,  # of one class: nothing to tell
        "alignment": alignment(*views),
        "uniformity": uniformity(features),
        "effective_rank": effective_rank(features),
    }


def find_collapse(objective: str, measured: Mapping[str, float]) -> str | None:
    """Say in one line why an encoder tells nothing; None if it seems to tell something.

    Args:
        objective: Its name.
        measured: What was measured in the end, see `measure`.
    """
    share, rank = measured["loss_over_collapse"], measured["effective_rank"]
    if share > COLLAPSED_SHARE:
        return (
            f"{objective} has learned nothing: its loss {measured['loss']:.3f} is {share:.2f} of "
            "that of an encoder to which all frames are alike; try more steps, another lr or "
            "other options"
        )
    if rank < COLLAPSED_RANK:
        return (
            f"{objective} has collapsed: the features of all frames point in one direction "
            f"(effective rank {rank:.2f}); try another lr, other options or another objective"
        )
    return None
