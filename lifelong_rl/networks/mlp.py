"""Multi-layer perceptron with one output head per task, several copies evaluated at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong_rl.networks.spec import NetworkSpec, TaskNetwork, one_task, tasks_of_rows

ALL = slice(None)
PARAMETERS = {"weight": None, "bias": None}.keys()
layer_norm_backward = torch.ops.aten.native_layer_norm_backward.default
tanh_backward = torch.ops.aten.tanh_backward.grad_input
threshold_backward = torch.ops.aten.threshold_backward.grad_input


class StackedLinear(nn.Module):
    """`copies` linear layers side by side, each initialised as `nn.Linear` is.

    Twin critics run as one batched matrix product in place of two small ones.

    Args:
        layers: For each copy, the `nn.Linear` layers whose outputs are concatenated.
    """

    def __init__(self, layers: Sequence[Sequence[nn.Linear]]) -> None:
        super().__init__()
        self.weight = nn.Parameter(
            torch.stack([torch.cat([part.weight.detach() for part in copy]) for copy in layers])
        )
        self.bias = nn.Parameter(
            torch.stack([torch.cat([part.bias.detach() for part in copy]) for copy in layers])
        )

    def forward(self, inputs: Tensor, rows: slice = ALL) -> Tensor:
        """Map (n, in), shared by all copies, or (copies, n, in) to (copies, n, out).

        Args:
            inputs: Rows.
            rows: Which of the outputs are asked for.
        """
        return _linear(inputs, self.weight[:, rows], self.bias[:, rows])


class StackedLayerNorm(nn.Module):
    """Layer normalisation with a scale and shift for each copy."""

    def __init__(self, copies: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(copies, 1, dim))
        self.bias = nn.Parameter(torch.zeros(copies, 1, dim))
        # scale 1 and shift 0: torch normalises at half the speed where it is given none
        self.plain = torch.ones(dim), torch.zeros(dim)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> StackedLayerNorm:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.plain = fn(self.plain[0]), fn(self.plain[1])
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise (copies, n, dim) over its last axis."""
        normal: Tensor = F.layer_norm(inputs, inputs.shape[-1:], *self.plain)
        return torch.addcmul(self.bias, normal, self.weight)


class Trace(NamedTuple):
    """What `MultiHeadMLP.trace` keeps for `MultiHeadMLP.pull`.

    Attributes:
        inputs: As given, (n, in).
        head: The task of all rows of inputs, or of each, (n,) of int64.
        normed: What the norm is given, and what it makes of that before scale and shift, (copies,
            n, units); mean and 1 / standard deviation of each row, (copies, n, 1). Empty without a
            norm.
        features: Activations of each hidden layer, (copies, n, units).
    """

    inputs: Tensor
    head: int | Tensor
    normed: tuple[Tensor, ...]
    features: list[Tensor]

    def first(self, n: int) -> Trace:
        """The same for the first `n` rows."""
        return Trace(
            self.inputs.narrow(0, 0, n),
            self.head if isinstance(self.head, int) else self.head.narrow(0, 0, n),
            tuple([part.narrow(1, 0, n) for part in self.normed]),
            [part.narrow(1, 0, n) for part in self.features],
        )


