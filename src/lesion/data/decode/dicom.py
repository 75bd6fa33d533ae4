"""DICOM: a file's frame as pixels, and the patient's metadata from its header."""

# H, W pixels

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lesion.data.decode.dicom_codecs import RUN_LENGTHS, SYNTAXES, frame_cost, unpack
from lesion.data.decode.dicom_file import DEFLATED, EXPLICIT, IMPLICIT, DicomFile, is_dicom
from lesion.data.decode.dicom_frame import (
    PALETTE,
    YBR,
    YBR_HALVED,
    Layout,
    native_frame,
    num_frames,
    run_length_frame,
    values_of,
)
from lesion.data.decode.dicom_grey import grey_scale
from lesion.data.decode.dicom_padding import padding_of
from lesion.data.decode.dicom_tables import BIG_ENDIAN, Unreadable, byte_order, palette
from lesion.data.decode.formats import NotRead
from lesion.data.decode.memory import ReserveBytes
from lesion.data.decode.pieces import TooManyPieces
from lesion.data.numbers import as_age
from lesion.errors import LesionError

__all__ = ["CONTENT_TYPE", "SUFFIXES", "Unreadable", "frame_count", "is_dicom", "metadata", "pixels"]

Pixels = NDArray[np.uint8]
Frame = Literal["first", "middle"] | int  # by its place, or counted from 0

SUFFIXES = {".dcm", ".dicom"}
CONTENT_TYPE = "application/dicom"
MAX_FRAMES = 100_000  # of a file of which each frame is read
NATIVE = {IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED}
STRIP_PIXELS = 2**20
STRIP_BYTES = 64  # of a pixel while it is made visible, in float64
SEXES = {"M": "male", "F": "female", "O": "other"}
# What a table may lack and a header say, under the names of the SIIM-ISIC challenge.
COLUMNS = ("patient_id", "sex", "age_approx", "anatom_site_general_challenge")
RGB_OF_YBR = np.array(  # PS3.3, C.7.6.3.1.2
    [[1, 1, 1], [0, -0.114 * 1.772 / 0.587, 1.772], [1.402, -0.299 * 1.402 / 0.587, 0]], np.float32
)


