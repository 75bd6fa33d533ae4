"""Predictor: an artifact to what answers pictures: torch computes on a GPU, the artifact's graph on a CPU.

The same lines for the test set, the command line and HTTP. Imports neither torch nor pandas where a graph computes.
"""

# N batch · F folds · V views · H, W pixels · K outputs · M metadata features

from __future__ import annotations

import copy
import importlib.util
import logging
import queue
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesion import artifact
from lesion.algorithms.base import Answer, Device, Options, Output, PrecisionChoice
from lesion.algorithms.classify.answer import answer_of, column_names, combine
from lesion.algorithms.classify.describe import describe
from lesion.algorithms.classify.manifest import ClassifierRecord, FoldRecord, read
from lesion.algorithms.classify.validate import check_answers, check_weights
from lesion.artifact import Manifest
from lesion.data.images import Pixels
from lesion.data.metadata import MetadataEncoder, Row
from lesion.errors import UserError
from lesion.inference.batcher import Executor

if TYPE_CHECKING:  # serving on a CPU starts without torch
    import torch

log = logging.getLogger(__name__)

TORCH_BATCH = 32


def load_predictor(
    model_dir: Path,
    *,
    device: Device,
    num_cores: int,
    fold: int | None = None,
    precision: PrecisionChoice = "auto",
) -> Ensemble:
    """The predictor of an artifact, of all its folds or of one. `precision` is the graph's.

    `device` auto takes the GPUs if there are any; torch is imported to look, so whoever knows of none says cpu. On a
    CPU the artifact's graph computes, and torch where it holds none. Raises UserError where it cannot be used.
    """
    manifest = artifact.load_manifest(model_dir)
    model = read(model_dir, manifest)
    folds = chosen_folds(model, fold, model_dir)
    if device != "cpu":
        from lesion.engine.device import pick_device

        picked = pick_device(device)
        if picked.type == "cuda":
            import torch

            gpus = [torch.device("cuda", number) for number in range(torch.cuda.device_count())]
            return load_torch(model_dir, manifest, model, folds, gpus)
    if model.graph is not None and importlib.util.find_spec("openvino") is not None:
        from lesion.algorithms.classify import openvino_cpu

        check_weights(model_dir, manifest, model)  # torch's networks are checked as they are loaded
        chosen = openvino_cpu.graph_precision(precision, model.graph)
        executors = openvino_cpu.load_graph(
            model_dir, manifest, model, [record.fold for record in folds], precision=chosen, num_cores=num_cores
        )
        ensemble = Ensemble(manifest, model, folds, executors, max_batch=1, backend=f"openvino cpu {chosen}")
        check_answers(ensemble, model_dir)
        return ensemble
    if importlib.util.find_spec("torch") is None:
        raise UserError(
            "the artifact holds no graph for a CPU, and this image has no torch",
            where=model_dir,
            do="Serve it with the image that trained it.",
            kind="artifact",
        )
    import torch

    from lesion.engine.device import limit_threads

    log.warning("the artifact holds no graph for a CPU: torch computes, slower")
    limit_threads(num_cores)
    return load_torch(model_dir, manifest, model, folds, [torch.device("cpu")])


def load_torch(
    model_dir: Path,
    manifest: Manifest,
    model: ClassifierRecord,
    folds: Sequence[FoldRecord],
    devices: Sequence[torch.device],
    *,
    max_batch: int = TORCH_BATCH,
    max_squares: int = 2**31,
) -> Ensemble:
    """The predictor that computes by torch, the whole ensemble on each of the devices.

    It takes up to `max_batch` pictures at once, and each forward pass up to `max_squares` of their views.
    """
    from lesion.algorithms.classify.torch_executor import TorchExecutor, load_networks

    executors = [
        TorchExecutor(load_networks(model_dir, manifest, model, folds, device), device, max_squares=max_squares)
        for device in devices
    ]
    ensemble = Ensemble(manifest, model, folds, executors, max_batch=max_batch, backend=f"torch {devices[0].type} fp32")
    check_answers(ensemble, model_dir)
    return ensemble


