"""Ranking: measures of one output's order of rows, of any number of draws at once from a single sort.

A ROC or precision-recall curve turns only where there are positives. So negatives between two positives are one count,
and a draw costs a sum for each of the T distinct probabilities of positives.
"""

# S samples · T distinct probabilities of positives, the highest first · G groups · B draws

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.measures import MIN_SENSITIVITY, RANKED, RATES
from lesion.evaluation.resampling import Weights, sums_by_group

Draws = NDArray[np.float64]  # [B]; NaN in draws that lack positives or negatives


@dataclass(frozen=True)
class Ranking:
    """Rows sorted once: sparse counts of each group's positives and negatives at each place of the order.

    `positive` [T, G]; `negative` [2T + 1, G]: rows 2t are above the t-th probability (and below the one before),
    rows 2t + 1 tied with it, the last below all.
    """

    positive: Any
    negative: Any

    @property
    def num_places(self) -> int:
        """The rows of the largest matrix that `measure` makes for each draw."""
        return int(self.negative.shape[0])

    @property
    def num_groups(self) -> dict[str, int]:
        """How many groups bear on each measure: those with positives, the scarce side of most of them."""
        yes, no = (int((counts.sum(axis=0) > 0).sum()) for counts in (self.positive, self.negative))
        return {name: min(yes, no) if name.startswith("specificity") else yes for name in RANKED}

    def measure(self, weights_GB: Weights) -> dict[str, Draws]:
        """Every measure of `measures.RANKED` [B], of rows that count as often as their group's weight."""
        return _Curve.of(self.positive @ weights_GB, self.negative @ weights_GB).measures()


def rank(target_S: NDArray[Any], prob_S: NDArray[Any], code_S: NDArray[np.intp], num_groups: int) -> Ranking:
    """The rows' order. Targets 0 or 1, probabilities or any scores without NaN; `code_S` numbers each row's group."""
    is_yes_S, down_S = target_S == 1, -np.asarray(prob_S, dtype=np.float64)
    places_T = np.unique(down_S[is_yes_S])
    above_N = np.searchsorted(places_T, down_S[~is_yes_S], "left")  # how many positives' places are before
    is_tied_N = np.searchsorted(places_T, down_S[~is_yes_S], "right") > above_N
    return Ranking(
        sums_by_group(np.searchsorted(places_T, down_S[is_yes_S]), code_S[is_yes_S], len(places_T), num_groups),
        sums_by_group(2 * above_N + is_tied_N, code_S[~is_yes_S], 2 * len(places_T) + 1, num_groups),
    )


@dataclass(frozen=True)
class _Curve:
    """ROC curves of B draws: counts at or above each place [T, B], and of negatives strictly above it."""

    step_TB: Weights  # positives at the place
    yes_TB: Weights  # positives at or above it
    no_TB: Weights  # negatives at or above it
    before_TB: Weights  # negatives strictly above it
    yes_B: Draws
    no_B: Draws

    @classmethod
    def of(cls, positive_TB: Weights, negative_PB: Weights) -> _Curve:
        cumulated_PB = np.cumsum(negative_PB, axis=0)
        yes_TB = np.cumsum(positive_TB, axis=0)
        yes_B = yes_TB[-1] if len(yes_TB) else np.zeros(positive_TB.shape[1])
        yes_B, no_B = (np.where(count_B > 0, count_B, np.nan) for count_B in (yes_B, cumulated_PB[-1]))
        return cls(positive_TB, yes_TB, cumulated_PB[1::2], cumulated_PB[:-1:2], yes_B, no_B)

    def measures(self) -> dict[str, Draws]:
        partial_B = self._partial_area()
        return {
            "roc_auc": self._area(),
            "average_precision": self._average_precision(),
            "partial_auc": partial_B,
            "partial_auc_scaled": partial_B / (1 - MIN_SENSITIVITY),
            **{f"sensitivity_at_{rate * 100:.0f}_specificity": self._sensitivity_at(rate) for rate in RATES},
            **{f"specificity_at_{rate * 100:.0f}_sensitivity": self._specificity_at(rate) for rate in RATES},
        }

    def _area(self) -> Draws:
        """Share of pairs that are in order, ties counted half."""
        mean_TB = self.no_TB + self.before_TB
        pairs_B = np.einsum("tb,tb->b", self.step_TB, mean_TB) / 2
        return np.asarray(1 - pairs_B / (self.yes_B * self.no_B))

    def _average_precision(self) -> Draws:
        """Σ (recall step × precision at its place)."""
        named_TB = np.maximum(self.yes_TB + self.no_TB, 1)  # 0 only where nothing is: the step is 0 there, too
        return np.asarray(np.einsum("tb,tb->b", self.step_TB, self.yes_TB / named_TB) / self.yes_B + 0 * self.no_B)

    def _partial_area(self) -> Draws:
        """∫ specificity d sensitivity from MIN_SENSITIVITY to 1, the curve straight from place to place."""
        end_TB = self.yes_TB / self.yes_B
        width_TB = self.step_TB / self.yes_B
        counted_TB = np.clip(end_TB - MIN_SENSITIVITY, 0, width_TB)  # the part of the step above the bound
        with np.errstate(invalid="ignore", divide="ignore"):
            share_TB = np.where(width_TB > 0, counted_TB / width_TB, 0)
        # Within a place's ties the false-positive rate grows evenly: over the upper share its mean is this.
        rate_TB = (self.no_TB - (self.no_TB - self.before_TB) * share_TB / 2) / self.no_B
        return np.asarray(np.einsum("tb,tb->b", counted_TB, 1 - rate_TB) + 0 * self.yes_B * self.no_B)

    def _sensitivity_at(self, specificity: float) -> Draws:
        """The highest sensitivity of a threshold whose specificity is at least that much."""
        is_allowed_TB = self.no_TB <= (1 - specificity) * self.no_B + 1e-9
        most_B = np.where(is_allowed_TB, self.yes_TB, 0).max(axis=0, initial=0)
        return np.asarray(most_B / self.yes_B + 0 * self.no_B)

    def _specificity_at(self, sensitivity: float) -> Draws:
        """The highest specificity of a threshold whose sensitivity is at least that much."""
        is_enough_TB = self.yes_TB >= sensitivity * self.yes_B - 1e-9
        fewest_B = np.where(is_enough_TB, self.no_TB, np.inf).min(axis=0, initial=np.inf)
        return np.asarray(1 - np.where(np.isfinite(fewest_B), fewest_B, np.nan) / self.no_B + 0 * self.yes_B)
