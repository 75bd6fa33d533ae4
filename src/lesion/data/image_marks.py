"""Image marks: thin dark lines on skin: hair, and the ticks of a ruler."""

# H, W pixels · N marks, which are connected components of the mask · T ticks · P pairs of ticks

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]  # 255 where it is, else 0

LINE_PX = 9  # of the closing: what is wider and dark is no line
LEAST_DEPTH = 18  # grey levels that a line is darker than what is beside it
HAIR_LENGTH = 0.12  # of the shorter side: a hair is at least as long
HAIR_WIDTH_PX = 4.0  # area ÷ length: a net of pigment has more area
HAIR_DENSITY = 0.2  # of hairs that cross, area ÷ that of the box around them
TICK_LENGTH = (4.0, 0.12)  # pixels at least, and share of the shorter side at most
TICK_ASPECT = 2.2  # deviation along a tick ÷ across
LEAST_TICKS, MOST_TICKS = 6, 80  # in a row; and in a picture: more marks are a texture
TOLERANCE = 0.15  # of the spacing: how far a tick may lie from its place
TICK_ANGLE_DEG = 15.0  # between the ticks of a ruler, and from the right angle to their row
SHIFT = 0.75  # of a tick's length: how far the middle of another may be shifted along it
LEAST_STEP_PX = 3.0
TICK_RATIO = 3.0  # longest tick ÷ shortest: those of centimetres are longer


def thin_dark_lines(grey_HW: NDArray[np.uint8]) -> Mask:
    """What is thin in some direction and darker than both its sides: the closing with lines minus the picture.

    DullRazor's first step (Lee et al. 1997), with a closing in four directions of which the largest counts.
    """
    depth_HW = np.zeros_like(grey_HW)
    for line in _LINES:
        closed_HW = cv2.morphologyEx(grey_HW, cv2.MORPH_CLOSE, line)
        cv2.max(depth_HW, cv2.subtract(closed_HW, grey_HW), dst=depth_HW)
    return (depth_HW >= LEAST_DEPTH) * np.uint8(255)  # OpenCV's own takes a tiny picture for a number


def hair_and_ruler(lines_HW: Mask) -> tuple[Mask, int]:
    """Which of the lines are hair, the long ones; and how many of the short ones stand in a row as on a ruler.

    The second is 0 for fewer than LEAST_TICKS.
    """
    _, labels_HW, stats_N5, centres_N2 = cv2.connectedComponentsWithStats(lines_HW, connectivity=8, ltype=cv2.CV_16U)
    length_N = np.hypot(stats_N5[:, cv2.CC_STAT_WIDTH], stats_N5[:, cv2.CC_STAT_HEIGHT])
    area_N, side = stats_N5[:, cv2.CC_STAT_AREA], min(lines_HW.shape)
    is_thin_N = area_N <= HAIR_WIDTH_PX * length_N
    is_thin_N[0] = False  # the background
    box_N = stats_N5[:, cv2.CC_STAT_WIDTH] * stats_N5[:, cv2.CC_STAT_HEIGHT]
    is_loose_N = area_N <= HAIR_DENSITY * box_N  # hairs that cross are one mark
    is_loose_N[0] = False
    is_hair_N = (is_thin_N | is_loose_N) & (length_N >= HAIR_LENGTH * side)
    hair_HW = np.zeros_like(lines_HW)
    if is_hair_N.any():
        hair_HW = (is_hair_N * np.uint8(255))[labels_HW]
    is_tick_N = is_thin_N & (length_N >= TICK_LENGTH[0]) & (length_N <= TICK_LENGTH[1] * side)
    if is_tick_N.sum() < LEAST_TICKS:
        return hair_HW, 0
    angle_N, aspect_N = _direction(labels_HW, len(stats_N5))
    is_tick_N &= aspect_N >= TICK_ASPECT
    if not LEAST_TICKS <= is_tick_N.sum() <= MOST_TICKS:
        return hair_HW, 0
    longest = _longest_row(centres_N2[is_tick_N], angle_N[is_tick_N], length_N[is_tick_N], most_px=0.2 * side)
    return hair_HW, longest if longest >= LEAST_TICKS else 0


