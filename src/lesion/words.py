"""Words: names and cells that users wrote, as one line that can be read and that cannot pass for another line."""

from __future__ import annotations

import re

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
