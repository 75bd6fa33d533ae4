"""Facts: all that a report says, as report.json holds it. Whoever has measured something fills its section.

A section that cannot be is a `Missing` with its reason, never an empty table. No image, patient or file is named
unless `names_are_shown`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, field_validator

from lesion.errors import UserError
from lesion.report.questions import unknown_keys
from lesion.report.sections import (
    Cases,
    ClassMetrics,
    Comparison,
    ConfusionMatrix,
    Cost,
    Curves,
    DataCard,
    Fold,
    Gain,
    Group,
    Headline,
    JudgedSet,
    Judging,
    LeakCheck,
    Metric,
    Missing,
    OperatingPoint,
    Question,
    Reproduction,
    Section,
    Setting,
    Shortcuts,
    Subgroups,
    Uncertainty,
)

JSON = "report.json"
FORMAT = 1
NOT_MEASURED = Missing(why="This job did not measure it.")


class Facts(Section):
    """The report of one job or one evaluation, for the page, the dossier and the cards.

    `statements` are the user's own answers to what no program can know, by the keys of `questions.QUESTIONS`; another
    key is refused.
    """

    format: int = FORMAT
    title: str
    made: str  # date and time, UTC, ISO 8601
    names_are_shown: bool = False
    question: Question
    headline: Headline | Missing
    judging: Judging
    data: DataCard
    leaks: LeakCheck | Missing = NOT_MEASURED
    metrics: tuple[Metric, ...] = ()
    classes: tuple[ClassMetrics, ...] = ()
    folds: tuple[Fold, ...] | Missing = NOT_MEASURED
    sets: tuple[JudgedSet, ...] = ()  # a test set, slides, origins
    comparison: Comparison | None = None  # of an external evaluation with the training report; None: a training report
    curves: Curves
    operating_points: tuple[OperatingPoint, ...] | Missing = NOT_MEASURED
    confusion: ConfusionMatrix | Missing = NOT_MEASURED
    mistakes: Cases | Missing = NOT_MEASURED
    uncertain: Cases | Missing = NOT_MEASURED
    label_errors: Cases | Missing = NOT_MEASURED
    label_next: Cases | Missing = NOT_MEASURED
    explanation: Group | Missing = NOT_MEASURED
    subgroups: Subgroups | Missing = NOT_MEASURED
    uncertainty: Uncertainty | Missing = NOT_MEASURED
    familiarity: Group | Missing = NOT_MEASURED
    quality: Group | Missing = NOT_MEASURED
    gains: tuple[Gain, ...] | Missing = NOT_MEASURED
    shortcuts: Shortcuts | Missing = NOT_MEASURED
    cost: Cost | Missing = NOT_MEASURED
    settings: tuple[Setting, ...] = ()
    versions: dict[str, str] = Field(default_factory=dict)
    reproduction: Reproduction | Missing = NOT_MEASURED
    statements: dict[str, str] = Field(default_factory=dict)

    @field_validator("statements")
    @classmethod
    def _are_questions(cls, statements: dict[str, str]) -> dict[str, str]:
        if (why := unknown_keys(statements)) is not None:
            raise ValueError(why)
        return statements

    @classmethod
    def from_json(cls, text: str | bytes, *, where: object = JSON) -> Self:
        """The facts of a report.json. Raises UserError for what is none, or is of a later version."""
        do = "Give the report.json that a job of this version of Lesion wrote."
        try:
            content: Any = json.loads(text)
        except ValueError as error:
            raise UserError("not JSON", where=where, do=do, kind="bad_report") from error
        found = content.get("format") if isinstance(content, dict) else None
        if type(found) is int and found > FORMAT:
            raise UserError(
                f"a report of format {found}, which a later version of Lesion wrote; this one reads format {FORMAT}",
                where=where,
                do="Install the version that wrote it, or a later one.",
                kind="bad_report",
            )
        if found != FORMAT or type(found) is not int:
            raise UserError(f"not a report of format {FORMAT}", where=where, do=do, kind="bad_report")
        content.pop("guidelines", None)  # the dossier: it follows from the rest
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            if place == "statements":
                do = "Use the keys that docs/report.md lists, each with a text."
            message = first["msg"].removeprefix("Value error, ")
            raise UserError(f"{place}: {message}", where=where, do=do, kind="bad_report") from error

    @classmethod
    def read(cls, path: Path) -> Self:
        """The facts of the file report.json at `path`. Raises UserError where it cannot be read."""
        try:
            content = path.read_bytes()
        except OSError as error:
            do = "Give the folder output/data of a job that is finished."
            raise UserError(f"cannot be read: {error.strerror}", where=path, do=do, kind="bad_report") from error
        return cls.from_json(content, where=path)

    @property
    def is_binary(self) -> bool:
        return self.question.positive_class is not None

    @property
    def is_external(self) -> bool:
        """Whether a finished model was evaluated on a set of its own."""
        return self.comparison is not None

    @property
    def chosen(self) -> tuple[OperatingPoint, ...]:
        """The operating points that are served: one, or of a multilabel answer one a label."""
        points = () if isinstance(self.operating_points, Missing) else self.operating_points
        return tuple(point for point in points if point.is_chosen)
