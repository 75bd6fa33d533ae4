"""Report curves and gains: of rows that are enough for them, each fold's told for what it is."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from lesion.algorithms.classify.manifest import QualityRecord
from lesion.algorithms.classify.report.curves import CHOSE, curves_of_rows, said_of_others
from lesion.algorithms.classify.report.facts import beside_folds, unknown_familiarity, warned_of
from lesion.algorithms.classify.report.gains import gains_of
from lesion.report.sections import Gain, Missing

HISTORY = [{"fold": fold, "epoch": epoch, "roc_auc": 0.6 + 0.1 * epoch} for fold in (0, 1) for epoch in (0, 1)]


def rows(num_positives: int, num_rows: int = 60) -> tuple[np.ndarray, np.ndarray]:
    target_S1 = (np.arange(num_rows) < num_positives).astype(np.float32)[:, None]
    prob_S1 = np.clip(0.3 * target_S1 + 0.7 * np.random.default_rng(0).random((num_rows, 1)), 0, 1).astype(np.float32)
    return target_S1, prob_S1


@pytest.mark.parametrize(("num_positives", "few"), [(9, "positives (9)"), (51, "negatives (9)"), (0, "positives (0)")])
def test_with_fewer_than_ten_of_a_class_there_is_a_reason_and_no_curve(num_positives, few):
    found = curves_of_rows(["melanoma"], *rows(num_positives), HISTORY, "roc_auc")
    why = f"No curve: too few {few}: no AUC with fewer than 10."
    assert found.roc == found.pr == Missing(why=why)


def test_of_several_labels_those_that_are_enough_have_curves_with_the_areas_of_the_table():
    (few_S1, few_prob_S1), (many_S1, many_prob_S1) = rows(4), rows(30)
    targets_S2, probs_S2 = np.hstack([few_S1, many_S1]), np.hstack([few_prob_S1, many_prob_S1])
    scores_S2 = probs_S2[::-1].copy()  # what rows are ranked by is not what they are answered by
    found = curves_of_rows(["rare", "common"], targets_S2, probs_S2, HISTORY, "roc_auc", ranked_SQ=scores_S2)
    [roc], [pr] = found.roc, found.pr
    area, precision = (f(targets_S2[:, 1], scores_S2[:, 1]) for f in (roc_auc_score, average_precision_score))
    assert roc.name == pr.name == "common" and roc.note == f"AUC {area:.3f}"
    assert f"average precision {precision:.3f}" in pr.note


def test_a_fold_whose_metric_is_no_result_says_so_at_its_learning_curve():
    found = curves_of_rows(["melanoma"], *rows(30), HISTORY, "roc_auc", few_folds=[1])
    assert [curve.note for curve in found.learning] == ["", CHOSE]


def test_a_calibration_that_was_not_wanted_or_not_better_has_gained_nothing():
    overall = {"metrics": {"log_loss": 0.4}, "uncalibrated": {"metrics": {"log_loss": 0.5}}}

    def first_gain(**more: object) -> Gain:
        best = {"of_best_epochs": {"metrics": {}}}
        return gains_of({"overall": overall | best | more, "final_model": {"kind": "soup"}}, num_views=1)[0]

    assert first_gain().after.why.startswith("calibration=none")
    assert first_gain(calibration={"method": "none"}).after.why.startswith("none was better than no calibration")
    gain = first_gain(calibration={"method": "platt"})
    assert gain.difference.value == pytest.approx(-0.1) and gain.what == "calibration (platt)"


def test_sensitivity_says_at_which_thresholds_of_others_it_was_measured():
    said = said_of_others(0.161, (0.12, 0.41), "patient", is_calibrated=True)
    assert said == (
        "Measured with thresholds and calibrations chosen on other patients (0.120 to 0.410); the served threshold is "
        "0.161."
    )
    fixed = said_of_others(0.3, (0.3, 0.3), "patient", is_calibrated=True)
    assert fixed.startswith("Measured with calibrations that other patients taught: the served one may")
    assert said_of_others(0.3, (0.3, 0.3), "patient", is_calibrated=False) == ""


def test_an_auc_that_is_far_from_the_mean_over_the_folds_says_why():
    assert beside_folds(0.634, 0.813).endswith("ranked across networks whose scales differ, which costs 0.179.")
    assert beside_folds(0.95, 0.98) == beside_folds(0.95, None) == ""


def test_a_familiarity_score_that_too_few_held_out_images_leave_out_counts_these():
    why = unknown_familiarity(78, 26, "patient").why
    assert "needs 100 held-out images" in why and why.endswith("Held out were 78 images of 26 patients.")


def test_images_of_a_validation_set_are_not_called_training_images():
    quality = QualityRecord(on_low_quality="warn", num_pictures=250, bounds={}, share_warned={"any": 0.01})
    assert warned_of(quality, are_apart=True).how.startswith("The share of 250 images of training and validation ")
    assert warned_of(quality, are_apart=False).how.startswith("The share of 250 training images ")
