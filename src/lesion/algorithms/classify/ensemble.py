"""Ensemble: the networks of an artifact's folds behind one door, whatever computes them: torch or a graph.

The same lines for the test set, the command line and HTTP. Imports neither torch nor pandas.
"""

# N batch · F folds · H, W pixels · K outputs · M metadata features

from __future__ import annotations

import queue
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.base import Lane, Prepared
from lesion.algorithms.classify.manifest import ClassifierRecord, FoldRecord
from lesion.artifact import Manifest
from lesion.data.images import Pixels
from lesion.data.metadata import MetadataEncoder, Row


class Ensemble:
    """A Predictor: probabilities are averaged over views and folds, each with the same weight."""

    def __init__(
        self,
        manifest: Manifest,
        model: ClassifierRecord,
        folds: Sequence[FoldRecord],
        lanes: Sequence[Lane],
        *,
        max_batch: int,
        backend: str,
    ) -> None:
        self.manifest, self.model, self.lanes, self.max_batch = manifest, model, lanes, max_batch
        self.folds = [record.fold for record in folds]  # those that are asked
        self.backend = backend  # what computes, in words
        self._encoders = [MetadataEncoder(record.metadata) for record in folds]
        self._free: queue.SimpleQueue[Lane] = queue.SimpleQueue()
        for lane in lanes:
            self._free.put(lane)

    def prepare(self, image: Pixels, row: Row, *, num_views: int | None = None) -> Prepared:
        """A picture (uint8 RGB [H, W, 3], any size) and metadata that may lack fields, ready for a lane."""
        features_FM = [encoder.encode([row])[0] for encoder in self._encoders]
        return Prepared(self.model.preprocessing(image), features_FM, num_views or self.model.num_views)

    def ask(self, images: Sequence[Pixels], metadata: Sequence[Row]) -> NDArray[np.float64]:
        """Each fold's probabilities [N, F, K], the lanes side by side."""
        pictures = [self.prepare(image, row) for image, row in zip(images, metadata, strict=True)]
        batches = [pictures[start : start + self.max_batch] for start in range(0, len(pictures), self.max_batch)]
        if len(batches) == 1:
            return self._run(batches[0])
        with ThreadPoolExecutor(len(self.lanes)) as pool:
            return np.concatenate(list(pool.map(self._run, batches)))

    def predict(self, images: Sequence[Pixels], metadata: Sequence[Row]) -> NDArray[np.float32]:
        """Probabilities [N, K] of pictures (uint8 RGB [H, W, 3], any sizes) and metadata that may lack fields."""
        return np.asarray(self.ask(images, metadata).mean(axis=1), dtype=np.float32)

    def _run(self, batch: Sequence[Prepared]) -> NDArray[np.float64]:
        lane = self._free.get()
        try:
            return lane(batch)
        finally:
            self._free.put(lane)
