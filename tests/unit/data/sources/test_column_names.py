"""Column names: what is wanted is found whatever its capitals and blanks, if only one column fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.task import wanted_columns
from lesion.data.channels import Opened, open_channels


def opened(folder: Path, text: str, **settings: object) -> Opened:
    (folder / "train.csv").write_text(text)
    return open_channels({"training": folder}, wanted_columns(ClassifyConfig.parse(settings)))


def test_names_match_whatever_their_capitals_blanks_and_hyphens(tmp_path):
    text = "Image_Name,Patient ID, SEX ,age-approx,Target\na,p,male,30,1\nb,q,female,40,0\n"
    found = opened(tmp_path, text)
    table = found.training.table()
    assert found.problems == () and table.image_column == "image_name" and table.target_names == ("target",)
    assert table.group_S.tolist() == ["p", "q"] and list(table.metadata.columns) == ["sex", "age_approx"]
    (said,) = [remark for remark in table.remarks if remark.name == "column_names"]
    for pair in ("'Image_Name' as image_name", "'Patient ID' as patient_id", "'age-approx' as age_approx"):
        assert pair in said.what


def test_a_name_that_is_set_matches_too(tmp_path):
    found = opened(
        tmp_path, "File,Kind,Case,Fold\na,x,1,0\nb,y,2,1\n", image_column="file", target_column="kind", split="fold"
    )
    table = found.training.table()
    assert found.problems == () and table.fold_S.tolist() == ["0", "1"] and table.target_names == ("kind",)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("image_name,target,Target", "columns 'target' and 'Target' differ only in how they are written"),
        ("image_name,TARGET,Target", "columns 'TARGET' and 'Target' differ only"),
        ("image_name,Image Name,target", "columns 'image_name' and 'Image Name' differ only"),
    ],
)
def test_two_columns_that_may_be_the_wanted_one_are_refused(tmp_path, header, words):
    problems = opened(tmp_path, f"{header}\na,0,1\nb,1,0\n").problems
    assert words in problems[0].what and "Remove or rename" in problems[0].do


def test_a_name_that_is_set_as_it_is_written_is_in_no_doubt(tmp_path):
    found = opened(tmp_path, "image_name,target,Target\na,0,x\nb,1,y\n", target_column="Target")
    assert found.problems == () and found.training.table().targets["Target"].tolist() == ["x", "y"]


def test_two_columns_that_nothing_uses_may_differ_in_capitals_alone(tmp_path):
    assert opened(tmp_path, "image_name,target,id,ID\na,0,1,2\nb,1,3,4\n").problems == ()


def test_a_name_that_is_misspelt_is_refused_with_the_nearest(tmp_path):
    problems = opened(tmp_path, "image_nam,target\na,0\nb,1\n").problems
    assert "column 'image_name' or 'image_id' not found; did you mean 'image_nam'?" in str(problems[0])
    problems = opened(tmp_path, "image_name,diagnosi\na,0\nb,1\n", target_column="diagnosis").problems
    assert "did you mean 'diagnosi'?" in str(problems[0])
