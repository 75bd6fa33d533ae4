"""Slide table: one row a slide, whatever it is called by, and each gap in words."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lesion.errors import UserError
from lesion.prepare.slide_table import SlideTable, read_slide_table
from lesion.prepare.slides import SlideFile

SLIDES = [SlideFile("a", Path("in/a.svs")), SlideFile("sub/b", Path("in/sub/b.tif"))]
ROWS = {"file": ["a.svs", "sub/b"], "target": ["0", "1"], "patient_id": ["P1", "P2"]}


def read(folder: Path, rows: dict[str, list[str]], **options: object) -> SlideTable:
    pd.DataFrame(rows).to_csv(folder / "slides.csv", index=False)
    chosen = {"target_column": None, "is_target_needed": True, "is_whole": True, **options}
    return read_slide_table(folder / "slides.csv", SLIDES, **chosen)


@pytest.mark.parametrize("names", [["a", "b"], ["a.svs", "b.tif"], ["a", "sub/b.tif"], ["s3://bucket/a.svs", "sub/b"]])
@pytest.mark.parametrize(
    "column", ["file", "image_name", "slide", "slide_id", "image_id", "Slide ID", "FILENAME", "WSI"]
)
def test_a_slide_is_found_by_path_or_name_with_or_without_its_ending(tmp_path, column, names):
    rows = {column: names, "target": ["0", "1"]}
    assert read(tmp_path, rows).targets == {"a": "0", "sub/b": "1"}


@pytest.mark.parametrize("written", ["isup_grade", "ISUP_Grade", " isup grade"])
def test_the_target_column_is_found_whatever_its_capitals(tmp_path, written):
    rows = {"image_id": ["a", "b"], "data_provider": ["x", "x"], written: ["3", "0"]}
    table = read(tmp_path, rows, target_column="isup_grade")
    assert table.targets == {"a": "3", "sub/b": "0"} and table.carried["a"] == {"data_provider": "x"}


def test_further_columns_are_carried_and_an_unneeded_target_too(tmp_path):
    assert read(tmp_path, ROWS).carried == {"a": {"patient_id": "P1"}, "sub/b": {"patient_id": "P2"}}
    table = read(tmp_path, ROWS, is_target_needed=False)
    assert table.targets is None and table.carried["a"] == {"patient_id": "P1", "slide_target": "0"}


def test_a_table_in_another_form_and_with_other_capitals_is_read_and_said(tmp_path, caplog):
    caplog.set_level("INFO")
    (tmp_path / "slides.csv").write_text("Slide_ID;Label\na;0\nsub/b;1\n")
    table = read_slide_table(tmp_path / "slides.csv", SLIDES, target_column=None, is_target_needed=True, is_whole=True)
    assert table.targets == {"a": "0", "sub/b": "1"} and "separated by semicolons" in caplog.text


REFUSED = {
    "no slide column": ({"name": ["a", "b"], "target": ["0", "1"]}, {}, "no slide column 'file' or 'image_name'"),
    "two columns of one name": (
        {"Slide": ["a", "b"], "SLIDE": ["a", "b"], "target": ["0", "1"]},
        {},
        r"\['Slide', 'SLIDE'\] differ only in how they are written",
    ),
    "no target": ({"file": ["a", "b"]}, {}, "no target column 'target' or 'label'"),
    "not that target": (ROWS, {"target_column": "grade"}, "no target column 'grade'"),
    "an empty target": (ROWS | {"target": ["0", ""]}, {}, "column 'target' is empty for sub/b"),
    "a slide twice": (
        {"file": ["a", "a.svs", "b"], "target": ["0", "0", "1"]},
        {},
        "more than one row for a",
    ),
    "a slide without a row": ({"file": ["a"], "target": ["0"]}, {}, r"1 slides without a row: sub/b"),
    "a row without a slide": ({"file": ["a", "b", "c"], "target": ["0", "1", "1"]}, {}, "1 rows without a slide: c"),
    "two slide columns": (
        {"Slide": ["a", "b"], "SLIDE": ["a", "b"], "target": ["0", "1"]},
        {},
        "differ only in how they are written",
    ),
    "a column of ours": (ROWS | {"tissue": ["1", "1"]}, {}, r"columns \['tissue'\] would stand twice"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_that_does_not_fit_is_refused_in_words(tmp_path, case):
    rows, options, words = REFUSED[case]
    with pytest.raises(UserError, match=words):
        read(tmp_path, rows, **options)


def test_rows_of_other_slides_are_passed_over_where_one_slide_is_prepared(tmp_path):
    rows = {"file": ["a", "b", "c"], "target": ["0", "1", "1"]}
    assert read(tmp_path, rows, is_whole=False).targets == {"a": "0", "sub/b": "1"}
