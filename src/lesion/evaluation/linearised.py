"""Linearised estimates: how sure a share or a ratio is when rows of a patient are alike.

Each estimate is written as a sum over patients (its influence values), whose spread gives the standard error: the
"ultimate cluster" estimate of survey statistics. Deterministic, and needs no resampling.
"""

# S samples · G groups

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Share:
    """`hits` of `rows` rows of `groups` groups; the share and its 95 % interval, or `why` there is none."""

    hits: int
    rows: int
    groups: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    effective: float = 0.0  # rows that would be as sure if each were of another patient
    why: str | None = None


def share(is_hit_S: NDArray[np.bool_], group_S: NDArray[Any], *, level: float = 0.95) -> Share:
    """The share of rows that are hits, with Wilson's interval (1927) at the effective number of rows, n ÷ design
    effect, and with t in place of the normal quantile for few groups (Franco et al. 2019, sections 2 and 3).

    Where all rows are hits, or none, nothing is known of how alike a group's rows are: each group counts as one row.
    """
    from scipy.stats import t as student  # type: ignore[import-untyped]

    rows, hits = len(is_hit_S), int(np.sum(is_hit_S))
    if rows == 0:
        return Share(0, 0, 0, why="there are no rows")
    groups, code_S = np.unique(group_S, return_inverse=True)
    value, num_groups = hits / rows, len(groups)
    if num_groups < 2:
        return Share(hits, rows, num_groups, value, why="one group: no interval")
    effective = float(num_groups)
    if 0 < hits < rows:
        variance = variance_of((is_hit_S - value) / rows, code_S)
        effective = min(rows, value * (1 - value) / variance) if variance > 0 else rows
    quantile = float(student.ppf((1 + level) / 2, num_groups - 1)) ** 2
    middle = (value + quantile / (2 * effective)) / (1 + quantile / effective)
    half = math.sqrt(quantile * (value * (1 - value) / effective + quantile / (4 * effective**2)))
    half /= 1 + quantile / effective
    # At the ends exactly 0 and 1, where rounding would leave 1e-17.
    low, high = (0.0 if hits == 0 else middle - half), (1.0 if hits == rows else middle + half)
    return Share(hits, rows, num_groups, value, low, high, effective)


def variance_of(influence_S: NDArray[np.floating], code_S: NDArray[np.integer]) -> float:
    """The variance of an estimate whose influence values [S] sum to zero: G ÷ (G − 1) Σ_g (Σ_{s in g} influence_s)²."""
    sum_G = np.bincount(code_S, weights=influence_S)
    sum_G = sum_G[np.bincount(code_S) > 0]
    return float(len(sum_G) / (len(sum_G) - 1) * np.sum(sum_G**2)) if len(sum_G) > 1 else math.inf
