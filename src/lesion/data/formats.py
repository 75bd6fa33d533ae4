"""Formats: what the bytes of a file plainly are, told by their beginning, where no decoder here reads them."""

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
TEXTS = {"JSON", "base64", "HTML", "XML", "a form"}
MARKUP = re.compile(rb"<(svg|!doctype html|html)\b", re.IGNORECASE)


def name_format(content: bytes) -> str | None:
    """What `content`, which no decoder here has taken, plainly is: "HEIC", "JSON"; None where that cannot be told."""
    if content[4:8] == b"ftyp":
        brands = [content[8:12], *(content[start : start + 4] for start in range(16, min(_box_end(content), 64), 4))]
        return next((BRANDS[brand] for brand in brands if brand in BRANDS), "a video")
    if content[:4] in {b"II*\0", b"MM\0*"} and content[8:10] == b"CR":
        return "camera RAW"
    for beginning, name in BEGINNINGS.items():
        if content.startswith(beginning):
            return name
    if content[:4] == b"RIFF" and content[8:12] in {b"AVI ", b"WAVE"}:
        return "a video"
    return _name_text(content[:4096].removeprefix(codecs.BOM_UTF8).lstrip())


def explain(content: bytes) -> tuple[str, str]:
    """Why no decoder here takes `content`, and what to do."""
    read = f"{', '.join(READ[:-1])} and {READ[-1]} are read"
    if not content:
        return "it is empty", "Replace it with a whole image file."
    name = name_format(content)
    if name is None:
        return "not an image in a known format", f"Replace it with a whole image file: {read}."
    do = "Give the image's file itself" if name in TEXTS else "Convert it"
    return f"it looks like {name}, which is not read as an image", f"{do}: {read}."


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
