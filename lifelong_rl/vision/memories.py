"""Embeddings of earlier batches, to contrast with: a queue, or a bank with a row per frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Queue(nn.Module):
    """The last `size` keys, oldest first out (He et al. 2020, section 3.2).

    It begins full of random directions, which are of no episode.

    Args:
        size: Number of keys.
        dim: Of a key.
    """

    keys: Tensor
    episodes: Tensor
    positions: Tensor
    next: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"a queue must hold at least 1 key, not {size}")
        self.register_buffer("keys", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("episodes", torch.full((size,), -1))
        self.register_buffer("positions", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("next", torch.zeros((), dtype=torch.int64))

    def push(self, keys: Tensor, episodes: Tensor, positions: Tensor) -> None:
        """Take in keys (n, dim), in place of the oldest; n may exceed the size.

        Args:
            keys: (n, dim).
            episodes: Which episode each is of, (n,).
            positions: And when in it, (n,).
        """
        size = len(self.keys)
        places = (self.next + torch.arange(len(keys), device=keys.device)) % size
        newest = slice(max(len(keys) - size, 0), None)
        self.keys[places[newest]] = F.normalize(keys[newest], dim=1)
        self.episodes[places[newest]] = episodes[newest]
        self.positions[places[newest]] = positions[newest]
        self.next.add_(len(keys)).remainder_(size)


class MemoryBank(nn.Module):
    """An embedding of every frame, which follows what the encoder says (Wu et al. 2018).

    Args:
        embeddings: Of all frames, to start with, (m, dim).
        momentum: Share of the old embedding in a new one.
    """

    vectors: Tensor

    def __init__(self, embeddings: Tensor, momentum: float) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f"bank_momentum must lie in [0, 1), not {momentum}")
        self.momentum = momentum
        self.register_buffer("vectors", F.normalize(embeddings, dim=1))

    def update(self, index: Tensor, embeddings: Tensor) -> None:
        """Let rows follow: v ← m v + (1 − m) f, normalised, for the frames of a batch.

        Args:
            index: Which frames, (n,), each once.
            embeddings: f, (n, dim).
        """
        new = F.normalize(embeddings.detach(), dim=1)
        self.vectors[index] = F.normalize(self.vectors[index].lerp(new, 1 - self.momentum), dim=1)
