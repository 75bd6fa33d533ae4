"""DeLong: the ovarian cancer patients of the paper, and leaving out patients one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from lesion.evaluation.comparison import delong_test
from lesion.evaluation.delong import areas, jackknife_covariance

# Albumin, total protein, Krebs-Goplerud score and outcome of the 43 patients of DeLong, DeLong & Clarke-Pearson (1988)
# for whom all three are known, as SAS/STAT's manual prints them (The LOGISTIC Procedure, Comparing ROC Curves).
OVARIAN = np.array(
    [
        *((3.0, 5.8, 10, 0), (3.2, 6.3, 5, 1), (3.9, 6.8, 3, 1), (2.8, 4.8, 6, 0), (3.2, 5.8, 3, 1), (0.9, 4.0, 5, 0)),
        *((2.5, 5.7, 8, 0), (1.6, 5.6, 5, 1), (3.8, 5.7, 5, 1), (3.7, 6.7, 6, 1), (3.2, 5.4, 4, 1), (3.8, 6.6, 6, 1)),
        *((4.1, 6.6, 5, 1), (3.6, 5.7, 5, 1), (4.3, 7.0, 4, 1), (3.6, 6.7, 4, 0), (2.3, 4.4, 6, 1), (4.2, 7.6, 4, 0)),
        *((4.0, 6.6, 6, 0), (3.5, 5.8, 6, 1), (3.8, 6.8, 7, 1), (3.0, 4.7, 8, 0), (4.5, 7.4, 5, 1), (3.7, 7.4, 5, 1)),
        *((3.1, 6.6, 6, 1), (4.1, 8.2, 6, 1), (4.3, 7.0, 5, 1), (4.3, 6.5, 4, 1), (3.2, 5.1, 5, 1), (2.6, 4.7, 6, 1)),
        *((3.3, 6.8, 6, 0), (1.7, 4.0, 7, 0), (3.7, 6.1, 5, 1), (3.3, 6.3, 7, 1), (4.2, 7.7, 6, 1), (3.5, 6.2, 5, 1)),
        *((2.9, 5.7, 9, 0), (2.1, 4.8, 7, 1), (2.8, 6.2, 8, 0), (4.0, 7.0, 7, 1), (3.3, 5.7, 6, 1), (3.7, 6.9, 5, 1)),
        (3.6, 6.6, 5, 1),
    ]
)
TARGETS, SCORES = OVARIAN[:, 3], np.stack([OVARIAN[:, 0], 10 - OVARIAN[:, 2], OVARIAN[:, 1]], axis=1)


def test_the_ovarian_cancer_patients():
    """Areas, standard errors and the differences to the K-G score, as SAS prints them."""
    found = areas(TARGETS, SCORES, np.arange(43))
    assert found.value_M == pytest.approx([0.7366, 0.7258, 0.6478], abs=5e-5)
    assert np.sqrt(np.diag(found.covariance_MM)) == pytest.approx([0.0927, 0.1028, 0.1000], abs=5e-5)
    for contrast, difference, error, chi2 in (
        ([1, -1, 0], 0.0108, 0.0953, 0.0127),
        ([0, -1, 1], -0.0780, 0.1046, 0.5554),
    ):
        variance = contrast @ found.covariance_MM @ contrast
        assert contrast @ found.value_M == pytest.approx(difference, abs=5e-5)
        assert np.sqrt(variance) == pytest.approx(error, abs=5e-5)
        assert (contrast @ found.value_M) ** 2 / variance == pytest.approx(chi2, abs=1e-4)


def test_delongs_test_of_the_ovarian_cancer_patients():
    """Albumin beside the K-G score, and total protein beside it: differences and errors as SAS prints them."""
    for column, difference, error in ((0, 0.0108, 0.0953), (2, -0.0780, 0.1046)):
        found = delong_test(TARGETS, SCORES[:, 1], SCORES[:, column], np.arange(43))
        assert [found.difference, found.error] == pytest.approx([difference, error], abs=5e-5)
        assert found.p == pytest.approx(2 * student.sf(abs(found.difference / found.error), found.freedom))
    assert "alike" in delong_test(TARGETS, SCORES[:, 1], SCORES[:, 1] * 2, np.arange(43))


def test_copies_of_a_patients_rows_change_nothing_but_rows_that_pass_for_patients_do():
    once = areas(TARGETS, SCORES, np.arange(43))
    rows = np.arange(43).repeat(3)
    copied, as_if = areas(TARGETS[rows], SCORES[rows], rows), areas(TARGETS[rows], SCORES[rows], np.arange(129))
    assert copied.covariance_MM == pytest.approx(once.covariance_MM)
    assert copied.without_GM == pytest.approx(once.without_GM)
    assert np.diag(as_if.covariance_MM) == pytest.approx(np.diag(once.covariance_MM) / 3, rel=0.1)


@given(seed=st.integers(0, 9999), num_groups=st.integers(2, 9), levels=st.integers(2, 9))
def test_without_each_group_is_the_area_of_the_other_rows(seed, num_groups, levels):
    rng = np.random.default_rng(seed)
    group_S, target_S = rng.integers(0, num_groups, 40), rng.integers(0, 2, 40)
    score_SM = rng.integers(0, levels, (40, 2)) / levels
    if len(np.unique(target_S)) < 2:
        return
    found = areas(target_S, score_SM, group_S)
    for group, without_M in zip(np.unique(group_S), found.without_GM, strict=True):
        left = group_S != group
        if len(np.unique(target_S[left])) < 2:
            assert np.isnan(without_M).all()
        else:
            assert without_M == pytest.approx([roc_auc_score(target_S[left], of[left]) for of in score_SM.T])


def test_jackknife_and_delong_agree_where_patients_are_many():
    rng = np.random.default_rng(0)
    group_S = rng.integers(0, 800, 3000)
    target_S = (rng.random(3000) < 0.3).astype(int)
    score_SM = (target_S + rng.normal(size=800)[group_S])[:, None] + rng.normal(size=(3000, 2))
    found = areas(target_S, score_SM, group_S)
    assert jackknife_covariance(found.without_GM) == pytest.approx(found.covariance_MM, rel=0.02)
    assert (found.freedom_M > 300).all()


def test_few_positives_among_many_negatives_have_few_degrees_of_freedom():
    rng = np.random.default_rng(0)
    target_S = np.arange(507) < 7
    found = areas(target_S, (target_S + rng.normal(size=507))[:, None], np.arange(507))
    assert 6 <= found.freedom_M[0] < 8


@pytest.mark.parametrize(("targets", "scores"), [([1, 1], [0.1, 0.2]), ([0, 0], [0.1, 0.2]), ([0, 1], [0.1, np.nan])])
def test_what_has_no_area_is_refused(targets, scores):
    with pytest.raises(ValueError, match=r"positive and negative|NaN"):
        areas(np.array(targets), np.array(scores)[:, None], np.arange(2))
