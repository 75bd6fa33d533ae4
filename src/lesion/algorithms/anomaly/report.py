"""Report: the facts of an anomaly job's report, in the sections that all reports share."""

# S held-out rows

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.anomaly.config import AnomalyConfig
from lesion.algorithms.anomaly.decide import NUM_PARTS
from lesion.algorithms.anomaly.judge import Json, Judged
from lesion.algorithms.anomaly.normal_labels import TARGET
from lesion.algorithms.anomaly.predictor import AnomalyPredictor
from lesion.algorithms.anomaly.report_cases import HOW_MAPS, mistakes
from lesion.algorithms.anomaly.report_curves import confusion_of, curves_of, points_of
from lesion.algorithms.anomaly.results import HELD_OUT, Results
from lesion.algorithms.anomaly.task import AnomalyTask
from lesion.artifact import package_versions
from lesion.check.run import Checked
from lesion.data.unit import IMAGE
from lesion.engine.run import Run
from lesion.files import write_atomic
from lesion.report.data import check_found, data_card, leak_check
from lesion.report.documents import documents
from lesion.report.facts import Facts
from lesion.report.figure import try_to_draw
from lesion.report.readings import metrics_from, number_of
from lesion.report.reproduction import reproduction, settings_of
from lesion.report.sections import (
    Cost,
    Group,
    Headline,
    JudgedSet,
    Judging,
    Metric,
    Missing,
    Question,
)
from lesion.words import plural_of

NOT_HERE = Missing(why="Anomaly detection has none: nothing but normal images is learned.")
NO_LABELS = Missing(why="Anomaly detection has none: no label is learned, only that an image is normal.")
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
    tested: Judged | None,
    masks: Mapping[int, NDArray[np.bool_]],
    started: float,
) -> None:
    """report.html, report.json and the two cards; `tested` is how a labelled test set was judged. A warning in their
    place where they cannot be made."""

    def made() -> dict[str, str]:
        minutes = (time.monotonic() - started) / 60
        told: dict[str, Any] = {"tested": tested, "masks": masks, "minutes": minutes}
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
    tested: Judged | None,
    masks: Mapping[int, NDArray[np.bool_]],
    minutes: float,
) -> Facts:
    """The facts of a job whose held-out rows were scored, decided on and judged."""
    table, rows, judged = checked.training.table(), results.rows, results.judged
    labelled, found = checked.task.labelled, check_found(run.job.output_dir)
    unit, alarms = judged.unit, _alarms(judged)
    ranked = judged.images["overall"].get("roc_auc", {"value": None, "why": "no anomalous row was held out"})
    auc = Metric(key="roc_auc", name="ROC AUC", number=number_of(ranked))
    points, scorer = points_of(results), predictor.model.scorer
    units = plural_of(unit)
    of_units = "" if unit == IMAGE else f" of {judged.num_groups:,} {units}"
    return Facts(
        title="Anomalies: training report",
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        names_are_shown=config.report_names,
        question=Question(**TARGET.as_json(), answer="score"),
        headline=Headline(
            metric=alarms if auc.number.value is None else auc,
            judged_on=f"{len(rows.index_S):,} held-out images{of_units}, from none of which the scorer learned.",
        ),
        judging=Judging(
            how=how_judged(results, unit),
            unit=unit,
            num_rows=len(rows.index_S),
            num_units=judged.num_groups,
            classes=judged.classes,
            interval=f"95 % intervals by {unit}; they do not hold how another choice of held-out {units} would differ.",
            warnings=tuple(f"{text[:1].upper()}{text[1:]}." for text in judged.images.get("cautions", ())),
        ),
        data=data_card(found, checked.training, labelled, rows.index_S, num_unused=int(checked.task.unused_S.sum())),
        leaks=leak_check(found, {}),
        metrics=(
            alarms,
            *metrics_from(judged.images["overall"]),
            *_pixel_metrics(judged),
        ),
        folds=Missing(why=f"{units.capitalize()} are held out once: there is one scorer, no cross-validation."),
        sets=() if tested is None else (_test_set(tested),),
        curves=curves_of(results, ranked),
        operating_points=points,
        confusion=confusion_of(points),
        mistakes=mistakes(checked.training, results, predictor, masks, names_are_shown=config.report_names),
        uncertain=Missing(why=f"Those nearest to the threshold are in {HELD_OUT}: sort it by anomaly_score."),
        label_errors=NO_LABELS,
        label_next=NO_LABELS,
        explanation=Group(metrics=(), how=f"{HOW_MAPS} {len(masks):,} held-out images have a mask."),
        subgroups=NOT_HERE,
        uncertainty=NOT_HERE,
        familiarity=Missing(why="The anomaly score itself says how unfamiliar an image is."),
        quality=NOT_HERE,
        gains=NOT_HERE,
        shortcuts=NO_LABELS,
        cost=Cost(
            minutes=round(minutes, 2),
            device=f"{run.job.num_cores} CPU cores, fp32" if run.device.type == "cpu" else f"a GPU ({run.device})",
            note=f"Learned from {results.num_learned:,} normal images: a {scorer.called} of {scorer.size_in_words}.",
        ),
        settings=settings_of(config),
        versions=package_versions(),
        reproduction=reproduction(config, table, config.seed, results.summary()["pretrained_weights"]),
    )


