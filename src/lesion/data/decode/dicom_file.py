"""A DICOM file's elements: those before the pixels first, so that memory can be booked before the pixels are copied.

Parsed by pydicom, which may read so often and so much and not more; what is deflated is unpacked up to the pixels' end.
"""

from __future__ import annotations

import logging
import struct
import zlib
from typing import Any

from lesion.data.decode.dicom_tables import BIG_ENDIAN, Unreadable
from lesion.data.decode.pieces import PiecewiseFile

MAGIC = b"DICM"  # after a preamble of 128 bytes
IMPLICIT, EXPLICIT, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
# How files begin that lack the preamble: with an element of one of these groups, near its start.
FIRST_GROUPS, LAST_FIRST_ELEMENT = {0x0002, 0x0008}, 0x0020
FIRST_KINDS = {b"UL", b"UI", b"CS", b"OB", b"DA", b"TM", b"DT", b"SQ", b"SH", b"LO"}  # of values
MAX_FIRST_BYTES = 256  # of that element's value, where its kind is not stated
MAX_READS = 200_000  # by pydicom, two or three for each element or item: some hundred, or thousands in many frames
MAX_ELEMENT_BYTES = 2**18  # of one that describes the pixels; the longest tables have 2**17
MAX_DEFLATED_HEADER_BYTES, MAX_DEFLATED_BYTES = 2**24, 2**29  # unpacked: before the pixels; up to their end
ITEM = b"\xfe\xff\x00\xe0"  # before each part of the compressed frames
MAX_FRAGMENTS = 500_000  # of compressed frames; Python takes a microsecond for each
ICC_PROFILE = 0x00282000  # may be long: nobody parses it
PER_FRAME, SHARED = 0x52009230, 0x52009229  # functional groups


def is_dicom(content: bytes) -> bool:
    """Whether these bytes begin as a DICOM file: with its preamble, or without one by its first element."""
    if content[128:132] == MAGIC:
        return True
    if len(content) < 8:
        return False
    for order in "<>":
        group, element = struct.unpack_from(f"{order}HH", content)
        if group in FIRST_GROUPS and element <= LAST_FIRST_ELEMENT:
            is_short = order == "<" and int.from_bytes(content[4:8], "little") <= MAX_FIRST_BYTES
            return content[4:6] in FIRST_KINDS or is_short
    return False


