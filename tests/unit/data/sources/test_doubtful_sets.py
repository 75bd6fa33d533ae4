"""Doubtful sets: what a data set says twice and differently, or one level too deep, is refused or said with counts."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from factories import dicom_file
from layouts import draw_noise, draw_tree
from lesion.check.groups import single_findings
from lesion.data.channels import Opened, open_channels
from lesion.data.labels.encode import read_labels
from lesion.data.sources.groups import read_folds
from lesion.data.table import Columns, SampleTable

UNSET = frozenset({"target_column", "group_column", "image_column"})
WANTED = Columns(targets=("target",), are_targets_needed=True, metadata=(), group="patient_id", unset=UNSET)


def opened(folder: Path, columns: Columns = WANTED) -> Opened:
    return open_channels({"training": folder}, columns)


def table_in(folder: Path, columns: Columns = WANTED) -> SampleTable:
    found = opened(folder, columns)
    assert found.problems == () and found.training is not None
    return found.training.table()


def remarks_of(found: Opened) -> dict[str, str]:
    assert found.training is not None
    said = [*found.remarks, *found.training.table().remarks]
    return {remark.name: remark.what for remark in said if remark.level == "warning"}


def told(found: Opened) -> str:
    return " ".join(f"{problem.what} {problem.do}" for problem in found.problems)


def write_csv(path: Path, columns: Mapping[str, Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_csv(path, index=False)


def write_shard(path: Path, members: Mapping[str, str]) -> None:
    draw_noise(path.parent.parent / "picture.png")
    picture = (path.parent.parent / "picture.png").read_bytes()
    keys = dict.fromkeys(name.partition(".")[0] for name in members)
    contents = {**{name: text.encode() for name, text in members.items()}, **{f"{key}.png": picture for key in keys}}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as shard:
        for name in sorted(contents):
            info = tarfile.TarInfo(name)
            info.size = len(contents[name])
            shard.addfile(info, io.BytesIO(contents[name]))


def labels_of(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """KEY.cls and KEY.json of samples."""
    cls = {f"{key}.cls": word for key, (word, _) in enumerate(pairs)}
    return {**cls, **{f"{key}.json": json.dumps({"target": word}) for key, (_, word) in enumerate(pairs)}}


def test_two_labels_of_a_sample_that_differ_are_refused_by_key(tmp_path):
    write_shard(tmp_path / "in" / "train-0.tar", labels_of([("0", "0"), ("1", "0"), ("1", "1"), ("0", "1")]))
    assert "differ in 2 samples: 1 (1 and 0), 3 (0 and 1)" in told(opened(tmp_path / "in"))


@pytest.mark.parametrize("pairs", [[("0", "0"), ("1", "1")], [("0", "benign"), ("1", "malignant")]])
def test_two_labels_that_say_the_same_are_said(tmp_path, pairs):
    write_shard(tmp_path / "in" / "train-0.tar", labels_of(pairs * 2))
    table = table_in(tmp_path / "in")
    assert table.targets["target"].tolist() == [word for _, word in pairs * 2]
    [remark] = [remark for remark in table.remarks if remark.name == "two_labels"]
    assert "in 4 samples: that of the JSON is used" in remark.what


def test_a_sample_with_a_number_alone_has_the_class_that_it_numbers(tmp_path):
    members = labels_of([("0", "benign"), ("1", "malignant"), ("0", "benign")])
    del members["2.json"]
    write_shard(tmp_path / "in" / "train-0.tar", members)
    assert table_in(tmp_path / "in").targets["target"].tolist() == ["benign", "malignant", "benign"]


def test_a_second_label_in_json_is_compared_unless_its_classes_are_finer(tmp_path):
    for key, label in (("differs", "malignant"), ("finer", "nevus")):
        members = {f"{row}.cls": word for row, word in enumerate(["benign", "malignant"])}
        members |= {f"{row}.json": json.dumps({"label": word}) for row, word in enumerate([label, "melanoma"])}
        write_shard(tmp_path / key / "train-0.tar", members)
    assert "the 'label' of KEY.json differ in 2 samples" in told(opened(tmp_path / "differs"))
    assert table_in(tmp_path / "finer").targets["target"].tolist() == ["benign", "malignant"]


def test_a_nested_label_is_named(tmp_path):
    members = {f"{key}.json": json.dumps({"meta": {"label": "benign", "age": 3}}) for key in range(4)}
    write_shard(tmp_path / "in" / "train-0.tar", members)
    assert "meta.label is there, nested in another key" in told(opened(tmp_path / "in"))


def test_lists_of_labels_in_json_are_read_as_in_cells(tmp_path):
    lists = [["Mass", "Edema"], ["Mass"], ["Edema"], ["Mass"]]
    write_shard(
        tmp_path / "shards" / "train-0.tar", {f"{k}.json": json.dumps({"target": one}) for k, one in enumerate(lists)}
    )
    lines = [json.dumps({"file_name": f"{k}.png", "label": one, "box": [1.5, 2]}) for k, one in enumerate(lists)]
    draw_tree(tmp_path / "lines", ["."], num=4)
    (tmp_path / "lines" / "metadata.jsonl").write_text("\n".join(lines))
    for folder in ("shards", "lines"):
        labels = read_labels(table := table_in(tmp_path / folder))
        assert labels.target.class_names == ("Edema", "Mass") and labels.encode(table)[0].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (("benign", "malignant"), ("benign", "malignant")),
        (("benign", "malignant"), (0, 1)),
        (("nevus", "melanoma"), ("benign", "malignant")),
        (("0", "1"), (0, 1)),
    ],
)
def test_folders_called_as_another_class_than_the_table_says_are_counted(tmp_path, folders, words):
    draw_tree(tmp_path, [f"images/{folder}" for folder in folders], num=4)
    names = [f"images/{folder}/{number}.png" for folder in folders for number in range(4)]
    target = [words[0]] * 3 + [words[1]] * 5  # one of the first folder is said to be of the other class
    write_csv(tmp_path / "train.csv", {"image_name": names, "target": target})
    said = remarks_of(opened(tmp_path))["folders_contradict"]
    assert "1 of 8 images" in said and f"1 row of {words[1]} in {folders[0]}/" in said
    write_csv(tmp_path / "train.csv", {"image_name": names, "target": [words[0]] * 4 + [words[1]] * 4})
    assert "folders_contradict" not in remarks_of(opened(tmp_path))


def test_folders_of_patients_contradict_no_target(tmp_path):
    draw_tree(tmp_path, ["images/1", "images/2", "images/3"])
    names = [f"images/{folder}/{number}.png" for folder in (1, 2, 3) for number in range(2)]
    write_csv(tmp_path / "train.csv", {"image_name": names, "target": [1, 2, 1, 2, 1, 2]})
    assert "folders_contradict" not in remarks_of(opened(tmp_path))


def test_patients_of_dicom_headers_in_several_groups_are_a_warning(tmp_path):
    for row in range(6):
        path = tmp_path / "images" / f"{row}.dcm"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(dicom_file(PatientID=f"A{row // 2}"))
    columns = {"image_name": range(6), "target": [0, 1] * 3}
    write_csv(tmp_path / "train.csv", {**columns, "patient_id": [f"s{row}" for row in range(6)]})
    said = remarks_of(opened(tmp_path))["patients_in_several_groups"]
    assert "3 patients in rows of 6 groups" in said and "A0 in s0, s1" in said
    write_csv(tmp_path / "train.csv", {**columns, "patient_id": [f"p{row // 2}" for row in range(6)]})
    assert "patients_in_several_groups" not in remarks_of(opened(tmp_path))


@pytest.mark.parametrize(
    "name", ["benign - Copy", "malignant (1)", "x_augmented", "New folder", "unlabeled", "unsorted", "misc"]
)
def test_folders_that_were_left_over_are_said(tmp_path, name):
    draw_tree(tmp_path, ["benign", "malignant", name])
    assert f"{name}/ is taken as a class of its own" in remarks_of(opened(tmp_path))["left_over_class"]
    draw_tree(tmp_path / "other", ["benign", "malignant", "copper (blue)"])
    assert "left_over_class" not in remarks_of(opened(tmp_path / "other"))


@pytest.mark.parametrize("top", ["images", "dataset", "study"])
def test_classes_below_the_first_level_are_refused_with_what_lies_beside(tmp_path, top):
    draw_tree(tmp_path, [f"{top}/benign", f"{top}/malignant", "results/a"])
    found = told(opened(tmp_path))
    assert f"{top}/ holds benign/, malignant/" in found and "Move results/ out of the channel" in found
    draw_tree(tmp_path / "sets", [f"train/{top}/benign", f"train/{top}/malignant", "train/results/a", "test/benign"])
    assert f"{top}/ holds benign/, malignant/" in told(opened(tmp_path / "sets"))
    shutil.rmtree(tmp_path / "sets")
    for path in sorted((tmp_path / "results").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert sorted(set(table_in(tmp_path).targets["target"])) == ["benign", "malignant"]


def test_patients_below_known_classes_are_groups(tmp_path):
    draw_tree(tmp_path, [f"{name}/P{patient:02}" for name in ("benign", "malignant") for patient in range(4)])
    table = table_in(tmp_path)
    assert sorted(set(table.targets["target"])) == ["benign", "malignant"]
    assert sorted(set(table.group_S.tolist())) == ["P00", "P01", "P02", "P03"]


def test_classes_below_patients_are_refused_with_a_way_that_works(tmp_path):
    draw_tree(tmp_path, [f"P{patient:02}/{name}" for name in ("benign", "malignant") for patient in range(4)])
    assert "Turn them round, benign/P00/" in told(opened(tmp_path))


@pytest.mark.parametrize("inner", [["40X", "100X", "200X", "400X"], ["left", "right", "siteA", "P01"]])
def test_folders_below_classes_that_are_no_patients_are_no_groups(tmp_path, inner):
    draw_tree(tmp_path, [f"{('benign', 'malignant')[place % 2]}/{name}" for place, name in enumerate(inner)])
    assert table_in(tmp_path).group_S is None


def test_tables_whose_ids_differ_by_endings_are_joined(tmp_path):
    draw_tree(tmp_path, ["train_jpg"], num=4)
    write_csv(tmp_path / "train.csv", {"image_name": range(4), "target": [0, 1, 0, 1]})
    names = [f"{row}.png" for row in (3, 2, 1, 0)]
    write_csv(tmp_path / "metadata.csv", {"image_name": names, "patient_id": ["d", "c", "b", "a"]})
    assert table_in(tmp_path).group_S.tolist() == ["a", "b", "c", "d"]


@pytest.mark.parametrize("name", ["external_test", "holdout"])
def test_a_table_called_as_a_test_set_is_named_with_a_way_that_works(tmp_path, name):
    columns = {"image_name": range(4), "target": [0, 1, 0, 1]}
    draw_tree(tmp_path, ["train_jpg", name], num=4)
    write_csv(tmp_path / "train.csv", columns)
    write_csv(tmp_path / f"{name}.csv", columns)
    found = opened(tmp_path)
    [remark] = [remark for remark in found.remarks if remark.name == "files_not_read"]
    assert f"{name}.csv is called as a test set" in remark.what and "test_jpg/" in remark.do
    (tmp_path / f"{name}.csv").rename(tmp_path / "test.csv")
    (tmp_path / name).rename(tmp_path / "test_jpg")
    assert opened(tmp_path).test is not None


def test_crosses_and_blanks_are_told_in_one_run(tmp_path):
    draw_tree(tmp_path, ["train_jpg"], num=4)
    write_csv(tmp_path / "train.csv", {"image_name": range(4), "a": ["x", "", "x", ""], "b": ["", "x", "", "x"]})
    found = told(opened(tmp_path, replace(WANTED, targets=("a", "b"))))
    assert found.count("Write 1 for 'x', which 2 rows hold, and 0 for nothing") == 2


def test_images_and_labels_in_one_hdf5_file_are_told_apart(tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["x"], file["y"] = np.zeros((4, 8, 8, 3), np.uint8), np.arange(4) % 2
    found = told(opened(tmp_path))
    assert "images 'x' (4, 8, 8, 3) and the labels 'y' in one file" in found and "data_x.h5" in found
    for name in "xy":
        with h5py.File(tmp_path / "data.h5") as file, h5py.File(tmp_path / f"data_{name}.h5", "w") as part:
            part[name] = file[name][:]
    (tmp_path / "data.h5").unlink()
    assert len(table_in(tmp_path)) == 4


def test_thousands_are_named_as_the_cause(tmp_path):
    draw_tree(tmp_path, ["train_jpg"], num=4)
    columns = {"image_name": range(4), "target": [0, 1] * 2, "cells": ["1,000", "2,500", "3,000", "4,000"]}
    write_csv(tmp_path / "train.csv", columns)
    said = remarks_of(opened(tmp_path, replace(WANTED, metadata=("cells",))))["decimal_commas"]
    assert "in 1,000 it may separate thousands: write 1000" in said


def test_fold_minus_one_is_said():
    fold_S, said = read_folds(np.array(["-1", "-1.0", "0", "1"]), "fold", "train.csv")
    assert "2 of 4 rows" in said[-1].what and "never held out" in said[-1].what and len(set(fold_S.tolist())) == 3
    assert read_folds(np.array(["0", "1", "2"]), "fold", "train.csv")[1] == []


@pytest.mark.parametrize(
    ("names", "groups", "expected"),
    [
        ([f"img_{row}" for row in range(6)], [f"img_{row}" for row in range(6)], "the image's name in each row"),
        ([f"img_{row}.png" for row in range(6)], [f"img_{row}" for row in range(6)], "the image's name in each row"),
        ([f"PAT00{row // 2}_view{row % 2}" for row in range(6)], [f"g{row}" for row in range(6)], "'PAT000'"),
        ([f"PAT00{row // 2}_view{row % 2}" for row in range(6)], [f"g{row // 2}" for row in range(6)], None),
        ([f"ISIC_{row:05}" for row in range(6)], [f"g{row}" for row in range(6)], None),
    ],
)
def test_groups_that_group_nothing_are_a_warning(names, groups, expected):
    table = SampleTable(np.array(names), pd.DataFrame(index=range(len(names))), group_S=np.array(groups))
    findings = single_findings({"training": table})
    assert [expected in finding.what for finding in findings] == [True] * (expected is not None)
