"""Predictions as plain tensors, for methods that remember or compare them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, Normal

from lifelong_rl.learning.protocols import Batch


def to_tensors(prediction: Distribution) -> Batch:
    """The parameters of a prediction, (n, ...) each, detached.

    Args:
        prediction: `Categorical`, or `Independent` of `Normal` over a vector.

    Raises:
        TypeError: A distribution of another kind.
    """
    base = prediction.base_dist if isinstance(prediction, Independent) else prediction
    if isinstance(base, Normal):
        return {"loc": base.loc.detach(), "scale": base.scale.detach()}
    if isinstance(base, Categorical):
        return {"logits": base.logits.detach()}
    raise TypeError(f"cannot keep a prediction of the kind {type(base).__name__}")


def from_tensors(parameters: Batch) -> Distribution:
    """Undo `to_tensors`."""
    if "logits" in parameters:
        return Categorical(logits=parameters["logits"], validate_args=False)
    normal = Normal(parameters["loc"], parameters["scale"], validate_args=False)
    return Independent(normal, 1, validate_args=False)


def outputs(prediction: Distribution) -> Tensor:
    """What the network puts out for each row, (n, k), with its gradient.

    Means and log standard deviations of a Gaussian; log probabilities of a categorical.
    """
    base = prediction.base_dist if isinstance(prediction, Independent) else prediction
    if isinstance(base, Normal):
        return torch.cat([base.loc, base.scale.log()], dim=-1)
    if isinstance(base, Categorical):
        logits: Tensor = base.logits
        return logits
    raise TypeError(f"cannot read the outputs of a {type(base).__name__}")
