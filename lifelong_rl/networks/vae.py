"""A small conditional variational autoencoder of feature rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MIN_LOG_SCALE = (
    -4.0
)  # features that are a function of the others would make the likelihood infinite


class ConditionalVAE(nn.Module):
    """p(x | z, c) = N(μ(z, c), diag σ²), z ~ N(0, 1), with x in standard units and c a one-hot.

    The scales σ are learned, one for each feature, so the likelihood needs no weight (Rybkin et
    al. 2021).

    Args:
        features: Entries of a row x.
        conditions: Length of c.
        latent: Entries of z.
        hidden: Units of the two hidden layers of encoder and decoder.

    References:
        Kingma & Welling 2014, Auto-encoding variational Bayes, eq. 10.
        Sohn et al. 2015, Learning structured output representation using deep conditional
        generative models.
        Rybkin et al. 2021, Simple and effective VAE training with calibrated decoders.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int, conditions: int, latent: int, hidden: int) -> None:
        super().__init__()
        self.latent = latent
        self.encoder = _mlp(features + conditions, hidden, 2 * latent)
        self.decoder = _mlp(latent + conditions, hidden, features)
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def standardise(self, rows: Tensor) -> None:
        """Make the mean and scale of rows (n, features) the standard units."""
        self.mean.copy_(rows.mean(dim=0))
        self.scale.copy_(rows.std(dim=0).clamp(min=1e-6))

    def loss(self, rows: Tensor, condition: Tensor) -> Tensor:
        """Negative evidence lower bound, up to a constant.

        Args:
            rows: x, (n, features), in their own units.
            condition: c, (n, conditions).

        Returns:
            The mean over rows, a scalar.
        """
        x = (rows - self.mean) / self.scale
        mean, log_std = self.encoder(torch.cat([x, condition], dim=1)).chunk(2, dim=1)
        z = torch.addcmul(mean, log_std.exp(), torch.randn_like(mean))
        log_scale = self.log_scale.clamp(min=MIN_LOG_SCALE)
        decoded = self.decoder(torch.cat([z, condition], dim=1))
        errors = 0.5 * ((x - decoded) / log_scale.exp()).square() + log_scale
        divergence = 0.5 * (mean.square() + (2 * log_std).exp() - 1) - log_std
        bound: Tensor = errors.sum(dim=1).mean() + divergence.sum(dim=1).mean()
        return bound

    @torch.no_grad()
    def sample(self, condition: Tensor) -> Tensor:
        """A row for each condition (n, conditions), noise included: (n, features)."""
        z = torch.randn(len(condition), self.latent, device=condition.device)
        decoded = self.decoder(torch.cat([z, condition], dim=1))
        scale = self.log_scale.clamp(min=MIN_LOG_SCALE).exp()
        rows: Tensor = self.mean + self.scale * (decoded + scale * torch.randn_like(decoded))
        return rows


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, outputs),
    )