def chosen_folds(model: ClassifierRecord, fold: int | None, where: Path) -> list[FoldRecord]:
    """The records of all folds, or of one. Raises UserError for a fold that the artifact has not."""
    folds = [record for record in model.folds if fold is None or record.fold == fold]
    if not folds:
        known = ", ".join(str(record.fold) for record in model.folds)
        raise UserError(f"the artifact has no fold {fold}", where=where, do=f"Choose among {known}.")
    return folds


@dataclass(frozen=True)
class Prepared:
    """One picture as the networks take it: the square's uint8 RGB pixels, and the features that each fold makes of its
    metadata.
    """

    pixels_HWC: Pixels
    features_FM: Sequence[NDArray[np.float32]]
    num_views: int  # flips and turns of it that are averaged


class Ensemble:
    """A Predictor: probabilities are averaged over views and folds, each with the same weight."""

    def __init__(
        self,
        manifest: Manifest,
        model: ClassifierRecord,
        folds: Sequence[FoldRecord],
        executors: Sequence[Executor[Output]],
        *,
        max_batch: int,
        backend: str,
    ) -> None:
        self.manifest, self.model, self.executors, self.max_batch = manifest, model, executors, max_batch
        self.folds = [record.fold for record in folds]  # those that are asked
        self.backend = backend  # what computes, in words
        self.target = model.question
        self.num_cells = 2 if self.target.has_binary_answer else self.target.num_outputs + 1
        self.column_names = column_names(self.target)
        self.image_column = model.image_column
        self.metadata_columns = tuple(model.metadata_columns)
        self.metadata_words = known_words(folds)
        self._records = folds
        self._encoders = [MetadataEncoder(record.metadata) for record in folds]
        self._free: queue.SimpleQueue[Executor[Output]] = queue.SimpleQueue()
        for executor in executors:
            self._free.put(executor)

    def with_manifest(self, manifest: Manifest) -> Ensemble:
        """The same networks under a manifest that says more of them."""
        other = copy.copy(self)
        other.manifest = manifest
        return other

    def prepare(self, image: Pixels, row: Row, options: Options = Options()) -> Prepared:
        """A picture (uint8 RGB [H, W, 3], any size) and metadata that may lack fields, ready for an executor."""
        features_FM = [encoder.encode([row])[0] for encoder in self._encoders]
        return Prepared(self.model.preprocessing(image), features_FM, options.views or self.model.num_views)

    def answer(self, output: Output, options: Options) -> Answer:
        """What a client is told of one picture."""
        thresholds_Q = self.model.target.thresholds
        return answer_of(output, options, target=self.target, thresholds_Q=thresholds_Q, folds=self.folds)

    def describe(self) -> dict[str, Any]:
        """Question, thresholds, inputs, views, metrics and folds, in JSON's own types."""
        return describe(self.manifest, self.model, self._records)

    def compute(self, images: Sequence[Pixels], metadata: Sequence[Row]) -> list[Output]:
        """The outputs of pictures (uint8 RGB [H, W, 3], any sizes), the executors side by side."""
        pictures = [self.prepare(image, row) for image, row in zip(images, metadata, strict=True)]
        batches = [pictures[start : start + self.max_batch] for start in range(0, len(pictures), self.max_batch)]
        if len(batches) == 1:
            return list(self._run(batches[0]))
        with ThreadPoolExecutor(len(self.executors)) as pool:
            return list(chain.from_iterable(pool.map(self._run, batches)))

    def predict(self, images: Sequence[Pixels], metadata: Sequence[Row]) -> NDArray[np.float32]:
        """Probabilities [N, K] of pictures (uint8 RGB [H, W, 3], any sizes) and metadata that may lack fields."""
        return np.stack([combine(self.target, output.logits_FVK) for output in self.compute(images, metadata)])

    def _run(self, batch: Sequence[Prepared]) -> Sequence[Output]:
        executor = self._free.get()
        try:
            return executor(batch)
        finally:
            self._free.put(executor)


def known_words(folds: Sequence[FoldRecord]) -> dict[str, set[str]]:
    """The words that any of the folds knows, by column."""
    words: dict[str, set[str]] = {}
    for record in folds:
        for column in record.metadata:
            if column.kind == "category":
                words.setdefault(column.name, set()).update(column.categories)
    return words
