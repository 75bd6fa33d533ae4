"""Faithfulness: whether the places that a map calls important are those that the prediction needs.

Deletion and insertion (Petsiuk et al. 2018, "RISE", section 4.3): pixels are taken away, or brought back, the hottest
first; a faithful map lets the probability fall, or rise, at once.
"""

# B squares · H, W pixels · h, w places of a map

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lesion.data.decode.images import Pixels
from lesion.explain.occlusion import Score

NUM_STEPS = 6  # the share of pixels that is changed grows by a sixth
BLUR = 1 / 12  # of the side: deviation of the blur that insertion begins with


@dataclass(frozen=True)
class Faithfulness:
    """Areas under the two curves of the probability against the share of pixels, each in 0 to 1."""

    insertion: float  # more is better
    deletion: float  # less is better

    @property
    def gain(self) -> float:
        """Insertion − deletion, in −1 to 1: what maps are compared by."""
        return self.insertion - self.deletion


def faithfulness(
    values_hw: NDArray[np.float32], square_HWC: Pixels, probability: Score, *, ends: tuple[float, ...] | None = None
) -> Faithfulness:
    """How faithful a map of the square is to `probability`, which gives that of the explained class.

    As in the paper, deleted pixels get the square's mean colour and insertion begins with a blurred square. `ends` are
    what `ends_of` says of the square, if that is known: they are the same for each map.
    """
    whole, grey, blurred = ends or ends_of(square_HWC, probability)
    side = square_HWC.shape[0]
    values_HW = cv2.resize(np.ascontiguousarray(values_hw, np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    order_P = np.argsort(-values_HW, axis=None, kind="stable")
    grey_HWC, blurred_HWC = _without_content(square_HWC)
    shares = np.linspace(0, 1, NUM_STEPS + 1)
    squares = []
    for share in shares[1:-1]:
        is_changed_HW1 = np.zeros(side * side, bool)
        is_changed_HW1[order_P[: round(share * side * side)]] = True
        is_changed_HW1 = is_changed_HW1.reshape(side, side, 1)
        squares.append(np.where(is_changed_HW1, grey_HWC, square_HWC))
        squares.append(np.where(is_changed_HW1, square_HWC, blurred_HWC))
    probs_B = probability(np.stack(squares))
    deletion = float(np.trapezoid([whole, *probs_B[::2], grey], shares))
    return Faithfulness(float(np.trapezoid([blurred, *probs_B[1::2], whole], shares)), deletion)


def ends_of(square_HWC: Pixels, probability: Score) -> tuple[float, ...]:
    """The probability of the whole square, of its mean colour alone, and of the blurred square."""
    return tuple(probability(np.stack([square_HWC, *_without_content(square_HWC)])).tolist())


def _without_content(square_HWC: Pixels) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The square in its mean colour, and blurred."""
    grey_HWC = np.broadcast_to(np.round(square_HWC.mean(axis=(0, 1))).astype(np.uint8), square_HWC.shape)
    blurred_HWC = cv2.GaussianBlur(square_HWC, (0, 0), max(square_HWC.shape[0] * BLUR, 0.5))
    return grey_HWC, np.asarray(blurred_HWC, dtype=np.uint8)
