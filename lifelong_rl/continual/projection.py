"""Projections of gradients: pure functions of vectors and matrices."""

from __future__ import annotations

from importlib import import_module

import torch
from torch import Tensor

from lifelong_rl.errors import UserError

CHUNK = 8192
"""Entries of gradients that are held in double precision at once: what the cache has room for."""


def project_agem(gradient: Tensor, reference: Tensor) -> Tensor:
    """The nearest vector to `gradient` that does not point against `reference`.

    g − min(0, g·r) / (r·r) r (Chaudhry et al. 2019, eq. 11): to first order a step along it does
    not increase the loss whose gradient is r. Without conflict g comes back as it is.

    Args:
        gradient: g, (p,).
        reference: r, (p,).

    Returns:
        (p,).
    """
    conflict = torch.dot(gradient, reference).clamp(max=0)
    # If r is zero so is the conflict; the least positive number keeps 0 / 0 away.
    length = torch.dot(reference, reference).clamp(min=torch.finfo(reference.dtype).tiny)
    return torch.addcmul(gradient, reference, conflict / length, value=-1)


def project_gem(gradient: Tensor, references: Tensor, margin: float = 0.0) -> Tensor:
    """The nearest vector to `gradient` that does not point against any of `references`.

    g + Rᵀv with v the solution of the dual problem min ½ vᵀRRᵀv + (Rg)ᵀv subject to v ≥ margin
    (Lopez-Paz & Ranzato 2017, section 3, eq. 11). Without conflict g comes back as it is.

    Args:
        gradient: g, (p,).
        references: R, one reference gradient a row, (k, p).
        margin: γ ≥ 0, the least weight of each reference if there is a conflict.

    Returns:
        (p,).

    Raises:
        UserError: The package quadprog is not installed.
    """
    try:
        quadprog = import_module("quadprog")  # it has no types, and only GEM needs it
    except ImportError as error:
        raise UserError("GEM needs the package quadprog: pip install quadprog") from error
    products, gram = _products(references.cpu(), gradient.cpu())
    if not products.isfinite().all():
        return torch.full_like(gradient, torch.nan)  # as A-GEM's formula would give
    if (products >= 0).all():
        return gradient
    # Gradients of unit length keep the problem well conditioned; the tiny diagonal keeps it
    # strictly convex where references depend on each other.
    tiny = torch.finfo(torch.float64).tiny
    lengths = gram.diagonal().sqrt().clamp(min=tiny)
    scale = gradient.cpu().double().norm()
    identity = torch.eye(len(gram), dtype=torch.float64)
    weights = quadprog.solve_qp(
        (gram / lengths / lengths.unsqueeze(1) + 1e-10 * identity).numpy(),
        (-products / (lengths * scale)).numpy(),
        identity.numpy(),
        (margin * lengths / scale).numpy(),
    )[0]
    shares = torch.where(lengths > tiny, scale * torch.from_numpy(weights) / lengths, 0.0)
    correction = torch.cat(
        [shares @ part.double() for part in torch.split(references.cpu(), CHUNK, 1)]
    )
    return gradient + correction.to(gradient)


def _products(references: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Rg, (k,), and RRᵀ, (k, k), in double precision, without a copy of R in it.

    Args:
        references: R, (k, p).
        gradient: g, (p,).
    """
    products = torch.zeros(len(references), dtype=torch.float64)
    gram = torch.zeros(len(references), len(references), dtype=torch.float64)
    for part, of_part in zip(
        torch.split(references, CHUNK, 1), torch.split(gradient, CHUNK), strict=True
    ):
        exact = part.double()
        products.addmv_(exact, of_part.double())
        gram.addmm_(exact, exact.T)
    return products, gram


def orthogonalise(gradient: Tensor, basis: Tensor) -> Tensor:
    """What is left of `gradient` outside the span of `basis`.

    g − Σ_b (g·b) b (Farajtabar et al. 2020, algorithm 1).

    Args:
        gradient: g, (p,).
        basis: Orthonormal rows, (k, p).

    Returns:
        (p,).
    """
    return torch.addmv(gradient, basis.T, basis @ gradient, alpha=-1)


def extend_basis(basis: Tensor, new: Tensor) -> Tensor:
    """An orthonormal basis of the span of `basis` and `new` whose first rows are `basis`.

    It is computed on the CPU, in float64, which not every device has.

    Args:
        basis: Orthonormal rows, (k, p).
        new: Any rows, (m, p); those of zeros and those in the span already add nothing.

    Returns:
        (k + at most m, p).
    """
    rows = new[new.norm(dim=1) > 0].cpu().double()
    units = rows / rows.norm(dim=1, keepdim=True)
    exact = basis.cpu().double()
    for _ in range(2):  # once leaves rounding errors
        units = units - units @ exact.T @ exact
    # Singular vectors, unlike Gram-Schmidt, tell what of nearly dependent rows is noise.
    _, lengths, directions = torch.linalg.svd(units, full_matrices=False)
    return torch.cat([basis, directions[lengths > 1e-5].to(basis)])


def add_curvature(inverse: Tensor, curvature: Tensor) -> Tensor:
    """(A + C)⁻¹, given A⁻¹: (I + A⁻¹C)⁻¹ A⁻¹, a step of recursive least squares.

    Args:
        inverse: A⁻¹, symmetric positive definite, (..., d, d).
        curvature: C, symmetric positive semidefinite, (..., d, d).

    Returns:
        Symmetric, (..., d, d).
    """
    identity = torch.eye(inverse.shape[-1], dtype=inverse.dtype, device=inverse.device)
    updated: Tensor = torch.linalg.solve(identity + inverse @ curvature, inverse)
    return ((updated + updated.mT) / 2).contiguous()
