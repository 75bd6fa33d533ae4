"""Frames: which frames of DICOM files are a set's pictures, and what is said of the others."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dicom_files import bytes_of, dataset_of
from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.task import questions
from lesion.check.run import check_channels
from lesion.data.channels import columns_of, open_channels
from lesion.data.decode import images
from lesion.data.table import Source
from lesion.errors import UserError
from lesion.prepare.sharding import Sharding
from lesion.prepare.shards import Share, prepare_shards

COUNTS = {"a": 1, "b": 3, "c": 4}  # frames of each file


def write_set(folder: Path, *, has_patients: bool, ending: str = ".dcm") -> Path:
    """A file for each of COUNTS; frame k of it is grey by 10 for the file and k more, at one place lighter."""
    (folder / "train").mkdir(parents=True)
    for number, (name, count) in enumerate(COUNTS.items()):
        frames = np.stack([np.full((8, 8), 40 * number + 10 * frame, np.uint8) for frame in range(count)])
        dataset = dataset_of(frames if count > 1 else frames[0])
        content = bytes_of(dataset)
        packed = gzip.compress(content) if ending.endswith(".gz") else content
        (folder / "train" / f"{name}{ending}").write_bytes(packed)
    rows = pd.DataFrame({"image_name": [f"{name}{ending}" for name in COUNTS], "target": [0, 1, 0]})
    if has_patients:
        rows["patient_id"] = ["P1", "P1", "P2"]
    rows.to_csv(folder / "train.csv", index=False)
    return folder


def opened(folder: Path, frames: str) -> Source:
    config = ClassifyConfig.parse({"dicom_frames": frames})
    return open_channels({"training": folder}, columns_of(config)).whole()[0]


def greys(source: Source) -> list[int]:
    return [int(source.read(row)[0, 0, 0]) for row in range(len(source.table()))]


@pytest.mark.parametrize(("frames", "expected"), [("first", [0, 40, 80]), ("middle", [0, 50, 100])])
def test_one_frame_of_each_file_is_read_and_how_many_are_not_is_said(frames, expected, tmp_path):
    source = opened(write_set(tmp_path, has_patients=True), frames)
    assert greys(source) == expected
    (remark,) = source.table().remarks
    assert f"2 of 3 images are DICOM files of more than one frame (up to 4): the {frames}" in remark.what
    assert "5 frames are not" in remark.what and "dicom_frames" in remark.do


def test_frames_of_packed_files_are_rows_too(tmp_path):
    source = opened(write_set(tmp_path, has_patients=True, ending=".dcm.gz"), "all")
    assert source.table().name_S.tolist()[:2] == ["a.dcm.gz", "b.dcm.gz#1"]
    assert greys(source) == [0, 40, 50, 60, 80, 90, 100, 110]


def without_patients(folder: Path, rows: Sequence[int]) -> Path:
    """The set, its table without the patients of some rows."""
    table = pd.read_csv(folder / "train.csv", dtype=str)
    table.loc[list(rows), "patient_id"] = None
    table.to_csv(folder / "train.csv", index=False)
    return folder


def test_frames_of_a_file_without_patient_are_one_group_and_stay_it_beside_a_validation_set(tmp_path):
    training = without_patients(write_set(tmp_path / "training", has_patients=True), [0, 2])
    validation = write_set(tmp_path / "validation", has_patients=True)
    table = opened(training, "all").table()
    assert table.group_S.tolist() == ["a.dcm", *["P1"] * 3, *["c.dcm"] * 4]
    assert table.has_own_group_S.tolist() == [True, *[False] * 7]
    columns = columns_of(ClassifyConfig.parse({"dicom_frames": "all"}))
    both = open_channels({"training": training, "validation": validation}, columns).whole()[0].table()
    assert both.group_S.tolist()[:8] == table.group_S.tolist()


@pytest.mark.parametrize("has_patients", [True, False])
def test_shards_hold_each_frame_with_its_group(has_patients, tmp_path):
    folder = write_set(tmp_path / "in", has_patients=has_patients)
    if has_patients:
        without_patients(folder, [2])
    columns = columns_of(ClassifyConfig.parse({"dicom_frames": "all"}))
    prepare_shards(
        folder,
        output=tmp_path / "out",
        columns=columns,
        source="auto",
        sharding=Sharding(size_px=16),
        engine="processes",
        num_workers=1,
        share=Share(),
        show_progress=False,
    )
    before, after = opened(folder, "all").table(), opened(tmp_path / "out", "first").table()
    assert before.group_S is not None and after.group_S is not None
    rows = [dict(zip(table.name_S, table.group_S, strict=True)) for table in (before, after)]
    assert len(rows[0]) == 8 and rows[0] == rows[1]


@pytest.mark.parametrize("has_patients", [True, False])
def test_each_frame_is_a_row_of_its_file_or_patient(has_patients, tmp_path):
    source = opened(write_set(tmp_path, has_patients=has_patients), "all")
    table = source.table()
    assert table.name_S.tolist() == ["a.dcm", *(f"b.dcm#{k}" for k in (1, 2, 3)), *(f"c.dcm#{k}" for k in (1, 2, 3, 4))]
    assert greys(source) == [0, 40, 50, 60, 80, 90, 100, 110]
    groups = ["P1"] * 4 + ["P2"] * 4 if has_patients else ["a.dcm"] + ["b.dcm"] * 3 + ["c.dcm"] * 4
    assert table.group_S is not None and table.group_S.tolist() == groups
    assert table.targets is not None and table.targets["target"].tolist() == ["0", "1", "1", "1", "0", "0", "0", "0"]
    said = [] if has_patients else ["files_as_groups"]
    assert [remark.name for remark in table.remarks] == said


def test_files_of_one_frame_are_read_without_a_word(tmp_path):
    folder = write_set(tmp_path, has_patients=True)
    rows = pd.read_csv(folder / "train.csv")
    rows[:1].to_csv(folder / "train.csv", index=False)
    for frames in ("first", "middle", "all"):
        source = opened(folder, frames)
        assert greys(source) == [0] and source.table().remarks == () and source.table().name_S.tolist() == ["a.dcm"]


def test_class_folders_have_frames_too(tmp_path):
    folder = write_set(tmp_path / "made", has_patients=True) / "train"
    for name, label in (("a", "no"), ("b", "yes"), ("c", "no")):
        (tmp_path / "set" / label).mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.dcm").rename(tmp_path / "set" / label / f"{name}.dcm")
    source = opened(tmp_path / "set", "all")
    assert source.table().name_S.tolist()[-3:] == ["yes/b.dcm#1", "yes/b.dcm#2", "yes/b.dcm#3"]
    assert len(source.table()) == 8


def test_the_check_says_what_is_not_read(tmp_path):
    write_set(tmp_path / "set", has_patients=True)
    config = ClassifyConfig.parse({"pretrained": False, "model": "test_resnet", "folds": 2})
    report = check_channels(
        questions(config, check_settings=lambda: []),
        {"training": tmp_path / "set"},
        output=tmp_path / "check",
        num_workers=1,
        show_progress=False,
    )
    assert [finding.level for finding in report.findings if finding.name == "frames_not_read"] == ["warning"]


def test_a_file_that_states_a_thousand_million_frames_is_refused(tmp_path):
    folder = write_set(tmp_path, has_patients=True)
    content = bytes_of(dataset_of(np.zeros((8, 8), np.uint8), NumberOfFrames=1_000_000_000))
    (folder / "train" / "b.dcm").write_bytes(content)
    with pytest.raises(UserError, match=r"1,000,000,000 frames.*b\.dcm"):
        opened(folder, "all")
    with pytest.raises(UserError, match="1,000,000,000 frames"):
        images.frames_of(content, "all")
    assert greys(opened(folder, "first"))[1] == 0


def test_a_file_that_cannot_be_read_is_named_where_it_is_read(tmp_path):
    folder = write_set(tmp_path, has_patients=True)
    (folder / "train" / "b.dcm").write_bytes(b"\0" * 128 + b"DICM and nothing else")
    source = opened(folder, "all")
    assert len(source.table()) == 6
    with pytest.raises(UserError, match=r"b\.dcm"):
        source.read(1)


@pytest.mark.parametrize("choice", ["first", "all"])
def test_a_table_with_a_fault_is_refused_in_words_where_files_have_frames(tmp_path, choice):
    write_set(tmp_path, has_patients=True)
    table = pd.read_csv(tmp_path / "train.csv", dtype=str)
    table.loc[1, "target"] = None
    table.to_csv(tmp_path / "train.csv", index=False)
    config = ClassifyConfig.parse({"dicom_frames": choice})
    sets = open_channels({"training": tmp_path}, replace(columns_of(config), are_targets_needed=True))
    assert "column 'target' is empty in 1 of 3 rows" in str(sets.problems[0]) and sets.is_partial
    assert sets.training is not None and len(sets.training.table()) == (3 if choice == "first" else 8)
