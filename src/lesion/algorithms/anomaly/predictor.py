"""Predictor: an artifact that answers how anomalous a picture is, computed by torch or by the CPU graph.

The same code for training's own check, the command line and HTTP. Imports neither torch nor pandas.
"""

# H, W pixels · h, w places of a map · P = h × w · V frames of a file

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.anomaly.manifest import AnomalyRecord
from lesion.algorithms.anomaly.regions import flagged, num_places
from lesion.algorithms.anomaly.seen import seen_hw
from lesion.algorithms.anomaly.threshold import image_distance, score_of
from lesion.algorithms.base import Answer, Options, Output
from lesion.artifact import Manifest
from lesion.data.decode.images import Pixels
from lesion.data.metadata import Row
from lesion.errors import UserError
from lesion.explain.picture_map import PictureMap
from lesion.inference.batcher import Executor

ANOMALOUS, NORMAL = "anomalous", "normal"
METHOD = "distance"  # what maps show


@dataclass(frozen=True)
class Prepared:
    """One picture as the scorer takes it, and its own size."""

    square_HWC: NDArray[np.uint8]
    size: tuple[int, int]


@dataclass(frozen=True)
class Scored:
    """What is said of one picture of a height and a width: its score, the share of its places that are flagged, the
    highest score of one of them, and of each place of the square whether it is flagged and its score."""

    score: float
    fraction: float
    is_anomalous: bool
    highest: float
    frame: int  # of a file with several the one that is answered for
    size: tuple[int, int]
    is_flagged_hw: NDArray[np.bool_]
    score_hw: NDArray[np.float64]


