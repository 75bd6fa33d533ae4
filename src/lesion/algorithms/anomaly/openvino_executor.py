"""OpenVINO executor: the scorer's graph on a CPU, without torch. In fp32: a distance is a small difference of large
numbers, of which bf16 keeps too few digits."""

# H, W pixels · P places

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.anomaly.manifest import AnomalyRecord
from lesion.algorithms.anomaly.predictor import Prepared, output_of
from lesion.algorithms.base import Output
from lesion.algorithms.finite import finite
from lesion.artifact import Manifest, path_of_file
from lesion.inference.openvino_graph import MAX_GRAPH_BYTES, check_ports, compile_for_cpu, core
from lesion.inference.spread import Spread
from lesion.stored_files import in_words

if TYPE_CHECKING:
    import openvino

TOLERANCE = 1e-3  # how far a score may lie from torch's; further off, the graph is not kept


def load_graph(model_dir: Path, manifest: Manifest, model: AnomalyRecord, *, num_cores: int) -> list[GraphExecutor]:
    """The artifact's graph, compiled for this CPU. Raises UserError for files that are not the artifact's, and for a
    graph that does not match the manifest."""
    assert model.graph is not None
    path = path_of_file(model_dir, manifest, model.graph.file, max_bytes=MAX_GRAPH_BYTES)
    weights = path_of_file(model_dir, manifest, model.graph.weights_file)
    side = model.preprocessing.image_size
    wanted = {
        "image": ("u8", [1, side, side, 3]),
        "distances": ("f32", [1, model.map_height, model.map_width]),
    }
    with in_words(path):
        graph = core().read_model(path, weights)
        check_ports(graph, wanted, path)
        return compile_graph(graph, num_cores=num_cores)


def compile_graph(graph: openvino.Model, *, num_cores: int) -> list[GraphExecutor]:
    """The graph as an executor for each core, which share its weights and the cores."""
    compiled = compile_for_cpu(graph, precision="fp32", num_streams=num_cores, num_cores=num_cores)
    return [GraphExecutor([compiled.create_infer_request() for _ in range(num_cores)], Spread(num_cores))] * num_cores


class GraphExecutor:
    """Computes pictures one by one, each on a core that is idle, so that none depends on another."""

    def __init__(self, request_of_core: Sequence[openvino.InferRequest], spread: Spread) -> None:
        self._request_of_core, self._spread = request_of_core, spread

    def __call__(self, batch: Sequence[Prepared]) -> list[Output]:
        """The output of each picture. Raises PlatformError for a distance that is NaN or infinite."""
        found = self._spread.run([partial(self._compute, picture) for picture in batch])
        return [output_of(finite(distance_P), picture) for distance_P, picture in zip(found, batch, strict=True)]

    def _compute(self, picture: Prepared, core: int) -> NDArray[np.float32]:
        answer = self._request_of_core[core].infer({"image": picture.square_HWC[None]}, share_inputs=True)
        return np.array(answer["distances"], np.float32).reshape(-1)