class MultiHeadMLP(TaskNetwork):
    """A trunk shared by all tasks and a linear head per task (Wolczyk et al. 2021, section 4).

    Initialised in the order of Stable-Baselines3's actor and critics, so that with one task the
    same seed gives the same network.

    Args:
        spec: The shape.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        shapes = [*zip((spec.input_dim, *spec.features), spec.hidden, strict=False)]
        read = spec.features[-1] if spec.hidden else spec.input_dim
        hidden, heads = [], []
        for _ in range(spec.copies):
            hidden.append([nn.Linear(a, b) for a, b in shapes])
            heads.append(
                [nn.Linear(read, out) for _ in range(spec.num_tasks) for out in spec.outputs]
            )
        self.hidden = nn.ModuleList(
            StackedLinear([[copy[depth]] for copy in hidden]) for depth in range(len(spec.hidden))
        )
        self.heads = StackedLinear(heads)
        self.norm = (
            StackedLayerNorm(spec.copies, spec.hidden[0]) if spec.layer_norm is True else None
        )
        self.norms = nn.ModuleList(
            StackedLayerNorm(spec.copies, units)
            for units in (spec.hidden if spec.layer_norm == "every" else ())
        )
        self.activation: Callable[[Tensor], Tensor] = spec.activation()

    @property
    def hidden_layers(self) -> list[StackedLinear]:
        """The hidden layers; in classes that make them of another kind, these."""
        return [cast(StackedLinear, layer) for layer in self.hidden]

    def forward(self, inputs: Tensor, task: Tensor | None = None) -> Tensor:
        """Evaluate every copy on every row; see `TaskNetwork`."""
        if not torch.is_grad_enabled() and self.traceable:
            return self.trace(inputs, task)[0]
        x = inputs
        for depth, layer in enumerate(self.hidden):
            x = self.activate(depth, layer(x))
        return self.head(x, task)

    def head(self, features: Tensor, task: Tensor | None) -> Tensor:
        """What each row's head makes of the last layer's features: (copies, n, out)."""
        tasks = self.spec.num_tasks
        index = None if tasks == 1 else one_task(task, tasks)
        if index is None:
            return select_head(self.heads(features), task, tasks)
        outputs: Tensor = self.heads(features, self.rows_of_head(index))
        return outputs

    def activate(self, depth: int, x: Tensor) -> Tensor:
        """What follows hidden layer `depth`, on (copies, n, units)."""
        if depth == 0 and self.norm is not None:
            normal: Tensor = self.norm(x)
            return normal.tanh_()
        return self.activation(self.norms[depth](x) if len(self.norms) else x)

    def norm_after(self, depth: int) -> StackedLayerNorm | None:
        """The LayerNorm between hidden layer `depth` and its activation, if there is one."""
        if len(self.norms):
            return cast(StackedLayerNorm, self.norms[depth])
        return self.norm if depth == 0 else None

    @property
    def traceable(self) -> bool:
        """Whether `trace` and `pull` compute what `forward` and autograd would.

        They do not where a part is another than this class makes it, is used twice, or has hooks.
        """
        if type(self) is not MultiHeadMLP or type(self.activation) is not nn.ReLU:
            return False
        if len(self.norms):
            return False
        layers, heads, norm = self._parts
        if is_hooked(self) or (norm is not None and type(norm) is not StackedLayerNorm):
            return False
        own: list[nn.Parameter | None] = []
        for part in (*layers, heads, norm):
            if part is None:
                continue
            found = part._parameters
            made_here = part is norm or type(part) is StackedLinear
            if not made_here or is_hooked(part) or found.keys() != PARAMETERS:
                return False
            own += found.values()
        if any([parameter is None or parameter._backward_hooks for parameter in own]):
            return False
        return len(set(map(id, own))) == len(own)

    @property
    def _parts(self) -> tuple[list[StackedLinear], StackedLinear, StackedLayerNorm | None]:
        """Hidden layers, heads and norm, without all that `nn.Module` does at each look."""
        parts: Any = self._modules
        return list(parts["hidden"]._modules.values()), parts["heads"], parts.get("norm")

    def trace(self, inputs: Tensor, task: Tensor | None) -> tuple[Tensor, Trace]:
        """Evaluate every copy on every row, and keep what `pull` needs.

        Args:
            inputs: (n, in).
            task: As for `forward`.

        Returns:
            (copies, n, out), without a graph, and what to pull gradients back through.
        """
        x, features = inputs, []
        normed: tuple[Tensor, ...] = ()
        layers, heads, norm = self._parts
        for depth, layer in enumerate(layers):
            x = _linear(x, layer.weight, layer.bias)
            if depth == 0 and norm is not None:
                made = torch.native_layer_norm(x, x.shape[-1:], *norm.plain, EPSILON)
                normed = (x, *made)
                x = torch.addcmul(norm.bias, made[0], norm.weight).tanh_()
            else:
                x = x.relu_()
            features.append(x)
        tasks = self.spec.num_tasks
        weight: Tensor = heads.weight
        bias: Tensor = heads.bias
        index = one_task(task, tasks)
        if index is None:
            outputs = select_head(_linear(x, weight, bias), task, tasks)
            assert task is not None
            return outputs, Trace(inputs, task, normed, features)
        if tasks > 1:
            first, size = self.rows_of_head(index).start, self.spec.output_dim
            weight, bias = weight.narrow(1, first, size), bias.narrow(1, first, size)
        return _linear(x, weight, bias), Trace(inputs, index, normed, features)

    def pull(
        self, trace: Trace, gradient: Tensor, *, parameters: bool = True, inputs: bool = False
    ) -> tuple[list[tuple[nn.Parameter, Tensor]], Tensor | None]:
        """Pull the gradient of a loss with respect to the outputs back through the network.

        Args:
            trace: Of the outputs.
            gradient: (copies, n, out).
            parameters: Whether the parameters' gradients are asked for.
            inputs: Whether the inputs' gradient is.

        Returns:
            Each parameter and its gradient, none if they are not asked for; and the inputs'
            gradient (n, in), summed over the copies, or None.
        """
        found: list[tuple[nn.Parameter, Tensor]] = []
        layers, heads, norm = self._parts
        tasks = self.spec.num_tasks
        weight: Tensor = heads.weight
        known: tuple[int, int] | None = None  # first output of the task's head, and their number
        if isinstance(trace.head, Tensor):
            gradient = spread_over_heads(gradient, trace.head, tasks)
        elif tasks > 1:
            known = self.rows_of_head(trace.head).start, self.spec.output_dim
        if parameters:
            of_weight = torch.bmm(gradient.mT, trace.features[-1])
            of_bias = gradient.sum(dim=1)
            if known is not None:
                of_one_weight, of_one_bias = of_weight, of_bias
                of_weight, of_bias = torch.zeros_like(weight), torch.zeros_like(heads.bias)
                of_weight.narrow(1, *known).copy_(of_one_weight)
                of_bias.narrow(1, *known).copy_(of_one_bias)
            found += [(heads.weight, of_weight), (heads.bias, of_bias)]
        if known is not None:
            weight = weight.narrow(1, *known)
        for depth in range(len(layers) - 1, -1, -1):
            gradient = torch.bmm(gradient, weight)
            features = trace.features[depth]
            if depth == 0 and norm is not None:
                given, normal, mean, rstd = trace.normed
                gradient = tanh_backward(gradient, features, grad_input=gradient)
                if parameters:
                    of_scale = (gradient * normal).sum(dim=1, keepdim=True)
                    found.append((norm.weight, of_scale))
                    found.append((norm.bias, gradient.sum(dim=1, keepdim=True)))
                gradient = layer_norm_backward(
                    gradient.mul_(norm.weight),
                    given,
                    given.shape[-1:],
                    mean,
                    rstd,
                    *norm.plain,
                    (True, False, False),
                )[0]
            else:
                gradient = threshold_backward(gradient, features, 0, grad_input=gradient)
            layer = layers[depth]
            weight = layer.weight
            if parameters:
                if depth:
                    below = trace.features[depth - 1]
                else:
                    below = trace.inputs.expand(weight.shape[0], -1, -1)
                found.append((layer.weight, torch.bmm(gradient.mT, below)))
                found.append((layer.bias, gradient.sum(dim=1)))
        of_inputs = torch.bmm(gradient, weight).sum(dim=0) if inputs else None
        return found, of_inputs

    def rows_of_head(self, task: int) -> slice:
        """Which outputs of all heads are a task's."""
        return slice(task * self.spec.output_dim, (task + 1) * self.spec.output_dim)


