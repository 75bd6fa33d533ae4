"""Metrics: numbers from a paper and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from lesion.evaluation.metrics import (
    METRICS,
    accuracy,
    average_precision,
    balanced_accuracy,
    brier,
    log_loss,
    ranked_scores,
    roc_auc,
    score_all,
)

# Four rows worked by hand: ranked by probability the targets read 1, 0, 1, 0.
TARGETS = np.array([1.0, 0.0, 1.0, 0.0], np.float32)
PROBS = np.array([0.9, 0.6, 0.5, 0.1], np.float32)


def test_roc_auc_of_hanley_and_mcneil_1982():
    """109 CT scans, 58 normal and 51 not, rated 1 to 5 by one reader (Radiology 143:29–36): area 0.893."""
    ratings = np.array([1, 2, 3, 4, 5])
    scores_S = np.concatenate([ratings.repeat([33, 6, 6, 11, 2]), ratings.repeat([3, 2, 2, 11, 33])])
    assert roc_auc(np.repeat([0, 1], [58, 51]), scores_S) == pytest.approx(0.893, abs=5e-4)


def test_roc_auc_counts_pairs():
    """Of the four pairs of a positive and a negative, 0.5 against 0.6 alone is ranked wrongly."""
    assert roc_auc(TARGETS, PROBS) == pytest.approx(3 / 4)


def test_roc_auc_counts_a_tie_half():
    assert roc_auc(np.array([0.0, 1.0]), np.array([0.5, 0.5])) == 0.5


@given(rows=st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=2, max_size=60))
def test_roc_auc_agrees_with_scikit_learn_ties_and_all(rows):
    target_S, prob_S = (
        np.array([row[0] for row in rows], np.float32),
        np.array([row[1] / 9 for row in rows], np.float32),
    )
    if len(np.unique(target_S)) == 2:
        assert roc_auc(target_S, prob_S) == pytest.approx(sklearn.metrics.roc_auc_score(target_S, prob_S))


def test_roc_auc_of_what_is_no_number_is_refused():
    with pytest.raises(ValueError, match="nan"):
        roc_auc(TARGETS, np.array([0.1, math.nan, 0.3, 0.4]))


def test_average_precision_is_a_sum_of_steps():
    """Recall rises by a half at rank 1 (precision 1) and by a half at rank 3 (precision 2/3)."""
    assert average_precision(TARGETS, PROBS) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_average_precision_of_a_constant_is_the_prevalence():
    assert average_precision(np.array([1.0, 0, 0, 0]), np.full(4, 0.3)) == pytest.approx(0.25)


def test_log_loss_by_hand():
    assert log_loss(TARGETS[:, None], PROBS[:, None], False) == pytest.approx(
        -math.log(0.9 * 0.4 * 0.5 * 0.9) / 4, rel=1e-6
    )


def test_log_loss_of_a_sure_mistake_is_finite():
    assert log_loss(np.array([[1.0]]), np.array([[0.0]], np.float32), False) == pytest.approx(-math.log(1e-7))


def test_brier_by_hand():
    assert brier(TARGETS[:, None], PROBS[:, None], False) == pytest.approx((0.01 + 0.36 + 0.25 + 0.01) / 4, rel=1e-6)


# Three classes and five rows, the third and the fifth answered wrongly.
CLASSES = np.eye(3, dtype=np.float32)[[0, 0, 0, 1, 2]]
CLASS_PROBS = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.7, 0.2], [0.5, 0.25, 0.25]])


def test_metrics_of_several_classes_by_hand():
    assert accuracy(CLASSES, CLASS_PROBS, True) == pytest.approx(3 / 5)
    assert balanced_accuracy(CLASSES, CLASS_PROBS, True) == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert log_loss(CLASSES, CLASS_PROBS, True) == pytest.approx(-math.log(0.8 * 0.6 * 0.2 * 0.7 * 0.25) / 5)
    squares = (0.06 + 0.26 + 0.98 + 0.14 + 0.875) / 5
    assert brier(CLASSES, CLASS_PROBS, True) == pytest.approx(squares)


def test_metrics_of_several_classes_are_scikit_learns():
    rng = np.random.default_rng(4)
    true_S, logits_SK = rng.integers(0, 4, 200), rng.normal(size=(200, 4))
    probs_SK = np.exp(logits_SK) / np.exp(logits_SK).sum(axis=1, keepdims=True)
    found = score_all(np.eye(4)[true_S], probs_SK, is_multiclass=True)
    assert found["roc_auc"] == pytest.approx(
        sklearn.metrics.roc_auc_score(true_S, probs_SK, multi_class="ovr", average="macro")
    )
    assert found["log_loss"] == pytest.approx(sklearn.metrics.log_loss(true_S, probs_SK))
    answered_S = probs_SK.argmax(axis=1)
    assert found["balanced_accuracy"] == pytest.approx(sklearn.metrics.balanced_accuracy_score(true_S, answered_S))
    assert found["average_precision"] == pytest.approx(
        sklearn.metrics.average_precision_score(np.eye(4)[true_S], probs_SK, average="macro")
    )


def test_metrics_of_several_labels_are_means_over_them():
    targets_SQ = np.array([[1, 0], [0, 0], [1, 1], [0, 1]], np.float32)
    probs_SQ = np.array([[0.9, 0.6], [0.6, 0.4], [0.5, 0.7], [0.1, 0.1]])
    found = score_all(targets_SQ, probs_SQ, is_multiclass=False)
    assert found["roc_auc"] == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert found["accuracy"] == pytest.approx(5 / 8)  # wrong: row 1 of the first, rows 0 and 3 of the second


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("is_multiclass", [False, True])
def test_no_metric_depends_on_the_order_of_rows(name, is_multiclass):
    rng = np.random.default_rng(0)
    targets_SQ = np.eye(3)[rng.integers(0, 3, 50)] if is_multiclass else rng.integers(0, 2, (50, 3)).astype(float)
    probs_SQ = rng.dirichlet([1, 1, 1], 50)
    order, function = rng.permutation(50), METRICS[name].function
    assert function(targets_SQ[order], probs_SQ[order], is_multiclass) == pytest.approx(
        function(targets_SQ, probs_SQ, is_multiclass)
    )


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("is_multiclass", [False, True])
def test_every_metric_calls_the_right_answer_better_than_the_wrong(name, is_multiclass):
    score = METRICS[name]
    targets_SQ = CLASSES if is_multiclass else TARGETS[:, None]
    wrong_SQ = np.roll(targets_SQ, 1, axis=1) if is_multiclass else 1 - targets_SQ
    right, wrong = (
        score.function(targets_SQ, targets_SQ, is_multiclass),
        score.function(targets_SQ, wrong_SQ, is_multiclass),
    )
    assert right > wrong if score.better == "higher" else right < wrong


def test_rows_of_one_class_leave_out_what_needs_both():
    of_one = score_all(np.zeros((3, 1)), np.array([[0.1], [0.2], [0.3]]), is_multiclass=False)
    assert set(METRICS) - set(of_one) == {"roc_auc", "average_precision"}
    assert set(score_all(TARGETS[:, None], PROBS[:, None], is_multiclass=False)) == set(METRICS)


def test_what_ranks_rows_is_told_from_ten_positives_and_ten_negatives_on():
    rng = np.random.default_rng(0)
    target_S3 = np.stack([np.arange(40) < count for count in (9, 10, 31)], axis=1).astype(float)
    score_S3 = rng.random((40, 3))
    found, why = ranked_scores(target_S3, score_S3)
    assert found == {
        "roc_auc": pytest.approx(roc_auc(target_S3[:, 1], score_S3[:, 1])),
        "average_precision": pytest.approx(average_precision(target_S3[:, 1], score_S3[:, 1])),
    }
    assert why == "mean over 1 of 3 outputs: the others have fewer than 10 of a class"
    assert ranked_scores(target_S3[:, [0]], score_S3[:, [0]]) == (
        {},
        "too few positives (9): no AUC with fewer than 10",
    )
    assert ranked_scores(target_S3[:, [0, 2]], score_S3[:, [0, 2]])[1].startswith("no output has 10 positives and 10")
    assert ranked_scores(target_S3[:, [1]], score_S3[:, [1]])[1] is None
    assert "roc_auc" in score_all(target_S3[:, [0]], score_S3[:, [0]], is_multiclass=False)  # training still chooses
