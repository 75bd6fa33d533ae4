"""Graph: the folds of an artifact as OpenVINO computes them on a CPU, without torch."""

# F folds · H, W pixels · K outputs · M metadata features · V views

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.base import Output
from lesion.algorithms.classify.explanation.openvino_map import PlaceGraph, graph_map
from lesion.algorithms.classify.manifest import ClassifierRecord, GraphRecord
from lesion.algorithms.classify.prediction.group_graph import GroupGraph, few_passes, fold_groups, same_bits
from lesion.algorithms.classify.prediction.predictor import Prepared
from lesion.algorithms.classify.prediction.validate import check_graph
from lesion.algorithms.finite import finite
from lesion.artifact import Manifest, path_of_file
from lesion.data.transforms import views
from lesion.engine.openvino import import_openvino
from lesion.environment import cpu_is_faster_in_bf16
from lesion.errors import LesionError
from lesion.inference.batches import compute_in_batches
from lesion.inference.openvino_graph import (
    MAX_GRAPH_BYTES,
    GraphPrecision,
    compile_for_cpu,
    core,
)
from lesion.inference.spread import Spread
from lesion.stored_files import in_words

if TYPE_CHECKING:
    import openvino

AllCores = Literal["in background", "now", "never"]  # when a graph is compiled for all cores together

# How far a probability may lie from torch's in fp32. Further off, that precision is not used, and without fp32 the
# graph is not kept. What bf16 moves is its rounding, to three digits, of every layer.
TOLERANCE: dict[GraphPrecision, float] = {"fp32": 1e-4, "bf16": 0.03}


def graph_precision(wanted: Literal["auto", "fp32", "bf16"], graph: GraphRecord) -> GraphPrecision:
    """The precision to compute in: auto is bf16 if this CPU is faster in it, and training found the graph accurate."""
    if wanted != "auto":
        return wanted
    return "bf16" if cpu_is_faster_in_bf16() and graph.differences.get("bf16", np.inf) <= TOLERANCE["bf16"] else "fp32"


