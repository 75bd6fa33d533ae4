"""Answer: probabilities are made of logits in one place, the same bit for bit whoever asks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lesion.algorithms.classify.prediction.answer import combine, fold_probs
from lesion.targets import Target

TARGETS = {
    "binary": Target("binary", ("benign", "malignant")),
    "multiclass": Target("multiclass", ("a", "b", "c")),
    "multilabel": Target("multilabel", ("a", "b")),
}


def logits(target: Target, *before: int) -> np.ndarray:
    shape = (*before, target.num_outputs)
    return np.random.default_rng(0).normal(0, 3, shape).astype(np.float32)


def test_probabilities_are_averaged_and_not_logits_first_over_views_then_over_folds():
    logits_FVK = np.log([[[1.0], [3.0]], [[0.25], [0.25]]])  # probabilities ½ and ¾, ⅕ and ⅕
    np.testing.assert_allclose(fold_probs(TARGETS["binary"], logits_FVK), [[0.625], [0.2]], rtol=1e-12)
    probs_K = combine(TARGETS["binary"], logits_FVK)
    assert probs_K.dtype == np.float32 and probs_K == pytest.approx([0.4125])


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("num_views", [1, 3, 8])
def test_a_picture_has_the_same_probabilities_alone_among_others_and_however_they_lie_in_memory(kind, num_views):
    target = TARGETS[kind]
    logits_NFVK = logits(target, 50, 9, num_views)
    views_first = np.moveaxis(np.ascontiguousarray(np.moveaxis(logits_NFVK, 2, 0)), 0, 2)
    folds_last = np.moveaxis(np.ascontiguousarray(np.moveaxis(logits_NFVK, 1, -1)), -1, 1)
    for compute in (fold_probs, combine):  # the first in float64, which hides nothing
        together = compute(target, logits_NFVK)
        alone = np.stack([compute(target, logits_FVK) for logits_FVK in logits_NFVK])
        for other in (alone, compute(target, views_first), compute(target, folds_last)):
            assert other.tobytes() == together.tobytes()


@pytest.mark.parametrize("kind", TARGETS)
def test_torch_combines_as_numpy_does(kind):
    target = TARGETS[kind]
    logits_NFVK = logits(target, 5, 2, 3)
    found_NK = combine(target, torch.from_numpy(logits_NFVK))
    assert found_NK.dtype == torch.float32
    np.testing.assert_allclose(found_NK, combine(target, logits_NFVK), atol=1e-6)
