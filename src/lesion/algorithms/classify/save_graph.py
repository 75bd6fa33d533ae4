"""Save graph: adds OpenVINO's graph of the networks to the artifact. A CPU answers by it, faster than by torch."""

# N pictures · F folds · K outputs · D features of a picture

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lesion import artifact
from lesion.algorithms.base import Options, Output
from lesion.algorithms.classify.manifest import ClassifierRecord, FoldRecord, GraphRecord
from lesion.algorithms.classify.prediction.answer import fold_probs
from lesion.algorithms.classify.prediction.openvino_cpu import TOLERANCE, compile_graph
from lesion.algorithms.classify.prediction.predictor import Ensemble
from lesion.algorithms.classify.prediction.torch_executor import TorchExecutor
from lesion.algorithms.classify.save import GRAPH, GRAPH_WEIGHTS
from lesion.algorithms.classify.training.fold_result import FoldResult
from lesion.algorithms.classify.training.setup import Setup
from lesion.engine.openvino import import_openvino
from lesion.export import to_openvino
from lesion.inference.openvino_graph import GraphPrecision, core, cpu_has_bf16
from lesion.models.fusion import FusionNet
from lesion.models.places import place_side, with_place_logits
from lesion.stop import Stop

log = logging.getLogger(__name__)

NUM_CHECKED = 16  # held-out pictures that a graph must answer as torch does


def save_graph(
    model_dir: Path, predictor: Ensemble, setup: Setup, results: Sequence[FoldResult], *, stop: Stop, num_cores: int
) -> Ensemble:
    """Adds the graph if it predicts validation rows as `predictor` does, which `save_artifact` returned.

    Returns what computes fastest here, with the new manifest: the graph in float32, or torch where it has a GPU. The
    artifact is whole without the graph: if the conversion fails, the disk refuses or an answer differs, one warning
    says so, torch will serve, and `predictor` is returned.
    """
    started = time.monotonic()
    try:
        by_graph, differences = _try_graph(model_dir, predictor, setup, results, stop=stop, num_cores=num_cores)
    except Exception as error:
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        log.warning("graph: not exported, torch will serve: %s: %s", type(error).__name__, reason)
        return predictor
    told = " ".join(f"{precision}={difference:.2g}" for precision, difference in differences.items())
    log.info("graph: largest difference from torch %s seconds=%.1f", told, time.monotonic() - started)
    if setup.run.device.type == "cpu":
        return by_graph
    return predictor.with_record(by_graph.manifest, by_graph.model)


def _try_graph(
    model_dir: Path, predictor: Ensemble, setup: Setup, results: Sequence[FoldResult], *, stop: Stop, num_cores: int
) -> tuple[Ensemble, dict[str, float]]:
    manifest, model, networks = predictor.manifest, predictor.model, _on_cpu(predictor)
    numbers = [record.fold for record in model.folds]
    nums_metadata = {record.fold: record.num_metadata for record in model.folds}
    by_fold, side = dict(zip(numbers, networks, strict=True)), model.preprocessing.image_size
    places = place_side(networks[0], side, model.folds[0].num_metadata)
    graph, weights = to_openvino(by_fold, nums_metadata, side, has_places=places is not None)
    if places is not None and not _has_the_same_places(graph, weights, networks[0], model.folds[0], side):
        places = None  # maps are then made by occlusion
        graph, weights = to_openvino(by_fold, nums_metadata, side)
    size = setup.config.batch_size_predict
    executor = TorchExecutor(networks, torch.device("cpu"), max_squares=size)
    by_torch = Ensemble(manifest, model, model.folds, [executor], max_batch=size, backend="torch")
    valid_S = np.concatenate([result.index_S for result in results])
    rows = valid_S[np.linspace(0, len(valid_S) - 1, min(NUM_CHECKED, len(valid_S))).astype(int)].tolist()
    pictures, metadata = [setup.source.read(row) for row in rows], [setup.metadata_rows[row] for row in rows]
    # One view: another is another picture to the graph, and sixteen pictures tell enough.
    expected = by_torch.compute(pictures, metadata, Options(views=1))
    precisions: list[GraphPrecision] = ["fp32", "bf16"] if cpu_has_bf16() else ["fp32"]
    differences: dict[str, float] = {}
    by_graph: dict[str, Ensemble] = {}
    for precision in precisions:
        executors = compile_graph(
            core().read_model(graph, weights),
            numbers,
            num_views=model.num_views,
            precision=precision,
            num_cores=num_cores,
            all_cores="never",
        )
        one = Ensemble(manifest, model, model.folds, executors, max_batch=1, backend=f"openvino cpu {precision}")
        by_graph[precision], found = one, one.compute(pictures, metadata, Options(views=1))
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
    model = model.model_copy(update={"graph": record})
    files = {GRAPH_WEIGHTS: weights, GRAPH: graph}
    with stop.held():  # the graph's files and the manifest that names them, or none of them
        manifest = artifact.add_files(model_dir, manifest, files, payload=model.model_dump())
    return by_graph["fp32"].with_record(manifest, model), differences


def _has_the_same_places(graph: bytes, weights: bytes, network: FusionNet, fold: FoldRecord, image_size: int) -> bool:
    """Whether the graph's logits of each place are those of a fold's network, on a synthetic picture."""
    ramp = np.arange(3 * image_size * image_size, dtype=np.int64) * 7 % 256
    square_HWC = ramp.astype(np.uint8).reshape(image_size, image_size, 3)
    metadata_1M = np.zeros((1, fold.num_metadata), np.float32)
    with torch.inference_mode():
        image = torch.from_numpy(square_HWC).permute(2, 0, 1)[None]
        expected = with_place_logits(network, image, torch.from_numpy(metadata_1M))[2].numpy()
    given = {"image": square_HWC[None], f"metadata_{fold.fold}": metadata_1M}
    whole = core().read_model(graph, weights)
    inputs = [port.node for port in whole.inputs if port.names & given.keys()]
    part = import_openvino().Model([whole.output(f"places_{fold.fold}").node], inputs)  # of this fold alone
    compiled = core().compile_model(part, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled([given[name] for port in compiled.inputs for name in port.names & given.keys()])[0]
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
