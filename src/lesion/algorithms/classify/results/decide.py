"""Decide: what a job learns from the held-out rows beside the weights: the calibration and the operating point. Pure.

Both are learnt from the predictions of the kept networks, since these are served; and both are judged on the judged
ones (judged.py), for each fifth of the patients as the others would have decided.
"""

# N predictions of rows, more than rows where folds are repeated · S rows · K outputs · Q outputs that are judged

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.manifest import OperatingRecord
from lesion.algorithms.classify.prediction.answer import fold_probs
from lesion.algorithms.classify.results.judged import Judged, judge_folds
from lesion.algorithms.classify.training.fold_result import FoldResult
from lesion.data.labels.encode import Labelled
from lesion.evaluation.calibration import Calibration
from lesion.evaluation.calibrator_choice import choose_calibrator, nested_calibrators
from lesion.evaluation.calibrators import deployment_of_one
from lesion.evaluation.operating_points import OperatingPoint, RocCurve, parse_spec, resolve, roc_curve
from lesion.evaluation.pooling import Pooling, centres_of
from lesion.targets import Target

USUAL_POINTS = ("youden", "sensitivity=0.9", "sensitivity=0.95", "specificity=0.9")
LEAST_SHARE = 1e-6  # of a class that no row has


@dataclass(frozen=True)
class Predictions:
    """The folds' predictions of the rows that they held out: which row, its group, and probabilities [N, K] as the
    networks give them, averaged over the views.
    """

    index_N: NDArray[np.intp]
    group_N: NDArray[np.str_]
    probs_NK: NDArray[np.float64]

    @classmethod
    def of(cls, results: Sequence[FoldResult], labelled: Labelled) -> Predictions:
        index_N = np.concatenate([result.index_S for result in results])
        return cls(
            index_N,
            labelled.table.group_or_row_S[index_N],
            np.concatenate([fold_probs(labelled.target, result.logits_SVK[:, None])[:, 0] for result in results]),
        )


def by_row(values_NK: NDArray[np.floating], index_N: NDArray[np.intp], num_rows: int) -> NDArray[np.float32]:
    """The mean [S, K] over each row's predictions; NaN for rows that no fold held out."""
    ordered_NK = values_NK[np.argsort(index_N, kind="stable")]  # a row's predictions one after another
    times_S = np.bincount(index_N, minlength=num_rows)  # more than 1 where the cross-validation is repeated
    starts_S = np.cumsum(times_S) - times_S
    means_SK = np.full((num_rows, values_NK.shape[1]), np.nan, dtype=np.float32)
    for times in np.unique(times_S[times_S > 0]).tolist():
        rows = np.flatnonzero(times_S == times)
        means_SK[rows] = sum(ordered_NK[starts_S[rows] + number] for number in range(times)) / times
    return means_SK


@dataclass(frozen=True)
class JudgedPoint:
    """An operating point: the thresholds [Q] that a server has, and which rows [S, Q] are positive at those that other
    patients chose, which are `judged_at_SQ` (NaN for rows that no fold held out)."""

    thresholds_Q: tuple[float, ...]
    is_positive_SQ: NDArray[np.bool_]
    judged_at_SQ: NDArray[np.float64]


@dataclass(frozen=True)
class Decisions:
    """What is decided, and how it does where it was not.

    `kept_SK` are the kept networks' probabilities of the rows that they held out, calibrated as they are served, and
    `kept_raw_SK` without calibration. `judged_SK` are those that metrics are made of, calibrated by what the other
    patients taught, at the prevalence of the rows; `served_SK` the same at the deployment's, as a server says them and
    thresholds cut them; `raw_SK` without calibration. `points` has the
    chosen operating point and, of a binary answer, some others; none for several classes, the most probable of which
    is the answer.
    """

    judged: Judged
    calibration: Calibration | None
    operating: OperatingRecord | None
    thresholds_Q: tuple[float, ...]
    kept_SK: NDArray[np.float32]
    kept_raw_SK: NDArray[np.float32]
    judged_SK: NDArray[np.float32]
    served_SK: NDArray[np.float32]
    raw_SK: NDArray[np.float32]
    points: Mapping[str, JudgedPoint]
    told: dict[str, Any]  # for metrics.json

    @property
    def is_positive_SQ(self) -> NDArray[np.bool_] | None:
        """The labels as served; None for several classes, the most probable of which is the answer."""
        return None if self.operating is None else self.points[self.operating.spec].is_positive_SQ


