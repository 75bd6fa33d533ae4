"""Appearance: a short description of a picture's colours and grain, by which an odd one is seen before any network.

A network that learned to tell lesions apart forgets what else there is: its features of a flower can lie among those of
skin. Colours do not forget.
"""

# H, W pixels · A numbers

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lesion.data.images import Pixels

SIDE_PX = 64
GRID = 4  # cells on a side whose mean colour is kept
OCTAVES = 3  # of which the grain is measured: details of 2, 4 and 8 pixels
LOG_SCALE = 10.0  # a factor e of contrast counts as 10 units of L*, a*, b*
LEAST = 0.3  # of L*: below it contrast is rounding
NUM_VALUES = GRID * GRID * 3 + 3 + OCTAVES


def appearance(square_HWC: Pixels) -> NDArray[np.float32]:
    """The description [A] of a prepared square (uint8 RGB): mean CIELAB colours by cell, their deviation, and grain."""
    small_HWC = square_HWC
    while len(small_HWC) >= 2 * SIDE_PX and len(small_HWC) % 2 == 0:  # halving is what OpenCV does fastest
        small_HWC = cv2.resize(small_HWC, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    method = cv2.INTER_AREA if len(small_HWC) >= 2 * SIDE_PX else cv2.INTER_LINEAR
    small_HWC = cv2.resize(small_HWC, (SIDE_PX, SIDE_PX), interpolation=method)
    lab_HWC = cv2.cvtColor(small_HWC.astype(np.float32) * np.float32(1 / 255), cv2.COLOR_RGB2Lab)
    cells = cv2.resize(lab_HWC, (GRID, GRID), interpolation=cv2.INTER_AREA)
    deviation = cv2.meanStdDev(lab_HWC)[1][:, 0]
    lightness_HW = np.ascontiguousarray(lab_HWC[..., 0])
    grain = []
    for _ in range(OCTAVES):
        detail_HW = lightness_HW - cv2.GaussianBlur(lightness_HW, (5, 5), 1.0)
        grain.append(float(cv2.meanStdDev(detail_HW)[1][0, 0]))
        lightness_HW = cv2.resize(lightness_HW, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    logs = LOG_SCALE * np.log(np.array([*deviation, *grain]) + LEAST)
    return np.concatenate([cells.ravel(), logs]).astype(np.float32)
