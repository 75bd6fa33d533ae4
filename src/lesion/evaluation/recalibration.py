"""Recalibration: what a logistic regression of outcomes on a model's own probabilities says about them.

Calibration as clinicians read it (Cox 1958; Van Calster et al. 2019): are they right on average, are they too extreme?
"""

# S samples · D features · G groups · Q classes

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.delong import jackknife_covariance
from lesion.evaluation.intervals import Estimate, t_interval
from lesion.evaluation.resampling import number_groups

Values = NDArray[np.float64]
CLIP = 1e-7  # probabilities are kept so far from 0 and 1, as in the log loss
NUM_STEPS = 50
TOO_STEEP = 1e3  # a coefficient that still grows beyond it has no finite optimum
ANY = (-math.inf, math.inf)


@dataclass(frozen=True)
class LogisticFit:
    """Coefficients [D] that maximise the likelihood, and what they are without each group [G, D]."""

    coefficient_D: Values
    without_GD: Values

    @property
    def covariance_DD(self) -> Values:
        """By leaving out one group at a time."""
        return jackknife_covariance(self.without_GD)


def logits_of(prob_S: NDArray[Any]) -> Values:
    """ln(p ∕ (1 − p)), finite for 0 and 1 too."""
    kept_S = np.clip(np.asarray(prob_S, dtype=np.float64), CLIP, 1 - CLIP)
    return np.asarray(np.log(kept_S) - np.log1p(-kept_S))


def fit_logistic(
    features_SD: Values, target_S: NDArray[Any], group_S: NDArray[Any], *, offset_S: Values | None = None
) -> LogisticFit | None:
    """The logistic regression of 0 or 1 on features, without penalty; None where no finite coefficients are best.

    Newton's method; a step that lowers the likelihood is halved, since on a spline whole steps may run away from an
    optimum that is there. Without each group by one further step of it from the common optimum (Pregibon 1981; the CR3
    estimator of Bell & McCaffrey 2002): exact to first order, and NaN where the other groups do not suffice.
    """
    offset_S = np.zeros(len(features_SD)) if offset_S is None else offset_S
    target_S = np.asarray(target_S, dtype=np.float64)
    beta_D = np.zeros(features_SD.shape[1])
    likelihood = _log_likelihood(target_S, offset_S)
    for _ in range(NUM_STEPS):
        score_D, information_DD = _derivatives(features_SD, target_S, offset_S + features_SD @ beta_D)
        try:
            step_D = np.linalg.solve(information_DD, score_D)
        except np.linalg.LinAlgError:
            return None
        least = likelihood - 1e-12 * abs(likelihood)  # what rounding alone may take
        while (found := _log_likelihood(target_S, offset_S + features_SD @ (beta_D + step_D))) < least:
            step_D = step_D / 2
        beta_D, likelihood = beta_D + step_D, found
        if np.abs(beta_D).max() > TOO_STEEP or not np.isfinite(beta_D).all():
            return None
        if np.abs(step_D).max() < 1e-9:
            break
    else:
        return None
    return LogisticFit(beta_D, _without_each(features_SD, target_S, offset_S, beta_D, group_S))


def calibration_intercept(target_S: NDArray[Any], prob_S: NDArray[Any], group_S: NDArray[Any]) -> Estimate:
    """Calibration in the large: by how much outcomes' log odds exceed the probabilities'; 0 is right on average.

    The intercept of a logistic regression with the logit as offset. Above 0 the risk is underestimated.
    """
    if why := lacks_outcomes(target_S):
        return Estimate(None, why=why)
    fit = fit_logistic(np.ones((len(prob_S), 1)), target_S, group_S, offset_S=logits_of(prob_S))
    return _estimate(fit, 0, group_S)


def calibration_slope(target_S: NDArray[Any], prob_S: NDArray[Any], group_S: NDArray[Any]) -> Estimate:
    """The slope of outcomes on the logits: 1 is right; below 1 probabilities are too extreme, above 1 too timid."""
    if why := lacks_outcomes(target_S):
        return Estimate(None, why=why)
    logit_S = logits_of(prob_S)
    if np.ptp(logit_S) < 1e-9:
        return Estimate(None, why="all probabilities are the same: no slope")
    return _estimate(fit_logistic(np.stack([np.ones_like(logit_S), logit_S], axis=1), target_S, group_S), 1, group_S)


