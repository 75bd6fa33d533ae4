"""JSON Lines table: an object a line, its keys the columns, as Hugging Face's imagefolder has it in metadata.jsonl.

An augmented manifest has the same ending, and is known by its key `source-ref`.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from lesion.data.decode.reading import check_regular, file_text, parse_json, reading
from lesion.data.remark import Remark
from lesion.data.sources.tables import csv_table
from lesion.data.sources.tables.csv_table import LINE, check_size, with_remarks
from lesion.data.sources.tables.json_cells import list_cell, paths_in
from lesion.errors import UserError
from lesion.words import listed, shortened

ENDING = ".jsonl"
REFERENCE = b'"source-ref"'
HEAD_BYTES = 2**16
MAX_LINE = 1_000_000  # characters


def read_table(path: Path) -> pd.DataFrame:
    """The table in a CSV or in JSON Lines, as `read_csv` gives it."""
    return read_json_lines(path) if path.suffix.lower() == ENDING else csv_table.read_csv(path)


def read_header(path: Path) -> list[str]:
    """The names of a table's columns, of JSON Lines those of the first line; none if it is no table."""
    if path.suffix.lower() != ENDING:
        return csv_table.read_header(path)
    try:
        first = parse_json(_head(path).lstrip().split(b"\n")[0])
    except (OSError, ValueError, UserError):  # whoever reads all of it says why
        return []
    return list(first) if isinstance(first, dict) else []


def is_json_lines_table(path: Path) -> bool:
    """Whether a file is called .jsonl, and its beginning is not an augmented manifest's."""
    if path.suffix.lower() != ENDING:
        return False
    try:
        return REFERENCE not in _head(path)
    except (OSError, UserError):
        return False


def read_json_lines(path: Path) -> pd.DataFrame:
    """The objects as text, each indexed by its line; a key that an object lacks, null and "" are empty cells.

    A list of words is a cell of several labels. What else is no text, number, true or false is not read, and a remark
    says so. Raises UserError, with the line, for what
    is no object.
    """
    rows: dict[int, dict[str, str | None]] = {}
    nested: Counter[str] = Counter()
    texts = file_text(path, "the table cannot be read", do="Save it as UTF-8 text.").split("\n")
    for number, text in enumerate(texts, start=1):
        if text.strip():
            rows[number] = _row(text, path, number, nested)
    if not rows:
        raise UserError("the table has no lines", where=path, do="Add an object for each image.")
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    check_size(len(names) * len(rows), path)
    index = pd.Index(list(rows), name=LINE)
    frame = pd.DataFrame(list(rows.values()), columns=names, index=index, dtype="string")
    remarks = [Remark("table_form", "the table is read as JSON Lines, a row a line", where=str(path))]
    if nested:
        what = f"keys that hold lists or objects are not read: {listed([shortened(name, 80) for name in nested])}"
        remarks.append(Remark("nested_cells", what, "Write what counts as words or numbers.", str(path), "warning"))
    return with_remarks(frame, remarks)


def _row(text: str, path: Path, number: int, nested: Counter[str]) -> dict[str, str | None]:
    why = "is not a JSON object"
    try:
        line = parse_json(text) if len(text) <= MAX_LINE else None
    except ValueError as error:
        line, why = None, f"{why} ({error})"
    if not isinstance(line, dict):
        if len(text) > MAX_LINE:
            why = f"has {len(text):,} characters, more than {MAX_LINE:,}"
        shown = shortened(text.strip(), 80)
        raise UserError(f"line {number} {why}: '{shown}'", where=path, do="Write one object a line.")
    lists = {name: cell for name, value in line.items() if (cell := list_cell(name, value)) is not None}
    for name, value in line.items():
        if isinstance(value, list | dict) and name not in lists:
            nested.update(paths_in(name, value))
    return {
        name: lists[name] if name in lists else _cell(value)
        for name, value in line.items()
        if name in lists or not isinstance(value, list | dict)
    }


def _cell(value: Any) -> str | None:
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else json.dumps(value)  # true as JSON writes it, 1.0 as 1.0


def _head(path: Path) -> bytes:
    check_regular(path)
    with reading(path, "the table cannot be read", do="Copy it again."), path.open("rb") as file:
        return file.read(HEAD_BYTES).removeprefix(b"\xef\xbb\xbf")
