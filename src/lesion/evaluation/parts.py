"""Parts: rows dealt into a few parts that share no group, to fit on some and judge on the others."""

# S samples

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_PARTS = 5


def parts_by_group(group_S: NDArray[Any], num_parts: int = NUM_PARTS, *, seed: int = 0) -> NDArray[np.intp]:
    """Each row's part [S], 0 to `num_parts` − 1 or fewer: groups are shuffled and dealt in turn."""
    groups, number_S = np.unique(group_S, return_inverse=True)
    part_G = np.empty(len(groups), dtype=np.intp)
    part_G[np.random.default_rng(seed).permutation(len(groups))] = np.arange(len(groups)) % num_parts
    return part_G[number_S]
