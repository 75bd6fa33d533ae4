"""Decision curve: the dcurves package has the same net benefits."""

from __future__ import annotations

import dcurves
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from lesion.evaluation.decision_curve import decision_curve


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    prob_S = expit(rng.normal(-1, 1.5, 800))
    return (rng.random(800) < prob_S).astype(int), prob_S, np.arange(800) // 2


@pytest.mark.parametrize("prevalence", [None, 0.05])
def test_net_benefit_is_that_of_dcurves(rows, prevalence):
    target_S, prob_S, group_S = rows
    found = decision_curve(target_S, prob_S, group_S, prevalence=prevalence)
    table = dcurves.dca(
        data=pd.DataFrame({"y": target_S, "p": prob_S}), outcome="y", modelnames=["p"],
        thresholds=np.arange(0.01, 1, 0.01), prevalence=prevalence,
    ).set_index(["model", "threshold"])["net_benefit"]  # fmt: skip
    assert found.model_T == pytest.approx(table["p"].to_numpy(), abs=1e-9)
    assert found.all_T == pytest.approx(table["all"].to_numpy(), abs=1e-9)
    assert (table["none"] == 0).all()


def test_by_hand():
    """At 0.5, three are acted on and two of them are ill: (2 − 1) ÷ 5. On all: (3 − 2) ÷ 5."""
    found = decision_curve(
        np.array([1, 1, 0, 0, 1]), np.array([0.9, 0.5, 0.6, 0.1, 0.2]), np.arange(5), threshold_T=np.array([0.5])
    )
    assert found.model_T == pytest.approx([0.2]) and found.all_T == pytest.approx([0.2])
    assert not found.is_better_T.any() and found.prevalence == 0.6


def test_the_band_holds_the_curve_and_is_by_patient(rows):
    target_S, prob_S, group_S = rows
    found = decision_curve(target_S, prob_S, group_S)
    assert ((found.low_T <= found.model_T) & (found.model_T <= found.high_T)).all()
    copies = np.arange(800).repeat(4)
    copied, as_if = (
        decision_curve(target_S[copies], prob_S[copies], groups) for groups in (group_S[copies], np.arange(3200))
    )
    assert np.mean(copied.high_T - copied.low_T) == pytest.approx(np.mean(found.high_T - found.low_T), rel=1e-6)
    assert np.mean(as_if.high_T - as_if.low_T) < 0.7 * np.mean(found.high_T - found.low_T)


def test_rows_of_one_class_have_no_curve():
    assert decision_curve(np.zeros(3), np.zeros(3), np.arange(3)) == "no positive rows"
    assert decision_curve(np.ones(3), np.zeros(3), np.arange(3)) == "no negative rows"
