"""Check: what is wrong with a data set is said in the first minute, with the rows concerned, by every door."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from checks import DataSet, check, errors, names, one
from jobs import SMALL, run, small_frame, small_job
from safetensors.torch import save_file

from factories import draw_picture, run_job, sample_frame, write_channel
from lesion.errors import UserError


@pytest.fixture
def data(tmp_path) -> DataSet:
    return DataSet(tmp_path / "training", small_frame(10))


def test_a_good_set_has_no_error_and_no_warning(data):
    report = data.check()
    assert [finding for finding in report.findings if finding.level != "note"] == []
    assert report.verdict == "Training would start: no errors, 0 warnings."


@pytest.fixture
def large(tmp_path) -> DataSet:
    """80 rows of 40 patients: 4 rows are 5 % of them."""
    return DataSet(tmp_path / "training", small_frame(40))


# Tables


def with_cells(column: str, cells: dict[int, object]) -> Callable[[DataSet], None]:
    def spoil(data: DataSet) -> None:
        frame = data.frame.astype({column: object})
        for row, value in cells.items():
            frame.loc[row, column] = value
        data.rewrite(frame)

    return spoil


SPOILT: dict[str, tuple[Callable[[DataSet], None], str, str, list[int]]] = {
    "missing": (with_cells("sex", {3: ""}), "missing_values", r"'sex' .* is empty in 1 of 20 rows \(5%\)", [3]),
    "an age of 450": (with_cells("age_approx", {5: 450}), "impossible_values", r"'age_approx' .* in 1 row: 450", [5]),
    "an age of -1": (with_cells("age_approx", {5: -1}), "impossible_values", r"not an age in 1 row: -1", [5]),
    "an age in words": (with_cells("age_approx", {4: "old"}), "words_among_numbers", r"words in 1 row: old", [4]),
    "two spellings": (
        with_cells("sex", {0: "Male", 4: "M"}),
        "spellings",
        r"'sex' .* in several spellings, which count as one: M, Male, male",
        [0, 1, 4, 5, 8, 9, 12, 13, 16, 17],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SPOILT)
def test_a_table_that_is_odd_is_named_with_its_rows(data, case):
    spoil, name, words, rows = SPOILT[case]
    spoil(data)
    findings = [finding for finding in data.check().findings if finding.name == name]
    [finding] = [f for f in findings if names(f) == [data.frame["image_name"][row] for row in rows]]
    assert len(findings) == 1 + (name == "missing_values") * 2  # age and site have gaps of their own
    assert re.search(words, finding.what), finding.what


def test_a_number_far_off_is_named(data):
    data.rewrite(data.frame.assign(size_mm=[*np.linspace(2, 9, 19).round(2), 4e6]))
    finding = one(data.check(metadata_columns=["sex", "size_mm"]), "impossible_values")
    assert "far outside in 1 row: 4000000.0" in finding.what and names(finding) == ["IMG_009_1"]
    assert "log_columns" in finding.do


def test_a_patient_with_two_sexes_is_named(tmp_path):
    frame = small_frame(40)
    frame.loc[7, "sex"] = "female" if frame.loc[7, "sex"] == "male" else "male"
    finding = one(DataSet(tmp_path / "training", frame).check(), "contradictions")
    assert "1 group: P003" in finding.what and names(finding) == ["IMG_003_0", "IMG_003_1"]


def test_an_identifier_among_the_metadata_is_named(data):
    data.rewrite(data.frame.assign(visit=[f"V{row}" for row in range(20)]))
    assert "20 different words in 20 rows" in one(data.check(metadata_columns=["visit"]), "identifier").what


def test_columns_that_nothing_uses_and_columns_that_are_looked_for_in_vain_are_listed(data):
    data.rewrite(data.frame[["image_name", "patient_id", "sex", "target"]].assign(camera="A"))
    report = data.check()
    assert one(report, "unused_columns").what.endswith(": camera")
    assert "age_approx, anatom_site_general_challenge, benign_malignant" in one(report, "absent_columns").what


def test_a_set_without_groups_is_dealt_by_class_and_warned_of_once(data):
    data.rewrite(data.frame.drop(columns="patient_id"))
    report = data.check()
    [warning] = [finding for finding in report.findings if finding.level == "warning"]
    assert warning.name == "no_groups" and "which images are of the same patient" in warning.what
    assert report.num("error") == 0 and (report.folds[["benign", "malignant"]] == 5).all(axis=None)
    stratified = data.check(split="stratified_kfold")
    pd.testing.assert_frame_equal(stratified.folds, report.folds)
    assert one(stratified, "no_groups") == warning


@pytest.mark.parametrize("settings", [{"group_column": "patient_id"}, {"split": "group_kfold"}])
def test_groups_that_are_asked_for_by_name_and_absent_are_an_error(data, settings):
    data.rewrite(data.frame.drop(columns="patient_id"))
    refusal = one(data.check(**settings), "bad_input")
    assert "columns not found: 'patient_id' (group_column)" in refusal.what
    assert "Without group_column, and without a split by groups, rows are split by class." in refusal.do


def test_a_metadata_column_that_gives_the_target_away_is_refused_by_name(tmp_path):
    data = DataSet(tmp_path / "training", small_frame(16))
    report = data.check(metadata_columns=["sex", "diagnosis"])
    assert "(target leakage): diagnosis (ROC AUC 1.000)" in one(report, "bad_input").what and report.num("error") == 1
    assert data.check(metadata_columns=["sex", "diagnosis"], on_leak="warn").num("error") == 0
    assert data.check(metadata_columns=["sex"]).num("error") == 0


# Settings


WRONG_SETTINGS = {
    "a name": ({"model": "test_resnt"}, "no network is called 'test_resnt'", "Did you mean test_resnet"),
    "a size": ({"model": "test_vit", "image_size": 33}, "does not accept images of 33 px", "Set image_size=160"),
    "a path": ({"pretrained": "/nope.safetensors"}, "no such file or folder exists", "Correct the path"),
}


@pytest.mark.parametrize("case", WRONG_SETTINGS)
def test_a_network_that_training_could_not_start_from_is_an_error_of_the_check_too(data, case):
    settings, what, do = WRONG_SETTINGS[case]
    [error] = errors(data.check(**settings))
    assert what in error.what and do in error.do


def test_a_wrong_network_does_not_hide_that_the_weights_are_not_there(data):
    network, weights = errors(data.check(model="test_resnt", pretrained="/nope.safetensors"))
    assert "no network is called" in network.what and "no such file or folder exists" in weights.what


def test_weights_that_do_not_fit_the_network_are_an_error_of_the_check(data, tmp_path):
    (tmp_path / "weights").mkdir()
    save_file({"stranger.weight": torch.zeros(1)}, tmp_path / "weights" / "w.safetensors")
    data.channels["pretrained"] = tmp_path / "weights"
    [error] = errors(data.check(pretrained=True))
    assert "the weights do not fit 'test_resnet'" in error.what


def test_the_check_downloads_no_weights(data, monkeypatch):
    monkeypatch.setattr("lesion.models.weights._from_hub", None)
    assert data.check(pretrained=True).num("error") == 0


def test_training_says_what_is_wrong_with_the_network_together_with_what_is_wrong_with_the_data(tmp_path):
    root = small_job(tmp_path, model="test_resnt")
    (root / "input/data/training/train_jpg/IMG_003_0.jpg").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        run_job(root)
    said = str(caught.value)
    assert said.startswith("2 things are wrong: 1) no network is called 'test_resnt'") and "IMG_003_0" in said


# Pictures


def test_unreadable_missing_and_blank_pictures_and_odd_sizes_are_named(data):
    data.picture("IMG_001_0").unlink()
    data.picture("IMG_002_0").write_bytes(data.picture("IMG_002_0").read_bytes()[:200])
    blank = np.full((64, 80, 3), 127, np.uint8)
    for name in ("IMG_003_0", "IMG_004_0"):
        cv2.imwrite(str(data.picture(name)), blank)
    rng = np.random.default_rng(0)
    cv2.imwrite(str(data.picture("IMG_005_0")), rng.integers(0, 256, (12, 90, 3), np.uint8))
    report = data.check()
    finding = one(report, "unreadable_image")
    assert finding.level == "error" and names(finding) == ["IMG_001_0", "IMG_002_0"]
    assert "2 of 20 training images cannot be read" in finding.what
    assert "(IMG_001_0)" in finding.what and "the image cannot be decoded" in finding.what
    assert names(one(report, "blank_pictures")) == ["IMG_003_0", "IMG_004_0"]
    assert names(one(report, "odd_sizes")) == ["IMG_005_0"]
    assert not any("copies" in finding.name and finding.level == "near" for finding in report.findings)
    assert one(report, "blank_pictures").what == "2 of 20 training images are blank"
    assert one(report, "odd_sizes").what.startswith("1 of 20 training images is of odd size: ")
    dropped = data.check(on_bad_image="drop")
    assert one(dropped, "unreadable_image").level == "warning"
    assert dropped.sets["training"]["num_rows"] == 18


@pytest.mark.parametrize(
    ("words", "odd", "lost"),
    [
        (["Edema", "Mass", "Edema|Mass"], "Edema|Mass|Mass", []),  # a combination of labels is no class
        (["Edema", "Mass", "Edema|Mass"], "Edema|Hernia", ["Hernia"]),
        (["benign", "malignant"], "Malignant ", []),  # nor is a spelling
        (["benign", "malignant"], "other", ["other"]),
    ],
)
def test_of_images_that_are_dropped_only_a_whole_class_is_missed(large, words, odd, lost):
    frame = large.frame.assign(target=[words[row % len(words)] for row in range(len(large.frame))])
    frame.loc[[40, 41], "target"] = odd
    large.rewrite(frame)
    for name in frame["image_name"][[40, 41]]:
        large.picture(name).write_bytes(b"broken")
    report = large.check(on_bad_image="drop", on_leak="warn")
    assert one(report, "unreadable_image").level == "warning"
    assert [error.what for error in errors(report)] == [
        f"no training image of class '{name}' can be read, so the class would be gone" for name in lost
    ]


def test_pictures_without_a_row_are_counted(data):
    data.rewrite(data.frame.iloc[2:])
    finding = one(data.check(), "pictures_without_row")
    assert "2 images of the training set without a row, such as IMG_000_0.jpg, IMG_000_1.jpg" in finding.what


def test_pictures_of_another_set_in_the_same_folder_are_not_without_row(tmp_path):
    folder = tmp_path / "training"
    write_channel(folder, small_frame(10), image_dir=".")
    test = sample_frame(2).assign(
        image_name=lambda frame: "T" + frame["image_name"], patient_id=["T0", "T0", "T1", "T1"]
    )
    write_channel(folder, test, csv_name="test.csv", image_dir=".")
    report = check({"training": folder}, tmp_path / "check")
    assert report.sets["test"]["num_rows"] == 4
    assert [finding.name for finding in report.findings if finding.name == "pictures_without_row"] == []


# Doors


def test_the_command_says_of_each_file_what_it_lacks_and_once_which_format_it_has(data, command, caplog):
    held = data.add("test", sample_frame(2)).parent
    settings = {**data.settings, "metadata_columns": "sx"}
    given = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    with caplog.at_level(logging.INFO, "lesion"):
        done = command("check", data.folder, "--test", held, *given, "--output", data.folder.with_name("check"))
    said = " ".join(done.stdout.split())
    for table in (data.folder / "train.csv", held / "test.csv"):
        assert f"columns not found: 'sx' (metadata_columns; did you mean 'sex'?) {table}" in said
    assert "The table has image_name, patient_id, sex, age_approx, anatom_site" in said
    assert len([message for message in caplog.messages if message.startswith("source=")]) == 2


class Page(HTMLParser):
    """The pictures and words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.images.append(dict(attrs)["src"] or "")

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_command_prints_a_table_and_writes_a_page_with_pictures(data, tmp_path, command):
    data.copy("IMG_001_0", to="IMG_006_0")
    data.picture("IMG_002_0").write_bytes(b"")
    settings = [
        part for name, value in {**data.settings, "on_leak": "error"}.items() for part in ("--set", f"{name}={value}")
    ]
    done = command("check", data.folder, *settings, "--output", tmp_path / "out", "--no-progress")
    assert done.returncode == 2, done.stderr
    assert "1 pair of copies of the same image in different groups" in done.stdout
    assert f"{data.folder / 'train.csv'} rows: IMG_002_0 →" in " ".join(done.stdout.split())
    assert "rows: IMG_001_0 = IMG_006_0" in done.stdout and "Training would refuse this: 2 errors" in done.stdout
    known = json.loads((tmp_path / "out" / "check.json").read_text())
    assert {finding["name"] for finding in known["findings"] if finding["level"] == "error"} == {
        "unreadable_image",
        "copies_across_folds",
    }
    page = Page((tmp_path / "out" / "check.html").read_text())
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.images) and len(page.images) >= 2
    assert "IMG_006_0" in page.words and "cannot be read" in page.words


