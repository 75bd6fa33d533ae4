"""Targets: the loss is the formula, worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from lesion.targets import Target

TARGET = Target("binary", ("benign", "malignant"))


@pytest.mark.parametrize("positive_weight", [1.0, 3.0])
def test_the_loss_is_cross_entropy_with_class_one_counted_positive_weight_times(positive_weight):
    logits_NK, targets_NK = torch.tensor([[2.0], [-1.0], [0.5]]), torch.tensor([[1.0], [1.0], [0.0]])

    def by_hand(logit: float, target: float) -> float:
        prob = 1 / (1 + math.exp(-logit))
        return -positive_weight * target * math.log(prob) - (1 - target) * math.log(1 - prob)

    expected = [[by_hand(logit, target)] for logit, target in [(2.0, 1), (-1.0, 1), (0.5, 0)]]
    loss_NK = TARGET.loss(logits_NK, targets_NK, positive_weight=positive_weight)
    torch.testing.assert_close(loss_NK, torch.tensor(expected))


def test_the_loss_survives_a_sure_mistake():
    logits_NK = torch.tensor([[200.0], [-200.0]], requires_grad=True)  # surely right, surely wrong
    loss_NK = TARGET.loss(logits_NK, torch.ones(2, 1), positive_weight=1.0)
    loss_NK.sum().backward()
    assert loss_NK[0].item() < 1e-6 and loss_NK[1].item() == pytest.approx(200.0) and logits_NK.grad.isfinite().all()


def test_the_activation_gives_probabilities():
    probs = TARGET.activation(torch.tensor([[0.0], [math.log(3)]]))
    torch.testing.assert_close(probs, torch.tensor([[0.5], [0.75]]))
    assert TARGET.num_outputs == 1
