"""Parts: rows dealt into a few parts that share no group, to fit on some and judge on the others."""

# S samples

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_PARTS = 5


def parts_of(fold_S: NDArray[np.integer], group_S: NDArray[Any], *, most: int = 10) -> NDArray[np.intp]:
    """Each row's part [S], numbered from 0: its fold where there are several, else a part dealt by group.

    More than `most` folds are joined, since a part more is a fit more. A group is in one part if it is in one fold.
    """
    folds, number_S = np.unique(fold_S, return_inverse=True)
    if len(folds) > 1:
        return np.asarray(number_S % most, dtype=np.intp)
    return parts_by_group(group_S)


def parts_by_group(group_S: NDArray[Any], num_parts: int = NUM_PARTS, *, seed: int = 0) -> NDArray[np.intp]:
    """Each row's part [S], 0 to `num_parts` − 1 or fewer: groups are shuffled and dealt in turn."""
    groups, number_S = np.unique(group_S, return_inverse=True)
    part_G = np.empty(len(groups), dtype=np.intp)
    part_G[np.random.default_rng(seed).permutation(len(groups))] = np.arange(len(groups)) % num_parts
    return part_G[number_S]
