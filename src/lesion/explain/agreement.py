"""Agreement: whether two maps of one square show the same, by the order of their places."""

# h, w places of a map

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]  # [h, w]
COMPARED_SIDE = 14  # maps of different grids are compared on this one


def rank_correlation(first_hw: Map, second_hw: Map) -> float | None:
    """Spearman's between two maps of one square, on a grid of 14 × 14; None where one is the same everywhere."""
    size = (COMPARED_SIDE, COMPARED_SIDE)
    first, second = (
        cv2.resize(np.ascontiguousarray(one, np.float32), size, interpolation=cv2.INTER_LINEAR).ravel()
        for one in (first_hw, second_hw)
    )
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    from scipy.stats import spearmanr  # type: ignore[import-untyped]  # here: a job needs it after training, if at all

    return float(np.clip(spearmanr(first, second).statistic, -1, 1))


def mean_correlation(pairs: Sequence[tuple[Map, Map]]) -> float | None:
    """The mean rank correlation of pairs of maps, of those for which it is defined."""
    return _mean([value for pair in pairs if (value := rank_correlation(*pair)) is not None])


def likeness(own: Sequence[Map], others: Sequence[Sequence[Map]]) -> tuple[float | None, float | None]:
    """How alike a network's maps of some pictures are to those of other networks: the mean |rank correlation| between
    maps of the same picture, and between maps of different ones; each None where it is not defined.

    Without the sign, since a network of random weights may as well speak against the class (Adebayo et al. 2018,
    section 4). The second is the zero line: two maps of few places, or of pictures with the lesion in the middle, are
    somewhat alike by chance.
    """
    same: list[float] = []
    different: list[float] = []
    for maps in others:
        for (i, first_hw), (j, second_hw) in product(enumerate(own), enumerate(maps)):
            value = rank_correlation(first_hw, second_hw)
            if value is not None:
                (same if i == j else different).append(abs(value))
    return _mean(same), _mean(different)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
