"""Tables: what the rows of a set say before any picture is opened: gaps, impossible values, columns without use."""

# S samples

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion.check.finding import Finding, Part, TableRow
from lesion.data.metadata import MISSING, is_meant_as_number
from lesion.data.numbers import as_number_or_age
from lesion.data.table import Columns, SampleTable
from lesion.data.vocabulary import meaning
from lesion.words import listed, number_of

AGE = (0.0, 120.0)  # years
MOSTLY = 0.5  # of a column's words are numbers: then the others are slips
FAR = 20.0  # times the distance of the quartiles: 1 in 10⁴⁰ of a bell curve, 1 in 10¹⁰ of an exponential one
RARE = 0.05  # share of groups with different values: below it the column is constant per group, and these are mistakes


def table_findings(table: SampleTable, columns: Columns, *, part: Part) -> list[Finding]:
    """Findings about each metadata column, and about unused and missing columns."""
    findings = list(_columns(table, columns, part))
    for name in map(str, table.metadata.columns):
        findings += _column(table, name, part)
    if table.strays:
        first = ", ".join(stray.rpartition("/")[2] for stray in table.strays[:5])
        findings.append(
            Finding(
                "warning",
                "pictures_without_row",
                f"{number_of(len(table.strays), 'image')} of the {part} set without a row, such as {first}",
                "Add their rows, or ignore this: they are not used.",
                where=table.where,
            )
        )
    return findings


def rows_aside(table: SampleTable, *, part: Part) -> list[Finding]:
    """What is judged without the rows of a lenient table that have an empty cell."""
    is_whole_S = table.is_whole_S
    if is_whole_S.all():
        return []
    is_placed_S = is_whole_S if table.is_placed_S is None else table.is_placed_S
    judged = "targets and folds" if is_placed_S.all() else "targets, folds and copies"
    what = (
        f"{judged} of the {part} set are judged without {number_of(int((~is_whole_S).sum()), 'row')} with an empty cell"
    )
    do = "Fill the cells in, and check again."
    return [Finding("note", "rows_aside", what, do, table.where, _rows(table, ~is_whole_S, part))]


def _columns(table: SampleTable, columns: Columns, part: Part) -> Iterator[Finding]:
    columns = table.columns or columns  # as they were found
    unused = [] if table.others is None else [str(name) for name in table.others.columns if name != columns.mask]
    if unused:
        names = ", ".join(unused)
        yield Finding("note", "unused_columns", f"unused columns of the {part} set: {names}", where=table.where)
    present = {*table.metadata.columns, *(() if table.others is None else table.others.columns)}
    absent = [name for name in columns.usual_metadata if columns.metadata is None and name not in present]
    absent += [columns.class_name] if columns.class_name and table.class_name_S is None else []
    is_empty = any(remark.name == "missing_groups" for remark in table.remarks)  # then it is there, without a group
    absent += [columns.group] if columns.group and table.group_S is None and not is_empty else []
    if absent and present:  # not of class folders, which have no columns
        yield Finding(
            "note",
            "absent_columns",
            f"columns missing from the {part} set: {', '.join(absent)}",
            where=table.where,
        )
    if columns.group and table.group_S is None and part == "training":
        yield Finding(
            "warning",
            "no_groups",
            "no column says which images are of the same patient: rows are split into folds by class, and if images "
            "of one patient are in training and in validation, the metrics look better than on new patients",
            "Set group_column to a column of patients. Ignore this if no two images are of the same patient.",
            where=table.where,
        )


def _column(table: SampleTable, name: str, part: Part) -> Iterator[Finding]:
    text_S = table.metadata[name].fillna("").str.strip().to_numpy(dtype=np.str_)
    is_missing_S = np.array([text.lower() in MISSING for text in text_S.tolist()])
    called = f"column '{name}' of the {part} set"
    if is_missing_S.any():
        share = is_missing_S.mean()
        yield Finding(
            "warning" if share > 0.5 else "note",
            "missing_values",
            f"{called} is empty in {is_missing_S.sum()} of {len(text_S)} rows ({share:.0%})",
            where=table.where,
            rows=_rows(table, is_missing_S, part),
        )
    if is_missing_S.all():
        return
    # NaN where a cell holds none.
    number_S = np.array([as_number_or_age(text) for text in text_S.tolist()], dtype=np.float64)
    is_number_S = np.isfinite(number_S)
    is_word_S = ~is_number_S & ~is_missing_S
    if (num_words := int(is_word_S.sum())) and is_number_S.sum() >= MOSTLY * (~is_missing_S).sum():
        yield Finding(
            "warning",
            "words_among_numbers",
            f"{called} holds numbers, but words in {number_of(num_words, 'row')}: {_different(text_S[is_word_S])}",
            "Correct or empty them."
            if all(map(is_meant_as_number, text_S[is_word_S].tolist()))  # which is an error of the column too
            else "Correct or empty them; else each number becomes a category.",
            where=table.where,
            rows=_rows(table, is_word_S, part),
        )
    if not is_word_S.any():
        yield from _numbers(table, name, number_S, called, part)
    elif not is_number_S.any():
        yield from _words(table, text_S, is_missing_S, called, part)
    if table.group_S is not None:
        yield from _contradictions(table, text_S, is_missing_S, called, part)


