"""Pieces: an in-memory file with a limited number of reads, to bound the time of parsers written in Python."""

from __future__ import annotations

import io


class TooManyPieces(ValueError):
    """A file of more pieces than any program writes."""


class PiecewiseFile(io.BytesIO):
    """Bytes to be read at most `max_reads` times and `max_bytes` long in all; then `read` raises TooManyPieces.

    A parser spends microseconds on each segment, chunk or element, and a file can have millions; and a table of tags
    can name the same megabyte thousands of times.
    """

    def __init__(self, content: bytes, *, max_reads: int, max_bytes: int) -> None:
        super().__init__(content)  # which does not copy
        self._reads_left, self._bytes_left = max_reads, max_bytes

    def allow(self, *, max_reads: int, max_bytes: int) -> None:
        """So much from now on."""
        self._reads_left, self._bytes_left = max_reads, max_bytes

    def read(self, size: int | None = -1, /) -> bytes:
        """As a file's."""
        piece = super().read(size)
        self._reads_left -= 1
        self._bytes_left -= len(piece)
        if self._reads_left < 0 or self._bytes_left < 0:
            raise TooManyPieces("a file of far more pieces than an image has")
        return piece
