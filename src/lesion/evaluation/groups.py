"""Groups: the probabilities of many tiles to one score for their slide."""

# S samples · G groups

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

How = Literal["max", "mean", "top_k", "noisy_or"]


def slide_scores(
    prob_S: NDArray[np.floating], group_S: NDArray[np.str_], how: How, k: int = 10
) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """The groups [G], sorted, and the score [G] of each, in [0, 1], from its samples' probabilities.

    `max` and `mean` are what they say; `top_k` is the mean of the `k` largest, of all where there are fewer;
    `noisy_or` is 1 − Π(1 − p): the chance that at least one tile is positive, were they independent.
    """
    groups_G, group_number_S = np.unique(group_S, return_inverse=True)
    order_S = np.argsort(group_number_S, kind="stable")
    ends_G = np.cumsum(np.bincount(group_number_S, minlength=len(groups_G)))
    parts = np.split(np.asarray(prob_S, dtype=np.float64)[order_S], ends_G[:-1]) if len(groups_G) else []
    score = SLIDE_SCORES[how]
    return groups_G, np.array([score(part, k) for part in parts], dtype=np.float64)


def _top_k(prob_S: NDArray[np.float64], k: int) -> float:
    return float(np.sort(prob_S)[-k:].mean())


def _noisy_or(prob_S: NDArray[np.float64], _k: int) -> float:
    # In logs: thousands of tiles at 1e-9 each still add up, where their 1 − p would round to 1.
    with np.errstate(divide="ignore"):  # a tile that is surely positive: log 0, and the score is 1
        return float(0.0 - np.expm1(np.log1p(-prob_S).sum()))


SLIDE_SCORES: dict[How, Callable[[NDArray[np.float64], int], float]] = {
    "max": lambda prob_S, _k: float(prob_S.max()),
    "mean": lambda prob_S, _k: float(prob_S.mean()),
    "top_k": _top_k,
    "noisy_or": _noisy_or,
}
