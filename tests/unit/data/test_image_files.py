"""Image files: the content says what is an image; an ending that images usually have spares a look."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from factories import dicom_file
from lesion.data.decode import images
from lesion.data.decode.image_files import are_dicom, image_files
from lesion.data.sources.location import walk_images
from lesion.errors import UserError


def picture(kind: str, **options: object) -> bytes:
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(file := io.BytesIO(), kind, **options)
    return file.getvalue()


def bare(content: bytes) -> bytes:
    """A DICOM file without its preamble."""
    return content[132:]


def plainest(content: bytes) -> bytes:
    """A DICOM file without preamble and file header, as old scanners write it; this one in explicit little endian."""
    return content[content.index(b"\x08\0\x16\0UI") :]


IMAGES = {
    "JPEG": picture("JPEG"),
    "PNG": picture("PNG"),
    "TIFF": picture("TIFF"),
    "TIFF of big numbers": picture("TIFF", big_tiff=True),
    "WebP": picture("WEBP"),
    "BMP": picture("BMP"),
    "GIF": picture("GIF"),
    "JPEG 2000": picture("JPEG2000"),
    "JPEG 2000 codestream": picture("JPEG2000", no_jp2=True),
    "DICOM": dicom_file(),
    "DICOM without preamble": bare(dicom_file()),
    "gzip of a DICOM file": gzip.compress(dicom_file()),
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",  # the decoder says what it is
}
OTHERS = {
    "text": b"BMW and GIF are words\n",
    "CSV": b"image_name,target\na,0\n",
    "JSON": b'{"a": 1}',
    "Thumbs.db": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
    "PDF": b"%PDF-1.7\n",
    "ZIP": b"PK\3\4" + bytes(60),
    "gzip of a text": gzip.compress(b"image_name,target\n" * 9),
    "gzip that is none": b"\x1f\x8b\x08\x00 nothing",
    "the number 2": b"\x02\0\0\0" + bytes(500),
    "numbers that begin as DICOM may": b"\x08\0\x05\0\0\0\0\0" + bytes(500),
    "AVI": b"RIFF\x24\0\0\0AVI LIST",
    "DICOMDIR": bytes(128) + b"DICM\x02\0\x02\0UI\x14\x001.2.840.10008.1.3.10\0",
    "nothing": b"",
}


@pytest.mark.parametrize("name", ["IM0001", "1.2.840.7", "a.img", "a.JFIF", "a.jpg", "a.IMA"])
@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_is_one_whatever_its_file_is_called(tmp_path, kind, name):
    (tmp_path / name).write_bytes(IMAGES[kind])
    assert walk_images(tmp_path) == [tmp_path / name]


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_image_is_passed_over(tmp_path, kind):
    for name in ("IM0001", "a.unknown", "README"):
        (tmp_path / name).write_bytes(OTHERS[kind])
    assert walk_images(tmp_path) == []


def test_a_file_that_is_called_an_image_is_left_to_the_decoder(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"text")
    assert walk_images(tmp_path) == [tmp_path / "a.jpg"]
    with pytest.raises(UserError, match=r"cannot be decoded.*a\.jpg"):
        images.read(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    "name", ["a.txt", "a.csv.gz", "photo.NEF", "a.jpg.bak", "DICOMDIR", "dicomdir.dcm", "v.nii.gz"]
)
def test_some_names_say_that_a_file_is_no_image_of_its_own(tmp_path, name):
    (tmp_path / name).write_bytes(picture("JPEG"))
    assert walk_images(tmp_path) == []


def test_what_gzip_packed_is_an_image_unless_it_lies_there_unpacked(tmp_path):
    for name in ("a.dcm.gz", "b.dcm.gz", "c.gz"):
        (tmp_path / name).write_bytes(gzip.compress(dicom_file()))
    (tmp_path / "a.dcm").write_bytes(dicom_file())
    assert [path.name for path in walk_images(tmp_path)] == ["a.dcm", "b.dcm.gz", "c.gz"]
    np.testing.assert_array_equal(images.read(tmp_path / "b.dcm.gz"), images.read(tmp_path / "a.dcm"))


def test_only_files_of_unknown_ending_are_opened_and_each_once(tmp_path, monkeypatch):
    opened: list[str] = []
    open_file = os.open

    def watched(path, *arguments, **options):
        opened.append(Path(path).name)
        return open_file(path, *arguments, **options)

    for name in ("a.jpg", "b.dcm", "c.txt", "d", "e.jfif", "f.log", "g.unknown"):
        (tmp_path / name).write_bytes(picture("JPEG"))
    monkeypatch.setattr(os, "open", watched)
    for _ in range(3):
        assert [path.name for path in walk_images(tmp_path)] == ["a.jpg", "b.dcm", "d", "e.jfif", "g.unknown"]
    assert sorted(opened) == ["d", "g.unknown"]
    (tmp_path / "d").write_text("no longer an image")
    assert tmp_path / "d" not in walk_images(tmp_path)


def test_pipes_devices_and_dangling_links_without_ending_are_passed_over_and_never_opened(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "itself").symlink_to("itself")
    monkeypatch.setattr(os, "open", lambda *arguments, **options: pytest.fail(f"opened {arguments[0]}"))
    assert walk_images(tmp_path) == []


def test_dicom_is_known_by_content_and_few_files_of_other_endings_are_opened(tmp_path):
    contents = {
        "a.dcm": dicom_file(),
        "b.dcm": picture("JPEG"),  # who reads its header finds none
        "c": dicom_file(),
        "d": picture("JPEG"),
        "e.IMA": bare(dicom_file()),
        "f.png": dicom_file(),
        "g.png": dicom_file(),
        "h.jpg": picture("JPEG"),
    }
    paths = [tmp_path / name for name in contents]
    for path in paths:
        path.write_bytes(contents[path.name])
    assert image_files(paths) == paths
    assert are_dicom(paths) == [True, True, True, False, True, True, True, False]
    assert are_dicom([]) == []
