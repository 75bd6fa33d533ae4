"""Shortcuts: scikit-learn's own cross-validation gives the same numbers, and a column that answers alone is found."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lesion.check.shortcuts import columns_that_give_away, out_of_fold_auc, refuse_answers, shortcuts
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
