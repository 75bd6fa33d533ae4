"""Occlusion: how far the score falls when a part of the picture is covered. Needs no gradient, only predictions."""

# B squares · H, W pixels · h, w cells

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lesion.data.decode.images import Pixels

CELLS = 8  # a side; a cover is two cells wide, and moves by one
BATCH = 16

Score = Callable[[NDArray[np.uint8]], NDArray[np.float64]]  # squares [B, H, W, 3] to one number each, [B]


def occlusion_map(square_HWC: Pixels, score: Score) -> NDArray[np.float32]:
    """The mean fall of the score [8, 8] over the covers that lie on a cell (Zeiler & Fergus 2014, section 4.2).

    A cover is a quarter of the side wide, in the square's mean colour: 49 covers and the square itself are scored. At
    a side under 8 pixels there are as many cells as pixels.
    """
    side = square_HWC.shape[0]
    cells = min(CELLS, side)
    edges = np.linspace(0, side, cells + 1).round().astype(int)
    colour = np.round(square_HWC.mean(axis=(0, 1))).astype(np.uint8)
    width = min(2, cells)
    covers = [(row, column) for row in range(cells - width + 1) for column in range(cells - width + 1)]

    def covered(cover: tuple[int, int]) -> Pixels:
        changed_HWC = square_HWC.copy()
        (top, bottom), (left, right) = ((edges[start], edges[start + width]) for start in cover)
        changed_HWC[top:bottom, left:right] = colour
        return changed_HWC

    whole = float(score(square_HWC[None])[0])
    falls_hw, counts_hw = np.zeros((cells, cells)), np.zeros((cells, cells))
    for start in range(0, len(covers), BATCH):
        part = covers[start : start + BATCH]
        for (row, column), value in zip(part, score(np.stack([covered(cover) for cover in part])), strict=True):
            falls_hw[row : row + width, column : column + width] += whole - value
            counts_hw[row : row + width, column : column + width] += 1
    return (falls_hw / counts_hw).astype(np.float32)
