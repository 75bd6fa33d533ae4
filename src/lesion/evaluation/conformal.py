"""Conformal sets: the classes that an image may have, so that a stated share of patients is covered with all rows.

By class, as they are served, the share is of the patients who have rows of that class, and of all these rows.
Fitted on out-of-fold rows. `PredictionSets.apply` needs NumPy alone, since a server calls it.
"""

# S samples · C classes, two for a yes-or-no answer · G groups (patients) · … any dimensions before them

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.metrics import Array

Score = Literal["lac", "aps"]
ALL = 2.0  # a quantile above every score: too few patients, so every class is in the set


@dataclass(frozen=True)
class PredictionSets:
    """Conformal prediction sets: a class is in the set where its score is at most the quantile of its class.

    `coverage` is the share of patients, in (0, 1), whose true classes are in the sets of all their rows, for patients
    like those that gave the quantiles. `quantiles` are one for all classes, or one a class (Mondrian: the share holds
    for the patients of each class). 2 puts a class into every set: there were too few patients to leave it out.
    Raises ValueError where the numbers cannot be: the record may come from a stranger's file.
    """

    score: Score
    coverage: float
    quantiles: tuple[float, ...]
    num_patients: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 0 < self.coverage < 1 or not self.quantiles or len(self.quantiles) != len(self.num_patients):
            raise ValueError(f"prediction sets of coverage {self.coverage} have {len(self.quantiles)} quantiles")
        if not all(0 <= quantile <= ALL for quantile in self.quantiles):
            raise ValueError("a quantile of prediction sets is outside 0 to 2")

    def apply(self, probs: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which classes [..., C] the set holds, of probabilities [..., C] that sum to 1. The most probable class is
        always in it: a set without a class helps nobody, and one more covers no fewer.
        """
        scores = scores_of(probs, self.score)
        is_in = scores <= np.array(self.quantiles)
        is_top = np.arange(probs.shape[-1]) == probs.argmax(axis=-1)[..., None]
        return np.asarray(is_in | is_top)


def two_classes(prob: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities [..., 2], negative and positive, of a yes-or-no answer's [...]."""
    return np.stack([1 - np.asarray(prob, dtype=np.float64), prob], axis=-1)


def scores_of(probs: NDArray[np.floating], score: Score) -> NDArray[np.float64]:
    """How strange each class would be, [..., C] in [0, 1], the larger the stranger.

    lac: 1 − p (Sadinle et al. 2019): the smallest sets. aps: the probability of all classes that are as probable as it
    or more, itself included (Romano et al. 2020, without randomisation): sets grow with the difficulty of the image. Of
    two classes the less probable one has a score of 1 whatever its probability, so lac suits a yes-or-no answer.
    """
    probs = np.ascontiguousarray(probs, dtype=np.float64)
    if score == "lac":
        return np.asarray(1 - probs)
    order = np.argsort(-probs, axis=-1, kind="stable")
    sums = np.take_along_axis(probs, order, axis=-1).cumsum(axis=-1).clip(max=1.0)
    scores = np.empty(probs.shape, dtype=np.float64)
    np.put_along_axis(scores, order, sums, axis=-1)
    return scores


def fit_sets(
    class_S: NDArray[np.integer],
    probs_SC: Array,
    group_S: NDArray[Any],
    *,
    coverage: float = 0.9,
    score: Score = "lac",
    by_class: bool = False,
) -> PredictionSets:
    """Prediction sets from out-of-fold rows: their classes [S] as numbers, and probabilities [S, C] that sum to 1.

    A patient's score is the largest of its rows', so patients are what is exchangeable, and the quantile is the
    ⌈(G + 1) coverage⌉-th smallest of G patients' scores (Vovk et al. 2005; Angelopoulos & Bates 2021, section 1).
    With `by_class` each class has a quantile, from the rows of that class alone. Rows with NaN are left out.
    """
    is_known_S = ~np.isnan(probs_SC).any(axis=1)
    class_S, probs_SC, group_S = class_S[is_known_S], probs_SC[is_known_S], group_S[is_known_S]
    score_S = np.take_along_axis(scores_of(probs_SC, score), class_S[:, None], axis=1)[:, 0]
    selections = [class_S == c for c in range(probs_SC.shape[1])] if by_class else [np.full(len(class_S), True)]
    found = [_quantile(_largest(score_S[is_S], group_S[is_S]), coverage) for is_S in selections]
    return PredictionSets(score, coverage, tuple(one[0] for one in found), tuple(one[1] for one in found))


def nested_sets(
    class_S: NDArray[np.integer],
    probs_SC: Array,
    part_S: NDArray[np.integer],
    group_S: NDArray[Any],
    *,
    coverage: float = 0.9,
    score: Score = "lac",
    by_class: bool = False,
) -> NDArray[np.bool_]:
    """Sets [S, C] of out-of-fold rows that may be judged: each part's by the quantiles of the other parts' patients.

    Parts share no group (`parts.parts_by_group`). A single part is judged by nobody: all classes.
    """
    is_in_SC = np.ones(probs_SC.shape, dtype=bool)
    for part in np.unique(part_S):
        others_S = part_S != part
        sets = fit_sets(
            class_S[others_S], probs_SC[others_S], group_S[others_S], coverage=coverage, score=score, by_class=by_class
        )
        is_in_SC[~others_S] = sets.apply(probs_SC[~others_S])
    return is_in_SC


def verify_sets(
    class_S: NDArray[np.integer],
    is_in_SC: NDArray[np.bool_],
    group_S: NDArray[Any],
    *,
    coverage: float,
    by_class: bool = False,
) -> dict[str, Any]:
    """The share of patients who are covered: whose rows' true classes are all in their sets, of rows that the quantiles
    do not know. With its 95 % interval (Clopper & Pearson 1934, a beta distribution's), by class too, and the sets'
    mean size. `is_held` is whether the interval reaches the stated coverage; with `by_class` that of each class, which
    is what such sets state: a patient with rows of two classes can be missed twice.
    """
    covered_S = np.take_along_axis(is_in_SC, class_S[:, None], axis=1)[:, 0]
    per_class = [_coverage(covered_S[class_S == c], group_S[class_S == c]) for c in range(is_in_SC.shape[1])]
    all_patients = _coverage(covered_S, group_S)
    stated = [one for one in (per_class if by_class else [all_patients]) if one["value"] is not None]
    return {
        "stated": coverage,
        "is_by_class": by_class,
        "coverage": all_patients,
        "is_held": bool(stated) and all(one["high"] >= coverage for one in stated),
        "by_class": per_class,
        **sizes_of(is_in_SC),
    }


def sizes_of(is_in_SC: NDArray[np.bool_]) -> dict[str, float | None]:
    """How large sets [S, C] are: `mean_size` in classes, and `share_of_one_class`; None without rows."""
    size_S = is_in_SC.sum(axis=1)
    return {
        "mean_size": float(size_S.mean()) if len(size_S) else None,
        "share_of_one_class": float(np.mean(size_S == 1)) if len(size_S) else None,
    }


def _rank(num_patients: int, coverage: float) -> int:
    return math.ceil((num_patients + 1) * coverage - 1e-9)  # (9 + 1) · 0.9 is 9.000000000000002 for some shares


def _quantile(score_G: NDArray[np.float64], coverage: float) -> tuple[float, int]:
    """The quantile and the number of patients that it is of."""
    rank = _rank(len(score_G), coverage)
    return (float(np.sort(score_G)[rank - 1]) if rank <= len(score_G) else ALL), len(score_G)


def _largest(score_S: NDArray[np.float64], group_S: NDArray[Any]) -> NDArray[np.float64]:
    """Each group's largest score [G]."""
    groups, code_S = np.unique(group_S, return_inverse=True)
    score_G = np.full(len(groups), -np.inf)
    np.maximum.at(score_G, code_S, score_S)
    return score_G


def _coverage(covered_S: NDArray[np.bool_], group_S: NDArray[Any]) -> dict[str, Any]:
    from scipy.stats import beta  # type: ignore[import-untyped]

    is_covered_G = 1 - _largest((~covered_S).astype(np.float64), group_S)
    num_patients, num_covered = len(is_covered_G), int(is_covered_G.sum())
    if num_patients == 0:
        return {"value": None, "why": "there are no groups", "groups": 0}
    missed = num_patients - num_covered
    return {
        "value": num_covered / num_patients,
        "low": float(beta.ppf(0.025, num_covered, missed + 1)) if num_covered else 0.0,
        "high": float(beta.ppf(0.975, num_covered + 1, missed)) if missed else 1.0,
        "groups": num_patients,
    }
