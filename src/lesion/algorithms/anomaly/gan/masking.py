"""Masking: what is hidden of a picture in training, so that the generator learns to fill in, not to copy."""

# N batch · C channels · H, W pixels · P = H × W

from __future__ import annotations

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

MASKED = 0.2  # of a picture's pixels, where blocks overlap counted twice
LARGEST_BLOCK = 0.1  # of the masked pixels; the next block has half of it, down to one pixel, and again from the start
HIDDEN = -1  # in the place of a pixel's source: nothing
HIDDEN_VALUE = -1.0


def draw_sources(side_px: int, rng: Generator) -> NDArray[np.int64]:
    """For each pixel of a square the number of the pixel that is put there [H, W], HIDDEN for none.

    Square blocks at random places; in each of them, by the toss of a coin, the pixels are shuffled or hidden.
    """
    source_HW = np.arange(side_px**2).reshape(side_px, side_px)
    num_masked = MASKED * side_px**2
    area, num_done = 0.0, 0
    while num_done < num_masked:
        area = area / 2 if area >= 2 else max(LARGEST_BLOCK * num_masked, 1.0)
        side = max(round(float(np.sqrt(area))), 1)
        top, left = rng.integers(0, side_px - side + 1, size=2)
        block = source_HW[top : top + side, left : left + side]
        block[:] = rng.permutation(block.ravel()).reshape(block.shape) if rng.random() < 0.5 else HIDDEN
        num_done += side**2
    return source_HW


def masked(images_NCHW: Tensor, source_NHW: NDArray[np.int64]) -> Tensor:
    """The pictures with each pixel taken from its source; hidden ones are HIDDEN_VALUE in all channels."""
    source_NCP = (
        torch.from_numpy(source_NHW).to(images_NCHW.device).flatten(1)[:, None].expand(-1, images_NCHW.shape[1], -1)
    )
    taken_NCP = images_NCHW.flatten(2).gather(2, source_NCP.clamp(min=0))
    return taken_NCP.masked_fill(source_NCP == HIDDEN, HIDDEN_VALUE).view_as(images_NCHW)
