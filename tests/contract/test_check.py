"""Check: what is wrong with a data set is said in the first minute, with the rows concerned, by every door."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from jobs import SMALL, run, small_frame, small_job

from factories import run_job, sample_frame, write_channel
from lesion.algorithms.classify.check import check_channels
from lesion.algorithms.classify.config import ClassifyConfig
from lesion.check.finding import Finding
from lesion.check.report import Report
from lesion.errors import UserError

SETTINGS = {**SMALL, "pretrained": False, "model": "test_resnet"}


class DataSet:
    """A channel that a test spoils, and what the check says of it."""

    def __init__(self, folder: Path, frame: pd.DataFrame, **settings: object) -> None:
        self.folder, self.frame, self.settings = folder, frame, {**SETTINGS, **settings}
        self.channels = {"training": folder}
        write_channel(folder, frame)

    def rewrite(self, frame: pd.DataFrame) -> None:
        frame.to_csv(self.folder / "train.csv", index=False)

    def picture(self, name: str) -> Path:
        return self.folder / "train_jpg" / f"{name}.jpg"

    def copy(self, name: str, to: str) -> None:
        self.picture(to).write_bytes(self.picture(name).read_bytes())

    def add(self, channel: str, frame: pd.DataFrame) -> Path:
        """A further channel; its folder of pictures."""
        folder = self.folder.with_name(channel)
        write_channel(folder, frame, csv_name=f"{channel}.csv", image_dir=f"{channel}_jpg")
        self.channels[channel] = folder
        return folder / f"{channel}_jpg"

    def check(self, **changes: object) -> Report:
        config = ClassifyConfig.parse({**self.settings, **changes})
        output = self.folder.with_name("check")
        return check_channels(config, self.channels, output=output, num_workers=1, show_progress=False)


@pytest.fixture
def data(tmp_path) -> DataSet:
    return DataSet(tmp_path / "training", small_frame(10))


def one(report: Report, name: str) -> Finding:
    [finding] = [finding for finding in report.findings if finding.name == name]
    return finding


def names(finding: Finding) -> list[str]:
    return [row.name for row in finding.rows]


def test_a_good_set_has_no_error_and_no_warning(data):
    report = data.check()
    assert [finding for finding in report.findings if finding.level != "note"] == []
    assert report.verdict == "Training would begin: no error, 0 to think about."


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
    "an age of -1": (with_cells("age_approx", {5: -1}), "impossible_values", r"no age in 1 row: -1", [5]),
    "an age in words": (with_cells("age_approx", {4: "old"}), "words_among_numbers", r"in 1 row other words: old", [4]),
    "two spellings": (
        with_cells("sex", {0: "Male", 4: "male "}),
        "spellings",
        r"'sex' .* differ by capitals or spaces only: Male, male",
        [0, 1, 4, 5, 8, 9, 12, 13, 16, 17],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SPOILT)
def test_a_table_that_is_odd_is_named_with_its_rows(data, case):
    spoil, name, words, rows = SPOILT[case]
    spoil(data)
    findings = [finding for finding in data.check().findings if finding.name == name]
    [finding] = [f for f in findings if names(f) == [data.frame["image_name"][row] for row in rows]]
    assert len(findings) == (3 if name == "missing_values" else 1)  # the set has gaps in two other columns
    assert re.search(words, finding.what), finding.what


def test_a_number_far_off_is_named(data):
    data.rewrite(data.frame.assign(size_mm=[*np.linspace(2, 9, 19).round(2), 4e6]))
    finding = one(data.check(metadata_columns=["sex", "size_mm"]), "impossible_values")
    assert "far off: 4000000.0" in finding.what and names(finding) == ["IMG_009_1"]
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


def test_a_set_without_groups_is_warned_of(data):
    data.rewrite(data.frame.drop(columns="patient_id"))
    assert "one patient's may lie on both sides" in one(data.check(split="stratified_kfold"), "no_groups").what


def test_a_metadata_column_that_gives_the_target_away_is_refused_by_name(tmp_path):
    data = DataSet(tmp_path / "training", small_frame(16))
    report = data.check(metadata_columns=["sex", "diagnosis"])
    assert "diagnosis (ROC AUC 1.000) on their own" in one(report, "bad_input").what and report.num("error") == 1
    assert data.check(metadata_columns=["sex", "diagnosis"], on_leak="warn").num("error") == 0
    assert data.check(metadata_columns=["sex"]).num("error") == 0


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
    assert "2 of 20 training pictures cannot be read" in finding.what
    assert "picture not found (IMG_001_0" in finding.what and "not a picture that can be decoded" in finding.what
    assert names(one(report, "blank_pictures")) == ["IMG_003_0", "IMG_004_0"]
    assert names(one(report, "odd_sizes")) == ["IMG_005_0"]
    assert not any("copies" in finding.name and finding.level == "near" for finding in report.findings)
    dropped = data.check(on_bad_image="drop")
    assert one(dropped, "unreadable_image").level == "warning"
    assert dropped.sets["training"]["num_rows"] == 18


def test_pictures_without_a_row_are_counted(data):
    data.rewrite(data.frame.iloc[2:])
    finding = one(data.check(), "pictures_without_row")
    assert "2 pictures of the training set that no row names, such as IMG_000_0.jpg, IMG_000_1.jpg" in finding.what


def test_pictures_of_another_set_in_the_same_folder_are_not_without_row(tmp_path):
    folder = tmp_path / "training"
    write_channel(folder, small_frame(10), image_dir=".")
    test = sample_frame(2).assign(
        image_name=lambda frame: "T" + frame["image_name"], patient_id=["T0", "T0", "T1", "T1"]
    )
    write_channel(folder, test, csv_name="test.csv", image_dir=".")
    config = ClassifyConfig.parse(SETTINGS)
    report = check_channels(config, {"training": folder}, output=tmp_path / "check", num_workers=1, show_progress=False)
    assert report.sets["test"]["num_rows"] == 4
    assert [finding.name for finding in report.findings if finding.name == "pictures_without_row"] == []


# Leaks


def turned(content: bytes) -> bytes:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return cv2.imencode(".jpg", np.rot90(image), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def test_copies_in_different_groups_are_refused_and_named(data):
    data.copy("IMG_001_0", to="IMG_006_0")
    data.picture("IMG_008_1").write_bytes(turned(data.picture("IMG_003_1").read_bytes()))
    report = data.check()
    finding = one(report, "copies_across_folds")
    assert finding.level == "error" and "2 pairs of copies of one picture in different groups" in finding.what
    assert names(finding) == ["IMG_001_0", "IMG_006_0", "IMG_003_1", "IMG_008_1"]
    assert "on_leak=drop to leave 2 training rows out, merge_groups" in finding.do


def test_copies_with_different_targets_are_named(data):
    data.copy("IMG_001_0", to="IMG_006_1")
    assert names(one(data.check(), "contradicting_copies")) == ["IMG_001_0", "IMG_006_1"]


def test_copies_within_a_group_are_no_leak(data):
    data.copy("IMG_001_0", to="IMG_001_1")
    report = data.check()
    assert one(report, "copies_within_groups").level == "note" and report.num("error") == 0
    assert one(data.check(split="kfold"), "copies_across_folds").level == "error"


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
    assert finding.level == "error" and finding.do.startswith("on_leak=merge_groups cannot mend that.")


@pytest.mark.parametrize("channel", ["validation", "test"])
def test_a_patient_in_training_and_another_set_is_refused_and_can_be_dropped(data, channel):
    held = sample_frame(3).assign(
        image_name=lambda frame: "V" + frame["image_name"], patient_id=["P004"] * 2 + ["V"] * 4
    )
    data.add(channel, held)
    name = {"validation": "group_on_both_sides", "test": "group_in_test"}[channel]
    finding = one(data.check(), name)
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
    finding = one(data.check(), name)
    assert finding.level == "error" and names(finding) == ["IMG_007_0", "VIMG_000_1"]
    report = data.check(on_leak="drop")
    assert report.num("error") == 0
    assert report.sets["training"]["num_rows"] == 19 + 6 * (channel == "validation")  # the training row goes


# Doors


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
    settings = [part for name, value in data.settings.items() for part in ("--set", f"{name}={value}")]
    done = command("check", data.folder, *settings, "--output", tmp_path / "out", "--no-progress")
    assert done.returncode == 2, done.stderr
    assert "1 pair of copies of one picture in different groups" in done.stdout
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
    root = small_job(tmp_path, frame=small_frame(12))
    with caplog.at_level(logging.INFO, "lesion"):
        run(root)
    output = root / "output" / "data"
    known = json.loads((output / "check.json").read_text())
    assert [fold["rows"] for fold in known["folds"]] == [12, 12] and (output / "check.html").exists()
    alone = json.loads((output / "metrics.json").read_text())["shortcuts"]["roc_auc"]
    assert set(alone) == {"size", "border", "mean colour", "all"} and alone == known["shortcuts"]
    [line] = [line for line in caplog.messages if line.startswith("shortcuts:")]
    assert f"a ROC AUC of {alone['all']:.4f}" in line


def test_training_refuses_before_it_opens_a_picture_and_says_why_on_the_page(tmp_path):
    root = small_job(tmp_path, frame=small_frame().assign(target=0))
    for picture in (root / "input/data/training/train_jpg").iterdir():
        picture.write_bytes(b"")
    with pytest.raises(UserError, match="fold 0 has no held-out row"):
        run_job(root)
    known = json.loads((root / "output/data/check.json").read_text())
    assert known["verdict"].startswith("Training would refuse this") and len(known["findings"]) >= 1


def test_training_names_all_that_is_wrong_with_the_pictures_at_once(tmp_path):
    root = small_job(tmp_path)
    pictures = root / "input/data/training/train_jpg"
    (pictures / "IMG_001_0.jpg").write_bytes((pictures / "IMG_002_0.jpg").read_bytes())
    (pictures / "IMG_003_0.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"2 things are wrong with the data: 1\) .* 2\) ") as caught:
        run_job(root)
    assert "IMG_003_0" in str(caught.value) and "IMG_001_0 = IMG_002_0" in str(caught.value)