class DicomFile:
    """A file's elements. `dataset` holds those before the pixels; `load_pixels` adds the rest."""

    def __init__(self, content: bytes) -> None:
        """Raises Unreadable, and whatever pydicom raises for a file that it cannot parse."""
        import pydicom  # here: most jobs meet no DICOM file

        # Odd values are no reason to warn, least of all in a log, which must hold no patient's data.
        pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
        logging.getLogger("pydicom").setLevel(logging.CRITICAL)
        self._content = content
        self._deflated_at: int | None = None
        self._file: PiecewiseFile = _HeaderFile(content, max_reads=MAX_READS, max_bytes=len(content) + 2**20)
        try:
            self.dataset: Any = pydicom.dcmread(self._file, force=True, stop_before_pixels=True)
        except _Deflated as found:
            self._deflated_at = found.at
            self.dataset = self._deflated_header(found.at)
        self.states_syntax = bool(self.dataset.file_meta.get("TransferSyntaxUID"))
        if not self.states_syntax:  # then pydicom took it from the first element
            is_implicit, is_little = self.dataset.original_encoding
            guessed = IMPLICIT if is_implicit else EXPLICIT if is_little else BIG_ENDIAN
            self.dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(guessed)
        _check_lengths(self.dataset)

    @property
    def syntax(self) -> str:
        """The transfer syntax, as its UID."""
        return str(self.dataset.file_meta.TransferSyntaxUID)

    @property
    def pixel_bytes(self) -> int:
        """The most that `load_pixels` takes. Raises Unreadable for a deflated file that becomes too long."""
        if self._deflated_at is None:
            return len(self._content)
        num_bytes = self._inflated_bytes()
        if num_bytes > MAX_DEFLATED_BYTES:
            raise Unreadable(
                f"DICOM of deflated transfer syntax that becomes {num_bytes:,} bytes, more than {MAX_DEFLATED_BYTES:,}"
            )
        return 2 * num_bytes

    def load_pixels(self) -> None:
        """Reads the pixels, and what comes after them, into `dataset`."""
        from pydicom.filereader import read_dataset

        is_implicit, is_little = self.dataset.original_encoding
        if self._deflated_at is not None:
            at = self._file.tell()
            content = _inflated(self._content, self._deflated_at, self._inflated_bytes())
            self._file = PiecewiseFile(content, max_reads=MAX_READS, max_bytes=len(content) + 2**20)
            self._file.seek(at)
        self._file.allow(max_reads=MAX_READS, max_bytes=len(self._file.getbuffer()) + 2**20)
        rest = read_dataset(self._file, is_implicit, is_little)
        _check_lengths(rest)
        for tag in rest.keys():  # noqa: SIM118  a dataset is no dictionary
            self.dataset[tag] = rest.get_item(tag)

    def pixels(self) -> bytes:
        """The pixels of all frames, once they are loaded. Raises Unreadable where there are none."""
        element = self.dataset.get_item("PixelData") if "PixelData" in self.dataset else None
        if element is None or not element.value:
            has_floats = "FloatPixelData" in self.dataset or "DoubleFloatPixelData" in self.dataset
            raise Unreadable("a DICOM file of floating-point pixels" if has_floats else "a DICOM file without pixels")
        if not self.states_syntax and getattr(element, "is_undefined_length", False):
            raise Unreadable("DICOM that does not state its transfer syntax")
        return bytes(element.value)

    @property
    def kind_of_pixels(self) -> str:
        """The pixels' VR."""
        return str(self.dataset["PixelData"].VR)

    def frame(self, index: int, num_frames: int) -> bytes:
        """A compressed frame. Raises Unreadable for one in far too many parts."""
        from pydicom.encaps import get_frame

        stored, offsets = self.pixels(), None
        if stored.count(ITEM) > MAX_FRAGMENTS:
            raise Unreadable(f"DICOM whose frames are in more than {MAX_FRAGMENTS:,} parts")
        if "ExtendedOffsetTable" in self.dataset and "ExtendedOffsetTableLengths" in self.dataset:
            offsets = self.dataset.ExtendedOffsetTable, self.dataset.ExtendedOffsetTableLengths
        return get_frame(stored, index, number_of_frames=num_frames, extended_offsets=offsets)

    def groups(self, frame: int) -> list[Any]:
        """The functional groups of a frame, its own before the one that all share, where there are any."""
        found = []
        for tag, index in ((PER_FRAME, frame), (SHARED, 0)):
            items = self._items(tag)
            if index < len(items):
                _check_lengths(items[index])
                for element in items[index]:
                    if element.VR == "SQ" and element.value:
                        _check_lengths(element.value[0])
                found.append(items[index])
        return found

    def _items(self, tag: int) -> Any:
        """The items of a sequence, read as bounded as the file itself."""
        from pydicom.filereader import read_sequence

        if tag not in self.dataset:
            return []
        element = self.dataset.get_item(tag)
        if not isinstance(element.value, bytes):  # of unknown length: it is parsed already
            return element.value or []
        file = PiecewiseFile(element.value, max_reads=MAX_READS, max_bytes=len(element.value) + 2**20)
        is_implicit, is_little = self.dataset.original_encoding
        return read_sequence(file, is_implicit, is_little, len(element.value), "iso8859")

    def _deflated_header(self, at: int) -> Any:
        from pydicom.dataset import FileDataset, FileMetaDataset
        from pydicom.filereader import read_dataset
        from pydicom.uid import UID

        content = _inflated(self._content, at, MAX_DEFLATED_HEADER_BYTES)
        self._file = PiecewiseFile(content, max_reads=MAX_READS, max_bytes=len(content) + 2**20)
        found = read_dataset(self._file, False, True, stop_when=lambda tag, _, __: tag.group == 0x7FE0)
        if len(content) == MAX_DEFLATED_HEADER_BYTES == self._file.tell():
            raise Unreadable(
                f"DICOM of deflated transfer syntax that becomes {len(content):,} bytes before its pixels come"
            )
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = UID(DEFLATED)
        dataset = FileDataset("", found, file_meta=meta, is_implicit_VR=False, is_little_endian=True)
        dataset.set_original_encoding(False, True, "iso8859")
        return dataset

    def _inflated_bytes(self) -> int:
        """The length of a deflated file up to the end of its pixels."""
        at = self._file.tell()
        head = bytes(self._file.getbuffer()[at : at + 12])
        if len(head) < 12:
            return at
        (length,) = struct.unpack_from("<I", head, 8)
        return at + 12 + int(length)


class _Deflated(Exception):
    def __init__(self, at: int) -> None:
        super().__init__("deflated")
        self.at = at


class _HeaderFile(PiecewiseFile):
    """A DICOM file for pydicom with bounded reads. Reading all the rest at once is what only inflating does: it would
    be unpacked without a bound, a zip bomb too.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            raise _Deflated(self.tell())
        return super().read(size)


def _inflated(content: bytes, at: int, num_bytes: int) -> bytes:
    """Up to so many bytes of what is deflated from `at` on (PS3.5, A.5). Raises Unreadable where that is broken."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(memoryview(content)[at:], num_bytes)
    except zlib.error as error:
        raise Unreadable(f"DICOM whose deflated part is broken: {error}") from error


def _check_lengths(dataset: Any) -> None:
    """Raises Unreadable for an element, other than the pixels, so long that pydicom would parse it for minutes."""
    for tag in dataset.keys():  # noqa: SIM118  a dataset is no dictionary
        element = dataset.get_item(tag)
        is_long = isinstance(element.value, bytes | str) and len(element.value) > MAX_ELEMENT_BYTES
        if tag.group == 0x28 and is_long and tag != ICC_PROFILE:
            raise Unreadable(f"DICOM whose element {tag} is {len(element.value):,} bytes long")
    for name in ("ModalityLUTSequence", "VOILUTSequence"):
        for item in dataset.get(name) or ():
            _check_lengths(item)
