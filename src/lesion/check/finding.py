"""Finding: one thing that is wrong with a data set, or worth knowing: what, where, which rows, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lesion.data.remark import Remark
from lesion.errors import UserError, raise_all
from lesion.words import listed

Level = Literal["error", "warning", "note"]  # training refuses; think about it; good to know
LEVELS: tuple[Level, ...] = ("error", "warning", "note")
Part = Literal["training", "test"]  # a validation channel's rows are among the training rows
# Names of findings that come after all others in a message, the last last.
LAST = (
    (),
    ("unreadable_image",),
    ("group_on_both_sides", "group_in_test", "copies_across_folds", "copies_in_test"),
)


@dataclass(frozen=True)
class TableRow:
    """A row of the checked tables, as they were opened."""

    part: Part
    index: int
    name: str


@dataclass(frozen=True)
class Finding:
    """One finding. `rows` are those concerned, in pairs where `is_paired`; `name` is what programs know it by."""

    level: Level
    name: str
    what: str
    do: str = ""
    where: str | None = None
    rows: tuple[TableRow, ...] = ()
    is_paired: bool = False

    @classmethod
    def of_error(cls, error: UserError) -> Finding:
        """The finding of one error; a UserErrors holds several (`each`)."""
        where = None if error.where is None else str(error.where)
        return cls("error", error.kind, error.what, error.do, where)

    @classmethod
    def of_remark(cls, remark: Remark) -> Finding:
        """The finding of what was decided when a set was opened."""
        return cls(remark.level, remark.name, remark.what, remark.do, remark.where)

    @property
    def named(self) -> str:
        """The first rows' names, for a message; check.json names them all."""
        step = 2 if self.is_paired else 1
        shown = [" = ".join(row.name for row in self.rows[at : at + step]) for at in range(0, len(self.rows), step)]
        return listed(shown)

    @property
    def urgency(self) -> int:
        """Low for what must be corrected before the rest means much: tables and hyperparameters, files, then leaks."""
        return next((place for place, names in enumerate(LAST) if self.name in names), 0)

    def as_error(self) -> UserError:
        place = " of ".join(filter(None, [self.named, self.where]))
        return UserError(self.what, where=place or None, do=self.do, kind=self.name)

    def as_json(self) -> dict[str, Any]:
        rows = [{"set": row.part, "name": row.name} for row in self.rows]
        return {
            "level": self.level,
            "name": self.name,
            "what": self.what,
            "where": self.where,
            "do": self.do,
            "rows": [rows[at : at + 2] for at in range(0, len(rows), 2)] if self.is_paired else rows,
        }


def raise_errors(findings: Sequence[Finding]) -> None:
    """Raises the errors among the findings as one UserError in their order, each with its own remedy."""
    raise_all([finding.as_error() for finding in findings if finding.level == "error"])
