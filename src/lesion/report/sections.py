"""Sections: the typed parts of report.json. Each says what was measured, or as `Missing` why it could not be.

Plain numbers and words, no arrays and no formatting: `page`, `guidelines` and `model_card` read them, whoever makes
them (training, an evaluation of a new set, a file from an earlier job).
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lesion.words import plural_of

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A frozen record without names that nobody declared, and without NaN: an undefined number has a reason."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Missing(Section):
    """What stands in place of a section that cannot be: why, in a sentence."""

    why: Annotated[str, Field(min_length=1)]


class Number(Section):
    """A number with its 95 % interval, or without a value and with the reason."""

    value: float | None = None
    interval: tuple[float, float] | None = None
    why: str = ""

    @model_validator(mode="after")
    def _has_value_or_reason(self) -> Self:
        if self.value is None and not self.why:
            raise ValueError("a number without a value needs its reason in `why`")
        return self

    @classmethod
    def of(cls, value: float | None, interval: tuple[float, float] | None = None, *, why: str = "not defined") -> Self:
        """NaN, infinity and None are no values: then `why` is the reason."""
        if value is None or not math.isfinite(value):
            return cls(why=why)
        known = interval if interval is not None and all(map(math.isfinite, interval)) else None
        return cls(value=value, interval=known)


class Metric(Section):
    """A metric: `key` as metrics.json has it, `name` for people. `flattered` is the same at the best epoch of the rows
    that judge it, where both are known."""

    key: str
    name: str
    number: Number
    flattered: Number | None = None
    note: str = ""
    doubt: str = ""  # why the model should not be trusted, by this metric; "" where it says nothing against it


class Headline(Section):
    """The one number of the first screen, and on whom it was measured."""

    metric: Metric
    judged_on: str  # "held-out images of 83 patients, none of whom the network had seen"
    is_flattered: bool = False  # true: the epoch was chosen on the rows that judge it
    beside_folds: str = ""  # why it is another than the mean over the folds, where it is


class Judging(Section):
    """How every number of the report was judged."""

    how: str  # which network judged which rows, and how epoch and threshold were chosen
    unit: str  # what is resampled and kept on one side: "patient", "slide", "image"
    num_rows: Count
    num_units: Count
    classes: dict[str, Count] = {}  # of the judged images
    interval: str  # the method of the intervals
    served: str = ""  # what is served where that is one network made of the folds: "one network, trained again on …"
    warnings: tuple[str, ...] = ()

    @property
    def units(self) -> str:
        """Several of the unit: "patients", "studies"."""
        return plural_of(self.unit)


class Question(Section):
    kind: Literal["binary", "multiclass", "multilabel"]
    classes: tuple[str, ...]
    positive_class: str | None
    answer: Literal["probability", "score"] = "probability"  # what a threshold is compared with


class SetCounts(Section):
    name: str
    num_rows: Count
    num_groups: Count | None = None
    classes: dict[str, Count] = {}


class FlowStep(Section):
    """Rows that come in, or go out, and why; the number that is left after it."""

    what: str
    change: int
    left: Count


class Crosstab(Section):
    """Counts of classes by the value of a column."""

    column: str
    rows: dict[str, dict[str, Count]]


class DataCard(Section):
    sets: tuple[SetCounts, ...]
    flow: tuple[FlowStep, ...] = ()
    crosstabs: tuple[Crosstab, ...] = ()
    fingerprint: str = ""


class CheckFinding(Section):
    """A finding of the check, without the names of rows: check.html beside the report has them."""

    level: Literal["error", "warning", "note"]
    name: str
    what: str
    do: str = ""
    num_rows: Count = 0


class LeakCheck(Section):
    """What was found on patients and copies on both sides of a fold, and in the data at large."""

    verdict: str
    leaks: tuple[CheckFinding, ...]  # those that concern leaks
    others: tuple[CheckFinding, ...] = ()
    shared_groups: Count = 0  # groups in training and validation of a fold
    shared_rows: Count = 0


class Fold(Section):
    fold: Count
    num_rows: Count
    num_groups: Count | None = None
    classes: dict[str, Count]
    best_epoch: int
    metrics: dict[str, float]
    notes: dict[str, str] = {}  # of a metric: why there is none, or of which outputs it is the mean


class Curve(Section):
    """A line. `low` and `high` are its 95 % band; `at` the threshold of each point, where it has one."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    at: tuple[float, ...] | None = None
    note: str = ""

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if any(len(part) != len(self.x) for part in (self.y, self.low, self.high, self.at) if part is not None):
            raise ValueError(f"the curve {self.name!r} has parts of different lengths")
        return self


class Curves(Section):
    """Each kind of curve has its fixed axes.

    roc: 1 − specificity, sensitivity. pr: recall, precision. calibration: predicted, observed. decision: threshold
    probability, net benefit. learning: epoch, validation metric by fold. thresholds: threshold, share of images.
    """

    roc: tuple[Curve, ...] | Missing
    pr: tuple[Curve, ...] | Missing
    calibration: tuple[Curve, ...] | Missing
    decision: tuple[Curve, ...] | Missing
    learning: tuple[Curve, ...] | Missing
    learning_metric: str = ""
    thresholds: tuple[Curve, ...] = ()


