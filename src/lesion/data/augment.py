"""Augment: the larger square of a training picture to what the network sees of it: a random crop, turn and light."""

# H, W pixels

from __future__ import annotations

import math
import threading
from typing import Any

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray

from lesion.data.decode.images import Pixels
from lesion.geometry import NUM_VIEWS, Flips

AREA = (0.6, 1.0)  # share of the square that is kept
RATIO = (0.9, 1.1)  # width ÷ height of what is kept
LIGHT = 0.15  # brightness, contrast and saturation are multiplied by 1 ± as much
HUE = 0.02  # of a full turn of the colour circle
FLIPS = {1: 1, 2: 0, 3: -1}  # the bits of `transforms.view` as cv2.flip calls them

# Brightness, and the plane of colours that hue turns in and saturation stretches (FCC NTSC, 1953).
TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
FROM_YIQ = np.linalg.inv(TO_YIQ)


class Augment:
    """Random pictures [image_size, image_size, 3] for training, from squares of `transforms.training_px`.

    No state that a sample could change: the pipeline is seeded anew for each use of each sample, so the thread does not
    matter. albumentations' pipelines are not thread-safe: each thread has its own.
    Linear interpolation, since the square is only slightly larger than the crop (docs/decisions/0014).
    """

    def __init__(self, image_size: int, flips: Flips = "flips_and_rotations") -> None:
        self.image_size, self._num_turns = image_size, NUM_VIEWS[flips]
        self._own = threading.local()

    def __call__(self, image_HWC: Pixels, stream: np.random.SeedSequence) -> Pixels:
        pipeline = getattr(self._own, "pipeline", None) or self._pipeline()
        pipeline.set_random_seed(int(stream.generate_state(1)[0]))
        return np.asarray(pipeline(image=image_HWC)["image"], dtype=np.uint8)

    def _pipeline(self) -> Any:
        size = (self.image_size, self.image_size)
        crop = A.RandomResizedCrop(size, scale=AREA, ratio=RATIO, interpolation=cv2.INTER_LINEAR, p=1.0)
        self._own.pipeline = A.Compose([crop, Turn(self._num_turns), Light(p=0.7)])
        return self._own.pipeline


class Turn(A.ImageOnlyTransform):  # type: ignore[misc]
    """One of the first `num_turns` flips and quarter turns of `transforms.view`, each as likely; a fifth of the time of
    albumentations' own D4.
    """

    def __init__(self, num_turns: int) -> None:
        super().__init__(p=1.0)
        self.num_turns = num_turns

    def get_params(self) -> dict[str, Any]:
        return {"number": self.py_random.randrange(self.num_turns)}

    def apply(self, img: Pixels, number: int, **_: Any) -> Pixels:
        image_HWC = cv2.transpose(img) if number & 4 else img
        flip = FLIPS.get(number & 3)
        return np.asarray(image_HWC if flip is None else cv2.flip(image_HWC, flip), dtype=np.uint8)


class Light(A.ImageOnlyTransform):  # type: ignore[misc]
    """Brightness, contrast, saturation and hue, changed by one matrix: a quarter of the time of albumentations' own
    ColorJitter, which takes a picture to hue, saturation and value and back.
    """

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        brightness, contrast, saturation = (self.py_random.uniform(1 - LIGHT, 1 + LIGHT) for _ in range(3))
        mean = float(TO_YIQ[0] @ cv2.mean(data["image"])[:3])
        return {"matrix": light_matrix(brightness, contrast, saturation, self.py_random.uniform(-HUE, HUE), mean)}

    def apply(self, img: Pixels, matrix: NDArray[np.float32], **_: Any) -> Pixels:
        return np.asarray(cv2.transform(img, matrix), dtype=np.uint8)  # rounds, and holds to 0 to 255


def light_matrix(brightness: float, contrast: float, saturation: float, hue: float, mean: float) -> NDArray[np.float32]:
    """The matrix [3, 4] of x ↦ b·(c·HSx + (1 − c)·m), x a colour and m the picture's mean brightness.

    H turns the plane of colours by `hue` turns and S stretches it by `saturation`; neither changes brightness.
    """
    cos, sin = (saturation * function(2 * math.pi * hue) for function in (math.cos, math.sin))
    colours = FROM_YIQ @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ TO_YIQ
    offset = np.full((3, 1), brightness * (1 - contrast) * mean)
    return np.hstack([brightness * contrast * colours, offset]).astype(np.float32)
