"""Probe: the head is scikit-learn's logistic regression, with the standardising folded in."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lesion.models.probe import INVERSE_PENALTY, fit_head

RNG = np.random.default_rng(0)
FEATURES_SD = (RNG.normal(size=(120, 12)) * np.arange(1, 13) + 5).astype(np.float32)
CLASS_S = np.digitize(FEATURES_SD[:, 0] + RNG.normal(size=120), [4.5, 5.5])


def reference(class_S: np.ndarray, weight_S: np.ndarray | None = None) -> np.ndarray:
    """Probabilities [S, classes] of the pipeline that everybody writes."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=INVERSE_PENALTY, max_iter=500))
    model.fit(FEATURES_SD.astype(np.float64), class_S, logisticregression__sample_weight=weight_S)
    return model.predict_proba(FEATURES_SD)


@pytest.mark.parametrize("weight", [1.0, 7.0])
def test_yes_or_no_is_answered_as_scikit_learn_answers(weight):
    is_yes_S = (CLASS_S == 2).astype(np.float32)
    head = fit_head(FEATURES_SD[None], is_yes_S[:, None], kind="binary", weights_K=np.float32([weight]))
    expected = reference(is_yes_S, np.where(is_yes_S == 1, weight, 1.0))[:, 1]
    np.testing.assert_allclose(expit(head.logits(FEATURES_SD))[:, 0], expected, atol=2e-3)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_classes_are_answered_as_scikit_learn_answers(num_classes):
    class_S = np.minimum(CLASS_S, num_classes - 1)
    head = fit_head(
        FEATURES_SD[None],
        np.eye(num_classes, dtype=np.float32)[class_S],
        kind="multiclass",
        weights_K=np.ones(num_classes, np.float32),
    )
    np.testing.assert_allclose(softmax(head.logits(FEATURES_SD), axis=1), reference(class_S), atol=2e-3)


def test_each_label_is_answered_for_itself():
    targets_SK = np.stack([CLASS_S > 0, CLASS_S == 2], axis=1).astype(np.float32)
    head = fit_head(FEATURES_SD[None], targets_SK, kind="multilabel", weights_K=np.ones(2, np.float32))
    for number in range(2):
        expected = reference(targets_SK[:, number])[:, 1]
        np.testing.assert_allclose(expit(head.logits(FEATURES_SD))[:, number], expected, atol=2e-3)


def test_the_views_of_a_picture_share_its_weight_and_a_constant_feature_says_nothing():
    flat_SD = np.concatenate([FEATURES_SD, np.full((120, 1), 3.0, np.float32)], axis=1)
    views_VSD = np.stack([flat_SD, flat_SD])
    targets_SK = (CLASS_S == 2).astype(np.float32)[:, None]
    head = fit_head(views_VSD, targets_SK, kind="binary", weights_K=np.float32([1]))
    assert head.weight_KD.shape == (1, 13) and head.weight_KD[0, -1] == 0
    expected = reference(targets_SK[:, 0])[:, 1]  # two views that are alike say what one says
    np.testing.assert_allclose(expit(head.logits(views_VSD))[1, :, 0], expected, atol=2e-3)


def test_rounding_says_nothing():
    """Of a feature that hardly ever fires, training rows may have rounding alone, and another row a real value."""
    is_yes_S = (CLASS_S == 2).astype(np.float32)[:, None]
    heads = []
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        noise_S1 = rng.normal(scale=1e-7, size=(120, 1))
        rounded_SD = FEATURES_SD * (1 + rng.normal(scale=1e-7, size=FEATURES_SD.shape))
        features_SD = np.concatenate([rounded_SD, noise_S1], axis=1).astype(np.float32)
        heads.append(fit_head(features_SD[None], is_yes_S, kind="binary", weights_K=np.float32([1])))
    fires_SD = np.concatenate([FEATURES_SD, np.full((120, 1), 0.3, np.float32)], axis=1)
    np.testing.assert_allclose(*(head.logits(fires_SD) for head in heads), rtol=1e-4, atol=1e-5)
