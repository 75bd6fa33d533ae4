"""Samples: numbers of 1 to 16 bits as 8-bit pixels."""

# H, W pixels · S samples of a pixel

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def eight_bits(levels: NDArray[Any], depth: int) -> NDArray[np.uint8]:
    """Unsigned samples of `depth` bits as uint8: of more than 8 the upper eight, of fewer spread over 0 to 255."""
    most = (1 << depth) - 1
    if depth > 8:
        levels = np.minimum(levels, most) >> (depth - 8)
    elif depth < 8:
        levels = (levels.astype(np.uint16) * 255 + most // 2) // most
    return levels.astype(np.uint8, copy=False)


def picture(levels_HWS: NDArray[np.uint8], mode: str | None = None) -> Image.Image:
    """Samples [H, W] or [H, W, S] as Pillow's picture; without `mode`, grey or RGB, with alpha last of 2 or 4."""
    levels_HWS = np.ascontiguousarray(np.atleast_3d(levels_HWS))
    height, width, num_samples = levels_HWS.shape
    mode = mode or MODES[num_samples]
    return Image.frombuffer(mode, (width, height), levels_HWS, "raw", mode, 0, 1)
