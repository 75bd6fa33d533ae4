"""Intervals: how far a metric may be off, by resampling groups (patients, slides) and not rows."""

# S samples · Q outputs that are judged

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.metrics import METRICS, Array, has_both_classes

WITH_INTERVAL = ("roc_auc", "accuracy", "balanced_accuracy")  # those that a report is read for


def bootstrap_intervals(
    target_SQ: Array,
    prob_SQ: Array,
    group_S: NDArray[np.str_],
    *,
    is_multiclass: bool,
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
                values[name].append(METRICS[name].function(target_SQ[drawn], prob_SQ[drawn], is_multiclass))
    ends = {name: np.percentile(drawn, [2.5, 97.5]) for name, drawn in values.items() if drawn}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}
