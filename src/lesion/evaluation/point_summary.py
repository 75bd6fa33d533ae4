"""Point summary: what answers of yes and no are worth, with intervals by group and in words for 1,000 images.

The intervals are those of `judgement.judge`: the same draws of groups, so that one answer has one interval everywhere.
"""

# S samples · Q outputs that are judged · N rows whose target is known · P answers to the same rows

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.counting import Labels
from lesion.evaluation.estimates import affordable_draws, estimate_labels
from lesion.evaluation.intervals import Estimate
from lesion.evaluation.metrics import Array
from lesion.evaluation.resampling import number_groups

INTERVALS = "95 %, by group: Student's t on draws of groups"
ONE_GROUP = "one group: no interval"
NO_ROWS = {
    "sensitivity": "there are no positive rows",
    "specificity": "there are no negative rows",
    "ppv": "no row is answered yes, or the rows are of one class",
    "npv": "no row is answered no, or the rows are of one class",
}
Summary = dict[str, Any]


def summarise_points(
    targets_SQ: Array,
    answers_PSQ: Sequence[NDArray[np.bool_]],
    group_S: NDArray[Any],
    *,
    prevalence: float | None = None,
    num_draws: int = 2000,
) -> list[list[Summary]]:
    """For each answer and output the sensitivity, specificity and predictive values of labels [S, Q] against targets
    [S, Q], 0 or 1, with 95 % intervals by group, and what they mean for 1,000 images of which a share `prevalence` is
    positive (default: the rows' own).

    A value that the rows do not define is None, with the reason. Rows whose target is NaN are left out.
    """
    code_S, num_groups = number_groups(group_S)
    num_draws = affordable_draws(len(targets_SQ), targets_SQ.shape[1], num_draws)
    labels, known = [], []
    for is_yes_SQ in answers_PSQ:
        for target_S, is_yes_S in zip(targets_SQ.T, is_yes_SQ.T, strict=True):
            is_known_S = ~np.isnan(target_S)
            columns = (target_S[is_known_S], is_yes_S[is_known_S], code_S[is_known_S])
            labels.append(Labels.of(*columns, num_groups, prevalence))
            known.append(columns)
    estimates = estimate_labels(labels, num_groups, num_draws=num_draws)
    told = [_summary(*columns, found, prevalence) for columns, found in zip(known, estimates, strict=True)]
    num_outputs = targets_SQ.shape[1]
    return [told[start : start + num_outputs] for start in range(0, len(told), num_outputs)]


def _summary(
    target_N: Array,
    is_yes_N: NDArray[np.bool_],
    code_N: NDArray[np.intp],
    found: dict[str, Estimate],
    prevalence: float | None,
) -> Summary:
    is_positive_N = target_N == 1
    at = "" if prevalence is None else "_at_prevalence"
    if prevalence is None and len(target_N):
        prevalence = float(is_positive_N.mean())
    measures = {name: found[name + (at if name in ("ppv", "npv") else "")] for name in NO_ROWS}
    return {
        "true_positives": int((is_positive_N & is_yes_N).sum()),
        "false_negatives": int((is_positive_N & ~is_yes_N).sum()),
        "true_negatives": int((~is_positive_N & ~is_yes_N).sum()),
        "false_positives": int((~is_positive_N & is_yes_N).sum()),
        "groups": len(np.unique(code_N)),
        "prevalence": prevalence,
        **{name: _told(name, estimate) for name, estimate in measures.items()},
        **_per_1000(measures["sensitivity"], measures["specificity"], prevalence),
        "intervals": INTERVALS,
    }


def _told(name: str, one: Estimate) -> Summary:
    if one.value is None:
        return {"value": None, "why": NO_ROWS[name]}
    return one.as_json() if one.low is not None else {"value": one.value, "why": one.why or ONE_GROUP}


def _per_1000(sensitivity: Estimate, specificity: Estimate, prevalence: float | None) -> Summary:
    if sensitivity.value is None or specificity.value is None or prevalence is None:
        return {
            "per_1000": None,
            "sentence": "Rows of both classes are needed to say what this means for 1,000 images.",
        }
    positives = 1000 * prevalence
    per_1000 = {
        "positives": positives,
        "found": _scaled(sensitivity, positives),
        "missed": _scaled(sensitivity, positives, of_rest=True),
        "false_alarms": _scaled(specificity, 1000 - positives, of_rest=True),
        "cleared": _scaled(specificity, 1000 - positives),
    }
    sentence = (
        f"Of 1,000 images, {_number(positives)} of them positive, {_words(per_1000['found'])} are found and "
        f"{_words(per_1000['missed'])} missed; {_words(per_1000['false_alarms'])} others get a false alarm."
    )
    return {"per_1000": per_1000, "sentence": sentence}


def _scaled(one: Estimate, of: float, *, of_rest: bool = False) -> dict[str, float]:
    low, high = (one.high, one.low) if of_rest else (one.low, one.high)
    ends = {"value": one.value, "low": low, "high": high}
    return {name: of * (1 - end if of_rest else end) for name, end in ends.items() if end is not None}


def _words(scaled: Any) -> str:
    interval = f" ({_number(scaled['low'])} to {_number(scaled['high'])})" if "low" in scaled else ""
    return _number(scaled["value"]) + interval


def _number(count: float) -> str:
    return f"{count:.0f}" if count >= 10 or count == round(count) else f"{count:.1f}"
