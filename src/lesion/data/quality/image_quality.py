"""Image quality: what makes one picture hard to judge, measured from its pixels: blur, exposure, what covers skin.

Pure arrays in, numbers out, cheap enough for every request: all is measured on small copies, whose cost does not grow
with the picture. The measures say nothing of what is a disease; whether a value is unusual is decided by comparison
with the training pictures (data/quality/quality_bounds.py).
"""

# H, W pixels of a working copy · C red, green, blue · N pixels or marks of a selection

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from lesion.data.decode.images import Pixels
from lesion.data.quality.image_marks import TICK_DEPTH, TICK_LINE_PX, Mask, hair_share, ruler_ticks, thin_dark_lines
from lesion.data.quality.skin_tone import SkinTone, skin_tone

# The side that a network sees is near this one: what is lost when a picture is reduced to it, no network could use.
SIDE_PX = 256
# Length of the strong blur: 9 in the paper. Of blurs that just show at SIDE_PX (Gaussian, σ 1 px) 5 finds 95 % beyond
# the sharpest 99 % of HAM10000, 9 finds 72 %.
CRETE_PX = 5
DARK, BRIGHT = 20, 250  # grey levels: what a camera shows of no light, and of too much
CORNER = 0.06  # of a side: the square in each corner that must be dark for a dark corner
MOST_DARK = 60.0  # mean grey level of a dark corner
MIDDLE = 0.35  # half an axis of the ellipse in the middle, as a share of the side: there is the lesion
INK_HUES = (88, 148)  # of OpenCV's 0 to 180: cyan, blue and violet, the inks of surgical and ballpoint pens
INK_SATURATION, INK_VALUE = 90, 40  # of 255: below them blue is a shadow, or the veil of a melanoma

_RIM = np.ones((3, 3), np.uint8)


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