class Confusion(Section):
    """Counts of a yes-or-no answer at a threshold."""

    tp: Count
    fp: Count
    fn: Count
    tn: Count


class PerThousand(Section):
    """What a threshold means for 1,000 patients (or images) of whom `positives` have the condition."""

    positives: Count
    found: Count
    false_alarms: Count

    @property
    def missed(self) -> int:
        return self.positives - self.found


class OperatingPoint(Section):
    """One threshold of one output: at or above it the answer is `output`."""

    name: str  # "Youden", "sensitivity 95 %"
    output: str  # the class that is answered from the threshold on
    threshold: Share
    is_chosen: bool = False  # the one that is served
    how: str = ""  # on which rows it was chosen
    judged_at: tuple[Share, Share] | None = None  # lowest and highest threshold that rows were judged at, if others
    judged: str = ""  # in a sentence: with which thresholds and calibrations the shares below were measured
    sensitivity: Number
    specificity: Number
    ppv: Number
    npv: Number
    prevalence: Share  # at which PPV, NPV and per_1000 are told
    confusion: Confusion | None = None
    per_1000: PerThousand | None = None


class ConfusionMatrix(Section):
    """How often each class was taken for which: rows are the truth. Of many classes only the most frequent pairs."""

    classes: tuple[str, ...] = ()
    counts: tuple[tuple[Count, ...], ...] = ()
    pairs: tuple[tuple[str, str, Count], ...] = ()  # truth, answer, how often


class Case(Section):
    """One image: where to find it, what is true, and what was answered. `picture`, `reconstruction`, `map`
    and `flags` are data URIs."""

    kind: Literal["missed", "false alarm", "wrong class", "uncertain", "label", "label next"]
    line: Count | None = None  # of `file`, its header being line 1: the image's number for those who hold that file
    file: str = "oof.csv"
    name: str | None = None  # only where names are asked for
    truth: str | None
    answer: str
    prob_of: str  # the class that `prob` is of
    prob: Share
    threshold: Share | None = None  # that `prob` was compared with, where it is this image's own
    picture: str | None = None
    reconstruction: str | None = None  # what a generator that knows normal images makes of it
    map: str | None = None
    map_shows: str = "Where the network looked"  # for those who cannot see it
    flags: str | None = None  # what is flagged of it, where an algorithm flags regions
    note: str = ""


class Cases(Section):
    cases: tuple[Case, ...]
    how: str
    num: Count | None = None  # how many there are, of which these are shown


class ComparedMetric(Section):
    """A metric of two sets of rows: out of fold in training, and of the set of this report."""

    key: str
    name: str
    training: Number
    here: Number
    difference: Number  # here minus training


class Comparison(Section):
    """An evaluated set beside the training report."""

    metrics: tuple[ComparedMetric, ...]
    how: str


class ClassMetrics(Section):
    """The metrics of one class against the rest."""

    name: str
    num_rows: Count
    num_groups: Count | None = None
    metrics: tuple[Metric, ...]


class JudgedSet(Section):
    """Metrics of another set of rows or units: a test set, slides, an origin, an external set."""

    name: str
    judged: str
    num_rows: Count
    num_groups: Count | None = None
    classes: dict[str, Count] = {}
    metrics: tuple[Metric, ...]


class Subgroup(Section):
    column: str
    value: str
    num_rows: Count
    num_groups: Count | None = None
    num_positives: Count
    metrics: tuple[Metric, ...]
    is_flagged: bool = False  # the corrected interval of the gap leaves out zero
    note: str = ""  # which gaps are flagged


class Subgroups(Section):
    rows: tuple[Subgroup, ...]
    how: str


class Uncertainty(Section):
    """Conformal prediction sets, and what leaving the doubtful ones to a person would give."""

    target_coverage: Share
    coverage: Number  # of all units, with all their rows
    by_class: dict[str, Number] = {}  # of the units with rows of a class, with these rows; where this is what is asked
    unit: str
    set_sizes: dict[str, Count] = {}  # how many rows have a set of so many classes
    selective: Curve | Missing  # share answered → metric of the answered
    selective_metric: str = ""
    referral: str = ""  # what the answers are worth without the least certain images
    how: str = ""


class Group(Section):
    """Numbers under one heading, with a sentence on how they were made: familiarity, quality, explanation."""

    metrics: tuple[Metric, ...]
    how: str
    cases: tuple[Case, ...] = ()
    warning: str = ""  # what a reader must know before relying on it


class Gain(Section):
    what: str  # "test-time augmentation (3 views)"
    metric: str
    before: Number
    after: Number
    difference: Number


class Shortcuts(Section):
    """What simple features reach without the content of the images, beside the network."""

    by: dict[str, Number]
    network: Number
    how: str


class Cost(Section):
    minutes: float
    steps: dict[str, float] = {}  # minutes
    device: str
    images_per_s: float | None = None
    note: str = ""


class Setting(Section):
    name: str
    value: Any
    is_default: bool


class Reproduction(Section):
    commands: tuple[str, ...]
    seed: int
    data_fingerprint: str
    artifact: str = ""  # its version
    pretrained_file: str = ""
    pretrained_sha256: str = ""
    note: str = ""
