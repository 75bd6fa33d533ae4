"""Save: writes the artifact, and verifies it: loads the scorer again and compares its scores."""

# S rows · P places

from __future__ import annotations

import copy
import logging
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lesion import artifact
from lesion.algorithms.anomaly.config import AnomalyConfig
from lesion.algorithms.anomaly.decide import Decision, HeldOut
from lesion.algorithms.anomaly.load import load_torch
from lesion.algorithms.anomaly.manifest import (
    ALGORITHM,
    AnomalyRecord,
    GanRecord,
    GraphRecord,
    MemoryRecord,
    OperatingRecord,
    PixelRecord,
    read,
)
from lesion.algorithms.anomaly.openvino_executor import TOLERANCE, compile_graph
from lesion.algorithms.anomaly.predictor import AnomalyPredictor
from lesion.algorithms.anomaly.threshold import score_of
from lesion.algorithms.anomaly.torch_executor import TorchExecutor
from lesion.artifact import Manifest
from lesion.data.table import Source
from lesion.data.transforms import Preprocess
from lesion.export import graph_bytes, traced_graph
from lesion.inference.openvino_graph import core
from lesion.stop import Stop

log = logging.getLogger(__name__)

SCORER, GRAPH, GRAPH_WEIGHTS = "scorer.safetensors", "graph.xml", "graph.bin"
OWN_FILE = re.compile("|".join(map(re.escape, (SCORER, GRAPH, GRAPH_WEIGHTS))))
NUM_CHECKED = 16  # held-out pictures that the graph must answer as torch does


def save_artifact(
    model_dir: Path,
    scorer: nn.Module,
    source: Source,
    rows: HeldOut,
    decision: Decision,
    *,
    scorer_record: MemoryRecord | GanRecord,
    config: AnomalyConfig,
    preprocess: Preprocess,
    num_normal: int,
    false_positive_rate: dict[str, Any],
    pixel_false_positive_rate: dict[str, Any],
    metrics: dict[str, Any],
    device: torch.device,
) -> AnomalyPredictor:
    """Writes the artifact and returns the predictor that was loaded from it.

    If the process is killed, the folder holds a whole artifact or none. Raises PlatformError if the loaded scorer gives
    a held-out picture other scores than the one that was learned, or if the disk refuses.
    """
    table = source.table()
    artifact.clear(model_dir, OWN_FILE)
    height, width = rows.distance_Shw.shape[1:]
    record = AnomalyRecord(
        scorer=scorer_record,
        preprocessing=preprocess,
        map_height=height,
        map_width=width,
        area=decision.area,
        scale=decision.scale,
        operating=OperatingRecord(
            spec=decision.threshold.spec,
            threshold=min(decision.threshold.score, 1.0),
            normal=decision.normal,
            roc=decision.roc,
            false_positive_rate=false_positive_rate,
        ),
        pixels=PixelRecord(
            specificity=config.pixel_specificity,
            threshold=min(decision.pixel_threshold, 1.0),
            false_positive_rate=pixel_false_positive_rate,
        ),
        image_column=table.image_column,
        dicom_frames=config.dicom_frames,
        counts_bars=False,
        num_normal=num_normal,
    )
    written = Manifest(
        algorithm=ALGORITHM,
        files={},  # filled in as they are written
        packages=artifact.package_versions(),
        data_fingerprint=table.fingerprint(),
        config=config.as_json(),
        metrics=metrics,
        payload=record.model_dump(),
    )
    artifact.save(model_dir, written, {SCORER: scorer.state_dict()})
    manifest = artifact.load_manifest(model_dir)  # as it was written
    predictor = load_torch(model_dir, manifest, read(model_dir, manifest), [device])
    [output] = predictor.compute([source.read(int(rows.index_S[0]))])
    found_P, before_P = (
        score_of(one, decision.scale) for one in (output.logits_FVK[0, 0], rows.distance_Shw[0].ravel())
    )
    # Other batches take other kernels; on a GPU they differ by more.
    if not (difference := float(np.abs(found_P - before_P).max())) <= (1e-3 if device.type == "cpu" else 2e-2):
        what = f"the saved artifact gives a picture other scores than before it was saved, by up to {difference:.6g}"
        raise artifact.differs(model_dir, what)
    return predictor


def save_graph(
    model_dir: Path, predictor: AnomalyPredictor, source: Source, rows: HeldOut, *, stop: Stop, num_cores: int
) -> None:
    """Adds the OpenVINO graph, with which a CPU serves without torch, if its scores of held-out pictures are those of
    `predictor`, which `save_artifact` returned, within TOLERANCE.

    The artifact is whole without it: where it cannot be made, one warning says so, and torch will serve.
    """
    started = time.monotonic()
    try:
        difference = _try_graph(model_dir, predictor, source, rows, stop=stop, num_cores=num_cores)
    except Exception as error:  # the tracer's and the converter's have no common kind
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        log.warning("graph: not exported, torch will serve: %s: %s", type(error).__name__, reason)
        return
    log.info("graph: largest difference from torch %.2g seconds=%.1f", difference, time.monotonic() - started)


def _try_graph(
    model_dir: Path, predictor: AnomalyPredictor, source: Source, rows: HeldOut, *, stop: Stop, num_cores: int
) -> float:
    manifest, model, executor = predictor.manifest, predictor.model, predictor.executors[0]
    assert isinstance(executor, TorchExecutor)
    on_cpu = copy.deepcopy(executor.scorer).cpu()
    side = model.preprocessing.image_size
    graph = traced_graph(on_cpu, (torch.zeros(1, side, side, 3, dtype=torch.uint8),))
    graph.get_parameters()[0].output(0).set_names({"image"})
    graph.get_results()[0].input_value(0).get_tensor().set_names({"distances"})
    xml, weights = graph_bytes(graph)
    number_N = np.linspace(0, len(rows.index_S) - 1, min(NUM_CHECKED, len(rows.index_S))).astype(int)
    pictures = [source.read(int(row)) for row in rows.index_S[number_N]]
    by_torch = AnomalyPredictor(
        manifest, model, [TorchExecutor(on_cpu, torch.device("cpu"))], max_batch=1, backend="torch"
    )
    executors = compile_graph(core().read_model(xml, weights), num_cores=num_cores)
    by_graph = AnomalyPredictor(manifest, model, executors, max_batch=1, backend="")
    found_NP, wanted_NP = (
        np.stack([score_of(output.logits_FVK[0, 0], model.scale) for output in one.compute(pictures)])
        for one in (by_graph, by_torch)
    )
    difference = float(np.abs(found_NP - wanted_NP).max())
    if not difference <= TOLERANCE:
        raise ValueError(f"its scores differ by {difference:.2g}, more than {TOLERANCE}")
    record = GraphRecord(file=GRAPH, weights_file=GRAPH_WEIGHTS, num_checked=len(pictures), difference=difference)
    payload = model.model_copy(update={"graph": record}).model_dump()
    with stop.held():  # the graph's files and the manifest that names them, or none of them
        artifact.add_files(model_dir, manifest, {GRAPH_WEIGHTS: weights, GRAPH: xml}, payload=payload)
    return difference
