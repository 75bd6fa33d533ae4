"""Scorer: how far the error of each pixel's reconstruction lies from those of normal pictures."""

# N batch · C channels: colours, or features · H, W pixels · h, w places

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from lesion.algorithms.anomaly.gan.masking import HIDDEN_VALUE
from lesion.algorithms.anomaly.gan.networks import Generator
from lesion.algorithms.anomaly.gan.training import as_input

Compared = Literal["colours", "features"]
MOST_PLACES = 128  # a side of a map: of larger pictures a place is the mean of a square of pixels


class GanScorer(nn.Module):
    """Pictures as uint8 RGB [N, H, W, 3] to the distance of each place from normal, float32 [N, h, w], 0 or more.

    The squared Mahalanobis distance of the error |x − G(x)| of a pixel's colours from the errors of normal pixels,
    averaged over `smoothing_px` a side. With `compare` features it is |φ(x) − φ(G(x))|, where φ are the generator's own
    first layers, at the full side: they know textures, of which colours say little. With `cell_px` above 0 G(x) is made
    of four passes, in each of which every other cell of every other row is hidden and filled in, and the error is the
    difference with its sign. No picture knows of another one in its batch.
    """

    def __init__(
        self,
        generator: Generator,
        filters: Sequence[int],
        *,
        smoothing_px: int,
        cell_px: int = 0,
        compare: Compared = "colours",
    ) -> None:
        """Mean and whitening of the errors are set by phase 1, or by an artifact's weights."""
        super().__init__()
        self.generator, self.filters = generator, tuple(filters)
        self.smoothing_px, self.cell_px, self.compare = smoothing_px, cell_px, compare
        num_channels = self.filters[-1] if compare == "features" else 3
        self.mean_C: Tensor
        self.whitening_CC: Tensor
        self.register_buffer("mean_C", torch.zeros(num_channels))
        self.register_buffer("whitening_CC", torch.eye(num_channels))

    def reconstruction(self, images_NCHW: Tensor) -> Tensor:
        """What normal pictures would have there, [N, C, H, W], of pictures in −1 to 1."""
        block = len(self.filters) - 1
        if not self.cell_px:
            whole_NCHW: Tensor = self.generator(images_NCHW, block)[0]
            return whole_NCHW
        filled_NCHW = torch.zeros_like(images_NCHW)
        for is_hidden_HW in hidden_cells(images_NCHW.shape[-1], self.cell_px, images_NCHW.device):
            made_NCHW, _ = self.generator(images_NCHW.masked_fill(is_hidden_HW, HIDDEN_VALUE), block)
            filled_NCHW = torch.where(is_hidden_HW, made_NCHW, filled_NCHW)
        return filled_NCHW

    def errors(self, images_NHWC: Tensor) -> Tensor:
        """The error of each colour or feature [N, H, W, C], of pictures in −1 to 1."""
        images_NCHW = as_input(images_NHWC)
        made_NCHW = self.reconstruction(images_NCHW)
        if self.compare == "features":
            images_NCHW, made_NCHW = (self.generator.encoder.down.features(one) for one in (images_NCHW, made_NCHW))
        errors_NCHW = images_NCHW - made_NCHW
        return (errors_NCHW if self.cell_px else errors_NCHW.abs()).permute(0, 2, 3, 1)

    def forward(self, images_NHWC: Tensor) -> Tensor:
        """The distances [N, h, w]."""
        whitened_NHWC = (self.errors(images_NHWC) - self.mean_C) @ self.whitening_CC.T
        distance_N1HW = whitened_NHWC.square().sum(dim=3)[:, None]
        if self.smoothing_px > 1:
            half = self.smoothing_px // 2
            distance_N1HW = functional.avg_pool2d(distance_N1HW, self.smoothing_px, 1, half, count_include_pad=False)
        if (factor := distance_N1HW.shape[-1] // MOST_PLACES) > 1:
            distance_N1HW = functional.avg_pool2d(distance_N1HW, factor)
        return distance_N1HW[:, 0]


def hidden_cells(side_px: int, cell_px: int, device: torch.device) -> list[Tensor]:
    """Which pixels [H, W] each of four passes hides: together all, each once."""
    odd_P = (torch.arange(side_px, device=device) // cell_px) % 2
    return [(odd_P[:, None] == row) & (odd_P[None, :] == column) for row in (0, 1) for column in (0, 1)]


def places_a_side(image_size: int) -> int:
    """A side of the map of pictures with this side."""
    return min(image_size, MOST_PLACES)
