"""Positive words: which of two class names is the finding, and which the healthy state that it is asked against.

Two lists decide: words of health (normal, benign, negative, …), and negations (no X, non-X, X-free) of what is known as
a finding: of "unstable" and "stable" the negated word is the bad one. A word of health against any other word is
decided, unless the other speaks of leftovers, of quality or of doubt (unsorted, blurred, benign?). Benign diagnoses are
decided only against malignant ones: a nevus beside melanoma is the negative class, a nevus beside anything else is a
question for the user. The wrong answer would turn every probability round, so what is not known is not guessed.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Literal

from lesion.data.labels.class_words import (
    ABSENT,
    BENIGN,
    DISEASES,
    HEALTHY,
    LETTERS,
    MALIGNANT,
    MALIGNANT_ENDINGS,
    NEGATIONS,
    NO_ANSWER,
    NOUNS,
    OPEN_STEMS,
    PRESENT,
    REST,
    TESTED_NEGATIVE,
    UNKNOWN,
)

Meaning = Literal["healthy", "benign", "malignant", "disease", "rest", "word", "unknown"]


def positive_word(first: str, second: str) -> str | None:
    """The one of two class names that is the finding, the other being its absence or a healthy state.

    None where that cannot be known: both or neither is a healthy state. Capitals, blanks, hyphens, underscores and
    accents do not count.
    """
    plain = {_plain(word): word for word in (first, second)}
    if len(plain) < 2:
        return None
    if (letter := LETTERS.get(frozenset(plain))) is not None:
        return plain[letter]
    one, other = plain
    for no, yes in ((one, other), (other, one)):
        if _meaning(yes, no) in OVER.get(_meaning(no, yes), ()):
            return plain[yes]
    return None


# Beside a word of the first meaning, a word of one of the others is the positive class.
OVER: dict[Meaning, tuple[Meaning, ...]] = {
    "healthy": ("malignant", "disease", "word"),
    "benign": ("malignant",),
    "rest": ("malignant", "disease"),
}


def is_healthy(word: str) -> bool:
    """Whether a class name by itself is a healthy state, the absence of a finding, or a benign diagnosis."""
    return _meaning(_plain(word), "") in {"healthy", "benign"}


def is_known_class(word: str) -> bool:
    """Whether a class name is known as a finding, or as what it is asked against: malignant, benign, normal."""
    return _meaning(_plain(word), "") in {"healthy", "benign", "malignant", "disease"}


def says_nothing(word: str) -> bool:
    """Whether a class name says nothing of what is seen: a word of leftovers, of quality or of doubt, or a number."""
    return _meaning(_plain(word), "") == "unknown"


def says_no_finding(word: str) -> bool:
    """Whether a word in a list of labels says that there is none: "No Finding", "normal", "none"."""
    plain = _plain(word)
    return not plain.startswith(("benign", "control", "background")) and _meaning(plain, "") == "healthy"


@lru_cache(maxsize=4096)
def _plain(word: str) -> str:
    """Lower case, without accents, words separated by one blank; "NoTumor" is two words, "her2-" keeps its sign."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", word))
    bare = "".join(char for char in unicodedata.normalize("NFKD", parted) if not unicodedata.combining(char))
    text = re.sub(r"(?<=\w)\s*\(?([+\-−](?:ve)?)\)?$", r" \1", unicodedata.normalize("NFKC", bare).casefold().strip())
    return " ".join(re.sub(r"(?<=\w)[\s_\-\u2010-\u2015.,:()]+(?=\w)", " ", text).strip("_ .").split())


def _meaning(word: str, other: str) -> Meaning:
    """What a plain word says; `other` is what it stands against, which may be the X of "no X"."""
    for words, meaning in LISTS:
        if word in words:
            return meaning
    tokens = word.split()
    named = {re.sub(r"(?<=[a-z]{3})[0-9]+$|^(?:low|poor|bad)(?=quality$)", "", token) for token in tokens}
    if "?" in word or (word.isdigit() and word != "1") or named & NO_ANSWER or (named - {*tokens}) & HEALTHY:
        return "unknown"
    while len(tokens) > 2 and tokens[0] in NOUNS and tokens[1] in {*NOUNS, *NEGATIONS}:  # "CT non-covid"
        tokens = tokens[1:]
    if denied := _denied(tokens, other):
        meaning = _meaning(denied, "")
        if meaning == "healthy":
            return "disease"  # "not normal"
        # Of no other word is it known whether its lack is good: remission, cured, stable, alive.
        is_tested = tokens[-1] in TESTED_NEGATIVE and denied in _forms(other) and meaning == "word"
        return "healthy" if meaning in {"malignant", "disease"} or is_tested else "unknown"
    if NEGATIONS & set(tokens[1:]):
        return "unknown"
    return _of_several(tokens)


LISTS: tuple[tuple[frozenset[str], Meaning], ...] = (
    (HEALTHY, "healthy"),
    (BENIGN, "benign"),
    (REST, "rest"),
    (UNKNOWN, "unknown"),
    (MALIGNANT, "malignant"),
    (DISEASES, "disease"),
)


def _denied(tokens: list[str], other: str) -> str | None:
    """The X of "no X", "nonX", "X free" and "negative for X"; None where the word denies nothing."""
    word, rest = " ".join(tokens), None
    if len(tokens) > 1 and tokens[0] in NEGATIONS:
        rest = re.sub(
            "^(?:(?:evidence|signs?|signes?) (?:of|de) |apparent |visible |acute |significant |relevant |d['’]|de )+",
            "",
            " ".join(tokens[1:]),
        )
    elif len(tokens) > 2 and tokens[0] in {"negative", "free"} and tokens[1] in {"for", "of"}:
        rest = " ".join(tokens[2:])
    elif len(tokens) > 1 and tokens[-1] in ABSENT:
        rest = " ".join(tokens[:-1])
    else:
        for start in ("non", "not", "no", "un"):
            joined = word.removeprefix(start)
            if joined not in {word, ""} and (joined in _forms(other) or joined in MALIGNANT | DISEASES):
                rest = joined
    return None if rest is None or rest.startswith(OPEN_STEMS) else rest


def _forms(word: str) -> set[str]:
    """The word in singular, plural and participle, in British and American English; without its "+"."""
    tokens = word.split()
    bare = " ".join(tokens[:-1]) if len(tokens) > 1 and tokens[-1] in PRESENT else word
    forms = {bare, f"{bare}s", f"{bare}ed", f"{bare}d", *(bare.removesuffix(end) for end in ("s", "d", "ed"))}
    forms |= {form.replace("tumor", "tumour") for form in forms} | {form.replace("tumour", "tumor") for form in forms}
    return forms - {""}


def _of_several(tokens: list[str]) -> Meaning:
    """What a name says that denies nothing: "normal lung", "benign keratosis", "dysplastic nevus"."""
    said = [token for token in tokens if token not in NOUNS]
    if "benign" in said or "gutartig" in said:
        return "word" if "malignant" in said else "healthy"
    if said and all(token in HEALTHY for token in said):
        return "healthy"
    if said and said[-1] in {"nevus", "naevus", "nevi", "naevi"}:
        return "benign"
    if any(token in MALIGNANT or token.endswith(MALIGNANT_ENDINGS) for token in said):
        return "malignant"
    is_positive = len(tokens) > 1 and (tokens[-1] in PRESENT or tokens[:2] == ["positive", "for"])
    if is_positive or any(token in DISEASES for token in said):
        return "disease"
    return "unknown" if any(token in HEALTHY - NEGATIONS for token in said) else "word"  # "normal variant"
