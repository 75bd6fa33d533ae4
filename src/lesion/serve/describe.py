"""Describe: what a model takes and answers, for programs and people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lesion.algorithms.classify.manifest import ClassifierRecord
from lesion.artifact import Manifest
from lesion.data import formats
from lesion.data.metadata import ColumnEncoder
from lesion.serve.fields import names_for

# What reaches the networks, whatever format it came in; an array has to hold it so.
PIXELS = {
    "channels": "RGB",  # also of an array: OpenCV's own order is BGR
    "dtype": "uint8",
    "range": [0, 255],
    "of_16_bits": "the upper byte",
    "of_several_frames": "the first",
}


def describe(
    manifest: Manifest,
    model: ClassifierRecord,
    *,
    version: str,
    serving: Mapping[str, str],
    content_types: Sequence[str],
    max_views: int,
) -> dict[str, Any]:
    """What /model answers: the manifest in the words of those who ask, none of its file names."""
    target = model.question
    if target.is_yes_no:
        thresholds = {target.answer_names[1]: model.target.thresholds[0]}
    else:
        thresholds = dict(zip(target.class_names, model.target.thresholds, strict=False))
    return {
        "model": {
            "version": version,
            "network": model.model,
            "algorithm": manifest.algorithm,
            "format_version": manifest.format_version,
            "lesion_version": manifest.packages.get("lesion"),
        },
        "question": {
            "kind": target.kind,
            "classes": list(target.class_names),
            "of_interest": target.of_interest,
            "answers": list(target.answer_names) if target.is_yes_no else list(target.class_names),
            "thresholds": thresholds,
        },
        "inputs": {
            "picture": {
                "content_types": list(content_types),
                "image_size": model.preprocessing.image_size,
                "formats": list(formats.READ),
                **PIXELS,
            },
            "metadata": [_column(name, model) for name in model.metadata_columns],
        },
        "views": {"default": model.num_views, "most": max_views},
        "metrics": manifest.metrics,
        "folds": [
            {"fold": record.fold, "best_epoch": record.best_epoch, "metrics": record.metrics} for record in model.folds
        ],
        "serving": dict(serving),
        "packages": manifest.packages,
    }


def _column(name: str, model: ClassifierRecord) -> dict[str, Any]:
    """One metadata column: its kind, short names for it, and for words those that any fold knows; others count as
    missing."""
    encoders: list[ColumnEncoder] = [
        column for record in model.folds for column in record.metadata if column.name == name
    ]
    kind = encoders[0].kind if encoders else None
    column: dict[str, Any] = {"name": name, "kind": kind}
    if short := names_for(name, model.metadata_columns):
        column["also_called"] = short
    if kind == "category":
        column["categories"] = sorted({word for encoder in encoders for word in encoder.categories})
    return column
