"""CSV table: the text of a table → a frame of cells as they were written, and remarks on how it was read.

A row is taken whole or refused with its line. Knows nothing of what a column means.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import pandas as pd

from lesion.data.decode.reading import MAX_TABLE_BYTES, check_regular, file_content
from lesion.data.numbers import is_number
from lesion.data.remark import Remark
from lesion.data.sources.tables.csv_text import NO_CSV, lines_of, read_text
from lesion.data.sources.tables.header_form import IMAGE_NAME
from lesion.errors import UserError
from lesion.words import listed, shortened

MAX_CELLS = 50_000_000  # of a table: some gigabytes once they are words of their own
MAX_HEADER_BYTES = 1 << 16
AROUND_NAMES = " \t\r\n\u00a0\ufeff\u200b"  # blanks of all kinds, some of which cannot be seen
END = "\0"  # a line after the last; no text that is read holds NUL
LINE = "line"  # the name of the index, by which a frame that was read from lines is known
REMARKS = "remarks"


def read_csv(csv_path: Path) -> pd.DataFrame:
    """The table as text, empty cells as NA, each row indexed by the line on which it begins.

    `remarks_of` the frame says how the file was read. Words such as NA and None stay words. Raises UserError, with the
    line, where cells could move into other columns: rows longer than the header, a quote that is never closed; for a
    column twice, and for a file that is no text, is too large or has no rows.
    """
    content = read_text(file_content(csv_path, max_bytes=MAX_TABLE_BYTES, what=NO_CSV), csv_path)
    check_size(content.text.count(content.separator) + max(map(content.text.count, "\r\n")), csv_path)
    rows = _Rows(csv_path, content.separator)
    rows.read(content.text, starts_at=content.starts_at)
    if not rows.header:
        do = "Copy it again, or write a header and a row for each image into it."
        raise UserError("the CSV is empty", where=csv_path, do=do)
    if not rows.lines:
        raise UserError("the CSV has no rows", where=csv_path, do="Add at least a row for each image.")
    remarks = [*content.remarks, *rows.remarks()]
    if forms := [*content.forms, *rows.forms()]:
        remarks.insert(0, Remark("table_form", f"the table is read as a CSV {', '.join(forms)}", where=str(csv_path)))
    return with_remarks(rows.frame(), remarks)


def read_header(path: Path) -> list[str]:
    """The names in the header of a table; none if the file has no header, or is no table."""
    try:
        check_regular(path)
        with path.open("rb") as file:
            head = file.read(MAX_HEADER_BYTES)
        if len(head) == MAX_HEADER_BYTES and not head.startswith((b"\xff", b"\xfe")):
            head = head[: max(head.rfind(b"\n"), head.rfind(b"\r")) + 1]  # no letter is cut in two
        content = read_text(head, path)
        rows = csv.reader(lines_of(content.text), delimiter=content.separator, skipinitialspace=True)
        names: list[str] = next(filter(any, rows), [])
    except (OSError, UserError):  # whoever reads all of it says why
        return []
    return _names_of(names)


def _names_of(row: Sequence[str]) -> list[str]:
    """A header's cells, without blanks around them and without the empty ones at its end."""
    names = [cell.strip(AROUND_NAMES) for cell in row]
    while names and not names[-1]:
        names.pop()
    return names


def remarks_of(frame: pd.DataFrame) -> tuple[Remark, ...]:
    """What was decided when the frame was read."""
    found: tuple[Remark, ...] = frame.attrs.get(REMARKS, ())
    return found


def with_remarks(frame: pd.DataFrame, remarks: Iterable[Remark]) -> pd.DataFrame:
    """The frame with these remarks after those that it has."""
    frame = frame.copy(deep=False)
    frame.attrs = {**frame.attrs, REMARKS: (*remarks_of(frame), *remarks)}
    return frame


