"""Report: the facts of an anomaly job's report, in the sections that all reports share."""

# S held-out rows · P points of a curve

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.anomaly.config import AnomalyConfig
from lesion.algorithms.anomaly.judge import Json
from lesion.algorithms.anomaly.predictor import ANOMALOUS, AnomalyPredictor
from lesion.algorithms.anomaly.report_cases import HOW_MAPS, mistakes
from lesion.algorithms.anomaly.results import Results
from lesion.algorithms.anomaly.task import TARGET, AnomalyTask
from lesion.artifact import package_versions
from lesion.check.run import Checked
from lesion.engine.run import Run
from lesion.evaluation.point_summary import summarise_points
from lesion.files import write_atomic
from lesion.report.data import check_found, data_card, leak_check
from lesion.report.documents import documents
from lesion.report.facts import Facts
from lesion.report.figure import try_to_draw
from lesion.report.readings import metrics_from, number_of, point_from
from lesion.report.reproduction import reproduction, settings_of
from lesion.report.sections import (
    Cost,
    Curve,
    Curves,
    Group,
    Headline,
    JudgedSet,
    Judging,
    Metric,
    Missing,
    OperatingPoint,
    Question,
)

NOT_HERE = Missing(why="Anomaly detection has none: nothing but normal images is learned.")
CURVE_POINTS = 200
PIXELS = {
    "pixel_roc_auc": "Pixel ROC AUC",
    "pixel_precision": "Precision of flagged pixels",
    "pixel_recall": "Recall of flagged pixels",
    "pixel_f_0.05": "F 0.05 of flagged pixels",
    "pixel_f_0.05_best": "F 0.05 of pixels above one threshold, the best for it on held-out pixels",
}


def write_job_report(
    run: Run,
    config: AnomalyConfig,
    checked: Checked[AnomalyTask],
    results: Results,
    predictor: AnomalyPredictor,
    *,
    summary: Json,
    masks: Mapping[int, NDArray[np.bool_]],
    started: float,
) -> None:
    """report.html, report.json and the two cards. Without them, and with a warning, where they cannot be made."""

    def made() -> dict[str, str]:
        minutes = (time.monotonic() - started) / 60
        told: dict[str, Any] = {"summary": summary, "masks": masks, "minutes": minutes}
        return documents(facts_of(run, config, checked, results, predictor, **told))

    for name, text in (try_to_draw("the report", made) or {}).items():
        write_atomic(run.job.output_dir / name, text.encode())


def facts_of(
    run: Run,
    config: AnomalyConfig,
    checked: Checked[AnomalyTask],
    results: Results,
    predictor: AnomalyPredictor,
    *,
    summary: Json,
    masks: Mapping[int, NDArray[np.bool_]],
    minutes: float,
) -> Facts:
    """The facts of a job whose held-out rows were scored, decided on and judged."""
    table, rows = checked.training.table(), results.rows
    labelled, found = checked.task.labelled, check_found(run.job.output_dir)
    unit = "image" if table.has_own_group_S.all() else "group"
    alarms = Metric(key="false_positive_rate", name="False-positive rate", number=number_of(results.false_positives))
    ranked = results.judged["overall"].get("roc_auc", {"value": None, "why": "no anomalous row was held out"})
    auc = Metric(key="roc_auc", name="ROC AUC", number=number_of(ranked))
    groups = f" of {summary['num_groups']:,} groups" if unit == "group" else ""
    return Facts(
        title="Anomalies: training report",
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        names_are_shown=config.report_names,
        question=Question(**TARGET.as_json(), answer="score"),
        headline=Headline(
            metric=alarms if auc.number.value is None else auc,
            judged_on=f"{len(rows.index_S):,} held-out images{groups}, from none of which the scorer learned.",
        ),
        judging=Judging(
            how=how_judged(results, unit),
            unit=unit,
            num_rows=len(rows.index_S),
            num_units=summary["num_groups"],
            interval=f"95 % intervals by {unit}; they do not hold how another choice of held-out {unit}s would differ.",
            warnings=tuple(f"{text[:1].upper()}{text[1:]}." for text in results.judged.get("cautions", ())),
        ),
        data=data_card(found, checked.training, labelled, rows.index_S, num_unused=int(checked.task.unused_S.sum())),
        leaks=leak_check(found, summary),
        metrics=(
            alarms,
            *metrics_from(results.judged["overall"]),
            *_pixel_metrics(results.pixel_false_positives, results.pixels),
        ),
        folds=Missing(why="Groups are held out once: there is one scorer, no cross-validation."),
        sets=_test_set(summary),
        curves=_curves(results, ranked),
        operating_points=_points(results),
        mistakes=mistakes(checked.training, results, predictor, masks, names_are_shown=config.report_names),
        explanation=Group(metrics=(), how=f"{HOW_MAPS} {len(masks):,} held-out images have a mask."),
        subgroups=NOT_HERE,
        uncertainty=NOT_HERE,
        familiarity=Missing(why="The anomaly score itself says how unfamiliar an image is."),
        quality=NOT_HERE,
        gains=NOT_HERE,
        cost=Cost(
            minutes=round(minutes, 2),
            device=f"{run.job.num_cores} CPU cores, fp32" if run.device.type == "cpu" else f"a GPU ({run.device})",
            note=f"Learned from {results.num_learned:,} normal images: {predictor.model.scorer.size_in_words}.",
        ),
        settings=settings_of(config),
        versions=package_versions(),
        reproduction=reproduction(config, table, config.seed),
    )


