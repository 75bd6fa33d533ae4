"""CSV text: the bytes of a table → its text, its separator, and how it was written.

Decides encoding, line ends and separator. Knows nothing of rows.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lesion.data.decode.formats import LFS_POINTER, name_format
from lesion.data.decode.reading import MAX_TABLE_BYTES
from lesion.data.remark import Remark
from lesion.errors import UserError
from lesion.words import shortened

NO_CSV, SAVE_AS = "not a readable CSV", "Save it as a CSV in UTF-8."
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
LINE = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")
NUM_LOOKED_AT = 100  # lines, from which the separator is known
STATED_SEPARATOR = re.compile(r'"?sep=([^\w\s"]|\t)"?[ ,;\t]*(?:\r\n?|\n)', re.IGNORECASE)  # Excel's own first line
MARKS = {
    codecs.BOM_UTF8: ("utf-8-sig", "with a byte order mark"),
    codecs.BOM_UTF32_LE: ("utf-32", "in UTF-32"),  # before UTF-16, whose mark its own begins with
    codecs.BOM_UTF32_BE: ("utf-32", "in UTF-32"),
    codecs.BOM_UTF16_LE: ("utf-16", "in UTF-16"),
    codecs.BOM_UTF16_BE: ("utf-16", "in UTF-16"),
}


@dataclass(frozen=True)
class CsvText:
    """A table's text, whose first line has the number `starts_at`."""

    text: str
    separator: str
    starts_at: int
    forms: tuple[str, ...]  # what is unusual about the whole file, in a few words each
    remarks: tuple[Remark, ...]


def read_text(content: bytes, csv_path: Path) -> CsvText:
    """The text of a table. Raises UserError for bytes that are none in UTF-8, UTF-16, UTF-32 or Windows-1252."""
    # The module's own limit of 131,072 characters is less than the outline of a region may have, in a column that
    # nothing uses. Cells that are used are bounded where columns are picked.
    csv.field_size_limit(MAX_TABLE_BYTES)
    _refuse_other_formats(content, csv_path)
    text, forms, remarks = _decoded(content, csv_path)
    if "\r" in text and "\n" not in text:
        forms.append("with CR line ends")
    stated = STATED_SEPARATOR.match(text)
    separator = stated[1] if stated else _separator(text)
    if stated:
        text = text[stated.end() :]
        forms.append(f"with the first line {stated[0].strip()}")
    if separator != ",":
        forms.append(f"separated by {SEPARATORS.get(separator, repr(separator))}")
    return CsvText(text, separator, 2 if stated else 1, tuple(forms), tuple(remarks))


def lines_of(text: str) -> Iterator[str]:
    """The lines with their ends, one after the other: a list of all would take the memory of the text again."""
    return (found[0] for found in LINE.finditer(text))


def _refuse_other_formats(content: bytes, csv_path: Path) -> None:
    """Raises UserError for a file that is called as a table and begins as something else."""
    if content.startswith(LFS_POINTER):
        raise UserError("a Git LFS pointer and not the table itself", where=csv_path, do="Fetch it: git lfs pull.")
    if (name := name_format(content)) in {"ZIP", "HTML", "XML", "JSON", "PDF", "gzip"}:
        kind = "an Excel workbook, or ZIP" if name == "ZIP" else name
        raise UserError(f"{NO_CSV}: it looks like {kind}", where=csv_path, do=SAVE_AS)


def _decoded(content: bytes, csv_path: Path) -> tuple[str, list[str], list[Remark]]:
    """The text, and how it is written where that is not plain UTF-8: in a few words, or in a remark."""
    mark = next((mark for mark in MARKS if content.startswith(mark)), None)
    encoding, form = MARKS[mark] if mark else ("utf-8", "")
    remarks: list[Remark] = []
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        text = _western(content) if mark is None else ""
        if not text:
            what = (
                f"{NO_CSV}: line {line} is no text in {'UTF-8 or Windows-1252' if mark is None else encoding.upper()}"
            )
            raise UserError(what, where=csv_path, do=SAVE_AS) from error
        word = re.findall(r"[^\s,;|\"]*[^\x00-\x7f][^\s,;|\"]*", text)[0]
        remarks.append(
            Remark(
                "encoding",
                f"the table is not in UTF-8, and is read as Windows-1252: '{shortened(word, 40)}' in line {line}",
                "Save it as UTF-8 if such letters are wrong.",
                str(csv_path),
                "warning",
            )
        )
    if "\0" in text:
        what = f"{NO_CSV}: it holds NUL bytes, as UTF-16 without its mark does"
        raise UserError(what, where=csv_path, do=SAVE_AS)
    return text, [form] if form else [], remarks


def _western(content: bytes) -> str:
    """The bytes as Windows-1252; "" if they cannot be.

    In the languages that it is made for, accented letters are single between plain ones. Those of other alphabets
    come in runs, and would be read as other letters.
    """
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        return ""
    runs = [len(run) for run in re.findall(r"[^\x00-\x7f]+", text)]
    return text if 2 * sum(length for length in runs if length > 1) <= sum(runs) else ""


def _separator(text: str) -> str:
    """What divides the header into cells, and the first rows into as many; a comma if nothing does."""

    def fit(separator: str) -> tuple[bool, int]:
        rows = csv.reader(islice(lines_of(text), NUM_LOOKED_AT), delimiter=separator, skipinitialspace=True)
        counts = [len(row) for row in rows if any(row)]
        if not counts or counts[0] < 2:
            return False, 0
        return set(counts) == {counts[0]}, counts[0]

    return max(SEPARATORS, key=fit)  # the first of equals
