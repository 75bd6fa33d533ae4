"""Write CSV: a table that people and programs read back as it was."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from lesion.files import write_atomic


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Text is written unchanged, so that names can be joined on; invalid characters as escapes.

    Nine digits restore a float32 exactly. Raises PlatformError where the disk refuses.
    """
    text = frame.to_csv(index=False, float_format="%.9g")
    if "\r" in text:  # which the writer leaves bare, and readers take for the end of a line
        text = frame.to_csv(index=False, float_format="%.9g", quoting=csv.QUOTE_ALL)
    write_atomic(path, text.encode(errors="backslashreplace"))
