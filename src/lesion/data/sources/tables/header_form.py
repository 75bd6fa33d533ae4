"""Header form: why a table has none of the columns that are wanted: another separator, or no header at all.

Looks only where the image column was not found, so a table that can be read is read as before.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from lesion.data.metadata import MISSING
from lesion.data.numbers import is_number
from lesion.errors import UserError
from lesion.words import listed, shortened

NUM_ROWS = 20  # that are looked at
# What divides cells beside the separators that are known; the last are blanks, of which a name may hold one.
SEPARATORS = {
    **{":": "colons", "^": "'^'", "|": "vertical bars", "~": "'~'", "#": "'#'", "!": "'!'", "*": "'*'", "\\": "'\\'"},
    **{"/": "slashes", "\x1f": "unit separators", "\t": "tabs", ";": "semicolons", ",": "commas"},
    **{"  ": "several blanks", " ": "blanks"},
}
CAN_BE_STATED = re.compile(r"[^\w\s]|\t")  # in a first line such as sep=:
IMAGE_NAME = re.compile(r".+\.(?:jpe?g|jfif|png|tiff?|bmp|dcm|dicom|ima|webp|gif|nii|svs)(?:\.gz)?", re.IGNORECASE)


def refuse_header(frame: pd.DataFrame, where: str) -> None:
    """Raises UserError with the cause and the remedy if the header of a table is one cell that a separator should
    divide, or is a row like the others."""
    names = [str(name) for name in frame.columns]
    rows = frame.head(NUM_ROWS)
    cells = [rows[name].fillna("").tolist() for name in frame.columns]
    if len(names) == 1 and (separator := _separator(names[0], cells[0])) is not None:
        can_be_stated = CAN_BE_STATED.fullmatch(separator) is not None
        stated = f", or write sep={separator} as its first line" if can_be_stated else ""
        raise UserError(
            f"the header is one cell, '{shortened(names[0], 80)}': its cells seem to be separated by "
            f"{SEPARATORS[separator]}, which are not read as a separator",
            where=where,
            do=f"Save the table with commas{stated}.",
        )
    if why := _is_a_row(names, cells):
        raise UserError(
            f"the first line is a row and not a header, since {why}: {listed([shortened(name, 40) for name in names])}",
            where=where,
            do="Write a line above it that names the columns, such as image_name,target.",
        )


def _separator(name: str, cells: Sequence[str]) -> str | None:
    """What divides the header and every row into the same number of cells, two or more."""
    for separator in SEPARATORS:
        counts = {len(_divided(text, separator)) for text in (name, *cells) if text.strip()}
        if len(counts) == 1 and counts.pop() > 1:
            return separator
    return None


def _divided(text: str, separator: str) -> list[str]:
    if not separator.strip(" "):
        return re.split(r"[ \u00a0]{2,}" if len(separator) > 1 else r"[ \u00a0]+", text.strip())
    return text.split(separator)


def _is_a_row(names: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """What shows that the header is a row: it names an image file, or says what a column's rows say; "" if nothing."""
    for name in names:
        if IMAGE_NAME.fullmatch(name):
            return f"'{shortened(name, 40)}' is the name of an image"
    for name, column in zip(names, cells, strict=True):
        filled = [cell for cell in column if cell.strip().lower() not in MISSING]
        if not filled:
            continue
        if is_number(name) and all(map(is_number, filled)):
            return f"'{shortened(name, 40)}' is a number, as in the rows below"
        if re.search("[0-9]", name) and {_shape(cell) for cell in filled} == {_shape(name)}:
            return f"'{shortened(name, 40)}' has the form of the rows below"
        if name in filled and len(names) > 1:
            return f"'{shortened(name, 40)}' is also in the rows below"
    return ""


def _shape(text: str) -> str:
    """A text with 0 for each of its digits: ISIC_0024306 and ISIC_0024307 have one shape."""
    return re.sub("[0-9]", "0", text)
