"""Leaks: what training rows share with rows that judge them is mended, left out, refused or gone on with, as asked."""

from __future__ import annotations

import pandas as pd
import pytest
from checks import DataSet, errors, names, one, turned
from jobs import run, small_frame, small_job

from factories import sample_frame


@pytest.fixture
def data(tmp_path) -> DataSet:
    return DataSet(tmp_path / "training", small_frame(10))


def test_copies_in_different_groups_are_refused_and_named(data):
    data.copy("IMG_001_0", to="IMG_006_0")
    data.picture("IMG_008_1").write_bytes(turned(data.picture("IMG_003_1").read_bytes()))
    report = data.check(on_leak="error")
    finding = one(report, "copies_across_folds")
    assert finding.level == "error" and "2 pairs of copies of the same image in different groups" in finding.what
    assert names(finding) == ["IMG_001_0", "IMG_006_0", "IMG_003_1", "IMG_008_1"]
    assert "on_leak=drop to leave 2 training rows out, merge_groups" in finding.do


def test_copies_are_not_looked_for_where_that_is_set(data):
    data.copy("IMG_001_0", to="IMG_006_0")
    report = data.check(on_leak="error", find_copies=False)
    assert one(report, "copies_not_searched").level == "note"
    assert not any(finding.name.startswith("copies_across") for finding in report.findings)
    assert "copies_not_searched" not in {finding.name for finding in data.check(on_leak="drop").findings}


def test_copies_with_different_targets_are_named(data):
    data.copy("IMG_001_0", to="IMG_004_1")
    finding = one(data.check(on_leak="drop"), "contradicting_copies")
    assert names(finding) == ["IMG_001_0", "IMG_004_1"]
    assert finding.what.endswith("with different targets: IMG_001_0 (0) = IMG_004_1 (1)")
    assert finding.do.endswith("Until then these are trained on as they are: IMG_001_0.")


def test_each_refusal_counts_the_rows_of_its_own(data):
    """A copy in another group, and another one in the test set."""
    data.copy("IMG_001_0", to="IMG_006_0")
    (data.add("test", held_back()) / "VIMG_001_1.jpg").write_bytes(data.picture("IMG_007_0").read_bytes())
    report = data.check(on_leak="error")
    for name in ("copies_across_folds", "copies_in_test"):
        assert "on_leak=drop to leave 1 training row out" in one(report, name).do


def test_copies_within_a_group_are_no_leak(data):
    data.copy("IMG_001_0", to="IMG_001_1")
    report = data.check()
    assert one(report, "copies_within_groups").level == "note" and report.num("error") == 0
    assert one(data.check(split="kfold", on_leak="error"), "copies_across_folds").level == "error"


def test_merged_groups_lie_in_one_fold(tmp_path):
    root = small_job(tmp_path, on_leak="merge_groups")
    pictures = root / "input/data/training/train_jpg"
    for original, copy in (("IMG_001_0", "IMG_004_0"), ("IMG_004_1", "IMG_002_1")):
        (pictures / f"{copy}.jpg").write_bytes((pictures / f"{original}.jpg").read_bytes())
    oof = run(root).oof
    merged = oof[oof["image_name"].str.slice(4, 7).isin(["001", "002", "004"])]
    assert set(merged["group"]) == {"P001"} and merged["fold"].nunique() == 1
    assert len(oof) == 12


def test_dropped_copies_leave_one_of_each(tmp_path):
    root = small_job(tmp_path, on_leak="drop")
    pictures = root / "input/data/training/train_jpg"
    for copy in ("IMG_003_0", "IMG_005_0"):
        (pictures / f"{copy}.jpg").write_bytes((pictures / "IMG_001_0.jpg").read_bytes())
    assert sorted(set(small_frame()["image_name"]) - set(run(root).oof["image_name"])) == ["IMG_003_0", "IMG_005_0"]


def test_merging_cannot_mend_copies_where_no_groups_are_kept(data):
    data.copy("IMG_001_0", to="IMG_006_0")
    finding = one(data.check(on_leak="merge_groups", split="kfold"), "copies_across_folds")
    assert finding.level == "error" and finding.do.startswith("on_leak=merge_groups cannot repair that.")


