"""Counting: measures of labels as they were served, and means over rows, of any number of draws at once.

What is a sum over rows is summed once a group; a draw is then a weighted sum over groups.
"""

# S samples · Q outputs that are judged · K classes · G groups · B draws · R sums

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.intervals import groups_of_mean
from lesion.evaluation.resampling import Weights, sums_by_group

Draws = NDArray[np.float64]  # [B]; NaN where it is not defined


@dataclass(frozen=True)
class Labels:
    """How often a yes-or-no output was right and wrong: sparse counts [4, G]; the prevalence that PPV is told for."""

    counts: Any  # true positives, false positives, false negatives, true negatives
    prevalence: float | None = None

    @classmethod
    def of(
        cls, target_S: NDArray[Any], is_yes_S: NDArray[np.bool_], code_S: NDArray[np.intp], num_groups: int,
        prevalence: float | None = None,
    ) -> Labels:  # fmt: skip
        """Targets 0 or 1, and which rows were called positive, each by whatever threshold it was served with."""
        kind_S = np.where(np.asarray(target_S) == 1, np.where(is_yes_S, 0, 2), np.where(is_yes_S, 1, 3))
        return cls(sums_by_group(kind_S, code_S, 4, num_groups), prevalence)

    def measure(self, weights_GB: Weights) -> dict[str, Draws]:
        """Every measure of `measures.AS_SERVED` [B], and of AT_PREVALENCE where a prevalence is given.

        Predictive values of rows of one class are NaN: they would be 0 or 1 whatever the answers are. So is balanced
        accuracy, which would be sensitivity or specificity.
        """
        hit, false, missed, left = self.counts.sum(axis=1)
        found = label_measures(*(self.counts @ weights_GB), prevalence=self.prevalence)
        if not (hit + missed and false + left):
            found |= {name: np.full_like(found[name], np.nan) for name in ("ppv", "npv")}
        return found

    @property
    def num_groups(self) -> dict[str, int]:
        """How many groups have rows that a measure is of: sensitivity is of patients with positive rows alone."""
        has = (self.counts.toarray() > 0).astype(bool)

        def of(*kinds: int) -> int:
            return int(has[list(kinds)].any(axis=0).sum())

        yes, no, every = of(0, 2), of(1, 3), of(0, 1, 2, 3)
        both = dict.fromkeys(("balanced_accuracy", "mcc", "ppv_at_prevalence", "npv_at_prevalence"), min(yes, no))
        return {"sensitivity": yes, "specificity": no, "ppv": of(0, 1), "npv": of(2, 3), "accuracy": every} | both


def label_measures(
    hit_B: Draws, false_B: Draws, missed_B: Draws, left_B: Draws, *, prevalence: float | None = None
) -> dict[str, Draws]:
    """The measures of counts: true positives, false positives, false negatives, true negatives [B].

    NaN where a denominator is zero. MCC is 0 where all labels are alike (its limit; Chicco & Jurman 2020), NaN where
    all targets are. At a prevalence π: PPV = se π ∕ (se π + (1 − sp)(1 − π)),
    NPV = sp (1 − π) ∕ (sp (1 − π) + (1 − se) π).
    """
    sensitivity_B, specificity_B = _ratio(hit_B, hit_B + missed_B), _ratio(left_B, left_B + false_B)
    product_B = (hit_B + false_B) * (left_B + missed_B)
    truth_B = (hit_B + missed_B) * (left_B + false_B)
    mcc_B = _ratio(hit_B * left_B - false_B * missed_B, np.sqrt(product_B) * np.sqrt(truth_B))
    found = {
        "sensitivity": sensitivity_B,
        "specificity": specificity_B,
        "ppv": _ratio(hit_B, hit_B + false_B),
        "npv": _ratio(left_B, left_B + missed_B),
        "accuracy": _ratio(hit_B + left_B, hit_B + false_B + missed_B + left_B),
        "balanced_accuracy": (sensitivity_B + specificity_B) / 2,
        "mcc": np.where((product_B == 0) & (truth_B > 0), 0.0, mcc_B),
    }
    if prevalence is not None:
        yes_B, no_B = sensitivity_B * prevalence, specificity_B * (1 - prevalence)
        found["ppv_at_prevalence"] = _ratio(yes_B, yes_B + (1 - specificity_B) * (1 - prevalence))
        found["npv_at_prevalence"] = _ratio(no_B, no_B + (1 - sensitivity_B) * prevalence)
    return found


