"""Report curves: ROC, precision-recall and learning curves of a job, and what its thresholds do to the judged rows."""

# Q outputs that are judged · S samples

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.classify.results.decide import Decisions
from lesion.algorithms.classify.results.evaluation import Answers, points_of
from lesion.evaluation.enough import said_of_mean, why_unranked_rows
from lesion.evaluation.metrics import average_precision, roc_auc
from lesion.report.readings import point_from
from lesion.report.sections import Curve, Curves, Missing, OperatingPoint
from lesion.report.svg import thinned
from lesion.report.words import METRIC_NAMES
from lesion.words import plural_of

HOW_POINTS = (
    "Each image is judged with the calibration and at the threshold that other {units} chose (“measured at”); “from” "
    "is that of all, which is served. So points with the same served threshold may differ, and a higher threshold may "
    "show a higher sensitivity, where few images decide it."
)
CHOSE = "chose its epoch; too few rows for a result"  # a fold's curve of a metric that is not told of it
MAX_POINTS = 200  # of a curve in report.json
MAX_CURVES = 7  # of classes: those with the least area
Array = NDArray[np.float32]


def curves_of_rows(
    names: Sequence[str],
    targets_SQ: Array,
    probs_SQ: Array,
    history: Sequence[Mapping[str, Any]],
    metric: str,
    *,
    ranked_SQ: Array | None = None,
    few_folds: Collection[int] = (),
) -> Curves:
    """The curves of judged rows, of outputs that are enough for an AUC; and of the epochs of each fold, of which
    `few_folds` have too few rows for the metric.
    """
    why_Q = [why_unranked_rows(target_S) for target_S in targets_SQ.T]
    judged = [q for q, why in enumerate(why_Q) if why is None]
    none = Missing(why=f"No curve: {said_of_mean(why_Q)}.")
    ranked_SQ = probs_SQ if ranked_SQ is None else ranked_SQ
    area = {q: roc_auc(targets_SQ[:, q], ranked_SQ[:, q]) for q in judged}
    if len(judged) > MAX_CURVES:
        judged = sorted(judged, key=lambda q: area[q])[:MAX_CURVES]
    untrained = Missing(why="No epoch was trained: the linear probe is the network.")
    later = Missing(why="This version of Lesion does not draw it while training.")
    return Curves(
        roc=tuple(_roc(names[q], targets_SQ[:, q], probs_SQ[:, q], area[q]) for q in judged) or none,
        pr=tuple(_pr(names[q], targets_SQ[:, q], probs_SQ[:, q], ranked_SQ[:, q]) for q in judged) or none,
        calibration=later,
        decision=later,
        learning=_learning(history, metric, few_folds) or untrained,
        learning_metric=METRIC_NAMES.get(metric, metric),
    )


def _roc(name: str, target_S: Array, prob_S: Array, area: float) -> Curve:
    from sklearn.metrics import roc_curve

    false_rate, true_rate, threshold = roc_curve(target_S, prob_S)
    kept = thinned(len(threshold), MAX_POINTS)
    at = np.minimum(threshold, 1.0)  # the first point is "nobody", at infinity
    return Curve(
        name=name, x=_plain(false_rate, kept), y=_plain(true_rate, kept), at=_plain(at, kept), note=f"AUC {area:.3f}"
    )


def _pr(name: str, target_S: Array, prob_S: Array, score_S: Array) -> Curve:
    from sklearn.metrics import precision_recall_curve

    precision, recall, threshold = precision_recall_curve(target_S, prob_S)
    kept = thinned(len(precision), MAX_POINTS)
    at = np.append(threshold, 1.0)
    area = f"average precision {average_precision(target_S, score_S):.3f}, chance {target_S.mean():.3f}"
    return Curve(name=name, x=_plain(recall, kept), y=_plain(precision, kept), at=_plain(at, kept), note=area)


def _learning(history: Sequence[Mapping[str, Any]], metric: str, few_folds: Collection[int]) -> tuple[Curve, ...]:
    of_fold: dict[int, list[tuple[float, float]]] = {}
    for row in history:
        if (value := row.get(metric)) is not None and np.isfinite(value):
            of_fold.setdefault(int(row["fold"]), []).append((float(row["epoch"]), float(value)))
    return tuple(
        Curve(
            name=f"fold {fold}",
            x=tuple(x for x, _ in points),
            y=tuple(y for _, y in points),
            note=CHOSE if fold in few_folds else "",
        )
        for fold, points in sorted(of_fold.items())
    )


def operating_points(
    names: Sequence[str], decisions: Decisions, chosen: Sequence[Mapping[str, Any]], answers: Answers
) -> tuple[OperatingPoint, ...] | Missing:
    """What the served threshold of each output does to the judged rows, and of a binary answer what others would do.

    The thresholds told are those that a server has; each row is judged by the one that other groups chose.
    """
    assert decisions.operating is not None
    how = HOW_POINTS.format(units=plural_of(answers.unit))
    others = [spec for spec in decisions.points if spec != decisions.operating.spec]
    of_others = points_of(answers, [decisions.points[spec].is_positive_SQ for spec in others])
    summaries_of = dict(zip(others, of_others, strict=True)) | {decisions.operating.spec: chosen}
    found: list[OperatingPoint | Missing] = []
    for spec, point in decisions.points.items():
        is_chosen = spec == decisions.operating.spec
        of_others_SQ = np.clip(point.judged_at_SQ[answers.known_S], 0, 1)
        for q, (name, threshold, summary) in enumerate(zip(names, point.thresholds_Q, summaries_of[spec], strict=True)):
            at = float(np.clip(threshold, 0, 1))
            judged_at = (float(of_others_SQ[:, q].min()), float(of_others_SQ[:, q].max()))
            made = point_from(summary, name=spec, output=name, threshold=at, is_chosen=is_chosen, how=how)
            if isinstance(made, OperatingPoint):
                said = said_of_others(at, judged_at, answers.unit, is_calibrated=decisions.calibration is not None)
                made = made.model_copy(update={"judged_at": judged_at, "judged": said})
            found.append(made)
    known = tuple(point for point in found if isinstance(point, OperatingPoint))
    return known or next(point for point in found if isinstance(point, Missing))


def said_of_others(threshold: float, judged_at: tuple[float, float], unit: str, *, is_calibrated: bool) -> str:
    """Why sensitivity and specificity are not quite those of the served threshold on these rows; "" where they are.
    `judged_at` is the lowest and the highest threshold at which a row was judged."""
    low, high = (f"{end:.3f}" for end in judged_at)
    others = f"other {plural_of(unit)}"
    if low == high == f"{threshold:.3f}":
        otherwise = "the served one may answer some of these images otherwise"
        return f"Measured with calibrations that {others} taught: {otherwise}." if is_calibrated else ""
    what = "thresholds and calibrations" if is_calibrated else "thresholds"
    between = low if low == high else f"{low} to {high}"
    return f"Measured with {what} chosen on {others} ({between}); the served threshold is {threshold:.3f}."


def _plain(values_N: NDArray[np.floating], kept: Sequence[int]) -> tuple[float, ...]:
    return tuple(round(float(value), 5) for value in values_N[list(kept)])
