"""Links: between probabilities and log-odds or log probabilities, each one line of NumPy and one of torch.

torch, which is not imported here, for networks that are exported with their calibration.
"""

# K outputs · … any dimensions before them

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Probabilities of 0 and 1 have no log-odds. The upper one is the largest float32 below 1, in float64 too: an exported
# graph computes in float32, and its answers must not differ.
LEAST_PROB, MOST_PROB = 1e-12, 1 - 2**-24


def ordered(probs: Any) -> Any:
    """An array in float64 and in one order in memory, since NumPy's loops may round differently along strides; a tensor
    as it is."""
    return np.ascontiguousarray(probs, dtype=np.float64) if isinstance(probs, np.ndarray) else probs


def constant(values_K: NDArray[Any], like: Any) -> Any:
    """Values [K] as an array, or as a tensor of the type of `like`."""
    return values_K if isinstance(like, np.ndarray) else like.new_tensor(values_K)


def log_probs(probs: Any) -> Any:
    """log p, finite: p is kept above 1e-12."""
    return np.log(probs.clip(LEAST_PROB)) if isinstance(probs, np.ndarray) else probs.clip(LEAST_PROB).log()


def log_odds(probs: Any) -> Any:
    """log p − log(1 − p), finite: p is kept above 1e-12 and below 1 − 6e-8."""
    if isinstance(probs, np.ndarray):
        probs = probs.clip(LEAST_PROB, MOST_PROB)
        return np.log(probs) - np.log1p(-probs)
    probs = probs.clip(LEAST_PROB, MOST_PROB)
    return probs.log() - (-probs).log1p()


def sigmoid(scores: Any) -> Any:
    """1 ÷ (1 + exp(−z)) of any z, without overflow."""
    if not isinstance(scores, np.ndarray):
        return scores.sigmoid()
    powers = np.exp(-np.abs(scores))  # never overflows
    return np.where(scores >= 0, 1, powers) / (1 + powers)


def softmax(scores: Any) -> Any:
    """exp(z) ÷ Σ exp(z) over the last dimension."""
    if not isinstance(scores, np.ndarray):
        return scores.softmax(-1)
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def where(is_first_K: NDArray[np.bool_], first: Any, second: Any) -> Any:
    """`first` in the outputs that the mask [K] names, else `second`."""
    if isinstance(first, np.ndarray):
        return np.where(is_first_K, first, second)
    return first.where(first.new_tensor(is_first_K) > 0, second)