EPSILON = 1e-5  # of LayerNorm


def _linear(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Map (n, in) or (copies, n, in) by (copies, out, in) and (copies, out)."""
    stacked = inputs.expand(weight.shape[0], -1, -1) if inputs.ndim == 2 else inputs
    return torch.baddbmm(bias.unsqueeze(1), stacked, weight.mT)


def is_hooked(module: nn.Module) -> bool:
    """Whether somebody looks on while a module is evaluated."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def select_head(outputs: Tensor, task: Tensor | None, num_tasks: int) -> Tensor:
    """Pick each row's head.

    Args:
        outputs: All heads side by side, (copies, n, num_tasks * out).
        task: Of each row, (n,) of int64; None only with one task.
        num_tasks: Number of heads.

    Returns:
        (copies, n, out).
    """
    task = tasks_of_rows(task, num_tasks)
    if task is None:
        return outputs
    # Rows first, so that gradients lie row by row in memory and are summed over rows in that order:
    # runs of versions that multiplied with a one-hot are repeated to the last bit.
    heads = outputs.unflatten(-1, (num_tasks, -1)).transpose(0, 1)  # type: ignore[no-untyped-call]
    index = task.view(-1, 1, 1, 1).expand(*heads.shape[:2], 1, heads.shape[3])
    # not take_along_dim, which gives task 7 of 5 the head of task 2
    chosen: Tensor = heads.gather(2, index)
    return chosen.squeeze(2).transpose(0, 1)


def spread_over_heads(chosen: Tensor, task: Tensor, num_tasks: int) -> Tensor:
    """The gradient by all heads' outputs, given that by what `select_head` picked of them.

    Args:
        chosen: (copies, n, out).
        task: Of each row, (n,) of int64.
        num_tasks: Number of heads.

    Returns:
        (copies, n, num_tasks * out).
    """
    copies, n, out = chosen.shape
    every = chosen.new_zeros(copies, n, num_tasks, out)
    index = task.view(1, n, 1, 1).expand(copies, n, 1, out)
    return every.scatter_(2, index, chosen.unsqueeze(2)).view(copies, n, -1)
