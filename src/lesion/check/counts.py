"""Counts: how many rows of each class there are, in each set, in each fold, and by sex, site and age."""

# S samples

from __future__ import annotations

from typing import Any

import pandas as pd

from lesion.data.folds import Folds
from lesion.data.labels.encode import Labelled
from lesion.data.metadata import cell_text, column_kinds
from lesion.data.numbers import as_number_or_age
from lesion.data.table import USUAL_METADATA, SampleTable
from lesion.data.vocabulary import meaning, one_of_each
from lesion.words import told_apart

MAX_VALUES = 12  # of a column; the rarer ones are counted together
YEARS = 10  # ages are counted by decades
MAX_DECADES = 20  # with a few ages that are none; ages in days would have thousands
NUM_BINS = 6  # of other numbers


def fold_counts(labelled: Labelled, valid_FS: Folds) -> pd.DataFrame:
    """Validation rows of each fold: a row a fold, with its rows, its groups and its rows of each class."""
    counts = [labelled.counts(valid_S) for valid_S in valid_FS]
    frame = pd.DataFrame([{key: value for key, value in one.items() if key != "classes"} for one in counts])
    frame.columns = frame.columns.str.removeprefix("num_")
    frame = pd.concat([frame, pd.DataFrame([one["classes"] for one in counts])], axis=1)
    return frame.rename_axis("fold")


def crosstabs(labelled: Labelled) -> dict[str, pd.DataFrame]:
    """For each metadata column and each usual one beside them: a row a value, a column a class."""
    table = labelled.table
    found = {}
    for name, text_S in _columns(table).items():
        value_S = _values(name, text_S)
        classes = labelled.target.counts
        groups = {value: classes(labelled.targets_SK[(value_S == value).to_numpy()]) for value in value_S.unique()}
        if not 1 < len(groups) <= len(table) / 2:
            continue
        order = (
            value_S.cat.categories if isinstance(value_S.dtype, pd.CategoricalDtype) else value_S.value_counts().index
        )
        found[name] = pd.DataFrame.from_dict({str(value): groups[value] for value in order if value in groups}, "index")
    return found


def _columns(table: SampleTable) -> dict[str, pd.Series[Any]]:
    frames = [table.metadata, *([] if table.others is None else [table.others])]
    columns = {str(name): frame[name] for frame in reversed(frames) for name in frame}
    wanted = [*map(str, table.metadata.columns), *USUAL_METADATA]
    return {name: columns[name] for name in dict.fromkeys(wanted) if name in columns}


def _values(name: str, text_S: pd.Series[Any]) -> pd.Series[Any]:
    """Each row's value as it is counted: numbers in steps, spellings of a word and rare words together, gaps as
    "missing"."""
    cells = text_S.astype(object).where(text_S.notna(), None)
    kind = column_kinds([{name: cell} for cell in cells], [name])[name]
    number_S = pd.Series([as_number_or_age(cell_text(cell) or "") for cell in cells], text_S.index, dtype="float64")
    if kind == "number" and number_S.nunique() > MAX_VALUES:
        decade_S = number_S // YEARS * YEARS
        if "age" in name.lower().split("_") and decade_S.nunique() <= MAX_DECADES:
            binned = decade_S.astype("category")
            ends = [(low, low + YEARS - 1) for low in binned.cat.categories]
        else:
            binned = pd.qcut(number_S, NUM_BINS, duplicates="drop")
            ends = [(part.left, part.right) for part in binned.cat.categories]
        texts = told_apart(number for pair in ends for number in pair)
        binned = binned.cat.rename_categories([f"{texts[low]} to {texts[high]}" for low, high in ends])
        return binned.cat.add_categories("missing").fillna("missing")
    if kind == "category":
        spelling = {meaning(word): word for word in one_of_each(text_S.dropna().tolist())}
        text_S = text_S.map(lambda word: spelling[meaning(word)], na_action="ignore")
    common = text_S.value_counts().index[:MAX_VALUES]
    return text_S.where(text_S.isin(common) | text_S.isna(), "others").fillna("missing").astype(object)
