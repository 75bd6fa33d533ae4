"""Formats: files that are not read are called by their name, and none of those that are read is among them."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from factories import dicom_file
from lesion.data.decode import images
from lesion.data.decode.formats import READ, name_format
from lesion.errors import UserError


def box(brand: bytes, *compatible: bytes) -> bytes:
    """The first box of a file, as ISO 14496-12 writes it."""
    content = b"ftyp" + brand + bytes(4) + b"".join(compatible)
    return (len(content) + 4).to_bytes(4, "big") + content + bytes(64)


NOT_READ = {
    "HEIC": box(b"heic", b"mif1", b"heic"),
    "HEIC by its kind": box(b"mif1", b"mif1", b"heic"),
    "AVIF": box(b"avif", b"mif1"),
    "AVIF among its kinds": box(b"miaf", b"miaf", b"avif"),
    "camera RAW of Canon": box(b"crx ", b"crx ", b"isom"),
    "camera RAW of Canon, older": b"II*\0\x10\0\0\0CR\2\0" + bytes(32),
    "camera RAW of Fuji": b"FUJIFILMCCD-RAW 0201" + bytes(32),
    "a video": box(b"isom", b"mp41"),
    "JPEG XL": b"\xff\x0a" + bytes(32),
    "JPEG XL in a box": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(32),
    "PDF": b"%PDF-1.7\n",
    "SVG": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "HTML": b"<!DOCTYPE html><html></html>",
    "JSON": b'\xef\xbb\xbf {"image": ""}',
    "base64": base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(100)),
    "ZIP": b"PK\3\4" + bytes(26),
    "gzip": b"\x1f\x8b" + bytes(26),
    "Photoshop": b"8BPS\0\1" + bytes(26),
}


@pytest.mark.parametrize("name", NOT_READ)
def test_a_file_that_is_not_read_is_refused_by_its_name_with_those_that_are(name):
    with pytest.raises(UserError) as refusal:
        images.decode(NOT_READ[name], name="a.file")
    said = str(refusal.value)
    assert refusal.value.kind == "unreadable_image" and "a.file" in said
    assert name.partition(" of ")[0].partition(" by ")[0].partition(" in ")[0].partition(" among ")[0] in said
    assert all(read in said for read in READ)


def test_empty_is_called_empty():
    with pytest.raises(UserError, match="it is empty"):
        images.decode(b"")


def test_a_pointer_of_git_lfs_is_called_so():
    with pytest.raises(UserError, match="a Git LFS pointer and not the image itself"):
        images.decode(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")


def test_what_is_of_no_known_kind_is_told_what_is_read():
    with pytest.raises(UserError, match=r"not an image in a known format.*JPEG 2000"):
        images.decode(b"hello")


@pytest.mark.parametrize("kind", images.FORMATS)
def test_a_format_that_is_read_has_no_other_name(kind):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(file := io.BytesIO(), kind)
    assert name_format(file.getvalue()) is None
    assert kind in {name.upper().replace(" ", "") for name in READ}


def test_dicom_has_no_other_name():
    assert name_format(dicom_file()) is None


@given(st.binary(max_size=100))
def test_any_bytes_have_a_name_or_none(content):
    name = name_format(content)
    assert name is None or json.dumps(name)
