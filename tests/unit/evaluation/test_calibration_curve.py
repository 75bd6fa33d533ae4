"""Calibration curve: statsmodels and SciPy's splines give the same curve; the error and its noise line."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.interpolate import CubicSpline
from scipy.special import expit, logit

from lesion.evaluation.calibration_curve import calibration_curve, equal_mass_bins, expected_calibration_error


def drawn(num_rows, *, seed=0, spread=1.75, centre=-3.2):
    """Probabilities whose mean is 11 %, and outcomes that they are right about."""
    rng = np.random.default_rng(seed)
    prob_S = expit(rng.normal(centre, spread, num_rows))
    return (rng.random(num_rows) < prob_S).astype(float), prob_S


def natural_splines(x, knots):
    """Natural cubic splines that are 1 at one knot and 0 at the others, straight beyond the ends: SciPy's."""
    columns = []
    for values in np.eye(len(knots)):
        spline = CubicSpline(knots, values, bc_type="natural")
        inside = spline(np.clip(x, knots[0], knots[-1]))
        columns.append(inside + np.minimum(x - knots[0], 0) * spline(knots[0], 1))
        columns[-1] += np.maximum(x - knots[-1], 0) * spline(knots[-1], 1)
    return np.stack(columns, axis=1)


def test_the_curve_is_a_natural_cubic_spline_by_maximum_likelihood():
    """statsmodels' regression on SciPy's splines: another basis of the same curves, and so the same best one."""
    target_S, prob_S = drawn(3000)
    wrong_S = expit(0.6 * logit(prob_S) - 0.5)
    knots = np.quantile(logit(wrong_S), [0.05, 0.35, 0.65, 0.95])
    fit = sm.GLM(target_S, natural_splines(logit(wrong_S), knots), sm.families.Binomial()).fit()
    found = calibration_curve(target_S, wrong_S, np.arange(3000))
    assert found.prob_P[[0, -1]] == pytest.approx(np.quantile(wrong_S, [0.01, 0.99]))
    assert found.observed_P == pytest.approx(fit.predict(natural_splines(logit(found.prob_P), knots)), rel=1e-5)
    distance_S = np.abs(fit.fittedvalues - wrong_S)
    assert [found.ici, found.e90] == pytest.approx([distance_S.mean(), np.quantile(distance_S, 0.9)], rel=1e-5)


def test_a_calibrated_models_curve_is_the_diagonal_within_its_band():
    target_S, prob_S = drawn(20_000)
    found = calibration_curve(target_S, prob_S, np.arange(20_000))
    assert ((found.low_P <= found.prob_P) & (found.prob_P <= found.high_P)).mean() > 0.8
    assert found.ici < 0.01 and np.abs(found.observed_P - found.prob_P).max() < 0.05


def test_the_band_is_by_patient():
    target_S, prob_S = drawn(500)
    rows = np.arange(500).repeat(4)
    once, copied, as_if = (
        calibration_curve(target_S[which], prob_S[which], groups)
        for which, groups in ((np.arange(500), np.arange(500)), (rows, rows), (rows, np.arange(2000)))
    )
    widths = [np.mean(curve.high_P - curve.low_P) for curve in (once, copied, as_if)]
    assert widths[1] == pytest.approx(widths[0], rel=0.1) and widths[2] < 0.6 * widths[0]


@pytest.mark.parametrize(
    ("targets", "probs", "why"),
    [
        ([0, 0, 0], [0.1, 0.2, 0.3], "no positive rows"),
        ([0, 1, 0], [0.2, 0.2, 0.2], "the same"),
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], "separate"),
    ],
)
def test_no_curve_is_drawn_where_none_can_be(targets, probs, why):
    assert why in calibration_curve(np.array(targets), np.array(probs), np.arange(len(targets)))


def test_the_error_by_hand():
    """Two bins of two: |1/2 − 0.15| and |1 − 0.7| count alike."""
    found = expected_calibration_error(np.array([0, 1, 1, 1]), np.array([0.1, 0.2, 0.6, 0.8]), num_bins=2)
    assert found.plain == pytest.approx((0.35 + 0.3) / 2)
    assert found.bins[1] == {"rows": 2, "mean_probability": pytest.approx(0.7), "observed": 1.0}


@pytest.mark.parametrize(("num_rows", "noise"), [(500, 0.043), (2000, 0.022), (10_000, 0.010)])
def test_the_noise_line_of_one_positive_in_nine(num_rows, noise):
    """The figures of issue 20, which another program computed."""
    assert expected_calibration_error(*drawn(num_rows)).noise == pytest.approx(noise, rel=0.12)


def test_a_calibrated_model_is_below_the_line_in_19_of_20_and_its_debiased_error_is_smaller():
    found = [expected_calibration_error(*drawn(1000, seed=seed), num_draws=200) for seed in range(150)]
    assert np.mean([ece.plain <= ece.noise for ece in found]) == pytest.approx(0.95, abs=0.05)
    assert np.mean([ece.debiased for ece in found]) < 0.75 * np.mean([ece.plain for ece in found])


def test_a_model_that_is_wrong_is_above_the_line_and_keeps_its_error_when_debiased():
    target_S, prob_S = drawn(20_000)
    found = expected_calibration_error(target_S, np.minimum(prob_S + 0.1, 1))
    assert found.plain > 5 * found.noise and found.debiased == pytest.approx(0.1, abs=0.01)


def test_rows_with_equal_probabilities_share_a_bin_whatever_their_order():
    prob_S = np.array([0.3] * 90 + [0.7] * 10)
    bins_S = equal_mass_bins(prob_S, 10)
    assert len(np.unique(bins_S[:90])) == 1 and len(np.unique(bins_S)) == 2
    target_S = np.arange(100) % 3 == 0
    order = np.random.default_rng(0).permutation(100)
    assert expected_calibration_error(target_S, prob_S).plain == pytest.approx(
        expected_calibration_error(target_S[order], prob_S[order]).plain
    )
    assert len(np.unique(equal_mass_bins(np.arange(1000), 10), return_counts=True)[1]) == 10