def load_graph(
    model_dir: Path,
    manifest: Manifest,
    model: ClassifierRecord,
    folds: Sequence[int],
    *,
    precision: GraphPrecision,
    num_cores: int,
    all_cores: AllCores = "in background",
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
        return compile_graph(
            graph,
            folds,
            num_views=model.num_views,
            precision=precision,
            num_cores=num_cores,
            all_cores=all_cores,
        )


def compile_graph(
    model: openvino.Model,
    folds: Sequence[int],
    *,
    num_views: int,
    precision: GraphPrecision,
    num_cores: int,
    all_cores: AllCores,
) -> list[GraphExecutor]:
    """The graph of these folds as an executor for each core, which share weights and cores.

    A picture is computed alone, so that its prediction cannot depend on others in a batch; a batch would cost as much
    time, and more memory (docs/decisions/0017). Each group of folds and view of it is a pass on one core, and idle
    cores take part (docs/decisions/0055). Where so many views, which are usual, leave cores idle, the graph is compiled
    a second time, for `all_cores` together: in the background, so that a server is ready sooner, or before this
    returns; never where many pictures come at once.
    """
    results = {result.get_friendly_name(): result for result in model.get_results()}
    parameters = {parameter.get_friendly_name(): parameter for parameter in model.get_parameters()}

    def compiled(kinds: Sequence[str], folds: Sequence[int], num_streams: int) -> openvino.CompiledModel:
        """The graph of outputs of these folds; what none of them needs falls away."""
        outputs = [f"{kind}_{fold}" for kind in kinds for fold in folds]
        inputs = ["image", *(f"metadata_{fold}" for fold in folds)]
        part = import_openvino().Model(
            [results[name] for name in outputs if name in results],
            [parameters[name] for name in inputs if name in parameters],
        )
        return compile_for_cpu(part, precision=precision, num_streams=num_streams, num_cores=num_cores)

    groups = fold_groups(len(folds), num_views, num_cores)

    def of_groups(num_streams: int) -> list[GroupGraph]:
        wanted = [[folds[f] for f in group] for group in groups]
        return [GroupGraph(group, compiled(["fold", "features"], group, num_streams)) for group in wanted]

    one_core = of_groups(num_cores)
    together: Future[list[GroupGraph]] | None = None
    if all_cores != "never" and few_passes(len(groups) * num_views, num_cores):
        pool = ThreadPoolExecutor(1, thread_name_prefix="compile")
        together = pool.submit(lambda: same_bits(one_core, of_groups(1)))
        pool.shutdown(wait=all_cores == "now")
    has_places = f"places_{folds[0]}" in results
    of_places = PlaceGraph(lambda: compiled(["places"], folds, 1), folds) if has_places else None
    return [GraphExecutor(groups, one_core, together, Spread(num_cores), of_places)] * num_cores


def graph_features(
    executor: GraphExecutor,
    place: int,
    prepare: Callable[[int], Prepared],
    num_rows: int,
    *,
    num_workers: int,
) -> NDArray[np.float32]:
    """Features [V, S, D] of pictures by one fold's network, at its place among the folds, `prepare`d by threads."""

    def of_fold(batch: Sequence[Prepared]) -> list[NDArray[np.float32]]:
        return [features_VD for _, features_VD in executor.of_fold(place, batch)]

    of_all = [of_fold] * executor.num_cores
    features_VSD = np.zeros((0, num_rows, 0), dtype=np.float32)
    outputs = compute_in_batches(of_all, prepare, num_rows, max_batch=1, num_workers=num_workers)
    for number, features_VD in outputs:
        if isinstance(features_VD, LesionError):
            raise features_VD
        if number == 0:
            features_VSD = np.empty((len(features_VD), num_rows, features_VD.shape[1]), dtype=np.float32)
        features_VSD[:, number] = features_VD
    return features_VSD


class GraphExecutor:
    """Computes pictures one by one, the passes of each (a group of folds over a view) on the cores that are idle."""

    def __init__(
        self,
        groups: Sequence[range],
        one_core: Sequence[GroupGraph],
        all_cores: Future[list[GroupGraph]] | None,
        spread: Spread,
        places: PlaceGraph | None,
    ) -> None:
        self._groups, self._one_core, self._all_cores = groups, one_core, all_cores
        self._spread, self._places, self.num_cores = spread, places, spread.num_cores

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

    def of_fold(self, place: int, pictures: Sequence[Prepared]) -> list[list[NDArray[np.float32]]]:
        """Logits [V, K] and features [V, D] of each picture by the fold at this place: its group's passes alone."""
        group, graph = next(pair for pair in zip(self._groups, self._one_core, strict=True) if place in pair[0])
        of_pictures = [self._passes([graph], [group], picture) for picture in pictures]
        computed = iter(self._spread.run(list(chain.from_iterable(of_pictures))))
        return [
            [np.stack(kind)[:, place - group.start] for kind in zip(*islice(computed, len(passes)), strict=True)]
            for passes in of_pictures
        ]

    def _passes(
        self, graphs: Sequence[GroupGraph], groups: Sequence[range], picture: Prepared
    ) -> list[Callable[[int], list[NDArray[np.float32]]]]:
        """Those of a group together, whose weights then are in the cache."""
        squares_VHWC = views(picture.pixels_HWC, picture.num_views)
        return [
            partial(graph, square_HWC, [picture.features_FM[f] for f in group])
            for graph, group in zip(graphs, groups, strict=True)
            for square_HWC in squares_VHWC
        ]

    def _compute(self, picture: Prepared) -> Output:
        apart, computed = self._passes(self._one_core, self._groups, picture), None
        together = self._all_cores.result() if self._all_cores is not None and self._all_cores.done() else []
        if together and few_passes(len(apart), self._spread.num_cores):
            computed = self._spread.run_on_all_cores(self._passes(together, self._groups, picture))
        if computed is None:
            computed = self._spread.run(apart)

        def joined(kind: int) -> NDArray[np.float32]:
            """[F, V, …] of the passes' logits or features, each [F of the group, …]."""
            num_views = picture.num_views
            of_groups = [computed[start : start + num_views] for start in range(0, len(computed), num_views)]
            return np.concatenate([np.stack([one[kind] for one in group], axis=1) for group in of_groups])

        return Output(finite(joined(0)), joined(1) if len(computed[0]) > 1 else None, picture.notes)
