"""Ensemble slope: the mean of calibrated networks is calibrated, by outcomes that the fit did not see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from lesion.evaluation.calibrators import Calibrator, pooled
from lesion.evaluation.ensemble_slope import ensemble_map
from lesion.evaluation.links import log_odds


def sigmoid(scores):
    return 1 / (1 + np.exp(-scores))


def networks(noise, num_networks=5, num_rows=40_000, seed=0):
    """Outcomes [S] and probabilities [S, F] of networks that are calibrated each by itself."""
    rng = np.random.default_rng(seed)
    truth_S = rng.normal(-2, 1.5, num_rows)
    target_S = rng.random(num_rows) < sigmoid(truth_S)
    scores_SF = truth_S[:, None] + rng.normal(0, noise, (num_rows, num_networks))
    line = LogisticRegression(C=np.inf).fit(scores_SF[:, :1], target_S)
    return target_S, sigmoid(line.coef_[0, 0] * scores_SF + line.intercept_[0])


def slope_of(target_S, prob_S):
    return LogisticRegression(C=np.inf).fit(log_odds(prob_S)[:, None], target_S).coef_[0, 0]


@pytest.mark.parametrize("noise", [0.4, 0.8, 1.2])
@pytest.mark.parametrize("num_networks", [2, 5])
def test_the_mean_of_calibrated_networks_becomes_calibrated(noise, num_networks):
    target_S, probs_SF = networks(noise, num_networks)
    line = Calibrator(False, (ensemble_map(probs_SF),))
    pooled_S1 = pooled(probs_SF[..., None], is_multiclass=False)
    calibrated_S = line.apply(pooled_S1)[:, 0]
    assert slope_of(target_S, calibrated_S) == pytest.approx(1, abs=0.05)
    assert target_S.sum() / calibrated_S.sum() == pytest.approx(1, abs=0.03)
    assert slope_of(target_S, pooled_S1[:, 0]) > 1.03  # what the mean alone would be


def test_networks_that_agree_need_no_slope():
    probs_SF = networks(0.5)[1][:, :1].repeat(5, axis=1)
    line = ensemble_map(probs_SF)
    assert (line.slope, line.offset) == pytest.approx((1, 0), abs=1e-6)


@pytest.mark.parametrize(
    "probs_SF",
    [
        np.full((99, 5), 0.3),  # too few rows
        np.full((500, 1), 0.3),  # one network
        np.full((500, 5), 0.3),  # nothing varies
        np.full((500, 5), np.nan),
        np.random.default_rng(0).random((500, 5)),  # networks that know nothing in common
    ],
)
def test_what_networks_do_not_say_is_left_alone(probs_SF):
    assert ensemble_map(probs_SF).method == "none"


def test_zeros_and_ones_stay_finite():
    rng = np.random.default_rng(0)
    probs_SF = np.round(rng.random((500, 1)) + rng.normal(0, 0.1, (500, 5))).clip(0, 1)
    line = ensemble_map(probs_SF)
    assert np.isfinite([line.slope, line.offset]).all()


def test_pooling_by_hand():
    """Odds of 1 ∕ 4 and 4 have the mean log-odds 0; of (½, ½) and (⅘, ⅕) the geometric means are 2 : 1."""
    assert pooled(np.array([[0.2], [0.8]]), is_multiclass=False) == pytest.approx([0.5])
    two = np.array([[0.5, 0.5], [0.8, 0.2]])
    assert pooled(two, is_multiclass=True) == pytest.approx([2 / 3, 1 / 3])
    assert pooled(torch.from_numpy(two), is_multiclass=True).numpy() == pytest.approx([2 / 3, 1 / 3])
    many = np.random.default_rng(0).random((7, 5, 3))
    assert np.array_equal(pooled(np.asfortranarray(many), is_multiclass=False)[3], pooled(many[3], is_multiclass=False))
    assert np.isfinite(pooled(np.array([[0.0], [1.0]]), is_multiclass=False)).all()
