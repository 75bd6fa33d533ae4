"""Report: what was found out about a data set: text for a terminal, check.json for programs, check.html for people."""

from __future__ import annotations

import json
import logging
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lesion.check.finding import LEVELS, Finding, TableRow
from lesion.data.decode.images import Pixels
from lesion.data.thumbnail import thumbnail
from lesion.errors import LesionError
from lesion.files import make_folder, write_atomic
from lesion.words import listed, number_of, one_line, shortened

if TYPE_CHECKING:
    from jinja2 import Template

JSON, PAGE = FILES = ("check.json", "check.html")  # what a report is written to
THUMBNAIL_PX = 128
NUM_SHOWN = 8  # pictures of a finding, and of a class
NUM_LISTED = 200  # names of a finding on the page; check.json has them all
WIDTH = 110  # of the text
MOST_LISTED = 20  # classes in the sentence about the question
MAX_WORD = 40  # characters of a value or a class in the text's tables


@dataclass
class Report:
    """The findings, counts and folds so far; the check fills it."""

    title: str
    findings: list[Finding] = field(default_factory=list)
    sets: dict[str, dict[str, Any]] = field(default_factory=dict)  # counts of each set
    question: dict[str, Any] = field(default_factory=dict)  # the task type, the classes, and the positive one
    folds: pd.DataFrame | None = None  # a row a fold
    crosstabs: dict[str, pd.DataFrame] = field(default_factory=dict)  # by column: a row a value, a column a class
    shortcuts: dict[str, float] = field(default_factory=dict)  # ROC AUC by what it is reached with
    examples: dict[str, list[TableRow]] = field(default_factory=dict)  # some rows of each class

    def sorted_findings(self) -> list[Finding]:
        """Errors first, then warnings, then notes; of each those first that must be corrected before the rest means
        much."""
        return sorted(self.findings, key=lambda finding: (LEVELS.index(finding.level), finding.urgency))

    def num(self, level: str) -> int:
        return sum(finding.level == level for finding in self.findings)

    @property
    def verdict(self) -> str:
        errors, warnings = self.num("error"), self.num("warning")
        if errors:
            return f"Training would refuse this: {number_of(errors, 'error')}, {number_of(warnings, 'warning')}."
        return f"Training would start: no errors, {number_of(warnings, 'warning')}."

    def lines(self) -> list[tuple[int, str]]:
        """Warnings and notes as lines of a log, with their levels there. Errors are left to who raises them."""
        return [
            (
                logging.WARNING if finding.level == "warning" else logging.INFO,
                f"check {finding.level}: {finding.as_error()}".rstrip(),
            )
            for finding in self.sorted_findings()
            if finding.level != "error"
        ]

    def as_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "sets": self.sets,
            "question": self.question,
            "folds": [] if self.folds is None else json.loads(self.folds.reset_index().to_json(orient="records")),
            "counts": {name: json.loads(frame.to_json(orient="index")) for name, frame in self.crosstabs.items()},
            "shortcuts": self.shortcuts,
            "findings": [finding.as_json() for finding in self.sorted_findings()],
        }

    @property
    def asked(self) -> str:
        """The question in one line: "binary: the probability is that of malignant, against benign"; "" if unknown."""
        if not self.question:
            return ""
        kind, positive = self.question["kind"], self.question["positive_class"]
        if positive is None:
            return f"{kind}: a probability for each of {listed(self.question['classes'], most=MOST_LISTED)}"
        others = [name for name in self.question["classes"] if name != positive]
        against = others[0] if kind == "binary" else "the rest"
        return f"{kind}: the probability is that of {positive}, against {against}"

    def as_text(self) -> str:
        """The sets, the folds, and each finding with its place and the first rows concerned, for a terminal."""
        lines = [self.title]  # one_line: words are the user's, line ends ours
        for name, counts in self.sets.items():
            groups = f", {counts['num_groups']} groups" if "num_groups" in counts else ""
            classes = ", ".join(f"{label} {count}" for label, count in counts.get("classes", {}).items())
            lines.append(f"{name}: {counts['num_rows']} rows{groups}{': ' * bool(classes)}{classes}")
        lines += filter(None, [self.asked])
        if self.folds is not None:
            lines += ["", "Validation rows of each fold:", *_rows_of_text(self.folds)]
        for name, frame in self.crosstabs.items():
            lines += ["", *_rows_of_text(frame.rename_axis(name))]
        lines.append("")
        for finding in self.sorted_findings():
            head = f"{finding.level:<8}"
            lines += textwrap.wrap(one_line(finding.what), WIDTH, initial_indent=head, subsequent_indent=" " * 8)
            rest = [finding.where, finding.named and f"rows: {finding.named}", finding.do and f"→ {finding.do}"]
            for text in filter(None, rest):
                lines += textwrap.wrap(
                    one_line(text),
                    WIDTH,
                    initial_indent=" " * 8,
                    subsequent_indent=" " * 10,
                    break_long_words=False,  # a path that is cut in two cannot be copied
                    break_on_hyphens=False,
                )
        return "\n".join([*map(one_line, lines), "", self.verdict])

    def write(self, folder: Path, read: Callable[[TableRow], Pixels]) -> None:
        """check.json and check.html in `folder`. `read` gives a row's picture, or raises UserError."""
        make_folder(folder)
        write_atomic(folder / JSON, (json.dumps(self.as_json(), indent=1) + "\n").encode())
        write_atomic(folder / PAGE, self._page(read).encode())

    def _page(self, read: Callable[[TableRow], Pixels]) -> str:
        thumbnails: dict[TableRow, str | None] = {}

        def small(row: TableRow) -> str | None:
            if row not in thumbnails:
                thumbnails[row] = _data_uri(row, read)
            return thumbnails[row]

        return _template().render(report=self, thumbnail=small, num_shown=NUM_SHOWN, num_listed=NUM_LISTED, bars=_bars)


@cache  # compiling it takes longer than rendering it
def _template() -> Template:
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("lesion.check", "."), autoescape=True, trim_blocks=True, finalize=_as_read
    )
    return environment.get_template("page.html.jinja")


def _as_read(value: object) -> object:
    """A user's words as one line; what the page itself is made of as it is."""
    return one_line(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _rows_of_text(frame: pd.DataFrame) -> list[str]:
    """The lines of a frame, one per row."""

    def short(value: object) -> object:
        return shortened(value, MAX_WORD) if isinstance(value, str) else value

    name = None if frame.index.name is None else shortened(str(frame.index.name), MAX_WORD)
    text: str = frame.rename(index=short, columns=short).rename_axis(name).to_string()
    return text.split("\n")


def _bars(frame: pd.DataFrame) -> list[tuple[str, Mapping[str, int], float]]:
    """Rows for the page: the value, the counts, and the share of the largest row."""
    totals = frame.sum(axis=1)
    return [
        (str(value), {str(name): int(count) for name, count in counts.items()}, total / totals.max())
        for (value, counts), total in zip(frame.to_dict("index").items(), totals.tolist(), strict=True)
    ]


def _data_uri(row: TableRow, read: Callable[[TableRow], Pixels]) -> str | None:
    """A small picture for the page, None where it cannot be read."""
    try:
        return thumbnail(read(row), side_px=THUMBNAIL_PX)
    except LesionError:
        return None
