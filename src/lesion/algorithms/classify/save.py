"""Save: writes the artifact, and verifies it: loads each part again and compares its predictions."""

# N batch · F folds · V views · K outputs · D features of a picture · S samples

from __future__ import annotations

import copy
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lesion import artifact
from lesion.algorithms.base import Options, Output
from lesion.algorithms.classify.manifest import ALGORITHM, ClassifierRecord, FoldRecord, GraphRecord, TargetRecord, read
from lesion.algorithms.classify.prediction.answer import fold_probs
from lesion.algorithms.classify.prediction.load import load_torch
from lesion.algorithms.classify.prediction.openvino_cpu import TOLERANCE, compile_graph
from lesion.algorithms.classify.prediction.predictor import Ensemble
from lesion.algorithms.classify.prediction.safeguards import FAMILIARITY
from lesion.algorithms.classify.prediction.torch_executor import TorchExecutor
from lesion.algorithms.classify.reference import REFERENCE
from lesion.algorithms.classify.results.decide import Decisions
from lesion.algorithms.classify.training.fold_result import FoldResult
from lesion.algorithms.classify.training.networks import Networks
from lesion.algorithms.classify.training.setup import Setup
from lesion.artifact import Manifest
from lesion.data.table import SampleTable
from lesion.errors import PlatformError
from lesion.evaluation.calibration import Calibration
from lesion.evaluation.conformal import PredictionSets
from lesion.evaluation.pooling import disagreement
from lesion.export import to_openvino
from lesion.inference.openvino_graph import GraphPrecision, core, cpu_has_bf16
from lesion.models.fusion import FusionNet
from lesion.models.places import place_side, with_place_logits
from lesion.stop import Stop

log = logging.getLogger(__name__)