def test_words_from_the_table_do_not_become_markup(tmp_path):
    frame = small_frame(10).assign(sex="<script>alert(1)</script>")
    data = DataSet(tmp_path / "training", frame.assign(sex=["<script>alert(1)</script>", "b"] * 10))
    data.check()
    assert "<script>" not in (tmp_path / "check" / "check.html").read_text()


def test_a_whole_job_is_checked_with_its_own_hyperparameters(tmp_path, command):
    root = small_job(tmp_path / "job", has_test=True)
    done = command("check", root, "--output", tmp_path / "out", "--no-progress")
    assert done.returncode == 0, done.stderr + done.stdout
    known = json.loads((tmp_path / "out" / "check.json").read_text())
    assert len(known["folds"]) == SMALL["folds"] and known["sets"]["test"]["num_rows"] == 5


def test_a_table_that_cannot_be_read_is_a_finding_too(data):
    data.rewrite(data.frame.drop(columns="target"))
    report = data.check()
    assert "columns not found: 'target'" in one(report, "bad_input").what
    assert json.loads((data.folder.with_name("check") / "check.json").read_text())["findings"]


def test_what_is_wrong_with_the_targets_does_not_hide_what_is_wrong_with_the_pictures(data):
    data.rewrite(data.frame.assign(target=0))
    data.picture("IMG_002_0").write_bytes(b"")
    assert {finding.name for finding in data.check().findings if finding.level == "error"} == {
        "bad_input",
        "unreadable_image",
    }


