"""Comparison: is B better than A on the same rows? Differences are B minus A, paired, by patient."""

# S samples · Q outputs that are judged · G groups · B draws

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.delong import areas
from lesion.evaluation.enough import why_unranked_rows
from lesion.evaluation.estimates import affordable_draws
from lesion.evaluation.intervals import (
    Estimate,
    Measurable,
    draws_interval,
    groups_of_mean,
    jackknife_interval,
    mean_measures,
)
from lesion.evaluation.judgement import Rows, measurables_of
from lesion.evaluation.measures import MEASURES
from lesion.evaluation.recalibration import ANY
from lesion.evaluation.resampling import all_once, draws

Json = dict[str, Any]
COMPARED = (
    *("roc_auc", "average_precision", "partial_auc", "brier", "log_loss"),
    *("sensitivity", "specificity", "accuracy", "balanced_accuracy", "mcc"),
)


@dataclass(frozen=True)
class DeLong:
    """The test of two paired areas: B minus A, its standard error, and the two-sided p (Student's t)."""

    difference: float
    error: float
    freedom: float
    p: float


def delong_test(
    target_S: NDArray[Any], score_a_S: NDArray[Any], score_b_S: NDArray[Any], group_S: NDArray[Any]
) -> DeLong | str:
    """DeLong et al. 1988, by Obuchowski's covariance (1997) where groups have several rows; or why there is no test."""
    found = areas(target_S, np.stack([score_a_S, score_b_S], axis=1), group_S)
    contrast = np.array([-1.0, 1.0])
    variance = float(contrast @ found.covariance_MM @ contrast)
    if not math.isfinite(variance):
        return "one group has all rows of a class: no test"
    difference, freedom = float(contrast @ found.value_M), float(found.freedom_M.min())
    if variance < 1e-18:
        return "both rank the rows alike: nothing to test" if abs(difference) < 1e-12 else "no variance: no test"
    from scipy.stats import t as student  # type: ignore[import-untyped]

    error = math.sqrt(variance)
    return DeLong(difference, error, freedom, float(2 * student.sf(abs(difference) / error, freedom)))


def lie_within(fine_S: NDArray[Any], coarse_S: NDArray[Any]) -> bool:
    """Whether all rows of each group of `fine_S` [S] are of one group of `coarse_S` [S]."""
    pairs = set(zip(fine_S.tolist(), coarse_S.tolist(), strict=True))
    return len(pairs) == len(np.unique(fine_S))


def crossing_groups(group_S: NDArray[Any], other_S: NDArray[Any]) -> tuple[Any, list[Any]]:
    """The first group of `group_S` [S] whose rows are of several of `other_S` [S], and these; one there must be."""
    for group in np.unique(group_S):
        others = np.unique(other_S[group_S == group])
        if len(others) > 1:
            return group, others.tolist()
    raise ValueError("each group lies within one of the others")


def compare(a: Rows, b: Rows, *, margin: float, num_draws: int = 2000, seed: int = 0) -> Json:
    """Two answers to the same rows, as a JSON-able dict.

    `measures`: of A, of B, and their difference with its 95 % interval from the same draws of patients (of the area: by
    leaving patients out). `delong`: the test, for one output. `non_inferiority`: whether the lower end of the
    difference of areas is above −margin (Piaggio et al. 2012; one-sided 2.5 %). `unranked`: the outputs that no rank is
    told of, and why. `changed`: which rows' labels differ, and how many of them are right in A or in B. Rows, targets
    and groups of A and B are the same, without NaN.
    """
    assert a.target_SQ.shape == b.target_SQ.shape and 0 <= margin < 1
    found: Json = {"rows": len(a.target_SQ), "groups": len(np.unique(a.group_S)), "margin": margin}
    found["measures"] = _differences(a, b, num_draws=num_draws, seed=seed)
    found["unranked"] = {
        name: why
        for name, target_S in zip(a.name_Q, a.target_SQ.T, strict=True)
        if (why := why_unranked_rows(target_S)) is not None
    }
    area = found["measures"].get("roc_auc")
    found["delong"] = _delong(a, b) if len(a.name_Q) == 1 and area is not None else None
    why = next(iter(found["unranked"].values()), "there are no rows")
    found["non_inferiority"] = _non_inferiority({"why": why} if area is None else area["difference"], margin)
    found["changed"] = _changed(a, b)
    return found


