"""Export files: an artifact in a format that other programs read."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from lesion import artifact
from lesion.algorithms.classify.answer import combine
from lesion.algorithms.classify.load import chosen_folds
from lesion.algorithms.classify.networks import load_networks
from lesion.data.metadata import MetadataEncoder
from lesion.export import to_onnx
from lesion.files import ensure_writable

log = logging.getLogger(__name__)


def export_onnx(model_dir: Path, output: Path, *, fold: int | None) -> None:
    """Writes the artifact's networks, or one fold's, as one ONNX model.

    What it does not hold: the cutting and resizing of pictures, the encoding of metadata, the views but the first.
    """
    ensure_writable(output)
    manifest = artifact.load_manifest(model_dir)
    folds = chosen_folds(manifest, fold, model_dir)
    networks = load_networks(model_dir, manifest, folds, torch.device("cpu"))
    numbers = [record.fold for record in folds]
    nums_metadata = {record.fold: MetadataEncoder(record.metadata).num_features for record in folds}
    to_onnx(
        dict(zip(numbers, networks, strict=True)),
        nums_metadata,
        manifest.preprocessing.image_size,
        output,
        combine=lambda logits_NFVK: combine(manifest.question, logits_NFVK),
    )
    log.info("onnx=%s folds=%d", output, len(folds))
