"""Formats: each one's own rules, and the words for what it cannot take."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesion.data.labels.encode import read_labels
from lesion.data.sources import augmented_manifest, lst
from lesion.data.sources.augmented_manifest import relative_references
from lesion.data.sources.formats import open_source
from lesion.data.sources.location import SplitLocation
from lesion.data.sources.webdataset import contents_of
from lesion.data.table import Columns
from lesion.errors import UserError
from sources import WRITERS, colour_of, write_class_folder, write_lst, write_pcam_hdf5, write_png, write_webdataset

WANTED = Columns(targets=("target",), are_targets_needed=True, group="patient_id")
UNLABELLED = Columns(targets=("target",))


def opened(folder: Path, columns: Columns = WANTED, split: str = "train", **location):
    return open_source(SplitLocation(folder, split, **location), columns, source="auto")


@pytest.mark.parametrize("name", WRITERS)
def test_a_column_that_is_read_under_another_name_is_not_called_unused(tmp_path, name):
    """All columns that the writers write are used: the slide of PatchCamelyon is the group, and so on."""
    WRITERS[name](tmp_path)
    table = opened(tmp_path).table()
    assert table.others is not None and list(table.others.columns) == []


def test_the_slides_of_patchcamelyon_are_the_groups_and_that_is_said(tmp_path):
    written = write_pcam_hdf5(tmp_path)
    table = opened(tmp_path).table()
    assert table.group_S.tolist() == [written.groups[name] for name in table.name_S]
    assert any("the groups are the slides, column 'wsi'" in remark.what for remark in table.remarks)


# Class folders


def test_a_folder_of_pictures_alone_is_a_test_set_without_targets(tmp_path):
    write_png(tmp_path / "b.png", "p1")
    write_png(tmp_path / "a.png", "p2")
    table = opened(tmp_path, UNLABELLED, "test").table()
    assert table.name_S.tolist() == ["a.png", "b.png"] and table.targets is None


def test_pictures_outside_any_class_are_refused_where_a_class_is_needed(tmp_path):
    write_class_folder(tmp_path)
    write_png(tmp_path / "stray.png", "p1")
    with pytest.raises(UserError, match=r"1 image is in no class folder, stray\.png"):
        opened(tmp_path)


@pytest.mark.parametrize("name", ["valid", "val", "validation"])
def test_the_sets_may_be_folders_of_one_channel(tmp_path, name):
    write_class_folder(tmp_path / "train")
    write_png(tmp_path / name / "rose" / "v1.png", "p1")
    write_png(tmp_path / name / "tulip" / "v2.png", "p2")
    assert len(opened(tmp_path).table()) == 12
    assert opened(tmp_path, split="validation").table().name_S.tolist() == ["rose/v1.png", "tulip/v2.png"]


def test_folders_below_a_class_belong_to_it(tmp_path):
    write_class_folder(tmp_path)
    write_png(tmp_path / "rose" / "garden" / "deep.png", "p1")
    table = opened(tmp_path).table()
    assert table.targets["target"][table.name_S.tolist().index("rose/garden/deep.png")] == "rose"


# .lst


def test_several_labels_are_columns_of_their_own(tmp_path):
    write_png(tmp_path / "a.png", "p1")
    write_png(tmp_path / "b.png", "p2")
    (tmp_path / "train.lst").write_text("0\t1\t0\t1\ta.png\n1\t0\t0\t1\tb.png\n")
    table = opened(tmp_path).table()
    labels = read_labels(table)
    assert labels.target.class_names == ("label_0", "label_1", "label_2")
    assert labels.encode(table).tolist() == [[1, 0, 1], [0, 0, 1]]
    named = Columns(targets=("hair", "ink", "ruler"), are_targets_needed=True)
    assert list(opened(tmp_path, named).table().targets.columns) == ["hair", "ink", "ruler"]


def test_the_list_may_lie_in_a_channel_of_its_own(tmp_path):
    written = write_lst(tmp_path / "train")
    (tmp_path / "lists").mkdir()
    (tmp_path / "train" / "train.lst").rename(tmp_path / "lists" / "anything.lst")
    source = opened(tmp_path / "train", lists=tmp_path / "lists")
    assert source.table().name_S.tolist() == list(written.colours)


def test_recordio_is_refused_with_what_to_give_instead(tmp_path):
    (tmp_path / "train.rec").write_bytes(b"\x0a\x23\xd7\xce")
    with pytest.raises(UserError, match=r"RecordIO is not read.*\.lst and the images that im2rec packed"):
        opened(tmp_path)


@pytest.mark.parametrize("line", ["0 1 a.png", "0\tx\ta.png", "0\ta.png", "0\t1\t", "0\tnan\ta.png", "0\t1\t2\ta.png"])
def test_a_line_that_is_none_is_named_by_its_number(tmp_path, line):
    (tmp_path / "train.lst").write_text(f"0\t1\tok.png\n\n{line}\n")
    with pytest.raises(UserError, match="line 3 is not number, label or labels, path"):
        lst.parse(tmp_path / "train.lst")


paths = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12)


@given(rows=st.lists(st.tuples(st.integers(0, 99), paths), min_size=1, max_size=9))
def test_any_list_comes_back_as_it_was_written(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("lst") / "train.lst"
    path.write_text("".join(f"{n}\t{label}\t{name}\n" for n, (label, name) in enumerate(rows)), encoding="utf-8")
    assert lst.parse(path) == [[str(label), name] for label, name in rows]


# Augmented manifest


def manifest(folder: Path, *lines: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "train.manifest").write_text("\n".join(texts) + "\n")
    return folder


@pytest.mark.parametrize("line", ["{", "[1]", "{}", '{"source-ref": 5}', '{"source-ref": " "}', "9" * 5000, "[" * 9999])
def test_a_manifest_line_that_is_none_is_named_by_its_number(tmp_path, line):
    manifest(tmp_path, {"source-ref": "a.png"}, "", line)
    with pytest.raises(UserError, match="line 3 is not a JSON object with source-ref"):
        augmented_manifest.parse(tmp_path / "train.manifest")


def test_lists_of_classes_are_a_column_each_named_by_the_class_map(tmp_path):
    for name in "ab":
        write_png(tmp_path / f"{name}.png", "p1")
    described = {"signs-metadata": {"class-map": {"0": "hair", "1": "ink", "2": "ruler"}}}
    manifest(
        tmp_path,
        {"source-ref": "s3://b/a.png", "signs": [0, 2], **described},
        {"source-ref": "s3://b/b.png", "signs": "[1]", **described},
    )
    table = opened(tmp_path).table()
    labels = read_labels(table)
    assert labels.target.class_names == ("hair", "ink", "ruler")
    assert labels.encode(table).tolist() == [[1, 0, 1], [0, 1, 0]]


def test_two_labels_are_in_doubt_until_one_is_named(tmp_path):
    write_png(tmp_path / "a.png", "p1")
    manifest(tmp_path, {"source-ref": "s3://b/a.png", "kind": 1, "other": 0})
    with pytest.raises(UserError, match=r"it is unclear which key is the label: kind, other.*Set target_column"):
        opened(tmp_path)
    named = Columns(targets=("other",), are_targets_needed=True)
    assert opened(tmp_path, named).table().targets["other"].tolist() == ["0"]


@pytest.mark.parametrize("value", [None, True, {"a": 1}, "[1", [[1]]])
def test_a_label_that_is_no_class_is_named_by_its_line(tmp_path, value):
    write_png(tmp_path / "a.png", "p1")
    manifest(tmp_path, "", {"source-ref": "s3://b/a.png", "target": value})
    with pytest.raises(UserError, match="line 2 has no class in 'target'"):
        opened(tmp_path)


def ground_truth(folder: Path, *labels: int | None) -> Path:
    """An output.manifest with a blank line in it, of pictures p1, p2 …; None is a label that could not be got."""
    lines: list[object] = [""]
    for number, label in enumerate(labels, start=1):
        write_png(folder / "images" / f"p{number}.png", f"p{number}")
        line = {"source-ref": f"s3://bucket/images/p{number}.png"}
        detail = {"class-name": ["benign", "malignant"][label or 0], "type": "groundtruth/image-classification"}
        failed = {"failure-reason": "ClientError: not available.", "type": detail["type"]}
        lines.append(
            {**line, "kind-metadata": failed} if label is None else {**line, "kind": label, "kind-metadata": detail}
        )
    return manifest(folder, *lines)


def test_lines_that_ground_truth_could_not_label_are_left_out_and_counted(tmp_path):
    source = opened(ground_truth(tmp_path, 0, 1, None, 1, None))
    table = source.table()
    assert table.name_S.tolist() == ["p1.png", "p2.png", "p4.png"]
    assert table.targets["target"].tolist() == ["0", "1", "1"]
    assert tuple(source.read(2)[0, 0].tolist()) == colour_of("p4")
    (remark,) = table.remarks
    assert (
        "could not label 2 of 5 lines, which are left out" in remark.what
        and "line 4: ClientError: not available." in remark.what
    )


def test_a_picture_without_a_label_is_kept_where_no_label_is_asked_for(tmp_path):
    table = opened(ground_truth(tmp_path, 0, None), Columns(), "test").table()
    assert len(table) == 2 and table.remarks == ()


def test_a_manifest_without_any_label_says_why(tmp_path):
    with pytest.raises(UserError, match=r"no line could be labelled: ClientError: not available\."):
        opened(ground_truth(tmp_path, None, None))


@pytest.mark.parametrize(
    ("references", "expected"),
    [
        (["s3://b/set/x/1.jpg", "s3://b/set/y/2.jpg"], ["x/1.jpg", "y/2.jpg"]),
        (["s3://b/set/1.jpg"], ["1.jpg"]),
        (["x/1.jpg", "2.jpg"], ["x/1.jpg", "2.jpg"]),
    ],
)
def test_references_are_taken_below_what_all_have_in_common(references, expected):
    assert relative_references(references, Path("train.manifest")) == expected


def test_a_picture_that_the_channel_lacks_is_told_when_it_is_read(tmp_path):
    manifest(tmp_path, {"source-ref": "s3://b/a.png", "target": 0})
    with pytest.raises(UserError, match=r"image not found below .*\(a\.png\)"):
        opened(tmp_path).read(0)


# PatchCamelyon


def test_the_three_sets_of_the_download_lie_side_by_side(tmp_path):
    for split, num_rows in (("train", 12), ("valid", 6), ("test", 4)):
        write_pcam_hdf5(tmp_path, num_rows, split)
    assert len(opened(tmp_path).table()) == 12 and len(opened(tmp_path, split="validation").table()) == 6
    test = opened(tmp_path, UNLABELLED, "test", is_own=False)
    assert len(test.table()) == 4 and test.table().targets is not None


def test_pictures_and_targets_must_agree_in_number(tmp_path):
    write_pcam_hdf5(tmp_path, 12)
    (y_path,) = tmp_path.glob("*_y.h5")
    with h5py.File(y_path, "w") as file:
        file["y"] = np.zeros((11, 1, 1, 1), np.uint8)
    with pytest.raises(UserError, match="11 targets for 12 images"):
        opened(tmp_path)


def test_slides_and_pictures_must_agree_in_number(tmp_path):
    write_pcam_hdf5(tmp_path, 12)
    (meta,) = tmp_path.glob("*_meta.csv")
    meta.write_text("wsi\nA\n")
    with pytest.raises(UserError, match="1 rows for 12 images"):
        opened(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b gzip", b"\x89HDF\r\n\x1a\n cut off"])
def test_what_is_no_hdf5_is_refused_by_its_path(tmp_path, content):
    write_pcam_hdf5(tmp_path, 12)
    (x_path,) = tmp_path.glob("*_x.h5")
    x_path.write_bytes(content)
    with pytest.raises(UserError, match=r"not a whole HDF5 file.*_x\.h5"):
        opened(tmp_path)


@pytest.mark.parametrize("shape", [(12, 24, 24), (12, 24, 24, 1)])
def test_pictures_of_another_shape_are_refused(tmp_path, shape):
    write_pcam_hdf5(tmp_path, 12)
    (x_path,) = tmp_path.glob("*_x.h5")
    with h5py.File(x_path, "w") as file:
        file["x"] = np.zeros(shape, np.uint8)
    with pytest.raises(UserError, match="Write it as uint8"):
        opened(tmp_path)


# WebDataset


def test_a_shard_that_was_cut_off_is_refused_by_its_path(tmp_path):
    write_webdataset(tmp_path)
    shard = tmp_path / "train-000001.tar"
    shard.write_bytes(shard.read_bytes()[:1900])
    with pytest.raises(UserError, match=r"not a whole tar file.*train-000001\.tar"):
        opened(tmp_path)


def test_a_class_may_lie_beside_the_picture(tmp_path):
    with tarfile.open(tmp_path / "train.tar", "w") as tar:
        for key, word in (("x/0001", "cat"), ("x/0002", "dog")):
            write_png(tmp_path / "work.png", "p7")
            (tmp_path / "work.cls").write_text(f"{word}\n")
            tar.add(tmp_path / "work.png", f"{key}.png")
            tar.add(tmp_path / "work.cls", f"{key}.cls")
    source = opened(tmp_path)
    assert source.table().name_S.tolist() == ["x/0001", "x/0002"]
    assert source.table().targets["target"].tolist() == ["cat", "dog"]
    assert tuple(source.read(1)[0, 0].tolist()) == colour_of("p7")


@pytest.mark.parametrize("role", ["target", "output"])
def test_members_may_say_that_they_are_inputs_and_targets(tmp_path, role):
    write_png(tmp_path / "picture.png", "p7")
    write_png(tmp_path / "mask.png", "p9")
    (tmp_path / "word.cls").write_text("cat")
    with tarfile.open(tmp_path / "train.tar", "w") as tar:
        tar.add(tmp_path / "mask.png", f"0001.{role}.png")
        tar.add(tmp_path / "word.cls", f"0001.{role}.cls")
        tar.add(tmp_path / "picture.png", "0001.input.png")
    source = opened(tmp_path)
    assert source.table().name_S.tolist() == ["0001"] and source.table().targets["target"].tolist() == ["cat"]
    assert tuple(source.read(0)[0, 0].tolist()) == colour_of("p7")


def test_a_sample_without_picture_is_named_when_it_is_read(tmp_path):
    (tmp_path / "a.json").write_text('{"target": "x"}')
    with tarfile.open(tmp_path / "train.tar", "w") as tar:
        tar.add(tmp_path / "a.json", "a.json")
    with pytest.raises(UserError, match=r"a sample without image \(a in .*train\.tar"):
        opened(tmp_path).read(0)


def test_dots_belong_to_the_ending_and_folders_to_the_key(tmp_path):
    write_png(tmp_path / "w.png", "p1")
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        tar.add(tmp_path / "w.png", "a.b/c.png")
        tar.add(tmp_path / "w.png", "a.b/c.seg.png")
    contents = contents_of(tmp_path / "t.tar")
    assert [sample.key for sample in contents.samples] == ["a.b/c"] and contents.not_read == ["a.b/c.seg.png"]


# DICOM among the pictures


def write_dicom(path: Path, patient: str, age: str) -> None:
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.PatientID, dataset.PatientAge, dataset.PatientSex = patient, age, "F"
    dataset.Rows = dataset.Columns = 8
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = bytes([int(age[:3])]) * 64
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def test_headers_fill_the_columns_that_the_table_lacks_and_no_others(tmp_path, caplog):
    caplog.set_level("INFO")
    for number, name in enumerate("abc"):
        write_dicom(tmp_path / "train" / f"{name}.dcm", f"P{number // 2}", f"{30 + number:03d}Y")
    (tmp_path / "train.csv").write_text("image_name,target,sex\na,0,male\nb,1,male\nc,0,male\n")
    source = opened(tmp_path)
    table = source.table()
    assert table.group_S.tolist() == ["P0", "P0", "P1"]
    assert table.metadata_rows()[2] == {"sex": "male", "age_approx": "32.0"}
    assert source.read(1)[0, 0].tolist() == [31, 31, 31]
    assert "from DICOM headers: patient_id, age_approx" in caplog.text


def test_class_folders_of_dicom_know_their_patients(tmp_path):
    for number, name in enumerate(("x/a", "x/b", "y/c", "y/d")):
        write_dicom(tmp_path / f"{name}.dcm", f"P{number}", "040Y")
    needed = Columns(targets=("target",), are_targets_needed=True, group="patient_id", is_group_needed=True)
    assert opened(tmp_path, needed).table().group_S.tolist() == ["P0", "P1", "P2", "P3"]


def test_a_file_that_is_called_dicom_and_is_none_is_named(tmp_path):
    for name in ("x/a", "y/c"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / f"{name}.dcm").write_bytes(b"\x02\x00\x00\x00" + b"\xff" * 40)
    with pytest.raises(UserError, match=r"header cannot be read|do not say which"):
        opened(tmp_path, Columns(targets=("target",), group="patient_id", is_group_needed=True))
