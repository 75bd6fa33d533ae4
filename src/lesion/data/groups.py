"""Groups: which ids are one patient, and which are none. Texts in, texts and masks out; knows no table.

Two programs write one id in two ways: 1 and 1.0 (pandas, where a cell of the column is empty), 100000 and 1e+05 (R), é
as one character and as two (macOS). These are compared in one normal form. Where only a person can tell (007 and 7, P1
and p1), ids are different, and `alike` names them.
"""

# S samples · U different texts

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from lesion.data.numbers import as_number

Texts = NDArray[np.str_]
Mask = NDArray[np.bool_]

LARGEST_WHOLE = 10.0**15  # below it a float holds each whole number as it is
ZEROS_BEHIND = re.compile(r"([+-]?[0-9]+)\.0*")
# No zeros before the number: 007 may be another patient than 7. And not 0e5, which no program writes for 0.
WHOLE = re.compile(r"[+-]?(?:0|[1-9][0-9]*(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)")

# Words for "unknown", without capitals, marks and the words of ABOUT. "": marks alone, such as ? and --.
UNKNOWN = {
    *("", "na", "n a", "nan", "nat", "none", "null", "nil", "nd", "n d", "nk", "n k", "unk", "unkn", "unknown"),
    *("unknow", "missing", "empty", "blank", "not available", "not applicable", "not known", "not recorded"),
    *("not specified", "not provided", "not stated", "not given", "not assigned", "not reported", "unassigned"),
    *("unspecified", "undefined", "undetermined", "unidentified", "unavailable", "unnamed", "undisclosed"),
    *("anonymous", "anonym", "anon", "anonymised", "anonymized", "deidentified", "de identified", "redacted"),
    *("removed", "withheld", "hidden", "masked", "private", "confidential", "tbd", "to be determined", "todo"),
    *("dummy", "placeholder", "xx", "xxx", "xxxx", "unbekannt", "inconnu", "inconnue", "desconocido"),
    *("desconhecido", "sconosciuto", "onbekend"),
}
ABOUT = {"patient", "patients", "subject", "participant", "person", "case", "lesion", "id", "identifier", "name"}
SPREADSHEET_ERRORS = {"n a", "value", "ref", "div 0", "name", "num", "null"}  # after a #
MARKS = re.compile(r"[\W_]+")
# Numbers that stand for "unknown" in many tables, and may be an id: only a group that is far too large is none.
NEGATIVE = re.compile(r"-(?:1|[789]|9+|8+|7+)")
ZEROS_OR_NINES = re.compile(r"0+|9{2,}")
MANY_GROUPS = 5
ROUNDED = re.compile(r"[0-9](?:[.,][0-9]{1,8})?[eE]\+?(?:0?9|[1-9][0-9])")


def normal_id(text: str) -> str:
    """The id in the form in which ids are compared: no blanks around it, Unicode NFC, and a whole number as its digits.

    1, 1.0, 1e0 and "1 " are one; 007 and 7 are two.
    """
    text = unicodedata.normalize("NFC", text.strip())
    if digits := ZEROS_BEHIND.fullmatch(text):
        text = digits[1]
    number = as_number(text) if WHOLE.fullmatch(text) else None
    is_whole = number is not None and number.is_integer() and abs(number) < LARGEST_WHOLE
    return str(int(number)) if is_whole and number is not None else text


def one_spelling(text_S: Texts, *, form: Callable[[str], str] = normal_id) -> tuple[Texts, list[tuple[str, ...]]]:
    """The texts [S], those of one `form` written in one way: as in most rows. And the spellings that were joined.

    The order of the rows changes nothing.
    """
    texts_U, index_S, counts_U = np.unique(text_S, return_inverse=True, return_counts=True)
    spellings = defaultdict(list)
    for text, count in zip(texts_U.tolist(), counts_U.tolist(), strict=True):
        spellings[form(text)].append((-count, text))
    joined = [tuple(text for _, text in sorted(ways)) for ways in spellings.values() if len(ways) > 1]
    if not joined:
        return text_S, []
    first = {text: ways[0] for ways in joined for text in ways}
    one_U = np.array([first.get(text, text) for text in texts_U.tolist()], dtype=np.str_)
    return one_U[index_S], joined


def unknown_S(text_S: Texts) -> Mask:
    """Whether each text [S] is no id: empty, a word for unknown, or a number for it (0, −1, 999) that fills far more
    rows than any id does."""
    texts_U, index_S, counts_U = np.unique(text_S, return_inverse=True, return_counts=True)
    is_word_U = np.array([_is_word_for_unknown(text) for text in texts_U.tolist()], dtype=bool)
    plain_U = [normal_id(text) for text in texts_U.tolist()]
    is_negative_U = np.array([NEGATIVE.fullmatch(text) is not None for text in plain_U], dtype=bool)
    is_nines_U = np.array([ZEROS_OR_NINES.fullmatch(text) is not None for text in plain_U], dtype=bool)
    others = counts_U[~(is_word_U | is_negative_U | is_nines_U)]
    largest = int(others.max(initial=0))
    times: Counter[str] = Counter()
    for text, count in zip(plain_U, counts_U.tolist(), strict=True):
        times[text] += count  # −1 and −1.0
    times_U = np.array([times[text] for text in plain_U], dtype=np.intp)
    # Nobody is number −1. There may be a patient 0 with more pictures than others, and of few groups a largest one.
    is_number_U = is_negative_U & (times_U > max(2, largest))
    if len(others) >= MANY_GROUPS:
        is_number_U |= is_nines_U & (times_U > max(4, 3 * largest))
    return np.asarray((is_word_U | is_number_U)[index_S], dtype=bool)


def own_groups(group_S: Texts, name_S: Texts, is_own_S: Mask) -> Texts:
    """The groups [S], each row of `is_own_S` under its picture's name, or one made of it where that is a group's."""
    taken, groups = set(group_S[~is_own_S].tolist()), group_S.tolist()
    for row in np.flatnonzero(is_own_S).tolist():
        name, number = str(name_S[row]), 1
        while name in taken:
            number += 1
            name = f"{name_S[row]} ({number})"
        taken.add(name)
        groups[row] = name
    return np.array(groups, dtype=np.str_)


def alike(ids: Iterable[str]) -> list[tuple[str, ...]]:
    """Ids of different normal forms that may be one patient: they differ in capitals, blanks, marks or zeros before
    a number only."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for text in sorted(set(ids)):
        found[_loose(text)].setdefault(normal_id(text), text)
    return [tuple(ways.values()) for ways in found.values() if len(ways) > 1]


def is_rounded(text: str) -> bool:
    """Whether a spreadsheet seems to have rounded a long number: 1.23457E+12, of which many ids may have become one."""
    return ROUNDED.fullmatch(text) is not None


def _loose(text: str) -> str:
    plain = unicodedata.normalize("NFKC", normal_id(text)).casefold()
    return MARKS.sub("-", re.sub(r"(?<![\d.,])0+(?=\d)", "", plain)).strip("-")


def _is_word_for_unknown(text: str) -> bool:
    words = MARKS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).split()
    if text.startswith("#") and " ".join(words) in SPREADSHEET_ERRORS:
        return True
    rest = " ".join(word for word in words if word not in ABOUT)
    return rest in UNKNOWN or (rest == "no" and len(words) > 1)
