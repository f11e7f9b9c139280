"""Deep generative replay: old tasks' rows come from a learned generator (Shin et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from lifelong_rl.continual.distillation import Distillation
from lifelong_rl.errors import UserError
from lifelong_rl.learning.adam import Adam
from lifelong_rl.learning.gradient_step import gradient_step
from lifelong_rl.learning.protocols import Batch, Component, Learner, StateTree
from lifelong_rl.networks.vae import ConditionalVAE
from lifelong_rl.options import Count, NonNegative, Positive
from lifelong_rl.registry import METHODS

GENERATOR_BATCH = 256
STATISTICS_ROWS = 4096


@METHODS.register("generative-replay")
class GenerativeReplay(Distillation):
    """Deep generative replay: a scholar of a generator and a solver teaches the next one.

    When a task ends, each component gets a new generator of its inputs, learned on the task's data
    and, for the tasks before, on samples of the last generator. Later tasks add strength · E_x
    KL(p_old(x) ‖ p_θ(x)) to their loss, with rows x that the generator makes evenly for all old
    tasks, and p_old the network as it was after the last task: the paper's second term (eq. 1).
    No data of old tasks is kept.

    The paper's generator is a GAN that does not know the task. This one is a variational
    autoencoder that is told the task, because the component's heads must be told it too.

    References:
        Shin et al. 2017, Continual learning with deep generative replay, section 3.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Distillation.Options):
        """Options of GenerativeReplay.

        Attributes:
            strength: Weight of the penalty (untuned: as that of `clone`).
            batch_size: Generated rows in each penalty (untuned: as many as `clone` draws).
            latent: Entries of the generator's latent vector (untuned).
            hidden: Units of its hidden layers; two in the encoder and two in the decoder (untuned).
            updates: Gradient steps of each component's generator after each task (measured: means
                and standard deviations of 20 features made of 5 factors are met to a tenth of the
                latter after three generations).
            learning_rate: Of the generator (Kingma & Ba 2015: 1e-3).
            temperature: T of categorical predictions, both of which become softmax(logits / T);
                other predictions have none (untuned: changes nothing).
        """

        strength: NonNegative = 100.0
        batch_size: Count = 128
        latent: Count = 16
        hidden: Count = 128
        updates: Count = 2000
        learning_rate: Positive = 1e-3
        temperature: Positive = 1.0

    options: Options

    def __init__(self, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(options, **given)
        self._num_tasks = 1
        self._generators: dict[str, ConditionalVAE] = {}

    def rows(self, component: Component, batch: Batch) -> Batch:
        """Inputs that the generator makes for old tasks drawn at random.

        Args:
            component: Reads them.
            batch: Tells their shapes.

        Raises:
            UserError: The generator is of an old checkpoint.
        """
        device = next(iter(batch.values())).device
        tasks = self.draw_old_tasks(self.options.batch_size, device)
        generated = self._generators[component.name].sample(F.one_hot(tasks, self._num_tasks))
        inputs = {key: batch[key] for key in _generated(component)}
        sizes = [value[0].numel() for value in inputs.values()]
        if sum(sizes) != generated.shape[1]:
            raise UserError(
                f"the generator of '{component.name}' makes rows of {generated.shape[1]} entries, "
                f"and they have {sum(sizes)}: the checkpoint was made when the task was one of "
                "them; start the run anew"
            )
        made = {
            key: part.reshape(self.options.batch_size, *value.shape[1:]).to(value.dtype)
            for (key, value), part in zip(
                inputs.items(), torch.split(generated, sizes, dim=1), strict=True
            )
        }
        return component.with_task(made, tasks)

    def end_task(self, learner: Learner, task_id: int) -> None:
        """Teach each component's new generator, and keep a copy of the component's parameters."""
        self._num_tasks = learner.num_tasks
        for name, component in self.components(learner).items():
            data = torch.cat(
                [
                    torch.cat([batch[key].flatten(1).float() for key in _generated(component)], 1)
                    for batch in learner.task_data()
                ]
            )
            self._generators[name] = self._learn_generator(name, data, task_id)
        super().end_task(learner, task_id)

    def state_dict(self) -> StateTree:
        """The scholar: generators, and copies of the parameters."""
        return {
            **super().state_dict(),
            "num_tasks": self._num_tasks,
            "generators": {
                name: generator.state_dict() for name, generator in self._generators.items()
            },
        }

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict`."""
        super().load_state_dict(state)
        self._num_tasks = state["num_tasks"]
        for name, values in state["generators"].items():
            mean = values["mean"]
            self._generators[name] = self._make_generator(len(mean), mean.device)
            self._generators[name].load_state_dict(values)

    def _make_generator(self, features: int, device: torch.device) -> ConditionalVAE:
        latent, hidden = self.options.latent, self.options.hidden
        return ConditionalVAE(features, self._num_tasks, latent, hidden).to(device)

    def _learn_generator(self, name: str, data: Tensor, task_id: int) -> ConditionalVAE:
        """A generator of the rows of task `task_id`, which are `data`, and of those before it."""
        last = self._generators.get(name)

        def draw(n: int) -> Batch:
            tasks = torch.randint(task_id + 1, (n,), device=data.device)
            condition = F.one_hot(tasks, self._num_tasks).float()
            rows = data[torch.randint(len(data), (n,), device=data.device)]
            if last is not None:
                rows = torch.where((tasks == task_id).unsqueeze(1), rows, last.sample(condition))
            return {"rows": rows, "condition": condition}

        generator = self._make_generator(data.shape[1], data.device)
        generator.standardise(draw(STATISTICS_ROWS)["rows"])
        optimizer = Adam(generator.parameters(), lr=self.options.learning_rate, fused=True)
        objective = _GeneratorLoss(f"generator of {name}", generator, optimizer)
        for _ in range(self.options.updates):
            gradient_step(objective, draw(GENERATOR_BATCH))
        return generator.requires_grad_(False)


def _generated(component: Component) -> list[str]:
    """The component's inputs that are generated: all but the task, its condition."""
    return [key for key in component.inputs if key != "task"]


class _GeneratorLoss:
    """What a gradient step of a generator minimises."""

    def __init__(self, name: str, generator: ConditionalVAE, optimizer: Optimizer) -> None:
        self.name = name
        self._generator = generator
        self.optimizer = optimizer

    @property
    def module(self) -> nn.Module:
        """The generator."""
        return self._generator

    def loss(self, batch: Batch) -> Tensor:
        """Negative evidence lower bound of "rows" under "condition"."""
        return self._generator.loss(batch["rows"], batch["condition"])
