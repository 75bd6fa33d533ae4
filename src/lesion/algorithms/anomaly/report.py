"""Report: the facts of an anomaly job's report, in the sections that all reports share."""

# S held-out rows

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.anomaly.config import AnomalyConfig
from lesion.algorithms.anomaly.judge import Json
from lesion.algorithms.anomaly.predictor import ANOMALOUS, NORMAL, AnomalyPredictor, Prepared, output_of
from lesion.algorithms.anomaly.results import HELD_OUT, Results
from lesion.algorithms.anomaly.task import TARGET, AnomalyTask
from lesion.artifact import package_versions
from lesion.check.run import Checked
from lesion.data.table import Rows
from lesion.data.thumbnail import thumbnail
from lesion.engine.run import Run
from lesion.evaluation.operating_points import RocCurve
from lesion.evaluation.point_summary import summarise_points
from lesion.files import write_atomic
from lesion.report.data import check_found, data_card, leak_check
from lesion.report.documents import documents
from lesion.report.facts import Facts
from lesion.report.figure import try_to_draw
from lesion.report.readings import metrics_from, number_of, point_from
from lesion.report.reproduction import reproduction, settings_of
from lesion.report.sections import (
    Case,
    Cases,
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

NUM_CASES = 6  # of the missed ones, and of the false alarms
THUMBNAIL_PX = 152
NOT_HERE = Missing(why="Anomaly detection has none: nothing but normal images is learned.")
HOW_MAPS = (
    "The distance of each place from normal. What stays below the threshold is as it was; above it "
    "the colour goes from dark red to bright yellow."
)
PIXELS = {
    "pixel_roc_auc": "Pixel ROC AUC",
    "pixel_precision": "Pixel precision at the threshold",
    "pixel_recall": "Pixel recall at the threshold",
    "pixel_f_0.05": "Pixel F 0.05 at the threshold",
    "pixel_f_0.05_best": "Pixel F 0.05 at the threshold that is best for it on held-out pixels",
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
        told: dict[str, Any] = {"summary": summary, "num_masks": len(masks), "minutes": minutes}
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
    num_masks: int,
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
        question=Question(**TARGET.as_json()),
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
        data=data_card(found, checked.training, labelled, rows.index_S),
        leaks=leak_check(found, summary),
        metrics=(alarms, *metrics_from(results.judged["overall"]), *_pixel_metrics(results.pixels)),
        folds=Missing(why="Groups are held out once: there is one scorer, no cross-validation."),
        sets=_test_set(summary),
        curves=_curves(results.decision.roc, ranked),
        operating_points=_points(results),
        mistakes=mistakes(checked.training, results, predictor, names_are_shown=config.report_names),
        explanation=Group(metrics=(), how=f"{HOW_MAPS} {num_masks:,} held-out images have a mask."),
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


def mistakes(
    training: Rows, results: Results, predictor: AnomalyPredictor, *, names_are_shown: bool
) -> Cases | Missing:
    """The anomalous images with the lowest scores below the threshold, and the normal ones with the highest above."""
    rows, score_S, label_S = results.rows, results.decision.score_S, results.decision.label_S
    cases: list[Case] = []
    kinds: tuple[tuple[Literal["missed", "false alarm"], NDArray[np.bool_], int], ...] = (
        ("missed", rows.is_anomalous_S & ~label_S, 1),
        ("false alarm", ~rows.is_anomalous_S & label_S, -1),
    )
    num = int(sum(is_wrong_S.sum() for _, is_wrong_S, _ in kinds))
    name_S = training.table().name_S
    for kind, is_wrong_S, order in kinds:
        wrong = np.flatnonzero(is_wrong_S)
        for number in _of_each_group(wrong[np.argsort(order * score_S[wrong], kind="stable")], rows.group_S):
            row = int(rows.index_S[number])
            picture = training.read(row)
            prepared = Prepared(picture, (picture.shape[0], picture.shape[1]))
            shown = predictor.map_of(output_of(rows.distance_Shw[number].ravel(), prepared))
            is_missed = kind == "missed"
            cases.append(
                Case(
                    kind=kind,
                    line=number + 2,
                    file=HELD_OUT,
                    name=str(name_S[row]) if names_are_shown else None,
                    truth=ANOMALOUS if is_missed else NORMAL,
                    answer=NORMAL if is_missed else ANOMALOUS,
                    prob_of=ANOMALOUS,
                    prob=float(score_S[number]),
                    picture=thumbnail(picture, side_px=THUMBNAIL_PX),
                    map=thumbnail(shown.over(picture), side_px=THUMBNAIL_PX),
                )
            )
    if not cases:
        return Missing(why="There are none.")
    how = f"Answered wrong, those first that lie farthest from the threshold. {num:,} in all, at most one of a group."
    return Cases(cases=tuple(cases), how=f"{how} {HOW_MAPS}", num=num)


def _of_each_group(numbers: NDArray[np.intp], group_S: NDArray[np.str_]) -> list[int]:
    """The first NUM_CASES, of each group one."""
    first_of = {str(group_S[number]): int(number) for number in numbers[::-1]}  # the first one is written last
    return sorted(first_of.values(), key=numbers.tolist().index)[:NUM_CASES]


def _pixel_metrics(pixels: Json) -> tuple[Metric, ...]:
    return tuple(
        Metric(key=key, name=name, number=number_of(pixels[key])) for key, name in PIXELS.items() if key in pixels
    )


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
            metrics=(alarms, *metrics_from(test["overall"])[:6], *_pixel_metrics(test["pixels"])),
        ),
    )


def _curves(roc: RocCurve | None, ranked: Mapping[str, Any]) -> Curves:
    none = Missing(why="No anomalous image was held out: there is no curve.")
    later = Missing(why="A score is no probability: there is nothing to calibrate.")
    curves: tuple[Curve, ...] | Missing = none
    if roc is not None:
        area = f"AUC {ranked['value']:.3f}" if ranked.get("value") is not None else ""
        x, y, at = roc.false_positive_rates, roc.true_positive_rates, roc.thresholds
        curves = (Curve(name=ANOMALOUS, x=x, y=y, at=at, note=area),)
    learning = Missing(why="Nothing is trained in epochs.")
    return Curves(roc=curves, pr=none if roc is None else later, calibration=later, decision=later, learning=learning)


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
