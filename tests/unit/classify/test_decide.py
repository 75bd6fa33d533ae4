"""Decide: calibration and operating point are learnt on the kept predictions, and judged on rows that had no part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.prediction.answer import combine
from lesion.algorithms.classify.report.gains import gains_of
from lesion.algorithms.classify.results.decide import by_row, decide
from lesion.algorithms.classify.results.summary import judge_slides, summarise
from lesion.algorithms.classify.training.fold_result import FoldResult
from lesion.data.labels.encode import Labelled
from lesion.data.metadata import MetadataEncoder
from lesion.data.table import SampleTable
from lesion.evaluation.parts import parts_by_group
from lesion.targets import Target

BINARY = Target("binary", ("no", "yes"))
ROWS, FOLDS = 1200, 4


def labelled(targets_SK: np.ndarray, target: Target = BINARY) -> Labelled:
    names = np.array([f"{row}.png" for row in range(len(targets_SK))])
    table = SampleTable(name_S=names, metadata=pd.DataFrame(index=range(len(names))), group_S=names)
    return Labelled(table, target, targets_SK.astype(np.float32))


def fold_of(number: int, index_S: np.ndarray, logits_SK: np.ndarray) -> FoldResult:
    return FoldResult(
        fold=number,
        weights={},
        encoder=MetadataEncoder(()),
        index_S=index_S,
        logits_SVK=logits_SK[index_S, None].astype(np.float32),
        prediction_settings={},
        best_epoch=0,
        metrics={"roc_auc": 0.5},
        history=[{}],
        first_epoch=0,
        epoch_logits_ESK=None,
    )


def job(
    seed: int = 0, *, factor: float = 3.0, offset: float = 1.0, repeats: int = 1
) -> tuple[list[FoldResult], Labelled]:
    """Networks that are too confident by `factor` and say yes too often by `offset`, one positive in six or so; those
    of a repeated cross-validation are of several minds."""
    rng = np.random.default_rng(seed)
    truth_S = rng.normal(-2, 1.5, ROWS)
    targets_S = rng.random(ROWS) < 1 / (1 + np.exp(-truth_S))
    logits_SK = (factor * truth_S + offset)[:, None]
    folds = []
    for number in range(repeats * FOLDS):
        noise_SK = rng.normal(0, 6, logits_SK.shape) if repeats > 1 else 0
        folds.append(fold_of(number, np.arange(number % FOLDS, ROWS, FOLDS), logits_SK + noise_SK))
    return folds, labelled(targets_S[:, None])


def slope_and_intercept(target_S: np.ndarray, prob_S: np.ndarray) -> tuple[float, float]:
    odds_S = np.log(prob_S / (1 - prob_S)).astype(float)
    model = LogisticRegression(C=np.inf).fit(odds_S[:, None], target_S)
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def test_overconfident_networks_are_calibrated_where_they_are_judged_and_where_they_are_served():
    results, rows = job()
    decisions = decide(results, rows, ClassifyConfig())
    target_S = rows.targets_SK[:, 0]
    assert slope_and_intercept(target_S, decisions.raw_SK[:, 0]) == pytest.approx((1 / 3, -1 / 3), abs=0.1)
    for probs_SK in (decisions.judged_SK, decisions.kept_SK):
        assert slope_and_intercept(target_S, probs_SK[:, 0]) == pytest.approx((1, 0), abs=0.15)
    summary = summarise(results, decisions, rows)["overall"]
    assert summary["metrics"]["log_loss"] < summary["uncalibrated"]["metrics"]["log_loss"] - 0.05
    # What an endpoint with one of the folds answers for a row is what the table of predictions says.
    served_K = combine(BINARY, results[1].logits_SVK[5][None], decisions.calibration)
    assert served_K[0] == decisions.kept_SK[results[1].index_S[5], 0]


def test_no_patient_takes_part_in_how_he_is_judged():
    """The labels of a fifth of the patients are turned round: their own answers stay, those of the others change."""
    results, rows = job()
    before = decide(results, rows, ClassifyConfig())
    targets_SK = rows.targets_SK.copy()
    own = np.flatnonzero(parts_by_group(rows.table.group_S, 5) == 2)
    targets_SK[own] = 1 - targets_SK[own]
    after = decide(results, replace(rows, targets_SK=targets_SK), ClassifyConfig())
    np.testing.assert_array_equal(after.judged_SK[own], before.judged_SK[own])
    np.testing.assert_array_equal(after.is_positive_SQ[own], before.is_positive_SQ[own])
    others = np.setdiff1d(np.arange(ROWS), own)
    assert np.abs(after.judged_SK[others] - before.judged_SK[others]).max() > 0.01


@pytest.mark.parametrize("repeats", [1, 2])  # of two predictions of a row neither decides alone
@pytest.mark.parametrize(("point", "rate"), [("sensitivity=0.8", "positives"), ("specificity=0.8", "negatives")])
def test_the_operating_point_reaches_its_rate_on_rows_that_did_not_choose_it(point, rate, repeats):
    results, rows = job(repeats=repeats)
    decisions = decide(results, rows, ClassifyConfig(operating_point=point))
    is_positive_S, target_S = decisions.is_positive_SQ[:, 0], rows.targets_SK[:, 0] == 1
    found = is_positive_S[target_S].mean() if rate == "positives" else (~is_positive_S[~target_S]).mean()
    assert found == pytest.approx(float(point.split("=")[1]), abs=0.05)
    served_S = decisions.kept_SK[:, 0] >= decisions.thresholds_Q[0]
    assert (served_S == is_positive_S).mean() > 0.95


def test_a_row_is_positive_from_the_threshold_on_that_is_told_of_it():
    folds, rows = job()
    decisions = decide(folds, rows, ClassifyConfig.parse({"operating_point": "youden"}))
    for point in decisions.points.values():
        assert np.array_equal(decisions.served_SK >= point.judged_at_SQ, point.is_positive_SQ)
    at_S1 = decisions.points["youden"].judged_at_SQ
    assert 1 < len(np.unique(at_S1)) <= 5  # each fifth of the patients has its own


def test_a_deployment_with_fewer_positives_lowers_probabilities_and_moves_no_label():
    results, rows = job()
    here, there = (decide(results, rows, ClassifyConfig(deployment_prevalence=share)) for share in (None, 0.02))
    trained = rows.targets_SK.mean()
    odds = here.kept_SK / (1 - here.kept_SK) * (0.02 / 0.98) / (trained / (1 - trained))
    np.testing.assert_allclose(there.kept_SK, odds / (1 + odds), rtol=1e-4)
    np.testing.assert_array_equal(there.judged_SK, here.judged_SK)  # metrics are of the rows as they are
    np.testing.assert_array_equal(
        there.kept_SK[:, 0] >= there.thresholds_Q[0], here.kept_SK[:, 0] >= here.thresholds_Q[0]
    )


def test_without_calibration_the_probabilities_are_the_networks_own_bit_for_bit():
    results, rows = job()
    decisions = decide(results, rows, ClassifyConfig(calibration="none"))
    assert decisions.calibration is None and "calibration" not in decisions.told
    expected_SK = combine(BINARY, results[0].logits_SVK[:, None])
    np.testing.assert_array_equal(decisions.kept_SK[results[0].index_S], expected_SK)
    np.testing.assert_array_equal(decisions.judged_SK, decisions.kept_SK)


def test_a_row_of_a_repeated_cross_validation_gets_the_mean():
    values_NK = np.array([[0.1], [0.5], [0.3], [0.9]])
    means_SK = by_row(values_NK, np.array([2, 0, 2, 1]), 4)
    np.testing.assert_allclose(means_SK[:, 0], [0.5, 0.9, 0.2, np.nan])


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_several_classes_and_labels_are_calibrated_and_only_labels_have_thresholds(kind):
    rng = np.random.default_rng(1)
    target = Target(kind, ("a", "b", "c"))
    truth_SK = rng.normal(0, 1.5, (ROWS, 3))
    if kind == "multiclass":
        targets_SK = np.eye(3)[(truth_SK + rng.gumbel(size=truth_SK.shape)).argmax(axis=1)]
    else:
        targets_SK = rng.random((ROWS, 3)) < 1 / (1 + np.exp(-truth_SK))
    rows = labelled(targets_SK, target)
    results = [fold_of(fold, np.arange(fold, ROWS, FOLDS), 4 * truth_SK) for fold in range(FOLDS)]
    decisions = decide(results, rows, ClassifyConfig())
    metrics = summarise(results, decisions, rows)["overall"]
    assert metrics["metrics"]["log_loss"] < metrics["uncalibrated"]["metrics"]["log_loss"] - 0.1
    assert len(decisions.thresholds_Q) == (0 if kind == "multiclass" else 3)
    assert (decisions.operating is None) == (kind == "multiclass")


def test_labels_by_lot_rank_no_worse_than_by_chance():
    """A calibrator of each fifth follows the prevalence of the others, which is low where the fifth's own is high."""
    aucs = []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        rows = labelled(rng.permutation(np.arange(90) % 3 == 0)[:, None])
        logits_SK = rng.normal(0, 1, (90, 1))
        results = [fold_of(fold, np.arange(fold, 90, 3), logits_SK) for fold in range(3)]
        decisions = decide(results, rows, ClassifyConfig(calibration="platt"))
        aucs.append(summarise(results, decisions, rows)["overall"]["metrics"]["roc_auc"])
        if seed == 0:  # so do slides, here of one tile each
            slides, _ = judge_slides(rows, decisions.judged_SK, ClassifyConfig(slide_score="max"), decisions.raw_SK)
            assert slides["metrics"]["roc_auc"] == pytest.approx(aucs[0])
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.04)  # a standard error of about .013; .4 by calibrated ones


