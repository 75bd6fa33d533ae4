"""Spelling: which different texts are the same word. Knows no column and no class."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping

from lesion.data.numbers import is_number

# Blanks, hyphens and underscores inside a word: "no tumor", "no-tumor", "notumor". A sign at its end ("HER2-") and a
# separator of two digits ("1-2") say something, and stay.
JOINTS = re.compile(r"(?<=\w)(?<!_)[\s_\-\u2010-\u2015]+(?=[^\W_])")
DIGITS = re.compile(r"[0-9][\s_\-\u2010-\u2015]+[0-9]")


def word_key(text: str) -> str:
    """What all spellings of a word share: those in other capitals, blanks, hyphens and Unicode forms; 1 and 1.0.

    Unicode's compatibility form (NFKC, Unicode Standard Annex 15) also makes one of full-width and usual letters.
    """
    if is_whole(text):
        return str(int(float(text)))
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    plain = "".join(char for char in plain if unicodedata.category(char) != "Cf")  # no letters: a BOM, a soft hyphen
    plain = " ".join(plain.split())

    def joined(found: re.Match[str]) -> str:
        around = plain[found.start() - 1] + plain[found.end()]
        return " ".join(found[0].split()) or " " if around.isdigit() else ""

    return re.sub(r" ?([^\w\s]) ?", r"\1", JOINTS.sub(joined, plain))


def is_whole(text: str) -> bool:
    """Whether a text is a whole number, such as 1, 1.0 or -1."""
    return is_number(text) and abs(float(text)) < 1e15 and float(text).is_integer()


def spellings(texts: Iterable[str]) -> dict[str, Counter[str]]:
    """How often each spelling of each word occurs, by the word's key."""
    found: dict[str, Counter[str]] = {}
    for text, count in Counter(texts).items():
        found.setdefault(word_key(text), Counter())[text] += count
    return found


def usual(counts: Mapping[str, int]) -> str:
    """The most frequent of some spellings; of equally frequent ones the first in the alphabet."""
    word = min(counts, key=lambda text: (-counts[text], text))
    return word_key(word) if is_whole(word) else word
