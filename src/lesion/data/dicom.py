"""DICOM: a file's first frame as pixels, and the patient's metadata from its header."""

# H, W pixels

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.data.codestreams import END, SOC, SOI, Cost, jpeg_2000_cost, jpeg_cost
from lesion.data.memory import ReserveBytes
from lesion.data.pieces import PiecewiseFile, TooManyPieces
from lesion.errors import LesionError

Pixels = NDArray[np.uint8]

SUFFIXES = {".dcm", ".dicom"}
CONTENT_TYPE = "application/dicom"
MAGIC = b"DICM"  # after a preamble of 128 bytes
RLE = "1.2.840.10008.1.2.5"  # run lengths
JPEG_LS = {"1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"}  # lossless, near-lossless
MAX_READS = 200_000  # by pydicom, two or three for each element or item: some hundred, or thousands in many frames
MAX_ELEMENT_BYTES = 2**18  # of one that describes the pixels; the longest tables have 2**17
MAX_PALETTE = 2**20  # colours that segments may become; a palette has up to 2**16
SPARE_BYTES = 2**16  # that run lengths may become beyond their pixels
MAX_RUNS = 10_000_000  # pydicom takes them apart in Python, 0.3 µs each
STRIP_PIXELS = 2**20
STRIP_BYTES = 64  # of a pixel while it is made visible, in float64
SEXES = {"M": "male", "F": "female", "O": "other"}
YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
# What a table may lack and a header say, under the names of the SIIM-ISIC challenge.
COLUMNS = ("patient_id", "sex", "age_approx", "anatom_site_general_challenge")


class Unreadable(ValueError):
    """The file cannot be read; the text says why."""


