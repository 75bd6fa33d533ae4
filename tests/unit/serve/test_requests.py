"""Requests: every form of a request comes to the same pictures and metadata, and anything else is refused in words."""

from __future__ import annotations

import base64
import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from werkzeug.test import EnvironBuilder

from lesion.errors import UserError
from lesion.serve.requests import CONTENT_TYPES, Question, Record, decode

COLUMNS = ["sex", "age_approx"]
PICTURE = (Path(__file__).parents[2] / "golden" / "artifact_v2" / "picture.png").read_bytes()
TEXT = base64.b64encode(PICTURE).decode()
ROW = {"sex": "female", "age_approx": "45"}


def ask(body: bytes | str, content_type: str) -> Question:
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


def test_a_payload_without_a_content_type_is_known_by_its_brace():
    assert ask(FORMS["payload"][0], "").form == "payload"


@pytest.mark.parametrize("shape", [(5, 4, 3), (5, 4), (5, 4, 1), (2, 5, 4, 3)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_holds_its_pictures(shape, order):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    np.save(file := io.BytesIO(), np.asarray(array, order=order))
    records = ask(file.getvalue(), "application/x-npy").records
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


def test_an_array_that_claims_more_than_it_holds_is_refused():
    np.save(file := io.BytesIO(), np.zeros((10, 10, 3), np.uint8))
    claims = file.getvalue().replace(b"(10, 10, 3)", b"(99, 99, 3)")
    for body in (claims, file.getvalue()[:-1], file.getvalue()[:20]):
        with pytest.raises(UserError, match="not a NumPy array"):
            ask(body, "application/x-npy")


@given(cells=st.lists(st.sampled_from([TEXT, "§", "", '"', "a,b,c,d,e"]), min_size=1, max_size=8), end=st.booleans())
def test_csv_has_a_record_for_each_line_good_or_bad(cells, end):
    lines = [f"{cell},male,30" for cell in cells]
    question = ask("\n".join(lines) + "\n" * end, "text/csv")
    assert question.is_many and len(question.records) == len(lines)
    for cell, record in zip(cells, question.records, strict=True):
        assert isinstance(record, UserError) == (cell not in {TEXT, ""})  # an empty picture is found out when decoded


@given(
    lines=st.lists(
        st.one_of(
            st.just(json.dumps({"image": TEXT})),
            st.sampled_from(["{", "5", "null", "", "[]", '"' + TEXT + '"', '{"image": 3}', '{"metadata": []}']),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_json_lines_have_a_record_for_each_line_good_or_bad(lines):
    if not any(line.strip() for line in lines) or not lines[-1].strip():
        return  # nothing at all is refused as a whole, and a blank line at the end is an end
    question = ask("\n".join(lines), "application/jsonlines")
    assert len(question.records) == len(lines)
    for line, record in zip(lines, question.records, strict=True):
        assert isinstance(record, Record) == (TEXT in line)


@given(
    body=st.one_of(
        st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
    ),
    content_type=st.sampled_from([*CONTENT_TYPES, "image/png", "multipart/form-data; boundary=a", "text/csv; a=", ""]),
)
def test_any_bytes_are_a_question_or_refused_in_words(body, content_type):
    try:
        question = ask(body, content_type)
    except UserError as error:
        assert error.kind in {"bad_request", "content_type"}
    else:
        assert question.records


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_any_json_is_a_question_or_refused_in_words(value):
    for fields in (value, {"image": value}, {"image": TEXT, "json_data": value}, {"instances": value}):
        try:
            ask(json.dumps(fields), "application/json")
        except UserError as error:
            assert error.kind == "bad_request"


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
        ('{"instances": []}', "application/json"),
        ('{"instances": {}}', "application/json"),
        ("[" * 100_000, "application/json"),
        (FORMS["form"][0], "multipart/form-data"),
        (FORMS["form"][0][:-20], FORMS["form"][1]),
        (FORMS["form"][0].replace(b'name="image"; filename="a.png"', b'name="image"'), FORMS["form"][1]),
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
