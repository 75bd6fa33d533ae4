"""Pooling: the probabilities of several networks to one, which a calibrator that was learnt on single networks fits.

A calibrator is learnt on out-of-fold rows, which one network answers each. New images are answered by all networks, and
a mean varies less than its parts: averaged and calibrated alike, it would be too cautious (Ranjan & Gneiting 2010). So
the mean of the log-odds is stretched by as much as the networks differ among themselves. A server pools, so this file
needs NumPy alone.
"""

# F networks · K outputs · S samples · … any dimensions before them

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.links import constant, log_odds, log_probs, ordered, sigmoid, softmax

if TYPE_CHECKING:
    from torch import Tensor

MOST_DISAGREEMENT = 0.5
Array = TypeVar("Array", bound="NDArray[np.floating] | Tensor")


@dataclass(frozen=True)
class Pooling:
    """How the networks' log-odds are pooled; for several classes their log probabilities.

    `centres` [K] are the means of a single network's. `disagreement` is the share of their variance that is between
    networks: 0, all answer alike, to 0.5. Raises ValueError where the numbers cannot be: the record may come from a
    stranger's file.
    """

    is_multiclass: bool
    centres: tuple[float, ...]
    disagreement: float = 0.0

    def __post_init__(self) -> None:
        if not self.centres or not np.isfinite(self.centres).all():
            raise ValueError("pooling needs a finite centre for each output")
        if not 0 <= self.disagreement <= MOST_DISAGREEMENT:
            raise ValueError(f"disagreement is {self.disagreement}, and it is 0 to {MOST_DISAGREEMENT}")

    def apply(self, probs_FK: Array) -> Array:
        """Probabilities [..., K] of the networks' [..., F, K]; of a single network its own, bit for bit.

        The mean score m of F networks becomes c + (m − c) ÷ (1 − d (1 − 1/F)), with centre c and disagreement d: a
        mean of F has that share of the variance of one.
        """
        given: Any = probs_FK
        num_networks = given.shape[-2]
        if num_networks == 1:
            one: Array = given[..., 0, :]
            return one
        given = ordered(given)
        scores_FK = log_probs(given) if self.is_multiclass else log_odds(given)
        # Added in order: NumPy's own sum depends on how the array lies in memory.
        mean_K = sum(scores_FK[..., f, :] for f in range(num_networks)) / num_networks
        centre_K = constant(np.array(self.centres), given)
        stretch = 1 / (1 - self.disagreement * (1 - 1 / num_networks))
        pooled: Array = (softmax if self.is_multiclass else sigmoid)(centre_K + (mean_K - centre_K) * stretch)
        return pooled


def centres_of(probs_SK: NDArray[np.floating], *, is_multiclass: bool) -> tuple[float, ...]:
    """The mean score of each output, of single networks' probabilities [S, K]."""
    return tuple(_scores(probs_SK, is_multiclass).mean(axis=0).tolist())


def disagreement(single_SK: NDArray[np.floating], probs_SFK: NDArray[np.floating], *, is_multiclass: bool) -> float:
    """The share, in 0 to 0.5, of a single network's variance that is between networks.

    `single_SK` are out-of-fold probabilities, whose scores vary by the images and by the network. `probs_SFK` are the
    answers of all F networks to some rows [S, F, K], of which for each row those count that are not NaN, two at least:
    how the networks differ there is the variance between them.
    """
    total = _scores(single_SK, is_multiclass).var(axis=0, ddof=1).mean() if len(single_SK) > 1 else 0.0
    rows = probs_SFK[(~np.isnan(probs_SFK[..., 0])).sum(axis=1) >= 2]
    if not len(rows) or total <= 0:
        return 0.0
    between = np.nanvar(_scores(rows, is_multiclass), axis=1, ddof=1).mean()
    return float(np.clip(between / total, 0.0, MOST_DISAGREEMENT))


def _scores(probs: NDArray[np.floating], is_multiclass: bool) -> NDArray[np.float64]:
    """Log-odds, or log probabilities around their mean over the classes."""
    given = ordered(np.asarray(probs))
    if not is_multiclass:
        return np.asarray(log_odds(given))
    logs = log_probs(given)
    return np.asarray(logs - logs.mean(axis=-1, keepdims=True))
