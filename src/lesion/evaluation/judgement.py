"""Judgement: all that is said about one set of rows, as one JSON-able dict.

Whoever calls has chosen the rows' probabilities and labels honestly: by networks that did not see them, by epochs and
thresholds that other rows chose.
"""

# S samples · Q outputs that are judged · G groups · P points of a curve

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.calibration_curve import Curve, calibration_curve, expected_calibration_error
from lesion.evaluation.counting import ClassLabels, RowMeans
from lesion.evaluation.decision_curve import decision_curve
from lesion.evaluation.enough import said_of_mean
from lesion.evaluation.estimates import Output, affordable_draws, estimate_outputs
from lesion.evaluation.groups import How, slide_scores
from lesion.evaluation.intervals import FEW_GROUPS, Estimate, Measurable
from lesion.evaluation.measures import RANKED, TOP
from lesion.evaluation.recalibration import (
    CLIP,
    calibration_intercept,
    calibration_slope,
    lacks_outcomes,
    observed_to_expected,
    slope_of_classes,
)
from lesion.evaluation.resampling import number_groups

Json = dict[str, Any]
MANY_OUTPUTS = 20  # from here on each output has its measures, and no curves
MANY_PARTS = 50  # values of a column, beyond which the rarest are not told


@dataclass(frozen=True)
class Rows:
    """Rows to judge. Targets [S, Q] 0 or 1 (NaN: not known), probabilities [S, Q], each row's group [S].

    `label_SQ`: what was answered, True or False, each by the threshold it was served with; None for several classes is
    the most probable one, and else leaves out what labels are needed for. `prevalence_Q`: of the patients that are to
    come, for PPV, NPV and the decision curve. `score_SQ`: what rows are ranked by, unless by the probabilities:
    parts of the rows that were calibrated apart lie on scales that are not quite the same. `served_SQ`: the
    probabilities as they are served, at `prevalence_Q`, from which on one acts in a decision curve; `prob_SQ` unless
    given, which is calibrated for these rows.
    """

    target_SQ: NDArray[Any]
    prob_SQ: NDArray[Any]
    group_S: NDArray[Any]
    name_Q: Sequence[str]
    is_multiclass: bool
    label_SQ: NDArray[np.bool_] | None = None
    prevalence_Q: Sequence[float] | None = None
    score_SQ: NDArray[Any] | None = None
    served_SQ: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        shape = self.target_SQ.shape
        assert self.prob_SQ.shape == shape and len(self.group_S) == shape[0] and len(self.name_Q) == shape[1]
        assert self.label_SQ is None or self.label_SQ.shape == shape

    @property
    def ranked_SQ(self) -> NDArray[Any]:
        """What rows are ranked by."""
        return self.prob_SQ if self.score_SQ is None else self.score_SQ

    def where(self, is_in_S: NDArray[np.bool_]) -> Rows:
        """Some of the rows."""
        labels = None if self.label_SQ is None else self.label_SQ[is_in_S]
        kept = (self.target_SQ[is_in_S], self.prob_SQ[is_in_S], self.group_S[is_in_S])
        scores = None if self.score_SQ is None else self.score_SQ[is_in_S]
        served = None if self.served_SQ is None else self.served_SQ[is_in_S]
        return Rows(*kept, self.name_Q, self.is_multiclass, labels, self.prevalence_Q, scores, served)


def judge(
    rows: Rows,
    *,
    parts: Mapping[str, NDArray[Any]] | None = None,
    num_draws: int = 2000,
    seed: int = 0,
) -> Json:
    """Everything of `measures.MEASURES`, calibration and decision curves, as plain dicts, lists, numbers and words.

    `counts`; `overall` (of several outputs the mean over them, and for several classes accuracy, MCC and the like of
    the class that was named); `calibration_slope` and `calibration_of_top_class` of several classes; `outputs` (each by
    itself); `parts` (for each column given, such as fold or origin, its values' counts and overall measures, and
    `mean`, the plain mean over them); `draws` and `cautions`, in words. A measure is `Estimate.as_json`: what is
    undefined has the value None and a `why`. Rows with a probability that is NaN (never held out) are left out.
    """
    is_judged_S = ~np.isnan(rows.prob_SQ).any(axis=1) & _has_target(rows)
    parts = {column: np.asarray(value_S)[is_judged_S] for column, value_S in (parts or {}).items()}
    rows = rows.where(is_judged_S)
    num_draws = affordable_draws(len(rows.target_SQ), len(rows.name_Q), num_draws)
    found = _measures(rows, num_draws=num_draws, seed=seed)
    found["cautions"] = _cautions(rows)
    for output in [] if len(rows.name_Q) > MANY_OUTPUTS else _outputs(rows)[0]:
        found["outputs"][output.name] |= _curves(output, seed=seed)
    if rows.is_multiclass and len(rows.target_SQ):
        top_S = rows.prob_SQ.max(axis=1)
        is_right_S = rows.target_SQ[np.arange(len(top_S)), rows.prob_SQ.argmax(axis=1)] == 1
        found["calibration_of_top_class"] = _ece(is_right_S, top_S, seed=seed)
        found["calibration_slope"] = slope_of_classes(rows.target_SQ, rows.prob_SQ, rows.group_S).as_json()
    few_draws = num_draws // 4 if len(rows.name_Q) <= MANY_OUTPUTS else 0
    found["parts"] = {}
    for column, value_S in parts.items():
        found["parts"][column] = _parts(rows, value_S, num_draws=few_draws, seed=seed)
    return found


