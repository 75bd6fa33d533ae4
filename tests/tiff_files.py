"""TIFF files of every layout, byte by byte as TIFF 6.0 says, so that a test knows their pixels without a reader."""

# H, W pixels · S samples of a pixel

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping

import numpy as np

NO_COMPRESSION, DEFLATE, PACKBITS = 1, 8, 32773
PACK: dict[int, Callable[[bytes], bytes]] = {
    NO_COMPRESSION: lambda part: part,
    DEFLATE: zlib.compress,
    # Each run is stated by how many bytes follow, less one (section 9).
    PACKBITS: lambda part: b"".join(bytes([len(run) - 1]) + run for run in chunks(part, 128)),
}


def chunks(content: bytes, size: int) -> list[bytes]:
    return [content[start : start + size] for start in range(0, len(content), size)]


def tiff_file(
    levels: np.ndarray,
    bits: int,
    *,
    photometric: int | None,
    order: str = "<",
    is_big: bool = False,
    is_planar: bool = False,
    extras: tuple[int, ...] = (),
    compression: int = NO_COMPRESSION,
    has_differences: bool = False,
    tile: tuple[int, int] | None = None,
    rows_per_strip: int = 8,
    has_turned_bits: bool = False,
    more: Mapping[int, tuple[int, ...]] | None = None,
) -> bytes:
    """A file of one page that holds `levels`, [H, W, S], in `bits` each. `more`: further tags of 32 bits."""
    height, width, num_samples = levels.shape
    part_height, part_width = tile or (rows_per_strip, width)
    parts = []
    for plane in np.split(levels, num_samples, axis=2) if is_planar else [levels]:
        for top in range(0, height, part_height):
            for left in range(0, width, part_width):
                part = plane[top : top + part_height, left : left + part_width]
                if tile:
                    missing = (part_height - part.shape[0], part_width - part.shape[1])
                    part = np.pad(part, ((0, missing[0]), (0, missing[1]), (0, 0)))
                parts.append(PACK[compression](part_bytes(part, bits, order, has_differences)))
    if has_turned_bits:
        turned = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
        parts = [part.translate(turned) for part in parts]
    start = 16 if is_big else 8
    offsets = tuple(start + sum(map(len, parts[:index])) for index in range(len(parts)))
    tags = {
        256: (width,),
        257: (height,),
        258: (bits,) * num_samples,
        259: (compression,),
        266: (2 if has_turned_bits else 1,),
        277: (num_samples,),
        284: (2 if is_planar else 1,),
        317: (2 if has_differences else 1,),
        338: extras,
        (324 if tile else 273): offsets,
        (325 if tile else 279): tuple(map(len, parts)),
    }
    tags |= {} if photometric is None else {262: (photometric,)}
    tags |= {322: (part_width,), 323: (part_height,)} if tile else {278: (part_height,)}
    return file_of(tags | dict(more or {}), b"".join(parts), order, is_big)


def part_bytes(part: np.ndarray, bits: int, order: str, has_differences: bool) -> bytes:
    """A strip or tile: each row begins with a whole byte; 8 and 16 bits are numbers, others stand bit after bit."""
    if has_differences:
        part = np.diff(part, axis=1, prepend=0) % (1 << bits)
    rows = part.reshape(len(part), -1)
    if bits == 16:
        return rows.astype(f"{order}u2").tobytes()
    return np.packbits(
        ((rows[:, :, None] >> np.arange(bits)[::-1]) & 1).astype(np.uint8).reshape(len(rows), -1), axis=1
    ).tobytes()


def file_of(tags: Mapping[int, tuple[int, ...]], body: bytes, order: str, is_big: bool) -> bytes:
    """Head, body and directory; all tags in 32 bits, which readers take for those of 16 too."""
    tags = {tag: values for tag, values in sorted(tags.items()) if values}
    offset, number, count = ("Q", "Q", "Q") if is_big else ("I", "I", "H")
    first = 16 if is_big else 8
    body += b"\0" * (len(body) % 2)
    at = first + len(body)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if is_big else 42)
    head += struct.pack(f"{order}HHQ", 8, 0, at) if is_big else struct.pack(f"{order}I", at)
    room = struct.calcsize(offset)
    table, beyond = struct.pack(f"{order}{count}", len(tags)), b""
    beyond_at = at + len(table) + len(tags) * (4 + 2 * room) + room
    for tag, values in tags.items():
        packed = struct.pack(f"{order}{len(values)}I", *values)
        table += struct.pack(f"{order}HH{number}", tag, 4, len(values))
        if len(packed) <= room:
            table += packed.ljust(room, b"\0")
        else:
            table += struct.pack(f"{order}{offset}", beyond_at + len(beyond))
            beyond += packed
    return head + body + table + bytes(room) + beyond
