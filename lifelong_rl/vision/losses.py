"""Self-supervised losses as pure functions of embeddings; no state, no networks.

Wherever similarity is a cosine, the functions normalise the embeddings themselves. `excluded` is a
mask of pairs that are no negatives of each other, such as frames of one episode a moment apart; a
pair that is positive stays so whatever the mask says.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def nt_xent(
    first: Tensor, second: Tensor, temperature: float, excluded: Tensor | None = None
) -> Tensor:
    """Normalised, temperature-scaled cross-entropy over 2n views (Chen et al. 2020, eq. 1).

    −log( e^{s(i, i⁺)/τ} / Σ_{k≠i} e^{s(i, k)/τ} ), averaged over all 2n views i. When all
    embeddings are equal it is log(2n − 1).

    Args:
        first: A view of each sample, (n, d).
        second: Another view of each, (n, d).
        temperature: τ.
        excluded: Samples that are no negatives of each other, (n, n) bool.
    """
    n = len(first)
    views = F.normalize(torch.cat([first, second]), dim=1)
    logits = views @ views.T / temperature
    hidden = torch.eye(2 * n, dtype=torch.bool, device=logits.device)
    positive = torch.arange(2 * n, device=logits.device).roll(n)
    if excluded is not None:
        hidden |= excluded.repeat(2, 2)
        hidden[torch.arange(2 * n, device=logits.device), positive] = False
    return F.cross_entropy(logits.masked_fill(hidden, -torch.inf), positive)


def info_nce(
    queries: Tensor,
    keys: Tensor,
    negatives: Tensor,
    temperature: float,
    excluded: Tensor | None = None,
) -> Tensor:
    """Contrast with negatives from elsewhere (He et al. 2020, eq. 1).

    −log( e^{q·k⁺/τ} / (e^{q·k⁺/τ} + Σ_j e^{q·k_j/τ}) ). When all embeddings are equal it is
    log(m + 1).

    Args:
        queries: (n, d).
        keys: The positive of each query, (n, d).
        negatives: (m, d), shared by all queries.
        temperature: τ.
        excluded: Which are no negatives of which query, (n, m) bool.
    """
    queries = F.normalize(queries, dim=1)
    positive = (queries * F.normalize(keys, dim=1)).sum(dim=1, keepdim=True)
    negative = queries @ F.normalize(negatives, dim=1).T
    if excluded is not None:
        negative = negative.masked_fill(excluded, -torch.inf)
    logits = torch.cat([positive, negative], dim=1) / temperature
    return F.cross_entropy(logits, _zeros(queries))


def instance_discrimination(
    embeddings: Tensor,
    bank: Tensor,
    index: Tensor,
    temperature: float,
    excluded: Tensor | None = None,
) -> Tensor:
    """Non-parametric softmax over a memory bank, exact (Wu et al. 2018, eq. 2).

    −log( e^{v_i·f/τ} / Σ_j e^{v_j·f/τ} ). When the bank's m rows are equal it is log m.

    Args:
        embeddings: f, (n, d).
        bank: v, an embedding of every sample, (m, d).
        index: Which row of the bank is the sample's own, (n,).
        temperature: τ.
        excluded: Which rows are no negatives of which sample, (n, m) bool.
    """
    logits = F.normalize(embeddings, dim=1) @ F.normalize(bank, dim=1).T / temperature
    if excluded is not None:
        hidden = excluded.scatter(1, index.unsqueeze(1), False)
        logits = logits.masked_fill(hidden, -torch.inf)
    return F.cross_entropy(logits, index)


def bilinear_nce(
    queries: Tensor, keys: Tensor, weight: Tensor, excluded: Tensor | None = None
) -> Tensor:
    """Contrast by a learned bilinear form: cross-entropy of q W kᵀ with the diagonal.

    As in van den Oord et al. 2018, eq. 3 and 4; with W = 0 it is log n.

    Args:
        queries: (n, d).
        keys: The positive of each query, and a negative of the others, (n, e).
        weight: W, (d, e).
        excluded: Samples that are no negatives of each other, (n, n) bool.
    """
    return _diagonal_cross_entropy(queries @ weight @ keys.T, excluded)


def two_view_nce(
    first: Tensor, second: Tensor, temperature: float, excluded: Tensor | None = None
) -> Tensor:
    """Contrast two views of each sample both ways, and add (Tian et al. 2020, eq. 5).

    The negatives are the other samples of the batch. When all embeddings are equal it is 2 log n.

    Args:
        first: One view of each sample, (n, d).
        second: The other, (n, d).
        temperature: τ.
        excluded: Samples that are no negatives of each other, (n, n) bool.
    """
    logits = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / temperature
    transposed = None if excluded is None else excluded.T
    return _diagonal_cross_entropy(logits, excluded) + _diagonal_cross_entropy(logits.T, transposed)


def triplet_margin(anchors: Tensor, positives: Tensor, negatives: Tensor, margin: float) -> Tensor:
    """max(0, ‖a − p‖² − ‖a − n‖² + margin), averaged, on the unit sphere (Sermanet et al. 2018).

    When all embeddings are equal it is the margin.

    Args:
        anchors: (n, d).
        positives: (n, d).
        negatives: (n, d).
        margin: By how much a negative should be farther away, in squared distance.
    """
    anchors, positives, negatives = (
        F.normalize(each, dim=1) for each in (anchors, positives, negatives)
    )
    near = (anchors - positives).square().sum(dim=1)
    far = (anchors - negatives).square().sum(dim=1)
    return F.relu(near - far + margin).mean()


def aggregation(
    similarity: Tensor, close: Tensor, background: Tensor, temperature: float
) -> Tensor:
    """Draw each sample to its close neighbours, of all in its background.

    −log( Σ_{j ∈ C ∩ B} e^{s_j/τ} / Σ_{j ∈ B} e^{s_j/τ} ): local aggregation (Zhuang et al. 2019,
    eq. 3), and invariance propagation with its own C and B (Wang et al. 2020). When all
    similarities are equal it is the mean of log(|B| / |C ∩ B|).

    Args:
        similarity: s, the cosines of each sample with some others, (n, m).
        close: C, which of these are close to it, (n, m) bool.
        background: B, (n, m) bool; at least one of it is close.
        temperature: τ.
    """
    logits = similarity / temperature
    among = logits.masked_fill(~background, -torch.inf).logsumexp(dim=1)
    near = logits.masked_fill(~(background & close), -torch.inf).logsumexp(dim=1)
    return (among - near).mean()


def counting(whole: Tensor, parts: Tensor, others: Tensor, margin: float) -> Tensor:
    """What is counted in the parts adds up to the whole, and not to another (Noroozi et al. 2017).

    ‖φ(x) − Σ_j φ(t_j)‖² + max(0, margin − ‖φ(y) − Σ_j φ(t_j)‖²), averaged. When φ is 0 for all
    it is the margin.

    Args:
        whole: Counts in each image, (n, d).
        parts: Counts in its parts, (n, j, d).
        others: Counts in another image, (n, d).
        margin: How far another image should be, in squared distance.
    """
    total = parts.sum(dim=1)
    same = (whole - total).square().sum(dim=1)
    different = (others - total).square().sum(dim=1)
    return (same + F.relu(margin - different)).mean()


def _diagonal_cross_entropy(logits: Tensor, excluded: Tensor | None) -> Tensor:
    """Mean cross-entropy of each row of (n, n) with the diagonal as its class."""
    diagonal = torch.arange(len(logits), device=logits.device)
    if excluded is not None:
        hidden = excluded.clone()
        hidden[diagonal, diagonal] = False
        logits = logits.masked_fill(hidden, -torch.inf)
    return F.cross_entropy(logits, diagonal)


def _zeros(like: Tensor) -> Tensor:
    return torch.zeros(len(like), dtype=torch.int64, device=like.device)
