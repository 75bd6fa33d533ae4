"""Normal labels: which rows of a table are normal and which are anomalous, by the cells of its target column."""

# S samples

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.anomaly.config import AnomalyConfig
from lesion.data.labels.cells import WordCells, called, texts_of
from lesion.data.labels.encode import Labels, read_labels
from lesion.data.labels.positive_words import is_healthy
from lesion.data.labels.spelling import word_key
from lesion.data.labels.uncertain import BLANK, UNCERTAIN, Policy, refuse_uncertain, said_of_uncertain
from lesion.data.remark import Remark
from lesion.data.table import SampleTable
from lesion.errors import UserError
from lesion.targets import Target
from lesion.words import listed, number_of

TARGET = Target("binary", ("normal", "anomalous"))
ZERO = {"0", "false", "no"}
KINDS = {"anomalous": True, "normal": False}


@dataclass(frozen=True)
class NormalWords:
    """What the words of one target column say, by their keys (data/labels/spelling): those of `normal` are normal, and
    of other sets' words also zero and what sounds healthy, if the user named no normal class. Uncertain words are what
    `on_uncertain` says, where positive is anomalous. All others are anomalous, those that no training row has too."""

    normal: frozenset[str]
    anomalous: frozenset[str] = frozenset()  # of the training rows
    takes_healthy: bool = False
    on_uncertain: Policy = "error"

    def encode(self, table: SampleTable) -> NDArray[np.float32]:
        """1 for each anomalous row [S, 1], 0 for each normal one. Raises UserError for uncertain ones, if the policy
        does not say what they are."""
        texts = texts_of(table)
        known = {text: self._is_anomalous(text) for text in set(texts)}
        is_uncertain_S1 = np.array([[known[text] is None] for text in texts])
        if is_uncertain_S1.any():
            refuse_uncertain(table, is_uncertain_S1, self.on_uncertain, is_droppable_only=False)
        is_positive = self.on_uncertain == "positive"
        return np.array([[is_positive if known[text] is None else known[text]] for text in texts], np.float32)

    def remarks_of(self, table: SampleTable) -> tuple[Remark, ...]:
        """What the words that no training row has are taken for, and the uncertain ones."""
        known = {*self.normal, *self.anomalous, *UNCERTAIN, BLANK}
        new = sorted({word_key(text): text for text in texts_of(table) if word_key(text) not in known}.values())
        uncertain = said_of_uncertain(table, self.on_uncertain)
        if not new:
            return uncertain
        kinds = {name: [text for text in new if self._is_anomalous(text) is is_it] for name, is_it in KINDS.items()}
        told = "; ".join(f"taken as {name}: {listed(texts)}" for name, texts in kinds.items() if texts)
        what = f"{called(table)} holds {number_of(len(new), 'word')} that no training row has, {told}"
        # Beside normal training rows alone other words are to be expected.
        level: Literal["warning", "note"] = "warning" if self.anomalous else "note"
        return (Remark("new_words", what, "Correct what is misspelt.", table.where, level), *uncertain)

    def _is_anomalous(self, text: str) -> bool | None:
        """Whether a word is anomalous; None for an uncertain one."""
        key = word_key(text)
        if key in self.normal or key == BLANK:
            return False
        if key in UNCERTAIN:
            return None
        return key in self.anomalous or not (self.takes_healthy and (key in ZERO or is_healthy(text)))


@dataclass(frozen=True)
class NormalLabels:
    """What the target cells of any table say: by the words of one column, or by the classes of several columns, of
    joined labels or of the user's positive_class."""

    meaning: NormalWords | Labels
    is_normal_positive: bool = False  # the positive one of the classes is the normal one
    remarks: tuple[Remark, ...] = ()

    @property
    def target(self) -> Target:
        return TARGET

    def encode(self, table: SampleTable) -> NDArray[np.float32]:
        """1 for each anomalous row [S, 1], 0 for each normal one. Raises UserError for a cell that says neither."""
        if table.targets is None:
            return np.zeros((len(table), 1), np.float32)
        if isinstance(self.meaning, NormalWords):
            return self.meaning.encode(table)
        positive_S1 = self.meaning.target.judged_columns(self.meaning.encode(table))
        return np.asarray(1 - positive_S1 if self.is_normal_positive else positive_S1, dtype=np.float32)

    def remarks_of(self, table: SampleTable) -> tuple[Remark, ...]:
        """What the cells of another table are taken for."""
        return () if table.targets is None else self.meaning.remarks_of(table)


