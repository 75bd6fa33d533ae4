"""Export files: an artifact in a format that other programs read."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from lesion import artifact
from lesion.algorithms.classify.manifest import read
from lesion.algorithms.classify.prediction.answer import combine
from lesion.algorithms.classify.prediction.load import chosen_folds
from lesion.algorithms.classify.prediction.torch_executor import load_networks
from lesion.export import to_onnx
from lesion.files import ensure_writable

log = logging.getLogger(__name__)


def export_onnx(model_dir: Path, output: Path, *, fold: int | None) -> None:
    """Writes the artifact's networks, or one fold's, as one ONNX model.

    What it does not hold: the cutting and resizing of pictures, the encoding of metadata, the views but the first.
    """
    ensure_writable(output)
    manifest = artifact.load_manifest(model_dir)
    model = read(model_dir, manifest)
    folds = chosen_folds(model, fold, model_dir)
    networks = load_networks(model_dir, manifest, model, folds, torch.device("cpu"))
    numbers = [record.fold for record in folds]
    nums_metadata = {record.fold: record.num_metadata for record in folds}
    to_onnx(
        dict(zip(numbers, networks, strict=True)),
        nums_metadata,
        model.preprocessing.image_size,
        output,
        combine=lambda logits_NFVK: combine(model.question, logits_NFVK, model.calibration),
    )
    log.info("onnx=%s folds=%d", output, len(folds))
