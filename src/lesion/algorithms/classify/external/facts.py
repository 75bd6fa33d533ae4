"""External facts: what an evaluation of a finished model found, as the facts of its report."""

# Q outputs that are judged · S samples

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from lesion.algorithms.classify.prediction.predictor import Ensemble
from lesion.algorithms.classify.report.cases import CaseMaker, Judged, label_errors, mistakes, uncertain
from lesion.algorithms.classify.report.curves import curves_of_rows
from lesion.algorithms.classify.report.facts import confusion, num_units
from lesion.algorithms.classify.results.decide import USUAL_POINTS
from lesion.algorithms.classify.results.evaluation import Answers, points_of
from lesion.artifact import package_versions
from lesion.data.table import Source
from lesion.errors import UserError
from lesion.report.data import UNCERTAIN
from lesion.report.facts import Facts
from lesion.report.readings import (
    calibration_curves,
    calibration_of,
    classes_from,
    decision_curves,
    metrics_from,
    point_from,
    subgroups_from,
    uncertainty_from,
)
from lesion.report.sections import (
    Comparison,
    Cost,
    Curves,
    DataCard,
    FlowStep,
    Gain,
    Group,
    Headline,
    Judging,
    Metric,
    Missing,
    Number,
    OperatingPoint,
    Question,
    Reproduction,
    SetCounts,
    Setting,
)
from lesion.report.words import EVALUATED, plural, sentence
from lesion.words import plural_of

NO_NAMES = (
    "The artifact holds no names of patients or images, so a patient or a copy of an image that was in training cannot "
    "be found here. Compare the two tables yourself."
)
OF_TRAINING = "This is told in the training report."
HOW_POINT = "The threshold is the model's, chosen on its training rows; every image here is judged at it."
HOW_SETS = "The model's conformal sets, fitted in training and verified on these {units}."
AT_TRAINING = "at the prevalence of the training rows"
BY_PROBABILITY = ("log_loss", "brier", "ece")  # and those of calibration_…
FEW_ROWS = 100  # from which on a prevalence that differs is said
OTHER_SHARE = 2.0  # times as frequent as in training, or as rare


@dataclass(frozen=True)
class External:
    """All that an evaluation found. `frame` is predictions.csv, a row for each row of the set."""

    predictor: Ensemble
    source: Source
    answers: Answers
    evaluation: Mapping[str, Any]
    comparison: Comparison
    frame: pd.DataFrame
    gains: tuple[Gain, ...] | Missing
    settings: Mapping[str, str]
    names_are_shown: bool
    minutes: float


