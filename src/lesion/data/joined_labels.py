"""Joined labels: cells such as "Effusion|Mass", which name several labels at once, and what separates them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from lesion.data.positive_words import says_no_finding
from lesion.data.spelling import word_key
from lesion.errors import UserError
from lesion.words import listed, number_of

# These join labels wherever at least one of the joined ones also stands alone in a cell.
SEPARATORS = ("|", ";")
# These stand in names as well (head/neck): where all that they join also stands alone, the user is asked.
POSSIBLE = (",", "+", "/", "&", "and", "space")
LIST = "list"  # cells are lists as Python and JSON write them: ['Effusion', 'Mass'], [] for none
IS_LIST = re.compile(r"\[.*\]", re.DOTALL)


def parted(text: str, separator: str) -> list[str]:
    """The labels of a cell. A separator of letters, such as "and", is a word of its own, but "space" and "list"."""
    if separator == "space":
        return text.split()
    if separator == LIST:
        inside = text.strip().removeprefix("[").removesuffix("]")
        return [label for part in inside.split(",") if (label := part.strip(" '\""))]
    pattern = rf"\s+{re.escape(separator)}\s+" if separator.isalpha() else re.escape(separator)
    return [part.strip() for part in re.split(pattern, text, flags=re.IGNORECASE) if part.strip()]


def separator_of(texts: Sequence[str], setting: str | None, *, called: str, where: str) -> str | None:
    """What separates the labels of a column's cells; None where each cell is one word.

    `setting` is label_separator: "auto" looks for it, None is none. Raises UserError if it stands in no cell, and
    where the cells may be read in two ways. `called` names the column.
    """
    if setting is None:
        return None
    words = set(texts)
    if setting != "auto":
        if not any(len(parted(word, setting)) > 1 for word in words):
            raise UserError(
                f"label_separator='{setting}' stands in no cell of {called}",
                where=where,
                do="Set it to what separates the labels there, or to none.",
                kind="hyperparameters",
            )
        return setting
    if all(IS_LIST.fullmatch(word.strip()) for word in words):
        return LIST
    for separator in (*SEPARATORS, *POSSIBLE):
        joined = sorted(word for word in words if len(parted(word, separator)) > 1)
        alone = {word_key(word) for word in words.difference(joined)}
        whole = [word for word in joined if alone.issuperset(map(word_key, parted(word, separator)))]
        parts = {word_key(part) for word in joined for part in parted(word, separator)}
        if separator in SEPARATORS and parts & alone:
            return separator
        if whole or (joined and separator in SEPARATORS):
            examples = listed([f"'{word}'" for word in whole or joined], most=3)
            raise UserError(
                f"{called} holds {examples}: several labels in one cell, or a class of its own",
                where=where,
                do=f"Set label_separator={separator} if these are several labels, or label_separator=none if each is "
                "one class.",
            )
    return None


def refuse_contradictions(texts: Collection[str], separator: str, *, called: str, where: str) -> None:
    """Raises UserError for cells that name a label and say that there is none: "No Finding|Mass"."""
    wrong = [text for text in texts if len({says_no_finding(part) for part in parted(text, separator)}) > 1]
    if wrong:
        raise UserError(
            f"{called} holds a label and its absence in {number_of(len(wrong), 'row')}: {listed(sorted(set(wrong)))}",
            where=where,
            do="Correct these cells.",
        )
