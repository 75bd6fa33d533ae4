"""The hyperparameters of anomaly detection, each declared once. settings.py has the groups of all algorithms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from lesion.config import Hyperparameters, tunable
from lesion.errors import UserError
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
GAN_SIDES, GAN_SIDE = (32, 64, 128, 256, 512, 1024), 64
OF_MEMORY = ("model", "model_args", "pretrained", "image_mean", "image_std", "strides", "memory_patches")


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
        "sensitivity=0.95, cost=10 or f_beta=0.05. Or sigma=3, which is so many standard deviations above the mean of "
        "the places of held-out normal images, or threshold=0.6. An endpoint and a request can choose another.",
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

    @field_validator("operating_point")
    @classmethod
    def _valid_point(cls, value: str) -> str:
        from lesion.algorithms.anomaly.threshold import parse_point  # here: it needs NumPy

        try:
            return str(parse_point(value))
        except UserError as error:
            raise ValueError(f"{error.what}. {error.do}") from error


class ScorerSettings(BackboneSettings):
    """What measures how far a place of an image is from all normal ones."""

    heading: ClassVar = "Scorer"

    scorer: Literal["memory", "gan"] = tunable(
        "memory",
        doc="Scorer: what gives each place of an image its distance from normal. memory: features of a pretrained "
        "network, compared with those of normal images (PatchCore, Roth et al. 2022). gan: a progressive GAN learns to "
        "reconstruct normal images, and the error of its reconstruction is compared with that of normal ones; it "
        "needs no pretrained weights, and much more time; image_size is then 64 unless it is set.",
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
        "anomalies; time grows with its square. The GAN takes powers of two from 32 to 1024.",
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

    @property
    def needs_download(self) -> bool:
        """The GAN begins without pretrained weights."""
        return self.scorer == "memory" and super().needs_download


class GanSettings(Hyperparameters):
    """How the progressive GAN is trained; only scorer=gan has them."""

    heading: ClassVar = "Progressive GAN"

    filter_divisor: int = tunable(
        16,
        ge=1,
        le=128,
        doc="Filter divisor of the GAN: 1 has the published 512 to 16 filters a block, for a GPU; 16 has a sixteenth "
        "of them, at least 4. Memory grows with the filters, and time with their square.",
    )
    stage_pictures: int = tunable(
        3000,
        ge=1,
        le=100_000_000,
        tune=(1000, 100_000),
        scale="Logarithmic",
        doc="Images a stage of the GAN: a network of B blocks is trained in 2 B - 1 stages, each on so many images, "
        "where one that comes again counts again. The published GANs of faces have 800,000.",
    )
    reconstruction_weight: float = tunable(
        100.0,
        ge=0,
        doc="Reconstruction weight of the GAN: of the mean squared error beside the discriminator in the generator's "
        "loss. 0 learns from the discriminator alone.",
    )
    learning_rate: float = tunable(
        0.001, gt=0, le=1, doc="Learning rate of the GAN's three networks (Adam). Halve it if losses are not finite."
    )
    error_share: float = tunable(
        0.2,
        gt=0,
        lt=1,
        doc="Share of the normal images that the GAN does not learn to reconstruct, in whole groups: they say how "
        "large its errors are on normal images. These are none of the held-out ones.",
    )
    smoothing: int = tunable(
        5,
        ge=1,
        le=127,
        doc="Smoothing of the GAN's map: the distances of so many pixels a side are averaged, an odd number; 1: none.",
    )

    compare: Literal["colours", "features"] = tunable(
        "colours",
        doc="What the GAN compares of an image and its reconstruction: colours, as ProGANomaly does, or features: what "
        "the generator's own first layers make of them. Features found drawn anomalies much better, in the same time.",
    )
    inpainting: int = tunable(
        0,
        ge=0,
        le=512,
        doc="In-painting by the GAN: 0 compares an image with its reconstruction from the whole of it, as ProGANomaly "
        "does. Another number is the side in pixels of square cells, a power of two: a quarter of them is hidden at a "
        "time, and each pixel is reconstructed from the other cells only, which takes four times as long.",
    )

    def contradictions(self) -> Iterator[str]:
        """Cells that do not divide a picture into quarters."""
        if self.inpainting.bit_count() > 1:
            yield f"inpainting={self.inpainting} is no power of two: set 4, 8 or 16, or 0 for none"

    @field_validator("smoothing")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"needs an odd number, such as {value + 1}")
        return value


class AnomalyConfig(NormalSettings, InputSettings, ScorerSettings, GanSettings, MachineSettings, JobSettings):
    """Everything a user can set for algorithm=anomaly."""

    unused: ClassVar = UNUSED

    algorithm: Literal["anomaly"] = tunable(
        "anomaly", doc="Algorithm that is trained. A job that does not name this one trains the classifier."
    )
    recipe: Literal["none"] = tunable("none", doc="Recipe (preset): this algorithm has none.")
    precision: Literal["fp32", "bf16"] = tunable(
        "fp32",
        doc="Precision: distances need fp32. Mixed precision (bf16) is for training the GAN on a GPU; its distances "
        "are computed in fp32 too.",
    )

    @model_validator(mode="before")
    @classmethod
    def _side_of_the_gan(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The side that the GAN has unless one is set: that of the memory is no power of two."""
        is_gan = str(values.get("scorer")).strip(' "') == "gan"
        return {"image_size": GAN_SIDE, **values} if is_gan else values

    def contradictions(self) -> Iterator[str]:
        """Settings that this algorithm or its scorer does not use, frames that it cannot judge, a side that it cannot
        have, and two names for one class."""
        for name, why in UNUSED.items():
            default: Any = type(self).model_fields[name].default
            if name in self.model_fields_set and getattr(self, name) != default:
                yield f"{name} is not used by algorithm=anomaly ({why}): leave it out"
        if self.dicom_frames == "all":
            yield (
                "dicom_frames=all is not for algorithm=anomaly: the oddest of its frames would decide on a file, and "
                "thresholds and rates are those of single images. Set first or middle, or save frames as single images"
            )
        scorer, other = self.scorer, "memory" if self.scorer == "gan" else "gan"
        for name in OF_MEMORY if scorer == "gan" else GanSettings.model_fields:
            default = type(self).model_fields[name].default
            if name in self.model_fields_set and getattr(self, name) != default:
                yield f"{name} is of scorer={other}, and this job has scorer={scorer}: leave it out"
        if scorer == "memory" and self.precision == "bf16":
            yield "precision=bf16 is for training the GAN: distances of features need fp32"
        if scorer == "gan" and 2 * self.inpainting > self.image_size:
            half = self.image_size // 2
            yield f"inpainting={self.inpainting} is more than half of image_size: set at most {half}, or 0 for none"
        if scorer == "gan" and self.image_size not in GAN_SIDES:
            sides = ", ".join(map(str, GAN_SIDES))
            yield f"image_size={self.image_size} is no side of scorer=gan, which grows by doubling: set one of {sides}"
        if self.normal_class is not None and self.normal_class == self.positive_class:
            yield f"normal_class and positive_class are both {self.normal_class}: the positive class is the anomalous"

    @property
    def fold_column(self) -> str | None:
        """The column that says which rows are held out; None where groups are held out at random."""
        return None if self.split == BY_GROUP else self.split
