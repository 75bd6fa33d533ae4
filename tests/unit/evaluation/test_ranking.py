"""Ranking: scikit-learn and ISIC 2024's scoring agree, ties and all, and a draw counts a patient's rows again."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from lesion.evaluation.measures import RANKED
from lesion.evaluation.ranking import rank
from lesion.evaluation.resampling import all_once, draws, number_groups

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=2, max_size=60)


def arrays(rows):
    return np.array([row[0] for row in rows], float), np.array([row[1] / 9 for row in rows])


def rank_measures(target_S, prob_S):
    """Every measure of the rows as they are."""
    found = rank(target_S, prob_S, np.zeros(len(target_S), dtype=int), 1).measure(all_once(1))
    return {name: float(value_B[0]) for name, value_B in found.items()}


def isic_2024(target_S, prob_S, min_tpr=0.8):
    """The challenge's definition: the area under the curve with the classes exchanged, up to a rate of 1 − min_tpr."""
    false_rate, true_rate, _ = sklearn.metrics.roc_curve(1 - target_S, -prob_S)
    stop = np.searchsorted(false_rate, 1 - min_tpr, "right")
    last = np.interp(1 - min_tpr, false_rate[stop - 1 : stop + 1], true_rate[stop - 1 : stop + 1])
    return sklearn.metrics.auc([*false_rate[:stop], 1 - min_tpr], [*true_rate[:stop], last])


@given(rows=ROWS)
def test_measures_are_those_of_scikit_learn(rows):
    target_S, prob_S = arrays(rows)
    found = rank_measures(target_S, prob_S)
    if len(np.unique(target_S)) < 2:
        assert all(np.isnan(value) for value in found.values())
        return
    assert found["roc_auc"] == pytest.approx(sklearn.metrics.roc_auc_score(target_S, prob_S))
    assert found["average_precision"] == pytest.approx(sklearn.metrics.average_precision_score(target_S, prob_S))
    assert found["partial_auc"] == pytest.approx(isic_2024(target_S, prob_S))
    false_rate, true_rate, _ = sklearn.metrics.roc_curve(target_S, prob_S, drop_intermediate=False)
    for rate in (0.9, 0.95):
        at_specificity = true_rate[1 - false_rate >= rate - 1e-9].max()
        at_sensitivity = 1 - false_rate[true_rate >= rate - 1e-9].min()
        assert found[f"sensitivity_at_{rate * 100:.0f}_specificity"] == pytest.approx(at_specificity)
        assert found[f"specificity_at_{rate * 100:.0f}_sensitivity"] == pytest.approx(at_sensitivity)


def test_chance_and_perfection_on_isics_scale():
    """A perfect order has 0.2, a constant 0.02: the triangle above 80 % under the diagonal."""
    target_S = np.arange(20) >= 10
    assert rank_measures(target_S, np.arange(20))["partial_auc"] == pytest.approx(0.2)
    constant = rank_measures(target_S, np.zeros(20))
    assert constant["partial_auc"] == pytest.approx(0.02) and constant["partial_auc_scaled"] == pytest.approx(0.1)


@given(rows=ROWS, seed=st.integers(0, 99))
def test_a_group_drawn_twice_is_its_rows_twice(rows, seed):
    target_S, prob_S = arrays(rows)
    group_S = np.random.default_rng(seed).integers(0, 4, len(rows))
    code_S, num_groups = number_groups(group_S)
    [weights_GB] = draws(num_groups, 3, seed=seed)
    assert weights_GB.sum(axis=0).tolist() == [num_groups] * 3
    found = rank(target_S, prob_S, code_S, num_groups).measure(weights_GB)
    for b in range(3):
        rows_of_draw = np.repeat(np.arange(len(rows)), weights_GB[code_S, b].astype(int))
        expected = rank_measures(target_S[rows_of_draw], prob_S[rows_of_draw])
        for name in RANKED:
            assert found[name][b] == pytest.approx(expected[name], nan_ok=True), name


def test_draws_do_not_depend_on_the_size_of_blocks():
    whole, parts = ([*draws(7, 50, seed=4, widest=widest)] for widest in (0, 1_000_000))
    assert len(whole) == 1 and len(parts) == 13
    assert np.array_equal(np.concatenate(parts, axis=1), whole[0])
