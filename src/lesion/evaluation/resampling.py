"""Resampling: how often each group (patient, slide) is in each of many draws, block by block.

A draw is a weight a group: what is a sum over rows becomes a product of two matrices, and nothing is sorted again.
"""

# S samples · G groups · B draws of a block · R sums

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]
BLOCK_SIZE = 4_000_000  # weights in memory at once: 32 MB


def number_groups(group_S: NDArray[Any]) -> tuple[NDArray[np.intp], int]:
    """Each row's group as a number [S] from 0, in the order of the sorted names, and how many groups there are."""
    names_G, code_S = np.unique(group_S, return_inverse=True)
    return code_S.reshape(-1).astype(np.intp), len(names_G)


def draws(num_groups: int, num_draws: int, *, seed: int, widest: int = 0) -> Iterator[Weights]:
    """Blocks of weights [G, B]: how often each of the groups is among as many that were drawn with replacement.

    The bootstrap of clusters (Efron & Tibshirani 1993, ch. 13; Field & Welsh 2007). The draws depend on `seed` alone,
    not on how they are cut into blocks. `widest`: the rows of the largest matrix that is made from a block.
    """
    rng = np.random.default_rng(seed)
    block = max(1, min(num_draws, BLOCK_SIZE // max(num_groups, widest, 1)))
    for start in range(0, num_draws, block):
        size = min(block, num_draws - start)
        drawn_BG = rng.integers(0, num_groups, (size, num_groups))
        drawn_BG += np.arange(size)[:, None] * num_groups
        counts = np.bincount(drawn_BG.reshape(-1), minlength=size * num_groups)
        yield np.ascontiguousarray(counts.reshape(size, num_groups).T, dtype=np.float64)


def all_once(num_groups: int) -> Weights:
    """The weights [G, 1] of the rows as they are."""
    return np.ones((num_groups, 1))


def sums_by_group(kind_N: NDArray[np.intp], code_N: NDArray[np.intp], num_kinds: int, num_groups: int) -> Any:
    """The sparse matrix [R, G] of how many entries N of each kind a group has; times weights it is the sums [R, B]."""
    from scipy.sparse import coo_matrix  # type: ignore[import-untyped]

    return coo_matrix((np.ones(len(kind_N)), (kind_N, code_N)), shape=(num_kinds, num_groups)).tocsr()
