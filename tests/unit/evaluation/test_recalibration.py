"""Recalibration: statsmodels' regressions agree, and a model that is wrong in a known way is told so."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, softmax

from lesion.evaluation.calibration_curve import KNOTS, _spline
from lesion.evaluation.recalibration import (
    calibration_intercept,
    calibration_slope,
    fit_logistic,
    logits_of,
    observed_to_expected,
    slope_of_classes,
)


@pytest.fixture(scope="module")
def rows():
    """2,000 rows of 300 patients, whose true risk is that of half the logit plus 0.4, and a shift a patient."""
    rng = np.random.default_rng(0)
    group_S, logit_S = rng.integers(0, 300, 2000), rng.normal(-1, 1.5, 2000)
    target_S = rng.random(2000) < expit(0.4 + 0.5 * logit_S + 0.5 * rng.normal(size=300)[group_S])
    return target_S.astype(float), expit(logit_S), group_S


def test_intercept_and_slope_are_those_of_statsmodels_with_errors_by_patient(rows):
    target_S, prob_S, group_S = rows
    clustered = {"cov_type": "cluster", "cov_kwds": {"groups": group_S}}
    in_the_large = sm.GLM(target_S, np.ones(2000), sm.families.Binomial(), offset=logits_of(prob_S)).fit(**clustered)
    both = sm.GLM(target_S, sm.add_constant(logits_of(prob_S)), sm.families.Binomial()).fit(**clustered)
    for found, fit, index in (
        (calibration_intercept(target_S, prob_S, group_S), in_the_large, 0),
        (calibration_slope(target_S, prob_S, group_S), both, 1),
    ):
        low, high = fit.conf_int()[index]
        assert found.value == pytest.approx(fit.params[index], rel=1e-6)
        assert [found.low, found.high] == pytest.approx([low, high], abs=0.01)
    assert both.params[1] == pytest.approx(0.5, abs=0.1)  # far too extreme, as made


def test_without_a_group_is_the_regression_of_the_others_to_first_order(rows):
    target_S, prob_S, group_S = (column[:400] for column in rows)
    features_SD = sm.add_constant(logits_of(prob_S))
    fit = fit_logistic(features_SD, target_S, group_S)
    for index, group in list(enumerate(np.unique(group_S)))[:20]:
        left = group_S != group
        again = sm.GLM(target_S[left], features_SD[left], sm.families.Binomial()).fit()
        assert fit.without_GD[index] == pytest.approx(again.params, abs=2e-3)


@pytest.mark.parametrize("seed", [26, 135, 249])
def test_a_spline_of_logits_that_hardly_any_positive_row_has_finds_the_optimum_of_statsmodels(seed):
    """Whole steps of Newton's method run away from it."""
    rng = np.random.default_rng(seed)
    logit_S = rng.normal(-4, 4, 600)
    target_S = (rng.random(600) < expit(logit_S)).astype(float)
    features_SD = _spline(logit_S, np.quantile(logit_S, KNOTS[4]))
    expected = sm.GLM(target_S, features_SD, sm.families.Binomial()).fit(tol=1e-12)
    found = fit_logistic(features_SD, target_S, np.arange(600))
    assert found.coefficient_D == pytest.approx(expected.params, rel=1e-4)


def test_observed_to_expected_by_hand():
    """Three positives where probabilities promise two; without each patient 2 ÷ 1.5, 1 ÷ 1 and 3 ÷ 1.5."""
    target_S, prob_S, group_S = np.array([1, 1, 1, 0]), np.array([0.5, 0.5, 0.5, 0.5]), np.array([0, 1, 1, 2])
    found = observed_to_expected(target_S, prob_S, group_S)
    spread = np.array([2 / 1.5, 1, 2]) - np.mean([2 / 1.5, 1, 2])
    error = np.sqrt(2 / 3 * np.sum(spread**2))
    assert found.value == 1.5
    assert found.high == pytest.approx(1.5 * np.exp(4.302653 * error / 1.5), rel=1e-5)  # t with two degrees


def test_what_cannot_be_judged_is_said_in_words():
    prob_S, groups = np.array([0.1, 0.2, 0.8, 0.9]), np.arange(4)
    separated = calibration_slope(np.array([0, 0, 1, 1]), prob_S, groups)
    assert separated.value is None and "separate the classes" in separated.why
    assert "the same" in calibration_slope(np.array([0, 1, 0, 1]), np.full(4, 0.3), groups).why
    for judge in (calibration_intercept, calibration_slope, observed_to_expected):
        assert judge(np.zeros(4), prob_S, groups).why == "no positive rows"
        assert judge(np.zeros(0), np.zeros(0), np.zeros(0)).why == "no rows"
    alone = calibration_intercept(np.array([0, 1, 0, 1]), prob_S, np.zeros(4))
    assert alone.value is not None and alone.low is None and "one group" in alone.why


def test_probabilities_of_0_and_1_are_survived():
    target_S, prob_S = np.array([0, 1, 0, 1, 1, 0]), np.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.0])
    assert np.isfinite(calibration_slope(target_S, prob_S, np.arange(6)).value)
    assert np.isfinite(calibration_intercept(target_S, prob_S, np.arange(6)).value)


@pytest.fixture(scope="module")
def of_three():
    """One-hot outcomes of 3,000 rows of 300 patients, drawn from probabilities [3000, 3]."""
    rng = np.random.default_rng(1)
    prob_SQ = softmax(rng.normal(0, 1.5, (3000, 3)), axis=1)
    class_S = (rng.random(3000)[:, None] > prob_SQ.cumsum(axis=1)).sum(axis=1)
    return np.eye(3)[class_S], prob_SQ, rng.integers(0, 300, 3000)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_slope_of_classes_is_the_temperature_that_probabilities_lack(of_three, temperature):
    target_SQ, prob_SQ, group_S = of_three
    found = slope_of_classes(target_SQ, softmax(np.log(prob_SQ) / temperature, axis=1), group_S)
    assert found.low < temperature < found.high
    assert found.value == pytest.approx(temperature, rel=0.1)
    assert 0.05 < (found.high - found.low) / temperature < 0.25


def test_the_slope_of_two_classes_is_a_logistic_regression_without_intercept(rows):
    target_S, prob_S, group_S = rows
    of_both = slope_of_classes(
        np.stack([1 - target_S, target_S], axis=1), np.stack([1 - prob_S, prob_S], axis=1), group_S
    )
    clustered = {"cov_type": "cluster", "cov_kwds": {"groups": group_S}}
    alone = sm.GLM(target_S, logits_of(prob_S), sm.families.Binomial()).fit(**clustered)
    assert of_both.value == pytest.approx(alone.params[0], rel=1e-5)
    assert [of_both.low, of_both.high] == pytest.approx(alone.conf_int()[0], abs=0.01)


def test_classes_that_are_separated_or_all_alike_have_no_slope():
    target_SQ, group_S = np.eye(3)[np.arange(30) % 3], np.arange(30)
    for prob_SQ in (0.1 + 0.7 * target_SQ, np.full((30, 3), 1 / 3)):
        found = slope_of_classes(target_SQ, prob_SQ, group_S)
        assert found.value is None and "separate the classes" in found.why
    assert slope_of_classes(target_SQ[:0], target_SQ[:0], group_S[:0]).why == "no rows"
