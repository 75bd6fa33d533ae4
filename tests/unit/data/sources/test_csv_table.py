"""CSV tables: every usual form is read and said; where cells could move, the line is named."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesion.data.sources.tables.csv_table import read_csv, read_header, remarks_of
from lesion.errors import UserError

PLAIN = "image_name,age,target\na,3,0\nb,4,1\n"


def read(folder: Path, content: bytes | str) -> pd.DataFrame:
    path = folder / "train.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_csv(path)


def said(frame: pd.DataFrame) -> str:
    return " / ".join(f"{remark.level} {remark.what}" for remark in remarks_of(frame))


# The same table in another form, and what is said of it.
FORMS = {
    "plain": (PLAIN.encode(), ""),
    "semicolons": (PLAIN.replace(",", ";").encode(), "separated by semicolons"),
    "tabs": (PLAIN.replace(",", "\t").encode(), "separated by tabs"),
    "vertical bars": (PLAIN.replace(",", "|").encode(), "separated by vertical bars"),
    "sep=": (("sep=;\n" + PLAIN.replace(",", ";")).encode(), "the first line sep=;, separated by semicolons"),
    "sep= in quotes": (('"sep=,"\n' + PLAIN).encode(), 'the first line "sep=,"'),
    "SEP= of Excel": (("SEP=\t\r\n" + PLAIN.replace(",", "\t")).encode(), "separated by tabs"),
    "byte order mark": (b"\xef\xbb\xbf" + PLAIN.encode(), "with a byte order mark"),
    "UTF-16": (PLAIN.encode("utf-16"), "in UTF-16"),
    "UTF-16, other bytes first": (b"\xfe\xff" + PLAIN.encode("utf-16-be"), "in UTF-16"),
    "UTF-32": (PLAIN.encode("utf-32"), "in UTF-32"),
    "Excel's Unicode text": (
        PLAIN.replace(",", "\t").replace("\n", "\r\n").encode("utf-16"),
        "in UTF-16, separated by tabs",
    ),
    "CRLF": (PLAIN.replace("\n", "\r\n").encode(), ""),
    "CR": (PLAIN.replace("\n", "\r").encode(), "with CR line ends"),
    "no line end at the end": (PLAIN.rstrip("\n").encode(), ""),
    "all in quotes": (b'"image_name","age","target"\n"a","3","0"\n"b","4","1"\n', ""),
    "blanks after commas": (PLAIN.replace(",", ", ").encode(), ""),
    "blanks around names": (PLAIN.replace("age,", " age ,").encode(), "without the blanks around its columns' names"),
    "blanks that cannot be seen": (PLAIN.replace("age,", "\u200bage\u00a0,").encode(), "without the blanks"),
    "empty rows": ((PLAIN + ",,\n\n, ,\r\n").encode(), "note 2 rows of empty cells are left out"),
    "an empty row in the middle": (PLAIN.replace("b,", ",,\nb,").encode(), "note 1 row of empty cells is left out"),
    "an empty row at first": ((",,\n" + PLAIN).encode(), "note 1 row of empty cells is left out"),
    "tables one behind the other": (
        (PLAIN.replace("b,", "image_name, age,target\nb,")).encode(),
        "warning 1 row repeats the header: left out",
    ),
    "empty lines at first": (("\n\n" + PLAIN).encode(), ""),
    "a separator at the end of each row": (
        PLAIN.replace("0\n", "0,\n").replace("1\n", "1,\n").encode(),
        "without the empty cell at the end of each row",
    ),
    "a separator at the end of each line": (PLAIN.replace("\n", ",\n").encode(), ""),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_table_is_read_in_each_form_and_the_form_is_said(tmp_path, form):
    content, words = FORMS[form]
    frame = read(tmp_path, content)
    assert frame.to_dict("list") == {"image_name": ["a", "b"], "age": ["3", "4"], "target": ["0", "1"]}
    assert words in said(frame) and bool(words) == bool(said(frame))
    assert read_header(tmp_path / "train.csv") == list(frame.columns) or form == "an empty row at first"


def test_western_letters_in_another_encoding_are_read_with_a_warning_that_shows_them(tmp_path):
    frame = read(tmp_path, "image_name,site\na,Rücken\nb,Fuß\n".encode("cp1252"))
    assert frame["site"].tolist() == ["Rücken", "Fuß"]
    assert "warning the table is not in UTF-8, and is read as Windows-1252: 'Rücken' in line 2" in said(frame)


def test_a_decimal_comma_is_no_separator(tmp_path):
    frame = read(tmp_path, "image_name;age;target\na;30,5;0\nb;3,5;1\n")
    assert frame["age"].tolist() == ["30,5", "3,5"]


def test_semicolons_in_cells_do_not_separate_a_table_of_commas(tmp_path):
    frame = read(tmp_path, "image_name,labels;all\na,x;y\nb,x;z\n")
    assert list(frame.columns) == ["image_name", "labels;all"] and said(frame) == ""


@pytest.mark.parametrize("word", ["NA", "None", "nan", "null", "N/A", "n/a", "NaN", "<NA>", "#N/A"])
def test_words_stay_words_and_only_empty_cells_are_gaps(tmp_path, word):
    frame = read(tmp_path, f"image_name,target\n{word},{word}\nb,\n")
    assert frame["target"].fillna("a gap").tolist() == [word, "a gap"] and frame["image_name"].iloc[0] == word


def test_a_row_is_indexed_by_the_line_on_which_it_begins(tmp_path):
    frame = read(tmp_path, 'image_name,note\n\na,"two\nlines"\n,\nb,x\n')
    assert frame.index.tolist() == [3, 6] and frame["note"].tolist() == ["two\nlines", "x"]


def test_a_cell_may_be_as_long_as_the_outline_of_a_region(tmp_path):
    frame = read(tmp_path, f"image_name,outline\na,{'1 2 ' * 100_000}\n")
    assert len(frame["outline"].iloc[0]) == 400_000


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("inside", ["\n", "\r\n", "\r"])
def test_line_breaks_in_cells_stay_as_they_were_written(tmp_path, end, inside):
    frame = read(tmp_path, f'image_name,note{end}a,"two{inside}lines"{end}b,x{end}')
    assert frame["note"].tolist() == [f"two{inside}lines", "x"]


def test_a_row_with_fewer_cells_is_filled_at_its_end_with_a_warning(tmp_path):
    frame = read(tmp_path, "image_name,age,target\na,3,0\nb\nc,4\n")
    assert frame["age"].fillna("-").tolist() == ["3", "-", "4"]
    assert "warning 2 rows have fewer cells than the header's 3, the first in line 3" in said(frame)


def test_a_column_without_a_name_is_called_by_its_place(tmp_path):
    assert list(read(tmp_path, ",image_name,target\n0,a,1\n").columns) == ["Unnamed: 0", "image_name", "target"]


# What is refused: with which words, and in which line.
REFUSED = {
    "an unquoted comma in the first row": ("image_name,site,target\na,lower leg, left,1\nb,torso,0\n", "line 2 has 4"),
    "an unquoted comma in each row": ("image_name,site,target\na,leg, left,1\nb,leg, right,0\n", "line 2 has 4"),
    "an unquoted comma in the last row": ("image_name,site,target\na,torso,1\nb,leg, left,0\n", "line 3 has 4"),
    "an unquoted comma before an empty cell": ("image_name,site,target\na,torso,1\nb,leg, left,\n", "line 3 has 4"),
    "one separator too many": ("image_name,target\na,1,\nb,0\n", "line 2 has 3"),
    "an unquoted comma under an unnamed column": ("image_name,site,\na,leg, left\nb,torso,\n", "line 2 has a cell"),
    "an unquoted semicolon": ("image_name;site\na;leg; left\nb;torso\n", "line 2 has 3 cells, and the header has 2"),
    "a quote that is not closed": ('image_name,site\na,"leg\nb,torso\n', "opens here is never closed .*line 2"),
    "rows between two stray quotes": (
        'image_name,site,target\na,"leg,1\nb,torso,0\nc,"arm,1\n',
        "a cell holds 3 lines that look like rows.*lines 2 to 4",
    ),
    "rows between stray quotes of other columns": (
        'image_name,site,target\na,"leg,1\nb,torso,0\nc,arm,"1\n',
        "a cell holds 3 lines that look like rows.*lines 2 to 4",
    ),
    "neighbours between two stray quotes": ('image_name,site,n\na,"leg,1\nb,"torso,0\n', "2 lines that look like rows"),
    "a title above the header": ("Study of 2024,,\nimage_name,target\na,1\n", "behind the last name.*Study of 2024"),
    "a comment above the header": ("# drawn\nimage_name,target\na,1\n", "line 2 has 2 cells, and the header has 1"),
    "a second header in another order": ("a,b\n1,2\nb,a\n2,1\n", "a second header"),
    "a column twice": ("target,image_name,target\n0,a,1\n", "names 'target' twice, as columns 1, 3"),
    "a column twice with blanks": ("target,image_name, target \n0,a,1\n", "names 'target' twice"),
    "nothing": ("", "the CSV is empty .* Copy it again"),
    "empty lines": ("\n\n,,\n", "the CSV is empty"),
    "a header alone": ("image_name\n", "the CSV has no rows"),
    "NUL": ("image_name\n\0\n", "it holds NUL bytes"),
    "bytes that are no letters": (b"image_name\n\xff\xfe\n", "line 2 is no text in UTF-8 or Windows-1252"),
    "Chinese letters": ("image_name,site\na,\u80cc\u90e8\n".encode("gb18030"), "line 2 is no text"),
    "Cyrillic letters": ("image_name,site\na,\u0441\u043f\u0438\u043d\u0430\n".encode("cp1251"), "line 2 is no text"),
    "a pointer of Git LFS": ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS pointer"),
    "a workbook": (b"PK\3\4" + bytes(40), "it looks like an Excel workbook, or ZIP"),
    "a page": ("<!DOCTYPE html><html><body>Sign in</body></html>\n", "it looks like HTML"),
    "JSON": ('[{"image_name": "a", "target": 1}]\n', "it looks like JSON"),
    "half of UTF-16": (PLAIN.encode("utf-16")[:-1], "is no text in UTF-16"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_could_be_read_wrong_is_refused_with_its_file(tmp_path, case):
    content, words = REFUSED[case]
    with pytest.raises(UserError, match=words) as caught:
        read(tmp_path, content)
    assert "train.csv" in str(caught.value.where) and caught.value.do


def test_how_many_rows_are_longer_is_told(tmp_path):
    with pytest.raises(UserError, match="line 2 has 3 cells, and the header has 2, and 4 more rows are longer too"):
        read(tmp_path, "image_name,target\n" + "a,b,c\n" * 5 + "a,b\n")


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n", exclude_categories=["Cc", "Cs"]), max_size=9)
names = st.lists(st.text("abcdefxyz_", min_size=2, max_size=6), min_size=2, max_size=5, unique=True)


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    """A header and rows of as many cells, none of them empty."""
    header = draw(names)
    cell = cells.filter(lambda text: text.strip() and text.strip() not in header)  # else it may be a second header
    row = st.lists(cell, min_size=len(header), max_size=len(header))
    return [header, *draw(st.lists(row, min_size=1, max_size=6))]


def written(rows: list[list[str]], separator: str, encoding: str) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=separator, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode(encoding)


@given(rows=tables(), separator=st.sampled_from(",;\t|"), encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_any_table_comes_back_as_it_was_written(tmp_path_factory, rows, separator, encoding):
    frame = read(tmp_path_factory.mktemp("csv"), written(rows, separator, encoding))
    assert [list(frame.columns), *frame.to_numpy().tolist()] == rows


@given(rows=tables(), data=st.data())
def test_a_cell_too_many_in_any_row_is_named_by_its_line(tmp_path_factory, rows, data):
    line = data.draw(st.integers(1, len(rows) - 1))
    place = data.draw(st.integers(0, len(rows[0])))
    longer = [[*row[:place], "more", *row[place:]] if number == line else row for number, row in enumerate(rows)]
    with pytest.raises(UserError, match=f"line {line + 1} has {len(rows[0]) + 1} cells"):
        read(tmp_path_factory.mktemp("csv"), written(longer, ",", "utf-8"))


@given(content=st.one_of(st.binary(max_size=60), st.text('ab,;"\r\n=sep\t', max_size=40).map(str.encode)))
def test_any_bytes_are_a_table_or_a_refusal(tmp_path_factory, content):
    try:
        frame = read(tmp_path_factory.mktemp("csv"), content)
    except UserError as error:
        assert "train.csv" in str(error)
    else:
        assert len(frame) and len(frame.columns)