GRAPH, GRAPH_WEIGHTS = "graph.xml", "graph.bin"
OWN_FILE = re.compile(
    r"(fold_[0-9]+|refit|soup)\.safetensors|" + "|".join(map(re.escape, (FAMILIARITY, REFERENCE, GRAPH, GRAPH_WEIGHTS)))
)
LEAST_COMPARED, MOST_COMPARED = 16, 64  # training rows that show how the networks differ, an eighth of all
NUM_CHECKED = 16  # held-out pictures that a graph must answer as torch does


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
    outputs = predictor.compute([setup.source.read(row) for row in rows], [setup.metadata_rows[row] for row in rows])
    probs_NFK = [fold_probs(predictor.target, output.logits_FVK) for output in outputs]
    for f, result in enumerate(results):
        # Other batches take other kernels; on a GPU they differ by more.
        before_K = fold_probs(predictor.target, result.logits_SVK[0])
        if not np.allclose(probs_NFK[f][f], before_K, atol=1e-4 if setup.run.device.type == "cpu" else 1e-2):
            raise PlatformError(
                f"the saved artifact predicts {probs_NFK[f][f]}, but {file_of(result, networks)} predicted {before_K} "
                "before it was saved",
                where=model_dir,
                do="Check disk and memory of this machine, and run the job again.",
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

    Measured on some training rows, by the networks that were trained on them: those of a row's own fold, which never
    saw it, would differ by more than two networks do on a new image. Of two folds both count.
    """
    if len(results) < 2:
        return calibration
    is_multiclass = calibration.pooling.is_multiclass
    held = [(f, int(row)) for f, result in enumerate(results) for row in result.index_S]
    num_rows = min(max(len(held) // 8, LEAST_COMPARED), MOST_COMPARED, len(held))
    chosen = [held[n] for n in np.linspace(0, len(held) - 1, num_rows).astype(int)]
    rows = [row for _, row in chosen]
    outputs = predictor.compute([setup.source.read(row) for row in rows], [setup.metadata_rows[row] for row in rows])
    probs_SFK = np.stack([fold_probs(predictor.target, output.logits_FVK) for output in outputs])
    if len(results) > 2:
        probs_SFK[np.arange(len(chosen)), [f for f, _ in chosen]] = np.nan
    single_SK = np.concatenate([fold_probs(predictor.target, r.logits_SVK[:, None])[:, 0] for r in results])
    share = disagreement(single_SK, probs_SFK, is_multiclass=is_multiclass)
    return replace(calibration, pooling=replace(calibration.pooling, disagreement=share))


def save_graph(
    model_dir: Path, predictor: Ensemble, setup: Setup, results: Sequence[FoldResult], *, stop: Stop, num_cores: int
) -> None:
    """Adds the OpenVINO graph, with which a CPU serves without torch, if it predicts validation rows as `predictor`
    does, which `save_artifact` returned.

    The artifact is whole without it: if the conversion fails, the disk refuses or an answer differs, one warning says
    so, and torch will serve.
    """
    started = time.monotonic()
    try:
        differences = _try_graph(model_dir, predictor, setup, results, stop=stop, num_cores=num_cores)
    except Exception as error:
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        log.warning("graph: not exported, torch will serve: %s: %s", type(error).__name__, reason)
        return
    told = " ".join(f"{precision}={difference:.2g}" for precision, difference in differences.items())
    log.info("graph: largest difference from torch %s seconds=%.1f", told, time.monotonic() - started)


def _try_graph(
    model_dir: Path, predictor: Ensemble, setup: Setup, results: Sequence[FoldResult], *, stop: Stop, num_cores: int
) -> dict[str, float]:
    manifest, model, networks = predictor.manifest, predictor.model, _on_cpu(predictor)
    numbers = [record.fold for record in model.folds]
    nums_metadata = {record.fold: record.num_metadata for record in model.folds}
    by_fold, side = dict(zip(numbers, networks, strict=True)), model.preprocessing.image_size
    places = place_side(networks[0], side, model.folds[0].num_metadata)
    graph, weights = to_openvino(by_fold, nums_metadata, side, has_places=places is not None)
    if places is not None and not _has_the_same_places(graph, weights, networks[0], model.folds[0], side):
        places = None  # maps are then made by occlusion
        graph, weights = to_openvino(by_fold, nums_metadata, side)
    executor = TorchExecutor(networks, torch.device("cpu"), max_squares=setup.config.batch_size_predict)
    by_torch = Ensemble(manifest, model, model.folds, [executor], max_batch=1, backend="torch")
    valid_S = np.concatenate([result.index_S for result in results])
    rows = valid_S[np.linspace(0, len(valid_S) - 1, min(NUM_CHECKED, len(valid_S))).astype(int)].tolist()
    pictures, metadata = [setup.source.read(row) for row in rows], [setup.metadata_rows[row] for row in rows]
    # One view: another is another picture to the graph, and sixteen pictures tell enough.
    expected = by_torch.compute(pictures, metadata, Options(views=1))
    precisions: list[GraphPrecision] = ["fp32", "bf16"] if cpu_has_bf16() else ["fp32"]
    differences: dict[str, float] = {}
    for precision in precisions:
        executors = compile_graph(
            core().read_model(graph, weights),
            numbers,
            num_views=model.num_views,
            precision=precision,
            num_cores=num_cores,
            in_background=False,
        )
        found = Ensemble(manifest, model, model.folds, executors, max_batch=1, backend="").compute(
            pictures, metadata, Options(views=1)
        )
        differences[precision] = float(np.abs(_probs_NFK(found, model) - _probs_NFK(expected, model)).max())
    if not differences["fp32"] <= TOLERANCE["fp32"]:
        raise ValueError(f"its probabilities differ by {differences['fp32']:.2g}, more than {TOLERANCE['fp32']}")
    features_FVD = expected[0].features_FVD
    assert features_FVD is not None
    record = GraphRecord(
        file=GRAPH,
        weights_file=GRAPH_WEIGHTS,
        num_checked=len(rows),
        differences=differences,
        num_features=features_FVD.shape[-1],
        place_side=places,
    )
    payload = model.model_copy(update={"graph": record}).model_dump()
    with stop.held():  # the graph's files and the manifest that names them, or none of them
        artifact.add_files(model_dir, manifest, {GRAPH_WEIGHTS: weights, GRAPH: graph}, payload=payload)
    return differences


def _has_the_same_places(graph: bytes, weights: bytes, network: FusionNet, fold: FoldRecord, image_size: int) -> bool:
    """Whether the graph's logits of each place are those of a fold's network, on a synthetic picture."""
    ramp = np.arange(3 * image_size * image_size, dtype=np.int64) * 7 % 256
    square_HWC = ramp.astype(np.uint8).reshape(image_size, image_size, 3)
    metadata_1M = np.zeros((1, fold.num_metadata), np.float32)
    with torch.inference_mode():
        image = torch.from_numpy(square_HWC).permute(2, 0, 1)[None]
        expected = with_place_logits(network, image, torch.from_numpy(metadata_1M))[2].numpy()
    compiled = core().compile_model(core().read_model(graph, weights), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    names = {name for port in compiled.inputs for name in port.names if name.startswith("metadata_")}
    zeros = {name: np.zeros(list(compiled.input(name).shape), np.float32) for name in names}
    found = compiled({"image": square_HWC[None], **zeros})[f"places_{fold.fold}"]
    return bool(np.allclose(found, expected, rtol=1e-2, atol=1e-2 * float(np.ptp(expected))))


def _probs_NFK(outputs: Sequence[Output], model: ClassifierRecord) -> NDArray[np.float64]:
    return np.stack([fold_probs(model.question, output.logits_FVK) for output in outputs])


def _on_cpu(predictor: Ensemble) -> Sequence[FusionNet]:
    """The networks as they were read back from the artifact's files; of those on a GPU, copies."""
    executor = predictor.executors[0]
    assert isinstance(executor, TorchExecutor)
    return [
        network if network.mean.device.type == "cpu" else copy.deepcopy(network).cpu() for network in executor.networks
    ]
