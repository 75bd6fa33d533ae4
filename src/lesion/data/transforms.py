"""Transforms: a picture of any size to the square that the network sees. Fixed for prediction, random for training."""

# H, W pixels · V views

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from lesion.data.images import Pixels


class Transform(Protocol):
    """Pixels of any size and the sample's own random stream to pixels [image_size, image_size, 3]."""

    def __call__(self, image_HWC: Pixels, stream: np.random.SeedSequence) -> Pixels: ...


@dataclass(frozen=True)
class Preprocess:
    """The one deterministic preprocessing of validation, test and serving: shorter side to `image_size`, middle square.

    `mean` and `std` (per RGB channel, of values in 0 to 1) are what the network divides out itself, on its device.
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, image_HWC: Pixels, stream: np.random.SeedSequence | None = None) -> Pixels:  # noqa: ARG002
        """uint8 RGB [H, W, 3] to uint8 RGB [image_size, image_size, 3].

        The stream is not used: nothing here is random.
        """
        height, width = image_HWC.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = image_HWC[top : top + side, left : left + side]  # cropped first: fewer pixels to resize
        return resize(square, self.image_size)


def resize(image_HWC: Pixels, side_px: int) -> Pixels:
    """To a square of `side_px`: by area when shrinking, which does not alias, by linear interpolation when growing."""
    method = cv2.INTER_AREA if min(image_HWC.shape[:2]) > side_px else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image_HWC, (side_px, side_px), interpolation=method), dtype=np.uint8)


class Augment:
    """Random training pictures by albumentations: a crop, a flip or turn of the square, light and colour.

    Holds no state that a sample could change: the pipeline is seeded afresh for each use of each sample, so any thread
    may do any sample. One instance belongs to one thread, since albumentations' pipelines do not bear sharing.
    """

    def __init__(self, image_size: int) -> None:
        import albumentations as A  # here, since importing it is slow and prediction never needs it

        self._pipeline = A.Compose(
            [
                A.RandomResizedCrop(
                    (image_size, image_size), scale=(0.6, 1.0), ratio=(0.9, 1.1), interpolation=cv2.INTER_AREA, p=1.0
                ),
                A.D4(p=1.0),
                A.ColorJitter(brightness=0.15, contrast=0.15, saturation=0.15, hue=0.02, p=0.7),
            ]
        )

    def __call__(self, image_HWC: Pixels, stream: np.random.SeedSequence) -> Pixels:
        self._pipeline.set_random_seed(int(stream.generate_state(1)[0]))
        return np.asarray(self._pipeline(image=image_HWC)["image"], dtype=np.uint8)


MAX_VIEWS = 8


def view(image_HW: Any, number: int) -> Any:
    """One of the eight flips and quarter turns of a square whose last two dimensions are H, W; 0 is the picture itself.

    The order puts the cheap flips first: 1 mirrors left and right, 2 up and down, 3 both; 4 to 7 are those of the
    transpose.
    """
    if number >= 4:
        image_HW = image_HW.transpose(-1, -2)
    dims = [dim for dim, bit in ((-1, 1), (-2, 2)) if number & bit]
    return image_HW.flip(dims) if dims else image_HW
