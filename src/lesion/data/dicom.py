"""DICOM: a file's first frame as pixels, and what its header says of the patient."""

# H, W pixels

from __future__ import annotations

import io
import logging
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

SUFFIXES = {".dcm", ".dicom"}
CONTENT_TYPE = "application/dicom"
MAGIC = b"DICM"  # after a preamble of 128 bytes
DEFLATED = b"1.2.840.10008.1.2.1.99"  # the one transfer syntax whose length nothing bounds: a bomb of zeros
RLE = "1.2.840.10008.1.2.5"  # run lengths: what it unpacks to is bounded by the header
JPEG = b"\xff\xd8"  # start of a frame; by chance, what follows may hold the next four bytes
JPEG_2000 = b"\xff\x4f\xff\x51"  # start of a codestream, and of the segment with its size
JPEG_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # markers of segments with a size: SOF0 to 15, JPEG-LS
SEXES = {"M": "male", "F": "female", "O": "other"}
YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
# What a table may lack and a header say, under the names of the SIIM-ISIC challenge.
COLUMNS = ("patient_id", "sex", "age_approx", "anatom_site_general_challenge")


class Unreadable(ValueError):
    """Words for what keeps a file from being read."""


def is_dicom(content: bytes) -> bool:
    """Whether these bytes begin as a DICOM file: with its preamble, or without one by its first element."""
    return content[128:132] == MAGIC or content[:4] in {b"\x02\x00\x00\x00", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00"}


def pixels(content: bytes, *, max_pixels: int) -> Pixels:
    """The first frame as uint8 RGB [H, W, 3], as it is meant to be seen (DICOM PS3.3, C.7.6.3 and C.11).

    Grey values pass the rescale slope and the first window, or the VOI table; without either more than 8 bits are
    stretched from the frame's smallest to its largest value, since the stored range says little of what was measured.
    MONOCHROME1 is inverted, YBR converted, palettes applied. Raises ValueError that says what cannot be read.
    """
    with _failing_as_value_error():
        dataset = _read(content, with_pixels=True)
        rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
        if "PixelData" not in dataset or not rows or not columns:
            raise Unreadable("a DICOM file without pixels")
        if rows * columns > max_pixels:
            raise Unreadable(f"{columns}×{rows} px is more than {max_pixels:,} pixels")
        _check_frame(dataset, rows, columns)
        return _to_rgb(dataset)


def metadata(content: bytes) -> dict[str, str | float]:
    """What the header says of COLUMNS; what it does not say is left out. Raises ValueError for what is no DICOM."""
    with _failing_as_value_error():
        dataset = _read(content, with_pixels=False)
        found: dict[str, str | float | None] = {
            "patient_id": _text(dataset, "PatientID"),
            "sex": SEXES.get((_text(dataset, "PatientSex") or "").upper()),
            "age_approx": _age(dataset),
            "anatom_site_general_challenge": (_text(dataset, "BodyPartExamined") or "").lower() or None,
        }
    return {name: value for name, value in found.items() if value is not None}


@contextmanager
def _failing_as_value_error() -> Iterator[None]:
    """pydicom and its decoders raise whatever a broken file leads them to: all of it means that it cannot be read."""
    try:
        yield
    except Unreadable:
        raise
    except Exception as error:
        words = str(error).splitlines() or [type(error).__name__]
        raise Unreadable(f"DICOM that cannot be read: {words[0][:200]}") from error


def _read(content: bytes, *, with_pixels: bool) -> Any:
    import pydicom  # here: most jobs meet no DICOM file

    # Odd values are no reason to warn, least of all in a log, which must hold no patient's data.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    if DEFLATED in content[:4096]:
        raise Unreadable("DICOM of deflated transfer syntax: its size is not known before it is unpacked")
    return pydicom.dcmread(io.BytesIO(content), force=True, stop_before_pixels=not with_pixels)


def _check_frame(dataset: Any, rows: int, columns: int) -> None:
    """Raises Unreadable for a compressed frame that no decoder here unpacks, or that is of another size than its header
    says: decoders make room for what the frame says, and a frame of a kilobyte can ask for all memory there is."""
    from pydicom.encaps import get_frame
    from pydicom.pixels import get_decoder  # type: ignore[attr-defined]

    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None or not syntax.is_encapsulated or syntax == RLE:
        return
    if not get_decoder(syntax).is_available:
        raise Unreadable(f"DICOM in {syntax.name}, which is not unpacked here: convert it, with dcmdjpeg or gdcmconv")
    frame = get_frame(dataset.PixelData, 0, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
    width, height = _frame_size(frame)
    if (width, height) != (columns, rows):
        raise Unreadable(f"the header says {columns}×{rows} px and the frame {width}×{height}")


def _frame_size(frame: bytes) -> tuple[int, int]:
    """Width and height that a frame of the JPEG family states itself. Raises Unreadable where it states none."""
    at = 2
    if frame[:at] != JPEG and (at := frame.find(JPEG_2000)) >= 0:  # ITU-T T.800, A.5.1: the grid's end, its beginning
        right, bottom, left, top = struct.unpack_from(">4I", frame, at + 8)
        return right - left, bottom - top
    while frame[at : at + 1] == b"\xff":  # ITU-T T.81, B.1.1.2, and T.87, C.1.1: segments, each with its length
        marker = frame[at + 1]
        if marker in JPEG_FRAMES:
            height, width = struct.unpack_from(">2H", frame, at + 5)
            return width, height
        at += 1 if marker == 0xFF else 2 + int.from_bytes(frame[at + 2 : at + 4], "big")  # 0xFF fills
    raise Unreadable("a compressed frame that does not state its size")


def _to_rgb(dataset: Any) -> Pixels:
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
    from pydicom.pixels.utils import pixel_array

    stored = pixel_array(dataset, index=0)  # YBR comes as RGB
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        coloured = apply_color_lut(stored, dataset)
        bits = 8 * coloured.dtype.itemsize
        return np.asarray(coloured[..., :3] >> (bits - 8), dtype=np.uint8)
    if stored.ndim == 3:
        return np.ascontiguousarray(stored >> max(int(dataset.BitsStored) - 8, 0), dtype=np.uint8)
    grey_HW = _shown(apply_modality_lut(stored, dataset), dataset)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey_HW = 1 - grey_HW
    bytes_HW = np.asarray(np.clip(grey_HW, 0, 1) * 255 + 0.5, dtype=np.uint8)
    return np.repeat(bytes_HW[..., None], 3, axis=2)


def _shown(values_HW: NDArray[Any], dataset: Any) -> NDArray[np.float64]:
    """Grey values as the share of full brightness, 0 to 1."""
    from pydicom.pixels.processing import apply_voi, apply_windowing

    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        # The ends of the output range are where pydicom puts the smallest and the largest input.
        low, high = apply_windowing(np.array([-1e15, 1e15]), dataset, index=0)
        return np.asarray((apply_windowing(values_HW, dataset, index=0) - low) / (high - low), dtype=np.float64)
    if dataset.get("VOILUTSequence"):
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return np.asarray(apply_voi(values_HW, dataset, index=0) / (2**bits - 1), dtype=np.float64)
    values_HW = values_HW.astype(np.float64)
    is_plain = int(dataset.BitsStored) <= 8 and dataset.get("RescaleSlope") is None
    low, high = (0.0, 2.0 ** int(dataset.BitsStored) - 1) if is_plain else (values_HW.min(), values_HW.max())
    return np.asarray((values_HW - low) / max(high - low, 1e-12), dtype=np.float64)


def _text(dataset: Any, keyword: str) -> str | None:
    return str(dataset.get(keyword) or "").strip() or None


def _age(dataset: Any) -> float | None:
    """Years, from PatientAge (045Y, 018M) or from the dates of birth and study."""
    age = re.fullmatch(r"(\d{1,3})([DWMY])", (_text(dataset, "PatientAge") or "").upper())
    if age:
        return round(int(age[1]) * YEARS[age[2]], 2)
    dates = [
        re.fullmatch(r"(\d{4})(\d\d)(\d\d)", _text(dataset, name) or "") for name in ("PatientBirthDate", "StudyDate")
    ]
    if not all(dates):
        return None
    (born, seen) = ([int(part) for part in date.groups()] for date in dates if date)
    years = seen[0] - born[0] - ((seen[1], seen[2]) < (born[1], born[2]))
    return float(years) if years >= 0 else None
