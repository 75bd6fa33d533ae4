"""Measurements: target words that are numbers of something (12.5, 50 %, 3 mm), which are no classes to be learned.

A classifier takes each different word for a class of its own, without order: a percentage would become as many
classes as it has values. Knows no settings.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from lesion.data.labels.spelling import is_whole
from lesion.data.numbers import is_number
from lesion.data.remark import Remark
from lesion.errors import UserError
from lesion.words import listed, number_of

MOST_CODES = 10  # different whole numbers that are taken for classes without a word
PERCENT = ("%", "‰", "percent", "per cent", "pct", "prozent")
UNITS = frozenset(
    (
        *("nm", "um", "μm", "mm", "cm", "dm", "m", "km", "inch", "inches", "mm2", "cm2", "mm²", "cm²", "mm³", "cm³"),
        *("ng", "μg", "ug", "mcg", "mg", "g", "kg", "lb", "lbs", "nl", "μl", "ul", "ml", "cl", "dl", "l", "cc"),
        *("mmol", "mmol/l", "μmol/l", "umol/l", "nmol/l", "mg/dl", "mg/l", "g/dl", "g/l", "ng/ml", "pg/ml", "μg/l"),
        *("iu", "iu/l", "u/l", "iu/ml", "u/ml", "hu", "mmhg", "kpa", "bpm", "kg/m2", "kg/m²", "ml/min", "cells/mm2"),
        *("ms", "s", "sec", "seconds", "min", "mins", "minutes", "h", "hr", "hrs", "hour", "hours", "day", "days"),
        *("wk", "week", "weeks", "month", "months", "yr", "yrs", "year", "years", "y", "y/o"),
        *("°", "°c", "°f", "deg", "degrees", "gy", "mgy", "cgy", "sv", "msv", "kv", "kvp", "ma", "mas", "hz", "khz"),
        *("mhz", "db", "px", "pixel", "pixels", "diopters", "dpt", "points", "pts", "€", "$", "£", "eur", "usd", "gbp"),
    )
)
# A sign or a mark of "about", a currency, the number with a decimal point or comma, and what follows it.
FORM = re.compile(r"[~≈]?\s*([€$£]?)\s*([+\-−]?(?:[0-9]+(?:[.,][0-9]+)*|[.,][0-9]+)(?:e[+-]?[0-9]+)?)\s*([^\s0-9].*)?")
AS_CLASSES = (
    "Set target_column to a column of classes, or cut the numbers into classes, such as low and high: Lesion learns "
    "classes, and no numbers (regression)."
)


def refuse_measurements(words: Sequence[str], *, called: str, where: str) -> None:
    """Raises UserError if the different words of a column are measurements: if one is a number with decimals, or if
    most are numbers with one unit."""
    if any(is_number(word) and not is_whole(word) for word in words):
        raise UserError(f"{called} holds {listed(words)}: measurements, not classes", where=where, do=AS_CLASSES)
    units = {word: unit for word in words if (unit := _unit(word)) is not None}
    bare = [word for word in words if is_number(word)] if units else []  # 50 beside 25 %
    if len(units) + len(bare) < max(2, len(words) / 2):
        return
    if all(unit in PERCENT for unit in units.values()):
        kind = "percentages"
        ways = f"each value is a class of its own, write it as a word, such as small for {next(iter(units))}"
    elif any(units.values()):
        kind = "numbers with a unit"
        ways = f"each value is a class of its own, write it as a word, such as small for {next(iter(units))}"
    else:
        kind, ways = "numbers with decimal commas", "they are several labels in a cell, set label_separator=,"
    raise UserError(
        f"{called} holds {number_of(len(units), 'different value')} such as {listed(list(units), most=3)}: {kind}, "
        "measurements and not classes",
        where=where,
        do=f"{AS_CLASSES} If {ways}.",
    )


def refuse_many_numbers(words: Sequence[str], num_rows: int, *, called: str, where: str) -> tuple[Remark, ...]:
    """A warning of many classes that are numbered from 0 or 1 on.

    Raises UserError for as many numbers with gaps between them, as ages and counts have.
    """
    if len(words) <= MOST_CODES or not all(map(is_whole, words)):
        return ()
    numbers = sorted(int(float(word)) for word in words)
    span = f"{called} holds {len(words)} different numbers in {num_rows} rows, from {numbers[0]} to {numbers[-1]}"
    if numbers[0] in (0, 1) and numbers[-1] - numbers[0] == len(numbers) - 1:
        what = f"{span}: each is learned as a class of its own, without order"
        do = "If they are measurements, such as a score or an age, cut them into classes."
        return (Remark("numbers_as_classes", what, do, where, "warning"),)
    raise UserError(
        f"{span}, with gaps: measurements, such as ages or counts, and not classes",
        where=where,
        do=f"{AS_CLASSES} If they are numbers of classes, write the classes' names, or set class_name_column to a "
        "column that has them.",
    )


def _unit(word: str) -> str | None:
    """The unit of a number: "" of one with a decimal comma alone; None if the word is no measurement."""
    found = FORM.fullmatch(unicodedata.normalize("NFKC", word).strip().casefold())
    if found is None:
        return None
    unit = (found[1] or found[3] or "").strip(" .")
    if not unit:
        return "" if found[2].count(",") == 1 and "." not in found[2] else None
    is_known = unit in PERCENT or unit in UNITS
    has_decimals = re.search("[.,]", found[2]) is not None
    return unit if is_known or (has_decimals and unit[0].isalpha()) else None
