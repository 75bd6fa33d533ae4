"""Metrics: pure functions on arrays.

A Metric declares its name, its log line and the regex that scrapes it together.
"""

# S samples · Q outputs that are judged: one for yes or no, one a class otherwise

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def roc_auc(target_S: Array, prob_S: Array) -> float:
    """Area under the ROC curve: the chance that a positive is ranked above a negative, ties counted half.

    By the sum of the positives' ranks (Mann & Whitney 1947). Measured at 12 rows: 0.08 ms, scikit-learn's function
    4.4 ms, of which the bootstrap below would need a thousand. Raises ValueError for a NaN, as that does.
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


def log_loss(target_SQ: Array, prob_SQ: Array, is_one_of: bool) -> float:
    """Mean negative log-likelihood in nats, of the true class or over the yes-or-no outputs.

    Probabilities are kept 1e-7 away from 0 and 1, float32's own reach.
    """
    prob_SQ = np.clip(prob_SQ.astype(np.float64), 1e-7, 1 - 1e-7)
    if is_one_of:
        return float(-np.mean(np.sum(target_SQ * np.log(prob_SQ), axis=1)))
    return float(-np.mean(np.where(target_SQ == 1, np.log(prob_SQ), np.log1p(-prob_SQ))))


def brier(target_SQ: Array, prob_SQ: Array, is_one_of: bool) -> float:
    """Mean squared distance of probability and outcome (Brier 1950): 0 to 1; summed over classes, 0 to 2."""
    squared_SQ = (prob_SQ.astype(np.float64) - target_SQ) ** 2
    return float(np.mean(np.sum(squared_SQ, axis=1) if is_one_of else squared_SQ))


def accuracy(target_SQ: Array, prob_SQ: Array, is_one_of: bool) -> float:
    """The share of right answers: the most probable class, or for yes or no a probability of at least one half."""
    return float(np.mean(_is_right(target_SQ, prob_SQ, is_one_of)))


def balanced_accuracy(target_SQ: Array, prob_SQ: Array, is_one_of: bool) -> float:
    """The mean over classes of the share of right answers, so that rare classes count as much as common ones.

    Over those classes that have rows.
    """
    is_right = _is_right(target_SQ, prob_SQ, is_one_of)
    if is_one_of:
        class_S = target_SQ.argmax(axis=1)
        return float(np.mean([is_right[class_S == value].mean() for value in np.unique(class_S)]))
    shares = [
        np.mean([right_S[target_S == value].mean() for value in np.unique(target_S)])
        for right_S, target_S in zip(is_right.T, target_SQ.T, strict=True)
    ]
    return float(np.mean(shares))


def _is_right(target_SQ: Array, prob_SQ: Array, is_one_of: bool) -> NDArray[np.bool_]:
    """[S] where one of the classes is the answer, else [S, Q]."""
    if is_one_of:
        return np.asarray(target_SQ.argmax(axis=1) == prob_SQ.argmax(axis=1))
    return np.asarray((target_SQ == 1) == (prob_SQ >= 0.5))


def mean_over_outputs(function: Callable[[Array, Array], float]) -> Callable[[Array, Array, bool], float]:
    """A yes-or-no metric for several outputs: each class against the rest, every class alike (macro average)."""

    def mean(target_SQ: Array, prob_SQ: Array, is_one_of: bool) -> float:  # noqa: ARG001
        return float(np.mean([function(target_SQ[:, q], prob_SQ[:, q]) for q in range(target_SQ.shape[1])]))

    return mean


@dataclass(frozen=True)
class Score:
    """A function of targets [S, Q], probabilities [S, Q] and whether just one of the Q classes is true.

    `needs_both`: each output must have rows that are and rows that are not.
    """

    function: Callable[[Array, Array, bool], float]
    better: Literal["higher", "lower"]
    needs_both: bool


METRICS: dict[str, Score] = {
    "roc_auc": Score(mean_over_outputs(roc_auc), "higher", needs_both=True),
    "average_precision": Score(mean_over_outputs(average_precision), "higher", needs_both=True),
    "log_loss": Score(log_loss, "lower", needs_both=False),
    "brier": Score(brier, "lower", needs_both=False),
    "accuracy": Score(accuracy, "higher", needs_both=False),
    "balanced_accuracy": Score(balanced_accuracy, "higher", needs_both=False),
}
WITH_INTERVAL = ("roc_auc", "accuracy", "balanced_accuracy")  # those that a report is read for


@dataclass(frozen=True)
class Metric:
    """One number that SageMaker scrapes from the log: its name, its line, and the regex that finds the line."""

    name: str
    better: Literal["higher", "lower"] | None  # None: neither
    num_decimals: int = 6

    def line(self, value: float) -> str:
        return f"metric {self.name}={value:.{self.num_decimals}f}"

    @property
    def regex(self) -> str:
        return rf"\bmetric {re.escape(self.name)}=(-?[0-9.]+)"


# Told apart by their first word, since a tuner takes the latest value under a name: `epoch:` comes once an epoch of
# each fold, `fold:` once a fold, `validation:` once a job, over all out-of-fold rows, `test:` for a labelled test set.
REPORTED: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("epoch:train_loss", "lower"),
        *(Metric(f"epoch:{name}", score.better) for name, score in METRICS.items()),
        Metric("epoch:lr", None, num_decimals=9),
        Metric("epoch:images_per_s", "higher"),
        Metric("epoch:wait_share", "lower"),  # of the training loop's time, in 0 to 1
        *(Metric(f"fold:{name}", score.better) for name, score in METRICS.items()),
        *(Metric(f"validation:{name}", score.better) for name, score in METRICS.items()),
        *(Metric(f"test:{name}", score.better) for name, score in METRICS.items()),
    )
}


def score_all(target_SQ: Array, prob_SQ: Array, *, is_one_of: bool) -> dict[str, float]:
    """Every metric that these rows define: where an output has one class only, those that rank are left out."""
    has_both = has_both_classes(target_SQ)
    return {
        name: score.function(target_SQ, prob_SQ, is_one_of)
        for name, score in METRICS.items()
        if has_both or not score.needs_both
    }


def has_both_classes(target_SQ: Array) -> bool:
    """Whether each output has rows that are and rows that are not."""
    return bool(np.all(target_SQ.min(axis=0, initial=1) != target_SQ.max(axis=0, initial=0)))


def bootstrap_intervals(
    target_SQ: Array,
    prob_SQ: Array,
    group_S: NDArray[np.str_],
    *,
    is_one_of: bool,
    num_draws: int = 1000,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """The 95 % percentile intervals of WITH_INTERVAL over resampled groups (Efron & Tibshirani 1993, ch. 13).

    Groups are drawn, not rows, since several pictures of a patient are not independent. Draws in which a class is
    absent are left out; where all are, so is the metric that needs them.
    """
    rng = np.random.default_rng(seed)
    _, code_S = np.unique(group_S, return_inverse=True)
    rows_of = np.split(np.argsort(code_S, kind="stable"), np.cumsum(np.bincount(code_S))[:-1])
    values: dict[str, list[float]] = {name: [] for name in WITH_INTERVAL}
    for _ in range(num_draws):
        drawn = np.concatenate([rows_of[g] for g in rng.integers(0, len(rows_of), len(rows_of))])
        has_both = has_both_classes(target_SQ[drawn])
        for name in WITH_INTERVAL:
            if has_both or not METRICS[name].needs_both:
                values[name].append(METRICS[name].function(target_SQ[drawn], prob_SQ[drawn], is_one_of))
    ends = {name: np.percentile(drawn, [2.5, 97.5]) for name, drawn in values.items() if drawn}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


def youden_threshold(target_S: Array, prob_S: Array) -> float:
    """The probability at or above which to say yes: it maximises sensitivity + specificity − 1 (Youden 1950)."""
    from sklearn.metrics import roc_curve

    false_rate, true_rate, threshold = roc_curve(target_S, prob_S)
    best = int(np.argmax((true_rate - false_rate)[1:])) + 1  # the first point is "nobody", at infinity
    return float(threshold[best])
