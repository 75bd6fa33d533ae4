"""Decision curve: is acting on the model better than acting on everybody, or on nobody? Net benefit by threshold."""

# S samples · T thresholds · G groups · B draws

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.resampling import Weights, all_once, draws, number_groups, sums_by_group

Values = NDArray[np.float64]
THRESHOLDS = np.arange(1, 100) / 100


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit a person [T] at each threshold probability [T], between −∞ and the prevalence, with its 95 % band.

    `all_T` is of acting on everybody; acting on nobody has 0. The unit is a true positive: 0.05 is worth as much as 5
    more patients in 100 who are found, and nobody who is acted on needlessly.
    """

    threshold_T: Values
    model_T: Values
    low_T: Values
    high_T: Values
    all_T: Values
    prevalence: float

    @property
    def is_better_T(self) -> NDArray[np.bool_]:
        """Where the model is better than acting on all and on nobody."""
        return np.asarray(self.model_T > np.maximum(self.all_T, 0) + 1e-12)


def decision_curve(
    target_S: NDArray[Any],
    prob_S: NDArray[Any],
    group_S: NDArray[Any],
    *,
    prevalence: float | None = None,
    threshold_T: Values = THRESHOLDS,
    num_draws: int = 500,
    seed: int = 0,
) -> DecisionCurve | str:
    """se π − (1 − sp)(1 − π) t ∕ (1 − t) at each threshold t (Vickers & Elkin 2006); or why there is none.

    π is `prevalence`, or the rows' own. A row is acted on where its probability is at least t. The band holds 95 % of
    draws of patients, pointwise. Thresholds are above 0 and below 1.
    """
    is_yes_S = np.asarray(target_S) == 1
    if is_yes_S.all() or not is_yes_S.any():
        return f"no {'negative' if is_yes_S.any() else 'positive'} rows"
    code_S, num_groups = number_groups(group_S)
    reached_S = np.searchsorted(threshold_T, np.asarray(prob_S, dtype=np.float64), "right")  # how many it reaches
    sums = [
        sums_by_group(reached_S[is_side_S], code_S[is_side_S], len(threshold_T) + 1, num_groups)
        for is_side_S in (is_yes_S, ~is_yes_S)
    ]

    def benefit(weights_GB: Weights) -> Values:
        """[T, B]"""
        yes_TB, no_TB = (np.cumsum((side @ weights_GB)[::-1], axis=0)[::-1] for side in sums)
        with np.errstate(invalid="ignore", divide="ignore"):
            share_B = yes_TB[0] / (yes_TB[0] + no_TB[0]) if prevalence is None else prevalence
            hit_TB, false_TB = yes_TB[1:] / yes_TB[0] * share_B, no_TB[1:] / no_TB[0] * (1 - share_B)
        return np.asarray(hit_TB - false_TB * (threshold_T / (1 - threshold_T))[:, None])

    drawn_TB = np.concatenate([benefit(block_GB) for block_GB in draws(num_groups, num_draws, seed=seed)], axis=1)
    drawn_TB = drawn_TB[:, np.isfinite(drawn_TB).all(axis=0)]
    ends = np.percentile(drawn_TB, [2.5, 97.5], axis=1) if num_groups > 1 and drawn_TB.size else None
    low_T, high_T = (np.full(len(threshold_T), np.nan),) * 2 if ends is None else ends
    share = float(is_yes_S.mean()) if prevalence is None else prevalence
    all_T = share - (1 - share) * threshold_T / (1 - threshold_T)
    return DecisionCurve(threshold_T, benefit(all_once(num_groups))[:, 0], low_T, high_T, all_T, share)