def test_training_leaves_the_check_beside_its_results_and_compares_itself_with_shortcuts(tmp_path, caplog):
    frame = small_frame(20)  # ten positives and ten negatives in each fold
    root = small_job(tmp_path, frame=frame, metadata_columns="[]")
    with caplog.at_level(logging.INFO, "lesion"):
        run(root)
    output = root / "output" / "data"
    known = json.loads((output / "check.json").read_text())
    assert [fold["rows"] for fold in known["folds"]] == [20, 20] and (output / "check.html").exists()
    alone = json.loads((output / "metrics.json").read_text())["shortcuts"]["roc_auc"]
    assert set(alone) == {"size", "border", "mean colour", "all"} and alone == known["shortcuts"]
    [line] = [line for line in caplog.messages if line.startswith("shortcuts:")]
    assert f"a ROC AUC of {alone['all']:.4f}" in line


def test_training_says_all_that_is_wrong_at_once_in_the_words_of_the_check(tmp_path, caplog):
    """In the tables of two sets, in the pictures, and between them."""
    root = small_job(tmp_path, frame=small_frame().assign(target=0), on_leak="error", log_columns="sex", has_test=True)
    training = root / "input/data/training"
    pictures = training / "train_jpg"
    (pictures / "IMG_001_0.jpg").write_bytes((pictures / "IMG_002_0.jpg").read_bytes())
    (pictures / "IMG_003_0.jpg").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        run_job(root)
    known = json.loads((root / "output/data/check.json").read_text())
    assert known["verdict"].startswith("Training would refuse this")
    wrong = [finding for finding in known["findings"] if finding["level"] == "error"]
    assert [error["name"] for error in wrong] == [
        *("bad_input", "hyperparameters", "unreadable_image", "copies_across_folds")
    ]
    assert [error.what for error in caught.value.each] == [error["what"] for error in wrong]
    assert not [message for message in caplog.messages if message.startswith("check error: ")]  # else they come twice
    told = str(caught.value)
    assert told.startswith("4 things are wrong: 1) column 'target' holds one value only, 0, in all 12 rows")
    assert " 2) log_columns=sex is not" in told and " more." in told and len(told) <= 1000
    settings = json.loads((root / "input/config/hyperparameters.json").read_text())
    report = check({"training": training}, tmp_path / "check", **settings)
    assert [finding.as_json() for finding in report.sorted_findings()] == known["findings"]


