"""DICOM mutants: a small file of every compressed syntax, and its frame broken in many ways."""

from __future__ import annotations

import random
from collections.abc import Callable

import imagecodecs
import numpy as np
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from dicom_files import bytes_of, compressed, dataset_of, encoded

UID = "1.2.840.10008.1.2.4."
Y, X = np.mgrid[:48, :56]
GREY = ((np.sin(X / 7) + np.cos(Y / 5) + 2) / 4 * 4095).astype(np.uint16)
GREY_8 = (GREY >> 4).astype(np.uint8)
COLOURS = np.stack([GREY_8, GREY_8[::-1], 255 - GREY_8], axis=-1)
# Syntax, pixels, photometric interpretation, frame.
KINDS: dict[str, tuple[str, np.ndarray, str, Callable[[], bytes]]] = {
    "jpeg": ("50", COLOURS, "YBR_FULL_422", lambda: encoded(COLOURS, "JPEG", quality=90)),
    "progressive": ("55", COLOURS, "YBR_FULL_422", lambda: encoded(COLOURS, "JPEG", quality=90, progressive=True)),
    "12 bits": ("51", GREY, "MONOCHROME2", lambda: imagecodecs.jpeg8_encode(GREY, level=95, bitspersample=12)),
    "lossless": ("70", GREY, "MONOCHROME2", lambda: imagecodecs.jpeg8_encode(GREY, lossless=True, bitspersample=16)),
    "jpeg-ls": ("80", GREY, "MONOCHROME2", lambda: imagecodecs.jpegls_encode(GREY)),
    "jpeg-ls colours": ("81", COLOURS, "RGB", lambda: imagecodecs.jpegls_encode(COLOURS, level=2)),
    "jpeg 2000": ("91", COLOURS, "YBR_ICT", lambda: imagecodecs.jpeg2k_encode(COLOURS, codecformat="J2K", level=80)),
    "high-throughput": ("201", GREY, "MONOCHROME2", lambda: imagecodecs.htj2k_encode(GREY)),
    "jpeg xl": ("112", COLOURS, "RGB", lambda: imagecodecs.jpegxl_encode(COLOURS, distance=1.0, usecontainer=False)),
    "jpeg xl lossless": (
        *("110", GREY, "MONOCHROME2", lambda: imagecodecs.jpegxl_encode(GREY, lossless=True, usecontainer=False)),
    ),
    "run lengths": ("", COLOURS, "RGB", lambda: b""),
    "deflated": ("", GREY, "MONOCHROME2", lambda: b""),
}
MARKERS = bytes.fromhex("c0 c1 c2 c3 c4 c9 d0 d8 d9 da db dd e0 ee f7 f8 4f 51 52 53 55 5c 64 90 93")
HEADER_BYTES = 380  # of the files that are mutated behind their header


def file_of(name: str, *, change: Callable[[bytes], bytes] = lambda frame: frame) -> bytes:
    """The file of one kind, its frame changed; what has no frame of its own is changed behind its header."""
    syntax, pixels, photometric, encode = KINDS[name]
    dataset = dataset_of(pixels, photometric, bits=12 if pixels.dtype == np.uint16 else 8)
    if syntax:  # pydicom writes only what it knows
        content = bytes_of(compressed(dataset, UID + "201", change(bytes(encode())) or b"\0\0"))
        return content.replace((UID + "201").encode(), (UID + syntax).encode().ljust(len(UID) + 3, b"\0"), 1)
    if name == "run lengths":
        dataset.compress(RLELossless, generate_instance_uid=False)
    else:
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    content = bytes_of(dataset)
    return content[:HEADER_BYTES] + change(content[HEADER_BYTES:])


def mutated(frame: bytes, rng: random.Random) -> bytes:
    """The frame with bits turned, bytes lost, doubled or foreign, markers changed, its end cut off or put back."""
    changed = bytearray(frame)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        if len(changed) < 8:
            break
        at = rng.randrange(len(changed) if rng.random() < 0.5 else min(len(changed), 160))
        size = rng.choice([1, 4, 30, len(changed) // 3])
        match rng.randrange(8):
            case 0:
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                changed[at] = rng.choice([0x00, 0xFF, 0x7F, 0x80])
            case 2:
                del changed[at : at + size]
            case 3:
                changed = changed[:at] + changed[-4:]
            case 4:
                del changed[at:]
            case 5:
                changed[at:at] = rng.randbytes(rng.choice([1, 2, 16]))
            case 6:
                markers = [place for place in range(len(changed) - 1) if changed[place] == 0xFF and changed[place + 1]]
                if markers:
                    changed[rng.choice(markers) + 1] = rng.choice(MARKERS)
            case 7:
                changed[at:at] = changed[at : at + size] * rng.choice([1, 2, 30])
    return bytes(changed) or b"\0\0"
