"""Disks: one that is full or read-only ends a job with 3, path and remedy, or not at all; and leaves no half file."""

from __future__ import annotations

import pytest
from jobs import Trained, run, small_job

from disks import SmallDisk
from lesion.errors import PlatformError
from processes import cold_lesion, lesion


@pytest.mark.parametrize(
    ("folder", "size"),
    [("output/data", "64k"), ("output/data", "100k"), ("model", "64k"), ("checkpoints", "64k")],
)
def test_a_full_disk_ends_a_job_in_words(tmp_path, folder, size):
    """output/data has room for nothing, or for all but the picture; model/ and checkpoints/ for no weights."""
    root = small_job(tmp_path)
    with SmallDisk(root / folder, size) as disk:
        with pytest.raises(PlatformError, match=r"No space left on device \(.*Free disk space") as error:
            run(root, is_rendered=True)
        assert str(root / folder) in str(error.value)
        assert disk.parts() == []


def test_the_command_ends_with_3_and_says_so_in_the_failure_file(tmp_path):
    root = small_job(tmp_path)
    with SmallDisk(root / "output" / "data") as disk:
        disk.remount("ro")
        ended = lesion("train", "--root", root)
    said = (root / "output" / "failure").read_text()
    assert ended.returncode == 3 and "Traceback" not in ended.stdout + ended.stderr
    assert "Read-only file system" in said and str(root / "output" / "data") in said and "Mount it writable" in said


def test_a_model_folder_that_cannot_be_written_is_told_before_anything_is_trained(tmp_path, caplog):
    root = small_job(tmp_path)
    with SmallDisk(root / "model") as disk:
        disk.remount("ro")
        with pytest.raises(PlatformError, match="Read-only file system"):
            run(root)
    assert "epoch=" not in caplog.text


def test_what_only_watches_or_hastens_a_job_may_lie_on_a_full_disk(tmp_path, caplog):
    """One warning about TensorBoard for both folds and the whole; one line about the cache."""
    caplog.set_level("INFO", logger="lesion")
    root = small_job(tmp_path)
    with SmallDisk(root / "output" / "tensorboard", "4k"), SmallDisk(root / "cache", "4k"):
        trained = run(root)
    assert len(trained.digests) == 2
    assert caplog.text.count("for TensorBoard, but training continues") == 1
    assert 'cache=off why="too little room"' in caplog.text


def test_predictions_a_check_and_drawn_pictures_need_room_too(tmp_path, baseline: Trained, command):
    table = baseline.channel / "test.csv"
    with SmallDisk(tmp_path / "disk", "4k") as disk:
        for arguments in (
            ("predict", table, "--model", baseline.root / "model", "--output", disk.path / "new" / "p.csv"),
            ("check", baseline.channel, "--set", "folds=2", "--output", disk.path / "check"),
            ("sample-data", disk.path / "drawn", "--num-images", "24"),
            ("export", "onnx", "--model", baseline.root / "model", "--output", disk.path / "a.onnx"),
        ):
            (disk.path / "filler").write_bytes(bytes(4096))
            ended = command(*arguments)
            (disk.path / "filler").unlink()
            assert ended.returncode == 3, (arguments, ended.stdout, ended.stderr)
            assert "No space left on device" in ended.stderr and str(disk.path) in ended.stderr
            assert "Traceback" not in ended.stderr and disk.parts() == []
        assert not [path for path in disk.path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["train.csv/p.csv", "train_jpg"], ids=["below a file", "a folder"])
def test_an_output_that_cannot_be_a_file_is_told_before_anything_is_predicted(baseline: Trained, command, name):
    ended = command(
        *("predict", baseline.channel / "test.csv", "--model", baseline.root / "model"),
        *("--output", baseline.channel / name),
    )
    assert ended.returncode == 3 and "error: " in ended.stderr and "choose another path" in ended.stderr
    assert "predictions=" not in ended.stdout


def test_predictions_go_into_a_pipe(trained_root, tmp_path):
    """Through a link, which alone would be lost if a file were put in the place of /dev/stdout."""
    (tmp_path / "stdout").symlink_to("/dev/stdout")
    ended = cold_lesion(
        *("predict", trained_root / "input/data/training/test.csv", "--model", trained_root / "model"),
        *("--output", tmp_path / "stdout"),
    )
    assert ended.returncode == 0 and "image_name,probability,positive_class,label,error\n" in ended.stdout
    assert [path.is_symlink() for path in tmp_path.iterdir()] == [True]
