"""The hyperparameters of anomaly detection, each declared once. settings.py has the groups of all algorithms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from lesion.algorithms.valid_operating_point import valid_operating_point
from lesion.config import Hyperparameters, tunable
from lesion.settings import BackboneSettings, InputSettings, JobSettings, MachineSettings

BY_GROUP = "by_group"  # the split that is not a column
# Settings of shared groups that have no meaning here: who sets one is told so.
UNUSED = {
    "metadata_columns": "only the image is looked at",
    "log_columns": "only the image is looked at",
    "parallel": "all processes share the images of the one memory",
    "explain": "each answer can come with its map",
    "class_name_column": "name the normal class in normal_class",
}


class NormalSettings(Hyperparameters):
    """Which rows are normal, which of them are learned from, and where an answer becomes anomalous."""

    heading: ClassVar = "Normal tissue and threshold"

    normal_class: str | None = tunable(
        None,
        doc="Normal class: the word of the target column that is normal; all other classes are anomalous. none takes "
        "the negative one of two known classes (0, normal, benign). Without a target column all rows are normal.",
    )
    split: str = tunable(
        BY_GROUP,
        doc="Split: by_group holds whole groups out at random; or the name of a column with the set of each row: "
        "train, validation (sets the threshold) or test.",
    )
    held_out: float = tunable(
        0.3,
        gt=0,
        lt=1,
        doc="Held-out share: of the normal rows, in whole groups. They set the threshold, and the network's memory "
        "never sees them. More makes the false-positive rate more certain, and the memory poorer.",
    )
    operating_point: str = tunable(
        "specificity=0.95",
        affects="output",
        doc="Operating point: what decides between normal and anomalous. specificity=0.95 lets at most 5 % of the "
        "held-out normal images be false alarms, and needs no anomalous row. With anomalous rows also youden, "
        "sensitivity=0.95, cost=10 or f_beta=0.05. Or threshold=0.6. An endpoint and a request can choose another.",
    )
    pixel_specificity: float = tunable(
        0.9998,
        gt=0,
        lt=1,
        affects="output",
        doc="Pixel specificity: share of the held-out normal images' pixels that the map must leave unflagged. It sets "
        "the threshold of pixels, which is another than that of images. Lower flags more of an anomaly, and more "
        "normal tissue.",
    )
    mask_column: str = tunable(
        "mask",
        affects="output",
        doc="Mask column: path of each image's mask below the channel's folder, a picture of the image's size that is "
        "above 0 where the image is anomalous; empty for none. Pixel metrics need it. Ignored if the table has no "
        "such column and you did not set this.",
    )

    _valid_point = field_validator("operating_point")(valid_operating_point)


class ScorerSettings(BackboneSettings):
    """What measures how far a place of an image is from all normal ones."""

    heading: ClassVar = "Scorer"

    scorer: Literal["memory"] = tunable(
        "memory",
        doc="Scorer: what gives each place of an image its distance from normal. memory: features of a pretrained "
        "network, compared with those of normal images (PatchCore, Roth et al. 2022).",
    )
    model: str = tunable(
        "mobilenetv2_100",
        doc="Backbone: any timm model name whose intermediate levels timm gives. It is not trained.",
    )
    image_size: int = tunable(
        224,
        ge=32,
        le=2048,
        doc="Input resolution: side in pixels of the square image that the network sees. Larger finds smaller "
        "anomalies; time grows with its square.",
    )
    strides: Annotated[tuple[int, ...], Field(min_length=1)] = tunable(
        (8, 16),
        doc="Levels: of the backbone, by how many pixels one place of them spans. Their features are joined. Smaller "
        "strides see finer structures, larger ones more context.",
    )
    memory_patches: int = tunable(
        2048,
        ge=1,
        le=100_000,
        tune=(256, 20_000),
        scale="Logarithmic",
        doc="Memory size: number of normal patches that are kept, by a greedy coreset. They may take 25 MiB, and as "
        "much again in the CPU graph; the log says how much before training. Too many keep odd normal patches, near "
        "which anomalies hide: about 1 to 3 % of the places that were seen.",
    )
    anomalous_area: float = tunable(
        0.03,
        ge=0,
        lt=1,
        affects="predictions",
        doc="Smallest anomalous area: share of an image's places. The anomaly score is the distance that this share of "
        "the places reaches, so an image is anomalous if this share of it is. 0 takes the largest distance.",
    )


class AnomalyConfig(NormalSettings, InputSettings, ScorerSettings, MachineSettings, JobSettings):
    """Everything a user can set for algorithm=anomaly."""

    algorithm: Literal["anomaly"] = tunable("anomaly", doc="Algorithm that is trained.")
    recipe: Literal["none"] = tunable("none", doc="Recipe (preset): this algorithm has none.")
    precision: Literal["fp32"] = tunable("fp32", doc="Precision: distances of features need fp32.")

    def contradictions(self) -> Iterator[str]:
        """Settings that this algorithm does not use, and two names for one class."""
        for name, why in UNUSED.items():
            default: Any = type(self).model_fields[name].default
            if name in self.model_fields_set and getattr(self, name) != default:
                yield f"{name} is not used by algorithm=anomaly ({why}): leave it out"
        if self.normal_class is not None and self.normal_class == self.positive_class:
            yield f"normal_class and positive_class are both {self.normal_class}: the positive class is the anomalous"

    @property
    def fold_column(self) -> str | None:
        """The column that says which rows are held out; None where groups are held out at random."""
        return None if self.split == BY_GROUP else self.split
