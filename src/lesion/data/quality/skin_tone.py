"""Skin tone: the individual typology angle of the skin around a lesion, in bands, with its uncertainty.

A colour measured in a photograph: light, camera and white balance move it by more than a band unless they are
calibrated. It serves to compare groups of pictures, and says nothing sure of one person.
"""

# H, W pixels · C red, green, blue · G cells of the border

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Band = Literal["very light", "light", "intermediate", "tan", "brown", "dark"]

# The lower bound of each band in degrees (Chardon et al. 1991; Del Bino & Bernerd 2013). Kinyanjui et al. 2020 divide
# tan (19°) and call what is below 10° dark.
BANDS: tuple[tuple[float, Band], ...] = (
    (55, "very light"),
    (41, "light"),
    (28, "intermediate"),
    (10, "tan"),
    (-30, "brown"),
    (-180, "dark"),
)
GRID = 8  # cells on a side; the outermost ring, 28 of them, is the border
CELL_PX = 4  # a cell's side in the reduced picture
LEAST_SEEN = 0.5  # of a cell's pixels must be skin for the cell to count
LEAST_CELLS = 6
SKIN_HUES = (5.0, 95.0)  # degrees in the a*b* plane: skin of every tone; outside it is no skin
LEAST_CHROMA, MOST_CHROMA = 5.0, 50.0
GLARE = 92.0  # L* above which a pixel shows the lamp
COLOUR_ERROR = 3.0  # assumed of a camera that is not calibrated, standard deviation of L* and of b*
LARGEST_OUTLIER = 12.0  # L* by which a cell may be darker than the border's lighter half: beyond it is lesion


@dataclass(frozen=True, slots=True)
class SkinTone:
    """The individual typology angle in degrees, and its standard error: of the cells of the border, and of the colour.

    The latter is what COLOUR_ERROR does to the angle; it is larger the paler and the greyer the skin.
    """

    ita_deg: float
    error_deg: float

    @property
    def band(self) -> Band:
        return next(name for least, name in BANDS if self.ita_deg > least or least == BANDS[-1][0])

    @property
    def is_certain(self) -> bool:
        """Whether two standard errors to both sides lie in the same band."""
        ends = (SkinTone(self.ita_deg + sign * 2 * self.error_deg, 0).band for sign in (-1, 1))
        return all(band == self.band for band in ends)


def typology_angle(lab_NC: NDArray[np.floating]) -> NDArray[np.float64]:
    """ITA° = arctan((L* − 50) / b*) · 180 / π of CIELAB colours [N, 3] (Chardon et al. 1991), for b* > 0."""
    return np.asarray(np.degrees(np.arctan2(lab_NC[..., 0] - 50.0, lab_NC[..., 2])))


def skin_tone(image_HWC: NDArray[np.uint8], *, hidden: Sequence[NDArray[np.uint8]]) -> SkinTone | None:
    """The tone of the healthy border of a picture (uint8 sRGB); None where it shows no skin.

    The border is the outermost ring of an 8 × 8 grid. Pixels that one of the masks `hidden` covers (255: dark corners,
    ink, hair; each of any size) and glare are left out; cells that are much darker than others are taken for lesion.
    The angle is the median of the cells'.
    """
    side = GRID * CELL_PX
    small_HWC = cv2.resize(image_HWC, (side, side), interpolation=cv2.INTER_AREA)
    hidden_HW = np.zeros((side, side), np.uint8)
    for mask_HW in hidden:
        if mask_HW.any():
            hidden_HW = np.maximum(hidden_HW, cv2.resize(mask_HW, (side, side), interpolation=cv2.INTER_AREA))
    lab_HWC = cv2.cvtColor(small_HWC.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    is_seen_HW = (hidden_HW < 26) & (lab_HWC[..., 0] < GLARE)  # a tenth of a pixel may be hidden
    lab_GNC, is_seen_GN = _border_cells(lab_HWC), _border_cells(is_seen_HW[..., None])[..., 0]
    num_G = is_seen_GN.sum(axis=1)
    counts_G = num_G >= LEAST_SEEN * CELL_PX**2
    if counts_G.sum() < LEAST_CELLS:
        return None
    seen_GN1 = is_seen_GN[counts_G][..., None]
    lab_GC = (lab_GNC[counts_G] * seen_GN1).sum(axis=1) / num_G[counts_G, None]
    hue_G, chroma_G = np.degrees(np.arctan2(lab_GC[:, 2], lab_GC[:, 1])), np.hypot(lab_GC[:, 1], lab_GC[:, 2])
    is_skin_G = (
        (hue_G >= SKIN_HUES[0]) & (hue_G <= SKIN_HUES[1]) & (chroma_G >= LEAST_CHROMA) & (chroma_G <= MOST_CHROMA)
    )
    if is_skin_G.mean() < 0.75:  # a flower's leaf has some such colours too
        return None
    lab_GC = lab_GC[is_skin_G]
    lightness = np.sort(lab_GC[:, 0])[3 * len(lab_GC) // 4]  # of the lighter quarter's darkest cell
    lab_GC = lab_GC[lab_GC[:, 0] >= lightness - LARGEST_OUTLIER]
    if len(lab_GC) < LEAST_CELLS:
        return None
    angles = typology_angle(lab_GC).tolist()
    middle = median(angles)  # of so few numbers ten times as fast as NumPy's
    # 1.4826 × the median deviation is a normal deviation; 1.2533 the median's error beside the mean's.
    deviation = 1.4826 * median([abs(angle - middle) for angle in angles])
    spread_deg = 1.2533 * deviation / len(angles) ** 0.5
    above, yellow = median(lab_GC[:, 0].tolist()) - 50, median(lab_GC[:, 2].tolist())
    colour_deg = math.degrees(COLOUR_ERROR / max(math.hypot(above, yellow), COLOUR_ERROR))  # d arctan(l / b)
    return SkinTone(middle, math.hypot(spread_deg, colour_deg))


def _border_cells(array_HWC: NDArray[np.generic]) -> NDArray[np.generic]:
    """The pixels of each border cell [G, N, C]."""
    cells = array_HWC.reshape(GRID, CELL_PX, GRID, CELL_PX, -1).swapaxes(1, 2).reshape(GRID, GRID, CELL_PX**2, -1)
    return np.asarray(cells[_IS_BORDER])


_IS_BORDER = np.ones((GRID, GRID), dtype=bool)
_IS_BORDER[1:-1, 1:-1] = False
