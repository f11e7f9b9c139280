"""A small supervised learner: what the methods see of it is what they see of an RL agent."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, Normal

from lifelong_rl.continual import ContinualMethod
from lifelong_rl.learning import Batch, Role, gradient_step
from lifelong_rl.networks import MultiHeadMLP, NetworkSpec, TaskNetwork


def categorical(output: Tensor) -> Distribution:
    return Categorical(logits=output, validate_args=False)


def unit_normal(output: Tensor) -> Distribution:
    normal = Normal(output, torch.ones_like(output), validate_args=False)
    return Independent(normal, 1, validate_args=False)


class Predictor:
    """Maximum likelihood; batches hold "inputs" (n, d), "labels" and, for task networks, "task"."""

    def __init__(
        self,
        module: nn.Module,
        distribution: Callable[[Tensor], Distribution],
        *,
        name: str = "predictor",
        role: Role = "policy",
        optimizer: type[torch.optim.Optimizer] = torch.optim.SGD,
        lr: float = 0.1,
    ) -> None:
        self.module = module
        self.distribution = distribution
        self.name = name
        self.role = role
        self.optimizer = optimizer(module.parameters(), lr=lr)

    @property
    def inputs(self) -> tuple[str, ...]:
        return ("inputs", "task") if isinstance(self.module, TaskNetwork) else ("inputs",)

    replayable = True

    def with_task(self, batch: Batch, task: int | Tensor) -> Batch:
        if not isinstance(self.module, TaskNetwork):
            return batch
        rows = len(next(iter(batch.values())))
        return batch | {"task": torch.as_tensor(task).expand(rows)}

    def predict(self, batch: Batch) -> Distribution:
        if "task" in batch:
            return self.distribution(self.module(batch["inputs"], batch["task"])[0])
        return self.distribution(self.module(batch["inputs"]))

    def loss(self, batch: Batch) -> Tensor:
        return -self.predict(batch).log_prob(batch["labels"]).mean()


class StreamLearner:
    """Learns one labelled data set after the other."""

    def __init__(self, *components: Predictor, tasks: list[Batch], batch_size: int = 32) -> None:
        self.components = {component.name: component for component in components}
        self.num_tasks = len(tasks)
        self.tasks = tasks
        self.task_id = 0
        self.method: ContinualMethod | None = None
        self.batch_size = batch_size

    def task_data(self, batch_size: int = 1024) -> Iterator[Batch]:
        data = self.tasks[self.task_id]
        for first in range(0, len(data["inputs"]), batch_size):
            yield {key: value[first : first + batch_size] for key, value in data.items()}

    def learn_task(self, task_id: int, method: ContinualMethod | None, steps: int) -> None:
        self.task_id = task_id
        torch.manual_seed(task_id)
        if method is not None:
            method.begin_task(self, task_id)
        self.method = method
        self.rehearse(steps)
        if method is not None:
            method.end_task(self, task_id)

    def rehearse(self, updates: int) -> None:
        data = self.tasks[self.task_id]
        for _ in range(updates):
            rows = torch.randint(len(data["inputs"]), (self.batch_size,))
            batch = {key: value[rows] for key, value in data.items()}
            for component in self.components.values():
                gradient_step(component, batch, self.method)

    def accuracy(self, task_id: int) -> float:
        data = self.tasks[task_id]
        (component,) = self.components.values()
        return float((component.predict(data).mode == data["labels"]).float().mean())


def classification_tasks(num_tasks: int = 3, n: int = 256) -> list[Batch]:
    """Two classes in the plane: opposite quadrants, turned a little further by each task."""
    generator = torch.Generator().manual_seed(7)
    tasks = []
    for task_id in range(num_tasks):
        inputs = torch.randn(n, 2, generator=generator)
        angle = torch.atan2(inputs[:, 1], inputs[:, 0]) + task_id * torch.pi / 4
        labels = (torch.sin(2 * angle) > 0).long()
        tasks.append({"inputs": inputs, "labels": labels, "task": torch.full((n,), task_id)})
    return tasks


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """More threads only get into each other's way on matrices this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def predictor() -> type[Predictor]:
    return Predictor


@pytest.fixture
def stream_learner() -> type[StreamLearner]:
    return StreamLearner


@pytest.fixture
def distributions() -> dict[str, Callable[[Tensor], Distribution]]:
    return {"categorical": categorical, "unit_normal": unit_normal}


@pytest.fixture
def classifier() -> Callable[..., StreamLearner]:
    """Make a learner of `classification_tasks` with the network that `method` builds."""

    def build(
        method: ContinualMethod | None, num_tasks: int = 3, hidden: tuple[int, ...] = (16, 16)
    ) -> StreamLearner:
        torch.manual_seed(0)
        spec = NetworkSpec(2, hidden, (2,), num_tasks=num_tasks)
        network = method.build_network(spec) if method is not None else MultiHeadMLP(spec)
        component = Predictor(network, categorical, optimizer=torch.optim.Adam, lr=1e-2)
        return StreamLearner(component, tasks=classification_tasks(num_tasks))

    return build