def pixels(
    content: bytes, *, frame: Frame = "first", max_pixels: int, reserve_bytes: ReserveBytes = lambda _: None
) -> Pixels:
    """A frame as uint8 RGB [H, W, 3], as it is meant to be seen (DICOM PS3.3, C.7.6.3 and C.11).

    `frame` is "first", "middle" (number n // 2 of n) or a number from 0 on. Grey values pass the rescale slope and the
    first window, or the VOI table; without either more than 8 bits are stretched from the frame's smallest to its
    largest value, since the stored range says little of what was measured. Padding is black and counts for neither.
    MONOCHROME1 and PresentationLUTShape INVERSE are inverted, YBR converted, palettes applied. `reserve_bytes` is
    called once, with the most memory that all of it takes, before the frame is decoded. Raises ValueError that says
    what cannot be read.
    """
    with _failing_as_value_error():
        file = DicomFile(content)
        layout = _layout(file)
        if layout.rows * layout.columns > max_pixels:
            raise Unreadable(f"{layout.columns}×{layout.rows} px is more than {max_pixels:,} pixels")
        index = _index(frame, layout.num_frames)
        samples = _samples(file, layout, index, reserve_bytes)
        image_HWC = np.empty((layout.rows, layout.columns, 3), np.uint8)
        # Strip by strip: of all of it in float64 there would be several copies.
        num_rows = max(STRIP_PIXELS // layout.columns, 1)
        strips = [slice(top, top + num_rows) for top in range(0, layout.rows, num_rows)]
        show = _shown_as(file, layout, index, samples, strips)
        for strip in strips:
            image_HWC[strip] = show(strip)
        return image_HWC


def frame_count(content: bytes) -> int:
    """How many frames the header states, at least one; `content` may end behind it.

    Raises ValueError for what is not DICOM, or ends before.
    """
    with _failing_as_value_error():
        dataset = DicomFile(content).dataset
        if "Rows" not in dataset:  # which comes behind it
            raise Unreadable("a DICOM file without pixels")
        return num_frames(dataset)


def metadata(content: bytes) -> dict[str, str | float]:
    """The header's values for COLUMNS; absent ones are left out. Raises ValueError for what is not DICOM."""
    with _failing_as_value_error():
        dataset = DicomFile(content).dataset
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
    except (Unreadable, NotRead, LesionError):
        raise
    except TooManyPieces as error:
        raise Unreadable("DICOM of more elements than are read") from error
    except Exception as error:
        words = str(error).splitlines() or [type(error).__name__]
        raise Unreadable(f"DICOM that cannot be read: {words[0][:200]}") from error


@dataclass(frozen=True)
class _Samples:
    """A frame's stored words, [H, W] or [H, W, C], and which of their bits count."""

    stored: NDArray[Any]
    layout: Layout
    bits: int
    high_bit: int
    is_ybr: bool

    def values(self, strip: slice) -> NDArray[Any]:
        return values_of(self.stored[strip], self.layout, bits=self.bits, high_bit=self.high_bit)


def _layout(file: DicomFile) -> Layout:
    """What the header says of the frames. Raises Unreadable where there are none, or none that is read here."""
    dataset, syntax = file.dataset, file.syntax
    if not dataset.get("Rows") or not dataset.get("Columns"):
        raise Unreadable("a DICOM file without pixels")
    if syntax not in NATIVE | SYNTAXES | {RUN_LENGTHS}:
        name = dataset.file_meta.TransferSyntaxUID.name
        raise Unreadable(f"DICOM in {name}, which is not unpacked here: convert it, with dcmdjpeg or gdcmconv")
    return Layout.of(dataset, is_compressed=syntax in SYNTAXES)


def _index(frame: Frame, num_frames: int) -> int:
    if frame == "first":
        return 0
    index = num_frames // 2 if frame == "middle" else frame
    if not 0 <= index < num_frames:
        raise Unreadable(f"DICOM of {num_frames} frames, of which number {index + 1} is wanted")
    return index


def _samples(file: DicomFile, layout: Layout, index: int, reserve_bytes: ReserveBytes) -> _Samples:
    """The frame's stored words, once memory is reserved for them and for all that is made of them."""
    num_pixels, syntax = layout.rows * layout.columns, file.syntax
    stored_bytes = layout.samples * -(-layout.bits_allocated // 8) * num_pixels
    strip_bytes = STRIP_BYTES * min(num_pixels, max(STRIP_PIXELS, layout.columns))
    made_bytes = 3 * num_pixels + strip_bytes
    is_ybr = layout.photometric in {YBR, YBR_HALVED}
    bits, high_bit = layout.bits_stored, layout.high_bit
    if syntax in NATIVE:
        reserve_bytes(file.pixel_bytes + stored_bytes + made_bytes)
        file.load_pixels()
        stored = native_frame(file.pixels(), layout, index, syntax=syntax, kind=file.kind_of_pixels)
    elif syntax == RUN_LENGTHS:
        reserve_bytes(2 * file.pixel_bytes + 3 * stored_bytes + made_bytes)
        file.load_pixels()
        stored = run_length_frame(file.frame(index, layout.num_frames), layout)
    else:
        file.load_pixels()
        frame = file.frame(index, layout.num_frames)
        cost = frame_cost(frame, syntax)
        if (cost.width, cost.height) != (layout.columns, layout.rows):
            # Decoders allocate what the frame says, and a frame of a kilobyte can request all memory.
            said, found = f"{layout.columns}×{layout.rows}", f"{cost.width}×{cost.height}"
            raise Unreadable(f"the header says {said} px and the frame {found}")
        # The decoder unpacks the frame, and may copy it to give the colours their order.
        reserve_bytes(file.pixel_bytes + len(frame) + cost.extra_bytes + 2 * stored_bytes + made_bytes)
        stored, bits, is_ybr = unpack(frame, cost, layout, syntax)
        high_bit = bits - 1
    return _Samples(stored, layout, bits, high_bit, is_ybr)


def _shown_as(
    file: DicomFile, layout: Layout, index: int, samples: _Samples, strips: Sequence[slice]
) -> Callable[[slice], NDArray[Any]]:
    """What gives a strip as it is seen: uint8 [H, W, 3], or grey as [H, W, 1]."""
    dataset, order = file.dataset, byte_order(file.dataset)
    if layout.photometric == PALETTE:
        tables = palette(dataset, order, is_signed=layout.is_signed)

        def coloured(strip: slice) -> NDArray[Any]:
            values_HW = samples.values(strip)
            return np.stack([_eight_bits(table(values_HW), table.bits) for table in tables], axis=-1)

        return coloured
    if layout.is_colour:
        if samples.is_ybr:
            return lambda strip: _rgb_of_ybr(_eight_bits(samples.values(strip), samples.bits))
        return lambda strip: _eight_bits(samples.values(strip), samples.bits)
    groups = file.groups(index)
    scale = grey_scale(dataset, groups, order=order, bits=layout.bits_stored, is_signed=layout.is_signed)
    padding = padding_of(dataset, layout, order)
    measured = (
        values_HW if padding is None else values_HW[~padding(values_HW, samples.stored[strip])]
        for strip in strips
        for values_HW in [samples.values(strip)]
    )
    ends = scale.ends(measured)
    # Two ways to say that the smallest value is white; a file that says both says it once (PS3.3, C.8.11.3.1.2).
    shape = str(dataset.get("PresentationLUTShape") or "").strip().upper()
    is_inverted = layout.photometric == "MONOCHROME1" or shape == "INVERSE"

    def show(strip: slice) -> NDArray[Any]:
        values_HW = samples.values(strip)
        grey_HW = scale.shown(values_HW, ends)
        shown_HW = np.asarray((1 - grey_HW if is_inverted else grey_HW) * 255 + 0.5, dtype=np.uint8)
        if padding is not None:
            shown_HW[padding(values_HW, samples.stored[strip])] = 0
        return shown_HW[..., None]

    return show


def _eight_bits(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Of more than 8 bits the upper byte, as of other pictures; fewer are spread over all levels."""
    if bits >= 8:
        return (values >> (bits - 8)).astype(np.uint8)
    return np.asarray(values * (255 / (2**bits - 1)) + 0.5, dtype=np.uint8)


def _rgb_of_ybr(ybr_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    centred_HWC = ybr_HWC.astype(np.float32) - np.array([0, 128, 128], np.float32)
    return np.asarray(np.clip(np.floor(centred_HWC @ RGB_OF_YBR + 0.5), 0, 255), dtype=np.uint8)


def _text(dataset: Any, keyword: str) -> str | None:
    return str(dataset.get(keyword) or "").strip() or None


def _age(dataset: Any) -> float | None:
    """Years, from PatientAge (045Y, 018M) or from the dates of birth and study."""
    age = as_age((_text(dataset, "PatientAge") or "").upper().zfill(4))  # 45Y is written too
    if age is not None:
        return age
    dates = [
        re.fullmatch(r"(\d{4})(\d\d)(\d\d)", _text(dataset, name) or "") for name in ("PatientBirthDate", "StudyDate")
    ]
    if not all(dates):
        return None
    (born, seen) = ([int(part) for part in date.groups()] for date in dates if date)
    years = seen[0] - born[0] - ((seen[1], seen[2]) < (born[1], born[2]))
    return float(years) if years >= 0 else None
