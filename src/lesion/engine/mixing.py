"""Mixing: pictures of a batch blended in pairs, with their metadata and targets."""

# N batch · C channels · H, W pixels · K outputs · M metadata features

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Mixing:
    """mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019) by the parameter of their Beta; of both, a coin decides.

    0 leaves one out.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def __call__(
        self, images_NCHW: Tensor, metadata_NM: Tensor, targets_NK: Tensor, stream: np.random.SeedSequence
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The batch, each sample mixed with another by the same random share. Of the pixels either blend is float32."""
        rng = np.random.default_rng(stream)
        is_cut = self.cutmix > 0 and (self.mixup == 0 or rng.random() < 0.5)
        alpha = self.cutmix if is_cut else self.mixup
        if alpha == 0:
            return images_NCHW, metadata_NM, targets_NK
        own = float(rng.beta(alpha, alpha))
        partner_N = torch.from_numpy(rng.permutation(len(images_NCHW))).to(images_NCHW.device)
        if is_cut:
            images_NCHW, own = _paste(images_NCHW, partner_N, own, rng)
        else:
            images_NCHW = torch.lerp(images_NCHW[partner_N].float(), images_NCHW.float(), own)
        metadata_NM, targets_NK = (torch.lerp(rows[partner_N], rows, own) for rows in (metadata_NM, targets_NK))
        return images_NCHW, metadata_NM, targets_NK


def _paste(images_NCHW: Tensor, partner_N: Tensor, own: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """The pictures with a box of their partners, and the share of each that is still its own."""
    height, width = images_NCHW.shape[-2:]
    side = (1 - own) ** 0.5
    box_height, box_width = round(height * side), round(width * side)
    # Within the picture, so that the share of the area is the one that was drawn.
    top, left = int(rng.integers(0, height - box_height + 1)), int(rng.integers(0, width - box_width + 1))
    box = (..., slice(top, top + box_height), slice(left, left + box_width))
    mixed_NCHW = images_NCHW.clone()
    mixed_NCHW[box] = images_NCHW[partner_N][box]
    return mixed_NCHW, 1 - box_height * box_width / (height * width)
