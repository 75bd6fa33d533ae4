"""Selective prediction: the curve by hand, ties, and what referral gives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesion.evaluation.selective import certainty_of_point, refer, risk_coverage


def test_the_curve_by_hand():
    """From the surest: right, wrong, right, wrong. Risks 0, 1 ∕ 2, 1 ∕ 3, 1 ∕ 2; best 0, 0, 1 ∕ 3, 1 ∕ 2."""
    told = risk_coverage(np.array([True, False, True, False]), np.array([0.1, 0.9, 0.5, 0.3]))
    assert told["coverage"] == [0.25, 0.5, 0.75, 1.0] and told["certainty"] == [0.9, 0.5, 0.3, 0.1]
    assert told["risk"] == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert told["aurc"] == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert told["best"] == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert told["excess"] == pytest.approx(told["aurc"] - told["best"]) and told["random"] == 0.5


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=1, max_size=6))
def test_equal_rows_count_as_the_mean_of_their_orders(rows):
    is_wrong_S, certainty_S = np.array([row[0] for row in rows]), np.array([row[1] for row in rows], float)

    def area(order):
        return np.mean(np.cumsum(is_wrong_S[list(order)]) / np.arange(1, len(order) + 1))

    orders = [o for o in itertools.permutations(range(len(rows))) if (np.diff(certainty_S[list(o)]) <= 0).all()]
    told = risk_coverage(is_wrong_S, certainty_S)
    assert told["aurc"] == pytest.approx(np.mean([area(order) for order in orders]))
    assert told["best"] - 1e-9 <= told["aurc"]


def test_certainty_is_the_way_from_the_threshold():
    """At a threshold of 0.2, a probability of 0.6 is half way to 1, and 0.1 half way to 0."""
    assert certainty_of_point(np.array([0.6, 0.1, 0.2, 1.0, 0.0]), 0.2) == pytest.approx([0.5, 0.5, 0, 1, 1])
    assert certainty_of_point(np.array([0.0, 1.0]), np.array([0.0, 1.0])) == pytest.approx([0, 0])


def test_referral_by_hand():
    certainty_S = np.arange(10) / 10
    is_wrong_S = np.array([True, True, False, True, False, False, False, False, False, True])
    told = refer(is_wrong_S, certainty_S, np.arange(10), share_referred=0.3)
    assert told["certainty"] == pytest.approx(0.2) and told["share_referred"] == 0.3
    assert told["answered"]["value"] == pytest.approx(2 / 7) and told["referred"]["value"] == pytest.approx(2 / 3)
    nobody = refer(is_wrong_S, certainty_S, np.arange(10), share_referred=0.0)
    assert nobody["share_referred"] == 0 and nobody["referred"]["value"] is None and nobody["certainty"] is None
    all_equal = refer(is_wrong_S, np.ones(10), np.arange(10), share_referred=0.1)
    assert all_equal["share_referred"] == 1 and all_equal["answered"]["value"] is None


def test_the_answers_are_better_without_the_least_certain():
    rng = np.random.default_rng(0)
    score_S = rng.normal(-1, 2, 3000)
    target_S, prob_S = rng.random(3000) < 1 / (1 + np.exp(-score_S)), 1 / (1 + np.exp(-score_S))
    is_wrong_S = (prob_S >= 0.5) != target_S
    told = refer(is_wrong_S, certainty_of_point(prob_S, 0.5), np.arange(3000), share_referred=0.1)
    assert told["answered"]["high"] < is_wrong_S.mean() < told["referred"]["low"]


def test_no_rows_have_a_reason():
    assert risk_coverage(np.zeros(0, bool), np.zeros(0))["why"]
    assert refer(np.zeros(0, bool), np.zeros(0), np.zeros(0), share_referred=0.1)["why"]
    assert risk_coverage(np.zeros(3, bool), np.ones(3))["aurc"] == 0
