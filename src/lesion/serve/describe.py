"""Describe: what a model takes and answers, for programs and people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
    manifest: Manifest, *, version: str, serving: Mapping[str, str], content_types: Sequence[str], max_views: int
) -> dict[str, Any]:
    """What /model answers: the manifest in the words of those who ask, none of its file names."""
    target = manifest.question
    if target.is_yes_no:
        thresholds = {target.answer_names[1]: manifest.target.thresholds[0]}
    else:
        thresholds = dict(zip(target.class_names, manifest.target.thresholds, strict=False))
    return {
        "model": {
            "version": version,
            "network": manifest.model,
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
                "image_size": manifest.preprocessing.image_size,
                "formats": list(formats.READ),
                **PIXELS,
            },
            "metadata": [_column(name, manifest) for name in manifest.metadata_columns],
        },
        "views": {"default": manifest.num_views, "most": max_views},
        "metrics": manifest.metrics,
        "folds": [
            {"fold": record.fold, "best_epoch": record.best_epoch, "metrics": record.metrics}
            for record in manifest.folds
        ],
        "serving": dict(serving),
        "packages": manifest.packages,
    }


def _column(name: str, manifest: Manifest) -> dict[str, Any]:
    """One metadata column: its kind, short names for it, and for words those that any fold knows; others count as
    missing."""
    encoders: list[ColumnEncoder] = [
        column for record in manifest.folds for column in record.metadata if column.name == name
    ]
    kind = encoders[0].kind if encoders else None
    column: dict[str, Any] = {"name": name, "kind": kind}
    if short := names_for(name, manifest.metadata_columns):
        column["also_called"] = short
    if kind == "category":
        column["categories"] = sorted({word for encoder in encoders for word in encoder.categories})
    return column
