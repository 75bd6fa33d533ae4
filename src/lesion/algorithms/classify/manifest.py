"""Manifest: the classifier's payload in an artifact: its target, its network, and a record of each fold."""

# K outputs

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from lesion.algorithms.classify.prediction.point import Points
from lesion.algorithms.stored_record import (
    MAX_IMAGE_SIZE,
    Finite,
    Record,
    Share,
    StoredArgs,
    StoredPreprocess,
    Text,
    read_record,
)
from lesion.artifact import Manifest
from lesion.data.decode.images import FrameChoice
from lesion.data.metadata import ColumnEncoder
from lesion.data.quality.image_quality import MEASURES
from lesion.data.vocabulary import normal_form
from lesion.evaluation.calibration import Calibration
from lesion.evaluation.conformal import PredictionSets
from lesion.evaluation.operating_points import RocCurve
from lesion.explain.record import ExplanationRecord
from lesion.geometry import MAX_VIEWS, NUM_VIEWS, Flips
from lesion.stored_files import FileName
from lesion.targets import Target, TaskType

ALGORITHM = "classify"


def _each_once(names: Sequence[str]) -> Sequence[str]:
    if len(set(names)) < len(names):
        raise ValueError("it holds a name twice")
    return names


def _sound(encoder: ColumnEncoder) -> ColumnEncoder:
    _each_once(encoder.categories)
    if encoder.synonyms is not None:
        _each_once([normal_form(category) for category in encoder.categories])
        if strangers := set(encoder.synonyms.values()) - set(encoder.categories):
            raise ValueError(f"{encoder.name[:80]!r} has synonyms of {min(strangers)[:80]!r}, which is no category")
    if not (np.isfinite(encoder.mean) and np.isfinite(encoder.std) and encoder.std > 0):
        raise ValueError(f"{encoder.name[:80]!r} has mean {encoder.mean} and deviation {encoder.std}")
    return encoder


Names = AfterValidator(_each_once)
LowQualityPolicy = Literal["ignore", "warn", "refuse"]
FinalModel = Literal["ensemble", "refit", "soup"]


class TargetRecord(BaseModel):
    """The target that was learned: task type, classes, and decision thresholds.

    Binary and one of many: one threshold. Multilabel: one per label. Multiclass: none.
    """

    model_config = ConfigDict(frozen=True)

    kind: TaskType
    class_names: Annotated[tuple[Text, ...], Field(min_length=1), Names]
    of_interest: str | None  # the positive class of a multiclass target, by the name that format 3 has for it
    thresholds: tuple[Share, ...]

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        names = self.class_names
        if self.of_interest is not None and (self.kind != "multiclass" or self.of_interest not in names):
            raise ValueError(f"of_interest {self.of_interest[:80]!r} is not one of several classes")
        if len(names) != 2 if self.kind == "binary" else self.kind == "multiclass" and len(names) < 2:
            raise ValueError(f"{len(names)} class_names do not fit task type {self.kind}")
        has_binary_answer = self.kind == "binary" or self.of_interest is not None
        wanted = 1 if has_binary_answer else len(names) if self.kind == "multilabel" else 0
        if len(self.thresholds) != wanted:
            raise ValueError(f"{len(self.thresholds)} thresholds, but this target needs {wanted}")
        return self


class OperatingRecord(BaseModel):
    """By what the thresholds were chosen, and the ROC curves on which another operating point can be: one a judged
    output, None where its rows are of one class. `prevalences` are the deployment's, of the positive class of each.
    """

    model_config = ConfigDict(frozen=True)

    spec: Annotated[str, Field(max_length=100)]
    curves: tuple[RocCurve | None, ...]
    prevalences: tuple[Share | None, ...]


class FoldRecord(BaseModel):
    """One network, a fold's or the final one: the file of its weights, its metadata encoders, and how it did on rows
    that it never saw; nothing where it saw all.
    """

    model_config = ConfigDict(frozen=True)

    fold: Annotated[int, Field(ge=0)]
    file: FileName
    metadata: tuple[Annotated[ColumnEncoder, AfterValidator(_sound)], ...]
    best_epoch: int
    metrics: dict[str, float]

    @property
    def num_metadata(self) -> int:
        """How many numbers the network takes of a row's metadata."""
        return sum(encoder.width for encoder in self.metadata)


class GraphRecord(BaseModel):
    """All folds as one graph of OpenVINO, and how far its probabilities lay from torch's where it was made.

    `differences` holds the largest by precision, fp32 and, where that machine could compute in it, bf16, over as many
    pictures as `num_checked`. `num_features` is the width of the outputs `features_F`, the penultimate features of a
    picture; None where the graph has no such outputs. `place_side` is the side of the outputs `places_F`, the logits of
    each place of the last level, from which maps are drawn; None where the graph has none.
    """

    model_config = ConfigDict(frozen=True)

    file: FileName
    weights_file: FileName
    num_checked: int
    differences: dict[str, float]
    num_features: Annotated[int, Field(ge=1)] | None = None
    place_side: Annotated[int, Field(ge=1, le=MAX_IMAGE_SIZE)] | None = None


class QualityRecord(BaseModel):
    """The picture-quality gate: what is usual among the training pictures, and what becomes of a picture that is not.

    `bounds` has the lowest and the highest usual value of a measure; `share_warned` by warning how many of the training
    pictures lie beyond them.
    """

    model_config = ConfigDict(frozen=True)

    on_low_quality: LowQualityPolicy
    num_pictures: Annotated[int, Field(ge=1)]
    bounds: dict[str, tuple[Finite | None, Finite | None]]
    share_warned: dict[str, Share]

    @model_validator(mode="after")
    def _known(self) -> Self:
        if strangers := set(self.bounds) - set(MEASURES):
            raise ValueError(f"{min(strangers)[:80]!r} is no measure of quality")
        return self


