"""Label cells: how the cells of a table say classes: by a word, by several joined words, or by a column for each class.

A table comes in, the classes of its rows [S, C] go out: 1 and 0; NaN where a cell says that it is uncertain; nothing
but 0 in a row whose cell is blank, if the policy allows that.
"""

# S samples · C classes

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lesion.data.labels.joined_labels import parted, refuse_contradictions, says_none
from lesion.data.labels.spelling import is_whole, word_key
from lesion.data.labels.typos import Typo, likely_typos
from lesion.data.labels.uncertain import BLANK, UNCERTAIN
from lesion.data.metadata import FALSE, TRUE
from lesion.data.remark import Remark
from lesion.data.table import SampleTable
from lesion.errors import UserError, raise_all
from lesion.words import listed, nearest, number_of

ONE_EACH = (
    "Give each of these rows one class, or leave them out; where a row without a 1 means none of the classes, name a "
    "further target column that is 1 there."
)


class Cells(Protocol):
    """One way to say classes. `words` are the classes' words or columns, in their order."""

    @property
    def words(self) -> tuple[str, ...]: ...

    def read(self, table: SampleTable) -> NDArray[np.float32]:
        """The classes of the rows [S, C]. Raises UserError for a cell that says none of them."""
        ...

    def remarks(self, table: SampleTable) -> tuple[Remark, ...]:
        """The spellings that were taken for a class."""
        ...

    def typos(self, table: SampleTable) -> dict[str, Typo]:
        """The words that are probably another one, misspelt (data/labels/typos)."""
        ...


@dataclass(frozen=True)
class WordCells:
    """A class by its word. `class_of` gives the class of each word by its key (data/labels/spelling)."""

    words: tuple[str, ...]
    class_of: Mapping[str, int]

    def read(self, table: SampleTable) -> NDArray[np.float32]:
        def row_of(text: str) -> NDArray[np.float32] | None:
            key = word_key(text)
            if key in self.class_of:
                return one_of(self.class_of[key], len(self.words))
            if key in UNCERTAIN or key == BLANK:
                return np.full(len(self.words), 0 if key == BLANK else np.nan, dtype=np.float32)
            return None

        rows = {text: row_of(text) for text in set(texts_of(table))}
        refuse_unknown(table, [text for text, row in rows.items() if row is None], self.words)
        return np.array([rows[text] for text in texts_of(table)], dtype=np.float32)

    def remarks(self, table: SampleTable) -> tuple[Remark, ...]:
        return said_of_spellings(Counter(texts_of(table)), self.words, self.class_of, table)

    def typos(self, table: SampleTable) -> dict[str, Typo]:
        return likely_typos(_rows_of_words(Counter(texts_of(table)), self.words, self.class_of))


@dataclass(frozen=True)
class JoinedCells:
    """Any number of classes, their words joined by a separator; a word such as "No Finding" names none."""

    words: tuple[str, ...]
    class_of: Mapping[str, int]
    separator: str

    def read(self, table: SampleTable) -> NDArray[np.float32]:
        texts, unknown = texts_of(table), set()
        refuse_contradictions(texts, self.separator, self.words, called=called(table), where=table.where)
        rows = {}
        for text in set(texts):
            rows[text] = np.zeros(len(self.words), dtype=np.float32)
            for part in [] if word_key(text) == BLANK else parted(text, self.separator):
                if (number := self.class_of.get(word_key(part))) is not None:
                    rows[text][number] = 1
                elif word_key(part) in UNCERTAIN:
                    rows[text][:] = np.nan
                elif not says_none(part, self.words):
                    unknown.add(part)
        refuse_unknown(table, list(unknown), self.words)
        return np.array([rows[text] for text in texts], dtype=np.float32)

    def remarks(self, table: SampleTable) -> tuple[Remark, ...]:
        counts = Counter(part for text in texts_of(table) for part in parted(text, self.separator))
        return said_of_spellings(counts, self.words, self.class_of, table)

    def typos(self, table: SampleTable) -> dict[str, Typo]:
        counts = Counter(part for text in texts_of(table) for part in parted(text, self.separator))
        return likely_typos(_rows_of_words(counts, self.words, self.class_of))


@dataclass(frozen=True)
class ColumnCells:
    """A column for each class, which holds 1 or 0, or a word for yes or no."""

    words: tuple[str, ...]

    def read(self, table: SampleTable) -> NDArray[np.float32]:
        assert table.targets is not None
        value = {**dict.fromkeys(TRUE, 1.0), **dict.fromkeys(FALSE, 0.0), BLANK: 0.0}
        value |= dict.fromkeys(UNCERTAIN, np.nan)
        is_class_SC = np.zeros((len(table), len(self.words)), dtype=np.float32)
        problems = []
        for number, column in enumerate(self.words):
            texts = table.targets[column].tolist()
            key_of = {text: word_key(text) for text in set(texts)}
            if strange := sorted(text for text, key in key_of.items() if key not in value):
                problems.append(
                    UserError(
                        f"column '{column}' holds {listed(strange)}: with several target columns each is 0 or 1",
                        where=table.where,
                        do="Correct it, or set target_column to one column.",
                    )
                )
                continue
            is_class_SC[:, number] = [value[key_of[text]] for text in texts]
        raise_all(problems)
        return is_class_SC

    def remarks(self, table: SampleTable) -> tuple[Remark, ...]:  # noqa: ARG002
        return ()

    def typos(self, table: SampleTable) -> dict[str, Typo]:  # noqa: ARG002
        return {}  # columns are as many as the user named