def how_judged(results: Results, unit: str) -> str:
    """Which rows were learned from, which set the threshold, and which judged it."""
    spec = results.decision.threshold.spec
    told = f"The scorer learned from {results.num_learned:,} normal images; whole {plural_of(unit)} were held out. "
    if results.decision.is_own_label_S.any():
        told += (
            f"They set the threshold ({spec}), and judge it themselves where no other {plural_of(unit)} could choose "
            "one: new normal images may be called anomalous more often than the false-positive rate says."
        )
    else:
        told += (
            f"They are dealt into {NUM_PARTS} parts at most, and each is judged at the threshold ({spec}) that the "
            "others chose, so the false-positive rate is that of new normal images."
        )
    if results.decision.roc is None:
        return f"{told} No anomalous image was held out: nothing says how many anomalies are found."
    return told


def _alarms(judged: Judged) -> Metric:
    rate = number_of(judged.false_positive_rate)
    note = "" if rate.value is None else judged.false_positive_rate.get("why", "")
    return Metric(key="false_positive_rate", name="False-positive rate", number=rate, note=note)


def _pixel_metrics(judged: Judged) -> tuple[Metric, ...]:
    rate, pixels = judged.pixel_false_positive_rate, judged.pixels
    return (
        Metric(
            key="pixel_false_positive_rate",
            name="False-positive rate of pixels",
            number=number_of(rate),
            note=f"Of normal images' pixels so many are flagged: {_percentage(rate)} {rate.get('why', '')}".strip(),
        ),
        *(Metric(key=key, name=name, number=number_of(pixels[key])) for key, name in PIXELS.items() if key in pixels),
    )


def _percentage(known: Json) -> str:
    """A rate far below a hundredth, with its interval, in digits that show it."""
    if known.get("value") is None:
        return "not known."
    ends = f" ({100 * known['low']:.2g} to {100 * known['high']:.2g} %)" if known.get("low") is not None else ""
    return f"{100 * known['value']:.2g} %{ends}."


def _test_set(tested: Judged) -> JudgedSet:
    return JudgedSet(
        name="Test set",
        judged="At the served threshold, by the scorer, which has learned from none of it:",
        num_rows=tested.num_rows,
        num_groups=tested.num_groups,
        classes=tested.classes,
        metrics=(
            _alarms(tested),
            *metrics_from(tested.images["overall"])[:6],
            *_pixel_metrics(tested),
        ),
    )