def decide(
    results: Sequence[FoldResult], labelled: Labelled, config: ClassifyConfig, *, is_refit: bool = False
) -> Decisions:
    """Chooses calibration and operating point on the folds' held-out rows; `is_refit` if one network is served that was
    trained again on all rows."""
    judged = judge_folds(results, labelled, metric=config.metric, is_refit=is_refit)
    kept, honest = Predictions.of(results, labelled), Predictions.of(judged.results, labelled)
    calibration, told = learn_calibration(kept, labelled, config)
    kept_NK = kept.probs_NK if calibration is None else calibration.apply(kept.probs_NK[:, None])
    judged_NK, judged_at = judge_decisions(honest, calibration, labelled, config)

    def of_rows(values_NK: NDArray[np.floating], predictions: Predictions) -> NDArray[np.float32]:
        return by_row(values_NK, predictions.index_N, len(labelled.table))

    kept_SK = of_rows(kept_NK, kept)
    served_SK = of_rows(judged_NK if calibration is None else calibration.for_deployment(judged_NK), honest)
    served_SQ = labelled.target.judged_columns(served_SK)
    operating, thresholds_Q = operate(labelled, kept_SK, config)
    points = {}
    for spec, judged_at_SQ in judged_at.items():
        thresholds = tuple(point.threshold for _, point in points_on(labelled, kept_SK, spec, config))
        points[spec] = JudgedPoint(thresholds, served_SQ >= judged_at_SQ, judged_at_SQ)
    return Decisions(
        judged=judged,
        calibration=calibration,
        operating=operating,
        thresholds_Q=thresholds_Q,
        kept_SK=kept_SK,
        kept_raw_SK=of_rows(kept.probs_NK, kept),
        judged_SK=of_rows(judged_NK, honest),
        served_SK=served_SK,
        raw_SK=of_rows(honest.probs_NK, honest),
        points=points,
        told=told,
    )


def learn_calibration(
    kept: Predictions, labelled: Labelled, config: ClassifyConfig
) -> tuple[Calibration | None, dict[str, Any]]:
    """The calibration of the kept networks, and what is told of its choice; None and nothing if none is wanted."""
    if config.calibration == "none":
        return None, {}
    target, is_multiclass = labelled.target, labelled.target.kind == "multiclass"
    choice = choose_calibrator(
        labelled.targets_SK[kept.index_N],
        kept.probs_NK,
        kept.group_N,
        is_multiclass=is_multiclass,
        method=config.calibration,
    )
    shares_K = labelled.targets_SK[np.unique(kept.index_N)].mean(axis=0, dtype=np.float64)
    trained_K = tuple(shares_K.clip(LEAST_SHARE, 1 - LEAST_SHARE).tolist())
    calibration = Calibration(
        Pooling(is_multiclass, centres_of(kept.probs_NK, is_multiclass=is_multiclass)),
        choice.calibrator,
        trained_K,
        deployment_of(target, trained_K, config.deployment_prevalence),
    )
    return calibration, {"calibration": calibration_told(calibration, choice.log_losses, choice.why, target)}


