"""Image quality: what makes one picture hard to judge, measured from its pixels: blur, exposure, what covers skin.

Pure arrays in, numbers out, cheap enough for every request. The measures say nothing of what is a disease; whether a
value is unusual is decided by comparison with the training pictures (data/quality_bounds.py).
"""

# H, W pixels of the working copy · C red, green, blue · N pixels or marks of a selection

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from lesion.data.image_marks import hair_and_ruler, thin_dark_lines
from lesion.data.images import Pixels
from lesion.data.skin_tone import SkinTone, skin_tone

# The side that a network sees is near this one: what is lost when a picture is reduced to it, no network could use.
SIDE_PX = 256
# Length of the strong blur: 9 in the paper. Of blurs that just show at SIDE_PX (Gaussian, σ 1 px) 5 finds 95 % beyond
# the sharpest 99 % of HAM10000, 9 finds 72 %.
CRETE_PX = 5
DARK, BRIGHT = 20, 250  # grey levels: what a camera shows of no light, and of too much
CORNER = 0.06  # of a side: the square in each corner that must be dark for a dark corner
MIDDLE = 0.35  # half an axis of the ellipse in the middle, as a share of the side: there is the lesion
INK_HUES = (88, 148)  # of OpenCV's 0 to 180: cyan, blue and violet, the inks of surgical and ballpoint pens
INK_SATURATION, INK_VALUE = 90, 40  # of 255: below them blue is a shadow, or the veil of a melanoma


@dataclass(frozen=True, slots=True)
class ImageQuality:
    """Measures of one picture. Shares are of its area, 0 to 1; ink's is of the area outside the middle."""

    short_side_px: int  # of the picture as it was sent
    blur: float  # 0 sharp to 1 blurred (Crete et al. 2007)
    brightness: float  # mean of the luma, 0 to 255
    contrast: float  # standard deviation of the luma, 0 to 127.5
    clipped_dark: float  # share of pixels without light
    clipped_bright: float  # share of pixels with too much of it
    dark_corners: float  # share of the dark rim around a round view
    ink: float  # share of pen marks
    hair: float  # share of long thin dark lines
    ruler: int  # ticks in one evenly spaced row; 0, or 6 and more


MEASURES = tuple(field.name for field in fields(ImageQuality))


def image_quality(image_HWC: Pixels) -> ImageQuality:
    """The measures of one picture (uint8 RGB [H, W, 3], any size)."""
    return _measured(image_HWC)[0]


def image_quality_and_skin_tone(image_HWC: Pixels) -> tuple[ImageQuality, SkinTone | None]:
    """The measures of one picture (uint8 RGB [H, W, 3], any size), and the tone of the skin around the lesion.

    The tone is None where the border shows no skin whose colour can be judged.
    """
    quality, small_HWC, hidden_HW = _measured(image_HWC)
    return quality, skin_tone(small_HWC, hidden_HW=hidden_HW)


def _measured(image_HWC: Pixels) -> tuple[ImageQuality, Pixels, NDArray[np.uint8]]:
    """The measures, the working copy, and where it shows corners, ink or hair (not 0)."""
    small_HWC = _working_copy(image_HWC)
    grey_HW = cv2.cvtColor(small_HWC, cv2.COLOR_RGB2GRAY)
    mean, deviation = cv2.meanStdDev(grey_HW)
    corners_HW = dark_corner_mask(grey_HW)
    ink_HW = ink_mask(small_HWC)
    lines_HW = thin_dark_lines(grey_HW)
    if corners_HW.any():
        lines_HW[cv2.dilate(corners_HW, np.ones((5, 5), np.uint8)) > 0] = 0  # the rim of a round view is no hair
    hair_HW, num_ticks = hair_and_ruler(lines_HW)
    quality = ImageQuality(
        short_side_px=min(image_HWC.shape[:2]),
        blur=blur(grey_HW),
        brightness=float(mean[0, 0]),
        contrast=float(deviation[0, 0]),
        clipped_dark=float(np.count_nonzero(grey_HW < DARK)) / grey_HW.size,
        clipped_bright=float(np.count_nonzero(grey_HW >= BRIGHT)) / grey_HW.size,
        dark_corners=_share(corners_HW),
        ink=_share_outside_middle(ink_HW),
        hair=_share(hair_HW),
        ruler=num_ticks,
    )
    return quality, small_HWC, corners_HW | ink_HW | hair_HW


