"""Remark: what was decided while a data set was opened: how a file was read, what was left out.

Its user should know it: whoever opens the set logs it, or the check reports it as a finding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Remark:
    """One line: what was decided, for which file or folder, and how to change it."""

    name: str  # what programs know it by: "other_separator"
    what: str
    do: str = ""
    where: str | None = None
    level: Literal["warning", "note"] = "note"  # a warning: the result may be another than the user means

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where is not None else ""
        return f"{self.what}{place}" + (f". {self.do}" if self.do else "")
