"""Dataset condensation: a few rows whose gradients are those of many (Zhao et al. 2021).

References:
    Zhao, Mopuri & Bilen 2021, Dataset condensation with gradient matching.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributions import Categorical
from torch.func import grad, vmap

from lifelong_rl.continual.functional import call_with
from lifelong_rl.continual.initial import redraw
from lifelong_rl.errors import UserError
from lifelong_rl.learning.protocols import Batch, Component, Learner, ParamDict
from lifelong_rl.learning.rows import count_rows, join_rows, take_rows

UPDATES_PER_NETWORK = 10
"""T: updates of the rows before the next random network (authors' code, for 10 rows a class)."""
NETWORK_STEPS = 10
"""ς_θ: gradient steps of the network on the rows between two of their updates (untuned; authors'
code: 1 for one row a class, 50 for 10 rows)."""
NETWORK_RATE = 0.01
"""η_θ: step size of the network (authors' code)."""
MOMENTUM = 0.5
"""Of the descents of rows and network (authors' code)."""
REAL_ROWS = 256
"""Real rows of a class in each gradient, drawn with replacement (authors' code)."""


def gradient_distance(synthetic: Mapping[str, Tensor], real: Mapping[str, Tensor]) -> Tensor:
    """How far two gradients point into different directions, node by node (eq. 10).

    D = Σ_layers Σ_nodes 1 − ⟨a_i, b_i⟩ / (‖a_i‖ ‖b_i‖), with a_i and b_i what the gradients say of
    the weights that lead into output node i of the layer. Biases and the scales of norms are left
    out, as in the authors' code. Beyond it: a node that the real gradient leaves where it is, such
    as one of another task's head, has no direction to match and is left out too, so that equal
    gradients are at distance 0. Where the synthetic one alone is 0, the node is at distance 1.

    Args:
        synthetic: Gradient by name of parameter, of their shapes.
        real: The other, by the same names.

    Returns:
        A scalar in [0, 2 × number of nodes], but for rounding.
    """
    total = next(iter(synthetic.values())).new_zeros(())
    for name, gradient in synthetic.items():
        if is_weight(name, gradient):
            ours, theirs = by_node(gradient), by_node(real[name])
            length = torch.linalg.vector_norm(theirs, dim=1)
            product = torch.linalg.vector_norm(ours, dim=1) * length
            cosine = (ours * theirs).sum(dim=1) / torch.where(product > 0, product, 1)
            total = total + ((1 - cosine) * (length > 0)).sum()
    return total


def is_weight(name: str, values: Tensor) -> bool:
    """Whether a parameter has a row for each of several output nodes: no bias, no scale."""
    return not name.endswith("bias") and values.numel() > values.shape[-1]


def by_node(weight: Tensor) -> Tensor:
    """The weights that lead into each output node, (nodes, inputs).

    Args:
        weight: (..., out, in) of a linear layer, or (out, in, height, width) of a convolution.
    """
    return weight.flatten(1) if weight.ndim == 4 else weight.flatten(0, -2)


def check_condensable(learner: Learner, components: Mapping[str, Component], method: str) -> int:
    """Refuse what rows cannot be learned for; called when a task begins.

    Args:
        learner: Has the task's data.
        components: Those that the method acts on.
        method: What to call it in an error.

    Returns:
        How many classes the task has.

    Raises:
        UserError: There is no labelled data, nothing or more than one component learns from it,
            or its rows hold more than a component's inputs and labels.
    """
    first = next(iter(learner.task_data(1)), {})
    of_classes = [
        component
        for component in components.values()
        if "labels" in first and isinstance(component.predict(first), Categorical)
    ]
    if len(of_classes) != 1 or len(components) != 1:
        raise UserError(
            f"{method} with keep=distilled needs one network that predicts classes, and labelled "
            "data that is there when a task begins, such as that of the agent 'classifier'"
        )
    more = sorted(set(first) - {*of_classes[0].inputs, "labels"})
    if more:
        raise UserError(
            f"{method} with keep=distilled learns rows and their labels, and rows here hold "
            f"{', '.join(more)} too; take keep=real, or an objective without unlabelled rows"
        )
    stream = learner.task_data()
    read: list[Batch] = [
        {key: batch[key] for key in ("task", "labels") if key in batch} for batch in stream
    ]
    return num_classes(join_rows(read))


def class_of_rows(rows: Batch) -> Tensor:
    """The class of each row as a number from 0 on, (n,); those of two tasks are different ones."""
    labels = rows["labels"]
    told = torch.stack([rows.get("task", torch.zeros_like(labels)), labels], dim=1)
    found: Tensor = torch.unique(told, dim=0, return_inverse=True)[1]
    return found


def num_classes(rows: Batch) -> int:
    """How many classes rows are of, (n, ...)."""
    return int(class_of_rows(rows).max()) + 1


def condense(
    component: Component, rows: Batch, per_class: int, *, updates: int, learning_rate: float
) -> Batch:
    """Learn a few rows of each class that move a network as all rows of the class do.

    Algorithm 1 of the paper. Each class begins with rows drawn from it. Again and again a random
    network is taken, and in turn the rows are moved, to bring the gradient of their loss nearer to
    that of real rows, class by class and by `gradient_distance`, and the network learns from them.
    What is moved are the inputs of the component that are no whole numbers; labels stay. A class
    with no more rows than asked for keeps all of them as they are.

    Random numbers come from torch's global generator. The component's module is left as it is: a
    random network has its values in a random order (`initial.redraw`), where the paper draws
    initial ones, which would have to be kept.

    Args:
        component: Predicts classes; its loss is differentiated twice.
        rows: Of a task, (n, ...), with "labels" (n,) of int64.
        per_class: N, rows of each class, at least 1.
        updates: Of the rows; with 0 they are those that were drawn.
        learning_rate: η_S, step size of the rows.

    Returns:
        Rows (m, ...) with the entries of `rows`, class by class, at most N of each.
    """
    number = class_of_rows(rows)
    of_class = [(number == k).nonzero().squeeze(1) for k in range(num_classes(rows))]
    shuffled = [take_rows(rows, own[torch.randperm(len(own)).to(own.device)]) for own in of_class]
    begun = [{key: values[:per_class] for key, values in each.items()} for each in shuffled]
    larger = [k for k, own in enumerate(of_class) if len(own) > per_class]
    if larger and updates:
        synthetic = {key: torch.stack([begun[k][key] for k in larger]) for key in rows}
        _match(component, synthetic, [shuffled[k] for k in larger], updates, learning_rate)
        for position, k in enumerate(larger):
            begun[k] = {key: values[position].detach() for key, values in synthetic.items()}
    return {key: torch.cat([each[key] for each in begun]) for key in rows}


def _match(
    component: Component, synthetic: Batch, real: list[Batch], updates: int, learning_rate: float
) -> None:
    """Move the inputs of synthetic rows, (C, N, ...), as `condense` says; in place."""
    inputs = [synthetic[key] for key in component.inputs if synthetic[key].is_floating_point()]
    for values in inputs:
        values.requires_grad_()
    descent = _Descent(inputs, learning_rate)
    training = component.module.training
    component.module.train()
    try:
        network = _RandomNetwork(component)
        for update in range(updates):
            if update % UPDATES_PER_NETWORK:
                network.learn(synthetic)
            elif update:
                network = _RandomNetwork(component)
            sizes = [count_rows([rows]) for rows in real]
            drawn = [
                take_rows(rows, torch.randint(size, (REAL_ROWS,)))
                for rows, size in zip(real, sizes, strict=True)
            ]
            batch = {key: torch.stack([rows[key] for rows in drawn]) for key in synthetic}
            found, wanted = network.gradients(synthetic), network.gradients(batch)
            distance = vmap(gradient_distance)(found, wanted).sum()
            descent.go(distance)
    finally:
        component.module.train(training)


class _Descent:
    """Gradient descent with `MOMENTUM` on tensors that no component has.

    Args:
        values: What is moved, in place.
        rate: Step size.
    """

    def __init__(self, values: list[Tensor], rate: float) -> None:
        self._values, self._rate = values, rate
        self._velocities = [torch.zeros_like(value) for value in values]

    def go(self, loss: Tensor) -> None:
        """Take a step down the gradient of a loss."""
        found = torch.autograd.grad(loss, self._values)
        with torch.no_grad():
            for value, velocity, gradient in zip(
                self._values, self._velocities, found, strict=True
            ):
                velocity.mul_(MOMENTUM).add_(gradient)
                value.sub_(velocity, alpha=self._rate)


class _RandomNetwork:
    """The component with other parameters, which learn on their own.

    Args:
        component: Its module is left as it is.
    """

    def __init__(self, component: Component) -> None:
        self._component = component
        self._parameters = {
            name: redraw(value.detach()).requires_grad_()
            for name, value in component.module.named_parameters()
        }
        self._descent = _Descent([*self._parameters.values()], NETWORK_RATE)

    def gradients(self, rows: Batch) -> ParamDict:
        """The gradient of each class's loss, (C, ...), for rows (C, n, ...)."""
        fixed = {name: value.detach() for name, value in self._parameters.items()}
        of_each = vmap(grad(self._loss), in_dims=(None, 0), randomness="different")
        found: ParamDict = of_each(fixed, rows)
        return found

    def learn(self, rows: Batch) -> None:
        """Take gradient steps on the rows of all classes, (C, n, ...), together."""
        batch = {key: values.detach().flatten(0, 1) for key, values in rows.items()}
        for _ in range(NETWORK_STEPS):
            self._descent.go(self._loss(self._parameters, batch))

    def _loss(self, parameters: ParamDict, rows: Batch) -> Tensor:
        return call_with(self._component, parameters, self._component.loss, rows)
