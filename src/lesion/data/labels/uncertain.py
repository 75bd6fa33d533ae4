"""Uncertain labels: target cells that say neither yes nor no, and what the user's policy makes of them.

A label may be written as uncertain (-1, "uncertain", "u") or be blank, which is: not mentioned, as in CheXpert's tables
(Irvin et al. 2019). Without a policy both are refused. "positive" and "negative" count uncertain labels so, and "drop"
leaves their rows out. All three count a blank label as negative, but "drop" leaves out a row without any label.
"""

# S samples · K target columns

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lesion.data.labels.spelling import word_key
from lesion.data.remark import Remark
from lesion.data.table import Columns, Rows, SampleTable, Source
from lesion.errors import UserError
from lesion.words import listed, number_of

Policy = Literal["error", "drop", "positive", "negative"]
NOT_MENTIONED = "(not mentioned)"  # what a table says in place of a blank label, where the policy allows blanks
WORDS = (
    *("-1", "u", "uncertain", "unsure", "not sure", "unclear", "unknown", "equivocal", "indeterminate"),
    *("inconclusive", "undetermined", "doubtful", "maybe", "?"),
)
UNCERTAIN = frozenset(map(word_key, WORDS))  # by the words' keys
BLANK = word_key(NOT_MENTIONED)


def settled(source: Source, columns: Columns) -> Source:
    """The source without the rows that `on_uncertain=drop` leaves out, with a remark that counts them.

    Raises UserError if no row would be left.
    """
    table = source.table()
    if table.targets is None or columns.on_uncertain == "error":
        return source
    if (table.targets == NOT_MENTIONED).all(axis=None) and not columns.are_targets_needed:
        return Rows(source, table=replace(table, targets=None))  # a test set without targets
    if columns.on_uncertain != "drop":
        return source
    key_SK = _keys(table)
    is_uncertain_SK = np.isin(key_SK, sorted(UNCERTAIN))
    is_left_out_S = is_uncertain_SK.any(axis=1) | (key_SK == BLANK).all(axis=1)
    if not is_left_out_S.any():
        return source
    if is_left_out_S.all():
        raise UserError(
            "each row has an uncertain label or none, so on_uncertain=drop leaves no row",
            where=table.where,
            do="Set on_uncertain=positive or negative, or target_column to columns with certain labels.",
        )
    num_unlabelled = int((key_SK == BLANK).all(axis=1).sum())
    words = listed(sorted(set(table.targets.to_numpy(dtype=np.str_)[is_uncertain_SK].tolist())))
    parts = [f"{int(is_uncertain_SK.any(axis=1).sum())} with {words}"] if words else []
    parts += [f"{num_unlabelled} without any label"] if num_unlabelled else []
    remark = Remark(
        "uncertain_labels",
        f"{int(is_left_out_S.sum())} of {len(table)} rows are left out for their uncertain labels: {', '.join(parts)}",
        "on_uncertain=positive or negative would keep them.",
        table.where,
        "warning",
    )
    index_S = np.flatnonzero(~is_left_out_S)
    kept = table.rows(index_S)
    num_left_out = int(is_left_out_S.sum())
    return Rows(source, index_S, table=replace(kept, num_uncertain=num_left_out, remarks=(*kept.remarks, remark)))


def refuse_uncertain(
    table: SampleTable, is_uncertain_SC: NDArray[np.bool_], policy: Policy, *, is_droppable_only: bool
) -> None:
    """Raises UserError for the rows with an uncertain label, if the policy does not say what they are.

    Of several classes, or of joined labels, an uncertain one is neither positive nor negative: such rows can only be
    left out.
    """
    if policy in {"positive", "negative"} and not is_droppable_only:
        return
    assert table.targets is not None
    text_SK, num_rows = table.targets.to_numpy(dtype=np.str_), int(is_uncertain_SC.any(axis=1).sum())
    names = listed(list(map(str, table.targets.columns)))
    what = f"columns {names} hold" if text_SK.shape[1] > 1 else f"column '{names}' holds"
    cells = text_SK[is_uncertain_SC.any(axis=1)].ravel().tolist()
    counts = Counter(text for text in cells if text_SK.shape[1] == 1 or word_key(text) in UNCERTAIN)
    told = listed([f"{text} in {number_of(count, 'cell')}" for text, count in sorted(counts.items())])
    alone = "write the uncertain word alone, which leaves their rows out, or take it out"
    if policy == "drop":
        do = f"In these cells {alone}."
    else:
        ways = "" if is_droppable_only else ", or positive or negative to count them so"
        is_joined = any(word_key(text) not in UNCERTAIN for text in counts)
        do = f"Set on_uncertain=drop to leave these rows out{ways}." + (
            f" In cells of several labels {alone}." if is_joined else ""
        )
    raise UserError(
        f"{what} uncertain labels in {num_rows} of {len(table)} rows: {told}",
        where=table.where,
        do=do,
    )


def said_of_uncertain(table: SampleTable, policy: Policy) -> tuple[Remark, ...]:
    """What the policy made of uncertain and blank labels, with how many there are."""
    if table.targets is None or policy == "error":
        return ()
    keys = _keys(table)
    num_uncertain, num_blank = int(np.isin(keys, sorted(UNCERTAIN)).sum()), int((keys == BLANK).sum())
    told = [f"uncertain labels are taken as {policy}: {num_uncertain}"] if num_uncertain else []
    told += [f"blank labels are taken as not mentioned, which is negative: {num_blank}"] if num_blank else []
    if not told:
        return ()
    return (Remark("uncertain_labels", "; ".join(told), "on_uncertain decides it.", table.where, "warning"),)


def _keys(table: SampleTable) -> NDArray[np.str_]:
    assert table.targets is not None
    text_SK = table.targets.to_numpy(dtype=np.str_)
    key_of = {text: word_key(text) for text in set(text_SK.ravel().tolist())}
    return np.asarray(np.vectorize(key_of.__getitem__, otypes=[np.str_])(text_SK), dtype=np.str_)
