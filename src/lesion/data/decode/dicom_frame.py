"""One frame of a DICOM file as it is stored: where its samples lie in the bytes, and which of their bits count.

PS3.3, C.7.6.3.1, and PS3.5, 8.1.1 and annex G.
"""

# H, W pixels · C samples of a pixel

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.data.decode.dicom_tables import BIG_ENDIAN, Unreadable
from lesion.data.decode.formats import NotRead

GREY = {"MONOCHROME1", "MONOCHROME2"}
PALETTE = "PALETTE COLOR"
RGB, YBR, YBR_HALVED = "RGB", "YBR_FULL", "YBR_FULL_422"  # luminance and two colours; these halved in width
RETIRED = {"HSV", "ARGB", "CMYK", "YBR_PARTIAL_422"}
SAVE_AS_PNG = "Save it as PNG with a program that knows it, such as DCMTK's: dcmj2pnm --write-png IN.dcm OUT.png."
CODED = {"YBR_ICT", "YBR_RCT", "XYB"}  # what only a compressed frame can be in: its decoder makes RGB of it
ALLOCATED = (1, 8, 16, 32)
MAX_IDLE_RUNS = 10_000_000  # run lengths that say nothing; Python takes 50 ns for each
SPARE_BYTES = 2**16  # of run lengths behind the last pixel


@dataclass(frozen=True)
class Layout:
    """What the header says of the stored frames."""

    rows: int
    columns: int
    samples: int  # of a pixel: 1 or 3
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    is_planar: bool | None  # all of one colour before the next; None where the header does not say
    num_frames: int

    @classmethod
    def of(cls, dataset: Any, *, is_compressed: bool) -> Layout:
        """Raises Unreadable for an element that is missing, or that cannot be with the others; NotRead for colours that
        are not read."""
        bits_allocated = _whole(dataset, "BitsAllocated")
        bits_stored = _whole(dataset, "BitsStored")
        planes = dataset.get("PlanarConfiguration")
        found = cls(
            rows=_whole(dataset, "Rows"),
            columns=_whole(dataset, "Columns"),
            samples=_whole(dataset, "SamplesPerPixel"),
            photometric=str(dataset.get("PhotometricInterpretation") or "").strip().upper(),
            bits_allocated=bits_allocated,
            bits_stored=bits_stored,
            high_bit=_whole(dataset, "HighBit", bits_stored - 1),
            is_signed=bool(_whole(dataset, "PixelRepresentation")),
            is_planar=None if planes is None else bool(_whole(dataset, "PlanarConfiguration")),
            num_frames=num_frames(dataset),
        )
        found._check(is_compressed=is_compressed)
        return found

    @property
    def is_colour(self) -> bool:
        return self.samples == 3

    def _check(self, *, is_compressed: bool) -> None:
        if not self.photometric:
            raise Unreadable("DICOM without PhotometricInterpretation")
        wanted = {1: GREY | {PALETTE}, 3: {RGB, YBR, YBR_HALVED} | (CODED if is_compressed else set())}
        if self.photometric not in wanted.get(self.samples, set()):
            photometric = self.photometric[:40]
            retired = ", which the standard has retired" if self.photometric in RETIRED else ", which is not read"
            raise NotRead(f"DICOM of {self.samples} samples a pixel in {photometric!a}{retired}", SAVE_AS_PNG)
        if self.bits_allocated not in ALLOCATED or not 1 <= self.bits_stored <= self.bits_allocated:
            raise Unreadable(f"DICOM that stores {self.bits_stored} bits in {self.bits_allocated}, which is not read")
        if not is_compressed and not self.bits_stored - 1 <= self.high_bit < self.bits_allocated:
            raise Unreadable(
                f"DICOM whose HighBit is {self.high_bit}, with {self.bits_stored} of {self.bits_allocated} bits stored"
            )
        if self.photometric == PALETTE and self.bits_stored > 16:
            raise Unreadable(f"DICOM in PALETTE COLOR of {self.bits_stored} bits, where up to 16 are read")


def num_frames(dataset: Any) -> int:
    """How many frames a header states: at least one."""
    return max(_whole(dataset, "NumberOfFrames", 1), 1)


