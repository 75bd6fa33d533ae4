"""Explained class: its name, and the log-odds that maps take apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import logit, softmax

from lesion.errors import UserError
from lesion.explain.explained_class import class_names, named_class, usual_class
from lesion.targets import Target

BINARY = Target("binary", ("benign", "malignant"))
SEVERAL = Target("multiclass", ("nevus", "melanoma", "keratosis"))
ONE = Target("multiclass", ("nevus", "melanoma", "keratosis"), "melanoma")
LABELS = Target("multilabel", ("mass", "effusion"))


def test_log_odds_are_those_of_the_probability():
    """scipy's softmax and logit, of moderate logits."""
    logits_NK = np.random.default_rng(0).normal(0, 3, (20, 3))
    expected_N = logit(softmax(logits_NK, axis=1)[:, 1])
    np.testing.assert_allclose(named_class(SEVERAL, "melanoma").log_odds(logits_NK), expected_N, rtol=1e-9)
    np.testing.assert_allclose(named_class(ONE, "not melanoma").log_odds(logits_NK), -expected_N, rtol=1e-9)
    np.testing.assert_allclose(named_class(BINARY, "benign").log_odds(np.array([[2.0]])), [-2])
    np.testing.assert_allclose(named_class(LABELS, "effusion").log_odds(np.array([[2.0, -1.0]])), [-1])


def test_a_tensors_log_odds_are_the_arrays():
    logits_NK = np.random.default_rng(1).normal(0, 50, (20, 3))
    for target in (SEVERAL, ONE):
        for name in class_names(target):
            one = named_class(target, name)
            found_N = one.log_odds_of_tensor(torch.from_numpy(logits_NK)).numpy()
            np.testing.assert_allclose(found_N, one.log_odds(logits_NK), rtol=1e-9)


@pytest.mark.parametrize(
    ("target", "name"), [(SEVERAL, "melanoma"), (ONE, "not melanoma"), (BINARY, "benign"), (LABELS, "effusion")]
)
def test_slopes_are_the_derivatives_of_the_log_odds(target, name):
    logits_K = np.random.default_rng(2).normal(0, 3, target.num_outputs)
    one, step = named_class(target, name), 1e-6
    changed_KK = logits_K + step * np.eye(len(logits_K))
    expected_K = (one.log_odds(changed_KK) - one.log_odds(logits_K)) / step
    np.testing.assert_allclose(one.slopes(logits_K), expected_K, atol=1e-4)


def test_a_sure_network_has_finite_log_odds():
    for logits_K in ([1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]):
        one = named_class(SEVERAL, "nevus")
        assert np.isfinite(one.log_odds(np.array(logits_K))) and np.isfinite(one.slopes(np.array(logits_K))).all()
        assert one.probability(np.array(logits_K)) in (0, 1) or 0 < one.probability(np.array(logits_K)) < 1


@pytest.mark.parametrize(
    ("target", "probs", "expected"),
    [
        (BINARY, [0.1], "malignant"),
        (ONE, [0.8, 0.1, 0.1], "melanoma"),
        (SEVERAL, [0.2, 0.1, 0.7], "keratosis"),
        (LABELS, [0.3, 0.2], "mass"),
    ],
)
def test_the_usual_class_is_the_positive_one_or_the_predicted(target, probs, expected):
    assert usual_class(target, np.array(probs)).name == expected


def test_a_name_is_found_without_its_case_and_an_unknown_one_is_refused_in_words():
    assert named_class(BINARY, "MALIGNANT").name == "malignant"
    twins = Target("multiclass", ("A", "a", "b"))
    assert named_class(twins, "a").index == 1
    with pytest.raises(UserError, match=r"no class to explain is called 'melanom'.*benign, malignant") as refused:
        named_class(BINARY, "melanom")
    assert refused.value.kind == "custom_attributes"
    assert "map=true" in refused.value.do
    with pytest.raises(UserError) as refused:
        named_class(BINARY, "melanom", or_else="leave --class out")
    assert "leave --class out" in refused.value.do and "map=" not in refused.value.do
