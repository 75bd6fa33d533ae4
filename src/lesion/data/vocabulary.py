"""Vocabulary: which words of a metadata column mean the same, in tables and in requests alike.

Words are compared in one normal form, and by the two lists below. They hold only what is certain whatever the data set:
no codes such as 0 and 1 or 1 and 2 for the sexes, and no site that may belong to two others, such as the hand (of the
upper extremity, but its palm is of the palms and soles).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

# The same thing in several words, each in its normal form.
SAME: tuple[frozenset[str], ...] = (
    frozenset({"male", "males", "m", "man", "men"}),
    frozenset({"female", "females", "f", "woman", "women"}),
    frozenset({"torso", "trunk"}),
    frozenset({"head/neck", "head neck", "head and neck", "head & neck"}),
    frozenset({"upper extremity", "upper extremities", "upper limb", "upper limbs"}),
    frozenset({"lower extremity", "lower extremities", "lower limb", "lower limbs"}),
    frozenset({"palms/soles", "palms soles", "palms and soles", "palms & soles"}),
    frozenset({"oral/genital", "oral genital", "oral and genital", "oral & genital"}),
)

# A word → the wider one that it counts as in a column that has the wider one and not itself. The body sites are parts
# of those of the SIIM-ISIC challenge.
WIDER: dict[str, str] = {
    **dict.fromkeys(("anterior torso", "posterior torso", "lateral torso", "chest", "back", "abdomen"), "torso"),
    **dict.fromkeys(("face", "scalp", "neck", "ear", "head"), "head/neck"),
    **dict.fromkeys(("arm", "arms", "forearm", "upper arm"), "upper extremity"),
    **dict.fromkeys(("leg", "legs", "thigh", "lower leg", "knee"), "lower extremity"),
    **dict.fromkeys(("palm", "palms", "sole", "soles"), "palms/soles"),
    **dict.fromkeys(("genital", "genitals", "genitalia"), "oral/genital"),
}

_SAME_AS: dict[str, frozenset[str]] = {word: words for words in SAME for word in words}
_BETWEEN_LETTERS = re.compile(r"_|(?<=[^\W\d_])-(?=[^\W\d_])")  # not the sign of -1, nor that of ER-
_WHOLE_NUMBER = re.compile(r"([+-]?[0-9]+)\.0+")
LONGEST = 200  # characters: longer texts are no words, and normalising takes the square of the length at worst


def normal_form(word: str) -> str:
    """A word without case, Unicode form, and what is put between words: "Upper_Extremity " is "upper extremity". 1.0 is
    1, as it is among numbers. A text of more than LONGEST characters stays as it is."""
    if len(word) > LONGEST:
        return word
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", word).casefold())
    plain = " ".join(_BETWEEN_LETTERS.sub(" ", plain).split()).replace(" /", "/").replace("/ ", "/")
    whole = _WHOLE_NUMBER.fullmatch(plain)
    return whole[1] if whole else plain


def meaning(word: str) -> frozenset[str]:
    """All words in normal form that mean the same; equal for two words that do."""
    form = normal_form(word)
    return _SAME_AS.get(form) or frozenset({form})


def one_of_each(words: Iterable[str]) -> list[str]:
    """Of the words that mean the same the commonest, in the alphabet's order; of equally common ones its first."""
    counts = Counter(words)
    chosen: dict[frozenset[str], str] = {}
    for word in sorted(counts, key=lambda word: (-counts[word], word)):
        chosen.setdefault(meaning(word), word)
    return sorted(chosen.values())


def synonyms_of(categories: Sequence[str]) -> dict[str, str]:
    """The other words, in normal form, that count as one of the categories: those that mean the same, and parts of it.

    `categories` hold each meaning once.
    """
    by_meaning: Mapping[frozenset[str], str] = {meaning(category): category for category in categories}
    forms = {normal_form(category) for category in categories}
    found = {word: category for words, category in by_meaning.items() for word in sorted(words - forms)}
    for part, wider in WIDER.items():
        category = by_meaning.get(meaning(wider))
        if category is not None and meaning(part) not in by_meaning:
            found.update(dict.fromkeys(sorted(meaning(part)), category))
    return dict(sorted(found.items()))