def test_views_that_help_are_told_beside_one_view_and_the_ensemble_has_its_reason():
    """Each view is off by a noise of its own, which the mean of eight takes out."""
    results, rows = job(factor=1.0, offset=0.0)
    rng = np.random.default_rng(1)
    noisy = [
        replace(one, logits_SVK=(one.logits_SVK + rng.normal(0, 2, (len(one.index_S), 8, 1))).astype(np.float32))
        for one in results
    ]
    summary = {**summarise(noisy, decide(noisy, rows, ClassifyConfig()), rows), "final_model": {"kind": "ensemble"}}
    found = {(gain.what, gain.metric): gain for gain in gains_of(summary, num_views=8)}
    views = found["test-time augmentation (8 views)", "ROC AUC"]
    first_S = np.concatenate([one.logits_SVK[:, 0, 0] for one in noisy])
    target_S = rows.targets_SK[np.concatenate([one.index_S for one in noisy]), 0]
    assert views.before.value == pytest.approx(roc_auc_score(target_S, first_S))
    assert (
        views.difference.value == pytest.approx(views.after.value - views.before.value)
        and views.difference.value > 0.02
    )
    assert found["test-time augmentation (8 views)", "Log loss"].difference.value < 0
    ensemble = found["ensemble of 4 networks", "ROC AUC"]
    assert ensemble.after.value is None and "lesion evaluate" in ensemble.after.why

    one_view = gains_of(
        {**summarise(results, decide(results, rows, ClassifyConfig()), rows), "final_model": {"kind": "soup"}},
        num_views=1,
    )
    why = {gain.what: gain.after.why for gain in one_view if gain.after.value is None}
    assert "tta=1" in why["test-time augmentation"] and "one network" in why["ensemble"]
