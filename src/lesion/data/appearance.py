"""Appearance: a short description of a picture's colours and grain, by which an odd one is seen before any network.

A network that learned to tell lesions apart forgets what else there is: its features of a flower can lie among those of
skin. Colours do not forget.
"""

# H, W pixels · A numbers

from __future__ import annotations

import math
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from lesion.data.decode.images import Pixels

SIDE_PX = 64
GRID = 4  # cells on a side whose mean colour is kept
OCTAVES = 3  # of which the grain is measured: details of 2, 4 and 8 pixels
LOG_SCALE = 10.0  # a factor e of contrast counts as 10 units of L*, a*, b*
LEAST = 0.3  # of L*: below it contrast is rounding
L_UNIT = 100 / 255  # of L* in a byte
NUM_VALUES = GRID * GRID * 3 + 3 + OCTAVES


def appearance(square_HWC: Pixels) -> NDArray[np.float32]:
    """The description [A] of a prepared square (uint8 RGB): mean CIELAB colours by cell, their deviation, and grain."""
    small_HWC = square_HWC
    while len(small_HWC) >= 2 * SIDE_PX and len(small_HWC) % 2 == 0:  # halving is what OpenCV does fastest
        small_HWC = cv2.resize(small_HWC, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    method = cv2.INTER_AREA if len(small_HWC) >= 2 * SIDE_PX else cv2.INTER_LINEAR
    small_HWC = cv2.resize(small_HWC, (SIDE_PX, SIDE_PX), interpolation=method)
    # Of bytes, whose tables stay in the cache between requests: L* is scaled by 2.55, a* and b* moved by 128.
    lab_HWC = cv2.cvtColor(small_HWC, cv2.COLOR_RGB2Lab).astype(np.float32)
    cells_HWC = cv2.resize(lab_HWC, (GRID, GRID), interpolation=cv2.INTER_AREA)
    light, *colours = cv2.meanStdDev(lab_HWC)[1][:, 0].tolist()
    lightness_HW, spreads = cv2.extractChannel(lab_HWC, 0), [light]
    for _ in range(OCTAVES):
        lightness_HW = cv2.resize(lightness_HW, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        spreads.append(cv2.meanStdDev(lightness_HW)[1].item())
    # The mean of four pixels keeps the variance between such squares; what it loses was within them.
    grain = [math.sqrt(max(whole**2 - between**2, 0)) for whole, between in pairwise(spreads)]
    contrasts = [light * L_UNIT, *colours, *(detail * L_UNIT for detail in grain)]
    described_A = np.empty(NUM_VALUES, np.float32)
    described_A[: cells_HWC.size] = (cells_HWC * _UNIT_C - _ZERO_C).ravel()
    described_A[cells_HWC.size :] = [LOG_SCALE * math.log(contrast + LEAST) for contrast in contrasts]
    return described_A


COLOURS = ("red_green", "yellow_blue", "fine_grain")


def colours(described_A: NDArray[np.float32]) -> tuple[float, ...]:
    """What a description says of the light and the camera, by COLOURS: the mean a* and b* of CIELAB, and the contrast
    of the finest details as 10 ln(L*)."""
    cells_N3 = described_A[: GRID * GRID * 3].reshape(-1, 3)
    return (*cells_N3[:, 1:].mean(axis=0).tolist(), float(described_A[GRID * GRID * 3 + 3]))


_UNIT_C, _ZERO_C = np.array([L_UNIT, 1.0, 1.0], np.float32), np.array([0.0, 128.0, 128.0], np.float32)
