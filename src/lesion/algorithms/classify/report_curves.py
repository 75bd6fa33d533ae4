"""Report curves: ROC, precision-recall and learning curves of a job, and what its thresholds do to the judged rows."""

# Q outputs that are judged · S samples

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.metrics import average_precision, roc_auc
from lesion.report.sections import Confusion, Curve, Curves, Missing, Number, OperatingPoint, PerThousand
from lesion.report.svg import thinned
from lesion.report.words import METRIC_NAMES

MAX_POINTS = 200  # of a curve in report.json
MAX_CURVES = 7  # of classes: those with the least area
Array = NDArray[np.float32]


def curves_of_rows(
    names: Sequence[str], targets_SQ: Array, probs_SQ: Array, history: Sequence[Mapping[str, Any]], metric: str
) -> Curves:
    """The curves of judged rows, and of the epochs of each fold."""
    judged = [q for q in range(len(names)) if 0 < targets_SQ[:, q].sum() < len(targets_SQ)]
    none = Missing(why="The judged rows are all of one class: there is no curve.")
    area = {q: roc_auc(targets_SQ[:, q], probs_SQ[:, q]) for q in judged}
    if len(judged) > MAX_CURVES:
        judged = sorted(judged, key=lambda q: area[q])[:MAX_CURVES]
    later = Missing(why="This version of Lesion does not draw it while training.")
    return Curves(
        roc=tuple(_roc(names[q], targets_SQ[:, q], probs_SQ[:, q], area[q]) for q in judged) or none,
        pr=tuple(_pr(names[q], targets_SQ[:, q], probs_SQ[:, q]) for q in judged) or none,
        calibration=later,
        decision=later,
        learning=_learning(history, metric) or Missing(why="No epoch was trained: the linear probe is the network."),
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


def _pr(name: str, target_S: Array, prob_S: Array) -> Curve:
    from sklearn.metrics import precision_recall_curve

    precision, recall, threshold = precision_recall_curve(target_S, prob_S)
    kept = thinned(len(precision), MAX_POINTS)
    at = np.append(threshold, 1.0)
    area = f"average precision {average_precision(target_S, prob_S):.3f}, chance {target_S.mean():.3f}"
    return Curve(name=name, x=_plain(recall, kept), y=_plain(precision, kept), at=_plain(at, kept), note=area)


def _learning(history: Sequence[Mapping[str, Any]], metric: str) -> tuple[Curve, ...]:
    of_fold: dict[int, list[tuple[float, float]]] = {}
    for row in history:
        if (value := row.get(metric)) is not None and np.isfinite(value):
            of_fold.setdefault(int(row["fold"]), []).append((float(row["epoch"]), float(value)))
    return tuple(
        Curve(name=f"fold {fold}", x=tuple(x for x, _ in points), y=tuple(y for _, y in points))
        for fold, points in sorted(of_fold.items())
    )


def operating_points(
    names: Sequence[str], targets_SQ: Array, probs_SQ: Array, thresholds: Sequence[float]
) -> tuple[OperatingPoint, ...]:
    """What each output's served threshold does to the judged rows; PPV and NPV at their own prevalence."""
    found = []
    for q, (name, threshold) in enumerate(zip(names, thresholds, strict=True)):
        is_yes_S, says_yes_S = targets_SQ[:, q] == 1, probs_SQ[:, q] >= threshold
        tp, fn = int((is_yes_S & says_yes_S).sum()), int((is_yes_S & ~says_yes_S).sum())
        fp, tn = int((~is_yes_S & says_yes_S).sum()), int((~is_yes_S & ~says_yes_S).sum())
        prevalence = (tp + fn) / max(len(is_yes_S), 1)
        both = tp + fn > 0 and fp + tn > 0
        found.append(
            OperatingPoint(
                name="Youden",
                output=name,
                threshold=float(np.clip(threshold, 0, 1)),
                is_chosen=True,
                how="Youden's threshold: the largest sensitivity + specificity of these same rows.",
                sensitivity=_share(tp, tp + fn, "no positives"),
                specificity=_share(tn, tn + fp, "no negatives"),
                ppv=_share(tp, tp + fp, "nothing is answered positive"),
                npv=_share(tn, tn + fn, "nothing is answered negative"),
                prevalence=prevalence,
                confusion=Confusion(tp=tp, fp=fp, fn=fn, tn=tn),
                per_1000=PerThousand.of(prevalence, tp / (tp + fn), tn / (tn + fp)) if both else None,
            )
        )
    return tuple(found)


def _share(part: int, whole: int, why: str) -> Number:
    return Number.of(part / whole) if whole else Number(why=why)


def _plain(values_N: NDArray[np.floating], kept: Sequence[int]) -> tuple[float, ...]:
    return tuple(round(float(value), 5) for value in values_N[list(kept)])