@pytest.mark.parametrize("channel", ["validation", "test"])
def test_a_patient_in_training_and_another_set_is_refused_and_can_be_dropped(data, channel):
    held = sample_frame(3).assign(
        image_name=lambda frame: "V" + frame["image_name"], patient_id=["P004"] * 2 + ["V"] * 4
    )
    data.add(channel, held)
    name = {"validation": "group_on_both_sides", "test": "group_in_test"}[channel]
    finding = one(data.check(on_leak="error"), name)
    assert finding.level == "error" and f"1 group in training and {channel}: P004" in finding.what
    assert names(finding) == ["IMG_004_0", "IMG_004_1"]
    report = data.check(on_leak="drop")
    assert report.num("error") == 0 and one(report, name).level == "warning"
    assert report.sets["training"]["num_rows"] == 18 + 6 * (channel == "validation")
    assert data.check(on_leak="warn").num("error") == 0
    assert data.check(on_leak="merge_groups").num("error") == 1


@pytest.mark.parametrize("channel", ["validation", "test"])
def test_a_copy_in_training_and_another_set_is_refused_and_can_be_dropped(data, channel):
    held = sample_frame(3).assign(
        image_name=lambda frame: "V" + frame["image_name"], patient_id=["V0"] * 2 + ["V1"] * 4
    )
    pictures = data.add(channel, held)
    (pictures / "VIMG_000_1.jpg").write_bytes(turned(data.picture("IMG_007_0").read_bytes()))
    name = {"validation": "copies_across_folds", "test": "copies_in_test"}[channel]
    finding = one(data.check(on_leak="error"), name)
    assert finding.level == "error" and names(finding) == ["IMG_007_0", "VIMG_000_1"]
    report = data.check(on_leak="drop")
    assert report.num("error") == 0
    assert report.sets["training"]["num_rows"] == 19 + 6 * (channel == "validation")  # the training row goes


def test_a_training_set_of_which_no_row_is_left_is_refused(data):
    data.add("test", data.frame.assign(image_name="T" + data.frame["image_name"]))
    assert "no training row is left" in one(data.check(on_leak="drop"), "bad_input").what


# What on_leak=auto, the default, mends and what it refuses


@pytest.fixture
def large(tmp_path) -> DataSet:
    """80 rows of 40 patients: 4 rows are 5 % of them."""
    return DataSet(tmp_path / "training", small_frame(40), metadata_columns="sex")


def held_back() -> pd.DataFrame:
    """Four rows of two other patients, for a validation or test channel."""
    frame = sample_frame(2)
    return frame.assign(image_name="V" + frame["image_name"], patient_id="V" + frame["patient_id"], target=[1, 0, 1, 0])


def test_groups_that_share_a_picture_are_kept_in_one_fold(large):
    large.copy("IMG_001_0", to="IMG_006_0")
    report = large.check()
    finding = one(report, "copies_across_folds")
    assert finding.level == "warning" and finding.do == "on_leak=auto keeps their groups in one fold."
    assert names(finding) == ["IMG_001_0", "IMG_006_0"] and report.num("error") == 0
    assert report.sets["training"] == {"num_rows": 80, "classes": {"benign": 40, "malignant": 40}, "num_groups": 39}


@pytest.mark.parametrize("split", ["kfold", "stratified_kfold"])
def test_where_the_split_keeps_no_groups_one_of_the_copies_stays(large, split):
    large.copy("IMG_001_0", to="IMG_006_0")
    report = large.check(split=split)
    assert one(report, "copies_across_folds").do == "on_leak=auto leaves 1 training row out: IMG_006_0."
    assert report.num("error") == 0 and report.sets["training"]["num_rows"] == 79


@pytest.mark.parametrize("channel", ["validation", "test"])
def test_copies_of_rows_that_are_held_back_and_their_patients_leave_the_training_set(large, channel):
    frame = held_back()
    frame.loc[0, "patient_id"] = "P009"
    pictures = large.add(channel, frame)
    (pictures / "VIMG_001_1.jpg").write_bytes(turned(large.picture("IMG_007_0").read_bytes()))
    report = large.check()
    called = {"validation": ("group_on_both_sides", "copies_across_folds"), "test": ("group_in_test", "copies_in_test")}
    groups, copies = (one(report, name) for name in called[channel])
    assert groups.level == copies.level == "warning" and f"1 group in training and {channel}: P009" in groups.what
    assert groups.do == "on_leak=auto leaves 2 training rows out: IMG_009_0, IMG_009_1."
    assert copies.do == "on_leak=auto leaves 1 training row out: IMG_007_0."
    assert names(copies) == ["IMG_007_0", "VIMG_001_1"]
    assert report.num("error") == 0
    assert report.sets["training"]["num_rows"] == 77 + 4 * (channel == "validation")


