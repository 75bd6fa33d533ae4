"""Graph: the folds of an artifact as OpenVINO computes them on a CPU, without torch."""

# F folds · H, W pixels · K outputs · M metadata features · V views

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.base import Output
from lesion.algorithms.classify.explanation.openvino_map import PlaceGraph, graph_map
from lesion.algorithms.classify.manifest import ClassifierRecord, GraphRecord
from lesion.algorithms.classify.prediction.predictor import Prepared
from lesion.algorithms.classify.prediction.validate import check_graph, finite
from lesion.artifact import Manifest, path_of_file
from lesion.data.transforms import views
from lesion.engine.openvino import import_openvino
from lesion.stored_files import in_words

if TYPE_CHECKING:
    import openvino

GraphPrecision = Literal["fp32", "bf16"]

# How far a probability may lie from torch's in fp32. Further off, that precision is not used, and without fp32 the
# graph is not kept. What bf16 moves is its rounding, to three digits, of every layer.
TOLERANCE: dict[GraphPrecision, float] = {"fp32": 1e-4, "bf16": 0.03}
MAX_GRAPH_BYTES = 2**29  # far beyond what is written: a line for each step of the computation
HINT: dict[GraphPrecision, str] = {"fp32": "f32", "bf16": "bf16"}


@cache
def core() -> openvino.Core:
    """OpenVINO's core, one per process, never unloaded.

    Its CPU plugin gives the thread that loads it a stack for signals. Were it unloaded by another thread, that stack
    would be gone and in use: the next signal, as SIGTERM, would crash the process.
    """
    return import_openvino().Core()


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 numbers itself."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def graph_precision(wanted: Literal["auto", "fp32", "bf16"], graph: GraphRecord) -> GraphPrecision:
    """The precision to compute in: auto is bf16 if this CPU supports it and training found the graph accurate in it."""
    if wanted != "auto":
        return wanted
    return "bf16" if cpu_has_bf16() and graph.differences.get("bf16", np.inf) <= TOLERANCE["bf16"] else "fp32"


def load_graph(
    model_dir: Path,
    manifest: Manifest,
    model: ClassifierRecord,
    folds: Sequence[int],
    *,
    precision: GraphPrecision,
    num_cores: int,
    in_background: bool = True,
) -> list[GraphExecutor]:
    """The artifact's graph of these folds, compiled for this CPU, as by `compile_graph`.

    Raises UserError for files that are not the artifact's, and for a graph that does not match the manifest.
    """
    assert model.graph is not None
    path = path_of_file(model_dir, manifest, model.graph.file, max_bytes=MAX_GRAPH_BYTES)
    weights = path_of_file(model_dir, manifest, model.graph.weights_file)
    with in_words(path):
        graph = core().read_model(path, weights)
        check_graph(graph, model, path)
        return compile_graph(graph, folds, precision=precision, num_cores=num_cores, in_background=in_background)


def compile_graph(
    model: openvino.Model,
    folds: Sequence[int],
    *,
    precision: GraphPrecision,
    num_cores: int,
    in_background: bool,
) -> list[GraphExecutor]:
    """The graph of these folds as executors that share its weights and the cores.

    A picture is computed alone, so that its prediction cannot depend on others in a batch; a batch would cost as much
    time, and more memory (docs/decisions/0017). One executor per core is best under load; for a single picture one core
    is slow, so the graph is compiled a second time, for all cores together (in fp32): `in_background`, so that
    a server is ready sooner, or before this returns.
    """
    whole = model
    inputs = {"image", *(f"metadata_{fold}" for fold in folds)}
    parameters = [parameter for parameter in model.get_parameters() if parameter.get_friendly_name() in inputs]

    def part(names: set[str]) -> openvino.Model | None:
        """The graph of these outputs; what none of them needs falls away."""
        wanted = [result for result in whole.get_results() if result.get_friendly_name() in names]
        return import_openvino().Model(wanted, parameters) if wanted else None

    model = part({name for fold in folds for name in (f"fold_{fold}", f"features_{fold}")})
    of_places = part({f"places_{fold}" for fold in folds})

    def compiled(num_streams: int, model: openvino.Model = model) -> openvino.CompiledModel:
        settings = {
            "INFERENCE_PRECISION_HINT": HINT[precision],
            "NUM_STREAMS": str(num_streams),
            "INFERENCE_NUM_THREADS": num_cores,
            "ENABLE_CPU_PINNING": False,  # the cores are shared with those that decode, and with other containers
        }
        return core().compile_model(model, "CPU", settings)

    a_stream_a_core = compiled(num_cores)
    all_cores: Future[openvino.InferRequest] | None = None
    # In bf16 another number of cores may round differently, and a prediction would depend on the load.
    if num_cores > 1 and precision == "fp32":
        pool = ThreadPoolExecutor(1, thread_name_prefix="compile")
        all_cores = pool.submit(lambda: compiled(1).create_infer_request())
        pool.shutdown(wait=not in_background)
    in_flight = InFlight()
    places = None if of_places is None else PlaceGraph(lambda: compiled(1, of_places), folds)
    return [GraphExecutor(a_stream_a_core, all_cores, in_flight, folds, places) for _ in range(num_cores)]


