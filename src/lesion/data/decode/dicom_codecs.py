"""Compressed frames of DICOM: JPEG of every kind that is in use, by imagecodecs (docs/decisions/0013).

What a frame says of itself is read before it is unpacked: its size, its cost, and that its end is there.
"""

# H, W pixels · C samples of a pixel

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from numpy.typing import NDArray

from lesion.data.decode.codestreams import (
    END,
    JP2,
    JPEG_LS,
    LOSSLESS,
    SOC,
    SOI,
    Cost,
    jpeg_2000_cost,
    jpeg_2000_mixes_colours,
    jpeg_colours,
    jpeg_cost,
    jpeg_xl_cost,
)
from lesion.data.decode.dicom_frame import YBR, YBR_HALVED, Layout
from lesion.data.decode.dicom_tables import Unreadable

RUN_LENGTHS = "1.2.840.10008.1.2.5"
JPEG = {f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 53, 55, 57, 70, 80, 81)}
JPEG_2000 = {f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203)}
JPEG_XL_LOSSLESS = "1.2.840.10008.1.2.4.110"
LOSSLESS_SYNTAXES = {f"1.2.840.10008.1.2.4.{number}" for number in (57, 70, 80, 90, 201, 202, 110)}
JPEG_XL = {JPEG_XL_LOSSLESS, "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112"}
SYNTAXES = JPEG | JPEG_2000 | JPEG_XL
TAIL_BYTES = 16  # in which a codestream ends: what fills a frame up is a byte, or a few
CUT = "a compressed frame that is cut: its end is missing"


class Unpacked(NamedTuple):
    """A frame's samples as unsigned words, [H, W] or [H, W, C]; how many of their bits count, and whether RGB."""

    stored: NDArray[Any]
    bits: int
    is_ybr: bool


def frame_cost(frame: bytes, syntax: str) -> Cost:
    """Size and cost of a frame. Raises ValueError for one that is cut, or no frame of its syntax."""
    if syntax in JPEG_XL:
        return jpeg_xl_cost(frame)
    is_jpeg_2000 = frame.startswith((SOC, JP2))
    if not is_jpeg_2000 and not frame.startswith(SOI):
        raise Unreadable("a compressed frame that begins as none does")
    # Decoders give what there is of a cut frame and leave the rest grey, and CharLS looks for the rest for seconds.
    if END not in frame[-TAIL_BYTES:]:
        raise Unreadable(CUT)
    if not is_jpeg_2000:
        return jpeg_cost(frame)
    cost = jpeg_2000_cost(frame)
    # OpenJPEG gives the whole picture in 32 bits a sample, also where it decodes tile by tile.
    return replace(cost, extra_bytes=max(cost.extra_bytes, 4 * cost.samples + min(cost.extra_bytes, 2 * cost.samples)))


def unpack(frame: bytes, cost: Cost, layout: Layout, syntax: str) -> Unpacked:
    """The frame's samples. Raises Unreadable for a frame of another shape, and what decoders raise."""
    import imagecodecs  # here: most jobs meet no compressed DICOM

    is_ybr = layout.photometric in {YBR, YBR_HALVED}
    bits = cost.bits
    if syntax in JPEG_XL:
        stored = imagecodecs.jpegxl_decode(frame, numthreads=1)
        is_ybr = is_ybr and syntax == JPEG_XL_LOSSLESS  # the others' own colours are RGB once decoded
        bits = 8 * stored.dtype.itemsize
    elif frame.startswith((SOC, JP2)):
        stored = imagecodecs.jpeg2k_decode(frame, numthreads=1)
        is_ybr = is_ybr and not jpeg_2000_mixes_colours(frame)
    elif cost.marker == JPEG_LS:
        stored = imagecodecs.jpegls_decode(frame)
    else:
        # As they are stored: what colours they are, headers know better than the decoder.
        space = "YCBCR" if layout.is_colour else "GRAYSCALE"
        stored = imagecodecs.jpeg8_decode(frame, colorspace=space, outcolorspace=space)
        if cost.marker != LOSSLESS and (said := jpeg_colours(frame)):
            is_ybr = said == YBR
    if syntax in LOSSLESS_SYNTAXES:  # the others' bits may hold overlays; what is lossy may go beyond its own ends
        bits = min(bits, layout.bits_stored)
    shape = (layout.rows, layout.columns, 3) if layout.is_colour else (layout.rows, layout.columns)
    if stored.shape != shape:
        raise Unreadable(f"DICOM whose frame is {stored.shape} and should be {shape}")
    if stored.dtype.kind not in "iu" or stored.dtype.itemsize > 4:
        raise Unreadable(f"DICOM whose frame holds numbers of type {stored.dtype}")
    return Unpacked(stored.view(f"u{stored.dtype.itemsize}"), bits, is_ybr and layout.is_colour)
