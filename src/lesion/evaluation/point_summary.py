"""Point summary: what answers of yes and no are worth, with intervals by patient and in words for 1,000 patients."""

# S samples

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.linearised import Share, share, variance_of
from lesion.evaluation.metrics import Array

INTERVALS = "95 %, Wilson's at the effective number of rows, by patient; predictive values by the delta method"
Summary = dict[str, Any]


def summarise_point(
    target_S: Array, is_yes_S: NDArray[np.bool_], group_S: NDArray[Any], *, prevalence: float | None = None
) -> Summary:
    """Sensitivity, specificity and predictive values of answers [S] against targets [S], 0 or 1, with 95 % intervals by
    patient, and what they mean for 1,000 patients of whom a share `prevalence` is positive (default: the rows').

    A value that the rows do not define is None, with the reason. Rows whose target is NaN are left out.
    """
    is_known_S = ~np.isnan(target_S)
    is_positive_S, is_yes_S, group_S = target_S[is_known_S] == 1, is_yes_S[is_known_S], group_S[is_known_S]
    sensitivity = share(is_yes_S[is_positive_S], group_S[is_positive_S])
    specificity = share(~is_yes_S[~is_positive_S], group_S[~is_positive_S])
    if prevalence is None and len(is_yes_S):
        prevalence = float(is_positive_S.mean())
    return {
        "true_positives": sensitivity.hits,
        "false_negatives": sensitivity.rows - sensitivity.hits,
        "true_negatives": specificity.hits,
        "false_positives": specificity.rows - specificity.hits,
        "patients": len(np.unique(group_S)),
        "sensitivity": _told(sensitivity, "positive"),
        "specificity": _told(specificity, "negative"),
        "prevalence": prevalence,
        "ppv": _predictive(is_positive_S, is_yes_S, group_S, prevalence),
        "npv": _predictive(~is_positive_S, ~is_yes_S, group_S, None if prevalence is None else 1 - prevalence),
        **_per_1000(sensitivity, specificity, prevalence),
        "intervals": INTERVALS,
    }


def _told(one: Share, kind: str) -> Summary:
    if one.value is None:
        return {"value": None, "why": f"there are no {kind} rows"}
    interval = {"why": one.why} if one.low is None else {"low": one.low, "high": one.high}
    return {"value": one.value, **interval, "rows": one.rows, "patients": one.groups}


def _predictive(
    is_positive_S: NDArray[np.bool_], is_yes_S: NDArray[np.bool_], group_S: NDArray[Any], prevalence: float | None
) -> Summary:
    """The share of the yeses that are right where a share `prevalence` is positive, by Bayes' rule. The interval is on
    the log-odds, which are logit(prevalence) + log sensitivity − log(1 − specificity) (Mercaldo et al. 2007, section
    2.2), with the variance by patient. Where a rate is 0 or 1 it is that of both rates' own limits, which is wider.
    """
    from scipy.stats import t as student  # type: ignore[import-untyped]

    num_positives, num_negatives = int(is_positive_S.sum()), int((~is_positive_S).sum())
    if not (num_positives and num_negatives) or prevalence is None or not 0 < prevalence < 1:
        return {"value": None, "why": "the rows, or the prevalence, are of one class"}
    hit_rate, alarm_rate = float(is_yes_S[is_positive_S].mean()), float(is_yes_S[~is_positive_S].mean())
    if hit_rate + alarm_rate == 0:
        return {"value": None, "why": "no row has this answer"}
    value = _bayes(hit_rate, alarm_rate, prevalence)
    groups, code_S = np.unique(group_S, return_inverse=True)
    if len(groups) < 2:
        return {"value": value, "why": "one patient: no interval"}
    if 0 < hit_rate < 1 and 0 < alarm_rate < 1:
        influence_S = np.where(
            is_positive_S,
            (is_yes_S - hit_rate) / (hit_rate * num_positives),
            -(is_yes_S - alarm_rate) / (alarm_rate * num_negatives),
        )
        half = student.ppf(0.975, len(groups) - 1) * math.sqrt(variance_of(influence_S, code_S))
        middle = math.log(value / (1 - value))
        return {"value": value, "low": 1 / (1 + math.exp(half - middle)), "high": 1 / (1 + math.exp(-half - middle))}
    hits = share(is_yes_S[is_positive_S], group_S[is_positive_S])
    alarms = share(is_yes_S[~is_positive_S], group_S[~is_positive_S])
    if hits.low is None or hits.high is None or alarms.low is None or alarms.high is None:
        return {"value": value, "why": "the rows of one class are of one patient: no interval"}
    return {
        "value": value,
        "low": _bayes(hits.low, alarms.high, prevalence),
        "high": _bayes(hits.high, alarms.low, prevalence),
    }


def _bayes(hit_rate: float, alarm_rate: float, prevalence: float) -> float:
    return prevalence * hit_rate / (prevalence * hit_rate + (1 - prevalence) * alarm_rate)


def _per_1000(sensitivity: Share, specificity: Share, prevalence: float | None) -> Summary:
    if sensitivity.value is None or specificity.value is None or prevalence is None:
        return {
            "per_1000": None,
            "sentence": "Rows of both classes are needed to say what this means for 1,000 patients.",
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
        f"Of 1,000 patients, {_number(positives)} of them positive, {_words(per_1000['found'])} are found and "
        f"{_words(per_1000['missed'])} missed; {_words(per_1000['false_alarms'])} others get a false alarm."
    )
    return {"per_1000": per_1000, "sentence": sentence}


def _scaled(one: Share, of: float, *, of_rest: bool = False) -> dict[str, float]:
    ends = {"value": one.value, "low": one.low, "high": one.high}
    if of_rest:
        ends |= {"low": one.high, "high": one.low}
    return {name: of * (1 - end if of_rest else end) for name, end in ends.items() if end is not None}


def _words(scaled: Any) -> str:
    interval = f" ({_number(scaled['low'])} to {_number(scaled['high'])})" if "low" in scaled else ""
    return _number(scaled["value"]) + interval


def _number(count: float) -> str:
    return f"{count:.0f}" if count >= 10 or count == round(count) else f"{count:.1f}"
