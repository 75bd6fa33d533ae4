"""Words: names and cells that users wrote, as one line that can be read and that cannot pass for another line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

# What ends a line, moves the cursor, turns the direction of text, or is no character at all. A joiner (U+200D) is none
# of these: emoji are made with it.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def one_line(text: str) -> str:
    r"""The text with `\n`, `\x1b`, `\u202e` and their like written as these escapes. A backslash stays as it is."""
    if text.isprintable():  # as nearly all is: 0.1 µs
        return text
    return UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shortened(text: str, most: int) -> str:
    """One line of at most `most` characters, cut with an ellipsis."""
    line = one_line(text[: most + 1])
    return line if len(line) <= most else line[: most - 1] + "…"


def listed(words: Sequence[str], *, most: int = 5, separator: str = ", ") -> str:
    """The first `most` words, and how many more there are: "a, b and 3 more"."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return separator.join(words[:most]) + more


def plural_of(word: str) -> str:
    """ "rows", "studies"."""
    return f"{word[:-1]}ies" if word.endswith("y") and word[-2:-1] not in "aeiou" else f"{word}s"


def number_of(count: int, word: str) -> str:
    """ "1 row", "2 rows"."""
    return f"{count} {word if count == 1 else plural_of(word)}"


def told_apart(numbers: Iterable[float]) -> dict[float, str]:
    """Each number as a text of its own, in four digits or as many as it takes, and no fewer than a whole number has.

    Parts of rows are named by them, and parts of one name would be one: dates such as 20200131 differ in late digits.
    """
    distinct = sorted(set(map(float, numbers)))
    texts: dict[float, str] = {}
    for digits in range(4, 18):  # 17 tell all floats apart
        for number in distinct:
            is_whole = (number.is_integer() or abs(number) >= 10**digits) and abs(number) < 1e15
            texts[number] = f"{number:.0f}" if is_whole else f"{number:.{digits}g}"
        if len(set(texts.values())) == len(distinct):
            break
    return texts


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The most similar known word, for "did you mean"; None if none is similar."""
    return next(iter(difflib.get_close_matches(word, list(known), 1)), None)
