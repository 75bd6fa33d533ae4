"""Files: what cannot be written is told with its path, the system's word and a remedy, and nothing is left half."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable

import pytest

from disks import SmallDisk
from lesion.errors import PlatformError
from lesion.files import (
    atomic_writer,
    ensure_writable,
    make_folder,
    remove,
    temporary_folder,
    write_atomic,
    write_first,
)

LARGE = bytes(200_000)


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(PlatformError) as error:
        call()
    assert error.value.exit_code == 3
    return str(error.value)


def test_a_full_disk_keeps_the_old_bytes_and_leaves_no_half_file(tmp_path):
    with SmallDisk(tmp_path / "disk", "64k") as disk:
        path = disk.path / "oof.csv"
        write_atomic(path, b"old")
        said = refusal(lambda: write_atomic(path, LARGE))
        assert "No space left on device" in said and str(path) in said and "Free disk space" in said
        assert path.read_bytes() == b"old" and list(disk.path.iterdir()) == [path]


def test_a_read_only_disk_is_told_for_each_way_to_write(tmp_path):
    with SmallDisk(tmp_path / "disk") as disk:
        (disk.path / "a").write_bytes(b"old")
        disk.remount("ro")
        for call in (
            lambda: write_atomic(disk.path / "a", b"new"),
            lambda: write_first(disk.path / "b", b"new"),
            lambda: ensure_writable(disk.path / "a"),
            lambda: make_folder(disk.path / "folder"),
            lambda: remove(disk.path / "a"),
        ):
            said = refusal(call)
            assert "Read-only file system" in said and str(disk.path) in said and "writable" in said


@pytest.mark.parametrize("name", ["folder", "file/a", "gone/a", "x" * 250], ids=["folder", "below", "gone", "long"])
def test_a_path_that_cannot_be_a_file_is_told_with_what_to_do(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    said = refusal(lambda: write_atomic(tmp_path / name, b"new"))
    assert name in said and "check that disk" not in said.lower()
    assert not list(tmp_path.rglob("*.sagemaker-ignore"))


def test_whether_a_file_could_be_written_is_known_before_it_is(tmp_path):
    ensure_writable(tmp_path / "new" / "a")
    assert list((tmp_path / "new").iterdir()) == []
    assert "Is a directory" in refusal(lambda: ensure_writable(tmp_path / "new"))


def test_what_is_written_piece_by_piece_is_whole_or_absent(tmp_path):
    path = tmp_path / "a"
    with pytest.raises(ValueError, match="in the middle"), atomic_writer(path) as file:
        file.write(b"half")
        raise ValueError("in the middle")
    assert list(tmp_path.iterdir()) == []
    with atomic_writer(path) as file:
        file.write(b"one ")
        file.write(b"two")
    assert path.read_bytes() == b"one two" and list(tmp_path.iterdir()) == [path]


def test_a_pipe_is_written_to_and_stays(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE) as reader:
        ensure_writable(tmp_path / "pipe")
        write_atomic(tmp_path / "pipe", b"bytes")
        assert reader.communicate(timeout=10)[0] == b"bytes"
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"] and (tmp_path / "pipe").is_fifo()


def test_a_device_that_is_full_is_told(tmp_path):
    """Through a link, which alone would be lost if a file were put in its place."""
    path = tmp_path / "full"
    path.symlink_to("/dev/full")
    assert "No space left on device" in refusal(lambda: write_atomic(path, b"bytes"))
    assert path.is_symlink() and path.is_char_device()


def test_of_several_that_write_first_the_first_stays(tmp_path):
    write_first(tmp_path / "a", b"first")
    write_first(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"


def test_a_first_write_that_fails_leaves_nothing(tmp_path):
    with SmallDisk(tmp_path / "disk", "64k") as disk:
        refusal(lambda: write_first(disk.path / "failure", LARGE))
        assert list(disk.path.iterdir()) == []


def test_a_temporary_folder_that_cannot_be_made_is_told(tmp_path, monkeypatch):
    with temporary_folder() as folder:
        (folder / "a").write_bytes(b"")
    assert not folder.exists()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    assert "no temporary folder can be made" in refusal(lambda: temporary_folder().__enter__())
