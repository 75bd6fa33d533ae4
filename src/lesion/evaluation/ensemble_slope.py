"""Ensemble slope: how much surer the mean of several calibrated networks may be than each of them.

Each network is calibrated by itself; their mean has less noise, so calibrated log-odds are too near 0 after averaging.
How much is known from how far networks differ on images that none of them was trained on. No targets are needed.
"""

# S samples · F networks, of different folds

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.calibrators import LEAST_SLOPE, MOST_SLOPE, OutputMap
from lesion.evaluation.links import log_odds

FEWEST_ROWS = 100
PROBIT = math.pi / 8  # σ(z) is about Φ(z √(π ∕ 8)) (MacKay 1992, section 4)


def ensemble_map(calibrated_SF: NDArray[np.floating]) -> OutputMap:
    """The line that calibrates the mean log-odds of F calibrated networks, as a map of method platt; none where fewer
    than 100 rows or two networks cannot say it.

    `calibrated_SF` are one output's calibrated probabilities, in [0, 1], of images that none of the networks saw, such
    as a test set's, without targets. A network's log-odds are taken as the infinite ensemble's, times a constant, plus
    noise of its own of variance w; the probit approximation of the sigmoid gives the slope (see `_slope`). The offset
    keeps the mean probability of the rows where the networks' is, since calibrated networks have the right mean.
    """
    is_known_S = ~np.isnan(calibrated_SF).any(axis=1)
    calibrated_SF = calibrated_SF[is_known_S]
    num_rows, num_networks = calibrated_SF.shape
    if num_rows < FEWEST_ROWS or num_networks < 2:
        return OutputMap("none")
    scores_SF = log_odds(calibrated_SF)
    slope = _slope(
        float(scores_SF.var(axis=0, ddof=1).mean()), float(scores_SF.var(axis=1, ddof=1).mean()), num_networks
    )
    if slope is None:
        return OutputMap("none")
    return OutputMap("platt", slope, _offset(slope * scores_SF.mean(axis=1), float(calibrated_SF.mean())))


def _slope(total: float, within: float, num_networks: int) -> float | None:
    """The slope of F networks' mean, from the variance of one network's log-odds over rows and the mean variance
    between networks within a row; None where the networks differ too much for the approximation.

    With v = total − within the variance of the infinite ensemble ℓ, and k ℓ the true log-odds: given one network's z
    the truth has mean (k v ÷ total) z and variance k² v · within ÷ total, so the network's slope is
    (k v ÷ total) ÷ √(1 + π∕8 · k² v · within ÷ total). It is 1, since the network is calibrated: that gives k. The
    mean of F networks has the same slope with within ÷ F in place of within.
    """
    common = total - within
    if common <= 1e-9:  # all rows are alike, but for rounding
        return None
    inverse = (common / total) ** 2 - PROBIT * common * within / total  # 1 ÷ k²
    if inverse <= 0.1:  # from here on the slope rises without bound
        return None
    k_2 = 1 / inverse
    of_mean = common + within / num_networks
    slope = math.sqrt(k_2) * common / of_mean
    slope /= math.sqrt(1 + PROBIT * k_2 * common * within / num_networks / of_mean)
    return min(max(slope, LEAST_SLOPE), MOST_SLOPE)


def _offset(score_S: NDArray[np.float64], mean: float) -> float:
    """What is added to all scores so that their probabilities have this mean, by bisection."""
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        is_low = float(np.mean(1 / (1 + np.exp(-(score_S + middle))))) < mean
        low, high = (middle, high) if is_low else (low, middle)
    return (low + high) / 2
