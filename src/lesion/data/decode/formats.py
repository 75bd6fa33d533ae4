"""Formats: recognises a file's format by its first bytes, for messages about files that no decoder here reads."""

from __future__ import annotations

import codecs
import re

READ = ("JPEG", "PNG", "TIFF", "WebP", "BMP", "JPEG 2000", "GIF", "DICOM")

# Files in boxes (ISO 14496-12) name their brand in the first; mif1 alone says that the picture is HEIF of some kind.
BRANDS = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    b"crx ": "camera RAW",
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"),
}
BEGINNINGS = {
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"II\xbc": "JPEG XR",
    b"%PDF-": "PDF",
    b"%!PS": "PostScript",
    b"FUJIFILMCCD-RAW": "camera RAW",
    b"IIRO": "camera RAW",
    b"IIRS": "camera RAW",
    b"MMOR": "camera RAW",
    b"IIU\0": "camera RAW",
    b"FOVb": "camera RAW",
    b"8BPS": "Photoshop",
    b"\0\0\1\0": "ICO",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"SIMPLE  =": "FITS",
    b"NRRD": "NRRD",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF\r\n": "HDF5",
    b"PK\3\4": "ZIP",
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"7z\xbc\xaf": "7-Zip",
    b"\x1aE\xdf\xa3": "a video",
}
BASE64_BEGINNINGS = (b"/9j/", b"iVBORw0KGgo", b"R0lGOD", b"SUkqA", b"TU0AK", b"UklGR", b"Qk0", b"data:image/")
JPEG = b"\xff\xd8\xff"
JPEG_FRAMES = [bytes([marker]) for marker in (0xC0, 0xC1, 0xC2)]
JPEG_KINDS = {b"\xc3": "lossless JPEG", b"\xf7": "JPEG-LS", b"\xc9": "JPEG in arithmetic coding"}
MAX_JPEG_SEGMENTS = 2_000
TEXTS = {"JSON", "base64", "HTML", "XML", "a form"}
MARKUP = re.compile(rb"<(svg|!doctype html|html)\b", re.IGNORECASE)


class NotRead(ValueError):
    """A file that is whole, in a form that is not read: what form, and what to do."""

    def __init__(self, what: str, do: str) -> None:
        super().__init__(what)
        self.do = do


def name_format(content: bytes) -> str | None:
    """The format of `content`, which no decoder here reads: "HEIC", "JSON"; None if unknown."""
    if content[4:8] == b"ftyp":
        brands = [content[8:12], *(content[start : start + 4] for start in range(16, min(_box_end(content), 64), 4))]
        return next((BRANDS[brand] for brand in brands if brand in BRANDS), "a video")
    if content[:4] in {b"II*\0", b"MM\0*"} and content[8:10] == b"CR":
        return "camera RAW"
    for beginning, name in BEGINNINGS.items():
        if content.startswith(beginning):
            return name
    if content.startswith(JPEG):
        return _name_jpeg(content)
    if content[:4] == b"RIFF" and content[8:12] in {b"AVI ", b"WAVE"}:
        return "a video"
    return _name_text(content[:4096].removeprefix(codecs.BOM_UTF8).lstrip())


LFS_POINTER = b"version https://git-lfs"  # what a checkout without Git LFS has in place of a file


def explain(content: bytes) -> tuple[str, str]:
    """Why no decoder here reads `content`, and what to do."""
    read = f"{', '.join(READ[:-1])} and {READ[-1]} are read"
    if not content:
        return "it is empty", "Replace it with a whole image file."
    if content.startswith(LFS_POINTER):
        return "it is a Git LFS pointer and not the image itself", "Fetch the images: git lfs pull."
    name = name_format(content)
    if name is None:
        return "not an image in a known format", f"Replace it with a whole image file: {read}."
    do = "Give the image's file itself" if name in TEXTS else "Convert it"
    return f"it looks like {name}, which is not read as an image", f"{do}: {read}."


def _name_jpeg(content: bytes) -> str | None:
    """Which kind of JPEG, of those that no camera writes and that are not read (ITU-T T.81, table B.1)."""
    at = len(JPEG) - 1
    for _ in range(MAX_JPEG_SEGMENTS):
        marker, size, bits = (
            content[at + 1 : at + 2],
            int.from_bytes(content[at + 2 : at + 4]),
            content[at + 4 : at + 5],
        )
        if marker in JPEG_KINDS:
            return JPEG_KINDS[marker]
        if marker in JPEG_FRAMES:
            return None if bits == b"\x08" else f"JPEG of {bits[0] if bits else 'unknown'} bits a sample"
        if content[at : at + 1] != b"\xff" or size < 2:
            return None
        at += 2 + size
    return None


def _name_text(text: bytes) -> str | None:
    if text[:1] in {b"{", b"["}:
        return "JSON"
    if text.startswith(BASE64_BEGINNINGS):
        return "base64"
    if text[:1] == b"<" and (found := MARKUP.search(text)):
        return "SVG" if found[1].lower() == b"svg" else "HTML"
    if text.startswith(b"<?xml"):
        return "XML"
    if text.startswith(b"--") and b"content-disposition" in text.lower():
        return "a form"
    return None


def _box_end(content: bytes) -> int:
    return int.from_bytes(content[:4], "big")
