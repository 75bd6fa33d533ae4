"""Reading: any bytes become rows or a word for the user, and faults of the machine are told as such."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import random
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lesion.data.decode.reading import file_content, file_text, parse_json, reading
from lesion.data.sources import augmented_manifest, lst
from lesion.data.sources.csv_folder import CsvFolder
from lesion.data.sources.webdataset import WebDataset
from lesion.data.table import Columns
from lesion.errors import PlatformError, UserError
from lesion.prepare.annotations import read_annotations

TARGET = Columns(targets=("target",), are_targets_needed=True)
SQUARE = [[0, 0], [9, 0], [9, 9], [0, 0]]
FEATURE = {"type": "Feature", "properties": {"name": "a"}, "geometry": {"type": "Polygon", "coordinates": [SQUARE]}}


def good_shard() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in {
            "a.json": b'{"target": 1}',
            "b" * 120 + ".cls": b"0",
            "c.cls": b"1",
            "c.png": b"no",
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()[:7168]


# A good file of each kind, how it is called, and what reads it.
READERS: dict[str, tuple[str, bytes, Callable[[Path], object]]] = {
    "csv": (
        "train.csv",
        b'image_name,target,sex\na,0,"male"\nb,1,female\n',
        lambda path: CsvFolder(path, TARGET).table(),
    ),
    "lst": ("train.lst", b"1\t0\ta.jpg\n2\t1\tb/c.jpg\n", lst.parse),
    "manifest": (
        "train.manifest",
        b'{"source-ref": "s3://b/a.jpg", "target": [0, 1], "target-metadata": {"class-map": {"0": "x", "1": "y"}}}\n'
        b'{"source-ref": "s3://b/b.jpg", "target": "[1]", "age": 1e3}\n',
        lambda path: augmented_manifest.AugmentedManifest(path, path.parent, TARGET).table(),
    ),
    "shard": ("train.tar", good_shard(), lambda path: WebDataset([path], TARGET).table()),
    "geojson": ("a.geojson", json.dumps([FEATURE]).encode(), read_annotations),
    "asap": (
        "a.xml",
        b'<ASAP_Annotations><Annotation Name="a" Type="Polygon" PartOfGroup="x"><Coordinate X="0" Y="0"/>'
        b'<Coordinate X="9" Y="0"/><Coordinate X="9" Y="9"/></Annotation></ASAP_Annotations>',
        read_annotations,
    ),
}  # fmt: skip
SPLICES = [
    *(b"\0", b"\xff", b"\n", b"\t", b",", b'"', b"[", b"{", b"}", b"1e999", b"NaN", b"-1", b"\\ud800", b"\\u0000"),
    *(b"1" * 5000, b"[" * 2000, b"\x80" * 12, b"\xff" * 12, b"null", b"true", b'"target"', b"S", b"L", b"x", b"77777"),
]


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The bytes cut, doubled, overwritten or with something of SPLICES among them; a tar's checksums set right."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(len(changed) + 1)
        end = min(len(changed), at + rng.choice([0, 1, 4, 12, 100]))
        changed[at:end] = rng.choice([*SPLICES, b"", changed[at:end] * 2])
    for start in range(0, len(changed) - 511, 512):
        if changed[start + 257 : start + 262] == b"ustar" and rng.random() < 0.9:
            changed[start + 148 : start + 156] = b" " * 8
            changed[start + 148 : start + 156] = b"%06o\0 " % sum(changed[start : start + 512])
    return bytes(changed)


def read(kind: str, content: bytes, folder: Path) -> object:
    name, _, reader = READERS[kind]
    path = folder / name
    path.write_bytes(content)
    try:
        return reader(path)
    except UserError as error:
        assert name in str(error) and "\n" not in str(error.what), error
        return None


@pytest.mark.parametrize("kind", READERS)
def test_the_good_file_is_read(kind, tmp_path):
    assert read(kind, READERS[kind][1], tmp_path) is not None


@pytest.mark.parametrize("kind", READERS)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_a_mutated_file_is_read_or_refused_in_words(kind, seed, tmp_path):
    read(kind, mutated(READERS[kind][1], random.Random(seed)), tmp_path)


@pytest.mark.parametrize("kind", READERS)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=2000))
@example(content=b"")
@example(content=b"\xef\xbb\xbf")
@example(content=b"[" * 100_000)
@example(content=b"1" * 10_000)
@example(content=b'{"source-ref": "a", "target": ' + b"1" * 4299 + b"}")
def test_any_bytes_are_refused_in_words(kind, content, tmp_path):
    read(kind, content, tmp_path)


def test_a_member_that_leads_back_does_not_go_round_for_ever(tmp_path):
    """tarfile follows sizes below nothing backwards (CVE-2025-8194)."""
    info = tarfile.TarInfo("a.png")
    info.size = -1536
    started = time.monotonic()
    assert read("shard", good_shard() + info.tobuf(tarfile.GNU_FORMAT), tmp_path) is None
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.ENOMEM, errno.EMFILE])
def test_a_fault_of_the_machine_is_the_platforms(number):
    with pytest.raises(PlatformError, match="cannot be read"), reading("a.csv", "cannot be read", do="Do."):
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    "error",
    [
        *(KeyError("a"), ValueError("a\nb"), TypeError(), RecursionError(), MemoryError(), OverflowError("x")),
        *(PermissionError(errno.EACCES, "no"), AttributeError("\x1b[2J"), EOFError(), RuntimeError("x" * 5000)),
    ],
    ids=repr,
)
def test_what_a_library_raises_is_one_sentence_for_the_user(error):
    with pytest.raises(UserError) as caught, reading("a.csv", "cannot be read", do="Do."):
        raise error
    text = str(caught.value)
    assert text.startswith("cannot be read: ") and text.endswith(" (a.csv). Do.") and len(text) < 300
    assert text.isprintable() and caught.value.__cause__ is error


def test_an_error_in_words_passes_as_it_is():
    said = UserError("what", where="x", do="Do.")
    with pytest.raises(UserError) as caught, reading("a.csv", "cannot be read", do="Do."):
        raise said
    assert caught.value is said


def test_a_file_is_read_whole_and_through_a_link(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    (tmp_path / "b").symlink_to("a")
    assert file_content(tmp_path / "b", max_bytes=100_000) == b"x" * 100_000
    with pytest.raises(UserError, match="the file has 100,000 bytes, more than 99,999"):
        file_content(tmp_path / "b", max_bytes=99_999)


@pytest.mark.parametrize(
    "text",
    [
        *('{"a": 1, "a": 2}', '{"a": [{"b": 1, "b": 2}]}', "[" * 100_000, "1" * 5000),
        *('"\\ud800"', '"\\u0000"', "", "{", b"\xff"),
    ],
    ids=lambda text: repr(text[:20]),
)
def test_json_that_could_not_be_meant_is_a_value_error(text):
    with pytest.raises(ValueError):
        parse_json(text)


def test_json_is_read_as_the_library_does_and_nan_is_nothing():
    assert parse_json('{"a": [1, 2.5, "\\ud83d\\ude00", NaN]}') == {"a": [1, 2.5, "😀", None]}


def test_what_gzip_packed_is_read_unpacked_and_bounded(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    assert file_text(path, "no table", do="Save it.") == "one\ntwo\n"
    path.write_bytes(gzip.compress(bytes(1000)))
    assert file_content(path, max_bytes=1000) == bytes(1000)
    with pytest.raises(UserError, match=r"gzip unpacks it to more than 999 bytes.*gunzip FILE"):
        file_content(path, max_bytes=999)
    path.write_bytes(gzip.compress(bytes(1000))[:-9])
    with pytest.raises(UserError, match="not a whole gzip file"):
        file_content(path, max_bytes=2000)
