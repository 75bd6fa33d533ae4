"""Subgroups: how good predictions are in each part of the rows, and which gaps to the rest are more than chance.

Arrays of levels in, a JSON-able dict out. Every gap of every column is one of many tests, so Holm's correction decides.
"""

# S samples · M tests

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.metrics import Array
from lesion.evaluation.subgroup_estimates import ALPHA, MEASURES, Estimate, Rows, estimates, quantile


@dataclass(frozen=True)
class Gap:
    """A subgroup's measure less the rest's, for observed : expected over the rest's; and the test of it: the difference
    of the centres, its standard error and degrees of freedom.
    """

    column: str
    level: str
    measure: str
    value: float
    centre: float
    error: float
    freedom: float

    @property
    def p(self) -> float:
        from scipy.stats import t as student  # type: ignore[import-untyped]

        return float(2 * student.sf(abs(self.centre) / self.error, self.freedom))


def judge_subgroups(
    levels_S: Mapping[str, NDArray[Any]],
    target_S: Array,
    prob_S: Array,
    is_yes_S: NDArray[np.bool_],
    group_S: NDArray[Any],
    *,
    score_S: Array | None = None,
) -> dict[str, Any]:
    """AUC, sensitivity, specificity and observed : expected in each level of each column, with 95 % intervals by
    patient, and the gaps to all other rows.

    Targets [S] are 0 or 1, probabilities [S] in [0, 1], `is_yes_S` the answers as served; rows are ranked by `score_S`,
    unless by the probabilities. Sensitivity needs 10 positives, specificity 10 negatives, the other measures both, of
    two patients at least; in place of what a smaller subgroup lacks stands the reason. `is_flagged` is true where
    Holm's (1979) corrected p over all gaps of all columns is below 0.05; a gap's interval is at the level that Holm's
    procedure gives it, so it leaves out 0 exactly where the gap is flagged. Both gaps of a column with two levels are
    one test. Patients who are in a subgroup and in the rest make the test cautious. Rows with NaN are left out.
    """
    is_known_S = ~(np.isnan(target_S) | np.isnan(prob_S))
    _, code_S = np.unique(group_S[is_known_S], return_inverse=True)  # numbers are compared faster than words
    score_S = prob_S if score_S is None else score_S
    rows = Rows(target_S[is_known_S] == 1, prob_S[is_known_S], is_yes_S[is_known_S], code_S, score_S[is_known_S])
    columns: dict[str, list[dict[str, Any]]] = {}
    gaps: list[Gap] = []
    for column, level_S in levels_S.items():
        known_S = level_S[is_known_S]
        names = np.unique(known_S).tolist()
        columns[column] = []
        for name in names:
            is_in_S = known_S == name
            members = rows.where(is_in_S)
            found, reasons = estimates(members)
            columns[column].append({"level": str(name), **members.counts(), **_told(found, reasons)})
            rest, _ = estimates(rows.where(~is_in_S))
            if len(names) > 1 and not (len(names) == 2 and name == names[1]):  # the second gap is the first, negated
                gaps += [_gap(column, str(name), m, found[m], rest[m]) for m in MEASURES if m in found and m in rest]
    tested = _judged(gaps)
    for column, told in columns.items():
        for one in told:
            one["gaps"] = _gaps_of(column, one["level"], [other["level"] for other in told], tested)
    return {"columns": columns, "num_tests": len(gaps), "alpha": ALPHA, "correction": "Holm"}


def holm(p_M: Sequence[float]) -> list[float]:
    """p values corrected for their number (Holm 1979): the k-th smallest of M times M − k + 1, no less than the one
    before, at most 1.
    """
    corrected = [0.0] * len(p_M)
    so_far = 0.0
    for rank, index in enumerate(sorted(range(len(p_M)), key=lambda index: p_M[index])):
        so_far = max(so_far, min(1.0, (len(p_M) - rank) * p_M[index]))
        corrected[index] = so_far
    return corrected


def _gap(column: str, level: str, measure: str, one: Estimate, rest: Estimate) -> Gap:
    """The difference of two estimates, with the degrees of freedom of Welch (1947)."""
    variance = max(one.variance + rest.variance, 1e-18)
    freedom = variance**2 / max(one.variance**2 / one.freedom + rest.variance**2 / rest.freedom, 1e-36)
    freedom = max(freedom, 1.0)
    value = one.value / rest.value if measure == "observed_expected" else one.value - rest.value
    return Gap(column, level, measure, value, one.centre - rest.centre, math.sqrt(variance), freedom)


def _judged(gaps: Sequence[Gap]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Each gap with its corrected p and its interval at the level that Holm's procedure gives it."""
    p_M = [gap.p for gap in gaps]
    corrected_M = holm(p_M)
    order = sorted(range(len(gaps)), key=lambda index: p_M[index])
    num_flagged = sum(p < ALPHA for p in corrected_M)
    judged = {}
    for rank, index in enumerate(order):
        gap = gaps[index]
        # After the first that is not flagged all others are tested as it was.
        half = quantile(gap.freedom, ALPHA / (len(gaps) - min(rank, num_flagged))) * gap.error
        is_ratio = gap.measure == "observed_expected"
        low, high = gap.centre - half, gap.centre + half
        judged[gap.column, gap.level, gap.measure] = {
            "value": gap.value,
            "low": math.exp(max(low, -700)) if is_ratio else max(low, -1.0),
            "high": math.exp(min(high, 700)) if is_ratio else min(high, 1.0),
            "is_ratio": is_ratio,
            "p": p_M[index],
            "p_corrected": corrected_M[index],
            "is_flagged": corrected_M[index] < ALPHA,
        }
    return judged


def _gaps_of(
    column: str, level: str, levels: Sequence[str], tested: Mapping[tuple[str, str, str], dict[str, Any]]
) -> dict[str, Any]:
    """A level's gaps; those of the second of two levels are the first's, the other way round."""
    if len(levels) == 2 and level == levels[1]:
        return {
            measure: {**gap, **_negated(gap)}
            for measure in MEASURES
            if (gap := tested.get((column, levels[0], measure))) is not None
        }
    return {measure: gap for measure in MEASURES if (gap := tested.get((column, level, measure))) is not None}


def _negated(gap: Mapping[str, Any]) -> dict[str, float]:
    if gap["is_ratio"]:
        return {"value": 1 / gap["value"], "low": 1 / gap["high"], "high": 1 / gap["low"]}
    return {"value": -gap["value"], "low": -gap["high"], "high": -gap["low"]}


def _told(found: Mapping[str, Estimate], reasons: Mapping[str, str]) -> dict[str, Any]:
    return {
        measure: {"value": found[measure].value, "low": found[measure].low, "high": found[measure].high}
        if measure in found
        else {"value": None, "why": reasons[measure]}
        for measure in MEASURES
    }
