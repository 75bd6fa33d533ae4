"""Folder classes: shards of images alone, in a folder for each class; and those that say no class."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from lesion.data.sources.folders.folder_classes import folder_classes
from lesion.data.sources.location import SplitLocation
from lesion.data.sources.webdataset import WebDataset
from lesion.data.table import Columns
from lesion.errors import UserError
from sources import png_of

WANTED = Columns(targets=("target",), are_targets_needed=True, metadata=())


def shard(path: Path, *names: str) -> None:
    with tarfile.open(path, "w") as tar:
        for number, name in enumerate(names):
            content = png_of(f"p{number}") if name.endswith(".png") else b"word"
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def opened(folder: Path, columns: Columns = WANTED) -> WebDataset:
    return WebDataset.open(SplitLocation(folder, "train"), columns)


@pytest.mark.parametrize("top", ["", "train/", "./data/images/", "HAM10000/"])
def test_the_folder_is_the_class_and_that_is_said(tmp_path, top):
    shard(tmp_path / "train-0.tar", f"{top}benign/a.png", f"{top}benign/b.png")
    shard(tmp_path / "train-1.tar", f"{top}malignant/deep/c.png")
    table = opened(tmp_path).table()
    assert table.targets["target"].tolist() == ["benign", "benign", "malignant"]
    (said,) = [remark for remark in table.remarks if remark.name == "classes_by_folder"]
    assert "benign/, malignant/" in said.what


@pytest.mark.parametrize(
    "names",
    [("a.png", "b.png"), ("benign/a.png", "b.png"), ("train/benign/a.png", "test/benign/b.png"), ("images/a.png",)],
)
def test_shards_that_say_no_class_are_refused_with_what_can_be_done(tmp_path, names):
    shard(tmp_path / "train-0.tar", *names)
    with pytest.raises(UserError, match="hold images alone, and no sample says its class") as caught:
        opened(tmp_path)
    assert "KEY.cls" in caught.value.do and "folder of its name" in caught.value.do
    assert len(opened(tmp_path, Columns(targets=("target",), metadata=())).table()) == len(names)


def test_a_word_beside_the_image_counts_and_not_the_folder(tmp_path):
    shard(tmp_path / "train-0.tar", "benign/a.png", "benign/a.cls", "malignant/b.png", "malignant/b.cls")
    assert opened(tmp_path).table().targets["target"].tolist() == ["word", "word"]


def test_one_folder_is_a_class_too():
    assert folder_classes(["nevus/a", "nevus/b"]) == ["nevus", "nevus"]
    assert folder_classes([]) is None
