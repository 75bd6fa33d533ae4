"""Targets: losses are their formulas, worked by hand; the answer is the class that the probabilities amount to."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from lesion.targets import Target

BINARY = Target("binary", ("benign", "malignant"))
FLOWERS = Target("multiclass", ("daisy", "rose", "tulip"))
ROSE = Target("multiclass", ("daisy", "rose", "tulip"), "rose")
SIGNS = Target("multilabel", ("hair", "ruler", "ink"))
KINDS = [BINARY, FLOWERS, ROSE, SIGNS]


def ones(target: Target) -> np.ndarray:
    return np.ones(target.num_outputs, np.float32)


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_the_loss_is_cross_entropy_with_class_one_counted_weight_times(weight):
    logits_NK, targets_NK = torch.tensor([[2.0], [-1.0], [0.5]]), torch.tensor([[1.0], [1.0], [0.0]])

    def by_hand(logit: float, target: float) -> float:
        prob = 1 / (1 + math.exp(-logit))
        return -weight * target * math.log(prob) - (1 - target) * math.log(1 - prob)

    expected = [by_hand(logit, target) for logit, target in [(2.0, 1), (-1.0, 1), (0.5, 0)]]
    loss_N = BINARY.loss(logits_NK, targets_NK, weights_K=np.array([weight], np.float32))
    torch.testing.assert_close(loss_N, torch.tensor(expected))


def test_the_loss_of_several_classes_is_torchs():
    logits_NK, classes_N = (
        torch.randn(6, 3, generator=torch.Generator().manual_seed(0)),
        torch.tensor([0, 1, 2, 2, 0, 1]),
    )
    targets_NK = torch.eye(3)[classes_N]
    loss_N = FLOWERS.loss(logits_NK, targets_NK, weights_K=ones(FLOWERS))
    torch.testing.assert_close(loss_N, cross_entropy(logits_NK, classes_N, reduction="none"))
    weights_K = np.array([1.0, 2.0, 0.5], np.float32)
    weighted_N = FLOWERS.loss(logits_NK, targets_NK, weights_K=weights_K)
    expected_N = cross_entropy(logits_NK, classes_N, weight=torch.tensor(weights_K), reduction="none")
    torch.testing.assert_close(weighted_N, expected_N)


def test_the_loss_of_several_labels_is_the_mean_of_each_for_itself():
    logits_NK, targets_NK = torch.tensor([[1.0, -2.0, 0.0]]), torch.tensor([[1.0, 0.0, 1.0]])
    alone = [BINARY.loss(logits_NK[:, k : k + 1], targets_NK[:, k : k + 1], weights_K=ones(BINARY)) for k in range(3)]
    loss_N = SIGNS.loss(logits_NK, targets_NK, weights_K=ones(SIGNS))
    torch.testing.assert_close(loss_N, torch.stack(alone).mean(dim=0))


@pytest.mark.parametrize("target", KINDS)
def test_every_loss_forgives_the_right_and_survives_the_wrong(target):
    shape = (1, target.num_outputs)
    truth_NK = torch.zeros(shape)
    truth_NK[0, 0] = 1
    right_NK = (400 * truth_NK - 200).requires_grad_()
    wrong_NK = (200 - 400 * truth_NK).requires_grad_()
    right_N, wrong_N = (target.loss(x, truth_NK, weights_K=ones(target)) for x in (right_NK, wrong_NK))
    (right_N + wrong_N).sum().backward()
    assert right_N.item() < 1e-6 and 1 < wrong_N.item() < torch.inf and wrong_NK.grad.isfinite().all()


def test_the_activations_give_probabilities():
    assert BINARY.activate(np.array([[math.log(3)]])) == pytest.approx(0.75)
    assert FLOWERS.activate(np.zeros((2, 1, 3))) == pytest.approx(np.full((2, 1, 3), 1 / 3))
    assert SIGNS.activate(np.zeros((1, 3))) == pytest.approx(np.full((1, 3), 0.5))
    logits_NK = np.random.default_rng(0).normal(scale=50, size=(20, 3)).astype(np.float32)
    for target, by_torch in ((SIGNS, torch.sigmoid), (FLOWERS, partial(torch.softmax, dim=1))):
        expected_NK = by_torch(torch.from_numpy(logits_NK).double()).numpy()
        np.testing.assert_allclose(target.activate(logits_NK), expected_NK, rtol=1e-12)
    assert BINARY.activate(np.array([[-1e4], [1e4]], np.float32)).tolist() == [[0], [1]]
    assert [target.num_outputs for target in KINDS] == [1, 3, 3, 3]


def test_the_positive_class_of_many_is_asked_about_and_the_others_are_its_no():
    probs_K = np.array([0.2, 0.3, 0.5], np.float32)
    assert ROSE.judged_columns(probs_K[None]).tolist() == [[pytest.approx(0.3)]]
    assert ROSE.label(probs_K, (0.3,)) == ["rose"] and ROSE.label(probs_K, (0.31,)) == ["not rose"]
    assert FLOWERS.label(probs_K, ()) == ["tulip"]
    assert SIGNS.label(probs_K, (0.2, 0.4, 0.5)) == ["hair", "ink"]
    assert BINARY.label(np.array([0.4]), (0.4,)) == ["malignant"]


def test_balanced_weights_let_each_class_count_alike():
    targets_SK = np.eye(3, dtype=np.float32)[[0, 0, 0, 0, 1, 1, 2, 2]]
    weights_K = FLOWERS.balanced(targets_SK)
    np.testing.assert_allclose(weights_K * targets_SK.sum(axis=0), 8 / 3)
    assert BINARY.balanced(np.array([[1], [0], [0], [0]], np.float32)).tolist() == [3.0]


def test_a_row_of_several_labels_is_stratified_by_its_rarest():
    targets_SK = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 0], [0, 0, 0]], np.float32)
    assert SIGNS.class_of(targets_SK).tolist() == [0, 1, 2, 1, 3]