def test_a_copy_that_leaves_for_the_test_set_no_longer_joins_groups(large):
    """Three patients have one picture, and so has the test set: all three rows go, and no group is merged."""
    pictures = large.add("test", held_back())
    for copy in (large.picture("IMG_006_0"), large.picture("IMG_011_0"), pictures / "VIMG_001_1.jpg"):
        copy.write_bytes(large.picture("IMG_001_0").read_bytes())
    report = large.check()
    assert (
        one(report, "copies_in_test").do == "on_leak=auto leaves 3 training rows out: IMG_001_0, IMG_006_0, IMG_011_0."
    )
    assert report.sets["training"]["num_rows"] == 77 and report.sets["training"]["num_groups"] == 40


def test_more_than_a_twentieth_of_the_rows_is_refused_with_the_count(large):
    """One image of six patients: five copies too many."""
    for patient in (6, 11, 16, 21, 26):
        large.copy("IMG_001_0", to=f"IMG_{patient:03d}_0")
    report = large.check()
    finding = one(report, "copies_across_folds")
    assert finding.level == "error"
    assert finding.do.startswith(
        "Repairing all leaks together changes 5 of 80 training rows (6.2%), and on_leak=auto does that for 5% at "
        "most, which is 4. Correct the table, or set on_leak=drop to leave 5 training rows out, merge_groups"
    )
    assert report.sets["training"]["num_groups"] == 40  # nothing was mended


def test_rows_of_merged_groups_are_not_lost_and_do_not_count(tmp_path):
    """Two groups of 4 of 40 rows share one image: 8 rows are in one fold, and none goes."""
    frame = small_frame(20).assign(patient_id=[f"P{row // 4}" for row in range(40)])
    data = DataSet(tmp_path / "training", frame, metadata_columns="sex")
    data.copy("IMG_001_0", to="IMG_006_0")
    report = data.check()
    assert errors(report) == []
    assert one(report, "copies_across_folds").do == "on_leak=auto keeps their groups in one fold."
    assert report.sets["training"]["num_rows"] == 40 and report.sets["training"]["num_groups"] == 9


def test_patients_and_copies_in_the_test_set_count_together(large):
    """Four rows of two patients, and three that are copies."""
    pictures = large.add("test", held_back().assign(patient_id=["P009", "P010", "V1", "V2"]))
    for picture, original in zip(sorted(pictures.iterdir())[:3], ("IMG_001_0", "IMG_002_0", "IMG_003_0"), strict=True):
        picture.write_bytes(large.picture(original).read_bytes())
    report = large.check()
    assert one(report, "group_in_test").level == "warning"
    assert "changes 7 of 80 training rows (8.8%)" in one(report, "copies_in_test").do


def test_folds_that_a_column_gives_are_not_mended(large):
    large.copy("IMG_001_0", to="IMG_006_1")
    report = large.check(split="other_fold")
    finding = one(report, "copies_across_folds")
    assert finding.level == "error" and finding.do.startswith("on_leak=auto does not change the folds of a column.")


def test_a_class_that_is_gone_once_the_leaks_are_mended_is_refused(large):
    frame = large.frame.assign(target=0, benign_malignant="benign")
    frame.loc[[2, 3, 4], "target"] = [1, 1, 1]  # P001 and a picture of P002
    large.rewrite(frame)
    large.add("test", held_back().assign(patient_id="P001"))
    report = large.check()
    assert one(report, "group_in_test").level == "warning"
    assert one(report, "bad_input").what == "class 1 has 1 row only, IMG_002_0"


@pytest.mark.parametrize("policy", ["auto", "error", "drop", "merge_groups"])
def test_a_column_that_gives_the_target_away_is_never_mended(tmp_path, policy):
    report = DataSet(tmp_path / "training", small_frame(16)).check(metadata_columns=["diagnosis"], on_leak=policy)
    assert "target leakage" in one(report, "bad_input").what
