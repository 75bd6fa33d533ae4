"""Hostile data: whatever a data set claims, each command refuses it in one sentence, and follows none of it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from factories import run_job, write_hyperparameters
from hostile_sets import HOSTILE, SECRET
from lesion.data.sources.formats import open_source
from lesion.data.sources.location import SplitLocation, walk_files
from lesion.data.table import Columns
from lesion.errors import UserError
from sources import write_csv_folder

SPLIT = {"split": "stratified_kfold", "folds": 2, "model": "test_resnet", "pretrained": False}


@pytest.fixture
def channel(tmp_path: Path) -> Path:
    folder = tmp_path / "channel"
    folder.mkdir()
    return folder


def flat(text: str) -> str:
    """What a command says, its lines joined where they were broken to the width of a terminal."""
    return " ".join(text.split())


@pytest.mark.parametrize("name", HOSTILE)
def test_check_training_and_shards_refuse_in_the_same_words(name, tmp_path, command):
    make, words = HOSTILE[name]
    channel = tmp_path / "job" / "input" / "data" / "training"
    channel.mkdir(parents=True)
    make(channel)
    settings = [part for key, value in SPLIT.items() for part in ("--set", f"{key}={value}")]
    ended = command("check", channel, *settings, "--output", tmp_path / "check", "--no-progress")
    assert ended.returncode == 2
    assert re.search(re.sub(r" +", " ", words), flat(ended.stdout)), ended.stdout
    assert "→" in ended.stdout and "Traceback" not in ended.stderr
    report = (tmp_path / "check" / "check.html").read_text() + ended.stdout + ended.stderr
    assert Path(SECRET).read_text()[:20] not in report

    write_hyperparameters(tmp_path / "job", SPLIT)
    with pytest.raises(UserError, match=words):
        run_job(tmp_path / "job")

    ended = command("prepare", "shards", channel, "--output", tmp_path / "out", *settings, "--workers", 1)
    assert ended.returncode == 2


def test_links_in_circles_are_walked_once_and_files_keep_their_own_path(channel):
    written = write_csv_folder(channel)
    before = walk_files(channel)
    for number in range(3):
        (channel / f"loop{number}").symlink_to(".")
        (channel / "train_images" / f"a{number}").symlink_to(channel)
    assert walk_files(channel) == before
    columns = Columns(targets=("target",), are_targets_needed=True)
    table = open_source(SplitLocation(channel, "train"), columns, source="auto").table()
    assert table.name_S.tolist() == list(written.colours)


def test_a_link_out_of_the_channel_is_followed(channel, tmp_path):
    written = write_csv_folder(tmp_path / "elsewhere")
    (channel / "train.csv").symlink_to(tmp_path / "elsewhere" / "train.csv")
    (channel / "train_images").symlink_to(tmp_path / "elsewhere" / "train_images")
    source = open_source(SplitLocation(channel, "train"), Columns(), source="auto")
    assert [tuple(source.read(row)[0, 0].tolist()) for row in range(12)] == list(written.colours.values())


def test_many_nested_folders_are_walked(channel):
    folders = [channel]
    for _ in range(1200):
        folders.append(folders[-1] / "f")
        folders[-1].mkdir()
    picture = folders[-1] / "a.png"
    picture.write_bytes(b"")
    found = walk_files(channel)
    picture.unlink()
    for folder in folders[:0:-1]:  # else pytest cannot remove them
        folder.rmdir()
    assert found == [picture]


def test_a_picture_that_goes_after_it_was_listed_is_told(channel):
    written = write_csv_folder(channel)
    source = open_source(SplitLocation(channel, "train"), Columns(), source="auto")
    for path in (channel / "train_images").rglob("*.png"):
        path.unlink()
    with pytest.raises(UserError, match="No such file") as caught:
        source.read(len(written.colours) - 1)
    assert caught.value.kind == "unreadable_image"


def test_a_folder_of_hostile_files_is_predicted_row_by_row(channel, trained_root, tmp_path, command):
    good = next((trained_root / "input/data/training/train_jpg").iterdir())
    (channel / "good.jpg").write_bytes(good.read_bytes())
    os.mkfifo(channel / "pipe.jpg")
    os.mkfifo(channel / "pipe.dcm")
    (channel / "zero.png").symlink_to("/dev/zero")
    (channel / "loop").symlink_to(".")
    output = tmp_path / "answers.csv"
    ended = command("predict", channel, "--model", trained_root / "model", "--output", output, "--no-progress")
    assert ended.returncode == 2
    rows = output.read_text().splitlines()[1:]
    assert len(rows) == 4 and sum("and not a file" in row for row in rows) == 3


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"image_name\na\0\n", None])
def test_a_hostile_table_is_refused_by_predict(content, channel, trained_root, command):
    path = channel / "rows.csv"
    os.mkfifo(path) if content is None else path.write_bytes(content)
    ended = command("predict", path, "--model", trained_root / "model", "--output", channel / "out.csv")
    assert ended.returncode == 2 and ended.stderr.startswith("error: ")