def native_frame(stored: bytes, layout: Layout, index: int, *, syntax: str, kind: str) -> NDArray[Any]:
    """A frame that is not compressed, [H, W] or [H, W, C] of unsigned words with all their bits.

    `kind` is the element's VR. Raises Unreadable if it is not all there.
    """
    num_pixels = layout.rows * layout.columns
    if layout.bits_allocated == 1:  # frames follow one another without a gap
        first, last = index * num_pixels, (index + 1) * num_pixels
        _check_length(stored, -(-last // 8))
        packed = np.frombuffer(stored, np.uint8)[first // 8 : -(-last // 8)]
        bits = np.unpackbits(packed, bitorder="little")[first % 8 :][:num_pixels]
        return bits.reshape(layout.rows, layout.columns)
    is_halved = layout.photometric == YBR_HALVED
    if is_halved and (layout.columns % 2 or layout.is_planar):
        raise Unreadable(f"DICOM in YBR_FULL_422 of {layout.columns} columns: pairs of pixels share their colour")
    if layout.is_colour and layout.is_planar is None:
        raise Unreadable("DICOM in colours without PlanarConfiguration")
    num_samples = 2 * num_pixels if is_halved else layout.samples * num_pixels
    num_bytes = layout.bits_allocated // 8
    is_big = syntax == BIG_ENDIAN
    start, end = index * num_samples * num_bytes, (index + 1) * num_samples * num_bytes
    _check_length(stored, end)
    if is_big and num_bytes == 1 and kind == "OW":  # words of two samples, the second first
        pairs = np.frombuffer(stored, np.uint8)[start & ~1 : end + end % 2]
        if len(pairs) % 2:
            raise Unreadable("DICOM whose words are cut")
        samples = pairs.reshape(-1, 2)[:, ::-1].reshape(-1)[start % 2 :][:num_samples]
    else:
        samples = np.frombuffer(stored, f"{'>' if is_big else '<'}u{num_bytes}", num_samples, start)
    if is_halved:
        return _doubled(samples.reshape(layout.rows, layout.columns // 2, 4))
    return _shaped(samples, layout, is_planar=bool(layout.is_planar))


def run_length_frame(frame: bytes, layout: Layout) -> NDArray[Any]:
    """A frame of run lengths (PS3.5, annex G), as `native_frame` gives it. Raises Unreadable if it is broken."""
    num_pixels, num_bytes = layout.rows * layout.columns, layout.bits_allocated // 8
    num_segments, *starts = np.frombuffer(frame[:64].ljust(64, b"\0"), "<u4").tolist()
    if num_bytes == 0 or num_segments != layout.samples * num_bytes:
        raise Unreadable(f"DICOM in {num_segments} run lengths of {layout.samples} samples of {num_bytes} bytes")
    planes = np.empty((layout.samples, num_pixels, num_bytes), np.uint8)
    ends = [*starts[:num_segments], len(frame)]
    for number, (start, end) in enumerate(itertools.pairwise(ends)):
        place = num_bytes - 1 - number % num_bytes  # the highest byte comes first
        planes[number // num_bytes, :, place] = np.frombuffer(_unpacked(frame[start:end], num_pixels), np.uint8)
    return _shaped(planes.view(f"<u{num_bytes}").reshape(-1), layout, is_planar=True)


def values_of(stored: NDArray[Any], layout: Layout, *, bits: int, high_bit: int) -> NDArray[Any]:
    """The numbers in stored words: `bits` of them up to `high_bit`; what else lies there, such as overlays, is cut.

    Signed where the header says so, but colours never are.
    """
    width = 8 * stored.dtype.itemsize
    is_signed = layout.is_signed and layout.samples == 1
    values = stored.astype(f"{'i' if is_signed else 'u'}{stored.dtype.itemsize}", copy=True)
    if (left := width - 1 - high_bit) > 0:
        np.left_shift(values, left, out=values)
    if (right := width - bits) > 0:
        np.right_shift(values, right, out=values)
    return values


def _whole(dataset: Any, name: str, default: int | None = None) -> int:
    value = dataset.get(name)
    if value is None or str(value).strip() == "":
        if default is None:
            raise Unreadable(f"DICOM without {name}")
        return default
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise Unreadable(f"DICOM whose {name} is no whole number") from error


def _check_length(stored: bytes, needed: int) -> None:
    if len(stored) < needed:
        raise Unreadable(f"DICOM that is cut: its pixels have {len(stored):,} bytes and need {needed:,}")


def _shaped(samples: NDArray[Any], layout: Layout, *, is_planar: bool) -> NDArray[Any]:
    if not layout.is_colour:
        return samples.reshape(layout.rows, layout.columns)
    if is_planar:
        return samples.reshape(layout.samples, layout.rows, layout.columns).transpose(1, 2, 0)
    return samples.reshape(layout.rows, layout.columns, layout.samples)


def _doubled(halved_HWC: NDArray[Any]) -> NDArray[Any]:
    """Of pairs of pixels, each two luminances and the colours that they share, the pixels [H, W, 3]."""
    rows, pairs, _ = halved_HWC.shape
    image_HWC = np.empty((rows, pairs, 2, 3), halved_HWC.dtype)
    image_HWC[..., 0] = halved_HWC[..., :2]
    image_HWC[..., 1:] = halved_HWC[:, :, None, 2:]
    return image_HWC.reshape(rows, 2 * pairs, 3)


def _unpacked(segment: bytes, num_bytes: int) -> bytes:
    """The bytes of one segment. Raises Unreadable where they are fewer than `num_bytes`, or far more."""
    unpacked = bytearray()
    at = num_idle = 0
    while at < len(segment) and len(unpacked) < num_bytes and num_idle <= MAX_IDLE_RUNS:
        count = segment[at]
        if count < 128:  # so many bytes and one more, as they stand
            unpacked += segment[at + 1 : at + 2 + count]
            at += count + 2
        elif count > 128:  # one byte, so many times
            unpacked += segment[at + 1 : at + 2] * (257 - count)
            at += 2
        else:
            at, num_idle = at + 1, num_idle + 1
    if len(unpacked) < num_bytes:
        raise Unreadable(f"DICOM that is cut: its run lengths become {len(unpacked):,} bytes and not {num_bytes:,}")
    if len(segment) - at > SPARE_BYTES:
        raise Unreadable("DICOM whose run lengths become more than its pixels")
    return bytes(unpacked[:num_bytes])
