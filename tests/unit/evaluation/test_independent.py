"""Differences of independent sets: a published example, and what an interval owes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from lesion.evaluation.independent import difference_of_independent


def test_of_two_proportions_it_is_newcombes_hybrid_score_interval():
    """Newcombe 1998 (Statistics in Medicine 17:873), table II, method 10: 56/70 and 48/80."""
    intervals = [proportion_confint(k, n, method="wilson") for k, n in ((56, 70), (48, 80))]
    difference, interval = difference_of_independent(56 / 70, 48 / 80, *intervals)
    assert difference == pytest.approx(0.2)
    assert interval == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert interval == pytest.approx(confint_proportions_2indep(56, 70, 48, 80, method="newcomb", compare="diff"))


def test_without_both_intervals_the_difference_alone_is_known():
    assert difference_of_independent(0.9, 0.8, (0.85, 0.95)) == (pytest.approx(0.1), None)


share = st.floats(0, 1)


@given(st.tuples(share, share, share), st.tuples(share, share, share))
def test_it_holds_the_difference_turns_with_its_sides_and_is_wider_than_either(first, second):
    (low_a, a, high_a), (low_b, b, high_b) = sorted(first), sorted(second)
    difference, interval = difference_of_independent(a, b, (low_a, high_a), (low_b, high_b))
    assert interval is not None and interval[0] <= difference <= interval[1]
    turned, other = difference_of_independent(b, a, (low_b, high_b), (low_a, high_a))
    assert other is not None and turned == -difference and other == pytest.approx((-interval[1], -interval[0]))
    assert interval[1] - interval[0] >= max(high_a - low_a, high_b - low_b) - 1e-9
