"""Image marks: thin dark lines on skin: hair, and the ticks of a ruler."""

# H, W pixels · N marks, which are connected components of the mask · T ticks · P pixels of
# ticks · S ticks that rows start from

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]  # 255 where it is, else 0

HAIR_LINE_PX, HAIR_DEPTH = 5, 14  # of the closing, in pixels: what is wider and dark is no line; and in grey levels
HAIR_LENGTH = 0.12  # of the shorter side: a hair is at least as long
HAIR_WIDTH_PX = 2.5  # area ÷ length: a net of pigment has more area
HAIR_DENSITY = 0.2  # of hairs that cross, area ÷ that of the box around them
LEAST_HAIR = 0.005  # share of lines: fewer are no matter, and not looked at
TICK_LINE_PX, TICK_DEPTH = 9, 18  # as those of hair, of a copy with twice the side
TICK_LENGTH = (4.0, 0.12)  # pixels at least, and share of the shorter side at most
TICK_WIDTH_PX = 4.0  # area ÷ length
TICK_ASPECT = 2.2  # deviation along a tick ÷ across
LEAST_TICKS, MOST_TICKS = 6, 80  # in a row; and in a picture: more marks are a texture
TOLERANCE = 0.15  # of the spacing: how far a tick may lie from its place
TICK_ANGLE_DEG = 15.0  # between the ticks of a ruler, and from the right angle to their row
SHIFT = 0.75  # of a tick's length: how far the middle of another may be shifted along it
LEAST_STEP_PX = 3.0
TICK_RATIO = 3.0  # longest tick ÷ shortest: those of centimetres are longer


def thin_dark_lines(grey_HW: NDArray[np.uint8], *, width_px: int = HAIR_LINE_PX, depth: int = HAIR_DEPTH) -> Mask:
    """What is thinner than `width_px` in some direction, and darker by `depth` than what is beside it.

    The closing with a square minus the picture: DullRazor's first step (Lee et al. 1997) with one square for its three
    lines, since what a square does not fit into is filled at any angle.
    """
    square = np.ones((width_px, width_px), np.uint8)
    depth_HW = cv2.morphologyEx(grey_HW, cv2.MORPH_BLACKHAT, square)
    return np.asarray(cv2.threshold(depth_HW, depth - 1, 255, cv2.THRESH_BINARY)[1], dtype=np.uint8)


def hair_share(lines_HW: Mask) -> float:
    """The share of the picture that is hair, which are the long ones of the lines, 0 to 1."""
    if cv2.countNonZero(lines_HW) < LEAST_HAIR * lines_HW.size:
        return 0.0
    _, _, stats_N5, _ = _marks(lines_HW)
    _, _, width_N, height_N, area_N = stats_N5[1:].T  # without the background
    length_N = np.hypot(width_N, height_N)
    is_thin_N = area_N <= HAIR_WIDTH_PX * length_N
    is_loose_N = area_N <= HAIR_DENSITY * width_N * height_N  # hairs that cross are one mark
    is_hair_N = (is_thin_N | is_loose_N) & (length_N >= HAIR_LENGTH * min(lines_HW.shape))
    return float(area_N[is_hair_N].sum()) / lines_HW.size


def ruler_ticks(lines_HW: Mask) -> int:
    """How many short lines stand in a row as on a ruler; 0 for fewer than LEAST_TICKS."""
    _, labels_HW, stats_N5, centres_N2 = _marks(lines_HW)
    _, _, width_N, height_N, area_N = stats_N5[1:].T
    length_N, side = np.hypot(width_N, height_N), min(lines_HW.shape)
    is_tick_N = (
        (area_N <= TICK_WIDTH_PX * length_N) & (length_N >= TICK_LENGTH[0]) & (length_N <= TICK_LENGTH[1] * side)
    )
    if np.count_nonzero(is_tick_N) < LEAST_TICKS:
        return 0
    angle_T, aspect_T = _direction(labels_HW, is_tick_N)
    is_long_T = aspect_T >= TICK_ASPECT
    if not LEAST_TICKS <= np.count_nonzero(is_long_T) <= MOST_TICKS:
        return 0
    centres_T2, length_T = centres_N2[1:][is_tick_N][is_long_T], length_N[is_tick_N][is_long_T]
    longest = _longest_row(centres_T2, angle_T[is_long_T], length_T, most_px=0.2 * side)
    return longest if longest >= LEAST_TICKS else 0


