"""Record: what training found out, as an artifact; read back and asked before anyone believes it."""

# N batch · F folds · K outputs · S samples

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lesion import artifact
from lesion.algorithms.classify.answer import fold_probs
from lesion.algorithms.classify.ensemble import Ensemble
from lesion.algorithms.classify.fold_result import FoldResult
from lesion.algorithms.classify.load import load_torch
from lesion.algorithms.classify.start import Shared
from lesion.artifact import FoldRecord, Manifest, TargetRecord
from lesion.data.table import SampleTable
from lesion.errors import PlatformError
from lesion.files import PART, remove, writing

OWN_FILE = re.compile(rf"(fold_[0-9]+\.safetensors|graph\.xml|graph\.bin|manifest\.json)({re.escape(PART)})?")


def save_artifact(
    model_dir: Path, shared: Shared, table: SampleTable, results: Sequence[FoldResult], summary: dict[str, Any]
) -> Ensemble:
    """Writes the artifact and returns the predictor that was loaded from it.

    Killed at any instant it leaves a whole artifact or none: what lay there goes first, its manifest before all else,
    and the manifest comes last. Each fold, as it was written, is asked for one row that it held out. Raises
    PlatformError if the answer is another, or the disk refuses.
    """
    clear_artifact(model_dir)
    artifact.save(
        model_dir, manifest_of(shared, table, results, summary), {result.fold: result.weights for result in results}
    )
    manifest = artifact.load_manifest(model_dir)  # as it was written
    predictor = load_torch(model_dir, manifest, manifest.folds, [shared.device])
    rows = [int(result.index_S[0]) for result in results]
    outputs = predictor.compute([shared.source.read(row) for row in rows], [shared.metadata_rows[row] for row in rows])
    probs_NFK = [fold_probs(predictor.target, output.logits_FVK) for output in outputs]
    for f, result in enumerate(results):
        # Other batches take other kernels; on a GPU they differ by more.
        if not np.allclose(probs_NFK[f][f], result.probs_SK[0], atol=1e-4 if shared.device.type == "cpu" else 1e-2):
            raise PlatformError(
                f"the artifact answers {probs_NFK[f][f]} where fold {result.fold} said {result.probs_SK[0]} before it "
                "was written",
                where=model_dir,
                do="Check disk and memory of this machine, and run the job again.",
            )
    return predictor


def clear_artifact(model_dir: Path) -> None:
    """Takes away what an earlier job, or a kill, left in `model_dir`. Whatever else lies there stays."""
    remove(model_dir / artifact.MANIFEST)
    with writing(model_dir):
        names = sorted(entry.name for entry in model_dir.iterdir())
    for name in names:
        if OWN_FILE.fullmatch(name):
            remove(model_dir / name)


def manifest_of(shared: Shared, table: SampleTable, results: Sequence[FoldResult], summary: dict[str, Any]) -> Manifest:
    """The manifest: everything that prediction needs beside the weights, and where they came from."""
    config = shared.config
    return Manifest(
        algorithm="classify",
        model=config.model,
        model_args=config.model_args,
        target=TargetRecord(
            kind=shared.target.kind,
            class_names=shared.target.class_names,
            of_interest=shared.target.of_interest,
            thresholds=tuple(summary["overall"]["thresholds"]),
        ),
        preprocessing=shared.preprocess,
        num_views=config.tta,
        metadata_columns=list(table.metadata.columns),
        image_column=table.image_column,
        target_columns=list(config.target_column),
        metrics=summary,
        data_fingerprint=table.fingerprint(),
        config=config.as_json(),
        packages=artifact.package_versions(),
        folds=[
            FoldRecord(
                fold=result.fold,
                file=f"fold_{result.fold}.safetensors",
                sha256="",  # filled in when the file is written
                metadata=result.encoder.columns,
                best_epoch=result.best_epoch,
                metrics=result.metrics,
            )
            for result in results
        ],
    )