def test_a_table_that_cannot_be_learned_from_hides_neither_its_pictures_nor_another_sets_table(data):
    data.add("test", sample_frame(2).assign(image_name="x"))
    data.rewrite(data.frame.drop(columns=["patient_id", "sex"]).assign(target=["", "", *("1", "0") * 9]))
    data.copy("IMG_001_0", to="IMG_006_0")
    data.picture("IMG_002_0").write_bytes(b"")
    wrong = errors(data.check(group_column="patient_id", metadata_columns="sex", on_leak="error"))
    assert [error.name for error in wrong] == ["bad_input"] * 3 + ["unreadable_image", "copies_across_folds"]
    assert "'patient_id' (group_column), 'sex' (metadata_columns)" in wrong[0].what
    assert "column 'target' is empty in 2 of 20 rows" in wrong[1].what
    assert "3 images are in more than one row" in wrong[2].what and "test.csv" in wrong[2].where


def test_an_image_without_a_name_and_one_in_two_rows_hide_nothing_of_the_others(data):
    frame = pd.concat([data.frame, data.frame.iloc[[5]]]).assign(target=lambda frame: frame["target"] + 0.5)
    data.rewrite(frame.assign(image_name=["", *frame["image_name"][1:]]))
    data.copy("IMG_001_0", to="IMG_006_0")
    data.picture("IMG_002_1").write_bytes(b"")
    empty, repeated, values, unreadable, copies = errors(data.check(on_leak="error"))
    assert repeated.what == "1 image is in more than one row, the first: IMG_002_1"
    assert "column 'image_name' is empty in 1 of 21 rows" in empty.what and empty.where.endswith("train.csv, line 2")
    assert "column 'target' holds 0.5, 1.5: measurements" in values.what
    assert names(unreadable) == ["IMG_002_1"] and names(copies) == ["IMG_001_0", "IMG_006_0"]


