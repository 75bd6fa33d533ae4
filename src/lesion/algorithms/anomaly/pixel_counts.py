"""Pixel counts: how many normal and anomalous pixels have each score. A set has far more pixels than fit in memory, so
scores are counted in fine bins, image by image, and what is judged follows from the counts of all groups."""

# G groups · B bins of scores, from low to high · N pixels of an image

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.delong import areas_of_counts
from lesion.evaluation.intervals import Estimate, area_estimate

NUM_BINS = 2**16  # of scores in 0 to 1: two pixels of one bin are a tie
Counts = NDArray[np.int64]


def counted(images: Iterable[tuple[NDArray[np.bool_], NDArray[np.floating]]]) -> Counts:
    """How many pixels have each score [2, B]: normal ones, and anomalous ones. Of each image whether a pixel is
    anomalous [N], and its score in 0 to 1 [N]."""
    counts_2B = np.zeros((2, NUM_BINS), np.int64)
    for truth_N, score_N in images:
        bin_N = np.minimum((score_N * NUM_BINS).astype(np.intp), NUM_BINS - 1)
        counts_2B += np.bincount(truth_N * NUM_BINS + bin_N, minlength=2 * NUM_BINS).reshape(2, NUM_BINS)
    return counts_2B


def area_under_roc(total_2B: Counts, counts_of: Callable[[int], Counts], num_groups: int) -> Estimate:
    """ROC AUC of pixels with its 95 % interval, by leaving out a group at a time. `counts_of` gives the counts [2, B]
    of a group, and `total_2B` are those of all. There must be pixels of both kinds."""
    below_B, above_B = _below(total_2B[0]) / total_2B[0].sum(), 1 - _below(total_2B[1]) / total_2B[1].sum()
    found_G5 = np.array(
        [
            [yes_B.sum(), no_B.sum(), yes_B @ below_B, no_B @ above_B, yes_B @ _below(no_B)]
            for no_B, yes_B in map(counts_of, range(num_groups))
        ],
        dtype=np.float64,
    )
    yes_G, no_G, won_G, lost_G, inside_G = found_G5.T
    found = areas_of_counts(yes_G, no_G, won_G[:, None], lost_G[:, None], inside_G[:, None])
    return area_estimate(found)


def best_bin(total_2B: Counts, beta: float) -> int:
    """The bin from which on pixels are flagged for the largest F_β; of equal ones the highest."""
    flagged_B, found_B = np.cumsum(total_2B.sum(axis=0)[::-1]), np.cumsum(total_2B[1, ::-1])
    # F_β = (1 + β²) found ∕ (flagged + β² anomalous)
    return NUM_BINS - 1 - int(np.argmax(found_B / (flagged_B + beta**2 * found_B[-1])))


def _below(count_B: Counts) -> NDArray[np.float64]:
    """How many lie below each bin [B], and half of those in it."""
    return np.asarray(np.cumsum(count_B) - count_B / 2)