def facts_of_set(found: External) -> Facts:
    """The facts of an evaluation, in the form that a training report has."""
    answers, predictor = found.answers, found.predictor
    labelled, target, judged_S = answers.labelled, answers.target, answers.known_S
    judged_of, verified = found.evaluation["judged"], found.evaluation["uncertainty"]
    unit = answers.unit
    targets_SQ, served_SQ = answers.columns(labelled.targets_SK), answers.columns(answers.served_SK)
    thresholds_Q, labels_SQ = predictor.points.default.thresholds_Q, answers.is_positive_SQ
    judged = Judged(judged_S, targets_SQ, served_SQ, thresholds_Q, None if labels_SQ is None else labels_SQ[judged_S])
    at = "" if answers.prevalence is None else AT_TRAINING
    make = CaseMaker(
        read=found.source.read,
        target=target,
        lines_S=np.arange(len(labelled.table)) + 2,
        name_S=labelled.table.name_S if found.names_are_shown else None,
        group_S=labelled.table.group_or_row_S,
        unit=unit,
        file="predictions.csv",
    )
    return Facts(
        title=f"{target.positive_class or f'{len(target.class_names):,} classes'}: external evaluation",
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        names_are_shown=found.names_are_shown,
        question=Question(**target.as_json()),
        headline=_headline(found, unit),
        judging=Judging(
            how="A finished model answered a set of images with labels, calibrated, as it is served. Nothing was "
            "learnt or chosen on these rows." + ("" if answers.prevalence is None else _at_prevalence(answers)),
            unit=unit,
            num_rows=len(judged_S),
            num_units=num_units(labelled, judged_S),
            classes=labelled.counts(judged_S)["classes"],
            interval=f"95 % intervals by {unit}.",
            warnings=tuple(f"{text[:1].upper()}{text[1:]}." for text in [*judged_of["cautions"], *_cautions(found)]),
        ),
        data=_data(found),
        leaks=Missing(why=NO_NAMES),
        metrics=_metrics(judged_of, at),
        classes=() if target.has_binary_answer else classes_from(judged_of),
        comparison=found.comparison,
        curves=_curves(found),
        operating_points=_points(found),
        confusion=confusion(target, judged),
        mistakes=mistakes(make, judged),
        uncertain=uncertain(make, judged),
        label_errors=label_errors(make, judged),
        label_next=Missing(why="All images here have a label."),
        subgroups=Missing(why=found.evaluation["subgroups"]["why"])
        if "why" in found.evaluation["subgroups"]
        else subgroups_from(found.evaluation["subgroups"], unit=unit, at_rows=at),
        uncertainty=Missing(why=verified["why"])
        if "why" in verified
        else uncertainty_from(verified, unit=unit, how=HOW_SETS.format(units=plural_of(unit))),
        familiarity=_familiarity(found),
        quality=_quality(found),
        explanation=Missing(why="`lesion explain` draws the maps of a set."),
        folds=Missing(why=OF_TRAINING),
        gains=found.gains,
        shortcuts=Missing(why=OF_TRAINING),
        cost=Cost(minutes=round(found.minutes, 2), device=predictor.backend, note="To answer and judge the set."),
        settings=_settings(found),
        versions=package_versions(),
        reproduction=Reproduction(
            commands=("lesion evaluate INPUT --model DIR --output DIR",),
            seed=0,
            data_fingerprint=labelled.table.fingerprint(),
            artifact=predictor.manifest.version,
            note="The seed is that of the intervals.",
        ),
    )


def _at_prevalence(answers: Answers) -> str:
    """At which prevalence each number of the page holds, where the deployment's is another than the training rows'."""
    return (
        f" deployment_prevalence={answers.prevalence:g}: probabilities of images, thresholds and what they mean, and "
        f"the decision curve are those of a place where {answers.prevalence:.1%} are {answers.names_Q[0]}, as the "
        f"endpoint answers. Calibration, Brier score and log loss are judged {AT_TRAINING}, as in training."
    )


def _metrics(judged: Mapping[str, Any], at: str) -> tuple[Metric, ...]:
    """All measures of the set; those of the probabilities themselves with the prevalence `at` which they hold."""
    return tuple(
        metric.model_copy(update={"note": "; ".join(part for part in (metric.note, at) if part)})
        if at and (metric.key in BY_PROBABILITY or metric.key.startswith("calibration_"))
        else metric
        for metric in metrics_from(judged["overall"]) + calibration_of(judged)
    )


def _headline(found: External, unit: str) -> Headline | Missing:
    metrics = metrics_from(found.evaluation["judged"]["overall"])
    first = next((metric for metric in metrics if metric.key == "roc_auc"), None)
    if first is None or first.number.value is None:
        why = "not defined" if first is None else first.number.why
        return Missing(why=sentence(why))
    labelled, judged_S = found.answers.labelled, found.answers.known_S
    of = "" if unit == "image" else f" of {plural(num_units(labelled, judged_S), unit)}"
    return Headline(metric=first, judged_on=f"{len(judged_S):,} images{of} of another set than that of training.")


def _data(found: External) -> DataCard:
    labelled, judged_S = found.answers.labelled, found.answers.known_S
    kept, judged, uncertain = len(labelled.table), len(judged_S), labelled.table.num_uncertain
    flow = [FlowStep(what="rows of the table or folders", change=kept + uncertain, left=kept + uncertain)]
    if uncertain:
        flow.append(FlowStep(what=UNCERTAIN, change=-uncertain, left=kept))
    if judged < kept:
        flow.append(FlowStep(what="not answered: predictions.csv says why", change=judged - kept, left=judged))
    flow.append(FlowStep(what="answered, and judged here", change=judged, left=judged))
    counts = SetCounts(name=EVALUATED, **labelled.counts(judged_S))
    return DataCard(sets=(counts,), flow=tuple(flow), fingerprint=labelled.table.fingerprint())