@pytest.mark.parametrize("column", ["patient_id", "target"])
def test_an_empty_cell_hides_neither_target_values_nor_folds_and_keeps_the_verdict_on_copies(large, column):
    """The copies are in two groups, which on_leak=auto merges; it would drop a row if it knew no groups."""
    large.copy("IMG_001_0", to="IMG_006_0")
    frame = large.frame.astype({column: object})
    frame.loc[2, "age_approx"] = "old"
    frame.loc[9, column] = ""
    large.rewrite(frame.assign(target=frame["target"].where(frame.index != 20, 2)))
    report = large.check(metadata_columns="age_approx", log_columns="age_approx", on_missing_group="error")
    empty, *others = errors(report)
    assert re.search(rf"column '{column}' is empty in 1 (of 80 rows|row)$", empty.what)
    assert any("class 2 has 1 row only" in error.what for error in others)
    assert any("log_columns=age_approx" in error.what for error in others)
    assert one(report, "copies_across_folds").do == "on_leak=auto keeps their groups in one fold."
    aside = one(report, "rows_aside")
    assert names(aside) == [frame["image_name"][9]]
    assert ("copies" in aside.what) == (column == "patient_id")


def test_a_row_without_its_fold_makes_no_fold_of_its_own(data):
    folds = (np.arange(20) // 8 % 2).astype(str)
    folds[3] = ""
    data.rewrite(data.frame.assign(part=folds))
    [error] = errors(data.check(split="part"))
    assert "column 'part' is empty in 1 of 20 rows" in error.what


@pytest.mark.parametrize("has_groups", [True, False])
def test_a_slip_that_makes_a_third_class_is_named_with_its_row_file_and_column(data, has_groups):
    frame = data.frame.assign(target=data.frame["target"].where(data.frame.index != 6, 2))
    data.rewrite(frame if has_groups else frame.drop(columns="patient_id"))
    [error] = errors(data.check())
    assert "IMG_003_0" in error.what.partition(";")[0] and "2" in error.what
    assert error.where.endswith("train.csv, column 'target'") and "orrect the targets" in error.do
    assert "folds" not in error.do


def test_a_missing_group_or_metadata_column_does_not_hide_what_is_wrong_with_the_targets(data):
    data.rewrite(data.frame.drop(columns="patient_id").assign(target=np.linspace(0, 1, 20)))
    missing, values = errors(data.check(group_column="patient_id", metadata_columns="sx"))
    assert "'patient_id' (group_column), 'sx' (metadata_columns; did you mean 'sex'?)" in missing.what
    assert "measurements, not classes" in values.what


def test_metadata_of_the_test_set_that_is_no_number_is_named_by_column_and_file(data):
    data.add("test", sample_frame(2).assign(image_name=list("abcd"), patient_id="T", age_approx="old", sex="male"))
    finding = one(data.check(), "bad_input")
    assert finding.what == "column 'age_approx': 'old' is not a number" and finding.where.endswith("test.csv")


def draw_classes(channel: Path, num_pictures: int) -> None:
    """Folders of two classes, and one picture of one of them twice."""
    for number, name in enumerate(["daisy", "tulip"] * (num_pictures // 2)):
        draw_picture(channel / name / f"{number}.jpg", is_positive=name == "tulip", seed=number)
    (channel / "daisy" / "0.jpg").write_bytes((channel / "daisy" / "2.jpg").read_bytes())


def test_class_folders_with_a_copy_and_without_the_groups_that_were_asked_for_are_refused_once(tmp_path):
    """Not first for the groups, and after a second start for the copy."""
    draw_classes(tmp_path / "classes", 16)
    report = check({"training": tmp_path / "classes"}, tmp_path / "check", split="group_kfold", on_leak="error")
    groups, copies = errors(report)
    assert "class folders do not say which images are of the same patient" in groups.what
    assert copies.name == "copies_across_folds"


def test_class_folders_are_not_told_of_columns_that_they_cannot_have(tmp_path):
    draw_classes(tmp_path / "classes", 16)
    report = check({"training": tmp_path / "classes"}, tmp_path / "check")
    assert "absent_columns" not in {finding.name for finding in report.findings}


def test_class_folders_train_without_a_group_column(tmp_path, caplog):
    root = small_job(tmp_path / "job", metadata_columns="[]", positive_class="tulip")
    channel = root / "input/data/training"
    shutil.rmtree(channel)
    draw_classes(channel, 40)
    oof = run(root).oof
    assert len(oof) == 39 and sorted(oof.groupby("fold")["target"].sum().tolist()) == [10, 10]
    warnings = [message for message in caplog.messages if message.startswith("check warning")]
    assert len(warnings) == 2 and "which images are of the same patient" in warnings[0]
    assert (
        f"(daisy/0.jpg = daisy/2.jpg of {channel}). on_leak=auto leaves 1 training row out: daisy/2.jpg." in warnings[1]
    )


def test_training_names_all_that_is_wrong_with_the_pictures_at_once(tmp_path):
    root = small_job(tmp_path, on_leak="error")
    pictures = root / "input/data/training/train_jpg"
    (pictures / "IMG_001_0.jpg").write_bytes((pictures / "IMG_002_0.jpg").read_bytes())
    (pictures / "IMG_003_0.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"2 things are wrong: 1\) .* 2\) ") as caught:
        run_job(root)
    assert "IMG_003_0" in str(caught.value) and "IMG_001_0 = IMG_002_0" in str(caught.value)
