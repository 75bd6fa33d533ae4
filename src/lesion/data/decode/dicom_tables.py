"""Lookup tables of DICOM: for palettes, and for grey values (PS3.3, C.7.6.3.1.5, C.7.9.2 and C.11.1.1)."""

# N entries

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_ENTRIES = 2**16
MAX_SEGMENTS = 2**16  # of a palette, those that others repeat counted each time
BIG_ENDIAN = "1.2.840.10008.1.2.2"
COLOURS = ("Red", "Green", "Blue")
DISCRETE, LINEAR, INDIRECT = 0, 1, 2  # kinds of segments


class Unreadable(ValueError):
    """The file cannot be read; the text says why."""


@dataclass(frozen=True)
class LookupTable:
    """`entries_N[0]` is for all values up to `first`, the last entry for all from `first + N - 1` on."""

    entries_N: NDArray[np.uint16]
    first: int
    bits: int  # of an entry

    def __call__(self, values: NDArray[Any]) -> NDArray[np.uint16]:
        """The entry of each value, which may be signed or, after a rescale, fractions."""
        index = np.rint(values).astype(np.int64) if values.dtype.kind == "f" else values.astype(np.int64)
        return np.asarray(self.entries_N[np.clip(index - self.first, 0, len(self.entries_N) - 1)])


def byte_order(dataset: Any) -> str:
    """ "<" or ">", as NumPy writes it: of the dataset's words."""
    return ">" if dataset.file_meta.get("TransferSyntaxUID") == BIG_ENDIAN else "<"


def sequence_table(dataset: Any, name: str, order: str, *, is_signed: bool) -> LookupTable | None:
    """The table in the first item of the sequence `name`; None where there is none, or no descriptor or entries.

    `is_signed`: the table's input can be negative. Raises Unreadable for a table that is shorter than it says.
    """
    items = dataset.get(name)
    if not items:
        return None
    descriptor, entries = items[0].get("LUTDescriptor"), items[0].get("LUTData")
    if _is_empty(descriptor) or _is_empty(entries):
        return None
    length, first, bits = _descriptor(descriptor, order, is_signed=is_signed)
    entries_N = _entries(entries, order, length, bits)
    # Some descriptors state fewer bits than their entries have.
    return LookupTable(entries_N, first, max(bits, int(entries_N.max()).bit_length()))


def palette(dataset: Any, order: str, *, is_signed: bool) -> list[LookupTable]:
    """The tables for red, green and blue, as they are or in segments. Raises Unreadable if one is missing or broken."""
    tables = []
    for colour in COLOURS:
        descriptor = dataset.get(f"{colour}PaletteColorLookupTableDescriptor")
        entries = dataset.get(f"{colour}PaletteColorLookupTableData")
        segments = dataset.get(f"Segmented{colour}PaletteColorLookupTableData")
        if _is_empty(descriptor) or (_is_empty(entries) and _is_empty(segments)):
            raise Unreadable(f"DICOM in PALETTE COLOR without its table of {colour.lower()}")
        length, first, bits = _descriptor(descriptor, order, is_signed=is_signed)
        if _is_empty(entries):
            entries = _expanded(_words(segments, order, is_bytes=bits == 8).tolist(), is_bytes=bits == 8)
        tables.append(LookupTable(_entries(entries, order, length, bits), first, bits))
    # Entries that are stored in 16 bits and all below 256 have 8, whatever the descriptor says: else all were black.
    largest = max(int(table.entries_N.max()) for table in tables)
    bits = 8 if largest < 256 else max(*(table.bits for table in tables), largest.bit_length())
    return [LookupTable(table.entries_N, table.first, bits) for table in tables]


def _is_empty(value: Any) -> bool:
    return value is None or (hasattr(value, "__len__") and len(value) == 0)


def _descriptor(value: Any, order: str, *, is_signed: bool) -> tuple[int, int, int]:
    """Number of entries, first value and bits. Raises Unreadable for what is no descriptor."""
    if isinstance(value, bytes):  # pydicom leaves it so where the file does not state its kind of number
        value = np.frombuffer(value[: len(value) & -2], f"{order}u2").tolist()
    if not isinstance(value, bytes | str) and hasattr(value, "__len__") and len(value) == 3:
        length, first, bits = (int(number) & 0xFFFF for number in value)
        is_negative = is_signed and first >= 2**15
        if 1 <= bits <= 16:
            return length or MAX_ENTRIES, first - 2**16 if is_negative else first, bits
    raise Unreadable("DICOM whose lookup table has no descriptor of three numbers")


def _entries(value: Any, order: str, length: int, bits: int) -> NDArray[np.uint16]:
    if isinstance(value, bytes):
        # Entries of 8 bits may lie in a byte or in two; an odd number of bytes has one more to be even.
        is_bytes = bits <= 8 and length <= len(value) < 2 * length
        entries_N = _words(value, order, is_bytes=is_bytes)
    else:
        entries_N = np.atleast_1d(np.asarray(value, dtype=np.int64)) & 0xFFFF
    if len(entries_N) < length:
        raise Unreadable(f"DICOM whose lookup table has {len(entries_N):,} entries and should have {length:,}")
    return entries_N[:length].astype(np.uint16)


def _words(value: Any, order: str, *, is_bytes: bool) -> NDArray[Any]:
    """The numbers of a table's bytes. Two entries of 8 bits are a word of which the lower byte comes first."""
    if not isinstance(value, bytes):
        return np.atleast_1d(np.asarray(value, dtype=np.int64)) & 0xFFFF
    if is_bytes and order == "<":
        return np.frombuffer(value, np.uint8)
    words = np.frombuffer(value[: len(value) & -2], f"{order}u2")
    return words.astype("<u2").view(np.uint8) if is_bytes else words


def _expanded(words: list[int], *, is_bytes: bool) -> list[int]:
    """A segmented palette's entries (C.7.9.2). Raises Unreadable for more than a palette can have, or a broken one."""
    entries: list[int] = []
    num_segments = 0

    def expand(at: int, most: int | None) -> None:
        nonlocal num_segments
        count = 0
        while at + 1 < len(words) and count != most:
            kind, length = words[at : at + 2]
            count, num_segments = count + 1, num_segments + 1
            if num_segments > MAX_SEGMENTS or len(entries) + length > MAX_ENTRIES:
                raise Unreadable("DICOM whose palette has more colours than one can have")
            if kind == DISCRETE:
                entries.extend(words[at + 2 : at + 2 + length])
                at += 2 + length
            elif kind == LINEAR and entries and at + 2 < len(words):
                entries.extend(np.rint(np.linspace(entries[-1], words[at + 2], length + 1)[1:]).astype(int).tolist())
                at += 3
            elif kind == INDIRECT and most is None and at + 2 + (4 if is_bytes else 2) <= len(words):
                place = words[at + 2 : at + 6] if is_bytes else words[at + 2 : at + 4]
                offset = sum(part << (8 if is_bytes else 16) * number for number, part in enumerate(place))
                at += 2 + len(place)
                expand(offset if is_bytes else offset // 2, length)
            else:
                raise Unreadable("DICOM whose palette has a segment that cannot be")

    expand(0, None)
    return entries
