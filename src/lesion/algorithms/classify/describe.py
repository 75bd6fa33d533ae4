"""Describe: a model's own description, for programs and people: its target, inputs, folds and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lesion.algorithms.classify.manifest import ClassifierRecord, FoldRecord
from lesion.algorithms.classify.prediction.point import Point
from lesion.artifact import Manifest
from lesion.data.metadata import KnownWords


def describe(manifest: Manifest, model: ClassifierRecord, folds: Sequence[FoldRecord], point: Point) -> dict[str, Any]:
    """The description of a model from its manifest, without file names; `folds` are the loaded ones, `point` the
    operating point of answers that ask for no other.
    """
    return {
        "model": {"network": model.model},
        "question": _question(model, point),
        **_calibration(model),
        "inputs": {
            "picture": {"image_size": model.preprocessing.image_size, "fit": model.preprocessing.fit},
            "metadata": [_column(name, model) for name in model.metadata_columns],
        },
        "views": {"default": model.num_views, "most": model.most_views, "flips": model.flips},
        "metrics": manifest.metrics,
        "final_model": manifest.metrics.get("final_model", {"kind": model.final_model}),
        **_networks(model, folds),
        **_safeguards(model),
    }


def _networks(model: ClassifierRecord, folds: Sequence[FoldRecord]) -> dict[str, Any]:
    """The folds of an ensemble, and which are served; or the one network that is served instead of them."""
    if model.final_model != "ensemble":
        return {"folds": [], "serving": {"network": model.final_model}}
    known = [
        {"fold": record.fold, "best_epoch": record.best_epoch, "metrics": record.metrics} for record in model.folds
    ]
    return {"folds": known, "serving": {"folds": ", ".join(str(record.fold) for record in folds)}}


def _calibration(model: ClassifierRecord) -> dict[str, Any]:
    """How probabilities were calibrated; nothing where they are as the networks gave them."""
    calibration = model.calibration
    if calibration is None:
        return {}
    told: dict[str, Any] = {"method": calibration.calibrator.method}
    if calibration.deployment_prevalence is not None:
        told["deployment_prevalence"] = dict(zip(_names(model), calibration.deployment_prevalence, strict=True))
    return {"calibration": told}


def _names(model: ClassifierRecord) -> tuple[str, ...]:
    """What each output's probability is of."""
    return model.question.class_names[1:] if model.target.kind == "binary" else model.question.class_names


def _safeguards(model: ClassifierRecord) -> dict[str, Any]:
    """What is said of unusual pictures; nothing where the artifact has no statistics for it."""
    said: dict[str, Any] = {}
    if model.quality is not None:
        said["quality"] = {"on_low_quality": model.quality.on_low_quality, "bounds": model.quality.bounds}
    if model.familiarity is not None:
        of = "training_images" if model.final_model == "refit" else "held_out_images"  # a refit held none out
        said["familiarity"] = {"unfamiliar_below": model.familiarity.rare, of: model.familiarity.num_rows}
    return said


def _question(model: ClassifierRecord, point: Point) -> dict[str, Any]:
    target = model.question
    if target.has_binary_answer:
        thresholds = {target.answer_names[1]: point.thresholds_Q[0]}
    else:
        thresholds = dict(zip(target.class_names, point.thresholds_Q, strict=False))
    return {
        "kind": target.kind,
        "classes": list(target.class_names),
        "positive_class": target.positive_class,
        "answers": list(target.answer_names) if target.has_binary_answer else list(target.class_names),
        "operating_point": point.spec,
        "thresholds": thresholds,
    }


def _column(name: str, model: ClassifierRecord) -> dict[str, Any]:
    """One metadata column: its kind, and for words those that any fold knows; others count as missing."""
    encoders = [column for record in model.folds for column in record.metadata if column.name == name]
    kind = encoders[0].kind if encoders else None
    column: dict[str, Any] = {"name": name, "kind": kind}
    if kind == "category":
        column["categories"] = KnownWords(encoders).categories
    return column