def called(table: SampleTable) -> str:
    """What a message calls the target column."""
    assert table.targets is not None
    return f"column '{table.targets.columns[0]}'"


def texts_of(table: SampleTable) -> list[str]:
    """The cells of the only target column."""
    assert table.targets is not None
    return [str(text) for text in table.targets.iloc[:, 0].tolist()]


def one_of(number: int, num_classes: int) -> NDArray[np.float32]:
    """The classes [C] of a row that is of this class alone."""
    return np.asarray(np.arange(num_classes) == number, dtype=np.float32)


def refuse_unknown(table: SampleTable, unknown: Sequence[str], words: Sequence[str]) -> None:
    """Raises UserError for words that are no class of the training set."""
    if unknown:
        near = {word: meant for word in sorted(unknown) if (meant := nearest(word, words)) is not None}
        hint = "".join(f" Is {word} meant to be {meant}?" for word, meant in list(near.items())[:3])
        raise UserError(
            f"{called(table)} holds {listed(sorted(unknown))}, not a class of the training set",
            where=table.where,
            do=f"Use {listed(words)}, as in the training table.{hint}",
        )


def refuse_not_one(table: SampleTable, is_class_SC: NDArray[np.float32]) -> None:
    """Raises UserError for rows that are not of exactly one class."""
    wrong = np.flatnonzero(is_class_SC.sum(axis=1) != 1)
    if len(wrong):
        raise UserError(
            f"{len(wrong)} of {len(table)} rows do not have exactly one class: {said_of_not_one(table, is_class_SC)}",
            where=table.where,
            do=f"{ONE_EACH} If a row may have several classes, or none: task_type=multilabel, and no positive_class.",
        )


def said_of_not_one(table: SampleTable, is_class_SC: NDArray[np.floating]) -> str:
    """The rows without any class, and those with several, by name."""
    num_S = is_class_SC.sum(axis=1)
    kinds = (("without a 1", num_S == 0), ("with several", num_S > 1), ("uncertain", np.isnan(num_S)))
    return "; ".join(f"{kind} {listed(table.name_S[is_S].tolist())}" for kind, is_S in kinds if is_S.any())


def said_of_spellings(
    counts: Counter[str], words: Sequence[str], class_of: Mapping[str, int], table: SampleTable
) -> tuple[Remark, ...]:
    """One remark on the words that are spelt in several ways, with how often each; none where there are none."""
    spelt: dict[int, list[str]] = {}
    for text in sorted(counts):
        if (number := class_of.get(word_key(text))) is not None:
            spelt.setdefault(number, []).append(text)
    several = {number: texts for number, texts in spelt.items() if len(texts) > 1 or _is_other(texts[0], words[number])}
    if not several:
        return ()
    told = []
    for number, texts in sorted(several.items()):
        each = ", ".join(f"{text!r} in {number_of(counts[text], 'row')}" for text in texts)
        told.append(f"{words[number]} ({each})")
    are_numbers = all(is_whole(text) for texts in several.values() for text in texts)
    remark = Remark(
        "class_spellings",
        f"{called(table)} spells {'a class' if len(told) == 1 else 'classes'} in several ways, each of which is taken "
        f"as one class: {listed(told, separator='; ')}",
        "" if are_numbers else "Write each class in one way. If two of these are different classes, rename one.",
        table.where,
        "note" if are_numbers else "warning",
    )
    return (remark,)


def said_of_typos(typos: Mapping[str, Typo], table: SampleTable) -> tuple[Remark, ...]:
    """A warning of the classes that are probably another one, misspelt, each with its rows; nothing without any."""
    if not typos:
        return ()
    told = listed([typo.told for typo in typos.values()], separator="; ")
    remark = Remark(
        "class_typos",
        f"{called(table)} holds classes that may be one, and are learned as different ones: {told}",
        f"In the table {listed([typo.remedy for typo in typos.values()], separator='; ')}.",
        table.where,
        "warning",
    )
    return (remark,)


def _rows_of_words(counts: Mapping[str, int], words: Sequence[str], class_of: Mapping[str, int]) -> dict[str, int]:
    """How many cells say each word, however it is spelt there."""
    num_rows = dict.fromkeys(words, 0)
    for text, count in counts.items():
        if (number := class_of.get(word_key(text))) is not None:
            num_rows[words[number]] += count
    return num_rows


def _is_other(text: str, word: str) -> bool:
    """Whether a spelling is another than the word of its class. 1.0 is 1; a numbered class's name is no spelling."""
    is_spelling = word_key(text) == word_key(word) or word_key(text) in TRUE | FALSE
    return text != word and is_spelling and not is_whole(text)
