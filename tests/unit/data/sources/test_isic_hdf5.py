"""IsicHdf5: images as bytes in datasets, however they were written, and the table beside them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from lesion.data.sources.formats import open_source, recognised
from lesion.data.sources.isic_hdf5 import IsicHdf5
from lesion.data.sources.location import SplitLocation
from lesion.data.table import Columns, Source
from lesion.errors import UserError
from sources import colour_of, png_of, write_isic_hdf5

WANTED = Columns(targets=("target",), are_targets_needed=True, group="patient_id")


def opened(folder: Path, columns: Columns = WANTED, split: str = "train", **location) -> Source:
    return open_source(SplitLocation(folder, split, **location), columns, source="auto")


def bytes_of(name: str) -> np.ndarray:
    return np.frombuffer(png_of(name), np.uint8)


WAYS = {
    "opaque": lambda file, name: file.__setitem__(name, np.void(png_of(name))),
    "opaque with zeros behind": lambda file, name: file.__setitem__(name, np.void(png_of(name) + b"\0\0")),
    "text": lambda file, name: file.__setitem__(name, np.bytes_(png_of(name))),
    "a row of bytes": lambda file, name: file.__setitem__(name, bytes_of(name)),
    "a row of signed bytes": lambda file, name: file.__setitem__(name, bytes_of(name).view(np.int8)),
    "a packed row": lambda file, name: file.create_dataset(name, data=bytes_of(name), compression="gzip"),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_image_is_read_however_its_bytes_were_written(tmp_path, way):
    with h5py.File(tmp_path / "train-image.hdf5", "w") as file:
        for name in ("p1", "p2"):
            WAYS[way](file, name)
    (tmp_path / "train-metadata.csv").write_text("isic_id,patient_id,target\np2,A,1\np1,B,0\n")
    source = opened(tmp_path)
    assert source.table().name_S.tolist() == ["p2", "p1"]
    assert [tuple(source.read(row)[0, 0].tolist()) for row in range(2)] == [colour_of("p2"), colour_of("p1")]


def test_the_column_of_names_is_found_by_what_it_holds_and_said(tmp_path):
    write_isic_hdf5(tmp_path)
    (remark,) = opened(tmp_path).table().remarks
    assert remark.what == "column 'isic_id' holds the names of the images in train-image.hdf5"
    named = Columns(image="isic_id", targets=("target",), are_targets_needed=True)
    assert opened(tmp_path, named).table().remarks == ()
    assert opened(tmp_path, named).table().image_column == "isic_id"


def test_images_and_rows_without_each_other_are_named(tmp_path):
    write_isic_hdf5(tmp_path)
    frame = pd.read_csv(tmp_path / "train-metadata.csv", dtype=str)
    frame.loc[0, "isic_id"] = "elsewhere"
    frame.to_csv(tmp_path / "train-metadata.csv", index=False)
    source = opened(tmp_path)
    (stray,) = source.table().strays
    assert stray.endswith("train-image.hdf5: p" + stray[-3:])
    with pytest.raises(UserError, match=r"image not found \(elsewhere in .*train-image\.hdf5"):
        source.read(0)


def test_a_set_without_a_table_has_its_images_and_no_targets(tmp_path):
    written = write_isic_hdf5(tmp_path)
    (tmp_path / "train-metadata.csv").unlink()
    with pytest.raises(UserError, match=r"no table for the images of train-image\.hdf5 .*Add train-metadata\.csv"):
        opened(tmp_path)
    table = opened(tmp_path, Columns(targets=("target",)), "test").table()
    assert table.name_S.tolist() == sorted(written.colours) and table.targets is None


def test_of_several_tables_the_one_called_metadata_is_taken(tmp_path):
    write_isic_hdf5(tmp_path)
    (tmp_path / "train-extra.csv").write_text("a\n1\n")
    assert len(opened(tmp_path).table()) == 12
    (tmp_path / "train-metadata.csv").rename(tmp_path / "train-more.csv")
    with pytest.raises(UserError, match=r"2 tables may be that of the train set: train-extra\.csv, train-more\.csv"):
        opened(tmp_path)
    chosen = Columns(targets=("target",), are_targets_needed=True, table_file="train-more.csv")
    assert len(opened(tmp_path, chosen).table()) == 12


@pytest.mark.parametrize("name", ["labels.csv", "ISIC_2024_Training_GroundTruth.csv", "deep/table.csv", "train.tsv"])
def test_the_table_is_found_by_the_rule_of_all_tables(tmp_path, name):
    """An example of an answer is none, and the test set's is another's."""
    write_isic_hdf5(tmp_path)
    (tmp_path / "deep").mkdir()
    text = (tmp_path / "train-metadata.csv").read_text()
    (tmp_path / name).write_text(text.replace(",", "\t") if name.endswith(".tsv") else text)
    (tmp_path / "train-metadata.csv").unlink()
    (tmp_path / "sample_submission.csv").write_text("isic_id,target\na,0.3\n")
    (tmp_path / "test-metadata.csv").write_text("isic_id\na\n")
    assert opened(tmp_path).table().where == str(tmp_path / name)


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        (["train-metadata.csv", "test-metadata.csv"], "test-metadata.csv"),
        (["train-metadata.csv", "metadata.csv"], "metadata.csv"),
        (["train-metadata.csv"], None),
        ([], None),
    ],
)
def test_one_file_is_opened_with_the_table_of_its_own_set(tmp_path, tables, expected):
    written = write_isic_hdf5(tmp_path, 4, "test")
    rows = (tmp_path / "test-metadata.csv").read_text()
    (tmp_path / "test-metadata.csv").unlink()
    for name in tables:
        (tmp_path / name).write_text(rows)
    table = IsicHdf5.open_file(tmp_path / "test-image.hdf5", Columns()).table()
    assert sorted(table.name_S.tolist()) == sorted(written.colours)
    assert table.where == str(tmp_path / (expected or "test-image.hdf5"))


def test_a_train_csv_beside_is_the_table_of_the_images_in_the_file(tmp_path):
    write_isic_hdf5(tmp_path)
    (tmp_path / "train-metadata.csv").rename(tmp_path / "train.csv")
    assert list(recognised(SplitLocation(tmp_path, "train"), source="auto")) == ["isic_hdf5"]
    assert len(opened(tmp_path).table()) == 12


def test_features_beside_a_csv_and_its_images_are_no_data_set(tmp_path):
    (tmp_path / "train.csv").write_text("image_name,target\np1,0\np2,1\n")
    for name in ("p1", "p2"):
        (tmp_path / f"{name}.png").write_bytes(png_of(name))
    with h5py.File(tmp_path / "features.h5", "w") as file:
        file["features"] = np.zeros((2, 8), np.float32)
    (tmp_path / "broken.h5").write_bytes(b"no HDF5")
    assert list(recognised(SplitLocation(tmp_path, "train"), source="auto")) == ["csv_folder"]