class InFlight:
    """How many pictures the executors compute at present."""

    def __init__(self) -> None:
        self._num_computing = 0
        self._changing = threading.Lock()

    @contextmanager
    def joined(self) -> Iterator[bool]:
        """While a picture is computed; whether it was the only one when it began."""
        with self._changing:
            self._num_computing += 1
            is_alone = self._num_computing == 1
        try:
            yield is_alone
        finally:
            with self._changing:
                self._num_computing -= 1


class GraphExecutor:
    """An executor on one core, or on all while no other one computes. A batch is computed picture by picture."""

    def __init__(
        self,
        compiled: openvino.CompiledModel,
        all_cores: Future[openvino.InferRequest] | None,
        in_flight: InFlight,
        folds: Sequence[int],
        places: PlaceGraph | None = None,
    ) -> None:
        self._places = places
        self._own_core, self._all_cores, self._in_flight = compiled.create_infer_request(), all_cores, in_flight
        has_metadata = {name for port in compiled.inputs for name in port.names}
        self._metadata = [(f, f"metadata_{fold}") for f, fold in enumerate(folds) if f"metadata_{fold}" in has_metadata]
        self._logits = [f"logits_{fold}" for fold in folds]
        has_features = any("features_" in name for port in compiled.outputs for name in port.names)
        self._features = [f"features_{fold}" for fold in folds] if has_features else []

    def __call__(self, batch: Sequence[Prepared]) -> list[Output]:
        """The output of each picture. Raises PlatformError for a logit that is NaN or infinite."""
        return [self._with_map(picture, self._compute(picture)) for picture in batch]

    def _with_map(self, picture: Prepared, output: Output) -> Output:
        """The same output, with the picture's map if one is wanted."""
        if picture.wanted_map is None:
            return output

        def logits(square_HWC: NDArray[np.uint8]) -> NDArray[np.float32]:
            return self._compute(replace(picture, pixels_HWC=square_HWC, num_views=1)).logits_FVK

        return replace(output, map=graph_map(picture, output.logits_FVK, self._places, logits))

    def _compute(self, picture: Prepared) -> Output:
        metadata = {name: picture.features_FM[f][None] for f, name in self._metadata}
        logits_VFK, features_VFD = [], []
        with self._in_flight.joined() as is_alone:
            request = self._own_core
            if is_alone and self._all_cores is not None and self._all_cores.done():
                request = self._all_cores.result()
            for square_HWC in views(picture.pixels_HWC, picture.num_views):
                answer = request.infer({"image": square_HWC[None], **metadata}, share_inputs=True)
                logits_VFK.append(np.concatenate([answer[name] for name in self._logits]))
                if self._features:
                    features_VFD.append(np.concatenate([answer[name] for name in self._features]))
        logits_FVK = finite(np.stack(logits_VFK, axis=1))
        return Output(logits_FVK, np.stack(features_VFD, axis=1) if features_VFD else None, picture.notes)