def slope_of_classes(target_SQ: NDArray[Any], prob_SQ: NDArray[Any], group_S: NDArray[Any]) -> Estimate:
    """The slope β of several classes together, which makes softmax(β · log p) the likeliest: 1 is right, below 1 the
    probabilities are too extreme, above 1 too timid. 1 ÷ β is the temperature that they lack (Guo et al. 2017).

    `target_SQ` is one-hot. One number of all rows, where the slopes of single classes against the rest are of fewer.
    Newton's method; without each group as in `fit_logistic`.
    """
    if not len(target_SQ):
        return Estimate(None, why="no rows")
    score_SQ = np.log(np.clip(np.asarray(prob_SQ, dtype=np.float64), CLIP, 1))
    true_S = (score_SQ * (np.asarray(target_SQ) == 1)).sum(axis=1)
    code_S, num_groups = number_groups(group_S)
    slope = 1.0
    for _ in range(NUM_STEPS):
        power_SQ = np.exp(slope * (score_SQ - score_SQ.max(axis=1, keepdims=True)))
        share_SQ = power_SQ / power_SQ.sum(axis=1, keepdims=True)
        mean_S = (share_SQ * score_SQ).sum(axis=1)
        variance_S = (share_SQ * (score_SQ - mean_S[:, None]) ** 2).sum(axis=1)
        if variance_S.sum() < 1e-9 or slope > TOO_STEEP:
            return Estimate(None, why="the probabilities separate the classes, or do not differ: no slope")
        step = float((true_S - mean_S).sum() / variance_S.sum())
        slope += max(min(step, 1.0), -1.0)
        if abs(step) < 1e-9:
            break
    else:
        return Estimate(None, why="the probabilities separate the classes: the regression has no finite optimum")
    score_G, information_G = (np.bincount(code_S, of_S, num_groups) for of_S in (true_S - mean_S, variance_S))
    left_G = np.maximum(information_G.sum() - information_G, 1e-12)
    error = math.sqrt(jackknife_covariance((slope - score_G / left_G)[:, None])[0, 0])
    return t_interval(slope, error, num_groups, bounds=ANY)


def observed_to_expected(target_S: NDArray[Any], prob_S: NDArray[Any], group_S: NDArray[Any]) -> Estimate:
    """Positives that there were ÷ positives that the probabilities promise; 1 is right, above 1 they are too low."""
    if why := lacks_outcomes(target_S):
        return Estimate(None, why=why)
    code_S, num_groups = number_groups(group_S)
    observed_G = np.bincount(code_S, np.asarray(target_S, dtype=np.float64), num_groups)
    expected_G = np.bincount(code_S, np.asarray(prob_S, dtype=np.float64), num_groups)
    if expected_G.sum() < CLIP:
        return Estimate(None, why="the probabilities promise no positives")
    value = float(observed_G.sum() / expected_G.sum())
    left_G = np.maximum(expected_G.sum() - expected_G, CLIP)
    without_G = (observed_G.sum() - observed_G) / left_G
    error = math.sqrt(jackknife_covariance(without_G[:, None])[0, 0])
    return t_interval(value, error, num_groups, bounds=(0, math.inf))


def lacks_outcomes(target_S: NDArray[Any]) -> str | None:
    """In words, why these rows cannot show calibration; None if they can."""
    num_yes = int((np.asarray(target_S) == 1).sum())
    if 0 < num_yes < len(target_S):
        return None
    return "no rows" if not len(target_S) else f"no {'negative' if num_yes else 'positive'} rows"


def _estimate(fit: LogisticFit | None, index: int, group_S: NDArray[Any]) -> Estimate:
    if fit is None:
        return Estimate(None, why="the probabilities separate the classes: the regression has no finite optimum")
    error = float(np.sqrt(fit.covariance_DD[index, index]))
    return t_interval(float(fit.coefficient_D[index]), error, len(np.unique(group_S)), bounds=ANY)


def _log_likelihood(target_S: Values, eta_S: Values) -> float:
    """Of outcomes whose log odds are `eta_S`."""
    return float((target_S * eta_S - np.logaddexp(0.0, eta_S)).sum())


def _derivatives(features_SD: Values, target_S: Values, eta_S: Values) -> tuple[Values, Values]:
    prob_S = expit(eta_S)
    weighted_SD = features_SD * (prob_S * (1 - prob_S))[:, None]
    return features_SD.T @ (target_S - prob_S), features_SD.T @ weighted_SD


def _without_each(
    features_SD: Values, target_S: Values, offset_S: Values, beta_D: Values, group_S: NDArray[Any]
) -> Values:
    """β − (I − I_g)⁻¹ s_g of each group, with its score s_g and information I_g."""
    code_S, num_groups = number_groups(group_S)
    prob_S = expit(offset_S + features_SD @ beta_D)
    num_features = len(beta_D)
    score_GD, information_GDD = np.zeros((num_groups, num_features)), np.zeros((num_groups, num_features, num_features))
    np.add.at(score_GD, code_S, features_SD * (target_S - prob_S)[:, None])
    weighted_SD = features_SD * (prob_S * (1 - prob_S))[:, None]
    np.add.at(information_GDD, code_S, features_SD[:, :, None] * weighted_SD[:, None, :])
    left_GDD = information_GDD.sum(axis=0) - information_GDD
    is_enough_G = np.linalg.cond(left_GDD) < 1e12
    without_GD = np.full((num_groups, num_features), np.nan)
    if is_enough_G.any():
        steps = np.linalg.solve(left_GDD[is_enough_G], score_GD[is_enough_G][:, :, None])[:, :, 0]
        without_GD[is_enough_G] = beta_D - steps
    return without_GD


def expit(eta_S: Values) -> Values:
    """1 ∕ (1 + e⁻ᶯ), without overflow."""
    power_S = np.exp(-np.abs(eta_S))
    return np.asarray(np.where(eta_S >= 0, 1, power_S) / (1 + power_S))
