"""Thumbnail: a picture small enough to stand inside a page."""

from __future__ import annotations

import base64

import cv2
import numpy as np

from lesion.data.decode import images
from lesion.data.decode.images import Pixels


def thumbnail(image_HWC: Pixels, *, side_px: int) -> str:
    """The picture as a JPEG in a data URI, its longer side `side_px` pixels. Nothing of the file but pixels is kept."""
    content = images.encode(small(image_HWC, side_px=side_px), "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(content).decode()


def small(image_HWC: Pixels, *, side_px: int) -> Pixels:
    """The picture in its shape, its longer side `side_px` pixels."""
    scale = side_px / max(image_HWC.shape[:2])
    size = (max(1, round(image_HWC.shape[1] * scale)), max(1, round(image_HWC.shape[0] * scale)))
    return np.asarray(cv2.resize(image_HWC, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
