"""Audit: a whole line for each picture, with nothing in it of what a client sent beside the picture."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesion.algorithms.base import Answer
from lesion.errors import UserError
from lesion.serve.audit import NO_AUDIT, Audit, Trail
from lesion.serve.records import Record

AUDITED = {"label": "benign", "operating_point": {"thresholds": [0.3]}, "warnings": ["dark"]}
ANSWER = Answer({}, {}, [], {}, 0.5, AUDITED)


def trail_of(records: list[Record | UserError], answers: list[Answer | UserError], name: str = "id-1") -> Trail:
    trail = Trail(name, "v1")
    assert list(trail.of_pictures(records)) == records
    assert list(trail.of_answers(answers)) == answers
    return trail


def fields_of(trail: Trail) -> list[dict[str, object]]:
    return [json.loads(line) for line in trail.lines()]


def test_a_line_says_which_bytes_got_which_answer_of_which_model():
    [line] = fields_of(trail_of([Record(b"picture", {}, "a.jpg")], [ANSWER]))
    time = line.pop("audit")
    assert time.endswith("+00:00")
    assert line == {
        "request_id": "id-1",
        "model": "v1",
        "picture": 0,
        "sha256": hashlib.sha256(b"picture").hexdigest(),
        "label": "benign",
        "operating_point": {"thresholds": [0.3]},
        "warnings": ["dark"],
    }


def test_of_a_refusal_its_kind_is_kept_and_the_others_stay_in_their_places():
    refused = UserError("age of Jane Doe", do="", kind="bad_request")
    lines = fields_of(trail_of([Record(b"1", {}, ""), refused, Record(b"3", {}, "")], [ANSWER, refused, ANSWER]))
    assert [line.get("refused") for line in lines] == [None, "bad_request", None]
    assert [line["picture"] for line in lines] == [0, 1, 2]
    assert [line["sha256"] and line["sha256"][:4] for line in lines] == ["6b86", None, "4e07"]  # sha256sum's own


def test_the_pixels_of_an_array_have_a_digest_however_they_lie_in_memory():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    turned = np.asfortranarray(pixels)
    lines = fields_of(trail_of([Record(pixels, {}, ""), Record(turned, {}, "")], [ANSWER, ANSWER]))
    assert {line["sha256"] for line in lines} == {hashlib.sha256(bytes(range(24))).hexdigest()}


words = st.text(st.characters(codec="utf-8"), min_size=6, max_size=40)


@given(st.dictionaries(words, words, min_size=1), words, st.binary(min_size=12), words)
def test_no_metadata_no_name_no_pixels_and_no_reason_is_in_a_line(row, name, content, what):
    """Whatever they hold: they are marked, so that they cannot stand in the line by chance."""
    row = {f"¤{key}": f"¤{value}" for key, value in row.items()}
    record = Record(b"\xff" + content, row, f"¤{name}", unused=[f"¤{name}"])
    error = UserError(f"¤{what}", where=f"¤{name}", do=f"¤{what}", kind="bad_request")
    for line in trail_of([record, record], [ANSWER, error]).lines():
        text = json.dumps(json.loads(line), ensure_ascii=False)
        assert "¤" not in text and set(json.loads(line)) <= {
            *("audit", "request_id", "model", "picture", "sha256"),
            *("label", "operating_point", "warnings", "refused"),
        }
        assert line.isascii() and line.count(b"\n") == 1 and line.endswith(b"\n")


def test_a_request_that_failed_half_way_has_lines_for_what_was_answered():
    trail = Trail("id", "v1")
    records = iter(trail.of_pictures([Record(b"1", {}, ""), Record(b"2", {}, "")]))
    next(records), next(records)
    list(trail.of_answers([ANSWER]))
    assert [line["picture"] for line in fields_of(trail)] == [0]


def test_a_class_with_a_long_name_keeps_the_line_short():
    long = Answer({}, {}, [], {}, 0.5, {"label": "ß" * 5000})
    [line] = trail_of([Record(b"1", {}, "")], [long]).lines()
    assert len(line) < 4096


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_lines_stay_whole_when_threads_and_processes_write_at_once(pipe):
    """Eight threads in each of two processes, more than a pipe holds, and one that reads."""
    reader, writer = pipe
    num_pictures, num_requests = 40, 25
    trails = [trail_of([Record(b"1", {}, "")] * num_pictures, [ANSWER] * num_pictures, f"r{n}") for n in range(8)]

    def write(audit: Audit, trail: Trail) -> None:
        for _ in range(num_requests):
            audit.write(trail)

    def all_threads() -> None:
        audit = Audit(writer)
        threads = [threading.Thread(target=write, args=(audit, trail)) for trail in trails]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    child = os.fork()
    if child == 0:
        all_threads()
        os._exit(0)
    read = bytearray()
    total = 2 * 8 * num_requests * sum(len(line) for line in trails[0].lines())

    def read_all() -> None:
        while len(read) < total:
            read.extend(os.read(reader, 65536))

    reading = threading.Thread(target=read_all)
    reading.start()
    all_threads()
    assert os.waitpid(child, 0)[1] == 0
    reading.join(60)
    lines = [json.loads(line) for line in read.splitlines()]
    assert len(lines) == 2 * 8 * num_requests * num_pictures
    assert all(line["label"] == "benign" for line in lines)


def test_a_reader_that_is_gone_is_an_error_in_the_log_and_no_more(caplog):
    reader, writer = os.pipe()
    os.close(reader)
    Audit(writer).write(trail_of([Record(b"1", {}, "")], [ANSWER]))
    os.close(writer)
    assert "audit lines of a request cannot be written" in caplog.text


def test_without_an_audit_nothing_is_noted_and_nothing_copied():
    trail = NO_AUDIT.trail("id", "v1")
    records, answers = [Record(b"1", {}, "")], [ANSWER]
    assert trail.of_pictures(records) is records and trail.of_answers(answers) is answers
    NO_AUDIT.write(trail)
    assert list(trail.lines()) == []
