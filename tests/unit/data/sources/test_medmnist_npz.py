"""MedmnistNpz: arrays as MedMNIST ships them, and what its numbers mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lesion.data.labels.encode import read_labels
from lesion.data.sources import npz
from lesion.data.sources.formats import open_source
from lesion.data.sources.location import SplitLocation
from lesion.data.sources.medmnist_npz import MedmnistNpz
from lesion.data.table import Columns, Source
from lesion.errors import UserError

WANTED = Columns(targets=("target",), are_targets_needed=True, group="patient_id")


def archive(
    folder: Path, name: str = "pathmnist", *, labels: np.ndarray | None = None, channels: int = 3, save=np.savez
):
    """Three sets of 6, 4 and 2 images, each of its own grey."""
    arrays: dict[str, np.ndarray] = {}
    for prefix, num_rows in (("train", 6), ("val", 4), ("test", 2)):
        grey_S = 10 * num_rows + np.arange(num_rows, dtype=np.uint8)
        shape = (num_rows, 5, 4) if channels == 1 else (num_rows, 5, 4, channels)
        arrays[f"{prefix}_images"] = np.broadcast_to(grey_S.reshape(-1, *[1] * (len(shape) - 1)), shape)
        label_S = (np.arange(num_rows) % 2)[:, None] if labels is None else labels[:num_rows]
        arrays[f"{prefix}_labels"] = label_S.astype(np.uint8)
    save(folder / f"{name}.npz", **arrays)


def opened(folder: Path, split: str = "train", columns: Columns = WANTED, **location) -> Source:
    return open_source(SplitLocation(folder, split, **location), columns, source="auto")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("channels", [1, 3])
def test_each_set_is_its_own_arrays(tmp_path, save, channels):
    archive(tmp_path, channels=channels, save=save)
    for split, num_rows, prefix in (("train", 6, "train"), ("validation", 4, "val"), ("test", 2, "test")):
        source = opened(tmp_path, split, is_own=split == "train")
        assert source.table().name_S.tolist() == [f"pathmnist_{prefix}_{row:06d}" for row in range(num_rows)]
        for row in range(num_rows):
            image_HWC = source.read(row)
            assert image_HWC.shape == (5, 4, 3) and image_HWC.dtype == np.uint8
            assert (image_HWC == 10 * num_rows + row).all()


def test_an_array_written_column_by_column_is_the_same(tmp_path):
    images = np.asfortranarray(np.arange(6 * 5 * 4, dtype=np.uint8).reshape(6, 5, 4))
    np.savez(tmp_path / "a.npz", train_images=images, train_labels=np.arange(6)[:, None] % 2)
    assert (opened(tmp_path).read(3)[..., 0] == images[3]).all()


def test_numbers_get_the_names_of_medmnists_classes(tmp_path):
    archive(tmp_path, "pneumoniamnist_64")
    table = opened(tmp_path).table()
    assert read_labels(table).target.class_names == ("normal", "pneumonia")
    assert table.targets["target"].tolist() == ["0", "1"] * 3


def test_numbers_of_another_archive_stay_numbers(tmp_path):
    archive(tmp_path, "flowers")
    table = opened(tmp_path).table()
    assert table.class_name_S is None and table.remarks == ()


def test_where_one_is_the_healthy_class_a_warning_says_so(tmp_path):
    archive(tmp_path, "breastmnist")
    (remark,) = opened(tmp_path).table().remarks
    assert remark.level == "warning" and "0 malignant, 1 normal, benign; 1 is the healthy one" in remark.what


def test_several_labels_are_columns_by_their_names(tmp_path):
    labels = np.eye(14)[[0, 1, 2, 3, 13, 5]]
    archive(tmp_path, "chestmnist", labels=labels)
    targets = opened(tmp_path).table().targets
    assert list(targets.columns)[:2] == ["atelectasis", "cardiomegaly"] and list(targets.columns)[-1] == "hernia"
    assert targets.iloc[4].tolist() == ["0"] * 13 + ["1"]
    archive(tmp_path, "chestmnist", labels=labels[:, :3])
    assert list(opened(tmp_path).table().targets.columns) == ["label_0", "label_1", "label_2"]
    named = Columns(targets=("a", "b", "c"), are_targets_needed=True)
    assert list(opened(tmp_path, columns=named).table().targets.columns) == ["a", "b", "c"]


def test_one_label_is_not_several_targets(tmp_path):
    archive(tmp_path)
    with pytest.raises(UserError, match="there is one target here, and target_column names 2"):
        opened(tmp_path, columns=Columns(targets=("a", "b"), are_targets_needed=True))


def test_of_one_file_the_test_set_is_taken_and_that_is_said(tmp_path):
    archive(tmp_path, "flowers")
    table = MedmnistNpz.open_file(tmp_path / "flowers.npz", Columns()).table()
    assert table.name_S.tolist() == ["flowers_test_000000", "flowers_test_000001"]
    (remark,) = table.remarks
    assert remark.what == "of this archive the test set is taken, and not the validation and the train set"


def test_two_archives_are_in_doubt(tmp_path):
    archive(tmp_path, "pathmnist")
    archive(tmp_path, "octmnist")
    with pytest.raises(UserError, match=r"2 \.npz with train_images for the train set: octmnist\.npz, pathmnist\.npz"):
        opened(tmp_path)


def test_what_does_not_fit_the_memory_is_told_how_to_be_read_in_place(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "MAX_UNPACKED_BYTES", 100)
    archive(tmp_path, save=np.savez_compressed)
    with pytest.raises(UserError, match=r"train_images takes 360 bytes unpacked, more than 100 .*numpy\.savez"):
        opened(tmp_path)
    archive(tmp_path)
    assert (opened(tmp_path).read(5) == 65).all()
