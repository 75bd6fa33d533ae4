"""Groups: who is one patient, who is none, and what the folds do with them, as the check says and training does it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from checks import DataSet, check, errors, names, one
from jobs import run, small_frame, small_job

from factories import sample_frame, write_channel
from lesion.check.report import Report
from lesion.errors import UserError


@pytest.fixture
def data(tmp_path) -> DataSet:
    """Two images of each of ten patients, a positive and a negative one."""
    return DataSet(tmp_path / "training", small_frame(10), metadata_columns="sex")


def held_back(patients: list[str]) -> pd.DataFrame:
    """An image of each of these patients, without targets."""
    frame = sample_frame(len(patients), 1).assign(patient_id=patients)
    return frame.assign(image_name="T" + frame["image_name"]).drop(columns=["target", "diagnosis", "benign_malignant"])


def fold_of(report: Report) -> pd.DataFrame:
    assert report.folds is not None
    return report.folds


# One patient


@pytest.mark.parametrize(
    ("here", "there"), [("{}", "{}.0"), ("{}.0", "{}"), ("{}", " {} "), ("Zoé {}", "Zoe\N{COMBINING ACUTE ACCENT} {}")]
)
@pytest.mark.parametrize("channel", ["validation", "test"])
def test_a_patient_of_another_set_is_found_however_the_id_is_written(data, here, there, channel):
    data.rewrite(data.frame.assign(patient_id=[here.format(row // 2 + 1) for row in range(20)]))
    frame = sample_frame(3).assign(image_name=lambda frame: "V" + frame["image_name"], target=[0, 1] * 3)
    data.add(channel, frame.assign(patient_id=[there.format(number) for number in (1, 1, 77, 77, 78, 78)]))
    report = data.check(on_leak="drop")
    name = {"validation": "group_on_both_sides", "test": "group_in_test"}[channel]
    assert names(one(report, name)) == ["IMG_000_0", "IMG_000_1"]
    assert report.sets["training"]["num_rows"] == 18 + 6 * (channel == "validation")


def test_a_patient_in_two_ways_of_writing_is_in_one_fold_and_said_once(data):
    data.rewrite(data.frame.assign(patient_id=[f"{row // 2 + 1}{'.0' * (row % 2)}" for row in range(20)]))
    report = data.check(on_leak="error")
    assert one(report, "several_spellings").what.endswith("'1' = '1.0', '10' = '10.0', '2' = '2.0', "
                                                            "'3' = '3.0', '4' = '4.0' and 5 more")  # fmt: skip
    assert report.sets["training"]["num_groups"] == 10 and report.num("error") == 0
    assert fold_of(report)["groups"].tolist() == [5, 5]


def test_ids_that_may_be_one_patient_are_named_within_a_set_and_between_two(data):
    patients = [f"P{row // 2}" for row in range(18)] + ["p0", "007"]
    data.rewrite(data.frame.assign(patient_id=patients))
    data.add("test", held_back(["7", "P01", "X"]))
    finding = one(data.check(), "groups_alike")
    assert finding.level == "warning" and finding.what.endswith(": 007 and 7, P0 and p0, P01 and P1")
    assert {"IMG_009_0", "IMG_009_1", "TIMG_000_0", "TIMG_001_0"} < set(names(finding))


# None


UNKNOWN = {
    "a gap": ("", "empty in 8 rows"),
    "a word": ("unknown", "'unknown' in 8 rows"),
    "another": ("N/A", " in 8 rows"),
    "a number": ("-1", "'-1' in 8 rows"),
    "zeros": ("0", "'0' in 8 rows"),
    "nines": ("999", "'999' in 8 rows"),
}


@pytest.mark.parametrize("why", UNKNOWN)
def test_rows_without_a_group_are_their_own_or_left_out_or_refused(data, why):
    """8 of 20 rows: 6 patients are left."""
    word, said = UNKNOWN[why]
    data.rewrite(data.frame.assign(patient_id=[word] * 8 + data.frame["patient_id"].tolist()[8:]))
    own, dropped, refused = (data.check(on_missing_group=policy) for policy in ("own_group", "drop", "error"))
    finding = one(own, "missing_groups")
    assert finding.level == "warning" and said in finding.what and "on_missing_group=drop" in finding.do
    assert (own.num("error"), own.sets["training"]["num_rows"], own.sets["training"]["num_groups"]) == (0, 20, 14)
    assert said in one(dropped, "missing_groups").what and "are left out" in one(dropped, "missing_groups").what
    assert (dropped.sets["training"]["num_rows"], dropped.sets["training"]["num_groups"]) == (12, 6)
    [error] = errors(refused)
    assert said in error.what and error.where.endswith("lines 2, 3, 4, 5, 6 and 3 more")
    assert "on_missing_group=own_group" in error.do
    assert data.check().as_json() == own.as_json()  # the default


def test_one_policy_for_gaps_and_words_and_each_word_is_counted(data):
    data.rewrite(data.frame.assign(patient_id=["", "unknown", "unknown", *data.frame["patient_id"].tolist()[3:]]))
    assert "3 of 20 rows have no group" in (what := one(data.check(), "missing_groups").what)
    assert "'unknown' in 2 rows, empty in 1 row" in what


def test_unknown_patients_of_two_sets_are_not_one_patient(data):
    data.rewrite(data.frame.assign(patient_id=["unknown"] * 4 + data.frame["patient_id"].tolist()[4:]))
    data.add("test", held_back(["Unknown", "unknown", "X"]))
    report = data.check(on_leak="error", on_missing_group="drop")
    assert report.num("error") == 0 and report.sets["training"]["num_rows"] == 16
    assert report.sets["test"]["num_rows"] == 3  # each of them is predicted


def test_a_column_without_any_group_is_as_good_as_none(data):
    data.rewrite(data.frame.assign(patient_id="anonymous"))
    report = data.check()
    assert "no row has a group: column 'patient_id' is 'anonymous' in 20 rows" in one(report, "missing_groups").what
    assert report.num("error") == 0 and one(report, "no_groups").level == "warning"
    for settings in ({"group_column": "patient_id"}, {"split": "group_kfold"}, {"on_missing_group": "error"}):
        [error] = errors(data.check(**settings))
        assert error.what.startswith("no row has a group") and "split=stratified_kfold" in error.do


@pytest.mark.parametrize("id_of", [lambda n: f"{1.23457e12 + n * 1e9:.5E}", lambda n: f"{1.23e11 + n * 1e9:.2E}"])
def test_ids_that_a_spreadsheet_rounded_are_named(data, id_of):
    data.rewrite(data.frame.assign(patient_id=[id_of(row // 4) for row in range(20)]))
    finding = one(data.check(), "rounded_groups")
    assert finding.level == "warning" and id_of(0) in finding.what


def test_a_column_of_trainval_and_test_is_one_of_sets(data):
    frame = data.frame.assign(part=["trainval" if row < 16 else "test" for row in range(20)])
    data.rewrite(frame)
    assert "Set split=part" in one(data.check(), "unused_sets").do
    report = data.check(split="part")
    assert report.sets["training"]["num_rows"] == 16 and report.sets["test"]["num_rows"] == 4


def test_training_writes_each_image_under_its_group_as_it_is_written(tmp_path):
    """Of 12 rows two have no patient: in oof.csv they stand for themselves."""
    patients = ["1.0", "1.0", "", "?", *(f"{row // 2}.0" for row in range(4, 12))]
    oof = run(small_job(tmp_path, frame=small_frame().assign(patient_id=patients), metadata_columns="sex")).oof
    assert oof["group"].tolist() == ["1.0", "1.0", "IMG_001_0", "IMG_001_1", *patients[4:]]
    assert (oof.groupby("group")["fold"].nunique() == 1).all()


# The folds as dealt


def test_a_group_larger_than_a_fold_is_named_with_its_share(tmp_path):
    frame = small_frame(10)
    frame["patient_id"] = ["P000"] * 10 + frame["patient_id"].tolist()[10:]
    data = DataSet(tmp_path / "training", frame, metadata_columns="sex")
    finding = one(data.check(folds=4), "large_group")
    assert finding.level == "warning" and "P000 has 10 of 20 rows (50%)" in finding.what
    assert "5 rows on average" in finding.what and finding.do.endswith("else set folds=2 for folds of its size.")
    assert "large_group" not in {found.name for found in data.check(folds=2).findings}
    assert "large_group" not in {found.name for found in data.check(split="leave_one_group_out").findings}


@pytest.mark.parametrize("split", ["kfold", "stratified_kfold"])
@pytest.mark.parametrize(("policy", "level"), [("auto", "warning"), ("warn", "warning"), ("error", "error")])
def test_patients_on_both_sides_are_counted_where_the_split_keeps_no_groups(data, split, policy, level):
    finding = one(data.check(split=split, on_leak=policy, repeats=2), "groups_across_folds")
    assert finding.level == level and "of 10 groups are in training and in validation of a fold" in finding.what
    assert len(names(finding)) % 2 == 0 and "split=group_kfold" in finding.do
    assert "groups_across_folds" not in {found.name for found in data.check().findings}


def test_the_results_count_patients_on_both_sides(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "lesion"):
        trained = run(small_job(tmp_path, split="kfold"))
    fold_S, group_S = trained.oof["fold"], trained.oof["group"]
    shared = fold_S.groupby(group_S).nunique() > 1
    expected = {"groups": int(shared.sum()), "rows": 2 * int(shared.sum())}
    metrics = json.loads((trained.root / "output/data/metrics.json").read_text())
    assert metrics["groups_on_both_sides"] == trained.manifest["metrics"]["groups_on_both_sides"] == expected
    assert expected["groups"] and any(f"{expected['groups']} patients with" in message for message in caplog.messages)


def test_a_validation_channel_is_judged_whatever_split_says(data):
    frame = sample_frame(2).assign(image_name=lambda frame: "V" + frame["image_name"], target=[0, 1] * 2)
    data.add("validation", frame.assign(patient_id=["P004", "P004", "V", "V"]))
    assert one(data.check(split="kfold", on_leak="error"), "group_on_both_sides").level == "error"


def test_a_validation_channel_without_groups_hides_no_patient_of_the_test_set(data):
    frame = sample_frame(2).assign(image_name=lambda frame: "V" + frame["image_name"], target=[0, 1] * 2)
    data.add("validation", frame.drop(columns="patient_id"))
    data.add("test", held_back(["P004", "X"]))
    report = data.check(on_leak="drop")
    assert "the training set has groups and the validation set has none" in one(report, "groups_of_one_set").what
    assert names(one(report, "group_in_test")) == ["IMG_004_0", "IMG_004_1"]
    [error] = errors(data.check(on_leak="drop", slide_score="max"))
    assert error.what.startswith("slide_score=max needs groups")


def test_folds_of_a_column_are_one_however_they_are_written(data):
    data.rewrite(data.frame.assign(part=["0", "0.0", "1", "1.0"] * 5))
    report = data.check(split="part", on_leak="warn")
    assert fold_of(report)["rows"].tolist() == [10, 10]
    assert one(report, "several_spellings").what.endswith("'0' = '0.0', '1' = '1.0'")


def test_a_validation_channel_beside_a_fold_column_replaces_it_and_says_so(data):
    frame = sample_frame(2).assign(image_name=lambda frame: "V" + frame["image_name"], target=[0, 1] * 2)
    data.rewrite(data.frame.assign(part=np.arange(20) % 2))
    data.add("validation", frame.assign(patient_id="V"))
    report = data.check(split="part")
    assert report.num("error") == 0 and fold_of(report)["rows"].tolist() == [4]
    assert "validation channel replaces it" in one(report, "unused_folds").what


def test_repeats_of_the_folds_of_a_column_are_refused(data):
    data.rewrite(data.frame.assign(part=np.arange(20) // 2 % 2))
    [error] = errors(data.check(split="part", repeats=2))
    assert (
        "column 'part' gives the folds" in error.what and error.do == "Set repeats=1, or split=stratified_group_kfold."
    )


# A column of sets

SETS = ["training"] * 10 + ["VALIDATION"] * 4 + ["Test"] * 6


def test_a_column_of_sets_gives_the_validation_and_the_test_set(data):
    data.rewrite(data.frame.assign(ml_use=SETS))
    report = data.check(split="ml_use")
    assert report.num("error") == 0 and fold_of(report)["rows"].tolist() == [4]
    assert report.sets["training"]["num_rows"] == 14 and report.sets["test"]["num_rows"] == 6
    assert one(report, "sets_by_column").what == (
        "split=ml_use divides the rows into 10 training rows, 4 validation rows, 6 test rows"
    )


def test_a_job_with_a_column_of_sets_learns_from_no_row_of_the_test_set(tmp_path):
    """And with train.csv and test.csv of the same rows it learns the same."""
    frame = small_frame(10).assign(ml_use=SETS)
    root = small_job(tmp_path / "column", frame=frame, split="ml_use", metadata_columns="sex")
    trained = run(root)
    names = frame["image_name"]
    assert trained.oof["image_name"].tolist() == names[10:14].tolist()
    output = trained.root / "output/data"
    assert pd.read_csv(output / "submission.csv")["image_name"].tolist() == names[14:].tolist()
    assert json.loads((output / "metrics.json").read_text())["test"]["num_rows"] == 6
    apart = small_job(tmp_path / "apart", frame=frame[:10], metadata_columns="sex")
    write_channel(apart / "input/data/validation", frame[10:14], csv_name="validation.csv", image_dir="validation_jpg")
    for folder, part in (("training/train_jpg", names[:10]), ("validation/validation_jpg", names[10:14])):
        for name in part:  # the same pictures
            drawn = (trained.channel / "train_jpg" / f"{name}.jpg").read_bytes()
            (apart / "input/data" / folder / f"{name}.jpg").write_bytes(drawn)
    assert run(apart).digests == trained.digests


def test_a_column_of_sets_without_validation_is_cross_validated_by_group(data):
    data.rewrite(data.frame.assign(part=["train"] * 12 + ["test"] * 8))
    report = data.check(split="part")
    assert report.num("error") == 0 and fold_of(report)["groups"].tolist() == [3, 3]
    assert "the folds are made of the training rows" in one(report, "sets_by_column").what


def test_a_patient_in_two_sets_of_a_column_is_a_leak(data):
    data.rewrite(data.frame.assign(ml_use=["train"] * 11 + ["val"] * 3 + ["test"] * 6))
    assert "1 group in training and validation: P005" in one(data.check(split="ml_use"), "group_on_both_sides").what
    assert names(one(data.check(split="ml_use", on_leak="drop"), "group_on_both_sides")) == ["IMG_005_0"]


def test_a_column_of_sets_that_is_not_used_is_named(data):
    data.rewrite(data.frame.assign(ml_use=SETS, test=np.arange(20) % 2))
    finding = one(data.check(), "unused_sets")
    assert finding.level == "warning" and "10 training rows, 4 validation rows, 6 test rows" in finding.what
    assert finding.do == "Set split=ml_use to use it."
    data.rewrite(data.frame.assign(Usage=["Training", "Training", "PublicTest", "PrivateTest"] * 5))
    finding = one(data.check(), "unused_sets")
    assert "(PrivateTest, PublicTest, Training), and is not used" in finding.what and "Write train" in finding.do


@pytest.mark.parametrize(
    ("words", "channel", "message"),
    [
        (["TRAIN", "TEST", "UNASSIGNED", "TRAIN"], None, "and other words: UNASSIGNED"),
        (["train", "val", "test", "train"], "validation", "there are two validation sets"),
        (["train", "val", "test", "train"], "test", "there are two test sets"),
    ],
)
def test_sets_that_cannot_be_told_apart_are_refused(data, words, channel, message):
    data.rewrite(data.frame.assign(part=words * 5))
    if channel is not None:
        frame = sample_frame(2).assign(image_name=lambda frame: "V" + frame["image_name"], target=[0, 1] * 2)
        data.add(channel, frame.assign(patient_id="V"))
    assert any(message in error.what for error in errors(data.check(split="part", on_leak="warn")))


# Check and training


@pytest.mark.parametrize(
    ("columns", "settings"),
    [
        ({"patient_id": "A"}, {}),
        ({"target": 0}, {}),
        ({}, {"folds": 7}),
        ({}, {"split": "kfold", "on_leak": "error"}),
        ({"part": ["train", "other"] * 6}, {"split": "part"}),
        ({"patient_id": ["", *["P1", "P2"] * 5, "P3"]}, {"on_missing_group": "error"}),
    ],
)
def test_training_refuses_in_the_words_of_the_check(tmp_path: Path, columns, settings):
    root = small_job(tmp_path / "job", frame=small_frame().assign(**columns), metadata_columns="sex", **settings)
    with pytest.raises(UserError) as caught:
        run(root)
    values = json.loads((root / "input/config/hyperparameters.json").read_text())
    report = check({"training": root / "input/data/training"}, tmp_path / "check", **values)
    assert [error.what for error in caught.value.each] == [error.what for error in errors(report)]
    assert [error.do for error in caught.value.each] == [error.do for error in errors(report)]
