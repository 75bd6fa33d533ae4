"""Pooling: the mean of networks is stretched to what a calibrator of single networks expects."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from lesion.evaluation.calibrator_choice import choose_calibrator
from lesion.evaluation.links import log_odds
from lesion.evaluation.pooling import Pooling, centres_of, disagreement


def sigmoid(scores: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-scores))


def slope(target_S: np.ndarray, prob_S: np.ndarray) -> float:
    """The calibration slope: 1 is right, above it the probabilities are too cautious."""
    return float(LogisticRegression(C=np.inf).fit(log_odds(prob_S)[:, None], target_S).coef_[0, 0])


def networks(rng: np.random.Generator, rows: int, num_networks: int) -> tuple[np.ndarray, np.ndarray]:
    """Targets [S], and overconfident networks' probabilities [S, F, 1] of them: what they share, and an own error."""
    shared_S = rng.normal(-1, 1.5, rows)
    target_S = rng.random(rows) < sigmoid(shared_S)
    scores_SF = 1.6 * (shared_S[:, None] + rng.normal(0, 1, (rows, num_networks)))
    return target_S.astype(float), sigmoid(scores_SF)[..., None]


def test_an_ensemble_is_calibrated_by_a_calibrator_of_single_networks():
    rng = np.random.default_rng(0)
    target_S, of_one = networks(rng, 20_000, 1)
    single_S1 = of_one[:, 0]
    chosen = choose_calibrator(
        target_S[:, None], single_S1, np.arange(20_000) % 5, np.arange(20_000), is_multiclass=False, method="platt"
    ).calibrator
    new_S, of_many = networks(rng, 20_000, 5)
    share = disagreement(single_S1, networks(rng, 64, 5)[1], is_multiclass=False)
    assert share == pytest.approx(1 / (1 + 1.5**2), abs=0.06)  # the variance of the error beside that of both
    centres = centres_of(single_S1, is_multiclass=False)
    as_it_is, stretched = (
        slope(new_S, chosen.apply(Pooling(False, centres, d).apply(of_many))[:, 0]) for d in (0.0, share)
    )
    averaged = slope(new_S, chosen.apply(of_many).mean(axis=1)[:, 0])
    assert averaged > 1.3 and as_it_is > 1.2  # too cautious
    assert 0.9 < stretched < 1.1


@given(st.integers(1, 6), st.integers(1, 4), st.booleans(), st.floats(0, 0.5), st.integers(0, 99))
def test_pooling_keeps_agreement_stays_in_bounds_and_is_the_same_for_tensors(
    num_networks, num_outputs, is_multiclass, share, seed
):
    rng = np.random.default_rng(seed)
    num_outputs += is_multiclass
    logits = rng.normal(0, 3, (4, num_networks, num_outputs))
    powers = np.exp(logits)
    probs_SFK = powers / powers.sum(-1, keepdims=True) if is_multiclass else sigmoid(logits)
    pooling = Pooling(is_multiclass, tuple(rng.normal(0, 1, num_outputs)), share)
    pooled_SK = pooling.apply(probs_SFK)
    assert pooled_SK.shape == (4, num_outputs) and (pooled_SK >= 0).all() and (pooled_SK <= 1).all()
    if is_multiclass:
        assert pooled_SK.sum(-1) == pytest.approx(np.ones(4))
    if num_networks == 1:
        np.testing.assert_array_equal(pooled_SK, probs_SFK[:, 0])
    tensor = pooling.apply(torch.from_numpy(probs_SFK))
    np.testing.assert_allclose(tensor.numpy(), pooled_SK, atol=1e-9)
    alone = np.stack([pooling.apply(probs_FK) for probs_FK in probs_SFK])
    np.testing.assert_array_equal(alone, pooled_SK)  # a row's answer does not depend on those beside it


def test_without_disagreement_the_mean_of_the_log_odds_is_taken():
    probs_FK = np.array([[0.2], [0.9]])
    odds = np.sqrt(0.2 / 0.8 * 0.9 / 0.1)  # the geometric mean of the odds
    assert Pooling(False, (0.0,)).apply(probs_FK) == pytest.approx(odds / (1 + odds))


def test_the_disagreement_of_rows_that_only_one_network_answered_is_not_known():
    probs_SFK = np.full((5, 3, 1), np.nan)
    probs_SFK[:, 0] = 0.3
    assert disagreement(np.array([[0.2], [0.7]]), probs_SFK, is_multiclass=False) == 0
    assert disagreement(np.array([[0.4], [0.4]]), np.full((5, 3, 1), 0.4), is_multiclass=False) == 0


@pytest.mark.parametrize(
    "wrong", [{"centres": ()}, {"centres": (np.nan,)}, {"disagreement": 0.6}, {"disagreement": -0.1}]
)
def test_a_record_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=r"centre|disagreement"):
        Pooling(**{"is_multiclass": False, "centres": (0.0,), **wrong})
