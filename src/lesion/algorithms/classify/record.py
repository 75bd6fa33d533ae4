"""Record: what training found out, as an artifact; read back and asked before anyone believes it."""

# S samples · K outputs

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lesion import artifact
from lesion.algorithms.classify.fold_result import FoldResult
from lesion.algorithms.classify.predict import ClassifyPredictor, load
from lesion.algorithms.classify.start import Shared
from lesion.artifact import FoldRecord, Manifest, TargetRecord
from lesion.data.table import SampleTable
from lesion.errors import PlatformError


def save_artifact(
    model_dir: Path, shared: Shared, table: SampleTable, results: Sequence[FoldResult], summary: dict[str, Any]
) -> ClassifyPredictor:
    """Writes the artifact and returns the predictor that was loaded from it.

    Each fold, as it was written, is asked for one row that it held out. Raises PlatformError if the answer is another.
    """
    artifact.save(
        model_dir, manifest_of(shared, table, results, summary), {result.fold: result.weights for result in results}
    )
    predictor = load(model_dir, shared.device)
    for result in results:
        check_fold(predictor.of_fold(result.fold), model_dir, shared, result)
    return predictor


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


def check_fold(predictor: ClassifyPredictor, model_dir: Path, shared: Shared, result: FoldResult) -> None:
    row = int(result.index_S[0])
    prob = predictor.predict([shared.source.read(row)], [shared.metadata_rows[row]])[0]
    # A batch of one takes other kernels than a batch of many; on a GPU they differ by more.
    if not np.allclose(prob, result.probs_SK[0], atol=1e-4 if shared.device.type == "cpu" else 1e-2):
        raise PlatformError(
            f"the artifact answers {prob} where fold {result.fold} said {result.probs_SK[0]} before it was written",
            where=model_dir,
            do="Check disk and memory of this machine, and run the job again.",
        )