def check_size(num_cells: int, where: object) -> None:
    """Raises UserError for a table of more cells than are taken apart."""
    if num_cells > MAX_CELLS:
        raise UserError(
            f"the table has {num_cells:,} cells, more than {MAX_CELLS:,}",
            where=where,
            do="Leave columns out that nothing uses, or give smaller parts.",
        )


@dataclass
class _Rows:
    """The rows of a text while they are read, column by column, and what was strange about them."""

    csv_path: Path
    separator: str
    header: list[str] = field(default_factory=list)  # without the unnamed cells at its end
    num_header_cells: int = 0  # with them
    is_padded: bool = False  # blanks were around names
    columns: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)  # on which each row begins
    num_cells: Counter[int] = field(default_factory=Counter)  # cells → how many rows have as many
    first_line: dict[int, int] = field(default_factory=dict)  # cells → the first of these rows
    nameless: int | None = None  # the line of the first cell that stands below no name
    num_empty: int = 0  # rows of separators alone, which are left out
    num_headers: int = 0  # rows that are the header again, of tables one behind the other, which are left out

    def read(self, text: str, *, starts_at: int) -> None:
        """Takes all rows of the text, whose first line is number `starts_at`. Raises UserError."""
        reader = csv.reader(chain(lines_of(text), [END]), delimiter=self.separator, skipinitialspace=True)
        shared: dict[str, str] = {}  # equal cells are one object: a column of a few words takes no memory
        line = starts_at
        for row in reader:
            if row == [END]:
                break
            if row and END in row[-1]:
                raise UserError(
                    "a quote that opens here is never closed", where=f"{self.csv_path}, line {line}", do="Close it."
                )
            joined = "".join(row)
            if not joined.strip().strip(AROUND_NAMES):
                self.num_empty += len(row) > 1
            elif not self.header:
                self._take_header(row)
            elif row[0].strip(AROUND_NAMES) in self.header and self._is_header(row, line):
                self.num_headers += 1
            else:
                if "\n" in joined or "\r" in joined:
                    self._refuse_rows_in_a_cell(row, line)
                self._take(row, line, shared)
            line = starts_at + reader.line_num
        self._refuse_longer()

    def _take_header(self, row: list[str]) -> None:
        names = _names_of(row)
        self.num_header_cells = len(row)
        self.is_padded = any(name != cell for name, cell in zip(names, row, strict=False))
        self.header = [name or f"Unnamed: {place}" for place, name in enumerate(names)]  # as pandas calls them
        if twice := [name for name, count in Counter(self.header).items() if count > 1]:
            places = [str(place) for place, name in enumerate(self.header, 1) if name == twice[0]]
            raise UserError(
                f"the header names '{twice[0][:80]}' twice, as columns {listed(places)}",
                where=self.csv_path,
                do="Write a line above it that names the columns, such as image_name,target: it seems to be a row."
                if is_number(twice[0]) or any(map(IMAGE_NAME.fullmatch, names))
                else "Rename or remove a column.",
            )
        self.columns = [[] for _ in self.header]

    def _is_header(self, row: list[str], line: int) -> bool:
        """Whether a row is the header again. Raises UserError for one with its names in another order."""
        names = _names_of(row)
        if names != self.header and sorted(names) == sorted(self.header):
            where = f"{self.csv_path}, line {line}"
            raise UserError("a second header, its columns in another order", where=where, do="Give one table.")
        return names == self.header

    def _take(self, row: list[str], line: int, shared: dict[str, str]) -> None:
        self.num_cells[len(row)] += 1
        self.first_line.setdefault(len(row), line)
        width = len(self.header)
        if len(row) > width and self.nameless is None and any(cell.strip() for cell in row[width:]):
            self.nameless = line
        self.lines.append(line)
        if len(row) < width:
            row = [*row, *[""] * (width - len(row))]
        for column, cell in zip(self.columns, row, strict=False):
            column.append(shared.setdefault(cell, cell))

    def _refuse_longer(self) -> None:
        """Raises UserError for rows with more cells than the header: a cell that was cut in two has moved the rest.

        Not if every row has as many empty cells more: then no row was cut, and a separator ends each.
        """
        longer = {num: rows for num, rows in self.num_cells.items() if num > self.num_header_cells}
        if self.nameless is None and (not longer or len(self.num_cells) == 1):
            return
        num_rows = sum(longer.values())
        line = min((self.first_line[num] for num in longer), default=self.nameless)
        num_cells = next((num for num in longer if self.first_line[num] == line), len(self.header))
        more = f", and {num_rows - 1} more rows are longer too" if num_rows > 1 else ""
        raise UserError(
            f"line {line} has {num_cells} cells, and the header has {self.num_header_cells}{more}"
            if longer
            else f"line {line} has a cell behind the last name of the header, '{shortened(self.header[-1], 40)}'",
            where=f"{self.csv_path}, line {line}",
            do=f"Put a cell that holds {self._separator_name} into double quotes, or remove what is too much."
            if len(self.header) > 1
            else "Remove the lines above the header, if it is another line.",
        )

    def _refuse_rows_in_a_cell(self, row: Sequence[str], line: int) -> None:
        """Raises UserError for a cell with line breaks that holds the end of a row, whole rows, and the beginning of
        one: between two stray quotes, rows would be gone without a word."""
        last = self.num_header_cells - 1  # separators of a row
        for place, cell in enumerate(row) if last else ():
            counts = [part.count(self.separator) for part in re.split(r"\r\n?|\n", cell)]
            is_end_and_beginning = counts[0] == last - place and counts[-1] == place
            is_row = is_end_and_beginning and set(counts[1:-1]) <= {last}
            if len(counts) > 1 and (is_row or len(row) < len(self.header)):
                raise UserError(
                    f"a cell holds {len(counts)} lines that look like rows: a quote is missing or too many",
                    where=f"{self.csv_path}, lines {line} to {line + len(counts) - 1}",
                    do="Correct the quotes. If the cell is a text of several lines, write it on one.",
                )

    @property
    def _separator_name(self) -> str:
        return {",": "a comma", ";": "a semicolon", "\t": "a tab"}.get(self.separator, f"'{self.separator}'")

    def frame(self) -> pd.DataFrame:
        """The columns, empty cells as NA, indexed by line."""
        index = pd.Index(self.lines, name=LINE)
        cells = [pd.array([cell or None for cell in column], dtype="string") for column in self.columns]
        return pd.DataFrame(dict(zip(self.header, cells, strict=True)), index=index)

    def forms(self) -> Iterator[str]:
        """What is unusual about all rows, in a few words."""
        if self.is_padded:
            yield "without the blanks around its columns' names"
        if min(self.num_cells) > self.num_header_cells:
            yield "without the empty cell at the end of each row"

    def remarks(self) -> Iterator[Remark]:
        """What is unusual about some rows."""
        where = str(self.csv_path)
        if self.num_empty:
            rows = f"{self.num_empty} rows of empty cells are" if self.num_empty > 1 else "1 row of empty cells is"
            yield Remark("empty_rows", f"{rows} left out", where=where)
        if self.num_headers:
            rows = f"{self.num_headers} rows repeat" if self.num_headers > 1 else "1 row repeats"
            yield Remark("repeated_header", f"{rows} the header: left out", where=where, level="warning")
        short = {num: rows for num, rows in self.num_cells.items() if num < len(self.header)}
        if short:
            line = min(self.first_line[num] for num in short)
            num_rows = sum(short.values())
            rows = f"{num_rows} rows have" if num_rows > 1 else "1 row has"
            yield Remark(
                "short_rows",
                f"{rows} fewer cells than the header's {len(self.header)}, the first in line {line}: "
                "the missing ones count as empty, at the row's end",
                "Fill them in, above all if it is another cell that is missing: then all behind it have moved.",
                where,
                "warning",
            )