def is_dicom(content: bytes) -> bool:
    """Whether these bytes begin as a DICOM file: with its preamble, or without one by its first element."""
    return content[128:132] == MAGIC or content[:4] in {b"\x02\x00\x00\x00", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00"}


def pixels(content: bytes, *, max_pixels: int, reserve_bytes: ReserveBytes = lambda _: None) -> Pixels:
    """The first frame as uint8 RGB [H, W, 3], as it is meant to be seen (DICOM PS3.3, C.7.6.3 and C.11).

    Grey values pass the rescale slope and the first window, or the VOI table; without either more than 8 bits are
    stretched from the frame's smallest to its largest value, since the stored range says little of what was measured.
    MONOCHROME1 is inverted, YBR converted, palettes applied. `reserve_bytes` is called with the most memory that
    all of it takes, before the frame is decoded. Raises ValueError that says what cannot be read.
    """
    with _failing_as_value_error():
        dataset = _read(content, with_pixels=True)
        _check_elements(dataset)
        rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
        if "PixelData" not in dataset or not rows or not columns:
            raise Unreadable("a DICOM file without pixels")
        if rows * columns > max_pixels:
            raise Unreadable(f"{columns}×{rows} px is more than {max_pixels:,} pixels")
        extra_bytes = _frame_bytes(dataset, rows, columns)
        stored_bytes = int(dataset.SamplesPerPixel) * -(-int(dataset.BitsAllocated) // 8)
        strip_bytes = STRIP_BYTES * min(rows * columns, max(STRIP_PIXELS, columns))
        # pydicom copies the file's frame, unpacks it, and may copy that again to give the colours their order.
        reserve_bytes(len(content) + extra_bytes + (2 * stored_bytes + 3) * rows * columns + strip_bytes)
        return _to_rgb(dataset)


def metadata(content: bytes) -> dict[str, str | float]:
    """The header's values for COLUMNS; absent ones are left out. Raises ValueError for what is not DICOM."""
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
    """pydicom and its decoders raise all kinds of errors for a broken file: each becomes Unreadable."""
    try:
        yield
    except (Unreadable, LesionError):
        raise
    except TooManyPieces as error:
        raise Unreadable("DICOM of more elements than are read") from error
    except Exception as error:
        words = str(error).splitlines() or [type(error).__name__]
        raise Unreadable(f"DICOM that cannot be read: {words[0][:200]}") from error


def _read(content: bytes, *, with_pixels: bool) -> Any:
    import pydicom  # here: most jobs meet no DICOM file

    # Odd values are no reason to warn, least of all in a log, which must hold no patient's data.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    file = _HeaderFile(content, max_reads=MAX_READS, max_bytes=len(content) + 2**20)
    return pydicom.dcmread(file, force=True, stop_before_pixels=not with_pixels)


class _HeaderFile(PiecewiseFile):
    """A DICOM file for pydicom with bounded reads; reading all the rest at once is refused: only inflating does that.

    Deflate is the one transfer syntax of unbounded size: a zip bomb.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            raise Unreadable("DICOM of deflated transfer syntax: its size is not known before it is unpacked")
        return super().read(size)


def _check_elements(dataset: Any) -> None:
    """Raises Unreadable for an element, other than the pixels, so long that pydicom would parse it for minutes."""
    for tag in dataset.keys():  # noqa: SIM118  a dataset is no dictionary
        element = dataset.get_item(tag)
        is_long = isinstance(element.value, bytes | str) and len(element.value) > MAX_ELEMENT_BYTES
        if tag.group == 0x28 and is_long:
            raise Unreadable(f"DICOM whose element {tag} is {len(element.value):,} bytes long")
    for colour in ("Red", "Green", "Blue", "Alpha"):
        if segments := dataset.get(f"Segmented{colour}PaletteColorLookupTableData"):
            _check_segments(segments, dataset)
    for name in ("ModalityLUTSequence", "VOILUTSequence"):
        for item in dataset.get(name) or ():
            _check_elements(item)


def _check_segments(segments: bytes, dataset: Any) -> None:
    """Raises Unreadable for a segmented palette that becomes far longer than one can be (DICOM PS3.3, C.7.9.2)."""
    bits = int(dataset.RedPaletteColorLookupTableDescriptor[2])
    values = np.frombuffer(segments[: len(segments) & -2], np.uint8 if bits == 8 else "<u2").tolist()
    at = length = 0
    while at + 1 < len(values):
        kind, count = values[at : at + 2]
        at += {0: 2 + count, 1: 3}.get(kind, 4)  # values as they stand, a line to the next value, or
        length += count if kind in {0, 1} else length  # segments from before, which are all of it at most
        if length > MAX_PALETTE:
            raise Unreadable("DICOM whose palette has more colours than one can have")


def _frame_bytes(dataset: Any, rows: int, columns: int) -> int:
    """The memory that decoding a compressed frame takes beside the frame.

    Raises Unreadable for a frame that no decoder here reads, that is incomplete, or whose size differs from the header:
    decoders allocate what the frame says, and a frame of a kilobyte can request all memory.
    """
    from pydicom.encaps import get_frame
    from pydicom.pixels import get_decoder  # type: ignore[attr-defined]

    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None or not syntax.is_encapsulated:
        return 0
    if not get_decoder(syntax).is_available:
        raise Unreadable(f"DICOM in {syntax.name}, which is not unpacked here: convert it, with dcmdjpeg or gdcmconv")
    frame = get_frame(dataset.PixelData, 0, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
    if syntax == RLE:
        _check_runs(frame, rows * columns)
        return len(frame)
    cost = _cost(frame)
    if (cost.width, cost.height) != (columns, rows):
        raise Unreadable(f"the header says {columns}×{rows} px and the frame {cost.width}×{cost.height}")
    if syntax in JPEG_LS and not frame.rstrip(b"\0").endswith(END):  # its decoder looks for the rest for 12 s
        raise Unreadable("a compressed frame that is cut: its end is missing")
    return len(frame) + cost.extra_bytes


def _cost(frame: bytes) -> Cost:
    return jpeg_2000_cost(frame) if not frame.startswith(SOI) and SOC in frame else jpeg_cost(frame)


def _check_runs(frame: bytes, num_pixels: int) -> None:
    """Raises Unreadable for run lengths that become more than the frame holds (DICOM PS3.5, annex G)."""
    num_segments, *starts = np.frombuffer(frame[:64].ljust(64, b"\0"), "<u4").tolist()
    starts = [*starts[: min(num_segments, 15)], len(frame)]
    num_runs = 0
    for start, end in itertools.pairwise(starts):
        at, num_bytes = start, 0
        while at < end and num_bytes <= num_pixels + SPARE_BYTES and num_runs <= MAX_RUNS:
            count = frame[at]
            if count < 128:  # so many bytes and one more, as they stand
                at, num_bytes = at + count + 2, num_bytes + count + 1
            else:  # one byte, so many times; 128 says nothing
                at, num_bytes = at + (2 if count > 128 else 1), num_bytes + (257 - count) % 129
            num_runs += 1
        if at < end:
            raise Unreadable("DICOM whose run lengths become more than its pixels")


def _to_rgb(dataset: Any) -> Pixels:
    """The frame made visible strip by strip: of all of it in float64 there would be several copies."""
    from pydicom.pixels import get_decoder  # type: ignore[attr-defined]
    from pydicom.pixels.processing import apply_color_lut, convert_color_space
    from pydicom.pixels.utils import as_pixel_options

    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise Unreadable("DICOM that does not state its transfer syntax")
    stored, found = get_decoder(syntax).as_array(dataset, index=0, raw=True, **as_pixel_options(dataset))
    num_rows = max(STRIP_PIXELS // stored.shape[1], 1)
    strips = [slice(top, top + num_rows) for top in range(0, len(stored), num_rows)]
    image_HWC = np.empty((*stored.shape[:2], 3), np.uint8)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        for strip in strips:
            coloured = apply_color_lut(stored[strip], dataset)
            image_HWC[strip] = coloured[..., :3] >> (8 * coloured.dtype.itemsize - 8)
    elif stored.ndim == 3:
        is_ybr = found["photometric_interpretation"] in {"YBR_FULL", "YBR_FULL_422"}
        for strip in strips:
            rgb = convert_color_space(stored[strip], "YBR_FULL", "RGB") if is_ybr else stored[strip]
            image_HWC[strip] = rgb >> max(int(dataset.BitsStored) - 8, 0)
    else:
        ends = _ends(stored, strips, dataset)
        for strip in strips:
            grey_HW = _shown(stored[strip], dataset, ends)
            if dataset.PhotometricInterpretation == "MONOCHROME1":
                grey_HW = 1 - grey_HW
            image_HWC[strip] = np.asarray(np.clip(grey_HW, 0, 1) * 255 + 0.5, dtype=np.uint8)[..., None]
    return image_HWC


def _ends(stored_HW: NDArray[Any], strips: Sequence[slice], dataset: Any) -> tuple[float, float]:
    """The values shown as black and white, if the file has neither window nor table."""
    from pydicom.pixels.processing import apply_modality_lut

    if int(dataset.BitsStored) <= 8 and dataset.get("RescaleSlope") is None:
        return 0.0, 2.0 ** int(dataset.BitsStored) - 1
    ends = []
    for strip in strips:
        values_HW = apply_modality_lut(stored_HW[strip], dataset)
        ends += [float(values_HW.min()), float(values_HW.max())]
    return min(ends), max(ends)


def _shown(stored_HW: NDArray[Any], dataset: Any, ends: tuple[float, float]) -> NDArray[np.float64]:
    """Stored values as the share of full brightness, 0 to 1; `ends` are black's and white's without a window."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi, apply_windowing

    values_HW = apply_modality_lut(stored_HW, dataset)
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        # The ends of the output range are where pydicom puts the smallest and the largest input.
        low, high = apply_windowing(np.array([-1e15, 1e15]), dataset, index=0)
        return np.asarray((apply_windowing(values_HW, dataset, index=0) - low) / (high - low), dtype=np.float64)
    if dataset.get("VOILUTSequence"):
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return np.asarray(apply_voi(values_HW, dataset, index=0) / (2**bits - 1), dtype=np.float64)
    low, high = ends
    return np.asarray((values_HW.astype(np.float64) - low) / max(high - low, 1e-12), dtype=np.float64)


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
