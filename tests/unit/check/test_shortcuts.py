"""Shortcuts: scikit-learn's own cross-validation gives the same numbers, and a column that answers alone is found."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lesion.check.shortcuts import (
    MAX_DEPTH,
    NUM_TREES,
    columns_that_give_away,
    forest_auc,
    out_of_fold_auc,
    refuse_answers,
    shortcut_findings,
    shortcuts,
)
from lesion.errors import UserError


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    features_SD = rng.normal(size=(120, 3)) * [1, 100, 0.01]
    targets_SQ = (features_SD[:, :1] + rng.normal(size=(120, 1)) > 0).astype(np.float32)
    group_S = np.arange(120) // 3
    folds = GroupKFold(4)
    valid_FS = np.zeros((4, 120), dtype=bool)
    for fold, (_, held) in enumerate(folds.split(features_SD, groups=group_S)):
        valid_FS[fold, held] = True
    return features_SD, targets_SQ, valid_FS, group_S, folds


def test_the_auc_is_that_of_scikit_learns_cross_validation(rows):
    features_SD, targets_SQ, valid_FS, group_S, folds = rows
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    prob = cross_val_predict(model, features_SD, targets_SQ[:, 0], groups=group_S, cv=folds, method="predict_proba")[
        :, 1
    ]
    expected = roc_auc_score(targets_SQ[:, 0], prob)
    assert out_of_fold_auc(features_SD, targets_SQ, valid_FS) == pytest.approx(expected)


def test_each_group_is_asked_alone_and_all_together(rows):
    features_SD, targets_SQ, valid_FS, *_ = rows
    found = shortcuts({"a": features_SD[:, :1], "b": features_SD[:, 1:]}, targets_SQ, valid_FS)
    assert set(found) == {"a", "b", "all"} and found["a"] > 0.7 > found["b"]


def test_the_shortcuts_auc_is_that_of_scikit_learns_cross_validation_by_each_folds_pairs(rows):
    features_SD, targets_SQ, valid_FS, group_S, folds = rows
    forest = ExtraTreesClassifier(NUM_TREES, max_depth=MAX_DEPTH, min_samples_leaf=5, random_state=0)
    each = cross_val_score(forest, features_SD, targets_SQ[:, 0], groups=group_S, cv=folds, scoring="roc_auc")
    positives_F = valid_FS @ targets_SQ[:, 0]
    pairs_F = positives_F * (valid_FS.sum(axis=1) - positives_F)
    assert forest_auc(features_SD, targets_SQ, valid_FS) == pytest.approx(np.average(each, weights=pairs_F))


def test_a_class_in_the_middle_range_is_found_and_noise_is_chance():
    """What a straight line cannot tell apart (0.46 before), and 90 rows of noise (0.455 before)."""
    rng = np.random.default_rng(0)
    valid_FS = np.arange(5)[:, None] == np.arange(90) % 5
    brightness_S1 = rng.normal(size=(90, 1))
    assert forest_auc(brightness_S1, (np.abs(brightness_S1) < 0.7).astype(float), valid_FS) > 0.9
    noise = [
        forest_auc(rng.normal(size=(90, 8)), rng.integers(0, 2, (90, 1)).astype(float), valid_FS) for _ in range(12)
    ]
    assert np.mean(noise) == pytest.approx(0.5, abs=0.06)


def test_several_classes_and_several_labels_have_shortcuts_too():
    rng = np.random.default_rng(0)
    features_SD, valid_FS = rng.normal(size=(200, 2)), np.arange(4)[:, None] == np.arange(200) % 4
    labels_SQ = (features_SD > 0).astype(float)
    classes_SQ = np.eye(3)[np.digitize(features_SD[:, 0], [-0.5, 0.5])]
    for targets_SQ in (labels_SQ, classes_SQ):
        assert forest_auc(features_SD, targets_SQ, valid_FS) > 0.9
    lost_SQ = np.concatenate([classes_SQ, np.zeros((200, 1))], axis=1)  # a class without rows is left out
    assert forest_auc(features_SD, lost_SQ, valid_FS) == forest_auc(features_SD, classes_SQ, valid_FS)


def test_the_finding_claims_nothing_about_the_network():
    [finding] = shortcut_findings({"size": 0.61, "all": 0.73})
    assert "0.730 (size 0.610), out of fold" in finding.what and "does not tell what a network uses" in finding.do
    assert shortcut_findings({}) == []


@pytest.mark.parametrize(("positives", "is_told"), [(9, False), (10, True)])
def test_nothing_is_said_of_fewer_than_ten_positives_in_all_folds_together(positives, is_told):
    """Five folds of two positives each are enough: the rule asks for ten, and not for ten in each fold."""
    features_SD, valid_FS = np.random.default_rng(0).normal(size=(100, 2)), np.arange(5)[:, None] == np.arange(100) % 5
    targets_SQ = (np.arange(100) < positives).astype(float)[:, None]
    assert bool(shortcuts({"a": features_SD}, targets_SQ, valid_FS)) is is_told


def test_nothing_is_said_where_a_fold_learns_from_one_class_only(rows):
    features_SD, _, valid_FS, *_ = rows
    targets_SQ = valid_FS[0][:, None].astype(np.float32)
    assert shortcuts({"a": features_SD}, targets_SQ, valid_FS) == {}


def test_a_column_that_answers_alone_is_named_and_an_informative_one_is_not(rows):
    _, targets_SQ, valid_FS, *_ = rows
    rng = np.random.default_rng(1)
    metadata = [
        {
            "outcome": "bad" if yes else "good",
            "score": str(3 * yes + rng.normal() / 4),
            "age": str(50 + 10 * yes + rng.normal() * 10),
            "empty": None,
        }
        for yes in targets_SQ[:, 0]
    ]
    kinds = {"outcome": "category", "score": "number", "age": "number", "empty": "category"}
    found = columns_that_give_away(metadata, kinds, targets_SQ, valid_FS)
    assert set(found) == {"outcome", "score"}
    with pytest.raises(UserError, match=r"on their own .target leakage.: outcome \(ROC AUC 1\.000\), score "):
        refuse_answers(found, where="train.csv")