def _direction(labels_HW: NDArray[np.uint16], num: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The angle of each mark in degrees, 0 to 180, and its deviation along it ÷ across; by second moments."""
    y, x = np.nonzero(labels_HW)
    label = labels_HW[y, x]
    area_N = np.maximum(np.bincount(label, minlength=num), 1)

    def mean(value: NDArray[np.generic]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(label, weights=value, minlength=num) / area_N)

    mean_y, mean_x = mean(y), mean(x)
    yy = mean(y * y) - mean_y**2 + 1 / 12  # of a pixel's own breadth
    xx = mean(x * x) - mean_x**2 + 1 / 12
    xy = mean(x * y) - mean_x * mean_y
    root = np.sqrt((xx - yy) ** 2 / 4 + xy**2)
    aspect = np.sqrt(((xx + yy) / 2 + root) / np.maximum((xx + yy) / 2 - root, 1e-6))
    return np.degrees(np.arctan2(2 * xy, xx - yy) / 2) % 180, aspect


def _longest_row(
    centres_T2: NDArray[np.float64], angle_T: NDArray[np.float64], length_T: NDArray[np.float64], *, most_px: float
) -> int:
    """The most ticks that one step from tick to tick leads through, without a gap.

    All are parallel, of like length, and beside each other: their middles may be shifted, as those of longer ticks are.
    """
    ratio_TT = np.maximum(length_T[None] / length_T[:, None], length_T[:, None] / length_T[None])
    are_alike_TT = (_turn(angle_T[None], angle_T[:, None]) <= TICK_ANGLE_DEG) & (ratio_TT <= TICK_RATIO)
    longest = 0
    for start in np.flatnonzero(are_alike_TT.sum(axis=1) >= LEAST_TICKS).tolist():
        turn = np.radians(angle_T[start])
        between_T2 = centres_T2[are_alike_TT[start]] - centres_T2[start]
        along_T = between_T2 @ np.array([np.cos(turn), np.sin(turn)])  # the tick
        across_T = between_T2 @ np.array([-np.sin(turn), np.cos(turn)])
        shift_T = SHIFT * np.maximum(length_T[are_alike_TT[start]], length_T[start])
        is_beside_T = np.abs(along_T) <= shift_T + np.tan(np.radians(TICK_ANGLE_DEG)) * np.abs(across_T)
        place_T = np.sort(across_T[is_beside_T & (across_T >= 0)])  # each row is walked from its other end too
        for step in place_T[(place_T >= LEAST_STEP_PX) & (place_T <= most_px)].tolist():
            longest = max(longest, _walk(place_T, step))
    return longest


def _walk(place_T: NDArray[np.float64], step: float) -> int:
    """How many of the ascending places lie one step after another, from 0 on."""
    place, count = 0.0, 1
    while True:
        nearest = float(place_T[np.abs(place_T - place - step).argmin()])
        if abs(nearest - place - step) > TOLERANCE * step:
            return count
        place, count = nearest, count + 1


def _turn(angle: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """The angle between two directions without sense, 0 to 90 degrees."""
    apart = np.abs(angle - other) % 180
    return np.asarray(np.minimum(apart, 180 - apart))


def _line(dx: int, dy: int) -> NDArray[np.uint8]:
    """A line of LINE_PX through the middle of a square, as an element of morphology."""
    element = np.zeros((LINE_PX, LINE_PX), np.uint8)
    half = LINE_PX // 2
    cv2.line(element, (half - dx * half, half - dy * half), (half + dx * half, half + dy * half), 1)
    return element


_LINES = [_line(1, 0), _line(0, 1), _line(1, 1), _line(1, -1)]