@dataclass(frozen=True)
class ClassLabels:
    """How often each class was true, named, and rightly named: sparse counts [3K, G]."""

    counts: Any
    num_classes: int

    @classmethod
    def of(
        cls, class_S: NDArray[np.intp], named_S: NDArray[np.intp], num_classes: int, code_S: NDArray[np.intp],
        num_groups: int,
    ) -> ClassLabels:  # fmt: skip
        """The true class and the one that was named, as numbers from 0."""
        is_right_S = class_S == named_S
        kinds = [class_S, named_S + num_classes, class_S[is_right_S] + 2 * num_classes]
        codes = [code_S, code_S, code_S[is_right_S]]
        return cls(
            sums_by_group(np.concatenate(kinds), np.concatenate(codes), 3 * num_classes, num_groups), num_classes
        )

    @property
    def num_groups(self) -> dict[str, int]:
        """How many groups have rows that a measure is of: a mean over classes is worth few where a class has few."""
        of_classes = groups_of_mean(self._groups_of_classes)
        return {"accuracy": int(self.counts.shape[1]), "balanced_accuracy": of_classes, "mcc": of_classes}

    @property
    def _groups_of_classes(self) -> list[int]:
        """How many groups have rows of each class that has any."""
        return [has for has in self.counts[: self.num_classes].getnnz(axis=1).tolist() if has]

    def measure(self, weights_GB: Weights) -> dict[str, Draws]:
        """Accuracy, balanced accuracy over the classes that have rows, and MCC of several classes (R_K) [B].

        Balanced accuracy of rows of one class is NaN: it would be accuracy.
        """
        true_KB, named_KB, right_KB = (self.counts @ weights_GB).reshape(3, self.num_classes, -1)
        all_B, right_B = true_KB.sum(axis=0), right_KB.sum(axis=0)
        recall_KB = np.where(true_KB > 0, right_KB / np.maximum(true_KB, 1), 0)
        spread_true_B, spread_named_B = (all_B**2 - np.square(count_KB).sum(axis=0) for count_KB in (true_KB, named_KB))
        above_B = right_B * all_B - (true_KB * named_KB).sum(axis=0)
        mcc_B = _ratio(above_B, np.sqrt(spread_true_B) * np.sqrt(spread_named_B))
        recall_B = _ratio(recall_KB.sum(axis=0), (true_KB > 0).sum(axis=0).astype(float))
        if len(self._groups_of_classes) < 2:
            recall_B = np.full_like(recall_B, np.nan)
        return {
            "accuracy": _ratio(right_B, all_B),
            "balanced_accuracy": recall_B,
            "mcc": np.where((spread_named_B == 0) & (spread_true_B > 0), 0.0, mcc_B),
        }


@dataclass(frozen=True)
class RowMeans:
    """Means over rows: the sums of each value a group [G, R], and the groups' numbers of rows [G]."""

    names: tuple[str, ...]
    sums_GR: NDArray[np.float64]
    rows_G: NDArray[np.float64]

    @property
    def num_groups(self) -> dict[str, int]:
        return dict.fromkeys(self.names, int((self.rows_G > 0).sum()))

    @classmethod
    def of(cls, values: Mapping[str, NDArray[Any]], code_S: NDArray[np.intp], num_groups: int) -> RowMeans:
        """Of each named value one number a row [S]."""
        sums = [np.bincount(code_S, value_S, num_groups) for value_S in values.values()]
        return cls(tuple(values), np.stack(sums, axis=1), np.bincount(code_S, minlength=num_groups).astype(np.float64))

    def measure(self, weights_GB: Weights) -> dict[str, Draws]:
        """The mean of each value over the rows [B]."""
        # einsum and not @: BLAS wakes its threads for each of so thin products, and where cores are shared they wait.
        rows_B = np.einsum("g,gb->b", self.rows_G, weights_GB)
        means_RB = [np.einsum("g,gb->b", sum_G, weights_GB) / rows_B for sum_G in self.sums_GR.T]
        return dict(zip(self.names, means_RB, strict=True))


def _ratio(above_B: Draws, below_B: Draws) -> Draws:
    ratio_B = np.full(np.broadcast(above_B, below_B).shape, np.nan)
    np.divide(above_B, below_B, out=ratio_B, where=np.asarray(below_B) > 0)
    return ratio_B
