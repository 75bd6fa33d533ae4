"""Drift: the tests and indices of evaluation/drift, beside values from elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lesion.evaluation.drift import (
    Difference,
    compare_scores,
    compare_shares,
    compare_values,
    corrected,
    stability_index,
)


def test_the_stability_index_is_the_sum_over_tenths():
    """1,000 rows a hundred in each tenth, and of now all in the upper half. By hand: five bins go from .1 to nearly
    nothing, five to .2; half a row is added to each bin."""
    training = np.arange(1000.0)
    now = np.arange(500.0, 1000.0).repeat(2)
    p, empty, full = 100.5 / 1005, 0.5 / 1005, 200.5 / 1005
    by_hand = 5 * (empty - p) * math.log(empty / p) + 5 * (full - p) * math.log(full / p)
    assert stability_index(training, now) == pytest.approx(by_hand, rel=0.02)  # edges lie between two rows


def test_the_stability_index_of_equal_samples_is_0_and_equal_values_are_one_bin():
    values = np.random.default_rng(0).normal(size=300)
    assert stability_index(values, values) == 0
    mostly_nothing = np.r_[np.zeros(950), np.ones(50)]
    assert stability_index(mostly_nothing, mostly_nothing) == 0
    assert stability_index(mostly_nothing, np.r_[np.zeros(500), np.ones(500)]) > 1


@pytest.mark.parametrize("share", [1.0, 0.12])  # of all training images, and of a lowest tenth
def test_a_fall_below_a_value_that_many_share_is_seen(share):
    """All training images have sides of 450 px, and now some have 224."""
    training = np.r_[np.full(int(1000 * share), 450.0), np.linspace(500, 1000, 1000 - int(1000 * share))]
    now = np.where(training == 450, 224.0, training)
    assert compare_values(training, now).is_drift(compare_values(training, now).p)
    assert stability_index(training, training) == 0


def test_the_stability_index_without_a_change_is_as_large_as_yurdakul_says():
    """(B − 1)(1/R + 1/N) = 9 (1/2000 + 1/200) = .0495."""
    rng = np.random.default_rng(1)
    found = [stability_index(rng.normal(size=2000), rng.normal(size=200)) for _ in range(200)]
    assert np.mean(found) == pytest.approx(0.0495, rel=0.1)


def test_kolmogorov_smirnov_of_a_table():
    """The two-sample statistic that is significant at .05 is 1.36 √((R + N) ÷ RN) for large samples (Smirnov 1948's
    table): with 400 rows each .0962, here a shift of 38 or 39 ranks of 400."""
    training = np.arange(400.0)
    assert compare_values(training, training + 38).p > 0.05 > compare_values(training, training + 39).p


def test_a_shifted_score_is_as_far_as_it_was_shifted():
    """The Wasserstein distance of a shift is the shift, so in deviations it is Cohen's d; of two clumps, too."""
    training = np.r_[np.full(500, 0.1), np.full(500, 0.9)]  # deviation .4
    assert compare_scores(training, training + 0.02).size == pytest.approx(0.05)
    assert compare_scores(training, np.full(100, 0.1)).size == pytest.approx(1.0)  # half of all by two deviations


def test_fishers_exact_test_of_the_lady_who_tasted_tea():
    """Fisher 1935: of eight cups she told three of four rightly: p (two sides) = 34/70 = .486."""
    found = compare_shares((3, 4), (1, 4))
    assert found.p == pytest.approx(34 / 70)
    assert found.size == pytest.approx(2 * math.pi / 3 - math.pi / 3)  # arcsin √¾ = 60°, arcsin √¼ = 30°, doubled


def test_a_difference_must_be_both_significant_and_large():
    assert Difference("test", 0.0, "PSI", 0.3, 0.2).is_drift(0.001, 0.01)
    assert not Difference("test", 0.0, "PSI", 0.1, 0.2).is_drift(0.001, 0.01)
    assert not Difference("test", 0.0, "PSI", 0.3, 0.2).is_drift(0.02, 0.01)


def test_of_several_tests_the_smallest_p_is_multiplied_by_their_number():
    """Holm 1979: .01, .02, .03 become .03, .04, .04 (the last no less than the one before)."""
    differences = [Difference("test", p, "PSI", 1.0, 0.2) for p in (0.03, 0.01, 0.02)]
    assert corrected(differences) == pytest.approx([0.04, 0.03, 0.04])
