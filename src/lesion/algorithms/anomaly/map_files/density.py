"""Density: where on a slide flagged pixels lie close together: their smoothed density, over a picture of the tiles."""

# P points · H, W cells of the grid or pixels of the picture

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter  # type: ignore[import-untyped]

from lesion.data.decode.images import Pixels

# The reference's numbers (ProGANomaly; issue 22).
GRID = 100  # cells a side
BANDWIDTH_PX = 100  # of the slide; at least one cell, or the density of a large slide would fall between the cells
FEWEST_PIXELS = 200  # flagged ones of a slide: of fewer nothing is shown
CUT = 0.2  # of the peak: below it nothing is shown
LONGEST_PX = 1000  # of the picture
OPACITY = 0.65


@dataclass(frozen=True)
class Tile:
    """A small picture of a tile, its box on the slide (left, top, right, bottom), and the centres of flagged spots
    [P, 2] on the slide, each of `spot_px` pixels of the tile."""

    picture_HWC: Pixels
    box: tuple[float, float, float, float]
    spot_P2: NDArray[np.float64]
    spot_px: float


def density_of(tiles: Sequence[Tile]) -> NDArray[np.float64]:
    """The density of flagged pixels over the box of all tiles, [GRID, GRID] in 0 to 1 of its peak: a Gaussian kernel
    on counts. 0 below CUT, and everywhere if fewer than FEWEST_PIXELS are flagged."""
    left, top, right, bottom = bounds(tiles)
    spots_P2 = np.concatenate([tile.spot_P2 for tile in tiles])
    weight_P = np.concatenate([np.full(len(tile.spot_P2), tile.spot_px) for tile in tiles])
    if weight_P.sum() < FEWEST_PIXELS:
        return np.zeros((GRID, GRID))
    ranges = [(top, bottom), (left, right)]
    count_HW, *_ = np.histogram2d(spots_P2[:, 1], spots_P2[:, 0], bins=GRID, range=ranges, weights=weight_P)
    cells = [(high - low) / GRID for low, high in ranges]
    smooth_HW = gaussian_filter(count_HW, [max(BANDWIDTH_PX / cell, 1.0) for cell in cells], mode="constant")
    smooth_HW /= smooth_HW.max()
    return np.where(smooth_HW >= CUT, smooth_HW, 0.0)


def bounds(tiles: Sequence[Tile]) -> tuple[float, float, float, float]:
    """The box of all tiles: left, top, right, bottom."""
    box_T4 = np.array([tile.box for tile in tiles])
    (left, top), (right, bottom) = box_T4[:, :2].min(axis=0).tolist(), box_T4[:, 2:].max(axis=0).tolist()
    return left, top, right, bottom


def picture_of(tiles: Sequence[Tile]) -> Pixels:
    """The tiles where they lie on the slide, white between them, under the colours of the density."""
    left, top, right, bottom = bounds(tiles)
    scale = LONGEST_PX / max(right - left, bottom - top)
    height, width = (max(1, round(scale * side)) for side in (bottom - top, right - left))
    canvas_HWC = np.full((height, width, 3), 255, np.uint8)
    for tile in tiles:
        x0, y0, x1, y1 = (round(scale * (end - start)) for end, start in zip(tile.box, (left, top) * 2, strict=True))
        x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
        drawn_HWC = cv2.resize(tile.picture_HWC, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
        canvas_HWC[y0:y1, x0:x1] = drawn_HWC[: height - y0, : width - x0]
    density_HW = cv2.resize(density_of(tiles).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    levels_HW = np.round(255 * np.clip(density_HW, 0, 1)).astype(np.uint8)
    colours_HWC = cv2.cvtColor(cv2.applyColorMap(levels_HW, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    opacity_HW1 = OPACITY * (density_HW >= CUT)[..., None]
    return np.asarray(np.round((1 - opacity_HW1) * canvas_HWC + opacity_HW1 * colours_HWC), dtype=np.uint8)
