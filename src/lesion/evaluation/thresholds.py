"""Thresholds: decision thresholds, the probability at or above which a prediction is positive."""

# S samples

from __future__ import annotations

import numpy as np

from lesion.evaluation.metrics import Array


def youden_threshold(target_S: Array, prob_S: Array) -> float:
    """The probability at or above which to say yes: it maximises sensitivity + specificity − 1 (Youden 1950)."""
    from sklearn.metrics import roc_curve

    false_rate, true_rate, threshold = roc_curve(target_S, prob_S)
    best = int(np.argmax((true_rate - false_rate)[1:])) + 1  # the first point is "nobody", at infinity
    return float(threshold[best])
