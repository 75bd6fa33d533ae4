"""Intervals: their width by the binomial, and that groups are resampled, not rows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lesion.evaluation.intervals import bootstrap_intervals
from lesion.evaluation.metrics import roc_auc


def roc_auc_interval(target_S, prob_S, group_S):
    return bootstrap_intervals(target_S[:, None], prob_S[:, None], group_S, is_multiclass=False, num_draws=300)[
        "roc_auc"
    ]


def test_the_interval_holds_the_point():
    rng = np.random.default_rng(1)
    target_S = (rng.random(200) < 0.3).astype(np.float32)
    prob_S = np.clip(0.3 * target_S + rng.random(200) * 0.7, 0, 1)
    low, high = roc_auc_interval(target_S, prob_S, np.arange(200).astype(str))
    assert 0.5 < low < roc_auc(target_S, prob_S) < high <= 1


def test_the_interval_has_the_width_of_the_binomial():
    """The mean of n outcomes has the standard error √(p (1 − p) ∕ n); 95 % lie within ± 1.96 of it."""
    targets_SQ, probs_SQ = np.zeros((100, 1)), np.repeat([0.0, 1.0], [70, 30])[:, None]
    low, high = bootstrap_intervals(targets_SQ, probs_SQ, np.arange(100).astype(str), is_multiclass=False)["accuracy"]
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.3 * 0.7 / 100), rel=0.15)


def test_copies_of_a_patient_add_no_certainty():
    rng = np.random.default_rng(2)
    target_S = (rng.random(60) < 0.4).astype(np.float32)
    prob_S = np.clip(0.3 * target_S + rng.random(60) * 0.7, 0, 1)
    group_S = np.array([f"P{row:02d}" for row in range(60)])
    copies = np.arange(60).repeat(5)

    def width(groups: np.ndarray, rows: np.ndarray) -> float:
        low, high = roc_auc_interval(target_S[rows], prob_S[rows], groups)
        return high - low

    once = width(group_S, np.arange(60))
    assert width(group_S[copies], copies) == pytest.approx(once, rel=1e-6)  # the same draws, each row five times
    assert width(np.arange(300).astype(str), copies) < 0.7 * once  # what drawing rows would have claimed


def test_an_interval_that_no_draw_defines_is_left_out():
    of_one = bootstrap_intervals(np.zeros((3, 1)), np.zeros((3, 1)), np.array(["a", "b", "c"]), is_multiclass=False)
    assert "roc_auc" not in of_one and of_one["accuracy"] == (1.0, 1.0)
