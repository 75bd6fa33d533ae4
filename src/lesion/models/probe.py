"""Linear probe: a head fitted by logistic regression on frozen features; seconds where fine-tuning takes hours.

Alain & Bengio 2016. It says what the pretrained weights already know, and may initialise the last layer.
"""

# D features of a picture · K outputs · S samples · V views

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesion.targets import TaskType, Weights

# Strength of the L2 penalty on standardised features, as scikit-learn counts it. HAM10000, 2,817 training rows and
# 1,280 features: AUC .853 at 3e-4, .858 here, .855 at 3e-3, .839 at 1e-2.
INVERSE_PENALTY = 1e-3
MAX_STEPS = 500

# A feature that spreads less than this share of what features do (root mean square) counts as constant: stretched to
# the others' spread, it would be rounding, which differs between batches of another size. The least of HAM10000 with
# mobilenetv2_100 is 0.028, so none of those.
LEAST_SPREAD = 1e-2


@dataclass(frozen=True)
class LinearHead:
    """Logits = features · weight + bias."""

    weight_KD: NDArray[np.float32]
    bias_K: NDArray[np.float32]

    def logits(self, features_D: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits [..., K] of features [..., D]."""
        return np.asarray(features_D @ self.weight_KD.T + self.bias_K, dtype=np.float32)


def fit_head(
    features_VSD: NDArray[np.float32], targets_SK: NDArray[np.float32], *, kind: TaskType, weights_K: Weights
) -> LinearHead:
    """The head that answers `targets_SK` best; the views of a picture share its weight.

    Features are standardised for the fit, and that is folded into the head; a constant one gets the weight 0. The fit
    is in float64: in float32 it ends elsewhere for features that differ by rounding. Every class must have a row that
    is and one that is not. The weights of the loss count as they do in training (`Target.loss`).
    """
    num_views = len(features_VSD)
    weights_K = (weights_K / num_views).astype(np.float32)  # else more views would count as less penalty
    features_SD = features_VSD.reshape(-1, features_VSD.shape[-1])
    targets_SK = np.tile(targets_SK, (num_views, 1))
    mean_D, std_D = features_SD.mean(axis=0, dtype=np.float64), features_SD.std(axis=0, dtype=np.float64)
    std_D = np.where(std_D > LEAST_SPREAD * np.sqrt(np.mean(std_D**2)), std_D, np.inf)  # what is constant becomes 0
    features_SD = (features_SD - mean_D) / std_D
    if kind == "multiclass":
        class_S = targets_SK.argmax(axis=1)
        weight_KD, bias_K = _fit(features_SD, class_S, weights_K[class_S])
        if len(weight_KD) == 1:  # of two classes scikit-learn answers the second against the first
            weight_KD, bias_K = np.concatenate([-weight_KD, weight_KD]) / 2, np.concatenate([-bias_K, bias_K]) / 2
        assert len(weight_KD) == targets_SK.shape[1]
    else:
        rows = [
            _fit(features_SD, is_yes_S, np.where(is_yes_S == 1, weight, 1.0 / num_views))
            for is_yes_S, weight in zip(targets_SK.T, weights_K, strict=True)
        ]
        weight_KD, bias_K = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    weight_KD = weight_KD / std_D
    bias_K = bias_K - weight_KD @ mean_D
    return LinearHead(weight_KD.astype(np.float32), bias_K.astype(np.float32))


def _fit(
    features_SD: NDArray[np.float64], class_S: NDArray[np.generic], weight_S: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights and biases by scikit-learn, a row a class; of two classes one row."""
    from sklearn.exceptions import ConvergenceWarning  # here, since serving never needs it
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=MAX_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a head a little short of its best is still a start
        model.fit(features_SD, class_S, sample_weight=weight_S)
    return model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
