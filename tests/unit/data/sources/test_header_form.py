"""Header form: a table without a header, or with another separator, is refused with that cause and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from layouts import draw_noise
from lesion.data.sources.csv_folder import CsvFolder
from lesion.data.table import Columns
from lesion.errors import UserError

WANTED = Columns(
    targets=("target",),
    are_targets_needed=True,
    group="patient_id",
    unset=frozenset({"image_column", "target_column", "group_column", "metadata_columns"}),
)


def opened(folder: Path, text: str, columns: Columns = WANTED) -> CsvFolder:
    (folder / "train.csv").write_text(text)
    for number, name in enumerate("abc"):
        draw_noise(folder / f"{name}.png", seed=number)
    return CsvFolder(folder / "train.csv", columns)


@pytest.mark.parametrize(
    ("separator", "called", "stated"),
    [
        (":", "colons", "sep=:"),
        ("^", r"'\^'", r"sep=\^"),
        ("~", "'~'", "sep=~"),
        ("  ", "several blanks", None),
        (" ", "blanks", None),
    ],
)
def test_a_header_of_one_cell_names_what_seems_to_separate_it(tmp_path, separator, called, stated):
    text = "".join(f"{separator.join(row)}\n" for row in (("image", "target"), ("a.png", "1"), ("b.png", "0")))
    with pytest.raises(UserError, match=f"one cell, .* separated by {called}, .*Save the table with commas") as error:
        opened(tmp_path, text)
    assert (stated is not None) == ("sep=" in error.value.do)
    if stated:  # and the advice can be followed
        table = opened(tmp_path, f"sep={separator}\n{text}").table()
        assert table.name_S.tolist() == ["a.png", "b.png"] and table.targets["target"].tolist() == ["1", "0"]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (["a.png,1", "b.png,0"], "'a.png' is the name of an image"),
        (["sub/a.DCM,x", "b,y"], "'sub/a.DCM' is the name of an image"),
        (["a,P1,1", "b,P2,0"], "'P1' has the form of the rows below"),
        (["a,benign", "b,malignant", "c,benign"], "'benign' is also in the rows below"),
        (["a,0.5", "b,1.25"], "'0.5' is a number, as in the rows below"),
        (["ISIC_0024306,nv", "ISIC_0024307,bkl"], "'ISIC_0024306' has the form of the rows below"),
    ],
)
def test_a_first_line_that_is_a_row_is_said_to_be_no_header(tmp_path, rows, why):
    with pytest.raises(UserError, match="first line is a row and not a header, since") as error:
        opened(tmp_path, "\n".join(rows))
    assert why in error.value.what and "names the columns, such as image_name,target" in error.value.do


def test_a_first_row_with_a_value_twice_is_taken_for_a_row(tmp_path):
    with pytest.raises(UserError, match=r"names '1' twice.*Write a line above it that names the columns"):
        opened(tmp_path, "a.png,1,1\nb.png,0,0\n")


@pytest.mark.parametrize("header", ["picture,verdict", "name of the picture,y"])
def test_a_header_of_other_names_is_still_a_header(tmp_path, header):
    with pytest.raises(UserError, match="column 'image_name' or 'image_id' not found"):
        opened(tmp_path, f"{header}\na.png,1\nb.png,0\n")


def test_a_table_that_has_its_columns_is_never_judged_by_its_header(tmp_path):
    table = opened(tmp_path, "image_name,target,1\na.png,1,3\nb.png,0,4\n").table()
    assert list(table.others.columns) == ["1"]
