"""Predictor: one interface to the folds of an artifact, computed by torch or by a graph.

The same code for the test set, the command line and HTTP. Imports neither torch nor pandas.
"""

# N batch · F folds · V views · H, W pixels · K outputs · M metadata features

from __future__ import annotations

import copy
import queue
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.base import Answer, Options, Output
from lesion.algorithms.classify.describe import describe
from lesion.algorithms.classify.explanation.maps import WantedMap, wanted_map, with_map
from lesion.algorithms.classify.manifest import ClassifierRecord, FoldRecord
from lesion.algorithms.classify.prediction.answer import answer_of, column_names, combine, has_warnings, with_warnings
from lesion.algorithms.classify.prediction.safeguards import Note, Safeguards
from lesion.artifact import Manifest
from lesion.data.decode.images import Pixels
from lesion.data.metadata import KnownWords, MetadataEncoder, Row
from lesion.errors import UserError
from lesion.inference.batcher import Executor


@dataclass(frozen=True)
class Prepared:
    """One picture as the networks take it: the square's uint8 RGB pixels, and the features that each fold makes of its
    metadata.
    """

    pixels_HWC: Pixels
    features_FM: Sequence[NDArray[np.float32]]
    num_views: int  # flips and turns of it that are averaged
    notes: tuple[Note, ...] = ()  # of quality and appearance, where the artifact has safeguards
    wanted_map: WantedMap | None = None


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
        self.folds = [record.fold for record in folds]  # those that are used
        self.backend = backend  # what computes, in words
        self._safeguards: Safeguards | None = None
        self.target, self.calibration, self.points = model.question, model.calibration, model.points()
        self.num_cells = 2 if self.target.has_binary_answer else self.target.num_outputs + 1
        self.column_names = column_names(self.target)
        self.image_column, self.dicom_frames = model.image_column, model.dicom_frames
        self.decode_px = model.preprocessing.decode_px
        self.metadata_columns = tuple(model.metadata_columns)
        self.metadata_words = known_words(folds)
        self._records = folds
        self._encoders = [MetadataEncoder(record.metadata) for record in folds]
        self._free: queue.SimpleQueue[Executor[Output]] = queue.SimpleQueue()
        for executor in executors:
            self._free.put(executor)

    def with_record(self, manifest: Manifest, model: ClassifierRecord) -> Ensemble:
        """The same networks with another manifest and payload, which differ in metrics and calibration."""
        other = copy.copy(self)
        other.manifest, other.model = manifest, model
        other.calibration, other.points = model.calibration, model.points()
        return other

    def with_safeguards(self, safeguards: Safeguards | None) -> Ensemble:
        """The same networks, whose answers also say how unusual a picture is; None for an artifact without."""
        other = copy.copy(self)
        if safeguards is not None:
            other._safeguards, other.column_names = safeguards, [*column_names(self.target), "warnings"]
        return other

    def prepare(self, image: Pixels, row: Row, options: Options = Options()) -> Prepared:
        """A picture (uint8 RGB [H, W, 3], any size) and metadata that may lack fields, ready for an executor.

        Raises UserError for a cell that should be a number and is not, for views that training did without, for an
        operating point or a map's class that cannot be, and of kind `low_quality` for a picture that the quality
        gate refuses.
        """
        most = self.model.most_views
        if options.views is not None and options.views > most:
            what = (
                f"views={options.views} is more than {most}, which this model was trained for: flips={self.model.flips}"
            )
            raise UserError(what, do=f"Ask for at most {most}.", kind="custom_attributes")
        self.points.of(options.operating_point)  # refused before it is computed
        features_FM = [encoder.encode([row])[0] for encoder in self._encoders]
        square_HWC = self.model.preprocessing(image)
        notes: tuple[Note, ...] = ()
        if self._safeguards is not None:
            notes = (self._safeguards.note(image, square_HWC, is_told=has_warnings(options, self.target)),)
        wanted = None if options.map is None else wanted_map(self.model, image, options.map, options.map_method)
        return Prepared(square_HWC, features_FM, options.views or self.model.num_views, notes, wanted)

    def answer(self, output: Output, options: Options) -> Answer:
        """The prediction of one picture, in the forms that a client can read."""
        point = self.points.of(options.operating_point)
        answer = answer_of(
            output,
            options,
            target=self.target,
            calibration=self.calibration,
            point=point,
            prediction_sets=self.model.prediction_sets,
            folds=self.folds,
            final_model=self.model.final_model,
        )
        if self._safeguards is not None:
            answer = with_warnings(answer, options, *self._safeguards.judge(output, self.folds))
        return answer if output.map is None else with_map(answer, output.map, self.model.explanation)

    def describe(self) -> dict[str, Any]:
        """Question, thresholds, inputs, views, metrics and folds, in JSON's own types."""
        return describe(self.manifest, self.model, self._records, self.points.default)

    def compute(self, images: Sequence[Pixels], metadata: Sequence[Row], options: Options = Options()) -> list[Output]:
        """The outputs of pictures (uint8 RGB [H, W, 3], any sizes), the executors side by side."""
        pictures = [self.prepare(image, row, options) for image, row in zip(images, metadata, strict=True)]
        batches = [pictures[start : start + self.max_batch] for start in range(0, len(pictures), self.max_batch)]
        if len(batches) == 1:
            return list(self._run(batches[0]))
        with ThreadPoolExecutor(len(self.executors)) as pool:
            return list(chain.from_iterable(pool.map(self._run, batches)))

    def predict(self, images: Sequence[Pixels], metadata: Sequence[Row]) -> NDArray[np.float32]:
        """Probabilities [N, K] of pictures (uint8 RGB [H, W, 3], any sizes) and metadata that may lack fields."""
        outputs = self.compute(images, metadata)
        return np.stack([combine(self.target, output.logits_FVK, self.calibration) for output in outputs])

    def _run(self, batch: Sequence[Prepared]) -> Sequence[Output]:
        executor = self._free.get()
        try:
            return executor(batch)
        finally:
            self._free.put(executor)


def known_words(folds: Sequence[FoldRecord]) -> dict[str, KnownWords]:
    """The words that any of the folds knows, by column."""
    columns = [column for record in folds for column in record.metadata if column.kind == "category"]
    names = dict.fromkeys(column.name for column in columns)
    return {name: KnownWords(column for column in columns if column.name == name) for name in names}