def how_judged(results: Results, unit: str) -> str:
    """Which rows were learned from, which set the threshold, and which judged it."""
    spec = results.decision.threshold.spec
    told = (
        f"The scorer learned from {results.num_learned:,} normal images; whole {unit}s were held out. For each tenth "
        f"of the held-out {unit}s the threshold ({spec}) is the one that the others chose, so the false-positive rate "
        "is that of new normal images."
    )
    if results.decision.roc is None:
        return f"{told} No anomalous image was held out: nothing says how many anomalies are found."
    return told


def _pixel_metrics(false_positives: Json, pixels: Json) -> tuple[Metric, ...]:
    rate = Metric(
        key="pixel_false_positive_rate",
        name="False-positive rate of pixels",
        number=number_of(false_positives),
        note=f"Of normal images' pixels so many are flagged: {_percentage(false_positives)}",
    )
    return (
        rate,
        *(Metric(key=key, name=name, number=number_of(pixels[key])) for key, name in PIXELS.items() if key in pixels),
    )


def _percentage(known: Json) -> str:
    """A rate far below a hundredth, with its interval, in digits that show it."""
    if known.get("value") is None:
        return "not known."
    ends = f" ({100 * known['low']:.2g} to {100 * known['high']:.2g} %)" if known.get("low") is not None else ""
    return f"{100 * known['value']:.2g} %{ends}."


def _test_set(summary: Json) -> tuple[JudgedSet, ...]:
    if (test := summary.get("test")) is None:
        return ()
    rate = number_of(test["false_positive_rate"])
    alarms = Metric(key="false_positive_rate", name="False-positive rate", number=rate)
    return (
        JudgedSet(
            name="Test set",
            judged="At the served threshold, by the scorer, which has learned from none of it:",
            num_rows=test["num_rows"],
            num_groups=test["num_groups"],
            classes=test["classes"],
            metrics=(
                alarms,
                *metrics_from(test["overall"])[:6],
                *_pixel_metrics(test["pixel_false_positive_rate"], test["pixels"]),
            ),
        ),
    )


def _curves(results: Results, ranked: Mapping[str, Any]) -> Curves:
    roc = results.decision.roc
    none = Missing(why="No anomalous image was held out: there is no curve.")
    later = Missing(why="A score is no probability: there is nothing to calibrate.")
    curves: tuple[Curve, ...] | Missing = none
    if roc is not None:
        area = f"AUC {ranked['value']:.3f}" if ranked.get("value") is not None else ""
        x, y, at = roc.false_positive_rates, roc.true_positive_rates, roc.thresholds
        curves = (Curve(name=ANOMALOUS, x=x, y=y, at=at, note=area),)
    learning = Missing(why="Nothing is trained in epochs.")
    return Curves(
        roc=curves,
        pr=none if roc is None else Missing(why="Precision is that of the share of anomalies in the held-out groups."),
        calibration=later,
        decision=later,
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


def _points(results: Results) -> tuple[OperatingPoint, ...] | Missing:
    """What the served threshold does to the held-out rows, each judged by the threshold that other groups chose."""
    rows, threshold = results.rows, results.decision.threshold
    truth_S = rows.is_anomalous_S.astype(np.float64)
    found = point_from(
        summarise_points(truth_S[:, None], [results.decision.label_S[:, None]], rows.group_S)[0][0],
        name=threshold.spec,
        output=ANOMALOUS,
        threshold=min(threshold.score, 1.0),
        is_chosen=True,
        how="Each image is judged at the threshold that other groups chose; the one told is served.",
    )
    return found if isinstance(found, Missing) else (found,)