class FamiliarityRecord(BaseModel):
    """The out-of-distribution score: the file of its statistics (float32), and of how many held-out rows they are.

    A picture that is less familiar than the share `rare` of these rows is called unfamiliar.
    """

    model_config = ConfigDict(frozen=True)

    file: FileName
    num_rows: Annotated[int, Field(ge=1)]
    folds: tuple[Annotated[int, Field(ge=0)], ...]
    rare: Share


class ReferenceRecord(BaseModel):
    """What served answers and images are compared with: the file of the samples (float32), and of how many held-out
    rows the scores are. `answered` says of several classes how many of these rows each was the most probable of.
    """

    model_config = ConfigDict(frozen=True)

    file: FileName
    num_rows: Annotated[int, Field(ge=1)]
    answered: tuple[Annotated[int, Field(ge=0)], ...] = ()


class ClassifierRecord(Record):
    """All that prediction needs beside the weights: network, preprocessing, metadata encoders, target.

    Its bounds let through all that training can write, and nothing that prediction cannot use.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model: Text  # timm's name of the network
    model_args: StoredArgs
    target: TargetRecord
    preprocessing: StoredPreprocess
    num_views: Annotated[int, Field(ge=1, le=MAX_VIEWS)]
    flips: Flips = "flips_and_rotations"  # those that it was trained with; older artifacts were with all
    metadata_columns: Annotated[list[str], Names]
    image_column: str
    dicom_frames: FrameChoice = "first"
    prediction_sets: PredictionSets | None = None  # of a single answer; None: an older artifact, or none can be made
    calibration: Calibration | None = None  # None: the folds' probabilities are averaged as they are
    operating: OperatingRecord | None = (
        None  # None: an older artifact, or several classes, the most probable of which is the answer
    )
    target_columns: list[str]
    folds: Annotated[list[FoldRecord], Field(min_length=1)]  # of a refit or a soup the one network
    final_model: FinalModel = "ensemble"
    graph: GraphRecord | None = None
    quality: QualityRecord | None = None  # None: fewer training pictures than it needs, or an older artifact
    familiarity: FamiliarityRecord | None = None  # likewise
    reference: ReferenceRecord | None = None  # None: fewer held-out rows than it needs, or an older artifact
    explanation: ExplanationRecord | None = None

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        _each_once([str(record.fold) for record in self.folds])
        if self.final_model != "ensemble" and len(self.folds) > 1:
            raise ValueError(f"a {self.final_model} is one network, and folds lists {len(self.folds)}")
        _each_once(self.files)
        if self.num_views > self.most_views:
            raise ValueError(f"num_views is {self.num_views}, and flips={self.flips} allows {self.most_views}")
        if self.calibration is not None:
            calibration, num_outputs = self.calibration, self.question.num_outputs
            if len(calibration.trained_prevalence) != num_outputs:
                raise ValueError(
                    f"calibration of {len(calibration.trained_prevalence)} outputs, and there are {num_outputs}"
                )
            if calibration.pooling.is_multiclass != (self.target.kind == "multiclass"):
                raise ValueError(f"the calibration does not fit task type {self.target.kind}")
        if (sets := self.prediction_sets) is not None:
            num_classes = 2 if self.question.has_binary_answer else len(self.target.class_names)
            if self.target.kind == "multilabel" or len(sets.quantiles) not in (1, num_classes):
                raise ValueError(
                    f"prediction_sets has {len(sets.quantiles)} quantiles for task type {self.target.kind}"
                )
        if self.operating is not None:
            wanted = len(self.target.thresholds)
            if wanted == 0 or not len(self.operating.curves) == len(self.operating.prevalences) == wanted:
                raise ValueError(
                    f"operating has {len(self.operating.curves)} curves, and there are {wanted} thresholds"
                )
        for record in self.folds:
            if [encoder.name for encoder in record.metadata] != self.metadata_columns:
                raise ValueError(f"the metadata of fold {record.fold} does not match metadata_columns")
            kinds = [[(encoder.kind, encoder.is_log) for encoder in of.metadata] for of in (record, self.folds[0])]
            if kinds[0] != kinds[1]:
                raise ValueError(f"folds {record.fold} and {self.folds[0].fold} encode metadata differently")
        return self

    @property
    def most_views(self) -> int:
        """How many views of an image may be averaged."""
        return NUM_VIEWS[self.flips]

    @property
    def files(self) -> list[str]:
        """The files that it names."""
        graph = [] if self.graph is None else [self.graph.file, self.graph.weights_file]
        familiarity = [] if self.familiarity is None else [self.familiarity.file]
        reference = [] if self.reference is None else [self.reference.file]
        return [*(record.file for record in self.folds), *graph, *familiarity, *reference]

    @property
    def question(self) -> Target:
        """The target, with all that follows from it."""
        return Target(self.target.kind, self.target.class_names, self.target.of_interest)

    def points(self) -> Points:
        """The operating points that an answer may have."""
        operating = self.operating or OperatingRecord(spec="youden", curves=(), prevalences=())
        return Points(
            self.question,
            spec=operating.spec,
            thresholds_Q=self.target.thresholds,
            curves_Q=operating.curves,
            prevalences_Q=operating.prevalences,
        )


def read(model_dir: Path, manifest: Manifest) -> ClassifierRecord:
    """The classifier's payload of a manifest. Raises UserError where it is another algorithm's, a field is wrong, or it
    names a file that the manifest does not list.
    """
    return read_record(model_dir, manifest, ALGORITHM, ClassifierRecord)
