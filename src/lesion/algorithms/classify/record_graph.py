"""Record graph: the artifact's networks as a graph for a CPU, which must answer real pictures as torch does."""

# N batch · F folds · K outputs · S samples

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lesion import artifact
from lesion.algorithms.classify.answer import fold_probs
from lesion.algorithms.classify.ensemble import Ensemble
from lesion.algorithms.classify.fold_result import FoldResult
from lesion.algorithms.classify.graph import TOLERANCE, Precision, compile_graph, core, has_bf16
from lesion.algorithms.classify.networks import TorchExecutor, load_networks
from lesion.algorithms.classify.start import Shared
from lesion.artifact import Manifest
from lesion.data.images import Pixels
from lesion.data.metadata import MetadataEncoder, Row
from lesion.export import to_openvino
from lesion.stop import Stop

log = logging.getLogger(__name__)

NUM_CHECKED = 16  # held-out pictures that a graph must answer as torch does


def save_graph(
    model_dir: Path, manifest: Manifest, shared: Shared, results: Sequence[FoldResult], *, stop: Stop, num_cores: int
) -> None:
    """Adds the graph that a CPU serves without torch, once it has answered held-out rows as torch does.

    The artifact is whole without it: whatever the converter or the disk meets, and an answer that is another, is told
    in one line, and torch will serve.
    """
    started = time.monotonic()
    try:
        differences = _try_graph(model_dir, manifest, shared, results, stop=stop, num_cores=num_cores)
    except Exception as error:
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        log.warning("graph: none, torch will serve: %s: %s", type(error).__name__, reason)
        return
    told = " ".join(f"{precision}={difference:.2g}" for precision, difference in differences.items())
    log.info("graph: largest difference from torch %s seconds=%.1f", told, time.monotonic() - started)


def _try_graph(
    model_dir: Path, manifest: Manifest, shared: Shared, results: Sequence[FoldResult], *, stop: Stop, num_cores: int
) -> dict[str, float]:
    cpu = torch.device("cpu")
    networks = load_networks(model_dir, manifest, manifest.folds, cpu)
    numbers = [record.fold for record in manifest.folds]
    nums_metadata = {record.fold: MetadataEncoder(record.metadata).num_features for record in manifest.folds}
    graph, weights = to_openvino(
        dict(zip(numbers, networks, strict=True)), nums_metadata, manifest.preprocessing.image_size
    )
    by_torch = Ensemble(manifest, manifest.folds, [TorchExecutor(networks, cpu)], max_batch=1, backend="torch")
    held_S = np.concatenate([result.index_S for result in results])
    rows = held_S[np.linspace(0, len(held_S) - 1, min(NUM_CHECKED, len(held_S))).astype(int)].tolist()
    pictures, metadata = [shared.source.read(row) for row in rows], [shared.metadata_rows[row] for row in rows]
    expected_NFK = _probs_NFK(by_torch, pictures, metadata)
    precisions: list[Precision] = ["fp32", "bf16"] if has_bf16() else ["fp32"]
    differences: dict[str, float] = {}
    for precision in precisions:
        model = core().read_model(graph, weights)
        executors = compile_graph(model, numbers, precision=precision, num_cores=num_cores, in_background=False)
        by_graph = Ensemble(manifest, manifest.folds, executors, max_batch=1, backend="")
        answers_NFK = _probs_NFK(by_graph, pictures, metadata)
        differences[precision] = float(np.abs(answers_NFK - expected_NFK).max())
    if not differences["fp32"] <= TOLERANCE["fp32"]:
        raise ValueError(f"its probabilities differ by {differences['fp32']:.2g}, more than {TOLERANCE['fp32']}")
    with stop.held():  # the graph's files and the manifest that names them, or none of them
        artifact.add_graph(model_dir, manifest, graph, weights, num_checked=len(rows), differences=differences)
    return differences


def _probs_NFK(predictor: Ensemble, pictures: Sequence[Pixels], metadata: Sequence[Row]) -> NDArray[np.float64]:
    outputs = predictor.compute(pictures, metadata)
    return np.stack([fold_probs(predictor.target, output.logits_FVK) for output in outputs])
