"""Thresholds: by hand, and against all there are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesion.evaluation.thresholds import youden_threshold

# Ranked by probability the targets read 1, 0, 1, 0.
TARGETS = np.array([1.0, 0.0, 1.0, 0.0], np.float32)
PROBS = np.array([0.9, 0.6, 0.5, 0.1], np.float32)


def test_youden_by_hand():
    """At 0.9: sensitivity 1/2, specificity 1, so 0.5. At 0.5: 1 and 1/2, again 0.5;
    the higher threshold comes first.
    """
    assert youden_threshold(TARGETS, PROBS) == pytest.approx(0.9)
    assert youden_threshold(np.array([0.0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])) == pytest.approx(0.8)
    assert youden_threshold(np.array([0.0, 0, 1, 1]), np.array([0.1, 0.2, 0.6, 0.8])) == pytest.approx(0.6)


@given(rows=st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=4, max_size=40))
def test_youden_is_the_best_of_all_thresholds(rows):
    target_S, prob_S = np.array([row[0] for row in rows], float), np.array([row[1] / 20 for row in rows])
    if len(np.unique(target_S)) < 2:
        return

    def index(threshold: float) -> float:
        said_yes = prob_S >= threshold
        return said_yes[target_S == 1].mean() - said_yes[target_S == 0].mean()

    assert index(youden_threshold(target_S, prob_S)) == pytest.approx(max(map(index, np.unique(prob_S))))
