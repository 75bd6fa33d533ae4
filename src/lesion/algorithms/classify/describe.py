"""Describe: a model's own description, for programs and people: its target, inputs, folds and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lesion.algorithms.classify.manifest import ClassifierRecord, FoldRecord
from lesion.artifact import Manifest
from lesion.data.metadata import KnownWords


def describe(manifest: Manifest, model: ClassifierRecord, folds: Sequence[FoldRecord]) -> dict[str, Any]:
    """The description of a model from its manifest, without file names; `folds` are the loaded ones."""
    return {
        "model": {"network": model.model},
        "question": _question(model),
        "inputs": {
            "picture": {"image_size": model.preprocessing.image_size, "fit": model.preprocessing.fit},
            "metadata": [_column(name, model) for name in model.metadata_columns],
        },
        "views": {"default": model.num_views, "most": model.most_views, "flips": model.flips},
        "metrics": manifest.metrics,
        "folds": [
            {"fold": record.fold, "best_epoch": record.best_epoch, "metrics": record.metrics} for record in model.folds
        ],
        "serving": {"folds": ", ".join(str(record.fold) for record in folds)},
        **_safeguards(model),
    }


def _safeguards(model: ClassifierRecord) -> dict[str, Any]:
    """What is said of unusual pictures; nothing where the artifact has no statistics for it."""
    said: dict[str, Any] = {}
    if model.quality is not None:
        said["quality"] = {"on_low_quality": model.quality.on_low_quality, "bounds": model.quality.bounds}
    if model.familiarity is not None:
        said["familiarity"] = {
            "unfamiliar_below": model.familiarity.rare,
            "held_out_images": model.familiarity.num_rows,
        }
    return said


def _question(model: ClassifierRecord) -> dict[str, Any]:
    target = model.question
    if target.has_binary_answer:
        thresholds = {target.answer_names[1]: model.target.thresholds[0]}
    else:
        thresholds = dict(zip(target.class_names, model.target.thresholds, strict=False))
    return {
        "kind": target.kind,
        "classes": list(target.class_names),
        "positive_class": target.positive_class,
        "answers": list(target.answer_names) if target.has_binary_answer else list(target.class_names),
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
