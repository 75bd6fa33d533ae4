"""Slides: drawn tissue on glass, written as scanners and converters write it: tiled TIFFs with a pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

GLASS, TISSUE = (240, 240, 242), (190, 90, 150)  # RGB
APERIO = "Aperio Image Library v11.2.1\n46000x32914 [0,100 46000x32814] (256x256)|AppMag = {}|MPP = {}"


def draw_slide(
    width_px: int, height_px: int, discs: Sequence[tuple[int, int, int]] = (), *, seed: int = 0
) -> NDArray[np.uint8]:
    """Glass with a round piece of tissue at each x, y, radius: uint8 RGB [H, W, 3], with a little noise."""
    image_HWC = np.full((height_px, width_px, 3), GLASS, np.float32)
    for x, y, radius in discs:
        cv2.circle(image_HWC, (x, y), radius, TISSUE, -1)
    noise_HW1 = np.random.default_rng(seed).normal(0, 4, (height_px, width_px, 1))
    return np.clip(image_HWC + noise_HW1, 0, 255).astype(np.uint8)


def write_slide(
    path: Path,
    levels: Sequence[NDArray[np.uint8]],
    *,
    mpp: float | None = None,
    aperio: str | None = None,
    profile: bytes | None = None,
) -> Path:
    """A tiled TIFF with these levels, finest first; `aperio` is the description of a .svs file."""
    resolution = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path) as file:
        for number, level_HWC in enumerate(levels):
            file.write(
                level_HWC,
                tile=(256, 256),
                photometric="rgb",
                compression="zlib",
                subfiletype=int(number > 0),
                description=aperio,
                iccprofile=profile,
                metadata=None,
                **resolution,
            )
    return path


def pyramid(image_HWC: NDArray[np.uint8], num_levels: int = 3) -> list[NDArray[np.uint8]]:
    """The picture, and halves of it."""
    levels = [image_HWC]
    while len(levels) < num_levels:
        levels.append(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return levels
