"""Typos: words of a column that are nearly spelt as another one, and so may be the same class. Knows no table.

Only likely pairs: what is rare beside what is frequent, and singular beside plural. Words that differ in a number, in
a single letter that stands alone (type a, type b) or in a prefix with a meaning (typical, atypical) are different.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lesion.words import number_of

RARE, ALWAYS_RARE = 0.05, 2  # of the rows of the frequent spelling; rows that are rare beside three times as many
LONG = 8  # letters, from which on two of them may differ
SHORTEST = 4  # letters of a word that can be misspelt
MOST_WORDS = 300  # different words that are compared with each other
PLURALS = (("us", "i"), ("um", "a"), ("a", "ae"), ("is", "es"), ("ma", "mata"), ("on", "a"), ("", "s"), ("", "es"))
OPPOSITES = ("hyper", "hypo", "pre", "post", "peri", "intra", "inter", "extra", "macro", "micro", "supra", "infra")


@dataclass(frozen=True)
class Typo:
    """A word that is probably another one; the other is the more frequent."""

    word: str
    meant: str
    num_rows: int  # of the word
    num_meant: int

    @property
    def told(self) -> str:
        """Both spellings and their rows."""
        rows = number_of(self.num_rows, "row"), number_of(self.num_meant, "row")
        return f"'{self.word}' ({rows[0]}) is spelt nearly as '{self.meant}' ({rows[1]})"

    @property
    def remedy(self) -> str:
        return f"write '{self.meant}' for '{self.word}' if it is a typo"


def likely_typos(counts: Mapping[str, int]) -> dict[str, Typo]:
    """The words that are probably another one of `counts` (word → rows), by the word. Few of many words are compared:
    none beyond MOST_WORDS."""
    if len(counts) > MOST_WORDS:
        return {}
    found: dict[str, Typo] = {}
    order = sorted(counts, key=lambda word: (-counts[word], word))
    for place, word in enumerate(order):
        for meant in order[:place]:
            if meant not in found and _may_be(word, meant, counts[word], counts[meant]):
                found[word] = Typo(word, meant, counts[word], counts[meant])
                break
    return found


def _may_be(word: str, meant: str, num_rows: int, num_meant: int) -> bool:
    pairs = list(_differing(word.casefold(), meant.casefold()))
    if len(pairs) != 1:
        return False
    a, b = pairs[0]
    if _are_number_forms(a, b):
        return True
    is_rare = num_rows <= max(RARE * num_meant, min(ALWAYS_RARE, num_meant / 3))
    if not is_rare or min(len(a), len(b)) < SHORTEST or _is_meant_so(a, b):
        return False
    return _distance(a, b) <= (2 if min(len(a), len(b)) >= LONG else 1)


def _differing(word: str, meant: str) -> Iterator[tuple[str, str]]:
    """The parts in which two texts differ: those of letters, in their order. Nothing alike gives two pairs."""
    ones, others = (re.findall(r"[^\W\d_]+|\d+|[^\w\s]", text) for text in (word, meant))
    if len(ones) != len(others):  # a blank too many, or too few: word_key has made them one
        yield from ((word, meant), (word, meant))
        return
    for a, b in zip(ones, others, strict=True):
        if a != b:
            yield a, b
            if not (a.isalpha() and b.isalpha()):
                yield a, b  # a number or a sign says something


def _are_number_forms(a: str, b: str) -> bool:
    """Whether two words are singular and plural of one: nevus and nevi, lesion and lesions."""
    short, long = sorted((a, b), key=len)
    return any(
        len(one) - len(end) >= SHORTEST - 1 and one.endswith(end) and other == one.removesuffix(end) + plural
        for one, other in ((short, long), (long, short))
        for end, plural in PLURALS
    )


def _is_meant_so(a: str, b: str) -> bool:
    """Whether words differ in a prefix, which gives a word another meaning, and in nothing else."""
    if a.endswith(b) or b.endswith(a):
        return True
    for first in OPPOSITES:
        for other in OPPOSITES:
            if first != other and a.startswith(first) and b.startswith(other):
                return True
    return False


def _distance(a: str, b: str) -> int:
    """How many letters must be added, left out, changed or exchanged with their neighbour (Damerau 1964), as the
    optimal string alignment counts them."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, one in enumerate(a, 1):
        last, before_last, row = row, before, [i]
        for j, other in enumerate(b, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (one != other))
            if i > 1 and j > 1 and one == b[j - 2] and a[i - 2] == other:
                cost = min(cost, before_last[j - 2] + 1)
            row.append(cost)
        before = last
    return row[-1]
