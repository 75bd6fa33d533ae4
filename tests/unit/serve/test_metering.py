"""Metering: a request is one line of the log, which says what was not used and refused, and no patient's data."""

from __future__ import annotations

import logging

import pytest

from lesion.data.metadata import ColumnEncoder
from lesion.errors import LesionError, UserError
from lesion.inference.pipeline import Times
from lesion.serve.metering import Meter, reasons_for_log


def line(caplog: pytest.LogCaptureFixture, **more: object) -> str:
    with caplog.at_level(logging.INFO):
        Meter().note("id-7", 200, Times(), 0.01, **more)
    [record] = caplog.records
    return record.getMessage()


def test_a_request_of_which_all_was_used_is_a_line_as_before(caplog):
    assert line(caplog).endswith("total_ms=10.0 batch=0")


def test_what_was_not_used_and_refused_stands_at_the_end_of_the_line(caplog):
    errors = [UserError("line 2: field 'a\nb' is\x9b bad", do="Correct it there.", kind="bad_request")] * 5
    said = line(caplog, unused="weight:unknown_field", reasons=reasons_for_log(errors))
    assert said.isascii() and said.isprintable()
    assert " unused=weight:unknown_field refused=" in said and said.count("bad_request") == 3 and "2 more" in said


def test_a_value_that_a_client_sent_is_not_logged():
    with pytest.raises(UserError) as refusal:
        ColumnEncoder("age_approx", "number").encode("Jane Doe")
    assert reasons_for_log([refusal.value]) == ["bad_input: metadata field age_approx"]


def test_a_long_reason_is_cut():
    errors: list[LesionError] = [UserError("x" * 10_000, do="y", kind="bad_request")]
    assert len(reasons_for_log(errors)[0]) < 200
