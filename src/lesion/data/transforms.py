"""Transforms: a picture of any size to the square that the network sees, and that square's eight views."""

# H, W pixels · V views

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lesion.data.decode.images import Pixels
from lesion.geometry import Fit

PAD_COLOUR = (0, 0, 0)  # of the bars beside a picture that does not fill its square: black, as behind transparent parts


@dataclass(frozen=True)
class Preprocess:
    """The one deterministic preprocessing of validation, test and serving: to a square of `image_size`, as `fit` says.

    `mean` and `std` (per RGB channel, of values in 0 to 1) are what the network divides out itself, on its device.
    `decode_px` is what the decoder is told to keep of a large JPEG; None, as in older artifacts: all of it.
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fit: Fit = "crop"
    decode_px: int | None = None

    def __call__(self, image_HWC: Pixels) -> Pixels:
        """uint8 RGB [H, W, 3] to uint8 RGB [image_size, image_size, 3]."""
        return fitted(image_HWC, self.image_size, self.fit)

    def for_training(self, image_HWC: Pixels) -> Pixels:
        """The larger square that training crops from: of the same part of the picture, which is all that prediction
        will see."""
        return fitted(image_HWC, training_px(self.image_size), self.fit)


def training_px(image_size: int) -> int:
    """Side of the square that training crops from: an eighth is left for the crop to wander in."""
    return round(image_size * 8 / 7)


def decode_px(image_size: int) -> int:
    """How many pixels of a JPEG's shorter side are decoded at least: three times the larger square's, so that what
    makes the square is still a mean of several pixels (measured: docs/decisions/0056). For any `fit`."""
    return 3 * training_px(image_size)


def fitted(image_HWC: Pixels, side_px: int, fit: Fit) -> Pixels:
    """A picture of any size as a square of `side_px`. crop: its middle square. pad: all of it, its longer side brought
    to `side_px`, in the middle of bars of PAD_COLOUR. stretch: all of it, each side brought to `side_px` by itself.
    """
    if fit == "crop":
        return middle_square(image_HWC, side_px)
    if fit == "stretch":
        return resized(image_HWC, side_px, side_px)
    height, width = image_HWC.shape[:2]
    longer = max(height, width)
    inner_HWC = resized(image_HWC, max(1, round(height * side_px / longer)), max(1, round(width * side_px / longer)))
    square_HWC = np.full((side_px, side_px, 3), PAD_COLOUR, np.uint8)
    top, left = (side_px - inner_HWC.shape[0]) // 2, (side_px - inner_HWC.shape[1]) // 2
    square_HWC[top : top + inner_HWC.shape[0], left : left + inner_HWC.shape[1]] = inner_HWC
    return square_HWC


def share_cut_off(height: int, width: int) -> float:
    """The share of a picture's area that lies outside its middle square, which fit=crop leaves."""
    return 1 - min(height, width) / max(height, width)


def middle_square(image_HWC: Pixels, side_px: int) -> Pixels:
    """The middle square of a picture of any size, resized to `side_px`."""
    height, width = image_HWC.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return resize(image_HWC[top : top + side, left : left + side], side_px)  # cropped first: fewer pixels to resize


def resize(image_HWC: Pixels, side_px: int) -> Pixels:
    """To a square of `side_px`: by area when shrinking, which does not alias, by linear interpolation when growing."""
    method = cv2.INTER_AREA if min(image_HWC.shape[:2]) > side_px else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image_HWC, (side_px, side_px), interpolation=method), dtype=np.uint8)


def resized(image_HWC: Pixels, height: int, width: int) -> Pixels:
    """To any size, by area and linear as `resize`: first the sides that shrink, since OpenCV's own way by area averages
    nothing where the other side grows."""
    shrunk = (min(width, image_HWC.shape[1]), min(height, image_HWC.shape[0]))  # OpenCV has the width first
    small_HWC = cv2.resize(image_HWC, shrunk, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small_HWC, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def view(image_HW: Any, number: int) -> Any:
    """One of the eight flips and quarter turns of a square, an array or tensor whose last two dimensions are H, W; 0 is
    the picture itself.

    The order puts the cheap flips first: 1 mirrors left and right, 2 up and down, 3 both; 4 to 7 are those of the
    transpose.
    """
    if number >= 4:
        image_HW = image_HW.swapaxes(-1, -2)
    dims = tuple(dim for dim, bit in ((-1, 1), (-2, 2)) if number & bit)
    if not dims:
        return image_HW
    return np.flip(image_HW, dims) if isinstance(image_HW, np.ndarray) else image_HW.flip(dims)


def undo_view(image_HW: Any, number: int) -> Any:
    """The square whose `view` of that number this is, an array or tensor whose last two dimensions are H, W."""
    flipped_HW = view(image_HW, number % 4)  # a flip undoes itself
    return flipped_HW.swapaxes(-1, -2) if number >= 4 else flipped_HW


def views(square_HWC: Pixels, num_views: int) -> NDArray[np.uint8]:
    """The first `num_views` of a square's views [V, H, W, 3]."""
    square_CHW = square_HWC.transpose(2, 0, 1)
    return np.stack([view(square_CHW, number).transpose(1, 2, 0) for number in range(num_views)])
