"""Beside training: the metrics of an evaluated set beside those that the artifact holds of its training, and how they
differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lesion.evaluation.independent import difference_of_independent
from lesion.evaluation.metrics import METRICS
from lesion.report.sections import ComparedMetric, Comparison, Number
from lesion.report.words import METRIC_NAMES, shown
from lesion.targets import Target

BY_LABEL = ("accuracy", "balanced_accuracy")  # which depend on the threshold
UNDEFINED = "not defined: a class has no rows"
UNKNOWN = "the artifact does not hold it"
BY_FOLDS = "Each image by the network of the fold that held it out."  # of an artifact that does not say
HOW = (
    "Training: {training} Here: as served. The difference is here minus training, with a 95 % interval from both (Zou "
    "& Donner 2008), as of sets that share no patient. Whether a patient or a copy of an image was in training cannot "
    "be known from the artifact, which has no names: if some were, these numbers are too high."
)
AT_ROWS = (
    " Log loss and Brier score are both at the prevalence of the training rows: here the probabilities before their "
    "shift to deployment_prevalence={prevalence:g}. Accuracy and balanced accuracy are of the answers as served."
)


def beside_training(
    here: Mapping[str, Any], trained: Mapping[str, Any], *, unit_is_known: bool, prevalence: float | None = None
) -> Comparison:
    """`here` and `trained` are the `overall` of metrics.json and the whole of it, as the artifact holds them. Where
    the deployment's `prevalence` is known, both hold probabilities at that of the training rows."""
    before: Mapping[str, Any] = trained.get("overall") or {}
    is_other_point = here["operating_point"] != before.get("operating_point", here["operating_point"])
    rows = []
    for key in METRICS:
        training = _number(before, key, UNKNOWN)
        number = _number(here, key, UNDEFINED)
        if is_other_point and key in BY_LABEL:
            training = Number(why=f"judged at {before['operating_point']} in training")
        rows.append(
            ComparedMetric(
                key=key,
                name=METRIC_NAMES[key],
                training=training,
                here=number,
                difference=_difference(number, training),
            )
        )
    how = HOW.format(training=trained.get("final_model", {}).get("judged", BY_FOLDS))
    how = how if prevalence is None else how + AT_ROWS.format(prevalence=prevalence)
    how = how if unit_is_known else f"{how} No column names the patients here: the interval is by image."
    return Comparison(metrics=tuple(rows), how=how)


def as_text(comparison: Comparison, target: Target) -> str:
    """The table for a terminal."""
    asked = target.positive_class or f"{len(target.class_names)} classes"
    rows = [(f"{asked}", "training (out of fold)", "here", "difference")]
    rows += [
        (one.name, shown(one.training), shown(one.here), shown(one.difference, sign=True)) for one in comparison.metrics
    ]
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    ]
    return "\n".join([*lines, "", comparison.how])


def _number(summary: Mapping[str, Any], key: str, why: str) -> Number:
    value, ends = summary.get("metrics", {}).get(key), summary.get("interval_95", {}).get(key)
    why = summary.get("notes", {}).get(key, why)
    return Number.of(value, None if ends is None else (float(ends[0]), float(ends[1])), why=why)


def _difference(here: Number, training: Number) -> Number:
    if here.value is None or training.value is None:
        return Number(why="not defined here" if here.value is None else "not known of training")
    value, interval = difference_of_independent(here.value, training.value, here.interval, training.interval)
    return Number.of(value, interval)