def blur(grey_HW: NDArray[np.uint8]) -> float:
    """Perceptual blur, 0 sharp to 1 blurred: what share of the differences between neighbours a strong blur leaves.

    Crete et al. 2007, "The blur effect", eq. 1 to 6, the worse of the two directions. A picture without any difference
    has nothing to be sharp: 1.
    """
    scaled_HW = grey_HW.astype(np.uint16) * 128  # so that the mean of some pixels keeps its fraction
    found = []
    for size, after, before in (
        ((CRETE_PX, 1), (slice(None), slice(1, None)), (slice(None), slice(None, -1))),
        ((1, CRETE_PX), (slice(1, None), slice(None)), (slice(None, -1), slice(None))),
    ):
        blurred_HW = cv2.blur(scaled_HW, size)
        own_HW = cv2.absdiff(scaled_HW[after], scaled_HW[before])
        left_HW = cv2.absdiff(blurred_HW[after], blurred_HW[before])
        lost, total = cv2.sumElems(cv2.subtract(own_HW, left_HW))[0], cv2.sumElems(own_HW)[0]  # subtract stops at 0
        found.append((total - lost) / total if total else 1.0)
    return float(max(found))


def dark_corner_mask(grey_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """255 where dark pixels hang together with a dark corner, as outside the round view of a dermatoscope; else 0.

    At least two corners must be dark: a single one may be a lesion that reaches it.
    """
    height, width = grey_HW.shape
    mask_HW = np.zeros_like(grey_HW)
    side = max(round(CORNER * min(height, width)), 2)
    middle_HW = grey_HW[height // 4 : -(height // 4) or None, width // 4 : -(width // 4) or None]
    bound = min(60.0, 0.45 * float(np.median(middle_HW[::4, ::4])))  # much darker than the middle, and dark at all
    spots = [
        (y, x)
        for y in (slice(0, side), slice(height - side, None))
        for x in (slice(0, side), slice(width - side, None))
    ]
    dark = [float(np.mean(grey_HW[spot])) < bound for spot in spots]
    if sum(dark) < 2:
        return mask_HW
    is_dark_HW = (cv2.blur(grey_HW, (3, 3)) < bound).view(np.uint8)
    _, labels_HW = cv2.connectedComponents(is_dark_HW, connectivity=4)
    wanted = {
        int(label) for spot, is_dark in zip(spots, dark, strict=True) if is_dark for label in np.unique(labels_HW[spot])
    } - {0}
    table = np.zeros(int(labels_HW.max()) + 1, dtype=np.uint8)
    table[list(wanted)] = 255
    return np.asarray(table[labels_HW])


def ink_mask(image_HWC: Pixels) -> NDArray[np.uint8]:
    """255 where a pixel has the colour of a pen: blue to violet, which skin and its diseases are not; else 0."""
    hsv_HWC = cv2.cvtColor(image_HWC, cv2.COLOR_RGB2HSV)
    low, high = INK_HUES
    is_ink_HW = cv2.inRange(hsv_HWC, (low, INK_SATURATION, INK_VALUE), (high, 255, 255))
    return np.asarray(cv2.morphologyEx(is_ink_HW, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))  # without JPEG's specks


def _share(mask_HW: NDArray[np.uint8]) -> float:
    return cv2.countNonZero(mask_HW) / mask_HW.size


def _share_outside_middle(mask_HW: NDArray[np.uint8]) -> float:
    """The share of a mask outside the middle ellipse, where a blue lesion would count as ink."""
    if not mask_HW.any():
        return 0.0
    height, width = mask_HW.shape
    outside_HW = np.full_like(mask_HW, 255)
    axes = (round(MIDDLE * width), round(MIDDLE * height))
    cv2.ellipse(outside_HW, (width // 2, height // 2), axes, 0, 0, 360, 0, -1)
    num_outside = cv2.countNonZero(outside_HW)
    return cv2.countNonZero(cv2.bitwise_and(mask_HW, outside_HW)) / max(num_outside, 1)


def _working_copy(image_HWC: Pixels) -> Pixels:
    """The picture with a longer side of SIDE_PX; a smaller one as it is: enlarging adds nothing."""
    height, width = image_HWC.shape[:2]
    scale = SIDE_PX / max(height, width)
    if scale >= 1:
        return image_HWC
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(image_HWC, size, interpolation=cv2.INTER_AREA))
