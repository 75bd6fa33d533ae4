"""Question: what the target columns ask is decided once, and said by the check; what is unclear is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from checks import DataSet, check, errors, one
from jobs import small_frame

from factories import draw_picture, write_channel
from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.results.summary import judge_slides
from lesion.data.labels.encode import Labelled, read_labels
from lesion.data.table import SampleTable

ROWS = np.arange(16)
WHO = {"metadata_columns": "[]", "folds": 2}


def channel(folder: Path, **columns: object) -> dict[str, Path]:
    """A channel of 16 pictures of 8 patients with these columns."""
    frame = small_frame(8)[["image_name", "patient_id"]].assign(**columns)
    write_channel(folder, frame)
    return {"training": folder}


def classes_of(report, part: str = "training") -> dict[str, int]:
    return report.sets[part]["classes"]


def test_the_check_names_the_class_that_the_probability_is_of(tmp_path):
    channels = channel(tmp_path / "in", target=np.where(ROWS % 2, "abnormal", "normal"))
    report = check(channels, tmp_path / "out", **WHO)
    assert errors(report) == []
    assert "binary: the probability is that of abnormal, against normal" in report.as_text()
    assert "the probability is that of class 'abnormal'" in one(report, "positive_class").what
    written = json.loads((tmp_path / "out" / "check.json").read_text())
    assert written["question"] == {"kind": "binary", "classes": ["normal", "abnormal"], "positive_class": "abnormal"}
    assert "the probability is that of abnormal, against normal" in (tmp_path / "out" / "check.html").read_text()
    turned = check(channels, tmp_path / "out", positive_class="NORMAL", **WHO)
    assert turned.question["positive_class"] == "normal"


def test_a_pair_that_is_not_known_is_refused_with_both_ways_out(tmp_path):
    channels = channel(tmp_path / "in", target=np.where(ROWS % 2, "melanoma", "basal cell carcinoma"))
    [error] = errors(check(channels, tmp_path / "out", **WHO))
    assert "positive_class=basal cell carcinoma or positive_class=melanoma" in error.do
    assert errors(check(channels, tmp_path / "out", positive_class="melanoma", **WHO)) == []


def test_class_folders_that_differ_in_capitals_are_one_class(tmp_path):
    folders = ["Benign", "benign", "malignant", "Malignant"]
    for row in range(16):
        draw_picture(tmp_path / "in" / folders[row % 4] / f"{row}.png", is_positive=row % 4 > 1, seed=row)
    report = check({"training": tmp_path / "in"}, tmp_path / "out", folds=2)
    assert errors(report) == [] and classes_of(report) == {"Benign": 8, "Malignant": 8}
    assert "'Benign' in 4 rows, 'benign' in 4 rows" in one(report, "class_spellings").what


def test_a_test_set_that_spells_a_class_in_another_way_is_judged_and_said(tmp_path):
    data = DataSet(tmp_path / "training", small_frame(8).assign(target=np.where(ROWS % 2, "sick", "healthy")))
    other = small_frame(3).assign(image_name=lambda frame: "T" + frame["image_name"], target=["Sick", "HEALTHY"] * 3)
    data.add("test", other.assign(patient_id="new"))
    report = data.check(class_name_column="none")
    assert errors(report) == [] and classes_of(report, "test") == {"healthy": 3, "sick": 3}
    assert "sick ('Sick' in 3 rows)" in one(report, "class_spellings").what


def test_one_abnormal_tile_makes_its_slide_abnormal():
    words = ["normal", "abnormal", "normal", *["normal"] * 6]
    targets = pd.DataFrame({"target": words})
    table = SampleTable(
        name_S=np.array([f"t{row}" for row in range(9)]),
        metadata=pd.DataFrame(index=range(9)),
        targets=targets,
        group_S=np.repeat(["slide 1", "slide 2", "slide 3"], 3),
    )
    labels = read_labels(table)
    labelled = Labelled(table, labels.target, labels.encode(table))
    config = ClassifyConfig.parse({"slide_score": "max"})
    summary, slides = judge_slides(labelled, np.array([[0.1], [0.9], *[[0.1]] * 7], np.float32), config)
    assert summary["classes"] == {"normal": 2, "abnormal": 1}
    assert slides["target"].tolist() == [1, 0, 0] and slides["score"].round(3).tolist() == [0.9, 0.1, 0.1]


LABELS = ["Effusion|Mass", "Effusion", "No Finding", "Mass"]


def test_joined_labels_are_several_unless_each_cell_is_one_class(tmp_path):
    channels = channel(tmp_path / "in", target=[LABELS[row % 4] for row in ROWS // 4])
    report = check(channels, tmp_path / "out", **WHO)
    assert errors(report) == [] and classes_of(report) == {"Effusion": 8, "Mass": 8}
    remark = one(report, "joined_labels")
    assert remark.level == "warning" and "label_separator=none" in remark.do
    report = check(channels, tmp_path / "out", label_separator="none", split="stratified_kfold", **WHO)
    assert errors(report) == [] and classes_of(report) == dict.fromkeys(sorted(LABELS), 4)


def test_columns_of_which_one_is_1_are_one_question_unless_the_user_says_otherwise(tmp_path):
    columns = {name: (number == ROWS % 3).astype(float) for number, name in enumerate("abc")}
    channels = channel(tmp_path / "in", **columns)
    report = check(channels, tmp_path / "out", target_column="a, b, c", **WHO)
    assert errors(report) == [] and report.question["kind"] == "multiclass"
    assert "task_type=multilabel" in one(report, "one_hot_columns").do
    asked = check(channels, tmp_path / "out", target_column="a, b, c", positive_class="b", slide_score="max", **WHO)
    assert errors(asked) == [] and asked.question["positive_class"] == "b"
    report = check(channels, tmp_path / "out", target_column="a, b, c", task_type="multilabel", **WHO)
    assert errors(report) == [] and report.question["kind"] == "multilabel"


CELLS = {"edema": ["1", "0", "-1", ""], "mass": ["0", "1", "1", "1"]}


@pytest.mark.parametrize(
    ("policy", "expected", "told"),
    [
        ("drop", {"edema": 4, "mass": 8}, "4 of 16 rows are left out for their uncertain labels: 4 with -1"),
        ("positive", {"edema": 8, "mass": 12}, "uncertain labels are taken as positive: 4; blank labels"),
        ("negative", {"edema": 4, "mass": 12}, "uncertain labels are taken as negative: 4; blank labels"),
    ],
)
def test_uncertain_labels_are_what_on_uncertain_says(tmp_path, policy, expected, told):
    columns = {name: [cells[row % 4] for row in ROWS // 4] for name, cells in CELLS.items()}
    channels = channel(tmp_path / "in", **columns)
    settings = {"target_column": "edema, mass", "split": "stratified_kfold", **WHO}
    report = check(channels, tmp_path / "out", **settings)
    assert any("on_uncertain=drop" in error.do and "positive or negative" in error.do for error in errors(report))
    report = check(channels, tmp_path / "out", on_uncertain=policy, **settings)
    assert errors(report) == [] and classes_of(report) == expected
    assert any(told in finding.what for finding in report.findings if finding.name == "uncertain_labels")


def test_rows_without_any_label_are_left_out_and_counted(tmp_path):
    channels = channel(tmp_path / "in", target=[["benign", "malignant", "", "uncertain"][row % 4] for row in ROWS])
    refused = " ".join(str(error) for error in errors(check(channels, tmp_path / "out", **WHO)))
    assert "is empty in 4 of 16 rows" in refused and "on_uncertain=drop" in refused
    report = check(channels, tmp_path / "out", on_uncertain="drop", **WHO)
    assert errors(report) == [] and classes_of(report) == {"benign": 4, "malignant": 4}
    assert "8 of 16 rows are left out for their uncertain labels: 4 with uncertain, 4 without any label" in [
        finding.what for finding in report.findings
    ]


@pytest.mark.parametrize(
    ("columns", "settings", "told"),
    [
        ({"target": 0}, {}, "column 'target' holds one value only, 0, in all 16 rows"),
        ({"a": ROWS % 2, "b": 0}, {"target_column": "a, b"}, "column 'b' holds nothing but 0 in all 16 rows"),
        ({"a": ROWS % 2, "b": 1}, {"target_column": "a, b"}, "column 'b' holds nothing but 1 in all 16 rows"),
    ],
)
def test_a_column_of_one_value_is_called_so_and_no_folds_are_advised(tmp_path, columns, settings, told):
    [error] = errors(check(channel(tmp_path / "in", **columns), tmp_path / "out", **settings, **WHO))
    assert told in error.what and "fold" not in str(error)


@pytest.mark.parametrize(
    "cells", [["['mass']", "['edema']", "['edema', 'mass']", "[]"], ['["mass"]', '["edema","mass"]', '["edema"]']]
)
def test_cells_that_are_lists_hold_several_labels(tmp_path, cells):
    report = check(channel(tmp_path / "in", target=[cells[row % len(cells)] for row in ROWS]), tmp_path / "out", **WHO)
    assert errors(report) == [] and list(classes_of(report)) == ["edema", "mass"]
    assert classes_of(report)["mass"] == sum("mass" in cells[row % len(cells)] for row in ROWS)


def test_labels_that_blanks_join_are_asked_about(tmp_path):
    channels = channel(tmp_path / "in", target=[["edema", "mass", "edema mass"][row % 3] for row in ROWS])
    [error] = errors(check(channels, tmp_path / "out", **WHO))
    assert "'edema mass'" in error.what and "label_separator=space" in error.do
    report = check(channels, tmp_path / "out", label_separator="space", **WHO)
    assert errors(report) == [] and list(classes_of(report)) == ["edema", "mass"]


def test_a_few_rows_that_are_not_one_hot_among_many_that_are_named(tmp_path):
    columns = {name: (number == ROWS % 3).astype(int) for number, name in enumerate("abc")}
    columns["b"][0] = 1
    report = check(channel(tmp_path / "in", **columns), tmp_path / "out", target_column="a, b, c", **WHO)
    [finding] = [finding for finding in report.findings if finding.name == "nearly_one_hot"]
    assert finding.level == "warning" and "15 of 16 rows have exactly one 1" in finding.what
    report = check(
        channel(tmp_path / "in", **columns), tmp_path / "out", target_column="a, b, c", task_type="multilabel", **WHO
    )
    assert "nearly_one_hot" not in {finding.name for finding in report.findings}


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["0%", "50 %", "12,5%", "100%"], "0%, 100%, 12,5% and 1 more: percentages"),
        (["5 mm", "7 mm", "12 mm"], "12 mm, 5 mm, 7 mm: numbers with a unit"),
        (["1.5mg/dl", "20mg/dl"], "1.5mg/dl, 20mg/dl: numbers with a unit"),
        (["25 %", "30", "50"], "such as 25 %: percentages"),
        (["1,5", "2,25", "3,1"], "1,5, 2,25, 3,1: numbers with decimal commas"),
        (["0.5", "1.5"], "holds 0.5, 1.5: measurements"),
        ([str(30 + 7 * row) for row in range(16)], "16 different numbers in 16 rows, from 30 to 135, with gaps"),
    ],
)
def test_numbers_of_something_are_refused_as_a_target(tmp_path, cells, told):
    channels = channel(tmp_path / "in", target=[cells[row % len(cells)] for row in ROWS])
    [error] = errors(check(channels, tmp_path / "out", **WHO))
    assert told in error.what and "no numbers (regression)" in error.do and "cut the numbers into classes" in error.do


@pytest.mark.parametrize(
    "cells",
    [["1+", "2+", "3+"], ["T1a", "T1b", "T2"], ["<10%", "10-50%", ">50%"], ["10x", "20x", "40x"], ["3D", "2D", "x"]],
)
def test_grades_stages_and_ranges_are_classes(tmp_path, cells):
    report = check(channel(tmp_path / "in", target=[cells[row % 3] for row in ROWS]), tmp_path / "out", **WHO)
    assert errors(report) == [] and list(classes_of(report)) == sorted(cells)


def test_many_classes_that_are_numbered_without_a_gap_are_learned_with_a_warning(tmp_path):
    frame = small_frame(24)[["image_name", "patient_id"]].assign(target=np.arange(48) // 4)
    write_channel(tmp_path / "in", frame)
    report = check({"training": tmp_path / "in"}, tmp_path / "out", **WHO)
    assert errors(report) == [] and len(classes_of(report)) == 12
    assert "12 different numbers in 48 rows, from 0 to 11" in one(report, "numbers_as_classes").what


def test_folders_that_are_called_as_numbers_are_classes(tmp_path):
    for row in range(12):
        draw_picture(tmp_path / "in" / f"{12 + 12 * (row % 3)} h" / f"{row}.png", is_positive=row % 2 > 0, seed=row)
    report = check({"training": tmp_path / "in"}, tmp_path / "out", folds=2)
    assert errors(report) == [] and list(classes_of(report)) == ["12 h", "24 h", "36 h"]


def test_a_class_that_is_nearly_spelt_as_another_is_named_with_both_counts(tmp_path):
    words = np.where(np.arange(80) % 2, "malignant", "benign").astype(object)
    words[[1, 13]] = "maligant"
    channels = {"training": tmp_path / "in"}
    write_channel(tmp_path / "in", small_frame(40)[["image_name", "patient_id"]].assign(target=words))
    report = check(channels, tmp_path / "out", split="stratified_kfold", **WHO)
    found = one(report, "class_typos")
    assert errors(report) == [] and found.level == "warning"
    assert "'maligant' (2 rows) is spelt nearly as 'malignant' (38 rows)" in found.what
    assert "write 'malignant' for 'maligant'" in found.do


@pytest.mark.parametrize("places", [[1], [0, 1]])
def test_a_refusal_of_a_rare_class_names_the_class_that_was_meant(tmp_path, places):
    """One row, or two rows of one patient: no split can hold such a class out and train on it."""
    words = np.where(ROWS % 2, "malignant", "benign").astype(object)
    words[places] = "maligant"
    [error] = errors(check(channel(tmp_path / "in", target=words), tmp_path / "out", **WHO))
    assert "class maligant (probably 'malignant', which" in error.what
    assert "write 'malignant' for 'maligant' if it is a typo" in error.do


def test_two_spellings_of_the_only_class_are_no_pair_to_choose_from(tmp_path):
    words = np.where(ROWS < 2, "bengin", "benign")
    [error] = errors(check(channel(tmp_path / "in", target=words), tmp_path / "out", **WHO))
    assert "two classes that are probably one: 'bengin' (2 rows)" in error.what
    assert "add rows of another class" in error.do


def other_set(data: DataSet, split: str, target: list[object]) -> None:
    """A set of six images of another patient."""
    frame = small_frame(3)[["image_name", "patient_id"]]
    data.add(split, frame.assign(image_name="T" + frame["image_name"], patient_id="new", target=target))


@pytest.mark.parametrize(
    ("training", "other", "told"),
    [
        (["melanoma", "bcc"], ["nevus", "melanoma"], "nevus (3 rows)"),  # a pair that is not known
        (["benign", "benign"], ["benign", "malignant"], "malignant (3 rows)"),  # one class only
        ([0, 0], [0, 1], "1 (3 rows)"),
        (["edema;mass", "mass;cyst"], ["hernia;mass", "mass"], "hernia (3 rows)"),  # asked what ; means
    ],
)
def test_a_class_that_only_the_test_set_has_is_said_whatever_else_is_wrong(tmp_path, training, other, told):
    frame = small_frame(8)[["image_name", "patient_id"]].assign(target=[training[row % 2] for row in ROWS])
    data = DataSet(tmp_path / "training", frame, **WHO)
    other_set(data, "test", [other[row % 2] for row in range(6)])
    first, second = errors(data.check())
    assert "test set" not in first.what
    assert f"of the test set holds classes that no training row has: {told}" in second.what


def test_a_class_that_only_the_validation_set_has_is_said_beside_another_error(tmp_path):
    frame = small_frame(8)[["image_name", "patient_id"]].assign(target=["edema;mass", "mass;cyst"] * 8)
    data = DataSet(tmp_path / "training", frame, **WHO)
    other_set(data, "validation", ["hernia;cyst", "mass;cyst"] * 3)
    assert any(
        "of the validation set holds classes that no training row has: hernia (3 rows)" in error.what
        for error in errors(data.check())
    )


def test_a_label_that_only_the_test_set_has_is_said_with_the_column_of_zeros(tmp_path):
    frame = small_frame(8)[["image_name", "patient_id"]].assign(a=ROWS % 2, b=0)
    data = DataSet(tmp_path / "training", frame, **WHO)
    test = small_frame(3)[["image_name"]].assign(image_name=lambda rows: "T" + rows["image_name"], patient_id="new")
    data.add("test", test.assign(a=[0, 1] * 3, b=[0, 1] * 3))
    [error] = errors(data.check(target_column="a, b"))
    assert "column 'b' holds nothing but 0, while 3 rows of the test set hold 1" in error.what


@pytest.mark.parametrize(
    ("columns", "others"),
    [
        ({"a": ROWS % 2, "b": ["" if row % 4 == 0 else 0 for row in ROWS]}, []),  # b may be 1 where it is blank
        (
            {"a": ["" if row % 4 == 0 else row % 2 for row in ROWS], "b": (ROWS % 8 == 0) * 1},
            [],
        ),  # b is 1 beside blanks
        (
            {"a": ["" if row % 4 == 0 else row % 2 for row in ROWS], "b": 0},
            ["column 'b' holds nothing but 0 in all 16 rows"],
        ),
        ({"a": ["" if row % 4 else 1 for row in ROWS]}, []),  # a blank may be 0
    ],
)
def test_of_a_column_with_blanks_only_what_stays_true_is_said(tmp_path, columns, others):
    channels = channel(tmp_path / "in", **columns)
    empty, *left = errors(check(channels, tmp_path / "out", target_column=", ".join(columns), **WHO))
    assert "is empty in" in empty.what and [error.what for error in left] == others


@pytest.mark.parametrize("settings", [{}, {"task_type": "multiclass"}, {"positive_class": "b"}])
@pytest.mark.parametrize(
    ("cells", "said"), [((0, 0, 0), "without a 1 IMG_000_0"), ((1, 1, 0), "with several IMG_000_0")]
)
def test_what_is_advised_for_a_row_without_one_class_leads_to_a_run(tmp_path, settings, cells, said):
    """One of 24 one-hot rows has no 1, or two: the rows are named, and each of the ways out is gone."""
    number = np.arange(24)
    columns = {name: (place == number % 3).astype(int) for place, name in enumerate("abc")}
    for name, cell in zip("abc", cells, strict=True):
        columns[name][0] = cell
    frame = small_frame(12)[["image_name", "patient_id"]].assign(**columns)
    data = DataSet(tmp_path / "training", frame, target_column="a, b, c", split="stratified_kfold", **WHO)
    advised = [finding for finding in data.check(**settings).findings if said in finding.what or said in finding.do]
    assert advised
    assert all("leave them out" in one.do and "further target column that is 1 there" in one.do for one in advised)
    report = data.check(task_type="multilabel")
    assert errors(report) == [] and report.question["kind"] == "multilabel"
    data.rewrite(frame.iloc[1:])
    report = data.check(**settings)
    assert errors(report) == [] and report.question["kind"] == "multiclass"
    odd = frame.assign(other=0)
    odd.loc[:3, ["a", "b", "c", "other"]] = [0, 0, 0, 1]  # each fold needs some
    data.rewrite(odd)
    report = data.check(target_column="a, b, c, other", **settings)
    assert errors(report) == [] and report.question["kind"] == "multiclass"
