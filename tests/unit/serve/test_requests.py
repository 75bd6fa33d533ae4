"""Requests: every form of a request comes to the same pictures and metadata, and anything else is refused in words."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import math
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from werkzeug.test import EnvironBuilder

from dicom_files import bytes_of, dataset_of
from factories import dicom_file, with_broken_header
from lesion.data.metadata import ColumnEncoder
from lesion.errors import UserError
from lesion.serve.records import Invocation, Record, unknown_fields, unused_line
from lesion.serve.requests import CONTENT_TYPES, decode

COLUMNS = ["sex", "age_approx"]
PICTURE = (Path(__file__).parents[2] / "golden" / "artifact_v2" / "picture.png").read_bytes()
TEXT = base64.b64encode(PICTURE).decode()
ROW = {"sex": "female", "age_approx": "45"}


def ask(body: bytes | str, content_type: str) -> Invocation:
    return decode(body.encode() if isinstance(body, str) else body, content_type, metadata_columns=COLUMNS)


def form(**fields: object) -> tuple[bytes, str]:
    """As a browser or `curl --form` sends it."""
    builder = EnvironBuilder(method="POST", data={"image": (io.BytesIO(PICTURE), "a.png"), **fields})
    request = builder.get_request()
    return request.get_data(), str(request.content_type)


FORMS = {
    "payload": (json.dumps({"image": TEXT, "json_data": ROW}), "application/json"),
    "payload with text": (json.dumps({"image": TEXT, "json_data": json.dumps(ROW)}), "Application/JSON; charset=utf-8"),
    "instances": (json.dumps({"instances": [{"image": TEXT, "metadata": ROW}]}), "application/json"),
    "instance in an object": (
        json.dumps({"instances": [{"image": {"b64": TEXT}, "json_data": ROW}]}),
        "application/json",
    ),
    "payload with a BOM": (
        b"\xef\xbb\xbf" + json.dumps({"image": TEXT, "json_data": ROW}).encode(),
        "application/json",
    ),
    "payload with a data: URL": (
        json.dumps({"image": f"data:image/png;base64,{TEXT}", "json_data": ROW}),
        "application/json",
    ),
    "payload with line breaks": (
        json.dumps({"image": base64.encodebytes(PICTURE).decode(), "json_data": ROW}),
        "application/json",
    ),
    "lines": (json.dumps({"image": TEXT, "metadata": ROW}) + "\n", "application/jsonlines"),
    "csv": (f"{TEXT},female,45\n", "text/csv"),
    "csv with a header": (f"age_approx,image,sex\r\n45,{TEXT},female\r\n", "text/csv; header=present"),
    "form": form(**ROW),
    "form with JSON": form(json_data=json.dumps(ROW)),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_comes_to_the_same_picture_and_metadata(name):
    [record] = ask(*FORMS[name]).records
    assert isinstance(record, Record), record
    assert record.picture == PICTURE
    assert {key: record.metadata()[key] for key in ROW} == ROW
    assert record.pixels(max_pixels=10**6).shape[2] == 3


@pytest.mark.parametrize("content_type", ["image/jpeg", "image/webp", "application/x-image", "application/dicom", ""])
def test_a_bare_file_is_one_picture_without_metadata(content_type):
    [record] = ask(PICTURE, content_type).records
    assert record == Record(PICTURE, {}, "request body")


def test_what_a_dicom_header_says_is_overridden_by_what_came_with_it():
    content = dicom_file(PatientAge="045Y", PatientSex="F")
    [alone] = ask(content, "application/dicom").records
    assert alone.metadata() == {"age_approx": 45.0, "sex": "female"}
    for row in ({"age": 50}, {"age": 50, "sex": None}, {"age": 50, "sex": math.nan}, {"age": "50", "sex": " "}):
        body = json.dumps({"image": base64.b64encode(content).decode(), "json_data": row})
        [told] = ask(body, "application/json").records
        assert told.metadata() == {"age_approx": row["age"], "sex": "female"}
    [told] = ask(f"image,age,sex\n{base64.b64encode(content).decode()},50,\n", "text/csv").records
    assert told.metadata() == {"age_approx": "50", "sex": "female"}


def test_a_dicom_header_that_cannot_be_read_is_refused_though_its_pixels_can():
    content = with_broken_header(dicom_file(PatientAge="045Y"))
    [record] = ask(content, "application/dicom").records
    assert record.pixels(max_pixels=16).shape == (4, 4, 3)
    with pytest.raises(UserError, match="header") as refusal:
        record.metadata()
    assert refusal.value.kind == "unreadable_image"


def test_a_payload_without_a_content_type_is_known_by_its_brace():
    assert ask(FORMS["payload"][0], "").form == "payload"


@pytest.mark.parametrize("shape", [(5, 4, 3), (5, 4), (5, 4, 1), (2, 5, 4, 3)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_holds_its_pictures(shape, order):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    np.save(file := io.BytesIO(), np.asarray(array, order=order))
    records = list(ask(file.getvalue(), "application/x-npy").records)
    pictures = array if array.ndim == 4 else array[None]
    assert len(records) == len(pictures)
    for record, picture in zip(records, pictures, strict=True):
        expected = np.broadcast_to(picture.reshape(5, 4, -1), (5, 4, 3))
        np.testing.assert_array_equal(record.pixels(max_pixels=20), expected)
        with pytest.raises(UserError, match="more than 19 pixels"):
            record.pixels(max_pixels=19)


BAD_ARRAYS = {
    "floats": np.zeros((4, 4, 3)),
    "no pixels": np.zeros((0, 4, 3), np.uint8),
    "four channels": np.zeros((4, 4, 4), np.uint8),
    "five dimensions": np.zeros((1, 1, 4, 4, 3), np.uint8),
    "objects": np.array([{"a": 1}]),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_an_array_that_holds_no_pictures_is_refused(name):
    np.save(file := io.BytesIO(), BAD_ARRAYS[name])
    with pytest.raises(UserError) as refusal:
        ask(file.getvalue(), "application/x-npy")
    assert refusal.value.kind == "bad_request"


def as_file(shape: str, *, version: bytes = b"\1\0", num_bytes: int = 300) -> bytes:
    """A NumPy file whose header says what it likes."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    width = 2 if version[0] == 1 else 4
    return b"\x93NUMPY" + version + len(header).to_bytes(width, "little") + header + bytes(num_bytes)


