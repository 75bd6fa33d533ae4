"""CSV and folder: names find their pictures, and what is wrong with a table is told with column and line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factories import draw_picture, sample_frame, write_channel
from lesion.data.sources.csv_folder import CsvFolder
from lesion.data.sources.location import SplitLocation, walk_files
from lesion.data.sources.rows import pick_image_column
from lesion.data.sources.tables.csv_table import read_csv
from lesion.data.sources.tables.table_files import find_table
from lesion.data.table import Columns
from lesion.errors import UserError

COLUMNS = Columns(
    "image_name",
    ("sex", "age_approx"),
    targets=("target",),
    are_targets_needed=True,
    class_name="benign_malignant",
    group="patient_id",
    is_group_needed=True,
)


def picture(path: Path, level: int) -> None:
    """A square of one grey level, without loss."""
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((4, 4, 3), level, np.uint8))


def table_of(folder: Path, text: str, columns: Columns = COLUMNS, *, name: str = "train.csv") -> CsvFolder:
    (folder / name).write_text(text, encoding="utf-8")
    return CsvFolder(folder / name, columns)


def test_a_table_has_the_columns_asked_for(tmp_path):
    source = CsvFolder(write_channel(tmp_path, sample_frame(4, 1)), COLUMNS)
    table = source.table()
    assert table.name_S.tolist() == ["IMG_000_0", "IMG_001_0", "IMG_002_0", "IMG_003_0"]
    assert table.targets["target"].tolist() == ["1", "0", "0", "0"]
    assert table.group_S.tolist() == ["P000", "P001", "P002", "P003"]
    assert table.class_name_S.tolist() == ["malignant", "benign", "benign", "benign"]
    assert table.image_column == "image_name" and "train.csv" in table.where
    assert table.fold_S is None
    rows = table.metadata_rows()
    assert [list(row) for row in rows] == [["sex", "age_approx"]] * 4
    assert rows[1] == {"sex": "female", "age_approx": None}
    assert source.read(0).shape == (64, 80, 3)


@pytest.mark.parametrize("folder", ["train_jpg", "train", "train_images", "."])
def test_pictures_lie_in_a_folder_named_after_the_table_or_beside_it(tmp_path, folder):
    picture(tmp_path / folder / "a.png", 7)
    assert table_of(tmp_path, "image_name\na\n", Columns("image_name", ())).read(0).max() == 7


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a", "a.png"),
        ("a.png", "a.png"),
        ("a", "A_FOLDER/deep/a.png"),
        ("A_FOLDER/deep/a", "A_FOLDER/deep/a.png"),
        ("A_FOLDER/deep/a.png", "A_FOLDER/deep/a.png"),
        ("B", "B.PNG"),
        ("B.PNG", "B.PNG"),
        ("with space", "with space.png"),
        ("ISIC.001", "ISIC.001.png"),
    ],
)
def test_a_name_finds_its_file_with_or_without_ending_and_folder(tmp_path, name, file):
    picture(tmp_path / "train" / file, 9)
    picture(tmp_path / "train" / "other.png", 200)
    (tmp_path / "train" / "a.txt").write_text("not a picture")
    picture(tmp_path / "train" / "._a.png", 200)  # macOS' shadow of a file
    assert table_of(tmp_path, f"image_name\n{name}\n", Columns("image_name", ())).read(0).max() == 9


@pytest.mark.parametrize("second", ["a.bmp", "more/a.png"])
def test_a_name_that_fits_two_files_is_refused(tmp_path, second):
    picture(tmp_path / "train" / "sub" / "a.png", 1)
    picture(tmp_path / "train" / second, 2)
    with pytest.raises(UserError, match=rf"'a' fits 2 files.*{Path(second).name}"):
        table_of(tmp_path, "image_name\na\n", Columns("image_name", ()))
    assert table_of(tmp_path, f"image_name\n{second}\n", Columns("image_name", ())).read(0).max() == 2


def test_a_picture_that_is_not_there_is_named_when_it_is_read(tmp_path):
    picture(tmp_path / "train" / "a.png", 1)
    source = table_of(tmp_path, "image_name\na\nb\n", Columns("image_name", ()))
    assert source.read(0).max() == 1
    with pytest.raises(UserError, match=r"image not found below .*train \(b\)"):
        source.read(1)


def test_each_row_reads_its_own_picture(tmp_path):
    for level in (30, 10, 20):
        picture(tmp_path / "train" / f"p{level}.png", level)
    source = table_of(tmp_path, "image_name\np20\np30\np10\n", Columns("image_name", ()))
    assert [int(source.read(row).max()) for row in range(3)] == [20, 30, 10]


def test_missing_columns_are_told_together_with_their_hyperparameters(tmp_path):
    with pytest.raises(UserError) as caught:
        wrong = Columns("image_name", ("sex", "age"), ("label",), True, None, "slide", True, "f")
        table_of(tmp_path, "image_name,sex\na,male\n", wrong)
    message = str(caught.value)
    for part in ("'label' (target_column)", "'slide' (group_column)", "'age' (metadata_columns)", "'f' (split)"):
        assert part in message
    assert "The table has image_name, sex. Rename" in message and "sex' (" not in message


def test_a_missing_image_column_is_told_with_what_was_looked_for(tmp_path):
    with pytest.raises(UserError, match=r"'image_name' or 'image_id' not found.*The table has id\. Set image_column"):
        table_of(tmp_path, "id\na\n", Columns(None, ()))
    with pytest.raises(UserError, match="column 'file' not found"):
        table_of(tmp_path, "image_name\na\n", Columns("file", ()))


def test_image_id_is_taken_where_there_is_no_image_name(tmp_path):
    assert table_of(tmp_path, "image_id\na\n", Columns(None, ())).table().image_column == "image_id"
    frame = pd.DataFrame({"image_id": ["a"], "image_name": ["b"]})
    assert pick_image_column(frame, None, "here") == "image_name"


@pytest.mark.parametrize("column", ["image_name", "patient_id", "target"])
def test_empty_cells_are_told_with_their_lines(tmp_path, column):
    frame = sample_frame(6, 1).astype("string")
    frame.loc[[1, 4], column] = ["", "  "]  # the header is line 1, so rows 1 and 4 are lines 3 and 6
    with pytest.raises(UserError, match=rf"column '{column}' is empty in 2 (of 6 )?rows .*lines 3, 6"):
        table_of(tmp_path, frame.to_csv(index=False), replace(COLUMNS, on_missing_group="error"))


def test_a_picture_in_two_rows_is_named(tmp_path):
    frame = sample_frame(3, 1)
    frame.loc[2, "image_name"] = frame.loc[0, "image_name"]
    with pytest.raises(UserError, match="1 image is in more than one row, the first: IMG_000_0"):
        table_of(tmp_path, frame.to_csv(index=False))


def test_usual_metadata_is_taken_where_none_is_named(tmp_path):
    table = table_of(tmp_path, "image_name,age_approx,other\na,5,6\n", Columns("image_name")).table()
    assert list(table.metadata.columns) == ["age_approx"]


def test_what_is_not_needed_is_taken_where_it_is_there(tmp_path):
    wanted = Columns("image_name", (), targets=("target",), group="patient_id")
    bare = table_of(tmp_path, "image_name\na\n", wanted).table()
    assert bare.targets is None and bare.group_S is None
    full = table_of(tmp_path, "image_name,target,patient_id\na,1,p\n", wanted).table()
    assert full.targets["target"].tolist() == ["1"] and full.group_S.tolist() == ["p"]


def test_the_class_name_column_may_be_absent(tmp_path):
    columns = Columns("image_name", (), targets=("target",), class_name="benign_malignant")
    assert table_of(tmp_path, "image_name,target\na,0\nb,1\n", columns).table().class_name_S is None


def test_excels_byte_order_mark_and_spaces_after_commas_are_no_part_of_the_table(tmp_path):
    (tmp_path / "train.csv").write_bytes(b"\xef\xbb\xbfimage_name, target\r\na, 0\r\nb, 1\r\n")
    table = CsvFolder(tmp_path / "train.csv", Columns("image_name", (), targets=("target",))).table()
    assert table.name_S.tolist() == ["a", "b"] and table.targets["target"].tolist() == ["0", "1"]


def test_cells_stay_as_they_were_written(tmp_path):
    frame = read_csv(write(tmp_path, "image_name,code\n0012,1e3\n"))
    assert frame["image_name"].tolist() == ["0012"] and frame["code"].tolist() == ["1e3"]


def test_a_table_is_found_below_its_channel_and_must_be_the_only_one(tmp_path):
    location = SplitLocation(tmp_path, "train")
    with pytest.raises(UserError, match=r"no train\.csv here"):
        find_table(location, None)
    (tmp_path / "nested" / "deep").mkdir(parents=True)
    first = write(tmp_path / "nested" / "deep", "image_name\na\n")
    (tmp_path / "._train.csv").write_text("macOS")
    assert find_table(location, None) == find_table(SplitLocation(tmp_path, "validation"), None) == first
    write(tmp_path, "image_name\na\n")
    with pytest.raises(UserError, match=r"2 files are called train\.csv"):
        find_table(location, None)


def test_links_are_followed(tmp_path):
    draw_picture(tmp_path / "elsewhere" / "a.jpg", is_positive=True, seed=0)
    (tmp_path / "channel").mkdir()
    (tmp_path / "channel" / "train").symlink_to(tmp_path / "elsewhere")
    assert [path.name for path in walk_files(tmp_path / "channel")] == ["a.jpg"]


def write(folder: Path, text: str) -> Path:
    (folder / "train.csv").write_text(text)
    return folder / "train.csv"
