"""Subgroup estimates: AUC, sensitivity, specificity and observed : expected of some rows, by patient.

Each with what a comparison needs: its variance, and the degrees of freedom that few patients leave.
"""

# S samples

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.delong import areas
from lesion.evaluation.enough import MIN_ROWS, why_unranked
from lesion.evaluation.intervals import area_estimate
from lesion.evaluation.linearised import share, variance_of
from lesion.evaluation.metrics import Array

ALPHA = 0.05
MEASURES = ("auc", "sensitivity", "specificity", "observed_expected")


@dataclass(frozen=True)
class Estimate:
    """A measure of some rows: what is said, with its 95 % interval; and for a comparison the value on a scale where it
    is nearly normal (`centre`, for a share shrunk a little to ½), its variance and degrees of freedom.
    """

    value: float
    low: float
    high: float
    centre: float
    variance: float
    freedom: float


@dataclass(frozen=True)
class Rows:
    """Targets, probabilities, answers, patients of some rows [S], and the scores that they are ranked by."""

    is_positive_S: NDArray[np.bool_]
    prob_S: Array
    is_yes_S: NDArray[np.bool_]
    group_S: NDArray[Any]
    score_S: Array

    def where(self, is_in_S: NDArray[np.bool_]) -> Rows:
        """Those of these rows that are in."""
        kept = (self.is_positive_S[is_in_S], self.prob_S[is_in_S], self.is_yes_S[is_in_S], self.group_S[is_in_S])
        return Rows(*kept, self.score_S[is_in_S])

    def kinds(self) -> dict[str, NDArray[np.bool_]]:
        """Which rows [S] are positive, and which negative."""
        return {"positives": self.is_positive_S, "negatives": ~self.is_positive_S}

    def counts(self) -> dict[str, int]:
        """How many rows, groups, positives and negatives there are."""
        positives = int(self.is_positive_S.sum())
        return {
            "rows": len(self.prob_S),
            "groups": len(np.unique(self.group_S)),
            "positives": positives,
            "negatives": len(self.prob_S) - positives,
        }


def estimates(rows: Rows) -> tuple[dict[str, Estimate], dict[str, str]]:
    """The measures that these rows define, and why the others are left out."""
    few = {kind: why for kind, is_S in rows.kinds().items() if (why := _too_few(is_S, rows.group_S, kind))}
    found: dict[str, Estimate] = {}
    if not few:
        found |= {"auc": _auc(rows), "observed_expected": _observed_expected(rows)}
    if "positives" not in few:
        found["sensitivity"] = _share(rows.is_yes_S[rows.is_positive_S], rows.group_S[rows.is_positive_S])
    if "negatives" not in few:
        found["specificity"] = _share(~rows.is_yes_S[~rows.is_positive_S], rows.group_S[~rows.is_positive_S])
    counts, both = rows.counts(), " and ".join(few.values())
    reasons = {"auc": why_unranked(counts["positives"], counts["negatives"]) or both, "observed_expected": both}
    reasons |= {"sensitivity": few.get("positives", ""), "specificity": few.get("negatives", "")}
    return found, reasons


def quantile(freedom: float, alpha: float = ALPHA) -> float:
    """Student's t quantile of a two-sided interval."""
    from scipy.stats import t as student  # type: ignore[import-untyped]

    return float(student.ppf(1 - alpha / 2, freedom))


def _too_few(is_S: NDArray[np.bool_], group_S: NDArray[Any], kind: str) -> str | None:
    if (count := int(is_S.sum())) < MIN_ROWS:
        return f"too few {kind} ({count})"
    return None if len(np.unique(group_S[is_S])) > 1 else f"all {kind} are of one group"


def _auc(rows: Rows) -> Estimate:
    """The interval is that of all other areas (`intervals.area_estimate`): by leaving out a patient, on the logit.

    The variance, for gaps alone, is by patient (Obuchowski 1997). Where few rows are ranked almost without a mistake it
    is near zero by luck, so it is at least two thirds of Hanley & McNeil's (1982) of an AUC shrunk to ½. In
    `benchmarks/subgroup_gaps.py`, without that gaps of AUC are flagged in up to 15 % of the draws that have none; with
    the whole, only 1 to 3 % of the gaps that are none have a p below 0.05.
    """
    found = areas(rows.is_positive_S, rows.score_S[:, None], rows.group_S)
    auc = float(found.value_M[0])
    num_positives, num_negatives = int(rows.is_positive_S.sum()), int((~rows.is_positive_S).sum())
    fewer = min(num_positives, num_negatives)
    shrunk = (auc * fewer + 0.5) / (fewer + 1)
    q_1, q_2 = shrunk / (2 - shrunk), 2 * shrunk**2 / (1 + shrunk)
    hanley = shrunk * (1 - shrunk) + (num_positives - 1) * (q_1 - shrunk**2) + (num_negatives - 1) * (q_2 - shrunk**2)
    variance = max(float(found.covariance_MM[0, 0]), 2 / 3 * hanley / (num_positives * num_negatives))
    freedom = min(len(np.unique(rows.group_S[is_S])) for is_S in rows.kinds().values()) - 1
    told = area_estimate(found)
    assert told.low is not None and told.high is not None  # both classes are of two groups at least
    return Estimate(auc, told.low, told.high, auc, variance, freedom)


def _share(is_hit_S: NDArray[np.bool_], group_S: NDArray[Any]) -> Estimate:
    """Wilson's interval, and for the comparison one more hit and one more miss (Agresti & Caffo 2000), both at the
    effective number of rows.
    """
    one = share(is_hit_S, group_S)
    assert one.value is not None and one.low is not None and one.high is not None
    centre = (one.value * one.effective + 1) / (one.effective + 2)
    variance = centre * (1 - centre) / (one.effective + 2)
    return Estimate(one.value, one.low, one.high, centre, variance, one.groups - 1)


def _observed_expected(rows: Rows) -> Estimate:
    """Positives ÷ sum of probabilities: 1 where calibrated in the large. The interval, and the comparison, are of its
    logarithm (Debray et al. 2017, section 3.2), with the variance by patient.
    """
    observed, expected = float(rows.is_positive_S.sum()), float(np.sum(rows.prob_S, dtype=np.float64))
    expected = max(expected, 1e-9)
    ratio = observed / expected
    _, code_S = np.unique(rows.group_S, return_inverse=True)
    variance = variance_of((rows.is_positive_S - ratio * rows.prob_S) / observed, code_S)
    freedom = len(np.unique(code_S[rows.is_positive_S])) - 1
    factor = math.exp(min(quantile(freedom) * math.sqrt(variance), 700))
    return Estimate(ratio, ratio / factor, ratio * factor, math.log(ratio), variance, freedom)
