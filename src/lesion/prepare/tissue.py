"""Tissue: which part of a slide is stained, from a thumbnail of it, and how much of a tile that is."""

# H, W cells of the thumbnail · T tiles

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lesion.data.decode.images import Pixels
from lesion.prepare.slides import Slide

CELLS_A_TILE = 16  # cells on a tile's side: its share of tissue is known to 1 in 256
MAX_CELLS = 4096  # on the slide's longer side: 16 million cells are 50 MB of thumbnail
BLOCK_PX = 2048  # on a side, of what is read of a slide at a time
# Otsu's threshold parts tissue from glass where both are there. Where all is glass it parts noise from noise, where all
# is tissue strong stain from pale. On the 40 pictures of UCSB's breast set it lay between 46 and 86 and left 1,751
# tiles of 96 px (min_tissue 0.4), where the set's own rule, at most 60 % white, leaves 2,129. Glass has a saturation
# of 29 at the most there (99 of 100 cells), tissue of 26 at the least (95 of 100): with 28 as the upper bound 2,113 are
# left.
MIN_SATURATION, MAX_SATURATION = 13, 28
MIN_VALUE = 30  # below it saturation is noise: the black of pen and of what was not scanned


@dataclass(frozen=True)
class TissueMask:
    """Where tissue is: square cells of `cell_px` pixels of level 0."""

    is_tissue_HW: NDArray[np.bool_]
    cell_px: float

    def shares(self, corners_T2: NDArray[np.int64], extent_px: float) -> NDArray[np.float64]:
        """The share of tissue [T] in squares of `extent_px` whose corners (x, y) are given in pixels of level 0."""
        sums = cv2.integral(self.is_tissue_HW.astype(np.uint8)).astype(np.int64)
        first_T2 = np.rint(corners_T2 / self.cell_px).astype(np.intp)
        last_T2 = np.maximum(np.rint((corners_T2 + extent_px) / self.cell_px).astype(np.intp), first_T2 + 1)
        (left_T, top_T), (right_T, bottom_T) = first_T2.T, np.minimum(last_T2, self.is_tissue_HW.shape[::-1]).T
        inside_T = sums[bottom_T, right_T] - sums[top_T, right_T] - sums[bottom_T, left_T] + sums[top_T, left_T]
        return np.asarray(inside_T / np.maximum((right_T - left_T) * (bottom_T - top_T), 1), dtype=np.float64)


def find_tissue(slide: Slide, *, extent_px: float) -> TissueMask:
    """The tissue of a slide that is cut into tiles of `extent_px` pixels of level 0."""
    cell_px = max(extent_px / CELLS_A_TILE, max(slide.width_px, slide.height_px) / MAX_CELLS, 1.0)
    return TissueMask(is_tissue(thumbnail(slide, cell_px)), cell_px)


def is_tissue(thumbnail_HWC: Pixels) -> NDArray[np.bool_]:
    """Which cells [H, W] of a uint8 RGB thumbnail are stained: saturation above Otsu's threshold (1979), within bounds.

    A median over 3 × 3 cells takes out specks of dust before.
    """
    hsv_HWC = cv2.cvtColor(cv2.medianBlur(np.ascontiguousarray(thumbnail_HWC), 3), cv2.COLOR_RGB2HSV)
    saturation_HW, value_HW = hsv_HWC[:, :, 1], hsv_HWC[:, :, 2]
    otsu, _ = cv2.threshold(saturation_HW, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    threshold = np.clip(otsu, MIN_SATURATION, MAX_SATURATION)
    return np.asarray((saturation_HW > threshold) & (value_HW >= MIN_VALUE), dtype=np.bool_)


def thumbnail(slide: Slide, cell_px: float) -> Pixels:
    """The slide with a pixel for each cell, uint8 RGB [H, W, 3], read a block at a time."""
    width, height = int(np.ceil(slide.width_px / cell_px)), int(np.ceil(slide.height_px / cell_px))
    # As if there were level 0 only: a slide without a pyramid must not come into memory as a whole.
    block = max(1, int(BLOCK_PX / cell_px))
    thumbnail_HWC = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, block):
        for left in range(0, width, block):
            wide, high = min(block, width - left), min(block, height - top)
            corner = (round(left * cell_px), round(top * cell_px))
            thumbnail_HWC[top : top + high, left : left + wide] = slide.read(*corner, wide, high, downsample=cell_px)
    return thumbnail_HWC
