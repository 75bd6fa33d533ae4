"""The hyperparameters of the classifier: each declared once, with its type, bounds, default and a sentence.

Grouped by topic; settings.py has the groups that other algorithms share. Rules over several fields stand beside the
group that they concern: they find every contradiction that is visible before a table is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import Field, field_validator, model_validator

from lesion.algorithms.classify.recipes import FORMER, RECIPES, with_recipe
from lesion.algorithms.valid_operating_point import valid_operating_point
from lesion.config import Affects, Hyperparameters, tunable
from lesion.evaluation.metric_names import BETTER
from lesion.geometry import MAX_VIEWS, NUM_VIEWS, Flips
from lesion.settings import MAX_FOLDS, SPLITS, BackboneSettings, InputSettings, JobSettings, MachineSettings

Positive = Annotated[float, Field(gt=0)]
Pooling = Literal["max", "mean", "top_k", "noisy_or"]

TOP_K = 10  # tiles, where slide_score=top_k gives no number


class FoldSettings(Hyperparameters):
    """How rows are divided into folds, and what the held-out rows are evaluated by."""

    heading: ClassVar = "Cross-validation and evaluation"

    folds: int = tunable(
        6,
        ge=2,
        le=100,
        doc="Cross-validation folds: one network is trained per fold, on the rows of all other folds, and evaluated "
        "on its own. The artifact holds all of them and averages their predictions, unless `final_model` says another.",
    )
    split: str = tunable(
        "group_kfold",
        doc="Split strategy: group_kfold, stratified_group_kfold, kfold, stratified_kfold, leave_one_group_out (one "
        "fold per group, whatever `folds` says), or the name of a column that holds the fold of each row, or its set: "
        "train, validation or test. The default becomes stratified_kfold if nothing names groups.",
    )
    repeats: int = tunable(
        1,
        ge=1,
        le=20,
        doc="Repeated cross-validation: number of times it is done, each time with different folds. The predictions "
        "of a row are averaged; training takes that many times as long.",
    )
    final_model: Literal["ensemble", "refit", "soup"] = tunable(
        "ensemble",
        doc="Final model: what is served. ensemble: the networks of all folds, averaged. refit: one "
        "network trained again on all rows, for the epochs and at the learning rates that the folds chose; it is "
        "evaluated by the folds. soup: one network with the mean of the folds' weights (model soup); one fold more "
        "is made and held back from all to evaluate it. One network costs the server as many times less as there are "
        "folds.",
    )
    metric: Literal[tuple(BETTER)] = tunable(  # type: ignore[valid-type]
        "roc_auc",
        doc="Validation metric: selects the best epoch, and decides on early stopping and the plateau schedule.",
    )
    tta: int = tunable(
        3,
        ge=1,
        le=8,
        affects="predictions",
        doc="Test-time augmentation (TTA): out-of-fold, test and served predictions are means over this many views of "
        "each image (flips and quarter turns); 1 is the image alone. Prediction takes that many times as long. At "
        "most as many as `flips` allows; the default, or a recipe's number, is then lowered to that.",
    )
    calibration: Literal["auto", "none", "temperature", "platt", "isotonic"] = tunable(
        "auto",
        affects="output",
        doc="Calibration of probabilities, learnt on the out-of-fold predictions. temperature, platt (Platt scaling; "
        "of several classes vector scaling), isotonic (isotonic regression); auto: the one with the best log loss on "
        "held-out folds. none: the networks' probabilities are averaged as they are.",
    )
    operating_point: str = tunable(
        "youden",
        affects="output",
        doc="Operating point: what decides between positive and negative. youden (largest sensitivity + specificity), "
        "sensitivity=0.95 or specificity=0.9 (at least that), cost=10 (a missed positive costs as much as 10 false "
        "alarms), f_beta=0.5 (largest F score; below 1 false alarms count more), or threshold=0.3. An endpoint and a "
        "request can choose another without training again.",
    )
    deployment_prevalence: float | None = tunable(
        None,
        gt=0,
        lt=1,
        affects="output",
        doc="Prevalence of the positive class where the model will be used, such as 0.02. Probabilities and thresholds "
        "are shifted to it. none: as in the training rows. Only for an answer that is one probability.",
    )
    slide_score: (
        Literal["none", "max", "mean", "top_k", "noisy_or"] | Annotated[str, Field(pattern="^top_k:[1-9][0-9]{0,5}$")]
    ) = tunable(
        "none",
        affects="output",
        doc="Slide-level aggregation: how the probabilities of a group's tiles become one score per slide, which is "
        "evaluated too. max, mean; top_k: mean of the 10 largest (top_k:3 of the 3 largest); noisy_or: 1 − Π(1 − p), "
        "the probability that at least one tile is positive.",
    )

    on_low_quality: Literal["ignore", "warn", "refuse"] = tunable(
        "warn",
        affects="output",
        doc="Image quality gate: what becomes of an image that is blurred, dark, bright, without contrast, too small, "
        "or covered by ink, hair or dark corners, more than nearly all training images. warn names it in the answer; "
        "refuse answers with an error instead; ignore does not look. It needs 100 training images.",
    )

    @field_validator("slide_score", mode="before")
    @classmethod
    def _form(cls, value: object) -> object:
        if not re.fullmatch("none|max|mean|noisy_or|top_k(:[1-9][0-9]{0,5})?", str(value)):
            raise ValueError("needs none, max, mean, noisy_or, top_k, or top_k:K with a K from 1 to 999999, as top_k:3")
        return value

    _valid_point = field_validator("operating_point")(valid_operating_point)

    @property
    def keeps_groups(self) -> bool:
        """Whether the split keeps all rows of a group on the same side of each fold."""
        return self.split not in {"kfold", "stratified_kfold"}

    @property
    def slide_pooling(self) -> tuple[Pooling, int]:
        """How a slide's score is made of its tiles' probabilities, and how many of them `top_k` takes the mean of."""
        how, _, k = self.slide_score.partition(":")
        return cast(Pooling, how), int(k or TOP_K)

    def contradictions(self) -> Iterator[str]:
        """Repeats of a split that has only one solution, and more folds than are trained."""
        if self.split == "leave_one_group_out" and self.repeats > 1:
            yield "split=leave_one_group_out gives the same folds each time: set repeats=1, or split=group_kfold"
        if self.split in SPLITS and self.split != "leave_one_group_out" and self.folds * self.repeats > MAX_FOLDS:
            yield (
                f"folds={self.folds} and repeats={self.repeats} would train {self.folds * self.repeats} networks, more "
                f"than {MAX_FOLDS}: lower one of them"
            )


class NetworkSettings(BackboneSettings):
    """The network, what it sees, and the weights that it starts from."""

    heading: ClassVar = "Network"

    head_init: Literal["random", "probe"] = tunable(
        "random",
        doc="Initialisation of the last layer (head). random; or probe: a linear probe, which is a logistic "
        "regression on the frozen features of the pretrained backbone, fitted in seconds. With epochs=0 the linear "
        "probe is the whole training, without fine-tuning.",
    )
    freeze_epochs: int = tunable(
        0,
        ge=0,
        doc="Frozen backbone (fine-tuning in two stages): number of first epochs in which only the head is trained. "
        "The backbone's BatchNorm statistics stay unchanged too.",
    )
    batch_norm: Literal["train", "frozen"] = tunable(
        "train",
        doc="BatchNorm statistics of the backbone in training. train: those of each batch. frozen: those of the "
        "pretrained weights; better for small batches and for a few hundred steps.",
    )

    def contradictions(self) -> Iterator[str]:
        """What needs pretrained weights, without them."""
        if self.pretrained is not False:
            return
        if self.head_init == "probe":
            yield "head_init=probe needs pretrained weights, and pretrained=false has none: set head_init=random"
        if self.batch_norm == "frozen":
            yield "batch_norm=frozen keeps pretrained statistics, and pretrained=false has none: set batch_norm=train"
        if self.freeze_epochs > 0:
            yield "freeze_epochs freezes a pretrained backbone, and with pretrained=false it is random: set it to 0"


class OptimSettings(Hyperparameters):
    """How the weights are changed: batches, optimiser, learning rates."""

    heading: ClassVar = "Optimisation"

    epochs: int = tunable(
        15,
        ge=0,
        le=10_000,
        tune=(5, 40),
        doc="Epochs: the most passes over the training rows. Early stopping (`patience`) may end training before.",
    )
    batch_size_train: Literal["auto"] | Annotated[int, Field(ge=4)] = tunable(
        64,
        tune=(16, 128),
        doc="Batch size: images per optimiser step. Smaller needs less memory. auto takes the largest that fits the "
        "GPU's memory, up to 1,024, and 64 on a CPU; a job that resumes keeps its size. auto does not change the "
        "learning rate.",
    )
    gradient_accumulation: int = tunable(
        1,
        ge=1,
        doc="Gradient accumulation: number of micro-batches that the batch of a step is divided into. More need less "
        "memory. BatchNorm sees one micro-batch at a time.",
    )
    optimizer: Literal["adam", "adamw"] = tunable(
        "adam",
        doc="Optimiser. They differ in `weight_decay`: in adam it is an L2 penalty in the gradient, in adamw it is "
        "decoupled from it.",
    )
    learning_rate: float = tunable(
        5e-4,
        gt=0,
        le=1,
        tune=(1e-5, 1e-2),
        scale="Logarithmic",
        doc="Learning rate: its highest value, which `schedule` and `warmup_epochs` vary. Halve it if the training "
        "loss rises.",
    )
    head_lr_factor: float = tunable(
        1.0,
        gt=0,
        le=1000,
        doc="Discriminative learning rates: all layers after the backbone learn at `learning_rate` times this. Try 5 "
        "to 10 for fine-tuning.",
    )
    layer_decay: float = tunable(
        1.0,
        gt=0,
        le=1,
        doc="Layer-wise learning-rate decay: each layer of the backbone learns at this times the rate of the layer "
        "after it; 1 is off.",
    )
    schedule: Literal["plateau", "cosine"] = tunable(
        "plateau",
        doc="Learning-rate schedule. plateau: times `lr_factor` when `metric` stops improving. cosine: decay to 0 "
        "along half a cosine over all epochs.",
    )
    warmup_epochs: float = tunable(
        0.0,
        ge=0,
        doc="Learning-rate warm-up: number of first epochs, such as 0.5, over which the rate rises from almost 0.",
    )
    lr_factor: float = tunable(
        0.4,
        gt=0,
        lt=1,
        tune=(0.1, 0.8),
        doc="Factor of the plateau schedule: by which the learning rate is multiplied.",
    )
    lr_patience: int = tunable(
        1,
        ge=0,
        doc="Patience of the plateau schedule: epochs without improvement of `metric` that are waited for before the "
        "learning rate falls.",
    )
    clip_norm: float = tunable(
        0.0,
        ge=0,
        doc="Gradient clipping: a gradient with a larger L2 norm is scaled down to this norm; 0 is off. Try 1 if the "
        "training loss jumps.",
    )

    @property
    def batch_size(self) -> int:
        """`batch_size_train`, once it is settled."""
        assert self.batch_size_train != "auto"  # batch_size.py comes first
        return self.batch_size_train

    def contradictions(self) -> Iterator[str]:
        """Micro-batches too small for BatchNorm, and a warm-up without an end."""
        if self.batch_size_train != "auto" and self.gradient_accumulation > self.batch_size_train // 2:
            yield (
                f"gradient_accumulation={self.gradient_accumulation} leaves micro-batches of less than two images: "
                f"set it to at most {self.batch_size_train // 2}, or raise batch_size_train"
            )
        if 0 < self.epochs <= self.warmup_epochs:
            yield f"warmup_epochs={self.warmup_epochs:g} must be less than epochs={self.epochs}"


class RegularSettings(Hyperparameters):
    """Regularisation, augmentation of labels, and class weights."""

    heading: ClassVar = "Regularisation and loss"

    patience: int = tunable(
        3, ge=1, doc="Early stopping: epochs without improvement of `metric` after which a fold's training stops."
    )
    weight_decay: float = tunable(
        0.0,
        ge=0,
        le=1,
        doc="Weight decay (L2 regularisation). Raise it, for example to 0.01, if the training loss is far below the "
        "validation loss.",
    )
    ema_decay: float = tunable(
        0.0,
        ge=0,
        lt=1,
        doc="Exponential moving average (EMA) of the weights: the share of the average that each step keeps. The "
        "averaged network is evaluated and saved; 0 is off. 0.99 is usual here.",
    )
    label_smoothing: float = tunable(
        0.0,
        ge=0,
        lt=1,
        doc="Label smoothing ε: targets y become (1 − ε) y + ε / K, with K = 2 for yes or no. Use it if predictions "
        "are too confident; 0 is off.",
    )
    flips: Flips = tunable(
        "flips_and_rotations",
        doc="Flips and rotations in augmentation, and in `tta`. flips_and_rotations: all eight flips and quarter "
        "turns, for images that have no right way up (histology, dermoscopy). flips: left-right, up-down, both. "
        "horizontal: left-right. none: for images in which left and right differ, such as chest X-rays (the heart is "
        "on the left) or left and right eyes.",
    )
    mixup: float = tunable(
        0.0,
        ge=0,
        doc="Mixup α: images and targets are blended in pairs, with weights from Beta(α, α); 0 is off. 0.2 is usual.",
    )
    cutmix: float = tunable(
        0.0,
        ge=0,
        doc="CutMix α: a box of one image is pasted into another, with an area from Beta(α, α), and targets are "
        "blended alike; 0 is off. 1 is usual.",
    )
    metadata_dropout: float = tunable(
        0.0,
        ge=0,
        lt=1,
        tune=(0, 0.5),
        doc="Metadata dropout: share of the training images whose metadata is hidden in a step. Use it if requests "
        "will come without metadata.",
    )
    class_weight: Literal["none", "balanced"] | Positive = tunable(
        "none",
        doc="Class weights in the loss. balanced: negatives ÷ positives as the weight of the positive class, or with "
        "more than two classes inverse frequency. A number: weight of the positive class. Use it if a class is rare.",
    )


class ClassifyConfig(
    InputSettings, FoldSettings, NetworkSettings, OptimSettings, RegularSettings, MachineSettings, JobSettings
):
    """Everything a user can set. Names that name columns are the columns of `train.csv` and `test.csv`."""

    algorithm: Literal["classify"] = tunable(
        "classify",
        doc="Algorithm that is trained. anomaly is another one, with hyperparameters of its own (docs/anomaly.md): it "
        "learns from normal images alone.",
    )
    recipe: Literal[("none", *RECIPES)] = tunable(  # type: ignore[valid-type]
        "none",
        doc="Recipe (preset): sets all hyperparameters of a proven configuration that you do not set yourself. "
        "`lesion describe recipes` lists what each sets.",
    )

    def contradictions(self) -> Iterator[str]:
        """Contradictions between groups of hyperparameters."""
        if self.epochs == 0 and self.head_init != "probe":
            yield "epochs=0 trains nothing: set head_init=probe for a linear probe, or epochs to 1 or more"
        if self.deployment_prevalence is not None and self.calibration == "none":
            yield "deployment_prevalence shifts calibrated probabilities: leave calibration at auto"
        if self.final_model == "soup" and self.repeats > 1:
            yield "final_model=soup holds rows back from all folds, and repeats would hold back others: set repeats=1"
        if self.slide_score != "none" and self.task_type == "multilabel":
            yield f"slide_score={self.slide_score} needs one yes-or-no target, and task_type=multilabel has several"
        if self.tta > (most := NUM_VIEWS[self.flips]):
            yield f"tta={self.tta} averages more views than the {most} of flips={self.flips}: set tta to at most {most}"

    @field_validator("recipe", mode="before")
    @classmethod
    def _former(cls, value: object) -> object:
        if str(value) in FORMER:
            raise ValueError(FORMER[str(value)])
        return value

    def affects(self, name: str) -> Affects:
        """As declared; but a linear probe alone is fitted to the views that prediction averages."""
        is_probe_alone = self.head_init == "probe" and self.epochs == 0
        return "weights" if name == "tta" and is_probe_alone else super().affects(name)

    @model_validator(mode="before")
    @classmethod
    def _take_recipe(cls, values: dict[str, Any]) -> dict[str, Any]:
        return _with_views_that_flips_allow(values, with_recipe(values))


def _with_views_that_flips_allow(given: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The values with a `tta` that `flips` allows, unless the user set it: then the contradiction is refused."""
    allowed = [most for flips, most in NUM_VIEWS.items() if flips == values.get("flips")]
    most = allowed[0] if allowed else MAX_VIEWS  # a wrong word is refused later
    tta = values.get("tta", ClassifyConfig.model_fields["tta"].default)
    return {**values, "tta": most} if "tta" not in given and tta > most else values
