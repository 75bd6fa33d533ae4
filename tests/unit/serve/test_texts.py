"""Texts: base64 in each of its ways of writing comes to the same bytes, and nothing else comes to any."""

from __future__ import annotations

import base64
import binascii
import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lesion.errors import UserError
from lesion.serve.texts import MAX_VALUES, base64_bytes, json_value, room_for_text

CONTENT = st.binary(min_size=1, max_size=200)


@given(
    content=CONTENT,
    encode=st.sampled_from([base64.b64encode, base64.urlsafe_b64encode]),
    is_padded=st.booleans(),
    width=st.sampled_from([0, 4, 76]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    head=st.sampled_from(
        ["", "data:image/png;base64,", "DATA:Image/PNG;Base64,", "data:;base64,", "image/png;base64,"]
    ),
)
def test_base64_is_read_in_each_way_that_it_is_written(content, encode, is_padded, width, line_end, head):
    text = encode(content).decode()
    text = text if is_padded else text.rstrip("=")
    if width:
        text = "".join(text[start : start + width] + line_end for start in range(0, len(text), width))
    assert base64_bytes(head + text, "picture") == content


@given(st.text(max_size=40))
def test_any_text_is_base64_or_refused_in_words(text):
    try:
        content = base64_bytes(text, "picture")
    except UserError as error:
        assert error.kind == "bad_request" and "picture" in str(error)
    else:
        assert content


@given(content=CONTENT, at=st.integers(0, 300), stranger=st.characters(exclude_categories=["Cs"]))
def test_base64_with_anything_else_in_it_is_refused(content, at, stranger):
    text = base64.b64encode(content).decode()
    assume(not (stranger.isascii() and (stranger.isalnum() or stranger in "+/=-_\r\n\t,")))
    at %= len(text)
    assume(stranger != " " or at > 0)
    with pytest.raises(UserError, match="is not base64"):
        base64_bytes(text[:at] + stranger + text[at:], "picture")


BAD = {
    "both alphabets": ("ab+/ab-_", "mixes two alphabets"),
    "a space for a plus": ("abcd efg", "space"),
    "one letter too many": ("AAAAA", "missing or too much"),
    "padding in the middle": ("AA==AA==", "missing or too much"),
    "too much padding": ("AAAA=", "missing or too much"),
    "a stranger": ("AA*A", r"holds '\*'"),
    "no ASCII": ("§AAA", "holds '§'"),
    "a path": ("/tmp/picture.png", r"holds '\.'"),
    "an address": ("S3://bucket/a.png", "address"),
    "a data: URL in percents": ("data:image/svg+xml,%3Csvg", "comma"),
    "nothing": ("", "is empty"),
    "no text": (5, "is not text"),
    "a list": (["AAAA"], "is not text"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_with_base64_is_said(name):
    text, words = BAD[name]
    with pytest.raises(UserError, match=words) as refusal:
        base64_bytes(text, "picture")
    assert refusal.value.kind == "bad_request"


def test_what_is_read_is_what_pythons_strict_reader_reads():
    text = base64.b64encode(bytes(range(256))).decode()
    assert base64_bytes(text, "picture") == binascii.a2b_base64(text, strict_mode=True)


@given(st.recursive(st.none() | st.integers() | st.text("[]{},ab"), st.lists, max_leaves=20))
def test_at_least_as_many_values_are_booked_as_there_are(value):
    booked = []
    json_value(json.dumps(value).encode(), "body", booked.append)
    assert sum(booked) >= 60 * _num_values(value)


def _num_values(value: object) -> int:
    return 1 + sum(map(_num_values, value)) if isinstance(value, list) else 1


@pytest.mark.parametrize("separator", [",", ", ", ",\n"])
def test_texts_of_json_have_a_limit_of_values(separator):
    fits, over = (f"[{separator.join(['0'] * number)}]" for number in (MAX_VALUES - 1, MAX_VALUES))
    assert len(json_value(fits.encode(), "body")) == MAX_VALUES - 1
    for text in (over, over.encode()):
        with pytest.raises(UserError, match="more than 1,000,000 values") as refusal:
            json_value(text, "body")
        assert refusal.value.kind == "too_large"


@pytest.mark.parametrize(("letter", "width"), [("a", 1), ("é", 1), ("ш", 2), ("皮", 2), ("😀", 4)])
def test_a_wide_character_makes_room_for_a_wide_text(letter, width):
    text = ("a" * 1000 + letter).encode()
    assert room_for_text(text) == 2 * (width - 1) * len(text)


REASONS = {
    "[" * 100_000: "nested too deeply",
    '{"a": 1}\n{"a": 2}': "application/jsonlines",
    "{'a': 1}": "line 1, column 2",
    '{"a": 1, "a": 2}': "the name .a. occurs twice",
    b"\xff\xd8\xff\xe0": "not UTF-8: send an image file under its own type",
    '{"sex": "männlich"}'.encode("latin-1"): r"not UTF-8\. Send JSON in UTF-8",
}


@pytest.mark.parametrize("text", REASONS, ids=lambda text: repr(text[:9]))
def test_why_a_text_is_no_json_is_said_without_the_text(text):
    with pytest.raises(UserError, match=REASONS[text]) as refusal:
        json_value(text, "body")
    assert refusal.value.kind == "bad_request" and len(str(refusal.value)) < 250
