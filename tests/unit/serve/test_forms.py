"""Forms: every part of a form counts: it is the picture, it is metadata, or it is refused by name."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from lesion.errors import UserError
from lesion.serve.records import Invocation, Record
from lesion.serve.requests import decode

PICTURE = (Path(__file__).parents[2] / "golden" / "artifact_v2" / "picture.png").read_bytes()
IMAGE = ('name="image"; filename="a.png"', "Content-Type: image/png", PICTURE)


def ask(*parts: tuple[str, str, bytes]) -> Invocation:
    """A form of (disposition, further headers, content), as programs write it by hand."""
    body = b"".join(
        "\r\n".join(
            ["--frontier", f"Content-Disposition: form-data; {disposition}", *filter(None, [headers]), "", ""]
        ).encode()
        + content
        + b"\r\n"
        for disposition, headers, content in parts
    )
    content_type = "multipart/form-data; boundary=frontier"
    return decode(body + b"--frontier--\r\n", content_type, metadata_columns=["sex", "age_approx"])


def read(*parts: tuple[str, str, bytes]) -> Record:
    [record] = ask(*parts).records
    assert isinstance(record, Record)
    return record


def refused(*parts: tuple[str, str, bytes]) -> str:
    with pytest.raises(UserError) as refusal:
        ask(*parts)
    assert refusal.value.kind == "bad_request"
    return str(refusal.value)


PICTURES = {
    "with a file's name": IMAGE,
    "without a file's name": ('name="image"', "Content-Type: image/png", PICTURE),
    "without a type": ('name="image"', "", PICTURE),
    "in another case": ('name="IMAGE"; filename="a.png"', "", PICTURE),
    "by another name": ('name="photo"; filename="a.png"', "", PICTURE),
    "by another name without a file's": ('name="photo"', "Content-Type: image/png", PICTURE),
    "larger than all fields may be": ('name="image"', "Content-Type: image/png", PICTURE + bytes(2**21)),
    "in base64": ('name="image"', "Content-Transfer-Encoding: base64", base64.encodebytes(PICTURE)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_the_picture_is_read_however_its_part_is_written(name):
    record = read(PICTURES[name], ('name="sex"', "", b"male"))
    assert isinstance(record.picture, bytes) and record.picture.startswith(PICTURE)
    assert len(record.picture) == len(PICTURE) + (2**21 if "larger" in name else 0)
    assert record.row == {"sex": "male"}


DOCUMENTS = {
    "a field": ('name="metadata"', "", b'{"sex": "male", "age": 45}'),
    "a file": ('name="metadata"; filename="metadata.json"', "", b'{"sex": "male", "age": 45}'),
    "a file with its type": (
        'name="json_data"; filename="blob"',
        "Content-Type: application/json",
        b'{"sex": "male", "age": 45}',
    ),
    "a file with a BOM": ('name="Metadata"; filename="m.json"', "", b'\xef\xbb\xbf{"sex": "male", "age": 45}'),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_json_is_the_metadata_as_a_field_and_as_a_file(name):
    assert read(IMAGE, DOCUMENTS[name]).row == {"sex": "male", "age_approx": 45}


@pytest.mark.parametrize(
    ("charset", "content"), [("iso-8859-1", b"m\xe4nnlich"), ("UTF-8", "männlich".encode()), ("", "männlich".encode())]
)
def test_a_field_is_read_in_the_character_set_that_it_names(charset, content):
    headers = f"Content-Type: text/plain; charset={charset}" if charset else ""
    assert read(IMAGE, ('name="sex"', headers, content)).row == {"sex": "männlich"}


def test_a_file_that_a_browsers_user_did_not_choose_is_not_there():
    assert read(IMAGE, ('name="metadata"; filename=""', "Content-Type: application/octet-stream", b"")).row == {}


REFUSED = {
    "no picture": ([('name="sex"', "", b"male")], ["0 images"]),
    "two pictures of one name": ([IMAGE, IMAGE], ["2 images", "'image', 'image'"]),
    "two pictures of other names": (
        [('name="a"; filename="a.png"', "", PICTURE), ('name="b"; filename="b.png"', "", PICTURE)],
        ["'a', 'b'"],
    ),
    "a stray file": ([IMAGE, ('name="data"; filename="metadata.json"', "", b"{}")], ["'data'", "'metadata'"]),
    "a column as a file": ([IMAGE, ('name="sex"; filename="sex.txt"', "", b"male")], ["'sex'"]),
    "a field twice": ([IMAGE, ('name="sex"', "", b"male"), ('name="sex"', "", b"female")], ["'sex' twice"]),
    "a field by two names": (
        [IMAGE, ('name="age"', "", b"1"), ('name="age_approx"', "", b"2")],
        ["'age'", "'age_approx'"],
    ),
    "a field beside the JSON": (
        [IMAGE, ('name="sex"', "", b"male"), ('name="metadata"', "", b'{"sex": "female"}')],
        ["'sex' is sent twice"],
    ),
    "its short name beside the JSON": (
        [IMAGE, ('name="age"', "", b"1"), ('name="metadata"', "", b'{"age_approx": 1}')],
        ["'age'", "'age_approx'"],
    ),
    "two documents": (
        [IMAGE, ('name="json_data"', "", b"{}"), ('name="metadata"', "", b"{}")],
        ["'json_data'", "'metadata'"],
    ),
    "a document twice": ([IMAGE, ('name="metadata"', "", b"{}"), ('name="metadata"', "", b"{}")], ["twice"]),
    "a document that is none": ([IMAGE, ('name="metadata"; filename="a"', "", PICTURE)], ["'metadata' is not"]),
    "a part without a name": ([IMAGE, ('filename="a.png"', "", PICTURE)], ["no name"]),
    "an unknown character set": (
        [IMAGE, ('name="sex"', "Content-Type: text/plain; charset=rot13", b"znyr")],
        ["rot13"],
    ),
    "not the character set": ([IMAGE, ('name="sex"', "", b"\xff")], ["'sex' is not utf-8"]),
    "quoted-printable": ([('name="image"', "Content-Transfer-Encoding: quoted-printable", PICTURE)], ["quoted-print"]),
    "too much text": ([IMAGE, ('name="sex"', "", b"m" * (2**20 + 1))], ["1,048,576 bytes"]),
    "too many parts": ([(f'name="a{number}"', "", b"") for number in range(1001)], ["1000 parts"]),
    "too many headers": ([('name="image"', "\r\n".join(["A: b"] * 21), PICTURE)], ["headers"]),
    "endless headers": ([('name="image"', "A: " + "b" * 10**6, PICTURE)], ["headers are longer"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_part_that_is_neither_is_refused_by_name(name):
    parts, words = REFUSED[name]
    said = refused(*parts)
    assert all(word in said for word in words), said


def test_a_form_without_a_boundary_is_refused_with_what_it_lacks():
    with pytest.raises(UserError, match="no boundary"):
        decode(b"--a\r\n", "multipart/form-data", metadata_columns=[])
