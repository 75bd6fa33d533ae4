"""Calibrator fits: the parameters of one method on given rows, finite whatever the rows are."""

# S samples · Q outputs that are fitted together: all classes of a softmax, or one sigmoid · J knots

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.calibrators import (
    LEAST_SLOPE,
    MOST_KNOTS,
    MOST_SLOPE,
    Method,
    OutputMap,
)
from lesion.evaluation.links import log_odds, log_probs, ordered
from lesion.evaluation.metrics import Array

MOST_NUMBERS = 1_000_000  # log probabilities that a softmax's fit looks at: rows are thinned beyond that
TAIL_SLOPE = 0.05  # of an isotonic function outside its knots: almost flat, and still increasing


def fit(targets_SQ: Array, probs_SQ: Array, method: Method, *, is_multiclass: bool) -> tuple[OutputMap, ...]:
    """The maps of a method fitted on all these rows: of one sigmoid [S, 1], or of a softmax [S, Q].

    Its parameters are finite whatever the rows are: separated, of one class, or none at all.
    """
    if method == "none" or not len(targets_SQ):
        return (OutputMap("none"),)
    if is_multiclass:
        if method == "temperature":
            return (OutputMap("temperature", slope=_temperature(*_thinned(targets_SQ, probs_SQ))),)
        if method == "platt":
            return _vector_scaling(*_thinned(targets_SQ, probs_SQ))
        return tuple(_isotonic(targets_SQ[:, q], log_odds(ordered(probs_SQ[:, q]))) for q in range(targets_SQ.shape[1]))
    target_S, score_S = targets_SQ[:, 0], log_odds(ordered(probs_SQ[:, 0]))
    if method == "temperature":
        # A sigmoid is the softmax of 0 and z.
        scores_S2 = np.stack([np.zeros_like(score_S), score_S], axis=1)
        slope = _temperature(np.stack([1 - target_S, target_S], axis=1), scores_S2)
        return (OutputMap("temperature", slope=slope),)
    return (_platt(target_S, score_S) if method == "platt" else _isotonic(target_S, score_S),)


def _thinned(targets_SQ: Array, probs_SQ: Array) -> tuple[Array, NDArray[np.float64]]:
    """Targets and log probabilities of every n-th row: few parameters do not need more."""
    step = -(-targets_SQ.size // MOST_NUMBERS)
    return targets_SQ[::step], log_probs(ordered(probs_SQ[::step]))


def _temperature(targets_SQ: Array, scores_SQ: NDArray[np.float64]) -> float:
    """The slope 1 ÷ T that minimises the log loss of softmax(slope · scores), by Newton's method (Guo et al. 2017).

    Beside the rows stands ½ (slope − 1)², less than a single row's weight: separated rows would ask for infinity.
    """

    def loss(slope: float) -> tuple[float, float, float]:
        """The loss summed over rows, its slope and its curvature."""
        scaled_SQ = slope * scores_SQ
        powers_SQ = np.exp(scaled_SQ - scaled_SQ.max(axis=1, keepdims=True))
        total_S = powers_SQ.sum(axis=1)
        probs_SQ = powers_SQ / total_S[:, None]
        mean_S = (probs_SQ * scores_SQ).sum(axis=1)
        variance_S = (probs_SQ * scores_SQ**2).sum(axis=1) - mean_S**2
        true_S = (targets_SQ * scores_SQ).sum(axis=1)
        value = np.sum(scaled_SQ.max(axis=1) + np.log(total_S) - slope * true_S) + (slope - 1) ** 2 / 2
        return float(value), float(np.sum(mean_S - true_S) + slope - 1), float(variance_S.sum() + 1)

    slope = 1.0
    value, gradient, curvature = loss(slope)
    for _ in range(50):
        step = -gradient / curvature
        while True:  # a step that does not lower the loss is halved
            tried = float(np.clip(slope + step, LEAST_SLOPE, MOST_SLOPE))
            found = loss(tried)
            if found[0] <= value or abs(step) < 1e-9:
                break
            step /= 2
        if abs(tried - slope) < 1e-8:
            break
        slope, (value, gradient, curvature) = tried, found
    return slope


def _platt(target_S: Array, score_S: NDArray[np.float64]) -> OutputMap:
    """Platt (1999): sigmoid(slope · z + offset) of the least log loss against targets a little inside 0 and 1, which
    keep separated rows finite: (N₊ + 1) ÷ (N₊ + 2) and 1 ÷ (N₋ + 2).
    """
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    low, high = _platt_targets(target_S)
    soft_S = np.where(target_S == 1, high, low)

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        line_S = parameters[0] * score_S + parameters[1]
        wrong_S = 1 / (1 + np.exp(-np.clip(line_S, -500, 500))) - soft_S
        value = np.mean(np.logaddexp(0, line_S) - soft_S * line_S)
        return float(value), np.array([np.mean(wrong_S * score_S), np.mean(wrong_S)])

    bounds = [(LEAST_SLOPE, MOST_SLOPE), (-50, 50)]
    found = minimize(
        loss, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-9}
    )
    return OutputMap("platt", slope=float(found.x[0]), offset=float(found.x[1]))