def _differences(a: Rows, b: Rows, *, num_draws: int, seed: int) -> Json:
    measurables_a, num_groups = measurables_of(a)
    measurables_b, _ = measurables_of(b)
    num_draws = affordable_draws(len(a.target_SQ), 2 * len(a.name_Q), num_draws) if num_groups > 1 else 0
    values = [_measure(side, all_once(num_groups)) for side in (measurables_a, measurables_b)]
    bearing = [_num_groups(side) for side in (measurables_a, measurables_b)]
    widest = len(a.target_SQ)
    blocks = [
        (_measure(measurables_a, weights_GB), _measure(measurables_b, weights_GB))
        for weights_GB in draws(num_groups, num_draws, seed=seed, widest=widest)
    ]
    found = {}
    for name in COMPARED:
        value_a, value_b = (float(value[name][0]) if name in value else math.nan for value in values)
        if not math.isfinite(value_a) or not math.isfinite(value_b):
            continue
        if name == "roc_auc":
            difference = _area_difference(a, b, value_b - value_a)
        elif num_draws:
            drawn_B = np.concatenate([block_b[name] - block_a[name] for block_a, block_b in blocks])
            fewest = min(of_side[name] for of_side in bearing)
            difference = draws_interval(value_b - value_a, drawn_B, fewest, bounds=ANY)
        else:
            difference = Estimate(value_b - value_a, why="one group alone gives no interval")
        better = MEASURES[name].better
        found[name] = {"a": value_a, "b": value_b, "difference": difference.as_json(), "better": better}
    return found


def _measure(sides: tuple[list[Measurable], list[Measurable]], weights_GB: NDArray[np.float64]) -> dict[str, Any]:
    outputs, whole = sides
    return mean_measures(outputs, weights_GB) | mean_measures(whole, weights_GB)


def _num_groups(sides: tuple[list[Measurable], list[Measurable]]) -> dict[str, int]:
    """How many groups bear on each measure, and what those of a mean over outputs are worth."""
    outputs, whole = sides
    counts: dict[str, list[int]] = defaultdict(list)
    for measurable in outputs:
        for name, num_groups in measurable.num_groups.items():
            if num_groups:
                counts[name].append(num_groups)
    found = {name: groups_of_mean(of_outputs) for name, of_outputs in counts.items()}
    return found | {name: num_groups for one in whole for name, num_groups in one.num_groups.items()}


def _area_difference(a: Rows, b: Rows, difference: float) -> Estimate:
    """Of the mean area over outputs that have one, by leaving out a group at a time.

    Two that rank all rows alike, as a model beside itself, do not differ whoever the patients are.
    """
    if all(map(_rank_alike, a.ranked_SQ.T, b.ranked_SQ.T)):
        return Estimate(difference, difference, difference, why="both rank all rows alike")
    without_GQ, freedoms, num_groups = [], [], []
    for target_S, prob_a_S, prob_b_S in zip(a.target_SQ.T, a.ranked_SQ.T, b.ranked_SQ.T, strict=True):
        if why_unranked_rows(target_S) is not None:
            continue
        found = areas(target_S, np.stack([prob_a_S, prob_b_S], axis=1), a.group_S)
        without_GQ.append(found.without_GM[:, 1] - found.without_GM[:, 0])
        freedoms.append(float(found.freedom_M.min()))
        num_groups.append(found.num_groups)
    return jackknife_interval(
        difference,
        np.mean(without_GQ, axis=0),
        groups_of_mean(num_groups),
        freedom=float(np.mean(freedoms)),
        bounds=ANY,
    )


def _rank_alike(a_S: NDArray[Any], b_S: NDArray[Any]) -> bool:
    from scipy.stats import rankdata

    return bool(np.array_equal(rankdata(a_S), rankdata(b_S)))


def _delong(a: Rows, b: Rows) -> Json:
    found = delong_test(a.target_SQ[:, 0], a.ranked_SQ[:, 0], b.ranked_SQ[:, 0], a.group_S)
    return {"why": found} if isinstance(found, str) else found.__dict__


def _non_inferiority(difference: Json, margin: float) -> Json:
    low = difference.get("low")
    if low is None:
        return {"is_met": None, "why": difference.get("why", "no interval")}
    return {"is_met": bool(low > -margin), "is_superior": bool(low > 0), "low": low}


def _changed(a: Rows, b: Rows) -> Json:
    """Rows whose answer differs: their numbers, and how many of them each had right, by what is true."""
    label_a_SQ, label_b_SQ = a.label_SQ, b.label_SQ
    if label_a_SQ is None or label_b_SQ is None:
        return {"rows": None, "why": "no labels as served"}
    changed: Json = {"rows": np.flatnonzero((label_a_SQ != label_b_SQ).any(axis=1)).tolist(), "outputs": {}}
    for q, name in enumerate(a.name_Q):
        is_changed_S = label_a_SQ[:, q] != label_b_SQ[:, q]
        is_yes_S = a.target_SQ[:, q] == 1
        changed["outputs"][name] = {
            "positives_won": int((is_changed_S & is_yes_S & label_b_SQ[:, q]).sum()),
            "positives_lost": int((is_changed_S & is_yes_S & label_a_SQ[:, q]).sum()),
            "negatives_won": int((is_changed_S & ~is_yes_S & label_a_SQ[:, q]).sum()),
            "negatives_lost": int((is_changed_S & ~is_yes_S & label_b_SQ[:, q]).sum()),
        }
    return changed
