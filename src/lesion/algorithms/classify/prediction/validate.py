"""Validate: checks that an artifact's files match its manifest, and that the loaded networks predict finite numbers.

Serving, predicting, exporting and the check at the end of training all come through here.
"""

# D features of a picture · F folds · V views · K outputs · M metadata features

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lesion.algorithms.base import Options
from lesion.algorithms.classify.manifest import ClassifierRecord
from lesion.artifact import Manifest, read_headers
from lesion.errors import PlatformError
from lesion.inference.openvino_graph import check_ports
from lesion.stored_files import TensorHeader, in_words, unusable

if TYPE_CHECKING:
    import openvino

    from lesion.algorithms.classify.prediction.predictor import Ensemble


def check_weights(model_dir: Path, manifest: Manifest, model: ClassifierRecord) -> None:
    """Raises UserError if a fold's file is missing or incomplete, or its outer layers do not match the manifest.

    Only headers are read, which costs nothing where the graph computes; an incomplete copy is found by its length. The
    other layers are compared with the network when torch loads them.
    """
    num_outputs = model.question.num_outputs
    for record in model.folds:
        headers = read_headers(model_dir, manifest, record.file)
        _expect(headers, "head.bias", (num_outputs,), "outputs", model_dir / record.file)
        if record.num_metadata:
            _expect(headers, "metadata.0.weight", (None, record.num_metadata), "metadata", model_dir / record.file)
        elif any(name.startswith("metadata.") for name in headers):
            raise unusable("the weights need metadata, but the manifest lists none", model_dir / record.file)


def _expect(headers: dict[str, TensorHeader], name: str, shape: tuple[int | None, ...], what: str, path: Path) -> None:
    if name not in headers:
        raise unusable(f"the weights have no tensor {name}", path)
    found = headers[name]
    is_shape = len(found.shape) == len(shape) and all(
        wanted in {None, side} for side, wanted in zip(found.shape, shape, strict=True)
    )
    if found.dtype != "F32" or not is_shape:
        sides = ", ".join("any" if side is None else str(side) for side in shape)
        raise unusable(
            f"the weights do not have the {what} that the manifest states: {name} is {found.dtype} "
            f"{list(found.shape)}, but F32 [{sides}] is needed",
            path,
        )


def check_graph(graph: openvino.Model, model: ClassifierRecord, where: Path) -> None:
    """Raises UserError if a graph's inputs and outputs do not match the manifest, or a weight is NaN."""
    assert model.graph is not None
    side, num_outputs = model.preprocessing.image_size, model.question.num_outputs
    wanted: dict[str, tuple[str, list[int]]] = {"image": ("u8", [1, side, side, 3])}
    wanted |= {f"metadata_{f.fold}": ("f32", [1, f.num_metadata]) for f in model.folds if f.num_metadata}
    wanted |= {f"logits_{f.fold}": ("f32", [1, num_outputs]) for f in model.folds}
    if model.graph.num_features is not None:  # older graphs give none
        wanted |= {f"features_{f.fold}": ("f32", [1, model.graph.num_features]) for f in model.folds}
    if (places := model.graph.place_side) is not None:
        wanted |= {f"places_{f.fold}": ("f32", [1, num_outputs, places, places]) for f in model.folds}
    check_ports(graph, wanted, where)
    named = {parameter.get_friendly_name() for parameter in graph.get_parameters()}
    named |= {result.get_friendly_name() for result in graph.get_results()}
    if named != {name.replace("logits_", "fold_") for name in wanted}:
        raise unusable("an input or output of the graph has several names", where)


def check_answers(ensemble: Ensemble, where: Path) -> None:
    """Lets every executor predict a synthetic picture once, without metadata.

    The first pass is slow, so it is done before anyone waits. Raises UserError if logits are not finite, or
    not one per output of each fold.
    """
    ramp = np.arange(48 * 64, dtype=np.uint32).reshape(48, 64, 1) * np.array([1, 3, 7])
    picture = ensemble.prepare((ramp % 256).astype(np.uint8), {}, Options(views=1))
    shape = (len(ensemble.folds), 1, ensemble.target.num_outputs)
    for executor in ensemble.executors:
        with in_words(where):
            try:
                [output] = executor([picture])
            except PlatformError as error:
                raise unusable(f"it cannot predict a test image: {error.what}", where) from error
        if (found := output.logits_FVK.shape) != shape:
            raise unusable(f"the logits of a test image have shape {found}, but {shape} is needed", where)
