"""Imagefolder: Hugging Face's metadata.jsonl and metadata.csv are tables; without a label they say so."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.data.channels import columns_of, open_channels
from lesion.data.prediction_set import open_prediction_set
from lesion.data.sources.json_lines import read_json_lines
from lesion.data.table import Columns
from lesion.errors import UserError
from sources import colour_of, write_png


def write(folder: Path, rows: list[dict], ending: str, *, draw: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if ending == ".jsonl":
        (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with (folder / "metadata.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    for row in rows if draw else ():
        write_png(folder / row["file_name"], row["file_name"])


def rows_of(first: int, *, label: str | None = "label") -> list[dict]:
    rows = [{"file_name": f"{first + number:04d}.png", "age": 40 + number} for number in range(4)]
    return [row if label is None else {**row, label: number % 2} for number, row in enumerate(rows)]


def opened(folder: Path, **settings: object):
    columns = columns_of(ClassifyConfig.parse(settings))
    columns = Columns(**{**columns.__dict__, "are_targets_needed": True})
    return open_channels({"training": folder}, columns)


@pytest.mark.parametrize("ending", [".jsonl", ".csv"])
def test_one_folder(tmp_path, ending):
    write(tmp_path, rows_of(0), ending)
    found = opened(tmp_path)
    assert found.problems == ()
    table = found.training.table()
    assert table.name_S.tolist() == ["0000.png", "0001.png", "0002.png", "0003.png"]
    assert table.targets["label"].tolist() == ["0", "1", "0", "1"]
    assert "imagefolder" in {remark.name for remark in table.remarks}
    assert tuple(found.training.read(1)[0, 0]) == colour_of("0001.png")


@pytest.mark.parametrize("ending", [".jsonl", ".csv"])
@pytest.mark.parametrize("top", ["", "data/"])
@pytest.mark.parametrize(("names", "is_disjoint"), [(("train", "test"), True), (("train", "test"), False)])
def test_a_table_in_the_folder_of_each_set(tmp_path, ending, top, names, is_disjoint):
    """The same names in both folders are usual: 0000.png is in each."""
    train, test = names
    write(tmp_path / top / train, rows_of(0), ending)
    write(tmp_path / top / test, rows_of(4 if is_disjoint else 0, label=None), ending)
    write(tmp_path / top / "validation", rows_of(8), ending)
    found = opened(tmp_path)
    assert found.problems == ()
    assert len(found.training.table()) == 8 and found.training.table().is_valid_S.sum() == 4
    assert len(found.test.table()) == 4 and found.test.table().targets is None


def test_an_image_that_is_missing_is_never_that_of_another_set(tmp_path):
    write(tmp_path / "train", rows_of(0), ".jsonl")
    write(tmp_path / "test", rows_of(4), ".jsonl")
    (tmp_path / "train" / "0003.png").rename(tmp_path / "test" / "0003.png")
    found = opened(tmp_path)
    with pytest.raises(UserError, match="not found"):
        found.training.read(3)


def test_one_table_above_the_folders_of_the_images(tmp_path):
    rows = [{"file_name": f"train/{number:04d}.png", "label": "ab"[number % 2]} for number in range(4)]
    write(tmp_path, rows, ".jsonl")
    found = opened(tmp_path)
    assert found.problems == () and found.training.table().targets["label"].tolist() == ["a", "b", "a", "b"]


@pytest.mark.parametrize("ending", [".jsonl", ".csv"])
def test_without_a_label_the_cause_is_named(tmp_path, ending):
    rows = [{**row, "text": "a mole"} for row in rows_of(0, label=None)]
    write(tmp_path, rows, ending)
    (problem,) = opened(tmp_path).problems
    assert (
        f"metadata{ending} of a Hugging Face imagefolder has no column of labels: it has file_name, age, text"
        in str(problem)
    )
    assert "target_column" in problem.do and "source=class_folder" in problem.do
    assert opened(tmp_path, target_column="text").problems == ()


def test_lists_are_not_read_and_that_is_said(tmp_path):
    rows = [{**row, "objects": {"bbox": [[1, 2, 3, 4]]}} for row in rows_of(0)]
    write(tmp_path, rows, ".jsonl")
    (said,) = [one for one in opened(tmp_path).training.table().remarks if one.name == "nested_cells"]
    assert "objects" in said.what


def test_cells_are_as_json_writes_them_and_lines_are_numbered(tmp_path):
    path = tmp_path / "metadata.jsonl"
    path.write_text(
        '\ufeff{"file_name": "a", "label": true, "age": 1.50, "none": null}\n\n{"file_name": "b", "age": 2}\n'
    )
    frame = read_json_lines(path)
    assert frame.index.tolist() == [1, 3] and frame["label"].fillna("").tolist() == ["true", ""]
    assert frame["age"].tolist() == ["1.5", "2"] and frame["none"].isna().all()
    path.write_text('{"file_name": "a"}\n[1]\n')
    with pytest.raises(UserError, match="line 2 is not a JSON object"):
        read_json_lines(path)


def test_a_set_is_predicted_from_its_table(tmp_path):
    write(tmp_path, rows_of(0, label=None), ".jsonl")
    for path in (tmp_path, tmp_path / "metadata.jsonl"):
        found = open_prediction_set(path, Columns(metadata=()))
        assert found.table().name_S.tolist() == ["0000.png", "0001.png", "0002.png", "0003.png"]


def test_an_augmented_manifest_is_still_one(tmp_path):
    write(tmp_path, rows_of(0), ".jsonl")
    lines = [{"source-ref": f"s3://b/{row['file_name']}", "label": row["label"]} for row in rows_of(0)]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert opened(tmp_path).training.table().where.endswith("metadata.jsonl")
    assert opened(tmp_path).training.table().image_column == "image_name"