def _cautions(found: External) -> list[str]:
    """What differs from training's rows so much that probabilities may be wrong here."""
    answers, target = found.answers, found.answers.target
    trained = (found.predictor.manifest.metrics.get("overall") or {}).get("classes") or {}
    counts = target.counts(answers.labelled.targets_SK[answers.known_S])
    total, total_trained = sum(counts.values()), sum(trained.values())
    if total < FEW_ROWS or not total_trained or target.kind == "multilabel":
        return []
    said = []
    for name, count in counts.items():
        share, before = count / total, trained.get(name, 0) / total_trained
        if before and not 1 / OTHER_SHARE <= share / before <= OTHER_SHARE:
            said.append(
                f"{name} is {share:.1%} of the images here, and was {before:.1%} in training: the probabilities are "
                "made for training's share"
            )
    return said[:3]


def _curves(found: External) -> Curves:
    answers, judged = found.answers, found.evaluation["judged"]
    targets_SQ, served_SQ = answers.columns(answers.labelled.targets_SK), answers.columns(answers.served_SK)
    curves = curves_of_rows(answers.names_Q, targets_SQ, served_SQ, [], "")
    return curves.model_copy(
        update={
            "calibration": calibration_curves(judged, note="" if answers.prevalence is None else AT_TRAINING),
            "decision": decision_curves(judged),
            "learning": Missing(why=OF_TRAINING),
        }
    )


def _points(found: External) -> tuple[OperatingPoint, ...] | Missing:
    """What the model's operating point does here; of a binary answer also the usual others, as the model has them."""
    answers, points = found.answers, found.predictor.points
    default = points.default
    if default.spec is None:
        return Missing(why="The most probable class is answered: there is no threshold.")
    specs = [default.spec, *(USUAL_POINTS if answers.target.has_binary_answer else ())]
    known_points = {}
    for spec in dict.fromkeys(specs):
        with suppress(UserError):  # an older artifact has no ROC curve to find it on
            known_points[spec] = default if spec == default.spec else points.of(spec)
    served_SQ = answers.target.judged_columns(answers.served_SK)
    judged = points_of(answers, [served_SQ >= np.array(point.thresholds_Q) for point in known_points.values()])
    made: list[OperatingPoint | Missing] = []
    for (spec, point), summaries in zip(known_points.items(), judged, strict=True):
        for name, threshold, summary in zip(answers.names_Q, point.thresholds_Q, summaries, strict=True):
            at, is_chosen = float(np.clip(threshold, 0, 1)), spec == default.spec
            made.append(point_from(summary, name=spec, output=name, threshold=at, is_chosen=is_chosen, how=HOW_POINT))
    known = tuple(point for point in made if isinstance(point, OperatingPoint))
    return known or next(point for point in made if isinstance(point, Missing))


def _familiarity(found: External) -> Group | Missing:
    record = found.predictor.model.familiarity
    if record is None or "familiarity" not in found.frame:
        return Missing(why="The model's artifact has no statistics of familiarity.")
    known = [float(value) for value in found.frame["familiarity"] if value != ""]
    share = float(np.mean(np.array(known) < record.rare))
    note = f"{record.rare:.1%} of the images that training held out"
    metric = Metric(key="unfamiliar", name="Share of unfamiliar images", number=Number.of(share), note=note)
    how = "An image is unfamiliar where the networks see it as less like the training images than nearly all of these."
    return Group(metrics=(metric,), how=how)


def _quality(found: External) -> Group | Missing:
    if found.predictor.model.quality is None or "warnings" not in found.frame:
        return Missing(why="The model's artifact has no quality gate.")
    warned = [text != "" for text in found.frame.loc[found.frame["error"] == "", "warnings"]]
    metric = Metric(key="warned", name="Share of images with a warning", number=Number.of(float(np.mean(warned))))
    return Group(metrics=(metric,), how="The warnings of each image are in predictions.csv.")


def _settings(found: External) -> tuple[Setting, ...]:
    model = {
        "operating_point": found.predictor.points.default.spec,
        "views": found.predictor.model.num_views,
        "folds": len(found.predictor.folds),
        **found.settings,
    }
    return tuple(Setting(name=name, value=value, is_default=False) for name, value in model.items())
