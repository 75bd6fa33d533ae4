"""Graph: the folds of an artifact as OpenVINO computes them on a CPU, without torch."""

# F folds · H, W pixels · K outputs · M metadata features · V views

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.base import Prepared
from lesion.artifact import GraphRecord, graph_files
from lesion.data.transforms import views
from lesion.targets import Target

if TYPE_CHECKING:
    import openvino

Precision = Literal["fp32", "bf16"]

# How far a probability may lie from torch's in fp32. Further off, that precision is not used, and without fp32 the
# graph is not kept. What bf16 moves is its rounding, to three digits, of every layer.
TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "bf16": 0.03}
HINT: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16"}
# A picture is computed by this many cores, and as many pictures side by side as that allows. More cores a picture
# answer a lone client sooner, fewer waste less.
CORES_PER_LANE = 4


def has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 numbers itself."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def pick_precision(wanted: Literal["auto", "fp32", "bf16"], graph: GraphRecord) -> Precision:
    """What is wanted; auto is bf16 where this CPU has it and the graph, so computed, was found to answer alike."""
    if wanted != "auto":
        return wanted
    return "bf16" if has_bf16() and graph.differences.get("bf16", np.inf) <= TOLERANCE["bf16"] else "fp32"


def load_graph(
    model_dir: Path,
    graph: GraphRecord,
    folds: Sequence[int],
    target: Target,
    *,
    precision: Precision,
    num_cores: int,
) -> list[GraphLane]:
    """The artifact's graph of these folds, compiled for this CPU.

    Raises UserError for files that are not the artifact's.
    """
    return compile_graph(*graph_files(model_dir, graph), folds, target, precision=precision, num_cores=num_cores)


def compile_graph(
    graph: Path | bytes,
    weights: Path | bytes,
    folds: Sequence[int],
    target: Target,
    *,
    precision: Precision,
    num_cores: int,
) -> list[GraphLane]:
    """The graph of these folds as lanes that share its weights and, between them, the cores.

    A picture is computed alone, so that its answer cannot depend on its neighbours; a batch would cost as much, and
    more memory (docs/decisions/0017).
    """
    import openvino

    core = openvino.Core()
    model = core.read_model(graph, weights)
    wanted = [result for result in model.get_results() if result.get_friendly_name() in {f"fold_{f}" for f in folds}]
    inputs = {"image", *(f"metadata_{fold}" for fold in folds)}
    parameters = [parameter for parameter in model.get_parameters() if parameter.get_friendly_name() in inputs]
    num_lanes = max(num_cores // CORES_PER_LANE, 1)
    compiled = core.compile_model(
        openvino.Model(wanted, parameters),  # what no wanted fold needs falls away
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": HINT[precision],
            "NUM_STREAMS": str(num_lanes),
            "INFERENCE_NUM_THREADS": num_cores,
            "ENABLE_CPU_PINNING": False,  # the cores are shared with those that decode, and with other containers
        },
    )
    return [GraphLane(compiled, folds, target) for _ in range(num_lanes)]


class GraphLane:
    """A share of the CPU's cores. A batch is computed picture by picture, view by view."""

    def __init__(self, compiled: openvino.CompiledModel, folds: Sequence[int], target: Target) -> None:
        self._target = target
        self._request = compiled.create_infer_request()
        has_metadata = {name for port in compiled.inputs for name in port.names}
        self._metadata = [(f, f"metadata_{fold}") for f, fold in enumerate(folds) if f"metadata_{fold}" in has_metadata]
        self._logits = [compiled.output(f"logits_{fold}") for fold in folds]

    def __call__(self, batch: Sequence[Prepared]) -> NDArray[np.float64]:
        """Each fold's probabilities [N, F, K], averaged over the views."""
        return np.stack([self._target.probabilities(self._logits_VFK(picture)).mean(axis=0) for picture in batch])

    def _logits_VFK(self, picture: Prepared) -> NDArray[np.float32]:
        metadata = {name: picture.features_FM[f][None] for f, name in self._metadata}
        logits_VFK = []
        for square_HWC in views(picture.pixels_HWC, picture.num_views):
            answer = self._request.infer({"image": square_HWC[None], **metadata}, share_inputs=True)
            logits_VFK.append(np.concatenate([answer[port] for port in self._logits]))
        return np.stack(logits_VFK)
