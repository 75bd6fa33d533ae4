"""Settings: the groups of hyperparameters that every algorithm has: its data, the machine, the job.

An algorithm's configuration inherits from them, beside groups of its own. Loads neither torch nor pandas.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from lesion.config import Hyperparameters, tunable
from lesion.geometry import Fit
from lesion.model_args import refuse_factory_args
from lesion.normalisation import refuse_impossible_mean, refuse_impossible_std

SPLITS = ("group_kfold", "stratified_group_kfold", "kfold", "stratified_kfold", "leave_one_group_out")
MAX_FOLDS = 100  # each is a network to train, store and predict with

# What people write for true and false; a file of such a name is not meant.
SWITCHES = dict.fromkeys(("yes", "y", "on", "1", "true", "t", "imagenet", "default"), "true")
SWITCHES |= dict.fromkeys(("no", "n", "off", "0", "false", "f", "none", "null", "random", "scratch", ""), "false")


class DataSettings(Hyperparameters):
    """Which images and patients are read, and the policies for wrong ones."""

    heading: ClassVar = "Data"

    source: Literal[
        "auto",
        "csv_folder",
        "class_folder",
        "pcam_hdf5",
        "isic_hdf5",
        "medmnist_npz",
        "lst",
        "augmented_manifest",
        "webdataset",
    ] = tunable(
        "auto",
        doc="Data set format (docs/sources.md). auto recognises the format from the files, and logs which one it took.",
    )
    table_file: str | None = tunable(
        None,
        doc="Table: file name of the training set's CSV, if the channel holds several. none takes train.csv, or else "
        "the only table.",
    )
    image_column: str | None = tunable(
        None,
        doc="Image column: holds the file name of each image. none takes the column `image_name` or `image_id`, or "
        "that of a known data set (`lesion describe sources`), as for all columns that are not set.",
    )
    group_column: str = tunable(
        "patient_id",
        doc="Group column: the patient, lesion or slide of each row. All rows of a group stay in the same fold, so "
        "that no patient is both trained on and evaluated on. If the table has no such column, and you did not set "
        "this, rows are split by class and a warning says so.",
    )
    on_missing_group: Literal["own_group", "drop", "error"] = tunable(
        "own_group",
        doc="Missing groups: rows whose group is empty or a word for unknown, such as n/a, or -1 in many rows. "
        "own_group makes each of them a group of its own, and a warning says so; drop leaves them out of training and "
        "validation; error stops and lists them.",
    )
    metadata_columns: tuple[str, ...] | None = tunable(
        None,
        doc="Metadata (tabular features): columns that the network gets together with the image. An empty list: "
        "images only. none takes `sex`, `age_approx` and `anatom_site_general_challenge`, if the table has them.",
    )
    log_columns: tuple[str, ...] = tunable(
        (),
        doc="Log transform: metadata columns whose numbers x are replaced by log(1 + x). Use it for counts and sizes "
        "that range over several powers of ten.",
    )
    dicom_frames: Literal["first", "middle", "all"] = tunable(
        "first",
        doc="Frames of DICOM files: first or middle reads this one of each file; all makes a row of each frame, the "
        "frames of a file in one group, and averages the answers for a file's frames; anomaly detection refuses it. "
        "What is not read is said.",
    )
    on_bad_image: Literal["error", "drop"] = tunable(
        "error",
        doc="Unreadable images: error stops before training and lists the missing and damaged files; drop leaves "
        "their rows out and lists them.",
    )
    on_leak: Literal["auto", "error", "drop", "warn", "merge_groups"] = tunable(
        "auto",
        doc="Leak policy, for training rows that share a patient or a copy of an image with rows that evaluate them. "
        "auto keeps groups that share an image in one fold, leaves out training rows that the validation or test set "
        "has too, and stops if more than 5 % of the training rows would be left out or are surplus copies. error stops "
        "and lists them; drop leaves training rows out; merge_groups only merges groups; warn trains on them, and the "
        "metrics then look better than they are.",
    )
    find_copies: bool = tunable(
        True,
        doc="Search for copies: all images are compared before training, and those that are equal, resized, "
        "re-compressed, turned or cropped are treated as on_leak says. false leaves it out; copies across folds then "
        "go unseen, so set it only for a very large set without copies.",
    )


class LabelSettings(Hyperparameters):
    """What the target columns mean."""

    heading: ClassVar = "Labels"
    also_named: ClassVar = {"target_of_interest": "positive_class"}

    target_column: Annotated[tuple[str, ...], Field(min_length=1)] = tunable(
        ("target",),
        doc="Target column: the label to predict. 0 and 1, or two words: binary. More words: multiclass. Several "
        "columns of 0 and 1, or cells that join labels (`label_separator`): multilabel.",
    )
    positive_class: str | None = tunable(
        None,
        doc="Positive class: the one that the probability is of. none takes 1 of 0 and 1, and of two words the one "
        "that is known as the finding, such as abnormal beside normal; words that are not known are refused. Of more "
        "than two classes, all are learned, and this one against all others is evaluated and served. "
        "`target_of_interest` is another name for it.",
    )
    label_separator: Annotated[str, Field(min_length=1)] | None = tunable(
        "auto",
        doc="Separator of several labels in one cell: the task is multilabel then. auto recognises the vertical bar "
        "and the semicolon, and lists such as ['a', 'b'], and refuses cells that can be read in two ways. `space` is "
        "the blank. none: each cell is one class.",
    )
    task_type: Literal["auto", "multiclass", "multilabel"] = tunable(
        "auto",
        doc="Task type of several target columns. multilabel: each is a question of its own. multiclass: each row has "
        "exactly one 1 (one-hot); of two columns it is binary. auto is multiclass if that is so in each row, and "
        "says so.",
    )
    on_uncertain: Literal["error", "drop", "positive", "negative"] = tunable(
        "error",
        doc="Uncertain labels (-1, u, uncertain), and blank ones. error refuses them; drop leaves rows with an "
        "uncertain label out, and rows without any; positive and negative count uncertain labels so. A blank label is "
        "taken as not mentioned, which is negative, unless this is error.",
    )
    class_name_column: str | None = tunable(
        "benign_malignant",
        doc="Class names: the column with a word for each class if the target column holds numbers. Ignored if the "
        "table has no such column.",
    )

    def contradictions(self) -> Iterator[str]:
        """A task type that nothing asks for."""
        if self.task_type != "auto" and len(self.target_column) == 1:
            yield f"task_type={self.task_type} is for several target columns: name them, or leave it out"


class InputSettings(DataSettings, LabelSettings):
    """What is read: the data and its labels."""

    def contradictions(self) -> Iterator[str]:
        """Columns that do not go together."""
        if self.group_column in self.target_column:
            yield f"group_column={self.group_column} is the target itself: each class would be one group"
        if self.metadata_columns is None:
            return
        if missing := [name for name in self.log_columns if name not in self.metadata_columns]:
            yield f"log_columns={missing[0]} is not in metadata_columns: add it there, or take it out of log_columns"
        if targets := [name for name in self.target_column if name in self.metadata_columns]:
            yield f"metadata_columns={targets[0]} is the target itself: take it out"


class BackboneSettings(Hyperparameters):
    """The backbone, what it sees, and its pretrained weights. An algorithm's group inherits from it and adds a
    heading."""

    model: str = tunable(
        "efficientnet_b2", doc="Backbone: any timm model name. Larger ones need more memory, time and data."
    )
    model_args: dict[str, Any] = tunable(
        {}, doc='Backbone arguments: a JSON object for timm.create_model, such as {"pad_type": "same"}.'
    )
    pretrained: bool | str = tunable(
        True,
        doc="Pretrained weights (transfer learning). true: those in the `pretrained` channel, or else timm's from its "
        "hub. A path: that safetensors file. false: random initialisation.",
    )
    image_size: int = tunable(
        260,
        ge=32,
        le=2048,
        doc="Input resolution: side in pixels of the square image that the network sees. Larger shows finer detail; "
        "memory and time grow with its square.",
    )
    fit: Fit = tunable(
        "crop",
        doc="Aspect ratio: how an oblong image becomes the square that the network sees. crop: the middle square, and "
        "the ends are cut off. pad: the whole image, with black bars (letterbox). stretch: the whole image, squeezed "
        "to a square. The check says how much crop cuts off: take pad if the ends count, stretch if all images have "
        "one shape.",
    )
    image_mean: tuple[float, ...] | None = tunable(
        None,
        doc="Normalisation: mean per RGB channel, 0 to 1, which is subtracted. none takes what timm states for the "
        "model.",
    )
    image_std: tuple[float, ...] | None = tunable(
        None,
        doc="Normalisation: standard deviation per RGB channel, above 0 and to 1, by which is divided. none takes what "
        "timm states for the model.",
    )

    @property
    def needs_download(self) -> bool:
        """Whether pretrained weights are taken from timm's hub where no `pretrained` channel has them."""
        return self.pretrained is True

    @field_validator("model_args")
    @classmethod
    def _arguments(cls, value: dict[str, Any]) -> dict[str, Any]:
        refuse_factory_args(value)
        return value

    @field_validator("pretrained")
    @classmethod
    def _switch(cls, value: bool | str) -> bool | str:
        if isinstance(value, str) and (meant := SWITCHES.get(value.strip().lower())) is not None:
            both = ["true for pretrained weights", "false for random initialisation"]
            first, second = both if meant == "true" else both[::-1]
            raise ValueError(f"no file is called so: write {first}, or {second}")
        return value

    @field_validator("image_mean")
    @classmethod
    def _mean(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None:
            refuse_impossible_mean(value)
        return value

    @field_validator("image_std")
    @classmethod
    def _std(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None:
            refuse_impossible_std(value)
        return value


class MachineSettings(Hyperparameters):
    """What computes, with how many processes and threads, in which precision."""

    heading: ClassVar = "Machine"
    also_named: ClassVar = {"batch_size_validation": "batch_size_predict", "batch_size_test": "batch_size_predict"}

    device: Literal["auto", "cpu", "cuda"] = tunable(
        "auto", affects="nothing", doc="Device: what computes. auto takes a GPU if there is one, else the CPU."
    )
    precision: Literal["auto", "fp32", "bf16"] = tunable(
        "auto",
        doc="Mixed precision in training: bf16 is up to twice as fast on GPUs from Ampere on, on CPUs with AMX and on "
        "AMD's with AVX-512 BF16, and auto takes it there. Out-of-fold and test predictions are always computed in "
        "fp32; serving uses bf16 on the same CPUs.",
    )
    batch_size_predict: int = tunable(
        32,
        ge=1,
        affects="nothing",  # by rounding: as another device or number of threads does
        doc="Batch size for prediction: images per step on validation and test rows. Smaller needs less memory. "
        "`batch_size_validation` and `batch_size_test` are other names for it; if both are given, the smaller counts.",
    )
    num_workers: Literal["auto"] | Annotated[int, Field(ge=0)] = tunable(
        "auto",
        affects="nothing",
        doc="Data-loading workers: threads that read and augment images. auto is one per core.",
    )
    cache: Literal["auto", "off"] = tunable(
        "auto",
        affects="nothing",
        doc="Image cache: decoded images are kept on disk while the job runs. auto uses it if there is enough room; "
        "off decodes every image again in each epoch.",
    )
    processes: Literal["auto"] | Annotated[int, Field(ge=1, le=64)] = tunable(
        "auto",
        affects="nothing",
        doc="Training processes per host, which share its cores. auto is one per GPU; on a CPU one per core, each with "
        "other folds, as far as the memory is enough (one on each of several hosts).",
    )
    parallel: Literal["auto", "folds", "data"] = tunable(
        "auto",
        affects="nothing",  # of what is finished
        doc="Parallel training with several processes. folds: each process trains other folds. data: data "
        "parallelism, all processes train the same fold and each gets a slice of every batch, which is all that its "
        "BatchNorm sees, so its weights are slightly different. auto is folds if there is a fold for each process, "
        "if a CPU trains with processes=auto, or if a slice would be of less than 2 images; else data. A job that "
        "resumes with another number of processes keeps its finished folds; a fold that was begun data-parallel by "
        "another number starts again.",
    )


class JobSettings(Hyperparameters):
    """What the job is, how it is repeated, and what it leaves."""

    heading: ClassVar = "Job"

    algorithm: str  # declared by each algorithm, as are its recipes
    recipe: str
    seed: int = tunable(
        0,
        ge=0,
        lt=2**32,
        doc="Random seed: the same seed, data and settings on the same machine give the same weights.",
    )
    export_graph: bool = tunable(
        True,
        affects="output",
        doc="Inference graph (OpenVINO): added to the artifact so that a CPU serves faster and without torch; a job on "
        "a CPU computes with it too. It is as large as the weights.",
    )
    report_names: bool = tunable(
        False,
        affects="output",
        doc="Names of images in the report. false: report.html and report.json name no image and no patient; an image "
        "is called by its line of oof.csv. Images are shown, small.",
    )
    explain: bool = tunable(
        True,
        affects="output",
        doc="Explanation: when training ends, which kind of map shows best where in an image the networks look is "
        "measured on a few held-out images and kept in the artifact. It takes at most 5 % of the job's time, but at "
        "least 3 and at most 25 seconds; of jobs over 21 minutes 2 %.",
    )
    checkpoint_interval_s: float = tunable(
        300,
        ge=0,
        affects="nothing",
        doc="Checkpoint interval: seconds of training between two checkpoints within an epoch, which is the most work "
        "that a crash loses. Each epoch ends with a checkpoint too.",
    )
    on_foreign_checkpoint: Literal["error", "set_aside"] = tunable(
        "error",
        affects="nothing",
        doc="What to do if the checkpoint folder holds checkpoints of another job (of other data, settings or "
        "versions), from which this one cannot resume. error: stop, and say what differs. set_aside: keep them in its "
        "subfolder `set_aside`, in place of what was kept there before, and train from the beginning.",
    )
