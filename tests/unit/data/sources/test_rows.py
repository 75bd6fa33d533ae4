"""Rows: cells of targets, ids and metadata, as they are taken from a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.task import wanted_columns
from lesion.data.channels import Opened, open_channels

HEADER = "image_name,patient_id,sex,age_approx,target\n"


def opened(folder: Path, rows: str, test: str | None = None, **settings: object) -> Opened:
    (folder / "train.csv").write_text(HEADER + rows)
    if test is not None:
        (folder / "test.csv").write_text(HEADER + test)
    return open_channels({"training": folder}, wanted_columns(ClassifyConfig.parse(settings)))


@pytest.mark.parametrize("word", ["None", "NA", "nan", "null", "N/A", "#NA"])
def test_a_word_is_a_class_an_id_and_a_name_and_in_metadata_a_gap(tmp_path, word):
    found = opened(tmp_path, f"{word},{word},{word},{word},{word}\nb,q,male,40,DR\n")
    table = found.training.table()
    assert found.problems == () and table.targets["target"].tolist() == [word, "DR"]
    assert table.name_S.tolist() == [word, "b"] and word in table.group_S.tolist()
    assert table.metadata_rows() == [{"sex": None, "age_approx": None}, {"sex": "male", "age_approx": "40"}]


def test_an_empty_target_is_a_gap(tmp_path):
    (problem,) = opened(tmp_path, "a,p,male,30,\n,,,,\nb,q,male,40,DR\nc,r,male,40, \n").problems
    assert problem.what == "column 'target' is empty in 2 of 3 rows"
    assert str(problem.where).endswith("train.csv, lines 2, 5")


def test_a_test_set_whose_targets_are_all_empty_is_one_without_targets(tmp_path):
    found = opened(tmp_path, "a,p,male,30,0\nb,q,male,40,1\n", "c,r,male,30,\nd,s,male,40,\n")
    table = found.test.table()
    assert found.problems == () and table.targets is None and "target" not in table.others.columns
    (said,) = table.remarks
    assert "empty in all rows: a set without targets" in said.what and said.where.endswith("test.csv")


def test_a_test_set_with_some_targets_is_refused_with_its_file_and_lines(tmp_path):
    (problem,) = opened(tmp_path, "a,p,male,30,0\nb,q,male,40,1\n", "c,r,male,30,1\nd,s,male,40,\n").problems
    assert "column 'target' is empty in 1 of 2 rows" in problem.what
    assert str(problem.where).endswith("test.csv, line 3")


def test_a_training_set_whose_targets_are_all_empty_is_refused(tmp_path):
    (problem,) = opened(tmp_path, "a,p,male,30,\nb,q,male,40,\n").problems
    assert "column 'target' is empty in 2 of 2 rows" in problem.what


def test_decimal_commas_of_metadata_are_numbers_and_those_of_targets_are_whole(tmp_path):
    found = opened(tmp_path, 'a,p,male,"30,5","1,0"\nb,q,male,"4,0","0,0"\n')
    table = found.training.table()
    assert table.metadata["age_approx"].tolist() == ["30.5", "4.0"]
    assert table.targets["target"].tolist() == ["1.0", "0.0"]
    assert [remark.name for remark in table.remarks] == ["decimal_commas"]


def test_all_that_was_decided_about_a_table_is_said_one_line_each(tmp_path):
    text = HEADER.replace("target", "Target") + 'a,p,male,"30,5",1\nb,q,male,"4,0",0\n,,,,\n'
    (tmp_path / "labels.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    found = open_channels({"training": tmp_path}, wanted_columns(ClassifyConfig()))
    names = [remark.name for remark in found.training.table().remarks]
    assert names == ["table_form", "empty_rows", "table_file", "column_names", "decimal_commas"]
    assert all(remark.where.endswith("labels.csv") for remark in found.training.table().remarks)
