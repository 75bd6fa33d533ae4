"""Label doubts: what the cells of a target column do not say clearly, and is taken as it stands with a warning.

Codes for a missing value beside two classes make three of them, and a column of class names may contradict the target.
"""

# S samples

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lesion.data.labels.cells import called, texts_of
from lesion.data.labels.positive_words import positive_word, says_nothing
from lesion.data.labels.spelling import is_whole, spellings, usual, word_key
from lesion.data.labels.uncertain import UNCERTAIN
from lesion.data.remark import Remark
from lesion.data.table import SampleTable
from lesion.words import listed, number_of

CODES = {"9", "-9", "99", "-99", "999", "-999", "9999", "-9999", "88", "888", "-8", "77", "-7", "-2"}
WORDS = {
    *("nan", "na", "n/a", "n.a.", "none", "null", "nil", "missing", "nd", "n.d.", "not available", "notavailable", "."),
    *("#n/a", "<na>", "nat", "notdone", "not applicable", "notapplicable", "empty", "blank", "unlabeled", "unlabelled"),
}
MOST_MISSING = 0.5  # of the rows, above which a code is no gap


def said_of_missing_codes(table: SampleTable, words: Sequence[str]) -> tuple[Remark, ...]:
    """A warning of words and numbers that usually stand for a missing value or for doubt, beside two classes that are a
    question by themselves: 0, 1 and 9; benign, malignant and N/A."""
    keys = {word: word_key(word) for word in words}
    gaps = [word for word, key in keys.items() if key in WORDS or key in CODES or _is_doubt(word)]
    rest = [word for word in words if word not in gaps]
    if not gaps or len(rest) != 2:
        return ()
    are_numbers = all(map(is_whole, rest))
    is_pair = set(rest) == {"0", "1"} or set(rest) == {"1", "2"}
    if not (is_pair if are_numbers else positive_word(rest[0], rest[1])):
        return ()
    counts = Counter(word_key(text) for text in texts_of(table))
    if sum(counts[keys[word]] for word in gaps) > MOST_MISSING * len(table):
        return ()
    told = listed([f"{word} in {number_of(counts[keys[word]], 'row')}" for word in gaps])
    return (
        Remark(
            "missing_codes",
            f"{called(table)} holds {told}, which may stand for a missing value or for doubt: beside {listed(rest)} "
            "each is learned as a class of its own, and the question is multiclass",
            "If no class is known of these rows, leave them out, or write 'unknown' there and set on_uncertain=drop. "
            "If it is a class, give it a name.",
            table.where,
            "warning",
        ),
    )


def _is_doubt(word: str) -> bool:
    """Whether a word tells leftovers, quality or doubt; those for uncertain have a setting of their own."""
    return says_nothing(word) and not is_whole(word) and word_key(word) not in UNCERTAIN


def said_of_names(
    table: SampleTable, words: Sequence[str], names: Sequence[str], number_S: NDArray[np.intp]
) -> tuple[Remark, ...]:
    """What is said of the class-name column where it does not name the classes of the rows, whose numbers in `words`
    are `number_S` [S]: with counts, a warning if it contradicts them."""
    if table.class_name_S is None:
        return ()
    if not all(map(is_whole, words)):
        return _said_of_other_words(table, words, number_S)
    return _said_of_unused_names(table, words, number_S) if tuple(names) == tuple(words) else ()


def _said_of_unused_names(table: SampleTable, words: Sequence[str], number_S: NDArray[np.intp]) -> tuple[Remark, ...]:
    """What is said of names that are not one for each numbered class."""
    assert table.class_name_S is not None
    text_S = table.class_name_S
    counts = {
        word: spellings(text for text in text_S[number_S == number].tolist() if text)
        for number, word in enumerate(words)
    }
    all_keys = Counter(key for of in counts.values() for key in of)
    if not all_keys or len(all_keys) > max(2 * len(words), 20):
        return ()  # a column of something else
    shared = sorted(key for key, num in all_keys.items() if num > 1)
    usual_word = {key: usual(spelt) for of in counts.values() for key, spelt in of.items()}
    column = "the class-name column" if table.columns is None else f"column '{table.columns.class_name}'"
    if not shared:
        lacking = [word for word, of in counts.items() if len(of) != 1]
        if not lacking:
            return ()
        what = f"{column} has no name or several names for {listed(lacking)} of {called(table)}, and is not used"
        do = "The classes are called by their numbers. Set class_name_column to a column with one name for each."
        return (Remark("class_names_not_used", what, do, table.where),)
    parts = [
        f"{usual_word[key]} in "
        + " and ".join(
            f"{number_of(sum(of[key].values()), 'row')} of {word}" for word, of in counts.items() if key in of
        )
        for key in shared
    ]
    return (
        Remark(
            "class_names_contradict",
            f"{column} contradicts {called(table)}, and its names are not used: {listed(parts, separator='; ')}",
            "Correct the one or the other, or set class_name_column=none if it names something else.",
            table.where,
            "warning",
        ),
    )


def _said_of_other_words(table: SampleTable, words: Sequence[str], number_S: NDArray[np.intp]) -> tuple[Remark, ...]:
    """A warning of rows whose class name is another of the classes than their target."""
    assert table.class_name_S is not None
    number_of_key = {word_key(word): number for number, word in enumerate(words)}
    named_S = np.array([number_of_key.get(word_key(text), -1) for text in table.class_name_S.tolist()])
    wrong = np.flatnonzero((named_S >= 0) & (number_S >= 0) & (named_S != number_S))
    if not len(wrong):
        return ()
    column = "the class-name column" if table.columns is None else f"column '{table.columns.class_name}'"
    pairs = Counter((words[named_S[row]], words[number_S[row]]) for row in wrong.tolist())
    told = listed([f"{named} in {number_of(num, 'row')} of {said}" for (named, said), num in pairs.items()])
    return (
        Remark(
            "class_names_contradict",
            f"{column} contradicts {called(table)}, which is taken: {told}, the first {table.name_S[wrong[0]]}",
            "Correct the one or the other, or set class_name_column=none if it names something else.",
            table.where,
            "warning",
        ),
    )
