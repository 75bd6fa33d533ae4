"""Drift: whether values of now are distributed as those of training. Arrays and counts in, test results out.

A difference counts where it is both significant, after Holm's correction for the number of tests, and large. Of many
requests the smallest difference is significant, and of few any large one is chance; neither alone says that something
changed. All tests take the rows for independent. Several images of one patient are not, which makes p too small: the
bound on the size is what holds then.
"""

# N values of now · R values of training · B bins

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.subgroups import holm

ALPHA = 0.01  # how often, at most, a report without drift may show some
MIN_ROWS = 50  # on either side; with fewer nothing is compared
NUM_BINS = 10
MIN_TIE = 0.05  # half a bin: the share of equal training values that are a bin by themselves
KS = "Kolmogorov-Smirnov"
LARGE_PSI = 0.2  # usual reading of the index: below .1 no change, from .2 or .25 on a large one (Siddiqi 2006)
# Standard deviations: of a shifted distribution this is Cohen's d, and .5 a medium effect. The scores of an ensemble
# lay up to .34 from those of its networks, which are what an artifact holds (docs/decisions/0066).
LARGE_SHIFT = 0.5
LARGE_H = 0.2  # Cohen 1988, section 6.2: a small effect; .01 against .04

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Difference:
    """One test: its name, its p, and how large the difference is, by an index for which `large` is large."""

    test: str
    p: float
    index: str
    size: float
    large: float

    def is_drift(self, corrected_p: float, alpha: float = ALPHA) -> bool:
        return corrected_p < alpha and self.size >= self.large


def compare_values(training_R: Array, now_N: Array) -> Difference:
    """Two samples of a number: the two-sample test of Kolmogorov and Smirnov (its asymptotic p, as both samples have
    50 values or more), and the population stability index.

    Where many values are equal, the test's p is too large rather than too small.
    """
    return Difference(KS, _ks_p(training_R, now_N), "PSI", stability_index(training_R, now_N), LARGE_PSI)


def compare_scores(training_R: Array, now_N: Array) -> Difference:
    """Two samples of a score: the same test, and the Wasserstein distance in standard deviations of training.

    The distance is how far a score lies from its like on average. The stability index would count every score that
    left its bin: where scores lie in narrow clumps, as those of a good classifier do, it is larger than 2 for an
    ensemble beside its own networks, whose scores differ by hundredths.
    """
    from scipy.stats import wasserstein_distance  # type: ignore[import-untyped]

    deviation = float(np.std(training_R)) or 1.0
    shift = float(wasserstein_distance(training_R, now_N)) / deviation
    return Difference(KS, _ks_p(training_R, now_N), "Wasserstein distance ÷ deviation", shift, LARGE_SHIFT)


def compare_shares(training: tuple[int, int], now: tuple[int, int]) -> Difference:
    """Two shares, each as (number of hits, number of rows): Fisher's exact test, and Cohen's h.

    h = |2 arcsin √p₁ − 2 arcsin √p₂| (Cohen 1988, equation 6.2.1), 0 to π.
    """
    from scipy.stats import fisher_exact

    (hits_R, num_R), (hits_N, num_N) = training, now
    p = float(fisher_exact([[hits_R, num_R - hits_R], [hits_N, num_N - hits_N]]).pvalue)
    angles = [2 * math.asin(math.sqrt(hits / num)) for hits, num in (training, now)]
    return Difference("Fisher's exact test", p, "Cohen's h", abs(angles[0] - angles[1]), LARGE_H)


def _ks_p(training_R: Array, now_N: Array) -> float:
    from scipy.stats import ks_2samp

    return float(ks_2samp(training_R, now_N, method="asymp").pvalue)


def stability_index(training_R: Array, now_N: Array) -> float:
    """The population stability index Σ (q − p) ln(q ÷ p) over bins, p and q the shares of training and of now.

    The bins are the tenths of the training values; tenths that end at one value are one bin. Where many training values
    are equal to that value, they are a bin without those below: else what fell from there would not be seen. Half a row
    is added to each bin, so that an empty one leaves the index finite. Without a change its mean is near
    (B − 1)(1/R + 1/N) (Yurdakul 2018): of 50 rows .18, so few rows need the test beside it.
    """
    edges = np.unique(np.quantile(training_R, np.linspace(0, 1, NUM_BINS + 1)[1:-1]))
    is_tie = [np.mean(training_R == edge) >= MIN_TIE for edge in edges]
    edges = np.union1d(edges, np.nextafter(edges[is_tie], -np.inf))
    counts = [np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1) + 0.5
              for values in (training_R, now_N)]  # fmt: skip
    p_B, q_B = (count_B / count_B.sum() for count_B in counts)
    return float(np.sum((q_B - p_B) * np.log(q_B / p_B)))


def corrected(differences: Sequence[Difference]) -> list[float]:
    """The p of each test, corrected for how many there are (Holm 1979)."""
    return holm([difference.p for difference in differences])
