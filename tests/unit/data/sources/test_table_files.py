"""Table files: the table of a set is found whatever it is called, if it is the only one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.data.channels import columns_of, open_channels
from lesion.data.sources.tables.table_files import set_in
from lesion.errors import UserError
from sources import write_png

HAM = "lesion_id,image_id,dx,dx_type,age,sex,localization\nL1,a,mel,histo,50,male,back\nL2,b,nv,histo,40,female,face\n"
SIIM = "image_name,target\na,0\nb,1\n"


def opened(folder: Path, **settings: object):
    columns = columns_of(ClassifyConfig.parse(settings))
    return open_channels({"training": folder}, columns)


def table_of(folder: Path, split: str = "training", **settings: object) -> str | None:
    """The path of the table that a set was opened from."""
    found = opened(folder, **settings)
    assert found.problems == ()
    source = getattr(found, split)
    return None if source is None else Path(source.table().where).relative_to(folder).as_posix()


def write(folder: Path, *names: str, text: str = SIIM) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    "name",
    [
        *("metadata.csv", "labels.csv", "HAM10000_metadata.csv", "Data_Entry_2017.csv", "train_labels.csv"),
        *("trainLabels.csv", "Training.csv", "TRAIN.CSV", "bcn_20k_train.csv", "ISIC_2019_Training_GroundTruth.csv"),
        *("train.tsv", "metadata.tab", "deep/below/meta.csv", "train_val_split.csv", "values.csv"),
    ],
)
def test_the_only_table_is_taken_whatever_its_name_and_said(tmp_path, name):
    write(tmp_path, name)
    assert table_of(tmp_path) == name
    (said,) = [one for one in opened(tmp_path).training.table().remarks if one.name == "table_file"]
    assert said.what == f"the table of the train set is {name}" and "table_file" in said.do


def test_train_csv_is_taken_without_a_word_whatever_lies_beside(tmp_path):
    write(tmp_path, "train.csv", "boxes.csv", "test_results.csv")
    assert table_of(tmp_path) == "train.csv" and table_of(tmp_path, "test") is None
    assert opened(tmp_path).training.table().remarks == ()


@pytest.mark.parametrize("name", ["HAM10000_metadata", "HAM10000_metadata.txt"])
def test_a_table_without_an_ending_is_taken_if_its_columns_are_known(tmp_path, name):
    write(tmp_path, name, text=HAM)
    write(tmp_path, "LICENSE", "readme.txt", text="Free, for all.\n")
    assert table_of(tmp_path) == name


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train_labels.csv", "test_labels.csv"),
        ("ISIC_2019_Training_GroundTruth.csv", "ISIC_2019_Test_GroundTruth.csv"),
        ("metadata.csv", "test.csv"),
        ("Training.csv", "Testing.csv"),
    ],
)
def test_tables_of_other_sets_are_found_by_their_own_names(tmp_path, train, test):
    write(tmp_path, train, test)
    assert table_of(tmp_path) == train and table_of(tmp_path, "test") == test


def test_an_example_of_an_answer_is_no_table_of_a_set(tmp_path):
    write(tmp_path, "labels.csv", "sample_submission.csv", "sampleSubmission.csv")
    assert table_of(tmp_path) == "labels.csv"


def test_of_several_tables_none_is_taken_and_all_are_named(tmp_path):
    write(tmp_path, "boxes.csv", "notes.csv")
    write(tmp_path, "HAM10000_metadata.csv", text=HAM)
    (problem,) = opened(tmp_path).problems
    assert "3 tables may be that of the train set: HAM10000_metadata.csv, boxes.csv, notes.csv" in problem.what
    assert "HAM10000_metadata.csv is known as that of HAM10000" in problem.what
    assert "table_file=HAM10000_metadata.csv" in problem.do
    assert table_of(tmp_path, table_file="HAM10000_metadata.csv") == "HAM10000_metadata.csv"


@pytest.mark.parametrize("chosen", ["b/meta.csv", "other.csv", "train.csv"])
def test_table_file_names_a_file_or_a_path(tmp_path, chosen):
    write(tmp_path, "a/meta.csv", "b/meta.csv", "deep/other.csv", "train.csv")
    assert table_of(tmp_path, table_file=chosen) == ("deep/other.csv" if chosen == "other.csv" else chosen)


@pytest.mark.parametrize(("chosen", "words"), [("meta.csv", "2 files are called so"), ("x.csv", "no such file")])
def test_table_file_that_names_no_single_file_is_refused_with_what_there_is(tmp_path, chosen, words):
    write(tmp_path, "a/meta.csv", "b/meta.csv")
    (problem,) = opened(tmp_path, table_file=chosen).problems
    assert words in problem.what and "a/meta.csv, b/meta.csv" in problem.do


def test_two_files_called_train_csv_are_refused(tmp_path):
    write(tmp_path, "train.csv", "deep/train.csv")
    (problem,) = opened(tmp_path).problems
    assert "2 files are called train.csv" in problem.what


def test_a_spreadsheet_is_named_with_what_to_do(tmp_path):
    write(tmp_path, "labels.xlsx", text="PK")
    (problem,) = opened(tmp_path).problems
    assert "Save labels.xlsx as CSV" in problem.do


@pytest.mark.parametrize("name", ["HAM10000_metadata.csv", "HAM10000_metadata.tab", "HAM10000_metadata"])
def test_folders_of_images_beside_a_table_are_no_classes(tmp_path, name):
    write(tmp_path, name, text=HAM)
    write_png(tmp_path / "HAM10000_images_part_1" / "a.png", "p1")
    write_png(tmp_path / "HAM10000_images_part_2" / "b.png", "p2")
    assert table_of(tmp_path) == name
    assert opened(tmp_path).training.read(1).shape == (24, 24, 3)


def test_a_table_beside_another_format_belongs_to_that(tmp_path):
    write(tmp_path, "anything.csv")
    write(tmp_path, "train.lst", text="0\t1\ta.png\n1\t0\tb.png\n")
    assert table_of(tmp_path) == "train.lst"


def test_a_pipe_without_an_ending_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="no train set found"):
        opened(tmp_path).whole()


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *(("train_labels", "train"), ("ISIC_2019_Training_Input", "train"), ("trainLabels", "train")),
        *(("val", "validation"), ("validation_2", "validation"), ("valid", "validation"), ("TestSet", "test")),
        *(("values", None), ("contest", None), ("latest", None), ("strain", None), ("train_test_split", None)),
    ],
)
def test_the_word_of_a_set_stands_alone_in_a_name(name, split):
    assert set_in(name) == split