def read_normal_labels(table: SampleTable, config: AnomalyConfig) -> NormalLabels:
    """Which class of the training rows is normal. Raises UserError where nothing says it."""
    policy = config.on_uncertain
    if table.targets is None:
        what = "the table has no target column: all rows are taken as normal"
        do = "To judge anomalous rows too, name their column in target_column."
        words = NormalWords(frozenset(), takes_healthy=True, on_uncertain=policy)
        return NormalLabels(words, remarks=(Remark("all_normal", what, do, table.where),))
    keys = {word_key(text): text for text in texts_of(table)} if len(table.target_names) == 1 else {}
    if policy != "error":
        keys = {key: text for key, text in keys.items() if key not in {*UNCERTAIN, BLANK}}
    if len(keys) == 1:
        return _of_one_class(*next(iter(keys.items())), table, config)
    labels = _read_classes(table, config)
    known = tuple(remark for remark in labels.remarks if remark.name != "positive_class")
    names = labels.target.class_names
    if config.normal_class is not None:
        normal = labels.target.positive_class
        others = [name for name in names if name != normal]
        what = f"class '{normal}' is normal, and {listed(others)} anomalous"
    elif labels.target.has_binary_answer:
        normal, anomalous = labels.target.answer_names
        what = f"class '{anomalous}' is anomalous, and '{normal}' normal"
    else:
        raise UserError(
            f"{called(table)} holds {number_of(len(names), 'class')}: {listed(names)}, and which is normal is unclear",
            where=table.where,
            do=f"Set normal_class to one of them, such as normal_class={names[0]}.",
        )
    remarks = (Remark("normal_class", what, where=table.where), *known)
    if not isinstance(labels.cells, WordCells) or (config.normal_class is None and config.positive_class is not None):
        return NormalLabels(labels, config.normal_class is not None, remarks=remarks)
    class_of, number = labels.cells.class_of, names.index(str(normal))
    words = NormalWords(
        frozenset(key for key in class_of if class_of[key] == number),
        frozenset(key for key in class_of if class_of[key] != number),
        takes_healthy=config.normal_class is None,
        on_uncertain=policy,
    )
    return NormalLabels(words, remarks=remarks)


def _read_classes(table: SampleTable, config: AnomalyConfig) -> Labels:
    """The classes of the training rows, the normal one as the positive where the user named it."""
    try:
        return read_labels(
            table,
            positive_class=config.positive_class if config.normal_class is None else config.normal_class,
            label_separator=config.label_separator,
            task_type=config.task_type,
            on_uncertain=config.on_uncertain,
        )
    except UserError as error:  # it calls what it was given the positive class
        if config.normal_class is None and config.positive_class is not None:
            raise
        what, do = (text.replace("positive_class", "normal_class") for text in (error.what, error.do))
        what = what.replace("which of them is the positive class", "which of them is normal")
        do = do.replace(": the probability is then that of this class", "")
        raise UserError(what, where=error.where, do=do, kind=error.kind) from error


def _of_one_class(key: str, word: str, table: SampleTable, config: AnomalyConfig) -> NormalLabels:
    """A table whose rows are all of one class, which must be known to be the normal one."""
    wanted = None if config.normal_class is None else word_key(config.normal_class)
    if not (key == wanted or (wanted is None and (key in ZERO or is_healthy(word)))):
        do = f"Add normal rows{'' if wanted else f', or set normal_class={word} if they are'}."
        raise UserError(f"{called(table)} holds one value only, {word}: no row is normal", where=table.where, do=do)
    what = f"all rows are of class '{word}', which is normal"
    words = NormalWords(frozenset({key}), takes_healthy=wanted is None, on_uncertain=config.on_uncertain)
    return NormalLabels(words, remarks=(Remark("all_normal", what, where=table.where), *words.remarks_of(table)))