def _vector_scaling(targets_SQ: Array, scores_SQ: NDArray[np.float64]) -> tuple[OutputMap, ...]:
    """Vector scaling (Guo et al. 2017): softmax(slope_q · log p_q + offset_q), with ½ Σ (slope − 1)² + ½ Σ offset²
    beside the rows, so that separated rows stay finite. It may change which class is the most probable.
    """
    from scipy.optimize import minimize

    num_classes = targets_SQ.shape[1]

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope_Q, offset_Q = parameters[:num_classes], parameters[num_classes:]
        line_SQ = slope_Q * scores_SQ + offset_Q
        line_SQ -= line_SQ.max(axis=1, keepdims=True)
        log_total_S = np.log(np.exp(line_SQ).sum(axis=1))
        wrong_SQ = np.exp(line_SQ - log_total_S[:, None]) - targets_SQ
        value = np.sum(log_total_S - (targets_SQ * line_SQ).sum(axis=1))
        value += ((slope_Q - 1) ** 2).sum() / 2 + (offset_Q**2).sum() / 2
        gradient = [(wrong_SQ * scores_SQ).sum(axis=0) + slope_Q - 1, wrong_SQ.sum(axis=0) + offset_Q]
        return float(value) / len(line_SQ), np.concatenate(gradient) / len(line_SQ)

    start = np.repeat([1.0, 0.0], num_classes)
    bounds = [(LEAST_SLOPE, MOST_SLOPE)] * num_classes + [(-50.0, 50.0)] * num_classes
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-9})
    return tuple(OutputMap("platt", float(found.x[q]), float(found.x[num_classes + q])) for q in range(num_classes))


def _isotonic(target_S: Array, score_S: NDArray[np.float64]) -> OutputMap:
    """Isotonic regression (Zadrozny & Elkan 2002) as a strictly increasing function of log-odds: straight from the
    middle of each of its steps to the next. Steps of 0 or 1 are moved inside by Platt's targets.
    """
    from sklearn.isotonic import IsotonicRegression

    order_S = np.argsort(score_S, kind="stable")
    sorted_S = score_S[order_S]
    value_S = IsotonicRegression().fit_transform(sorted_S, target_S[order_S])
    value_S = np.clip(value_S, *_platt_targets(target_S))
    starts = np.flatnonzero(np.diff(value_S, prepend=-1.0) > 1e-9)
    if len(starts) > MOST_KNOTS:  # steps are joined where one begins in the same share of the rows as the one before
        share = starts * MOST_KNOTS // len(value_S)
        starts = starts[np.diff(share, prepend=-1) > 0]
    sizes = np.diff(starts, append=len(value_S))
    x_J, y_J = np.add.reduceat(sorted_S, starts) / sizes, log_odds(np.add.reduceat(value_S, starts) / sizes)
    apart = np.flatnonzero(np.diff(x_J, prepend=-np.inf) > 1e-6)
    return OutputMap("isotonic", TAIL_SLOPE, 0.0, tuple(x_J[apart].tolist()), tuple(y_J[apart].tolist()))


def _platt_targets(target_S: Array) -> tuple[float, float]:
    num_positives = int((target_S == 1).sum())
    return 1 / (len(target_S) - num_positives + 2), (num_positives + 1) / (num_positives + 2)