class AnomalyPredictor:
    """A Predictor. An `Output` of its executors holds the distance of each place, [1, V, P], where others hold logits;
    of a file with several frames the most anomalous one is answered for."""

    num_cells = 3
    column_names = ("anomaly_score", "anomalous_fraction", "is_anomalous")
    metadata_columns: Sequence[str] = ()
    metadata_words: Mapping[str, Any] = {}

    def __init__(
        self,
        manifest: Manifest,
        model: AnomalyRecord,
        executors: Sequence[Executor[Output]],
        *,
        max_batch: int,
        backend: str,
    ) -> None:
        self.manifest, self.model, self.executors, self.max_batch = manifest, model, executors, max_batch
        self.backend = backend  # what computes, in words
        self.thresholds = model.thresholds()
        self.image_column, self.dicom_frames = model.image_column, model.dicom_frames
        self.decode_px = model.preprocessing.decode_px

    def prepare(self, image: Pixels, row: Row, options: Options = Options()) -> Prepared:  # noqa: ARG002
        """A picture (uint8 RGB [H, W, 3], any size), ready for an executor. Metadata is not looked at.

        Raises UserError of kind `custom_attributes` for options that cannot be.
        """
        self.refuse_options(options)
        return Prepared(self.model.preprocessing(image), (image.shape[0], image.shape[1]))

    def refuse_options(self, options: Options) -> None:
        """Raises UserError of kind `custom_attributes` for options that cannot be."""
        self.thresholds.of(options.operating_point)
        if options.views not in (None, 1):
            what = f"views={options.views}: this model looks at each image once"
            raise UserError(what, do="Leave views out.", kind="custom_attributes")
        if options.map not in (None, "", ANOMALOUS) or options.map_method not in (None, METHOD):
            asked = options.map_method or options.map
            what = f"this model has no map '{str(asked)[:80]}': its maps show the {METHOD} from normal"
            raise UserError(what, do="Say map=true.", kind="custom_attributes")

    def answer(self, output: Output, options: Options) -> Answer:
        """The prediction of one picture: "anomaly_score" in 0 to 1, which is 0.5 at the distance that at most 5 % of
        held-out normal images reach; "is_anomalous", whether that is at or above the threshold; "anomalous_fraction",
        the share of its places that are flagged, by the threshold of pixels, which no request changes. With a map also
        "map", a grey PNG in base64: 255 times the score of each place. To a request that chose the threshold also
        "operating_point", with its false-positive rate. A CSV, which has no true and false, holds 1 and 0.
        """
        threshold = self.thresholds.of(options.operating_point)
        scored = self.scored(output, threshold.score)
        columns: dict[str, Any] = {
            "anomaly_score": scored.score,
            "anomalous_fraction": scored.fraction,
            "is_anomalous": scored.is_anomalous,
        }
        fields = dict(columns)
        columns["is_anomalous"] = int(scored.is_anomalous)
        told = {"asked": threshold.spec, "threshold": threshold.score}
        if options.details or options.operating_point is not None:
            fields["operating_point"] = {**told, "false_positive_rate": dict(threshold.false_positive_rate)}
        if options.map is not None:
            png = self.map_of(scored, ends=(0.0, 1.0)).png()
            fields |= {"map": base64.b64encode(png).decode("ascii"), "map_method": METHOD}
        label = ANOMALOUS if scored.is_anomalous else NORMAL
        return Answer(
            fields=fields,
            line={"prediction": [scored.score], **fields},
            cells=list(columns.values()),
            columns=columns,
            bare=fields,
            audit={"label": label, "operating_point": told, "warnings": []},
        )

    def scored(self, output: Output, threshold: float | None = None) -> Scored:
        """The numbers of an answer at a threshold, by default the served one."""
        threshold = self.thresholds.default.score if threshold is None else threshold
        [size, *_], shape = output.notes, (self.model.map_height, self.model.map_width)
        is_seen_hw = seen_hw(size, "crop" if self.model.counts_bars else self.model.preprocessing.fit, *shape)
        seen_VP = output.logits_FVK[0][:, is_seen_hw.ravel()]
        frame = int(np.argmax(image_distance(seen_VP, self.model.area)))
        score_hw = score_of(output.logits_FVK[0, frame], self.model.scale).reshape(shape)
        # Nine digits bring a float32 back; the threshold is compared with what is told
        score = float(f"{float(image_distance(score_hw[is_seen_hw], self.model.area)):.9g}")
        is_flagged_hw, fraction = self.flagged(np.where(is_seen_hw, score_hw, np.nan))
        highest = float(score_hw[is_seen_hw].max())
        return Scored(score, fraction, score >= threshold, highest, frame, size, is_flagged_hw, score_hw)

    def flagged(self, score_hw: NDArray[np.float64]) -> tuple[NDArray[np.bool_], float]:
        """Which places [h, w] of a map of scores are anomalous, and which share of the image that is. Scores are NaN
        beside the image."""
        if self.model.pixels is None:
            is_flagged_hw = np.asarray(score_hw >= self.thresholds.default.score)
        else:
            is_flagged_hw = flagged(score_hw, self.model.pixels.threshold, self.model.area)
        return is_flagged_hw, float(f"{float(is_flagged_hw.sum() / num_places(score_hw)):.9g}")

    @property
    def pixel_threshold(self) -> float:
        """The score from which on a place may be flagged."""
        return self.thresholds.default.score if self.model.pixels is None else self.model.pixels.threshold

    def map_of(self, scored: Scored, *, ends: tuple[float, float] | None = None) -> PictureMap:
        """The scores of a picture's places in its own coordinates, drawn between two `ends`: by default so that what
        stays below the threshold shows nothing."""
        threshold = self.pixel_threshold
        return self._drawn(scored, scored.score_hw, ends=ends or (threshold, min(threshold + 0.1, 1.0)))

    def flags_of(self, scored: Scored) -> PictureMap:
        """Which of a picture's places are flagged, 0 or 1, in its own coordinates."""
        return self._drawn(scored, scored.is_flagged_hw, ends=(0.0, 1.0))

    def _drawn(self, scored: Scored, values_hw: NDArray[Any], *, ends: tuple[float, float]) -> PictureMap:
        fit = self.model.preprocessing.fit
        return PictureMap(values_hw.astype(np.float32), ANOMALOUS, METHOD, *scored.size, fit, ends=ends)

    def compute(self, images: Sequence[Pixels]) -> list[Output]:
        """The outputs of pictures (uint8 RGB [H, W, 3], any sizes), batch by batch on the first executor."""
        prepared = [self.prepare(image, {}) for image in images]
        starts = range(0, len(prepared), self.max_batch)
        return [one for start in starts for one in self.executors[0](prepared[start : start + self.max_batch])]

    def describe(self) -> dict[str, Any]:
        """Question, threshold with its false-positive rate, inputs and metrics, in JSON's own types."""
        model, threshold = self.model, self.thresholds.default
        question: dict[str, Any] = {
            "kind": "anomaly",
            "classes": [NORMAL, ANOMALOUS],
            "positive_class": ANOMALOUS,
            "operating_point": {"asked": threshold.spec, "threshold": threshold.score},
            "false_positive_rate": dict(threshold.false_positive_rate),
        }
        if model.pixels is not None:
            question["pixels"] = model.pixels.model_dump()
        scorer = model.scorer
        return {
            "model": {"network": scorer.model},
            "question": question,
            "scorer": {"kind": scorer.kind, "size": scorer.size_in_words, "normal_images": model.num_normal},
            "inputs": {
                "picture": {"image_size": model.preprocessing.image_size, "fit": model.preprocessing.fit},
                "metadata": [],
            },
            "metrics": self.manifest.metrics,
        }

    def with_record(self, manifest: Manifest, model: AnomalyRecord) -> AnomalyPredictor:
        """The same executors with another manifest and payload."""
        return AnomalyPredictor(manifest, model, self.executors, max_batch=self.max_batch, backend=self.backend)


def output_of(distance_P: NDArray[np.float32], picture: Prepared) -> Output:
    """What an executor gives for a picture, of the distances of its places."""
    return Output(distance_P[None, None], notes=(picture.size,))