def judge_groups(rows: Rows, how: How, *, top_k: int = 10, num_draws: int = 2000, seed: int = 0) -> Json:
    """The measures of one score a group and output: positive where one of its rows is (for several classes: where all
    its rows are of that class; groups of mixed classes are left out, and counted). Groups are ranked by the pooled
    scores of their rows, where these are ranked by such. Without labels as served."""
    targets = [slide_scores(target_S, rows.group_S, "max")[1] for target_S in rows.target_SQ.T]
    target_GQ = np.stack(targets, axis=1)
    num_classes_G = target_GQ.sum(axis=1) if rows.is_multiclass else np.ones(len(target_GQ))
    is_clear_G = np.asarray(num_classes_G == 1, dtype=np.bool_)

    def pooled_of(values_SQ: NDArray[Any]) -> NDArray[np.float64]:
        score_GQ = np.stack([slide_scores(value_S, rows.group_S, how, top_k)[1] for value_S in values_SQ.T], axis=1)
        return score_GQ / np.maximum(score_GQ.sum(axis=1, keepdims=True), CLIP) if rows.is_multiclass else score_GQ

    pooled = Rows(
        target_GQ,
        pooled_of(rows.prob_SQ),
        np.unique(rows.group_S),
        rows.name_Q,
        rows.is_multiclass,
        score_SQ=None if rows.score_SQ is None else pooled_of(rows.score_SQ),
    )
    found = _measures(pooled.where(is_clear_G), num_draws=num_draws, seed=seed)
    return {"score": how, "mixed": int((~is_clear_G).sum()), **found}


def measurables_of(rows: Rows) -> tuple[tuple[list[Measurable], list[Measurable]], int]:
    """What measures each of the outputs, and their choice as a whole; and how many groups there are."""
    outputs, code_S, num_groups = _outputs(rows)
    each = [measurable for output in outputs for measurable in output.measurables(num_groups)]
    whole = _of_classes(rows, code_S, num_groups)[0] if rows.is_multiclass and len(code_S) else []
    return (each, whole), num_groups


def _measures(rows: Rows, *, num_draws: int, seed: int) -> Json:
    outputs, code_S, num_groups = _outputs(rows)
    whole, highest = _of_classes(rows, code_S, num_groups) if rows.is_multiclass and len(code_S) else ([], {})
    each, together = estimate_outputs(
        outputs, whole, num_groups, num_draws=num_draws if num_groups > 1 else 0, seed=seed, highest=highest
    )
    if told := said_of_mean([output.why_unranked for output in outputs]):
        together |= {name: replace(together[name], why=told) for name in RANKED}
    return {
        "counts": {"rows": len(code_S), "groups": num_groups},
        "overall": _json(together),
        "outputs": {
            output.name: {
                "rows": len(output.target_N),
                "positives": output.num_positives,
                "groups": len(np.unique(output.code_N)),
                "groups_with_positives": len(np.unique(output.code_N[output.target_N == 1])),
                "measures": _json(estimates),
            }
            for output, estimates in zip(outputs, each, strict=True)
        },
        "draws": num_draws,
    }


def _parts(rows: Rows, value_S: NDArray[Any], *, num_draws: int, seed: int) -> Json:
    """Counts and overall measures of the rows of each value, the most common first; and their plain mean."""
    values, counts = np.unique(value_S.astype(str), return_counts=True)
    told = values[np.argsort(-counts, kind="stable")][:MANY_PARTS]
    found: Json = {}
    for value in told:
        of_part = _measures(rows.where(value_S.astype(str) == value), num_draws=num_draws, seed=seed)
        positives = {name: output["positives"] for name, output in of_part["outputs"].items()}
        found[str(value)] = {"counts": of_part["counts"] | {"positives": positives}, "overall": of_part["overall"]}
    means = {}
    for name in {name for part in found.values() for name in part["overall"]}:
        known = [part["overall"][name]["value"] for part in found.values() if name in part["overall"]]
        known = [value for value in known if value is not None]
        means[name] = {"value": float(np.mean(known)), "parts": len(known)} if known else {"value": None, "parts": 0}
    return {"values": found, "mean": dict(sorted(means.items())), "not_told": len(values) - len(told)}


