"""Calibration curve: how often what is called p comes true, smoothly and in bins, beside what chance would show."""

# S samples · P points of the curve · L logits at which a spline is drawn · D features · B bins · R draws

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.intervals import LEVEL
from lesion.evaluation.recalibration import expit, fit_logistic, lacks_outcomes, logits_of

Values = NDArray[np.float64]
NUM_BINS = 15  # Guo et al. 2017
NUM_POINTS = 50
KNOTS = {3: (0.1, 0.5, 0.9), 4: (0.05, 0.35, 0.65, 0.95)}  # quantiles: Harrell 2015, table 2.3
MANY_OUTCOMES = 50  # of the rarer kind: enough for a fourth knot
BLOCK_SIZE = 4_000_000  # random numbers at once: 32 MB


@dataclass(frozen=True)
class Curve:
    """The smooth curve at probabilities [P], with its 95 % band by patients; the band is NaN where there is none.

    `ici` is the mean distance of curve and diagonal over the rows (integrated calibration index, Austin & Steyerberg
    2019), in 0 to 1; `e90` the distance that nine rows of ten stay below.
    """

    prob_P: Values
    observed_P: Values
    low_P: Values
    high_P: Values
    ici: float
    e90: float


@dataclass(frozen=True)
class Ece:
    """Expected calibration error in bins of equal numbers of rows, in 0 to 1.

    `plain` is Σ share · |mean outcome − mean probability|, which is above zero by chance alone; `noise` the 95th
    percentile of it for a perfectly calibrated model with these very probabilities (rows independent): an error
    below it shows nothing. `debiased` has chance's part taken off.
    """

    plain: float
    debiased: float
    noise: float
    bins: list[dict[str, float]]


def calibration_curve(target_S: NDArray[Any], prob_S: NDArray[Any], group_S: NDArray[Any]) -> Curve | str:
    """The curve by a logistic regression on a restricted cubic spline of the logit; or, in words, why there is none.

    Harrell 2015, section 2.4.5 (spline) and 10.9; the band by leaving out patients, Student's t with G − 1 degrees of
    freedom. From the 1st to the 99th percentile of the probabilities: beyond them too few rows tell.
    """
    from scipy.stats import t as student  # type: ignore[import-untyped]

    if why := lacks_outcomes(target_S):
        return why
    logit_S = logits_of(prob_S)
    num_rarer = int(min((target_S == 1).sum(), (target_S != 1).sum()))
    knots = np.unique(np.quantile(logit_S, KNOTS[4 if num_rarer >= MANY_OUTCOMES else 3]))
    if np.ptp(logit_S) < 1e-9:
        return "all probabilities are the same: no curve"
    fit = fit_logistic(_spline(logit_S, knots), target_S, group_S)
    if fit is None:
        return "no smooth curve fits: the probabilities separate the classes, or hardly differ"
    start, end = np.quantile(np.asarray(prob_S, dtype=np.float64), [0.01, 0.99])
    prob_P = np.linspace(start, end, NUM_POINTS)
    features_PD = _spline(logits_of(prob_P), knots)
    eta_P = features_PD @ fit.coefficient_D
    num_groups = len(fit.without_GD)
    reach_P = np.full(NUM_POINTS, np.nan)
    if num_groups >= 2:
        variance_P = np.einsum("pd,de,pe->p", features_PD, fit.covariance_DD, features_PD)
        reach_P = student.ppf((1 + LEVEL) / 2, num_groups - 1) * np.sqrt(variance_P)
    distance_S = np.abs(expit(_spline(logit_S, knots) @ fit.coefficient_D) - prob_S)
    return Curve(
        prob_P, expit(eta_P), expit(eta_P - reach_P), expit(eta_P + reach_P),
        float(distance_S.mean()), float(np.quantile(distance_S, 0.9)),
    )  # fmt: skip


