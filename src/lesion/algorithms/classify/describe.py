"""Describe: what a model says of itself, for programs and people: its question, inputs, folds and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lesion.artifact import FoldRecord, Manifest
from lesion.data.transforms import MAX_VIEWS


def describe(manifest: Manifest, folds: Sequence[FoldRecord]) -> dict[str, Any]:
    """The manifest in the words of those who ask, none of its file names; `folds` are those that are asked."""
    return {
        "model": {"network": manifest.model},
        "question": _question(manifest),
        "inputs": {
            "picture": {"image_size": manifest.preprocessing.image_size},
            "metadata": [_column(name, manifest) for name in manifest.metadata_columns],
        },
        "views": {"default": manifest.num_views, "most": MAX_VIEWS},
        "metrics": manifest.metrics,
        "folds": [
            {"fold": record.fold, "best_epoch": record.best_epoch, "metrics": record.metrics}
            for record in manifest.folds
        ],
        "serving": {"folds": ", ".join(str(record.fold) for record in folds)},
    }


def _question(manifest: Manifest) -> dict[str, Any]:
    target = manifest.question
    if target.is_yes_no:
        thresholds = {target.answer_names[1]: manifest.target.thresholds[0]}
    else:
        thresholds = dict(zip(target.class_names, manifest.target.thresholds, strict=False))
    return {
        "kind": target.kind,
        "classes": list(target.class_names),
        "of_interest": target.of_interest,
        "answers": list(target.answer_names) if target.is_yes_no else list(target.class_names),
        "thresholds": thresholds,
    }


def _column(name: str, manifest: Manifest) -> dict[str, Any]:
    """One metadata column: its kind, and for words those that any fold knows; others count as missing."""
    encoders = [column for record in manifest.folds for column in record.metadata if column.name == name]
    kind = encoders[0].kind if encoders else None
    column: dict[str, Any] = {"name": name, "kind": kind}
    if kind == "category":
        column["categories"] = sorted({word for encoder in encoders for word in encoder.categories})
    return column