def _outputs(rows: Rows) -> tuple[list[Output], NDArray[np.intp], int]:
    code_S, num_groups = number_groups(rows.group_S)
    label_SQ = rows.label_SQ
    if label_SQ is None and rows.is_multiclass:
        label_SQ = np.arange(rows.prob_SQ.shape[1]) == rows.prob_SQ.argmax(axis=1)[:, None]
    found = []
    for q, name in enumerate(rows.name_Q):
        is_known_S = ~np.isnan(rows.target_SQ[:, q].astype(np.float64))
        found.append(
            Output(
                name,
                rows.target_SQ[is_known_S, q].astype(np.float64),
                rows.prob_SQ[is_known_S, q].astype(np.float64),
                code_S[is_known_S],
                None if label_SQ is None else label_SQ[is_known_S, q],
                None if rows.prevalence_Q is None else rows.prevalence_Q[q],
                None if rows.score_SQ is None else rows.score_SQ[is_known_S, q].astype(np.float64),
                None if rows.served_SQ is None else rows.served_SQ[is_known_S, q].astype(np.float64),
            )
        )
    return found, code_S, num_groups


def _of_classes(rows: Rows, code_S: NDArray[np.intp], num_groups: int) -> tuple[list[Measurable], dict[str, float]]:
    """What is measured of a choice among classes, and the upper bounds that differ."""
    prob_SQ, class_S = rows.prob_SQ.astype(np.float64), rows.target_SQ.argmax(axis=1)
    named_S = (rows.prob_SQ if rows.label_SQ is None else rows.label_SQ).argmax(axis=1)
    true_S = prob_SQ[np.arange(len(class_S)), class_S]
    above_S = (prob_SQ > true_S[:, None]).sum(axis=1)  # ties are in the true class's favour
    values = {
        "brier": ((prob_SQ - rows.target_SQ) ** 2).sum(axis=1),
        "log_loss": -np.log(np.clip(true_S, CLIP, 1 - CLIP)),
        **{f"top_{k}_accuracy": (above_S < k).astype(np.float64) for k in TOP if k < prob_SQ.shape[1]},
    }
    num_classes = prob_SQ.shape[1]
    labels = ClassLabels.of(class_S, named_S, num_classes, code_S, num_groups)
    return [RowMeans.of(values, code_S, num_groups), labels], {"brier": 2.0}


def _curves(output: Output, *, seed: int) -> Json:
    """Calibration and decision curve of one output; where there are none, why."""
    columns, why = (output.target_N, output.prob_N, output.code_N), lacks_outcomes(output.target_N)
    curve = calibration_curve(*columns)
    decision = decision_curve(
        output.target_N, output.acted_on_N, output.code_N, prevalence=output.prevalence, seed=seed
    )
    return {
        "calibration": {
            "intercept": calibration_intercept(*columns).as_json(),
            "slope": calibration_slope(*columns).as_json(),
            "observed_to_expected": observed_to_expected(*columns).as_json(),
            "ece": {"value": None, "why": why} if why else _ece(output.target_N, output.prob_N, seed=seed),
            "curve": _curve(curve) if isinstance(curve, Curve) else {"why": curve},
        },
        "decision_curve": {"why": decision}
        if isinstance(decision, str)
        else {
            "prevalence": decision.prevalence,
            "threshold": _numbers(decision.threshold_T),
            "net_benefit": _numbers(decision.model_T),
            "low": _numbers(decision.low_T),
            "high": _numbers(decision.high_T),
            "all": _numbers(decision.all_T),
        },
    }


def _ece(target_N: NDArray[Any], prob_N: NDArray[Any], *, seed: int) -> Json:
    found = expected_calibration_error(target_N, prob_N, seed=seed)
    return {"value": found.plain, "debiased": found.debiased, "noise_line": found.noise, "bins": found.bins}


def _curve(curve: Curve) -> Json:
    return {
        "probability": _numbers(curve.prob_P),
        "observed": _numbers(curve.observed_P),
        "low": _numbers(curve.low_P),
        "high": _numbers(curve.high_P),
        "ici": curve.ici,
        "e90": curve.e90,
    }


def _cautions(rows: Rows) -> list[str]:
    num_groups, num_rows = len(np.unique(rows.group_S)), len(rows.target_SQ)
    said = []
    if num_groups < FEW_GROUPS:
        said.append(f"{num_groups} groups: intervals depend on which these are")
    if num_rows > 2 * num_groups:
        said.append(
            f"{num_rows} rows of {num_groups} groups: the calibration error (ECE) by chance is computed as if rows "
            "were independent, so it is too low if rows of a group are alike"
        )
    if len(rows.name_Q) > MANY_OUTPUTS:
        said.append(f"{len(rows.name_Q)} outputs: no calibration or decision curves, and parts without intervals")
    if rows.label_SQ is None and not rows.is_multiclass:
        said.append("no labels as served were given: nothing that needs a threshold is told")
    return said


def _has_target(rows: Rows) -> NDArray[np.bool_]:
    missing_SQ = np.isnan(rows.target_SQ.astype(np.float64))
    return np.asarray(~(missing_SQ.any(axis=1) if rows.is_multiclass else missing_SQ.all(axis=1)))


def _json(estimates: Mapping[str, Estimate]) -> Json:
    return {name: estimates[name].as_json() for name in sorted(estimates)}


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    return [round(value, 6) if math.isfinite(value) else None for value in values.tolist()]