@pytest.mark.parametrize("version", [b"\1\0", b"\2\0", b"\3\0"])
def test_an_array_is_read_in_every_version_of_numpys_format(version):
    [record] = ask(as_file("(10, 10, 3)", version=version), "application/x-npy").records
    assert record.pixels(max_pixels=100).shape == (10, 10, 3)


BAD_FILES = {
    "more than it holds": as_file("(99, 99, 3)"),
    "more than there is": as_file("(9999999999999, 10, 3)"),
    "less than it holds": as_file("(10, 9, 3)"),
    "a number to be worked out": as_file("(-1, 10, 3)"),
    "two numbers below zero": as_file("(-10, -10, 3)"),
    "no shape": as_file("print('ran')"),
    "an unknown version": as_file("(10, 10, 3)", version=b"\x09\0"),
    "no magic": b"\x93NUMPX" + as_file("(10, 10, 3)")[6:],
    "half a header": as_file("(10, 10, 3)")[:20],
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_an_array_that_is_not_what_it_claims_is_refused(name):
    with pytest.raises(UserError, match="NumPy array") as refusal:
        ask(BAD_FILES[name], "application/x-npy")
    assert refusal.value.kind == "bad_request"


@given(cells=st.lists(st.sampled_from([TEXT, "§", "", '"', "a,b,c,d,e"]), min_size=1, max_size=8), end=st.booleans())
def test_csv_has_a_record_for_each_line_good_or_bad(cells, end):
    lines = [f"{cell},male,30" for cell in cells]
    invocation = ask("\n".join(lines) + "\n" * end, "text/csv")
    for cell, record in zip(cells, invocation.records, strict=True):
        assert isinstance(record, UserError) == (cell != TEXT)


@given(
    lines=st.lists(
        st.one_of(
            st.just(json.dumps({"image": TEXT})),
            st.sampled_from(["{", "5", "null", "", "  ", "[]", '"' + TEXT + '"', '{"image": 3}', '{"metadata": []}']),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_json_lines_have_a_record_for_each_line_good_or_bad(lines):
    assume(
        any(line.strip() for line in lines) and lines[-1]
    )  # the body is not blank; nothing after a last \\n is no line
    invocation = ask("\n".join(lines), "application/jsonlines")
    for line, record in zip(lines, invocation.records, strict=True):
        assert isinstance(record, Record) == (TEXT in line)


@given(
    body=st.one_of(
        st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
    ),
    content_type=st.sampled_from([*CONTENT_TYPES, "image/png", "multipart/form-data; boundary=a", "text/csv; a=", ""]),
)
def test_any_bytes_are_a_invocation_or_refused_in_words(body, content_type):
    try:
        invocation = ask(body, content_type)
    except UserError as error:
        assert error.kind in {"bad_request", "content_type"}
    else:
        assert list(invocation.records)


ANY_TEXT = st.text(st.characters(exclude_categories=()))  # halves of surrogate pairs, too


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
        lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
        max_leaves=8,
    )
)
def test_any_json_is_a_invocation_or_refused_in_words(value):
    for fields in (value, {"image": value}, {"image": TEXT, "json_data": value}, {"instances": value}):
        try:
            invocation = ask(json.dumps(fields), "application/json")
        except UserError as error:
            assert error.kind == "bad_request"
            str(error).encode()  # can be answered and logged
        else:
            assert list(invocation.records)


@given(content_type=st.one_of(st.text(max_size=60), st.text(max_size=60).map("multipart/form-data; {}".format)))
def test_any_content_type_is_read_or_refused_in_words(content_type):
    try:
        ask(PICTURE, content_type)
    except UserError as error:
        assert error.kind in {"bad_request", "content_type"}


@given(start=st.integers(0, 400), length=st.integers(0, 400), instead=st.binary(max_size=20))
def test_any_harm_done_to_a_form_leaves_a_picture_or_is_refused_in_words(start, length, instead):
    body, content_type = FORMS["form"]
    try:
        [record] = ask(body[:start] + instead + body[start + length :], content_type).records
    except UserError as error:
        assert error.kind == "bad_request"
    else:
        assert isinstance(record, Record)


TWO_WAYS = {
    "a name twice": '{"image": "", "image": "%s"}',
    "a name twice in metadata": '{"image": "%s", "json_data": {"age": 40, "age": 50}}',
    "a name twice in a text": '{"image": "%s", "json_data": "{\\"age\\": 40, \\"age\\": 50}"}',
    "half a surrogate pair as a name": '{"image": "%s", "json_data": {"\\ud800": 1}}',
    "half a surrogate pair as a value": '{"image": "%s", "json_data": {"sex": "\\udfff"}}',
    "too many digits": '{"image": "%s", "json_data": {"age": ' + "9" * 5000 + "}}",
    "deep metadata": '{"image": "%s", "json_data": {"age": ' + "[" * 100_000 + "}}",
    "half a surrogate pair in UTF-8": b'{"image": "%s", "json_data": {"sex": "\xed\xa0\x80"}}',
    "Latin-1": '{"image": "%s", "json_data": {"sex": "\xe9"}}'.encode("latin-1"),
}


@pytest.mark.parametrize("name", TWO_WAYS)
def test_json_that_can_be_understood_in_two_ways_is_refused_alone_and_as_a_line(name):
    form = TWO_WAYS[name]
    bad = form % TEXT.encode() if isinstance(form, bytes) else (form % TEXT).encode()
    with pytest.raises(UserError, match="is not JSON") as refusal:
        ask(bad, "application/json")
    assert refusal.value.kind == "bad_request"
    good = json.dumps({"image": TEXT}).encode()
    before, error, after = ask(b"\n".join([good, bad, good]), "application/jsonlines").records
    assert isinstance(before, Record) and isinstance(after, Record)
    assert isinstance(error, UserError) and error.kind == "bad_request" and "line 2" in str(error)


def test_json_in_utf_16_is_refused():
    with pytest.raises(UserError, match="UTF-8"):
        ask(json.dumps({"image": TEXT}).encode("utf-16"), "application/json")


def test_a_whole_surrogate_pair_is_the_character_that_it_stands_for():
    [record] = ask(f'{{"image": "{TEXT}", "json_data": {{"sex": "\\ud83d\\ude00"}}}}', "application/json").records
    assert record.row == {"sex": "😀"}


@pytest.mark.parametrize("age", ["Infinity", "-Infinity", "1e999"])
def test_a_number_without_end_is_refused_by_the_column_that_it_is_for(age):
    [record] = ask(f'{{"image": "{TEXT}", "json_data": {{"age": {age}}}}}', "application/json").records
    with pytest.raises(UserError, match="age_approx") as refusal:
        ColumnEncoder("age_approx", "number").encode(record.metadata()["age_approx"])
    assert refusal.value.kind == "bad_input"


def test_a_csvs_errors_count_the_lines_of_its_file():
    bare, headed = (list(ask(f"{head}{TEXT}\n§\n", "text/csv").records)[1] for head in ("", "image,sex\n"))
    assert "line 2" in str(bare) and "line 3" in str(headed)


def test_a_quote_without_its_end_is_a_bad_record_and_no_shorter_one():
    good, bad = ask(f'{TEXT},"male",45\n{TEXT},"male,45\n', "text/csv").records
    assert isinstance(good, Record) and good.row == {"sex": "male", "age_approx": "45"}
    assert isinstance(bad, UserError) and bad.kind == "bad_request"


def test_a_blank_line_is_a_record_but_for_the_end_of_the_last():
    for content_type, good in (("application/jsonlines", f'"{TEXT}"'), ("text/csv", TEXT)):
        for end, num_records in (("", 3), ("\n", 3), ("\n\n", 4), ("\n  ", 4)):
            assert len(list(ask(f"{good}\n\n{good}{end}", content_type).records)) == num_records


def test_an_error_among_many_does_not_keep_the_line_that_it_is_about():
    for body in ('{"image": "§"}', "[" * 1000, '{"image": 5}'):
        [error] = ask(body, "application/jsonlines").records
        assert isinstance(error, UserError) and "line 1" in str(error)
        assert error.__traceback__ is None and error.__cause__ is None and error.__context__ is None


def test_an_error_holds_no_more_than_a_few_words_of_what_was_sent():
    long = "x" * 10_000
    for body, content_type in (
        (json.dumps({"image": TEXT, "json_data": {long: []}}), "application/json"),
        (json.dumps({"image": long + "§"}), "application/json"),
        (long, "application/json"),
        (long, long),
        (long, f"multipart/form-data; boundary={long}"),
    ):
        with pytest.raises(UserError) as refusal:
            ask(body, content_type)
        assert "x" * 81 not in str(refusal.value)


@given(arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3))))
def test_pixels_come_through_an_array_unchanged(pixels):
    np.save(file := io.BytesIO(), pixels)
    [record] = ask(file.getvalue(), "application/x-npy").records
    np.testing.assert_array_equal(record.pixels(max_pixels=36), pixels)


