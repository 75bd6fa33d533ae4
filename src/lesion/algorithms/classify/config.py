"""The hyperparameters of the classifier: each declared once, with its type, bounds, default and a sentence."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from lesion.algorithms.classify.recipes import RECIPES, with_recipe
from lesion.config import Hyperparameters, tunable
from lesion.metrics import METRICS
from lesion.model_args import refuse_factory_args

Positive = Annotated[float, Field(gt=0)]


class ClassifyConfig(Hyperparameters):
    """Everything a user can set. Names that name columns are the columns of `train.csv` and `test.csv`."""

    recipe: Literal[("none", *RECIPES)] = tunable(  # type: ignore[valid-type]
        "none", doc="Named settings (`lesion describe recipes`) for all that is not set beside it."
    )

    # network
    model: str = tunable("efficientnet_b2", doc="Backbone: any timm model name.")
    model_args: dict[str, Any] = tunable(
        {}, doc='JSON object handed to timm beside the name, such as {"pad_type": "same"}.'
    )
    pretrained: bool | str = tunable(
        True,
        doc="Starting weights: true takes the `pretrained` channel, else timm's hub; a path takes that safetensors "
        "file; false starts from noise.",
    )
    image_size: int = tunable(
        260,
        ge=32,
        le=2048,
        doc="Side in pixels of the square that the network sees; more sees finer detail and costs its square.",
    )
    image_mean: tuple[float, ...] | None = tunable(
        None, doc="Mean per RGB channel, in 0 to 1, that is subtracted; none takes what timm states for the model."
    )
    image_std: tuple[Positive, ...] | None = tunable(
        None, doc="Standard deviation per RGB channel that is divided by; none takes what timm states for the model."
    )
    output_size: Annotated[int, Field(ge=1, le=1000)] | None = tunable(
        None,
        doc="Outputs of the network: 1 for yes or no, else one a class; none takes what the target columns ask. A "
        "number that they contradict is refused.",
    )

    # data
    source: Literal["auto", "csv_folder", "class_folder", "pcam_hdf5", "lst", "augmented_manifest", "webdataset"] = (
        tunable("auto", doc="Format of the data set (docs/sources.md); auto recognises it, and says by what.")
    )
    # columns
    image_column: str | None = tunable(
        None, doc="Column with the picture's name; none takes `image_name` or `image_id`."
    )
    target_column: Annotated[tuple[str, ...], Field(min_length=1)] = tunable(
        ("target",),
        doc="Column to predict: 0 and 1 or two words (the later in the alphabet is yes) ask yes or no, more words ask "
        "which; several columns of 0 and 1 ask each for itself.",
    )
    target_of_interest: str | None = tunable(
        None,
        doc="Class that is asked about: all classes of the target are learned, and this one against the rest is judged "
        "and answered. For a fine diagnosis beside a yes-or-no question.",
    )
    class_name_column: str | None = tunable(
        "benign_malignant", doc="Column whose words name classes that are numbers; unused where it is absent."
    )
    group_column: str = tunable("patient_id", doc="Column with the patient or slide: its rows are kept in one fold.")
    metadata_columns: tuple[str, ...] | None = tunable(
        None,
        doc="Columns fed to the network beside the picture; an empty list uses pictures only, none takes those of "
        "`sex`, `age_approx` and `anatom_site_general_challenge` that are there.",
    )
    log_columns: tuple[str, ...] = tunable(
        (), doc="Of the metadata columns those whose numbers are taken as log(1 + x): counts, sizes, long tails."
    )
    use_picture_count: bool = tunable(
        False,
        doc="Feed the number of the patient's pictures in the table as metadata. In the SIIM-ISIC data it gives the "
        "target away (doubtful patients were photographed more), which no clinic's next picture will.",
    )
    metadata_dropout: float = tunable(
        0.0,
        ge=0,
        lt=1,
        tune=(0, 0.5),
        doc="Share of the training pictures whose metadata is withheld, so that a request without is answered well.",
    )

    # folds
    folds: int = tunable(
        6, ge=2, le=100, doc="Parts of the cross-validation; each trains one network on all other parts."
    )
    split: str = tunable(
        "group_kfold",
        doc="How rows are dealt to folds: group_kfold, stratified_group_kfold, kfold, stratified_kfold, "
        "leave_one_group_out (then `folds` is unused), or the name of a column that holds each row's fold.",
    )
    slide_score: Literal["none", "max", "mean", "top_k", "noisy_or"] = tunable(
        "none",
        doc="How the probabilities of a group's tiles become one score for the slide, which is judged too: top_k is "
        "the mean of the `slide_top_k` largest, noisy_or the chance that one tile at least is positive.",
    )
    slide_top_k: int = tunable(10, ge=1, doc="Tiles that `slide_score=top_k` takes the mean of.")
    repeats: int = tunable(
        1, ge=1, le=20, doc="Times the cross-validation is done, each with other folds; a row's answers are averaged."
    )

    # start
    head_start: Literal["noise", "probe"] = tunable(
        "noise",
        doc="Where the last layer starts: noise, or probe: logistic regression on the features that the starting "
        "weights give, fitted in seconds; with epochs=0 that is the whole training.",
    )
    freeze_epochs: int = tunable(
        0, ge=0, doc="First epochs in which only the last layers learn; the backbone stands still, statistics too."
    )
    batch_norm: Literal["train", "frozen"] = tunable(
        "train",
        doc="BatchNorm of the backbone in training: statistics of the batch, or frozen at the starting weights', "
        "which a few hundred steps cannot better and small batches harm.",
    )

    # training
    epochs: int = tunable(
        15, ge=0, le=10_000, tune=(5, 40), doc="Passes over the training rows at most; early stopping may end before."
    )
    patience: int = tunable(3, ge=1, doc="Epochs without a better `metric` after which a fold stops.")
    batch_size_train: Literal["auto"] | Annotated[int, Field(ge=4)] = tunable(
        64,
        tune=(16, 128),
        doc="Pictures a training step; less needs less memory. auto takes what the GPU's memory holds, up to 1,024, "
        "and 64 on a CPU; the learning rate stays.",
    )
    batch_parts: int = tunable(
        1, ge=1, doc="Parts that a step's pictures are computed in, one after another; more needs less memory."
    )
    batch_size_validation: int = tunable(32, ge=1, doc="Pictures a step when the held-out rows are predicted.")
    batch_size_test: int = tunable(16, ge=1, doc="Pictures a step when the test set is predicted.")
    precision: Literal["auto", "fp32", "bf16"] = tunable(
        "auto",
        doc="Numbers that training computes in: bf16 is up to twice as fast where processor or GPU has it, and auto "
        "takes it there. Out-of-fold and test predictions are fp32; so are served ones, but for a CPU that has bf16.",
    )
    optimizer: Literal["adam", "adamw"] = tunable(
        "adam", doc="adamw takes `weight_decay` from the weights themselves, adam as an L2 penalty."
    )
    learning_rate: float = tunable(
        5e-4,
        gt=0,
        le=1,
        tune=(1e-5, 1e-2),
        scale="Logarithmic",
        doc="First step size; halve it if the loss climbs.",
    )
    head_lr_factor: float = tunable(
        1.0, gt=0, le=1000, doc="What the learning rate of all that lies behind the backbone is multiplied by."
    )
    layer_decay: float = tunable(
        1.0,
        gt=0,
        le=1,
        doc="What the learning rate is multiplied by from each of the backbone's layers to the one before it.",
    )
    schedule: Literal["plateau", "cosine"] = tunable(
        "plateau", doc="How the learning rate falls: when `metric` rises no more, or along half a cosine to nothing."
    )
    warmup_epochs: float = tunable(0.0, ge=0, doc="Epochs, or a part of one, over which the learning rate rises first.")
    lr_factor: float = tunable(
        0.4, gt=0, lt=1, tune=(0.1, 0.8), doc="What the learning rate is multiplied by on a plateau."
    )
    lr_patience: int = tunable(1, ge=0, doc="Epochs without a better `metric` before the learning rate falls.")
    weight_decay: float = tunable(
        0.0, ge=0, le=1, doc="Pull of the weights towards nothing; raise it if training beats validation by far."
    )
    clip_norm: float = tunable(0.0, ge=0, doc="Longest gradient that a step may follow; 0 sets no limit.")
    ema_decay: float = tunable(
        0.0,
        ge=0,
        lt=1,
        doc="Judge and keep a moving average of the weights, of which each step leaves this share; 0 does without.",
    )
    label_smoothing: float = tunable(
        0.0, ge=0, lt=1, doc="How far targets are drawn from 0 and 1 to the middle, so that no answer is quite sure."
    )
    mixup: float = tunable(
        0.0, ge=0, doc="Blend pictures in pairs, with shares drawn from Beta(mixup, mixup); 0 does not. 0.2 is usual."
    )
    cutmix: float = tunable(
        0.0, ge=0, doc="Paste a box of one picture into another, its area drawn from Beta(cutmix, cutmix); 0 does not."
    )
    image_size_start: Annotated[int, Field(ge=32, le=2048)] | None = tunable(
        None,
        doc="Side in pixels in the first epoch, from which it grows to `image_size` in the last; none, or one "
        "that is no smaller, is full size throughout.",
    )
    class_weight: Literal["none", "balanced"] | Positive = tunable(
        "none",
        doc="Weight of a yes in the loss: none is 1, balanced is negatives ÷ positives, or a number; of several "
        "classes, balanced lets each count alike.",
    )
    metric: Literal[tuple(METRICS)] = tunable(  # type: ignore[valid-type]
        "roc_auc", doc="Validation metric that picks the best epoch, lowers the learning rate and stops early."
    )
    tta: int = tunable(
        3, ge=1, le=8, doc="Views (flips and quarter turns) averaged for out-of-fold, test and served predictions."
    )

    # machine
    device: Literal["auto", "cpu", "cuda"] = tunable("auto", doc="Where to compute; auto takes a GPU if there is one.")
    num_workers: Literal["auto"] | Annotated[int, Field(ge=0)] = tunable(
        "auto", doc="Threads that read and augment pictures; auto is one a core. Never changes the result."
    )
    cache: Literal["auto", "off"] = tunable(
        "auto",
        doc="Keep the decoded pictures on the disk while the job runs: auto does where there is room, off decodes them "
        "for every epoch. Never changes the result.",
    )
    processes: Literal["auto"] | Annotated[int, Field(ge=1, le=64)] = tunable(
        "auto",
        doc="Training processes on each host, which share its cores; auto is one a GPU, and one on a CPU, where one a "
        "core trains folds 1.1 to 1.3 times as fast if the memory holds them all.",
    )
    parallel: Literal["auto", "folds", "data"] = tunable(
        "auto",
        doc="How several processes share the work: folds trains a fold each, data all of them one fold at a time, "
        "every batch cut among them; auto is folds where there is one for each process, else data.",
    )
    on_bad_image: Literal["error", "drop"] = tunable(
        "error",
        doc="When pictures are missing or unreadable: stop and name them, or leave their rows out and name them.",
    )
    on_leak: Literal["auto", "error", "drop", "warn", "merge_groups"] = tunable(
        "auto",
        doc="When training rows share a patient or a copy of a picture with rows that judge them: auto keeps groups "
        "that share a picture in one fold, leaves out training rows that validation or test rows share, and stops "
        "where that concerns more than 5 % of the rows; error stops and names them, drop leaves training rows out, "
        "warn goes on, merge_groups only merges.",
    )
    export_graph: bool = tunable(
        True,
        doc="Adds to the artifact a graph with which a CPU serves faster and without torch, as large as the weights.",
    )
    checkpoint_interval_s: float = tunable(
        300,
        ge=0,
        doc="Seconds of training between two saves within an epoch, whose end is saved too: what a machine that goes "
        "without a word costs. Never changes the result.",
    )
    on_foreign_checkpoint: Literal["error", "set_aside"] = tunable(
        "error",
        doc="When the checkpoint folder holds another job's states (other data, settings, versions): stop and say what "
        "differs, or move them into its `set_aside` folder and start afresh.",
    )
    seed: int = tunable(0, ge=0, lt=2**32, doc="Same seed, data and settings: same result.")

    @property
    def batch_size(self) -> int:
        """`batch_size_train`, once it is settled."""
        assert self.batch_size_train != "auto"  # batch_size.py comes first
        return self.batch_size_train

    @property
    def keeps_groups(self) -> bool:
        """Whether the split promises that no group lies on both sides of a fold."""
        return self.split not in {"kfold", "stratified_kfold"}

    @field_validator("model_args")
    @classmethod
    def _arguments(cls, value: dict[str, Any]) -> dict[str, Any]:
        refuse_factory_args(value)
        return value

    @field_validator("image_mean", "image_std")
    @classmethod
    def _channels(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and len(value) != 3:
            raise ValueError(f"three numbers are needed, for red, green and blue, not {len(value)}")
        return value

    @model_validator(mode="before")
    @classmethod
    def _take_recipe(cls, values: dict[str, Any]) -> dict[str, Any]:
        return with_recipe(values)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.epochs == 0 and self.head_start != "probe":
            raise ValueError("epochs=0 trains nothing: set head_start=probe for a head from logistic regression")
        if self.head_start == "probe" and self.pretrained is False:
            raise ValueError("head_start=probe asks what the starting weights know, and pretrained=false has none")
        if self.batch_size_train != "auto" and self.batch_parts > self.batch_size_train // 2:
            raise ValueError(f"batch_parts={self.batch_parts} leaves less than two pictures a part")
        if 0 < self.epochs <= self.warmup_epochs:
            raise ValueError(f"warmup_epochs={self.warmup_epochs} leaves none of {self.epochs} epochs at the full rate")
        if self.batch_norm == "frozen" and self.pretrained is False:
            raise ValueError("batch_norm=frozen keeps the statistics of noise where pretrained=false")
        if self.freeze_epochs > 0 and self.pretrained is False:
            raise ValueError("freeze_epochs freezes noise where pretrained=false")
        return self
