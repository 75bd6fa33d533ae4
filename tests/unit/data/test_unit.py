"""Unit: a group is called what its column calls it, and evaluation's words are put so."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lesion.data.table import Columns, SampleTable
from lesion.data.unit import in_units, unit_of
from lesion.report.sections import Judging


def table(column: str | None) -> SampleTable:
    return SampleTable(
        name_S=np.array(["a", "b", "c"]),
        metadata=pd.DataFrame(index=range(3)),
        group_S=None if column is None else np.array(["x", "x", "y"]),
        columns=Columns(group=column),
    )


@pytest.mark.parametrize(
    ("column", "unit", "units"),
    [
        (None, "image", "images"),
        ("patient_id", "patient", "patients"),
        ("Lesion ID", "lesion", "lesions"),
        ("slide", "slide", "slides"),
        ("wsi", "slide", "slides"),
        ("study_no", "study", "studies"),
        ("biopsy_no", "biopsy", "biopsies"),
        ("id", "group", "groups"),
    ],
)
def test_a_group_is_called_as_its_column_says(column, unit, units):
    assert unit_of(table(column)) == unit
    assert Judging(how="", unit=unit, num_rows=3, num_units=2, interval="").units == units


def test_evaluations_words_are_put_in_the_unit_and_a_users_words_are_not():
    found = {
        "judged": {"cautions": ["7 groups: intervals depend on which these are"], "counts": {"groups": 7}},
        "points": [{"sensitivity": {"value": 0.5, "why": "one group: no interval"}}],
        "columns": {"why": [{"level": "group A", "auc": {"value": None, "why": "all positives are of one group"}}]},
    }
    told = in_units(found, "slide")
    assert told["judged"] == {"cautions": ["7 slides: intervals depend on which these are"], "counts": {"groups": 7}}
    assert told["points"][0]["sensitivity"]["why"] == "one slide: no interval"
    assert told["columns"]["why"] == [
        {"level": "group A", "auc": {"value": None, "why": "all positives are of one slide"}}
    ]
