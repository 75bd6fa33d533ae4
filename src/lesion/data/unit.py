"""Unit: what the rows' groups are called in words for people: by their column, or images where there are no groups.

Evaluation knows no tables and says "group"; whoever passes on its words puts the unit there.
"""

from __future__ import annotations

import re
from typing import Any

from lesion.data.table import SampleTable
from lesion.words import plural_of, shortened

IMAGE, GROUP = "image", "group"
KNOWN = ("patient", "lesion", "slide", "subject", "person", "case", "eye", "study", "specimen", "animal")
ALSO = {"wsi": "slide"}  # how some public tables write it
IS_NUMBER = re.compile("[ _.-]*(id|ids|no|nr|num|number|key|code|name)$", re.IGNORECASE)
MAX_LETTERS = 24
WORDED = ("why", "sentence", "intervals", "cautions", "note")  # keys of evaluation's dicts that hold its own words
Json = dict[str, Any]


def unit_of(table: SampleTable) -> str:
    """What a group is called: the known word in its column's name, or else that name: `biopsy_no` is a biopsy. "image"
    where no row has a group, "group" where no column names it.
    """
    if table.has_own_group_S.all():
        return IMAGE
    columns = table.columns
    column = "" if columns is None or columns.group is None else columns.group
    known = next((word for word in (*KNOWN, *ALSO) if word in column.lower()), None)
    if known is not None:
        return ALSO.get(known, known)
    own = IS_NUMBER.sub("", column).replace("_", " ").strip()
    return shortened(own, MAX_LETTERS) if re.search("[A-Za-z]{3}", own) else GROUP


def in_units(found: Json, unit: str) -> Json:
    """What evaluation found, with the unit in its words instead of "group"."""
    return {key: _worded(value, unit) if key in WORDED else _inside(value, unit) for key, value in found.items()}


def _inside(value: Any, unit: str) -> Any:
    if isinstance(value, dict):
        return in_units(value, unit)
    return (
        [_inside(one, unit) for one in value]
        if isinstance(value, list) and value and isinstance(value[0], dict)
        else value
    )


def _worded(value: Any, unit: str) -> Any:
    if isinstance(value, list):
        return [_worded(one, unit) for one in value]
    return in_words(value, unit) if isinstance(value, str) else _inside(value, unit)


def in_words(text: str, unit: str) -> str:
    """Words of evaluation with the unit in place of "group"."""
    return re.sub(r"\bgroups\b", lambda _: plural_of(unit), re.sub(r"\bgroup\b", lambda _: unit, text))
