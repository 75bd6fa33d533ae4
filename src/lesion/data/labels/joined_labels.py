"""Joined labels: cells such as "Effusion|Mass", which name several labels at once, and what separates them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from lesion.data.labels.positive_words import says_no_finding
from lesion.data.labels.spelling import is_whole, word_key
from lesion.data.numbers import is_number
from lesion.errors import UserError
from lesion.words import listed, number_of

# These join labels wherever at least one of the joined ones also stands alone in a cell.
SEPARATORS = ("|", ";")
# These stand in names as well (head/neck): where all that they join also stands alone, the user is asked.
POSSIBLE = (
    *(",", "+", "/", "&", "\\", "、", "，", "；", "·", "•", ":", "-", "_", "and", "with", "plus", "und", "mit", "et"),
    *("avec", "y", "con", "e", "com", "space"),
)
COMMAS = (",", "，")  # join labels also where none of them stands alone
LIST = (
    "list"  # cells are lists as Python, NumPy and JSON write them: ['Effusion', 'Mass'], [0 1], {'Mass'}, [] for none
)
IS_LIST = re.compile(
    r"(?:(?:array|set|frozenset|list|tuple)\s*\(\s*)?"
    r"(?:\[[^\[\]]*\]|\{[^{}:]*\}|\(\s*(?:['\"][^()]*|[^()]*,[^()]*)?\)|(?<=\())(?:\s*,\s*dtype=[^()]*)?\)?",
    re.DOTALL,
)
INSIDE = re.compile(r"[\[({]\s*([^\[\](){}]*?)\s*[\])}]")  # of the innermost brackets
QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")


def parted(text: str, separator: str) -> list[str]:
    """The labels of a cell. A separator of letters, such as "and", is a word of its own, but "space" and "list"."""
    if separator == "space":
        return text.split()
    if separator == LIST:
        return _of_list(text.strip())
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
    if _are_lists(words):
        _refuse_vectors(words, called=called, where=where)
        return LIST
    for separator in (*SEPARATORS, *POSSIBLE):
        joined = sorted(word for word in words if len(parted(word, separator)) > 1)
        alone = {word_key(word) for word in words.difference(joined)}
        whole = [word for word in joined if alone.issuperset(map(word_key, parted(word, separator)))]
        parts = {word_key(part) for word in joined for part in parted(word, separator)}
        if separator in SEPARATORS and parts & alone:
            return separator
        is_list = separator in SEPARATORS or (separator in COMMAS and _is_shared(joined, alone, separator))
        if whole or (joined and is_list):
            examples = listed([f"'{word}'" for word in whole or joined], most=3)
            raise UserError(
                f"{called} holds {examples}: several labels in one cell, or a class of its own",
                where=where,
                do=f"Set label_separator={separator} if these are several labels, or label_separator=none if each is "
                "one class.",
            )
    return None


def _is_shared(joined: Sequence[str], alone: Collection[str], separator: str) -> bool:
    """Whether a part of joined words is one of another word too, or no word stands alone: "Mass, Edema" beside
    "Effusion, Edema"; not "palms, soles" beside "torso"."""
    if all(is_number(part) for word in joined for part in parted(word, separator)):
        return False  # 1,5: what is asked of measurements is asked elsewhere
    counts = Counter(key for word in joined for key in {word_key(part) for part in parted(word, separator)})
    return not alone or any(num > 1 or key in alone for key, num in counts.items())


def _are_lists(words: Collection[str]) -> bool:
    """Whether all cells are lists, or some are lists of quoted words and the others single words."""
    lists = [word for word in words if IS_LIST.fullmatch(word.strip())]
    return bool(lists) and (len(lists) == len(words) or any(QUOTED.search(word) for word in lists))


def _of_list(text: str) -> list[str]:
    """The labels of a list, quoted or not, with commas or as NumPy with blanks; a text that is no list is a label."""
    if not IS_LIST.fullmatch(text):
        return [text] if text else []
    found = INSIDE.search(text)
    inside = found[1] if found else ""
    if quoted := [(one or two).strip() for one, two in QUOTED.findall(inside)]:
        return list(filter(None, quoted))
    parts = inside.split(",") if "," in inside else inside.split()
    return [part.strip() for part in parts if part.strip()]


def _refuse_vectors(words: Collection[str], *, called: str, where: str) -> None:
    """Raises UserError for lists of 0 and 1 of one length: places of classes, or their numbers, nobody can tell."""
    lists = [_of_list(word.strip()) for word in words]
    numbers = {number for one in lists for number in one}
    if numbers and numbers <= {"0", "1", "0.", "1.", "0.0", "1.0"} and len({len(one) for one in lists}) == 1:
        raise UserError(
            f"{called} holds lists of 0 and 1, such as {min(words)}: it is unclear which place is which class",
            where=where,
            do="Write a column for each class, with 0 and 1, and name them in target_column; or the labels' words.",
        )


def says_none(part: str, labels: Iterable[str]) -> bool:
    """Whether a part of a cell says that there is no label: "No Finding", or 0 where the `labels` are words."""
    return says_no_finding(part) or (word_key(part) == "0" and not any(map(is_whole, labels)))


def refuse_contradictions(
    texts: Collection[str], separator: str, labels: Collection[str], *, called: str, where: str
) -> None:
    """Raises UserError for cells that name one of the labels and say that there is none: "No Finding|Mass"."""
    wrong = [text for text in texts if len({says_none(part, labels) for part in parted(text, separator)}) > 1]
    if wrong:
        raise UserError(
            f"{called} holds a label and its absence in {number_of(len(wrong), 'row')}: {listed(sorted(set(wrong)))}",
            where=where,
            do="Correct these cells.",
        )
