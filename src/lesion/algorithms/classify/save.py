"""Save: writes the artifact, and verifies it: loads each network again and compares its prediction. The graph is in
save_graph."""

# N batch · F folds · V views · K outputs · D features of a picture · S samples

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lesion import artifact
from lesion.algorithms.base import Options
from lesion.algorithms.classify.manifest import ALGORITHM, ClassifierRecord, FoldRecord, TargetRecord, read
from lesion.algorithms.classify.prediction.answer import fold_probs
from lesion.algorithms.classify.prediction.load import load_torch
from lesion.algorithms.classify.prediction.predictor import Ensemble
from lesion.algorithms.classify.prediction.safeguards import FAMILIARITY
from lesion.algorithms.classify.reference import REFERENCE
from lesion.algorithms.classify.results.decide import Decisions
from lesion.algorithms.classify.training.fold_result import FoldResult
from lesion.algorithms.classify.training.networks import Networks
from lesion.algorithms.classify.training.setup import Setup
from lesion.artifact import Manifest
from lesion.data.table import SampleTable
from lesion.evaluation.calibration import Calibration
from lesion.evaluation.conformal import PredictionSets
from lesion.evaluation.pooling import disagreement

log = logging.getLogger(__name__)

GRAPH, GRAPH_WEIGHTS = "graph.xml", "graph.bin"
OWN_FILE = re.compile(
    r"(fold_[0-9]+|refit|soup)\.safetensors|" + "|".join(map(re.escape, (FAMILIARITY, REFERENCE, GRAPH, GRAPH_WEIGHTS)))
)
LEAST_COMPARED, MOST_COMPARED = 16, 64  # training rows that show how the networks differ, an eighth of all


def save_artifact(
    model_dir: Path, setup: Setup, networks: Networks, decisions: Decisions, summary: dict[str, Any]
) -> Ensemble:
    """Writes the artifact and returns the predictor that was loaded from it.

    If the process is killed, the folder holds a whole artifact or none: the old manifest is removed first, and the new
    one is written last. Each network's file is loaded and predicts one of its validation rows, a refit's one of its
    training rows. Raises PlatformError if that differs from the trained network's prediction, or if the disk refuses.
    """
    table, results = setup.source.table(), networks.served
    artifact.clear(model_dir, OWN_FILE)
    written = Manifest(
        algorithm=ALGORITHM,
        files={},  # filled in as they are written
        packages=artifact.package_versions(),
        data_fingerprint=table.fingerprint(),
        config=setup.config.as_json(),
        metrics=summary,
        payload=record_of(setup, table, networks, decisions).model_dump(),
    )
    artifact.save(model_dir, written, {file_of(result, networks): result.weights for result in results})
    manifest = artifact.load_manifest(model_dir)  # as it was written
    model = read(model_dir, manifest)
    size = setup.config.batch_size_predict  # no pass after training is larger than those before
    predictor = load_torch(
        model_dir, manifest, model, model.folds, [setup.run.device], max_batch=size, max_squares=size
    )
    rows = [int(result.index_S[0]) for result in results]
    images, metadata = [setup.source.read(row) for row in rows], [setup.metadata_rows[row] for row in rows]
    outputs = predictor.compute(images, metadata, Options(views=1))
    probs_NFK = [fold_probs(predictor.target, output.logits_FVK) for output in outputs]
    for f, result in enumerate(results):
        # Other batches take other kernels; on a GPU they differ by more.
        before_K = fold_probs(predictor.target, result.logits_SVK[0, :1])
        if not np.allclose(probs_NFK[f][f], before_K, atol=1e-4 if setup.run.device.type == "cpu" else 1e-2):
            raise artifact.differs(
                model_dir,
                f"the saved artifact predicts {probs_NFK[f][f]}, but {file_of(result, networks)} predicted {before_K} "
                "before it was saved",
            )
    return predictor


def file_of(result: FoldResult, networks: Networks) -> str:
    """The name of the file that holds a network's weights."""
    name = f"fold_{result.fold}" if networks.kind == "ensemble" else networks.kind
    return f"{name}.safetensors"


def record_of(setup: Setup, table: SampleTable, networks: Networks, decisions: Decisions) -> ClassifierRecord:
    """The payload: everything that prediction needs beside the weights."""
    config = setup.config
    return ClassifierRecord(
        model=config.model,
        model_args=config.model_args,
        target=TargetRecord(
            kind=setup.target.kind,
            class_names=setup.target.class_names,
            of_interest=setup.target.one_of_many,
            thresholds=decisions.thresholds_Q,
        ),
        calibration=decisions.calibration,
        operating=decisions.operating,
        preprocessing=setup.preprocess,
        num_views=config.tta,
        flips=config.flips,
        metadata_columns=list(table.metadata.columns),
        image_column=table.image_column,
        dicom_frames=config.dicom_frames,
        target_columns=list(table.target_names),
        folds=[
            FoldRecord(
                fold=result.fold,
                file=file_of(result, networks),
                metadata=result.encoder.columns,
                best_epoch=result.best_epoch,
                metrics=result.metrics,
            )
            for result in networks.served
        ],
        final_model=networks.kind,
    )


def save_later(
    model_dir: Path,
    predictor: Ensemble,
    summary: dict[str, Any],
    *,
    calibration: Calibration | None,
    prediction_sets: PredictionSets | None,
) -> Ensemble:
    """Adds to the manifest what is computed after the artifact is saved: metrics with intervals, the calibration with
    how the networks differ, and the prediction sets.

    The same predictor, of that manifest. Raises PlatformError where the disk refuses.
    """
    model = predictor.model.model_copy(update={"calibration": calibration, "prediction_sets": prediction_sets})
    update = {"metrics": summary, "payload": model.model_dump()}
    manifest = artifact.save_manifest(model_dir, predictor.manifest.model_copy(update=update))
    return predictor.with_record(manifest, model)


def with_disagreement(
    calibration: Calibration, predictor: Ensemble, setup: Setup, results: Sequence[FoldResult]
) -> Calibration:
    """The calibration with the share of variance that is between the networks (evaluation/pooling.py).

    Measured on some training rows, by the networks that were trained on them: those of a row's own folds (one in each
    repeat), which never saw it, would differ by more than two networks do on a new image. Of two folds both count.
    """
    if len(results) < 2:
        return calibration
    is_multiclass = calibration.pooling.is_multiclass
    held = [int(row) for result in results for row in result.index_S]
    num_rows = min(max(len(held) // 8, LEAST_COMPARED), MOST_COMPARED, len(held))
    rows = [held[n] for n in np.linspace(0, len(held) - 1, num_rows).astype(int)]
    outputs = predictor.compute([setup.source.read(row) for row in rows], [setup.metadata_rows[row] for row in rows])
    probs_SFK = np.stack([fold_probs(predictor.target, output.logits_FVK) for output in outputs])
    if len(results) > 2:
        probs_SFK[np.stack([np.isin(rows, result.index_S) for result in results], axis=1)] = np.nan
    single_SK = np.concatenate([fold_probs(predictor.target, r.logits_SVK[:, None])[:, 0] for r in results])
    share = disagreement(single_SK, probs_SFK, is_multiclass=is_multiclass)
    return replace(calibration, pooling=replace(calibration.pooling, disagreement=share))