@given(
    row=st.dictionaries(st.sampled_from(COLUMNS), st.text(st.characters(exclude_characters="\0\r\n", codec="utf-8")))
)
def test_metadata_comes_through_csv_as_it_was_written(row):
    columns = ["image", *row]
    csv.writer(text := io.StringIO(), lineterminator="\n").writerows([columns, [TEXT, *row.values()]])
    [record] = ask(text.getvalue(), "text/csv").records
    assert {name: record.metadata()[name] for name in row} == row


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("", "application/jsonlines"),
        (" \n\n", "text/csv"),
        ("image,sex\n", "text/csv"),
        (f"image,sex,sex\n{TEXT},male,female\n", "text/csv"),
        ('{"instances": []}', "application/json"),
        ('{"instances": {}}', "application/json"),
        ("[" * 100_000, "application/json"),
        (FORMS["form"][0], "multipart/form-data"),
        (FORMS["form"][0][:-20], FORMS["form"][1]),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_holds_no_record_is_a_bad_request_as_a_whole(body, content_type):
    with pytest.raises(UserError) as refusal:
        ask(body, content_type)
    assert refusal.value.kind == "bad_request"


@pytest.mark.parametrize("content_type", ["text/plain", "///", "image/", "video/mp4", "application/xml; q=1"])
def test_another_type_is_refused_with_those_that_are_read(content_type):
    with pytest.raises(UserError, match="application/jsonlines") as refusal:
        ask(PICTURE, content_type)
    assert refusal.value.kind == "content_type"


