"""Manifest: the payload of anomaly detection in an artifact: its scorer, what a score of 0.5 is, and the threshold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lesion.algorithms.anomaly.threshold import NormalCurve, Threshold, Thresholds
from lesion.algorithms.stored_record import Record, StoredArgs, StoredPreprocess, Text, read_record
from lesion.artifact import Manifest
from lesion.data.decode.images import FrameChoice
from lesion.evaluation.operating_points import RocCurve
from lesion.stored_files import FileName

ALGORITHM = "anomaly"
Side = Annotated[int, Field(ge=1, le=2048)]


class MemoryRecord(BaseModel):
    """The memory scorer: its backbone, the levels that are read, and the shapes of its memory and its maps."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    kind: Literal["memory"]
    file: FileName  # backbone, statistics and memory
    model: Text  # timm's name of the backbone
    model_args: StoredArgs
    strides: Annotated[tuple[Side, ...], Field(min_length=1)]
    num_patches: Annotated[int, Field(ge=1, le=2**20)]
    num_features: Annotated[int, Field(ge=1, le=2**20)]
    edge_is_zero: bool = False  # of artifacts of before: what lies beyond the picture is left out of a mean

    @property
    def called(self) -> str:
        """What reports call it."""
        return "memory"

    @property
    def size_in_words(self) -> str:
        """What it is made of."""
        return f"{self.num_patches:,} patches"


class GanRecord(BaseModel):
    """The GAN scorer: the filters of its blocks, which say the side of its pictures, over how many pixels a side its
    distances are averaged, the side of the cells that are filled in from the others, 0 for none, and what of an image
    is compared with its reconstruction."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["gan"]
    file: FileName  # generator, mean and whitening of its errors
    filters: Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(min_length=2, max_length=9)]
    smoothing_px: Annotated[int, Field(ge=1, le=127)]
    cell_px: Annotated[int, Field(ge=0, le=512)]
    compare: Literal["colours", "features"] = "colours"  # as artifacts of before do

    @property
    def model(self) -> str:
        """What messages call its network."""
        return "progressive GAN"

    @property
    def called(self) -> str:
        """What reports call it."""
        return self.model

    @property
    def size_in_words(self) -> str:
        """What it is made of."""
        return f"{len(self.filters)} blocks"


class OperatingRecord(BaseModel):
    """The threshold of a score, by what it was chosen, and the curves on which another one can be.

    `roc` is None where no held-out row was anomalous. `false_positive_rate` is that of new normal images, judged on
    groups that did not choose the threshold: value, low and high as far as known, and why where it is not.
    """

    model_config = ConfigDict(frozen=True)

    spec: Annotated[str, Field(max_length=100)]
    threshold: Annotated[float, Field(ge=0, le=1)]
    normal: NormalCurve
    roc: RocCurve | None
    false_positive_rate: dict[str, Any]


class PixelRecord(BaseModel):
    """The threshold of a place's score, the specificity of normal places that it was chosen by, and the false-positive
    rate of new normal images' places, as OperatingRecord has it."""

    model_config = ConfigDict(frozen=True)

    specificity: Annotated[float, Field(gt=0, le=1)]
    threshold: Annotated[float, Field(ge=0, le=1)]
    false_positive_rate: dict[str, Any]


class GraphRecord(BaseModel):
    """The scorer as a graph of OpenVINO, and the largest difference of its scores from torch's over `num_checked`."""

    model_config = ConfigDict(frozen=True)

    file: FileName
    weights_file: FileName
    num_checked: int
    difference: float


class AnomalyRecord(Record):
    """All that prediction needs beside the weights."""

    model_config = ConfigDict(frozen=True)

    scorer: Annotated[MemoryRecord | GanRecord, Field(discriminator="kind")]
    preprocessing: StoredPreprocess
    map_height: Side
    map_width: Side
    area: Annotated[float, Field(ge=0, lt=1)]  # the share of places whose distance is the image's
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)]  # the distance of score 0.5
    operating: OperatingRecord
    pixels: PixelRecord | None = None  # None in artifacts of before it: a place is judged by the image's threshold
    image_column: str
    dicom_frames: FrameChoice = "first"
    counts_bars: bool = True  # of artifacts of before: the bars of fit=pad count as places of an image
    num_normal: Annotated[int, Field(ge=1)]  # images that it learned from
    graph: GraphRecord | None = None

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if len(set(self.files)) < len(self.files):
            raise ValueError("it names a file twice")
        side = self.preprocessing.image_size
        if self.scorer.kind == "gan" and side != 4 << (len(self.scorer.filters) - 1):
            raise ValueError(f"a GAN of {len(self.scorer.filters)} blocks does not take pictures of {side} px")
        return self

    @property
    def files(self) -> Sequence[str]:
        """The files that it names."""
        return [self.scorer.file, *([] if self.graph is None else [self.graph.file, self.graph.weights_file])]

    def thresholds(self) -> Thresholds:
        """The thresholds that an answer may have."""
        operating = self.operating
        own = Threshold(operating.spec, operating.threshold, operating.false_positive_rate)
        return Thresholds(own, operating.normal, operating.roc)


def read(model_dir: Path, manifest: Manifest) -> AnomalyRecord:
    """The payload of a manifest. Raises UserError where it is another algorithm's, a field is wrong, or it names a file
    that the manifest does not list."""
    return read_record(model_dir, manifest, ALGORITHM, AnomalyRecord)
