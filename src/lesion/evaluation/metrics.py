"""Metrics: evaluation of probabilities against targets. Pure functions on arrays."""

# S samples · Q outputs that are judged: one for yes or no, one a class otherwise

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.enough import said_of_mean, why_unranked_rows
from lesion.evaluation.metric_names import BETTER

Array = NDArray[np.floating]


def roc_auc(target_S: Array, prob_S: Array) -> float:
    """Area under the ROC curve: the chance that a positive is ranked above a negative, ties counted half.

    By the sum of the positives' ranks (Mann & Whitney 1947). Measured at 12 rows: 0.08 ms, scikit-learn's function
    4.4 ms, of which the bootstrap in intervals.py would need a thousand. Raises ValueError for a NaN, as that does.
    """
    from scipy.stats import rankdata  # type: ignore[import-untyped]

    rank_S = rankdata(prob_S, nan_policy="raise")
    num_positives = int((target_S == 1).sum())
    num_negatives = len(target_S) - num_positives
    num_above = rank_S[target_S == 1].sum() - num_positives * (num_positives + 1) / 2
    return float(num_above / (num_positives * num_negatives))


def average_precision(target_S: Array, prob_S: Array) -> float:
    """Area under the precision-recall curve as a step sum, scikit-learn's definition; chance is the prevalence."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(target_S, prob_S))


def log_loss(target_SQ: Array, prob_SQ: Array, is_multiclass: bool) -> float:
    """Mean negative log-likelihood in nats, of the true class or over the yes-or-no outputs.

    Probabilities are kept 1e-7 away from 0 and 1, float32's own reach.
    """
    prob_SQ = np.clip(prob_SQ.astype(np.float64), 1e-7, 1 - 1e-7)
    if is_multiclass:
        return float(-np.mean(np.sum(target_SQ * np.log(prob_SQ), axis=1)))
    return float(-np.mean(np.where(target_SQ == 1, np.log(prob_SQ), np.log1p(-prob_SQ))))


def brier(target_SQ: Array, prob_SQ: Array, is_multiclass: bool) -> float:
    """Mean squared distance of probability and outcome (Brier 1950): 0 to 1; summed over classes, 0 to 2."""
    squared_SQ = (prob_SQ.astype(np.float64) - target_SQ) ** 2
    return float(np.mean(np.sum(squared_SQ, axis=1) if is_multiclass else squared_SQ))


def accuracy(target_SQ: Array, prob_SQ: Array, is_multiclass: bool) -> float:
    """Accuracy: the share of rows predicted right, by the most probable class, or for binary by a threshold of 0.5."""
    return float(np.mean(_is_right(target_SQ, prob_SQ, is_multiclass)))


def balanced_accuracy(target_SQ: Array, prob_SQ: Array, is_multiclass: bool) -> float:
    """Balanced accuracy: the mean recall over classes, so that rare classes count as much as common ones.

    Over those classes that have rows.
    """
    is_right = _is_right(target_SQ, prob_SQ, is_multiclass)
    if is_multiclass:
        class_S = target_SQ.argmax(axis=1)
        return float(np.mean([is_right[class_S == value].mean() for value in np.unique(class_S)]))
    shares = [
        np.mean([right_S[target_S == value].mean() for value in np.unique(target_S)])
        for right_S, target_S in zip(is_right.T, target_SQ.T, strict=True)
    ]
    return float(np.mean(shares))


def _is_right(target_SQ: Array, prob_SQ: Array, is_multiclass: bool) -> NDArray[np.bool_]:
    """[S] where one of the classes is the answer, else [S, Q]."""
    if is_multiclass:
        return np.asarray(target_SQ.argmax(axis=1) == prob_SQ.argmax(axis=1))
    return np.asarray((target_SQ == 1) == (prob_SQ >= 0.5))


def mean_over_outputs(function: Callable[[Array, Array], float]) -> Callable[[Array, Array, bool], float]:
    """A yes-or-no metric for several outputs: each class against the rest, every class alike (macro average)."""

    def mean(target_SQ: Array, prob_SQ: Array, is_multiclass: bool) -> float:  # noqa: ARG001
        return float(np.mean([function(target_SQ[:, q], prob_SQ[:, q]) for q in range(target_SQ.shape[1])]))

    return mean


@dataclass(frozen=True)
class Metric:
    """A function of targets [S, Q], probabilities [S, Q] and whether just one of the Q classes is true.

    `needs_both`: each output must have rows that are and rows that are not.
    """

    function: Callable[[Array, Array, bool], float]
    better: Literal["higher", "lower"]
    needs_both: bool


METRICS: dict[str, Metric] = {
    "roc_auc": Metric(mean_over_outputs(roc_auc), BETTER["roc_auc"], needs_both=True),
    "average_precision": Metric(mean_over_outputs(average_precision), BETTER["average_precision"], needs_both=True),
    "log_loss": Metric(log_loss, BETTER["log_loss"], needs_both=False),
    "brier": Metric(brier, BETTER["brier"], needs_both=False),
    "accuracy": Metric(accuracy, BETTER["accuracy"], needs_both=False),
    "balanced_accuracy": Metric(balanced_accuracy, BETTER["balanced_accuracy"], needs_both=False),
}


def score_all(target_SQ: Array, prob_SQ: Array, *, is_multiclass: bool) -> dict[str, float]:
    """Every metric that these rows define: where an output has one class only, those that rank are left out.

    For training: epochs, early stopping and a tuner choose by it, and of few rows a rough number chooses better than
    none. What is told of a result is `ranked_scores`, which needs more rows.
    """
    has_both = has_both_classes(target_SQ)
    return {
        name: score.function(target_SQ, prob_SQ, is_multiclass)
        for name, score in METRICS.items()
        if has_both or not score.needs_both
    }


def ranked_scores(target_SQ: Array, score_SQ: Array) -> tuple[dict[str, float], str | None]:
    """The metrics that rank rows, as they are told of a result: the mean over the outputs that have 10 positives and 10
    negatives. And in words which outputs are left out, or why there are none.
    """
    why_Q = [why_unranked_rows(target_S) for target_S in target_SQ.T]
    is_ranked_Q = np.array([why is None for why in why_Q])
    if not is_ranked_Q.any():
        return {}, said_of_mean(why_Q)
    columns = (target_SQ[:, is_ranked_Q], score_SQ[:, is_ranked_Q])
    found = {name: score.function(*columns, False) for name, score in METRICS.items() if score.needs_both}
    return found, said_of_mean(why_Q)


def has_both_classes(target_SQ: Array) -> bool:
    """Whether each output has rows that are and rows that are not."""
    return bool(np.all(target_SQ.min(axis=0, initial=1) != target_SQ.max(axis=0, initial=0)))
