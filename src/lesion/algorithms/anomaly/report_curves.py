"""Report curves: the curves of an anomaly job's report, its threshold, and what that makes of the held-out rows."""

# S held-out rows · P points of a curve · N of one kind

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lesion.algorithms.anomaly.normal_labels import TARGET
from lesion.algorithms.anomaly.predictor import ANOMALOUS
from lesion.algorithms.anomaly.results import Results
from lesion.data.unit import in_units
from lesion.evaluation.point_summary import summarise_points
from lesion.report.readings import point_from
from lesion.report.sections import ConfusionMatrix, Curve, Curves, Missing, OperatingPoint
from lesion.words import plural_of

CURVE_POINTS = 200


def curves_of(results: Results, ranked: Mapping[str, Any]) -> Curves:
    """The ROC curve, and both rates by threshold. `ranked` is the area under it as `judge` has it."""
    roc = results.decision.roc
    none = Missing(why="No anomalous image was held out: there is no curve.")
    curves: tuple[Curve, ...] | Missing = none
    if roc is not None:
        area = f"AUC {ranked['value']:.3f}" if ranked.get("value") is not None else ""
        x, y, at = roc.false_positive_rates, roc.true_positive_rates, roc.thresholds
        curves = (Curve(name=ANOMALOUS, x=x, y=y, at=at, note=area),)
    learning = Missing(why="Nothing is trained in epochs.")
    return Curves(
        roc=curves,
        pr=none if roc is None else Missing(why="Precision would be that of these images' share of anomalies."),
        calibration=Missing(why="A score is no probability: there is nothing to calibrate."),
        decision=Missing(why="A score is no probability: it can be weighed against no cost."),
        learning=learning,
        thresholds=_by_threshold(results),
    )


def _by_threshold(results: Results) -> tuple[Curve, ...]:
    """The shares of normal and of anomalous held-out images that reach each threshold; the served one is `at`."""
    score_S, is_anomalous_S = results.decision.score_S, results.rows.is_anomalous_S
    threshold_P = np.linspace(score_S.min(), score_S.max(), CURVE_POINTS)
    kinds = [("false-positive rate", score_S[~is_anomalous_S]), ("sensitivity", score_S[is_anomalous_S])]
    return tuple(
        Curve(name=name, x=tuple(threshold_P.tolist()), y=tuple((of_N >= t).mean() for t in threshold_P.tolist()))
        for name, of_N in kinds
        if len(of_N)
    )


def points_of(results: Results) -> tuple[OperatingPoint, ...] | Missing:
    """What the served threshold does to the held-out rows, each judged by the threshold that other groups chose, where
    others can."""
    rows, threshold, unit = results.rows, results.decision.threshold, results.judged.unit
    truth_S = rows.is_anomalous_S.astype(np.float64)
    num_own, others = int(results.decision.is_own_label_S.sum()), f"other {plural_of(unit)}"
    how = f"Each image is judged at the threshold that {others} chose; the one told is served."
    if num_own:
        how = f"{num_own:,} of {len(truth_S):,} images are judged at a threshold that they helped to choose: {others} "
        how += "alone could not."
    found = point_from(
        in_units(summarise_points(truth_S[:, None], [results.decision.label_S[:, None]], rows.group_S)[0][0], unit),
        name=threshold.spec,
        output=ANOMALOUS,
        threshold=min(threshold.score, 1.0),
        is_chosen=True,
        how=how,
    )
    return found if isinstance(found, Missing) else (found,)


def confusion_of(points: tuple[OperatingPoint, ...] | Missing) -> ConfusionMatrix | Missing:
    """The held-out rows by truth and answer."""
    if isinstance(points, Missing) or (counts := points[0].confusion) is None:
        return Missing(why="There are no rows to judge a threshold on.")
    return ConfusionMatrix(classes=TARGET.class_names, counts=((counts.tn, counts.fp), (counts.fn, counts.tp)))