MEASURES = tuple(field.name for field in fields(ImageQuality))


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What is measured of a training picture: its quality, and by what else pictures are grouped."""

    quality: ImageQuality
    ruler: int  # ticks in one evenly spaced row; 0, or 6 and more
    skin_tone: SkinTone | None  # around the lesion; None where the border shows no skin whose colour can be judged


def image_quality(image_HWC: Pixels) -> ImageQuality:
    """The measures of one picture (uint8 RGB [H, W, 3], any size)."""
    return _quality(_Copies.of(image_HWC))


def surveyed(image_HWC: Pixels, size_px: tuple[int, int] | None = None) -> Surveyed:
    """The measures of one training picture (uint8 RGB [H, W, 3], any size); its quality is that of `image_quality`.

    `size_px` is the height and width of a picture that was decoded smaller: only the size is measured of the whole one.
    """
    copies = _Copies.of(image_HWC)
    quality = _quality(copies)
    if size_px is not None:
        quality = replace(quality, short_side_px=min(size_px))
    lines_HW = thin_dark_lines(copies.grey_HW, width_px=TICK_LINE_PX, depth=TICK_DEPTH)
    if quality.dark_corners:
        lines_HW[cv2.resize(copies.rim_HW, lines_HW.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0] = 0
    hidden = (copies.rim_HW, copies.ink_HW, copies.lines_HW)
    return Surveyed(quality, ruler_ticks(lines_HW), skin_tone(copies.small_HWC, hidden=hidden))


@dataclass(frozen=True, slots=True)
class _Copies:
    """Working copies of a picture, from larger to smaller, and masks of them (255 where it is, else 0)."""

    short_side_px: int  # of the picture as it was sent
    grey_HW: Pixels  # a side of SIDE_PX
    half_HW: Pixels  # of it
    small_HWC: Pixels  # colours, of half of that side
    corners_HW: Mask  # dark
    rim_HW: Mask  # the corners and what is beside them
    ink_HW: Mask
    lines_HW: Mask

    @classmethod
    def of(cls, image_HWC: Pixels) -> Self:
        reduced_HWC = _reduced(image_HWC)
        grey_HW = _working_copy(cv2.cvtColor(reduced_HWC, cv2.COLOR_RGB2GRAY))
        half_HW, small_HWC = _half(grey_HW), _small(reduced_HWC)
        corners_HW = rim_HW = dark_corner_mask(half_HW)
        lines_HW = thin_dark_lines(half_HW)
        if corners_HW.any():
            rim_HW = cv2.dilate(corners_HW, _RIM)
            lines_HW[rim_HW > 0] = 0  # the rim of a round view is no hair
        ink_HW = ink_mask(small_HWC)
        return cls(min(image_HWC.shape[:2]), grey_HW, half_HW, small_HWC, corners_HW, rim_HW, ink_HW, lines_HW)


def _quality(copies: _Copies) -> ImageQuality:
    half_HW = copies.half_HW
    mean, deviation = cv2.meanStdDev(half_HW)
    return ImageQuality(
        short_side_px=copies.short_side_px,
        blur=blur(copies.grey_HW),
        brightness=mean.item(),
        contrast=deviation.item(),
        clipped_dark=np.count_nonzero(half_HW < DARK) / half_HW.size,
        clipped_bright=np.count_nonzero(half_HW >= BRIGHT) / half_HW.size,
        dark_corners=cv2.countNonZero(copies.corners_HW) / half_HW.size,
        ink=_share_outside_middle(copies.ink_HW),
        hair=hair_share(copies.lines_HW),
    )


def blur(grey_HW: NDArray[np.uint8]) -> float:
    """Perceptual blur, 0 sharp to 1 blurred: what share of the differences between neighbours a strong blur leaves.

    Crete et al. 2007, "The blur effect", eq. 1 to 6, the worse of the two directions, of every second row and column.
    A picture without any difference has nothing to be sharp: 1.
    """
    return max(_blur_along_rows(grey_HW[::2]), _blur_along_rows(cv2.transpose(grey_HW)[::2]))


def _blur_along_rows(grey_HW: NDArray[np.uint8]) -> float:
    scaled_HW = np.multiply(grey_HW, 128, dtype=np.uint16)  # so that the mean of some pixels keeps its fraction
    blurred_HW = cv2.blur(scaled_HW, (CRETE_PX, 1))
    own_HW = cv2.absdiff(scaled_HW[:, 1:], scaled_HW[:, :-1])
    lost_HW = cv2.subtract(own_HW, cv2.absdiff(blurred_HW[:, 1:], blurred_HW[:, :-1]))  # which stops at 0
    total = cv2.sumElems(own_HW)[0]
    return 1 - cv2.sumElems(lost_HW)[0] / total if total else 1.0


def dark_corner_mask(grey_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """255 where dark pixels hang together with a dark corner, as outside the round view of a dermatoscope; else 0.

    At least two corners must be dark: a single one may be a lesion that reaches it.
    """
    height, width = grey_HW.shape
    mask_HW = np.zeros_like(grey_HW)
    side = max(round(CORNER * min(height, width)), 2)
    spots = [
        (y, x)
        for y in (slice(0, side), slice(height - side, None))
        for x in (slice(0, side), slice(width - side, None))
    ]
    means = [cv2.mean(grey_HW[spot])[0] for spot in spots]
    if sum(mean < MOST_DARK for mean in means) < 2:  # the rest costs more than this
        return mask_HW
    middle_HW = grey_HW[height // 4 : -(height // 4) or None, width // 4 : -(width // 4) or None]
    bound = min(MOST_DARK, 0.45 * float(np.median(middle_HW[::2, ::2])))  # much darker than the middle, and dark at all
    dark = [mean < bound for mean in means]
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
    """255 where a pixel has the colour of a pen: blue to violet, which skin and its diseases are not; else 0.

    Of a copy so small that JPEG's specks have gone in it.
    """
    hsv_HWC = cv2.cvtColor(image_HWC, cv2.COLOR_RGB2HSV)
    low, high = INK_HUES
    return np.asarray(cv2.inRange(hsv_HWC, (low, INK_SATURATION, INK_VALUE), (high, 255, 255)))


def _share_outside_middle(mask_HW: NDArray[np.uint8]) -> float:
    """The share of a mask outside the middle ellipse, where a blue lesion would count as ink."""
    if not mask_HW.any():
        return 0.0
    outside_HW = _outside_middle(*mask_HW.shape)
    return cv2.countNonZero(cv2.bitwise_and(mask_HW, outside_HW)) / max(cv2.countNonZero(outside_HW), 1)


@lru_cache(maxsize=16)
def _outside_middle(height: int, width: int) -> NDArray[np.uint8]:
    outside_HW = np.full((height, width), 255, np.uint8)
    axes = (round(MIDDLE * width), round(MIDDLE * height))
    cv2.ellipse(outside_HW, (width // 2, height // 2), axes, 0, 0, 360, 0, -1)
    return outside_HW


def _reduced(image_HWC: Pixels) -> Pixels:
    """The picture with a longer side below 2 × SIDE_PX, made at a cost that is bounded.

    Of a large picture every k-th pixel of every k-th row is taken first, and four of these are averaged. What aliases
    makes a sharp picture seem sharper and leaves a blurred one as it is. OpenCV halves by area twenty times as fast as
    it reduces by any other factor.
    """
    longer = max(image_HWC.shape[:2])
    step = longer // (2 * SIDE_PX)
    if step >= 2:
        image_HWC = _divided(image_HWC, step, cv2.INTER_NEAREST)
    return _divided(image_HWC, 2, cv2.INTER_AREA) if step else image_HWC


def _half(image: Pixels) -> Pixels:
    """The picture at half its size; one of less than half SIDE_PX as it is."""
    return image if max(image.shape[:2]) < SIDE_PX // 2 else _divided(image, 2, cv2.INTER_AREA)


def _small(image_HWC: Pixels) -> Pixels:
    """The colours with a longer side of SIDE_PX ÷ 4 to ÷ 2; those of a small picture as they are."""
    longer = max(image_HWC.shape[:2])
    if longer < SIDE_PX // 2:
        return image_HWC
    if longer < SIDE_PX:
        return _divided(image_HWC, 2, cv2.INTER_AREA)
    return _divided(image_HWC, 4, cv2.INTER_LINEAR)  # the mean of the four in the middle: a step less


def _divided(image: Pixels, factor: int, method: int) -> Pixels:
    """The picture reduced by a whole factor, without the rows and columns that are left over."""
    height, width = max(image.shape[0] // factor, 1), max(image.shape[1] // factor, 1)
    whole = image[: height * factor, : width * factor]
    return np.asarray(cv2.resize(whole, (width, height), interpolation=method), dtype=np.uint8)


def _working_copy(grey_HW: Pixels) -> Pixels:
    """The picture with a longer side of SIDE_PX; a smaller one as it is: enlarging adds nothing."""
    height, width = grey_HW.shape
    scale = SIDE_PX / max(height, width)
    if scale >= 1:
        return grey_HW
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(grey_HW, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
