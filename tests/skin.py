"""Drawn skin: clean pictures of a lesion, and the same with what spoils them, each drawn so that its share is known."""

# H, W pixels

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

# The patches "light skin" and "dark skin" of the ColorChecker in sRGB (X-Rite, "ColorChecker Classic", 2014).
LIGHT, DARK = (194, 150, 130), (115, 82, 68)


def skin(seed: int = 0, *, side_px: int = 224, colour: tuple[int, int, int] = LIGHT) -> Picture:
    """Skin with some texture and a brown lesion in the middle, as a sharp photograph shows it."""
    rng = np.random.default_rng(seed)
    shade = cv2.resize(rng.normal(0, 3, (6, 6)).astype(np.float32), (side_px, side_px), interpolation=cv2.INTER_CUBIC)
    image = np.array(colour, np.float32) + shade[..., None] + rng.normal(0, 1.5, (side_px, side_px, 1))
    lesion = np.zeros((side_px, side_px), np.float32)
    axes = tuple(int(value) for value in rng.integers(side_px // 8, side_px // 5, 2))
    cv2.ellipse(lesion, (side_px // 2, side_px // 2), axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
    lesion = cv2.GaussianBlur(lesion, (0, 0), side_px / 150)
    image = image * (1 - lesion[..., None]) + np.array(colour) * 0.5 * lesion[..., None]
    return image.clip(0, 255).astype(np.uint8)


def with_hair(image: Picture, num: int = 12, *, seed: int = 0) -> Picture:
    """Long dark curved lines, two pixels wide at 224 px."""
    rng, image = np.random.default_rng(seed), image.copy()
    side = image.shape[0]
    for _ in range(num):
        start, end = rng.uniform(0, side, 2), rng.uniform(0, side, 2)
        bend = (start + end) / 2 + rng.normal(0, side / 10, 2)
        t = np.linspace(0, 1, 40)[:, None]
        points = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
        cv2.polylines(image, [points.round().astype(np.int32)], False, (50, 35, 30), max(side // 110, 1), cv2.LINE_AA)
    return image


def with_ruler(image: Picture, *, ticks: int = 11, angle_deg: float = 0.0) -> Picture:
    """Evenly spaced parallel ticks along a line near an edge; every fifth is longer."""
    image = image.copy()
    side = image.shape[0]
    along = np.array([np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))])
    across = np.array([-along[1], along[0]])
    first = np.array([side / 2, side / 2]) + across * 0.36 * side - along * (ticks - 1) / 2 * 0.05 * side
    for tick in range(ticks):
        start = first + along * tick * 0.05 * side
        end = start + across * (0.075 if tick % 5 == 0 else 0.05) * side
        cv2.line(image, tuple(map(round, start)), tuple(map(round, end)), (40, 40, 40), max(side // 200, 1))
    return image


def with_ink(image: Picture) -> Picture:
    """A violet pen's stroke beside the lesion."""
    image = image.copy()
    side = image.shape[0]
    cv2.line(image, (side // 20, side // 6), (side * 19 // 20, side // 10), (70, 40, 150), side // 25)
    return image


def with_dark_corners(image: Picture) -> Picture:
    """The round view of a dermatoscope."""
    side = image.shape[0]
    view = np.zeros((side, side), np.uint8)
    cv2.circle(view, (side // 2, side // 2), round(side * 0.55), 255, -1)
    return np.asarray(cv2.bitwise_and(image, image, mask=view))


def blurred(image: Picture, deviation_px: float = 2.0) -> Picture:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), deviation_px))