def expected_calibration_error(
    target_S: NDArray[Any], prob_S: NDArray[Any], *, num_bins: int = NUM_BINS, num_draws: int = 1000, seed: int = 0
) -> Ece:
    """The error in `num_bins` bins of equal mass (fewer where there are fewer rows); equal probabilities share a bin.

    Debiased: each bin's |d| less the bias E|N(d, σ²)| − |d| that its own binomial noise σ gives (Kumar et al. 2019,
    appendix; Roelofs et al. 2022 compare estimators), not below 0. Outcomes may also be right or wrong of a top class.
    """
    bin_S = equal_mass_bins(prob_S, num_bins)
    order_S = np.argsort(bin_S, kind="stable")
    target_S = np.asarray(target_S, dtype=np.float64)[order_S]
    sorted_S = np.asarray(prob_S, dtype=np.float64)[order_S]
    starts_B = np.flatnonzero(np.diff(bin_S[order_S], prepend=-1))
    rows_B = np.diff(starts_B, append=len(sorted_S))
    said_B, seen_B = (np.add.reduceat(values_S, starts_B) / rows_B for values_S in (sorted_S, target_S))
    distance_B = np.abs(seen_B - said_B)
    noise_B = np.sqrt(seen_B * (1 - seen_B) / np.maximum(rows_B - 1, 1))
    share_B = rows_B / len(sorted_S)
    plain = float(share_B @ distance_B)
    debiased = max(float(share_B @ (2 * distance_B - _mean_of_folded_normal(distance_B, noise_B))), 0.0)
    rng, block = np.random.default_rng(seed), max(1, BLOCK_SIZE // len(sorted_S))
    drawn = []
    for start in range(0, num_draws, block):
        outcome_RS = rng.random((min(block, num_draws - start), len(sorted_S)), dtype=np.float32) < sorted_S
        seen_RB = np.add.reduceat(outcome_RS, starts_B, axis=1, dtype=np.float64) / rows_B
        drawn.append(np.abs(seen_RB - said_B) @ share_B)
    names = ("rows", "mean_probability", "observed")
    bins = [
        dict(zip(names, (float(n), float(p), float(y)), strict=True))
        for n, p, y in zip(rows_B, said_B, seen_B, strict=True)
    ]
    return Ece(plain, debiased, float(np.quantile(np.concatenate(drawn), 0.95)), bins)


def equal_mass_bins(prob_S: NDArray[Any], num_bins: int) -> NDArray[np.intp]:
    """Each row's bin from 0, of as equal numbers of rows as ties allow; the order of rows plays no part."""
    from scipy.stats import rankdata

    share_S = (rankdata(prob_S) - 0.5) / len(prob_S)
    return np.asarray(share_S * min(num_bins, len(prob_S)), dtype=np.intp)


def _mean_of_folded_normal(mean_B: Values, deviation_B: Values) -> Values:
    """E|N(μ, σ²)| = σ √(2∕π) e^(−μ² ∕ 2σ²) + μ (1 − 2 Φ(−μ∕σ))."""
    from scipy.special import ndtr  # type: ignore[import-untyped]

    safe_B = np.maximum(deviation_B, 1e-12)
    ratio_B = mean_B / safe_B
    return np.asarray(safe_B * math.sqrt(2 / math.pi) * np.exp(-(ratio_B**2) / 2) + mean_B * (1 - 2 * ndtr(-ratio_B)))


def _spline(logit_L: Values, knots: Values) -> Values:
    """The features [L, D] of a restricted cubic spline: a constant, the logit, and a curve for each knot but two."""
    columns = [np.ones_like(logit_L), logit_L]
    if len(knots) >= 3:
        last, before, scale = knots[-1], knots[-2], (knots[-1] - knots[0]) ** 2
        cubes = [np.maximum(logit_L - knot, 0) ** 3 for knot in knots]
        for index, knot in enumerate(knots[:-2]):
            upper = cubes[-2] * (last - knot) / (last - before) - cubes[-1] * (before - knot) / (last - before)
            columns.append((cubes[index] - upper) / scale)
    return np.stack(columns, axis=1)