def judge_decisions(
    honest: Predictions, calibration: Calibration | None, labelled: Labelled, config: ClassifyConfig
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """The calibrated probabilities [N, K] of each fifth of the patients by a calibrator of all others, and for each
    operating point the thresholds [S, Q] that these choose with it: as if the fifth had never been there.

    Thresholds are chosen on the means over each row's predictions, as the served ones are.
    """
    target, num_rows = labelled.target, len(labelled.table)
    parts = nested_calibrators(
        labelled.targets_SK[honest.index_N],
        honest.probs_NK,
        honest.group_N,
        is_multiclass=target.kind == "multiclass",
        method=config.calibration,
    )
    targets_SQ = target.judged_columns(labelled.targets_SK)
    judged_NK = np.empty_like(honest.probs_NK)
    judged_at = {spec: np.full(targets_SQ.shape, np.nan) for spec in specs_of(target, config)}
    for is_held_N, calibrator in parts:
        probs_NK = calibrator.apply(honest.probs_NK)
        judged_NK[is_held_N] = probs_NK[is_held_N]
        answers_NK = probs_NK if calibration is None else calibration.for_deployment(probs_NK)
        answers_SQ = target.judged_columns(by_row(answers_NK, honest.index_N, num_rows))
        is_held_S = np.isin(np.arange(num_rows), honest.index_N[is_held_N])
        for spec, judged_at_SQ in judged_at.items():
            chosen = chosen_points(targets_SQ[~is_held_S], answers_SQ[~is_held_S], spec, target, config)
            judged_at_SQ[is_held_S] = [point.threshold for _, point in chosen]
    return judged_NK, judged_at


def specs_of(target: Target, config: ClassifyConfig) -> list[str]:
    """The operating points that are judged: the chosen one first, and of a binary answer the usual ones too."""
    if target.has_multiclass_answer:
        return []
    return list(dict.fromkeys([config.operating_point, *(USUAL_POINTS if target.has_binary_answer else ())]))


def deployment_of(target: Target, trained_K: tuple[float, ...], prevalence: float | None) -> tuple[float, ...] | None:
    """How frequent each output's class is at the deployment, where the positive one is as frequent as `prevalence`."""
    if prevalence is None:
        return None
    if target.kind == "binary":
        return (prevalence,)
    assert target.one_of_many is not None  # task.py has refused all others
    return deployment_of_one(trained_K, target.class_names.index(target.one_of_many), prevalence)


def operate(
    labelled: Labelled, kept_SK: NDArray[np.float32], config: ClassifyConfig
) -> tuple[OperatingRecord | None, tuple[float, ...]]:
    """The ROC curve of each judged output, and the threshold on it that the operating point asks for; nothing for
    several classes, of which the most probable is the answer.
    """
    target = labelled.target
    if target.has_multiclass_answer:
        return None, ()
    chosen = points_on(labelled, kept_SK, config.operating_point, config)
    record = OperatingRecord(
        spec=config.operating_point,
        curves=tuple(curve for curve, _ in chosen),
        prevalences=prevalences_of(target, config),
    )
    return record, tuple(point.threshold for _, point in chosen)


def points_on(
    labelled: Labelled, kept_SK: NDArray[np.float32], spec: str, config: ClassifyConfig
) -> list[tuple[RocCurve | None, OperatingPoint]]:
    """The ROC curve of each judged output of the kept predictions, and the point on it that is asked for."""
    target, valid_S = labelled.target, ~np.isnan(kept_SK[:, 0])
    targets_SQ, probs_SQ = (target.judged_columns(values[valid_S]) for values in (labelled.targets_SK, kept_SK))
    return chosen_points(targets_SQ, probs_SQ, spec, target, config)


def chosen_points(
    targets_SQ: NDArray[np.floating],
    probs_SQ: NDArray[np.floating],
    text: str,
    target: Target,
    config: ClassifyConfig,
) -> list[tuple[RocCurve | None, OperatingPoint]]:
    """The ROC curve of each judged output, and the point on it that is asked for."""
    spec = parse_spec(text)
    curves = [roc_curve(targets_SQ[:, q], probs_SQ[:, q]) for q in range(probs_SQ.shape[1])]
    shares = prevalences_of(target, config)
    return [(curve, resolve(curve, spec, prevalence=share)) for curve, share in zip(curves, shares, strict=True)]


def prevalences_of(target: Target, config: ClassifyConfig) -> tuple[float | None, ...]:
    """How frequent the positive class of each judged output is at the deployment; None where as in the rows."""
    num_outputs = 1 if target.has_binary_answer else target.num_outputs
    return (config.deployment_prevalence,) * num_outputs


def calibration_told(
    calibration: Calibration, log_losses: Sequence[Any], why: Sequence[str | None], target: Target
) -> dict[str, Any]:
    """What was chosen and by which held-out log losses, and why not more was tried."""
    told: dict[str, Any] = {"method": calibration.calibrator.method}
    each = []
    for losses, reason in zip(log_losses, why, strict=True):
        each.append({"held_out_log_loss": dict(losses), **({"why": reason} if reason else {})})
    if target.kind == "multilabel":
        return {**told, "labels": dict(zip(target.class_names, each, strict=True))}
    return {**told, **each[0]}