def _numbers(
    table: SampleTable, name: str, number_S: NDArray[np.float64], called: str, part: Part
) -> Iterator[Finding]:
    if "age" in name.lower().split("_"):
        is_impossible_S = (number_S < AGE[0]) | (number_S > AGE[1])
        if is_impossible_S.any():
            listed_ages = _different(number_S[is_impossible_S].astype(str))
            yield Finding(
                "warning",
                "impossible_values",
                f"{called} is not an age in {number_of(int(is_impossible_S.sum()), 'row')}: {listed_ages}",
                "Correct or empty them.",
                where=table.where,
                rows=_rows(table, is_impossible_S, part),
            )
        return
    known = number_S[np.isfinite(number_S)]
    low, middle, high = np.quantile(known, [0.25, 0.5, 0.75])
    is_far_S = np.abs(number_S - middle) > FAR * (high - low)
    if high > low and is_far_S.any():
        yield Finding(
            "warning",
            "impossible_values",
            f"{called} is mostly between {low:g} and {high:g}, but far outside in "
            f"{number_of(int(is_far_S.sum()), 'row')}: {_different(number_S[is_far_S].astype(str))}",
            "Correct or empty them; if they are right, name the column in log_columns.",
            where=table.where,
            rows=_rows(table, is_far_S, part),
        )


def _words(
    table: SampleTable, text_S: NDArray[np.str_], is_missing_S: NDArray[np.bool_], called: str, part: Part
) -> Iterator[Finding]:
    spellings: dict[frozenset[str], set[str]] = {}
    for text in set(text_S[~is_missing_S].tolist()):
        spellings.setdefault(meaning(text), set()).add(text)
    several = [words for words in spellings.values() if len(words) > 1]
    if several:
        is_concerned_S = np.isin(text_S, sorted(set().union(*several)))
        spelt = "; ".join(sorted(listed(sorted(words)) for words in several)[:5])
        yield Finding(
            "note",
            "spellings",
            f"{called} has words in several spellings, which count as one: {spelt}",
            "Write them differently if they are not the same.",
            where=table.where,
            rows=_rows(table, is_concerned_S, part),
        )
    num_words, num_rows = len(spellings), int((~is_missing_S).sum())
    if num_rows >= 20 and num_words > num_rows / 2:
        yield Finding(
            "warning",
            "identifier",
            f"{called} has {num_words} different words in {num_rows} rows: a name, not a property",
            "Take it out of metadata_columns.",
            where=table.where,
        )


def _contradictions(
    table: SampleTable, text_S: NDArray[np.str_], is_missing_S: NDArray[np.bool_], called: str, part: Part
) -> Iterator[Finding]:
    # 45 and 45.0, M and male are no contradiction.
    known = pd.DataFrame({"group": table.group_or_row_S, "text": list(map(meaning, text_S.tolist()))})[~is_missing_S]
    groups = known.groupby("group")["text"].agg(["nunique", "size"])
    changing = groups.index[groups["nunique"] > 1].to_numpy(dtype=np.str_)
    if 0 < len(changing) <= RARE * (groups["size"] > 1).sum():
        yield Finding(
            "warning",
            "contradictions",
            f"{called} has different values within {number_of(len(changing), 'group')}: {_different(changing)}",
            "Correct the column, or the groups.",
            where=table.where,
            rows=_rows(table, np.isin(table.group_or_row_S, changing) & ~is_missing_S, part),
        )


def _rows(table: SampleTable, is_row_S: NDArray[np.bool_], part: Part) -> tuple[TableRow, ...]:
    return tuple(TableRow(part, index, str(table.name_S[index])) for index in np.flatnonzero(is_row_S).tolist())


def _different(words: NDArray[np.str_]) -> str:
    return listed(list(dict.fromkeys(words.tolist())))
