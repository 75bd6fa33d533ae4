"""Facts: what is written is what is read, a number is never made up, and a file that is none is refused in words."""

from __future__ import annotations

import json
import math
import re

import pytest
from pydantic import ValidationError

from lesion.errors import UserError
from lesion.report.documents import documents
from lesion.report.facts import Facts
from lesion.report.sections import Curve, Missing, Number
from report_facts import FACTS, binary


@pytest.mark.parametrize("name", FACTS)
def test_a_report_that_is_read_is_the_one_that_was_written(name):
    facts = FACTS[name]()
    text = documents(facts)["report.json"]
    assert Facts.from_json(text) == facts
    assert set(json.loads(text)["guidelines"]) == {"tripod_ai", "stard_ai", "claim", "clear_derm"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda known: known.update(format=99), "a report of format 99, which a later version of Lesion wrote"),
        (lambda known: known.update(format=0), "not a report of format 1"),
        (lambda known: known.update(format="2"), "not a report of format 1"),
        (lambda known: known.pop("format"), "not a report of format 1"),
        (lambda known: known.update(colour="red"), "colour: Extra inputs"),
        (lambda known: known["judging"].pop("unit"), "judging.unit: Field required"),
        (lambda known: known["operating_points"][0].update(threshold=1.5), "threshold"),
        (lambda known: known["metrics"][0]["number"].update(value=math.nan), "metrics.0.number.value"),
        (
            lambda known: known["statements"].update(intended_usage="x"),
            "no question has the key 'intended_usage' (did you",
        ),
        (lambda known: known["statements"].update(intended_usage="x"), "the keys are intended_use, context, users,"),
    ],
)
def test_a_file_that_is_no_report_is_refused_with_the_place(tmp_path, change, said):
    known = json.loads(documents(binary())["report.json"])
    change(known)
    path = tmp_path / "report.json"
    path.write_text(json.dumps(known))
    with pytest.raises(UserError, match=re.escape(said)) as refused:
        Facts.read(path)
    assert refused.value.kind == "bad_report" and str(path) in str(refused.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "42"])
def test_what_is_not_a_json_object_is_refused(text):
    with pytest.raises(UserError, match=r"not JSON|not a report"):
        Facts.from_json(text)


def test_a_folder_without_a_report_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        Facts.read(tmp_path / "report.json")


def test_no_number_without_a_value_or_a_reason():
    assert Number.of(math.nan, why="one class").why == "one class" and Number.of(None).value is None
    assert Number.of(0.5, (math.nan, 0.6)).interval is None
    for wrong in ({}, {"value": math.inf}, {"value": 0.5, "interval": (0.4, math.nan)}):
        with pytest.raises(ValidationError):
            Number(**wrong)
    with pytest.raises(ValidationError):
        Missing(why="")
    with pytest.raises(ValidationError, match="different lengths"):
        Curve(name="a", x=(0, 1), y=(0,))
