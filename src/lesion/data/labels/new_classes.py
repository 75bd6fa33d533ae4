"""New classes: what a validation or test set has and the training set lacks, where the labels could not be read.

What is wrong with the training labels must not hide it: both are mended before the next start. Compares words alone.
"""

# S samples

from __future__ import annotations

from collections import Counter

from lesion.data.labels.cells import called, texts_of
from lesion.data.labels.joined_labels import SEPARATORS, parted
from lesion.data.labels.spelling import spellings, usual, word_key
from lesion.data.labels.uncertain import BLANK, UNCERTAIN
from lesion.data.metadata import TRUE, are_yes_and_no
from lesion.data.numbers import is_number
from lesion.data.table import SampleTable
from lesion.errors import UserError
from lesion.words import listed, nearest, number_of


def refuse_new_classes(training: SampleTable, other: SampleTable, *, split: str) -> None:
    """Raises UserError for the classes of the other set, "validation" or "test", that no training row has.

    Numbers are not compared: many of them are measurements, of which each set has its own.
    """
    if training.targets is None or other.targets is None or len(training.target_names) != 1:
        return
    if len(other.target_names) != 1:
        return
    known, there = _words(training), _words(other)
    new = {usual(of): sum(of.values()) for key, of in there.items() if key not in known}
    new = {word: num for word, num in new.items() if not is_number(word) or len(known) <= 2}
    if not new:
        return
    names = [usual(of) for of in known.values()]
    near = [f" Is {word} meant to be {meant}?" for word in sorted(new) if (meant := nearest(word, names)) is not None]
    told = listed([f"{word} ({number_of(num, 'row')})" for word, num in sorted(new.items())])
    raise UserError(
        f"{called(other)} of the {split} set holds classes that no training row has: {told}",
        where=other.where,
        do=f"Add training rows of them, or leave these rows out of the {split} set.{''.join(near[:3])}",
    )


def new_labels(training: SampleTable, other: SampleTable, columns: tuple[str, ...]) -> dict[str, int]:
    """Of some columns of 1 and 0, of which the training rows hold 0 alone, how many rows of the other set hold 1."""
    if training.targets is None or other.targets is None:
        return {}
    there = [name for name in columns if name in other.targets]
    counts = {name: sum(word_key(text) in TRUE for text in other.targets[name].tolist()) for name in there}
    return {name: count for name, count in counts.items() if count}


def _words(table: SampleTable) -> dict[str, Counter[str]]:
    """The spellings of each word of the only target column, each of the labels that | and ; join, by its key."""
    texts = texts_of(table)
    for separator in SEPARATORS:
        texts = [part for text in texts for part in parted(text, separator)]
    found = spellings(texts)
    is_no = are_yes_and_no(found)
    words = {key: of for key, of in found.items() if key not in {*UNCERTAIN, BLANK, ""}}
    if is_no:  # yes, True and 1 say the same
        merged: dict[str, Counter[str]] = {}
        for key, of in words.items():
            merged.setdefault("1" if key in TRUE else "0", Counter()).update(of)
        return merged
    return words
