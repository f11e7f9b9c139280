"""BEiT: which kinds of patches were hidden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.options import Count, OpenShare
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.clustering import assign, kmeans
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.heads import GridDecoder, to_patches
from lifelong_rl.vision.objectives.base import SelfSupervised
from lifelong_rl.vision.objectives.mae import count_masked, hide_patches
from lifelong_rl.vision.prediction import constant_cross_entropy

SAMPLE = 50_000
"""Patches to learn the codebook from."""


@OBJECTIVES.register("beit")
class BEiT(SelfSupervised):
    """Masked token prediction: tell the token of each patch that was hidden.

    Tokens are clusters of patches, found by k-means on the training frames; the paper's come from a
    large pretrained tokenizer, and its encoder is a transformer. Its implementation changes colours
    before it takes the tokens; here tokens are of the picture as it was taken.

    Args:
        frames: To train on.
        augmentation: How what the encoder sees is changed; what it shall tell is only shifted.

    References:
        Bao et al. 2022, BEiT: BERT pre-training of image transformers.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(SelfSupervised.Options):
        """Options of BEiT.

        Attributes:
            tokens: Size of the codebook (untuned; 8192 in Bao et al. 2022).
            patch: Side of a patch, in pixels; it must divide the image (untuned: 64 patches).
            masked: Share of the patches that are hidden (Bao et al. 2022).
        """

        tokens: Count = 256
        patch: Count = 8
        masked: OpenShare = 0.4

    options: Options

    codebook: Tensor

    def __init__(
        self,
        frames: Frames,
        augmentation: Augmentation,
        options: Options | None = None,
        /,
        **given: Any,
    ) -> None:
        super().__init__(frames, augmentation, options, **given)
        tokens, patch = self.options.tokens, self.options.patch
        height, width = frames.images.shape[-2:]
        patches = to_patches(self.sample_pictures(frames), patch)
        count_masked(patches.shape[1], self.options.masked)
        flat = patches.flatten(0, 1)
        codebook = kmeans(flat[torch.randperm(len(flat))[:SAMPLE]], tokens).centres
        self.register_buffer("codebook", codebook)
        self.decoder = GridDecoder(self.dim, height // patch, width // patch, tokens)
        found = assign(flat, codebook).view(patches.shape[:2])
        self._collapse = constant_cross_entropy(found, torch.ones(tokens))

    def collapse_value(self, n: int) -> float:
        """The entropy of the tokens at each place."""
        return self._collapse

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of the hidden patches' tokens."""
        views, pictures = self.augmentation.views_and_pictures(batch["images"])
        seen, mask = hide_patches(views, self.options.patch, self.options.masked)
        tokens = assign(to_patches(pictures, self.options.patch)[mask], self.codebook)
        return F.cross_entropy(self.decoder(self.encoder(seen))[mask], tokens)