def _marks(lines_HW: Mask) -> tuple[int, NDArray[np.uint16], NDArray[np.int32], NDArray[np.float64]]:
    """The connected components: their number, labels, boxes with areas, and centres; the background is the first."""
    return cv2.connectedComponentsWithStats(lines_HW, connectivity=8, ltype=cv2.CV_16U)


def _direction(
    labels_HW: NDArray[np.uint16], is_tick_N: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The angle of each tick [T] in degrees, 0 to 180, and its deviation along it ÷ across; by second moments."""
    tick_N = np.zeros(len(is_tick_N) + 1, np.intp)  # 0 for the background and other marks
    tick_N[1:][is_tick_N] = np.arange(1, np.count_nonzero(is_tick_N) + 1)
    label_P = labels_HW.ravel()
    place_P = np.flatnonzero(label_P > 0)  # few: looked up alone
    tick_P = tick_N[label_P[place_P]]
    place_P, tick_P = place_P[tick_P > 0], tick_P[tick_P > 0]
    y_P, x_P = np.divmod(place_P.astype(np.float64), labels_HW.shape[1])
    area_T = np.bincount(tick_P)

    def mean(value_P: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(tick_P, value_P)[1:] / area_T[1:])

    mean_y, mean_x = mean(y_P), mean(x_P)
    yy = mean(y_P * y_P) - mean_y**2 + 1 / 12  # of a pixel's own breadth
    xx = mean(x_P * x_P) - mean_x**2 + 1 / 12
    xy = mean(x_P * y_P) - mean_x * mean_y
    root = np.sqrt((xx - yy) ** 2 / 4 + xy**2)
    aspect = np.sqrt(((xx + yy) / 2 + root) / np.maximum((xx + yy) / 2 - root, 1e-6))
    return np.degrees(np.arctan2(2 * xy, xx - yy) / 2) % 180, aspect


def _longest_row(
    centres_T2: NDArray[np.float64], angle_T: NDArray[np.float64], length_T: NDArray[np.float64], *, most_px: float
) -> int:
    """The most ticks that one step from tick to tick leads through, without a gap.

    All are parallel, of like length, and beside each other: their middles may be shifted, as those of longer ticks are.
    """
    longer_TT = np.maximum.outer(length_T, length_T)
    turn_TT = np.abs(np.subtract.outer(angle_T, angle_T))
    are_alike_TT = (np.minimum(turn_TT, 180 - turn_TT) <= TICK_ANGLE_DEG) & (
        longer_TT <= TICK_RATIO * np.minimum.outer(length_T, length_T)
    )
    start_S = np.flatnonzero(are_alike_TT.sum(axis=1) >= LEAST_TICKS)
    if not len(start_S):
        return 0
    turn_S1 = np.radians(angle_T[start_S])[:, None]
    x_ST, y_ST = (np.subtract.outer(-place_T[start_S], -place_T) for place_T in centres_T2.T)
    along_ST = x_ST * np.cos(turn_S1) + y_ST * np.sin(turn_S1)  # the tick
    across_ST = y_ST * np.cos(turn_S1) - x_ST * np.sin(turn_S1)
    shift_ST = SHIFT * longer_TT[start_S] + np.tan(np.radians(TICK_ANGLE_DEG)) * np.abs(across_ST)
    # Each row is walked from its other end too.
    is_beside_ST = are_alike_TT[start_S] & (np.abs(along_ST) <= shift_ST) & (across_ST >= 0)
    longest = 0
    for row in np.flatnonzero(is_beside_ST.sum(axis=1) >= LEAST_TICKS).tolist():
        place_T = np.sort(across_ST[row, is_beside_ST[row]]).tolist()
        steps = [place for place in place_T if LEAST_STEP_PX <= place <= most_px]
        longest = max([longest, *(_walk(place_T, step) for step in steps)])
    return longest


def _walk(place_T: list[float], step: float) -> int:
    """How many of the ascending places lie one step after another, from 0 on."""
    place, count = 0.0, 1
    while True:
        nearest = min(place_T, key=lambda other: abs(other - place - step))
        if abs(nearest - place - step) > TOLERANCE * step:
            return count
        place, count = nearest, count + 1