TOO_MANY = {
    "application/jsonlines": b"1\n" * 100_001,
    "text/csv": b"1\n" * 100_001,
    "application/json": b'{"instances": [' + b"1," * 100_000 + b"1]}",
    "application/x-npy": as_file("(100001, 1, 1, 1)", num_bytes=100_001),
}


@pytest.mark.parametrize("content_type", TOO_MANY)
def test_more_records_than_a_request_may_hold_are_refused_as_a_whole(content_type):
    with pytest.raises(UserError, match="at most 100000") as refusal:
        ask(TOO_MANY[content_type], content_type)
    assert refusal.value.kind == "too_large"


BOMBS = {
    "lists": (b'{"instances":[' + b"[]," * 2_000_000 + b"[]]}", "application/json"),
    "lists in a text": (
        b'{"image": "AAAA", "json_data": "[' + b"\\u005b\\u005d\\u002c" * 700_000 + b'[]]"}',
        "application/json",
    ),
    "columns": (b"image" + b"," * 5_000_000 + b"\n", "text/csv"),
    "rows of an array": (as_file("(2000000, 1, 1, 1)", num_bytes=2_000_000), "application/x-npy"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_would_unpack_to_more_is_refused_before_it_is_unpacked(name):
    body, content_type = BOMBS[name]
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as refusal:
            ask(body, content_type)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refusal.value.kind == "too_large"
    # A text in JSON has to be unescaped before what it holds can be counted.
    assert peak_bytes < (6 * len(body) if name == "lists in a text" else 2**20)


def test_what_values_take_is_booked_before_they_are_made():
    booked = []

    def refuse(num_bytes: int) -> None:
        booked.append(num_bytes)
        raise UserError("no room", do="Send less.", kind="too_large")

    for body, content_type, at_least in (
        (b'{"instances":[' + b"[]," * 1000 + b"[]]}", "application/json", 64_000),
        ('{"image": "AAAA", "json_data": {"sex": "' + "😀" * 1000 + '"}}', "application/json", 24_000),
    ):
        content = body.encode() if isinstance(body, str) else body
        with pytest.raises(UserError, match="no room"):
            decode(content, content_type, metadata_columns=COLUMNS, reserve_bytes=refuse)
        assert booked.pop() >= at_least and not booked


LARGE = base64.b64encode(bytes(range(256)) * 4000)  # 1.4 MB, where one value more or less says nothing
BROKEN = base64.encodebytes(base64.b64decode(LARGE))
OF_URLS = LARGE.translate(bytes.maketrans(b"+/", b"-_")).rstrip(b"=")
FORM = (
    b'--a\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n'
    b"Content-Transfer-Encoding: %s\r\n\r\n%s\r\n--a--\r\n"
)
TAKES_MEMORY = {
    "payload": (b'{"image": "%s"}' % LARGE, "application/json"),
    "line breaks": (b'{"image": "%s"}' % BROKEN.replace(b"\n", b"\\n"), "application/json"),
    "the alphabet of URLs": (b'{"image": "%s"}' % OF_URLS, "application/json"),
    "instances": (b'{"instances": [%s]}' % b", ".join([b'"%s"' % LARGE[: 2**18]] * 5), "application/json"),
    "a wide word": (b'{"image": "%s", "sex": "%s"}' % (LARGE, "😀".encode()), "application/json"),
    "a line": (b'{"image": "%s"}\n' % OF_URLS, "application/jsonlines"),
    "lines": (b'{"image": "%s"}\n' % LARGE[: 2**18] * 5, "application/jsonlines"),
    "a row": (b"image,sex\r\n%s,male\r\n" % OF_URLS, "text/csv"),
    "a row in quotes": (b'image,sex\n"%s",male\n' % LARGE, "text/csv"),
    "rows": (LARGE[: 2**18] + b"\n" + b"%s\n" % LARGE[: 2**18] * 4, "text/csv"),
    "form": (FORM % (b"binary", LARGE), "multipart/form-data; boundary=a"),
    "form in base64": (FORM % (b"base64", BROKEN), "multipart/form-data; boundary=a"),
    "a bare file": (LARGE, "image/png"),
}


@pytest.mark.parametrize("name", TAKES_MEMORY)
def test_reading_takes_no_more_memory_than_is_booked(name):
    body, content_type = TAKES_MEMORY[name]
    booked: list[int] = []
    tracemalloc.start()
    try:
        invocation = decode(body, content_type, metadata_columns=COLUMNS, reserve_bytes=booked.append)
        kept = list(invocation.records)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert all(isinstance(record, Record) for record in kept)
    assert peak_bytes <= sum(booked) + 2**17 <= 16 * len(body)


@given(
    cells=st.lists(st.text(st.characters(exclude_characters='\0\r\n",', codec="utf-8")), min_size=1, max_size=5),
    end=st.sampled_from(["\n", "\r\n", ""]),
)
def test_a_row_without_quotes_is_read_as_pythons_csv_reads_it(cells, end):
    columns = [f"column {number}" for number in range(len(cells))]
    line = ",".join([TEXT, *cells])
    [[_, *expected]] = csv.reader([line], strict=True)
    [record] = decode(f"{line}{end}".encode(), "text/csv", metadata_columns=columns).records
    assert [*record.row.values()] == expected


def test_lines_one_after_another_book_the_largest_of_them():
    booked = []
    lines = [json.dumps({"image": TEXT, "json_data": {"sex": "a,b" * repeats}}) for repeats in (1, 200, 3, 200)]
    invocation = decode(
        "\n".join(lines).encode(), "application/jsonlines", metadata_columns=COLUMNS, reserve_bytes=booked.append
    )
    assert all(isinstance(record, Record) for record in invocation.records)
    assert len(booked) == 2 and sum(booked) < 150_000


# Understood in one way, or refused in words


def test_metadata_beside_the_picture_is_that_within():
    beside = {"image": TEXT, "SEX": "female", "age": 45}
    [record] = ask(json.dumps(beside), "application/json").records
    assert record.row == {"sex": "female", "age_approx": 45} and not record.unused
    [line] = ask(json.dumps(beside), "application/jsonlines").records
    assert line.row == record.row
    [half] = ask(json.dumps({"image": TEXT, "sex": "female", "metadata": {"age": 45}}), "application/json").records
    assert half.row == record.row


@pytest.mark.parametrize("name", ["json_data", "metadata"])
@pytest.mark.parametrize("value", [None, "", " ", "null", {}])
def test_metadata_that_is_null_or_empty_is_as_if_left_out(name, value):
    [record] = ask(json.dumps({"image": TEXT, name: value}), "application/json").records
    assert record == Record(PICTURE, {}, "field 'image'")
    [part] = ask(*form(**{name: "" if value is None else value if isinstance(value, str) else "{}"})).records
    assert part.row == {}


@pytest.mark.parametrize(
    "fields",
    [{"image": {"b64": TEXT}}, {"b64": TEXT}, {"image_bytes": {"b64": TEXT}}, {"image_bytes": TEXT}, {"IMAGE": TEXT}],
    ids="+".join,
)
def test_a_picture_is_read_by_the_names_that_clients_give_it(fields):
    for body, content_type in (
        (fields, "application/json"),
        ({"instances": [fields]}, "application/json"),
        (fields, "application/jsonlines"),
    ):
        [record] = ask(json.dumps(body), content_type).records
        assert isinstance(record, Record), record
        assert record.picture == PICTURE


ONE_OF_TWO = {
    "age beside age_approx": {"image": TEXT, "json_data": {"age": 40, "age_approx": 50}},
    "a column in two cases": {"image": TEXT, "json_data": {"sex": "male", "Sex": "female"}},
    "a field beside and within": {"image": TEXT, "sex": "male", "json_data": {"sex": "female"}},
    "its short name beside and within": {"image": TEXT, "age": 40, "json_data": {"age_approx": 40}},
    "two objects of metadata": {"image": TEXT, "json_data": {}, "metadata": {}},
    "two pictures": {"image": TEXT, "image_bytes": TEXT},
    "a picture in two cases": {"image": TEXT, "Image": TEXT},
}


@pytest.mark.parametrize("name", ONE_OF_TWO)
def test_two_names_for_one_thing_are_refused_by_both_names(name):
    body = json.dumps(ONE_OF_TWO[name])
    with pytest.raises(UserError, match=r"mean|is sent twice") as refusal:
        ask(body, "application/json")
    assert refusal.value.kind == "bad_request" and str(refusal.value).count("'") >= 4
    [line] = ask(body, "application/jsonlines").records
    assert isinstance(line, UserError) and "line 1" in str(line)


@pytest.mark.parametrize("beside", [{"image": TEXT}, {"json_data": {"sex": "male"}}, {"sex": "male"}, {"Age": 40}])
def test_what_belongs_to_one_picture_is_refused_beside_instances(beside):
    with pytest.raises(UserError, match="beside 'instances'"):
        ask(json.dumps({"instances": [{"image": TEXT}], **beside}), "application/json")


BAD = {
    "a text": (json.dumps(TEXT), "application/json", r'JSON text.*\{"image": base64'),
    "a list": (json.dumps([{"image": TEXT}]), "application/json", r'JSON list.*\{"instances"'),
    "nothing as JSON": (" \n", "application/json", "is empty"),
    "lines as JSON": ('{"image": ""}\n{"image": ""}', "application/json", "application/jsonlines"),
    "a picture as JSON": (PICTURE, "application/json", r"not UTF-8.*image/png"),
    "JSON as bytes": (FORMS["payload"][0], "application/octet-stream", r"looks like JSON.*application/json"),
    "JSON as a picture": (FORMS["payload"][0], "image/png", r"looks like JSON.*application/json"),
    "a form as bytes": (FORMS["form"][0], "application/octet-stream", r"looks like a form.*multipart/form-data"),
    "an array as bytes": (as_file("(4, 4, 3)"), "application/octet-stream", r"NumPy.*application/x-npy"),
    "another name for the picture": (json.dumps({"picture": TEXT}), "application/json", r"'image' is missing.*picture"),
    "an address": (json.dumps({"image": "https://example.org/a.png"}), "application/json", "address"),
    "an empty picture": (json.dumps({"image": ""}), "application/json", "'image' is empty"),
    "a header without image": (f"picture,sex\n{TEXT},male\n", "text/csv", "names no column 'image'"),
    "a header with a column in two cases": (f"image,sex,Sex\n{TEXT},a,b\n", "text/csv", "twice: 'sex' and 'Sex'"),
    "a header with a column by two names": (f"image,age,age_approx\n{TEXT},1,2\n", "text/csv", "twice: 'age' and"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_meant_is_refused_with_what_can(name):
    body, content_type, words = BAD[name]
    with pytest.raises(UserError, match=words) as refusal:
        ask(body, content_type)
    assert refusal.value.kind == "bad_request"


def test_a_compressed_body_is_refused_by_its_encoding():
    with pytest.raises(UserError, match="Content-Encoding 'gzip'") as refusal:
        decode(gzip.compress(PICTURE), "image/png", metadata_columns=COLUMNS, content_encoding="gzip")
    assert refusal.value.kind == "content_type"
    assert decode(PICTURE, "image/png", metadata_columns=COLUMNS, content_encoding="Identity").form == "picture"


@pytest.mark.parametrize("kind", ["application/json", "application/jsonlines", "text/csv"])
def test_a_text_in_another_character_set_is_refused_where_it_would_be_another_text(kind):
    for charset, value in (("iso-8859-1", "ö"), ("utf-16", "ö")):
        body = f"image,sex\n{TEXT},{value}\n" if kind == "text/csv" else json.dumps({"image": TEXT, "sex": "ö"})
        body = body.replace("\\u00f6", "ö")
        with pytest.raises(UserError, match=charset) as refusal:
            ask(body, f"{kind}; charset={charset}")
        assert refusal.value.kind == "content_type"
        for same in (f"{kind}; charset=UTF-8", f'{kind}; charset="utf8"'):
            [record] = ask(body, same).records
            assert isinstance(record, Record) and record.row == {"sex": "ö"}
        assert list(ask(body.replace("ö", "o"), f"{kind}; charset={charset}").records)


def test_an_array_without_a_content_type_is_known_by_its_beginning():
    assert ask(as_file("(10, 10, 3)"), "").form == "array"


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_csv_that_is_parted_by_something_else_is_refused_with_what_parts_it(separator, name):
    for head in ("", separator.join(["image", "sex"]) + "\n"):
        for picture in (TEXT, "A" * 64):  # the second needs no padding: what follows might pass for more of it
            *_, error = ask(f"{head}{picture}{separator}male\n", "text/csv").records
            assert isinstance(error, UserError) and name in str(error)


ARRAYS_IN_WORDS = {
    "float32": (np.zeros((4, 5, 3), np.float32), r"float32.*uint8.*255 \* array"),
    "float64 of many": (np.zeros((2, 4, 5, 3)), r"float64.*uint8"),
    "int64": (np.zeros((4, 5, 3), np.int64), r"int64.*uint8.*astype"),
    "uint16": (np.zeros((4, 5), np.uint16), r"uint16.*uint8.*>> 8"),
    "bool": (np.zeros((4, 5), bool), r"bool.*uint8.*255 \* array"),
    "channels first": (np.zeros((3, 40, 50), np.uint8), r"channels come first.*transpose\(1, 2, 0\)"),
    "channels first of many": (np.zeros((2, 3, 40, 50), np.uint8), r"channels come first.*transpose\(0, 2, 3, 1\)"),
    "transparency": (np.zeros((4, 5, 4), np.uint8), r"four channels.*\[\.\.\., :3\]"),
    "a file's bytes": (np.frombuffer(PICTURE, np.uint8), r"shape \[\d+\].*file as it is"),
}


@pytest.mark.parametrize("name", ARRAYS_IN_WORDS)
def test_an_array_of_other_values_or_shape_is_refused_with_what_came_and_what_is_read(name):
    array, words = ARRAYS_IN_WORDS[name]
    np.save(file := io.BytesIO(), array)
    with pytest.raises(UserError, match=words) as refusal:
        ask(file.getvalue(), "application/x-npy")
    assert refusal.value.kind == "bad_request"


# What was sent and not used

WORDS = {"sex": {"female", "male"}}


def unused(body: bytes | str, content_type: str) -> list[Sequence[str]]:
    """Of each record, once it was read and its metadata was taken."""
    content = body.encode() if isinstance(body, str) else body
    invocation = decode(content, content_type, metadata_columns=COLUMNS, words=WORDS)
    for record in invocation.records:
        assert isinstance(record, Record), record
        record.metadata()
    return invocation.unused


STRANGERS = {"sex": "other", "Weight kg": "80", "age": "45"}
TOLD = ["Weight%20kg:unknown_field", "sex:unknown_word"]
UNUSED = {
    "payload": (json.dumps({"image": TEXT, "json_data": STRANGERS}), "application/json"),
    "beside the picture": (json.dumps({"image": TEXT, **STRANGERS}), "application/json"),
    "line": (json.dumps({"image": TEXT, "metadata": STRANGERS}), "application/jsonlines"),
    "csv": (f"image,Weight kg,sex\n{TEXT},80,other\n", "text/csv"),
    "form": form(**STRANGERS),
    "form with JSON": form(metadata=json.dumps(STRANGERS)),
}


@pytest.mark.parametrize("name", UNUSED)
def test_names_and_words_that_the_model_does_not_know_are_told_in_every_form(name):
    [told] = unused(*UNUSED[name])
    assert sorted(told) == TOLD


def test_each_records_own_strangers_are_told_with_it():
    lines = [json.dumps({"image": TEXT, **fields}) for fields in ({"a": 1}, {"sex": "male"}, {"sex": "Male"})]
    assert unused("\n".join(lines), "application/jsonlines") == [["a:unknown_field"], [], ["sex:unknown_word"]]


def test_what_stands_beside_instances_and_is_not_known_is_told():
    body = json.dumps({"signature_name": "serving_default", "instances": [{"image": {"b64": TEXT, "name": "a.png"}}]})
    assert unused(body, "application/json") == [["name:unknown_field", "signature_name:unknown_field"]]


def test_a_dicom_headers_word_that_the_model_does_not_know_is_told_unless_it_is_overridden():
    content = dicom_file(PatientSex="O")
    [told] = unused(content, "application/dicom")
    body = json.dumps({"image": base64.b64encode(content).decode(), "json_data": {"sex": "male"}})
    assert told == ["sex:unknown_word"] and unused(body, "application/json") == [[]]
    empty = json.dumps({"image": base64.b64encode(content).decode(), "json_data": {"sex": None}})
    assert unused(empty, "application/json") == [["sex:unknown_word"]]


def test_what_a_header_says_of_all_frames_is_told_once():
    content = bytes_of(dataset_of(np.zeros((5, 4, 4), np.uint8), PatientSex="O"))
    invocation = decode(content, "application/dicom", metadata_columns=COLUMNS, words=WORDS)
    [record] = invocation.records
    assert [frame.metadata() for frame in record.frames("all")] == [{"sex": "other"}] * 5
    assert invocation.unused == [["sex:unknown_word"]]


@pytest.mark.parametrize("value", [None, "", "NA"])
def test_an_unknown_field_without_a_value_was_not_sent(value):
    assert unused(json.dumps({"image": TEXT, "json_data": {"weight": value, "sex": value}}), "application/json") == [[]]


def test_a_models_own_column_wins_over_a_short_name_and_another_case():
    body = json.dumps({"image": TEXT, "json_data": {"age": 1, "AGE_APPROX": 2, "Site": 3, "SITE": 4}}).encode()
    [record] = decode(body, "application/json", metadata_columns=["age", "age_approx", "Site", "site"]).records
    assert record.row == {"age": 1, "age_approx": 2, "Site": 3, "SITE": 4}
    assert record.unused == ["SITE:unknown_field"]  # either column could be meant


@given(st.lists(ANY_TEXT, max_size=30))
def test_what_is_told_is_short_and_can_end_no_header_or_line(names):
    line = unused_line(unknown_fields(names))
    assert line.isascii() and line.isprintable() and " " not in line and len(line) <= 1020
    assert len(line.split(",")) <= 21
