"""Fingerprints: in a file they are what they were, and a disk without room costs nothing but memory."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

import numpy as np

from disks import SmallDisk
from lesion.check.fingerprints import Fingerprint, FingerprintFile, KeptFingerprint, fingerprint


def pictures(num: int) -> list[np.ndarray]:
    return [np.random.default_rng(seed).integers(0, 256, (70, 90, 3), np.uint8) for seed in range(num)]


def open_files_of(folder: Path) -> int:
    """Deleted ones included; files of other folders come and go with other tests' objects."""
    num = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            num += str(descriptor.readlink()).startswith(str(folder))
        except FileNotFoundError:  # the one that lists the folder
            continue
    return num


def test_what_lies_in_the_file_is_the_same_in_any_order_and_the_file_goes_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    prints = [fingerprint(picture) for picture in pictures(5)]
    file = FingerprintFile()
    kept = {place: file.keep(place, prints[place]) for place in (3, 0, 4, 1, 2)}
    del file
    assert all(isinstance(print_, KeptFingerprint) for print_ in kept.values())
    for place, print_ in enumerate(prints):
        assert kept[place].digest == print_.digest
        np.testing.assert_array_equal(kept[place].thumbnail_TT, print_.thumbnail_TT)
    assert open_files_of(tmp_path) == 1
    kept.clear()
    gc.collect()
    assert open_files_of(tmp_path) == 0


def test_without_a_folder_for_it_fingerprints_stay_in_memory_and_the_log_says_so(monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(tempfile, "tempdir", str(Path("/nonexistent")))
    file, [print_] = FingerprintFile(), [fingerprint(picture) for picture in pictures(1)]
    assert file.keep(0, print_) is print_
    assert 'fingerprints=memory why="No such file or directory"' in caplog.text


def test_what_a_full_disk_does_not_take_stays_in_memory(tmp_path, monkeypatch):
    with SmallDisk(tmp_path / "disk", "16k") as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk.path))
        file, prints = FingerprintFile(), [fingerprint(picture) for picture in pictures(9)]
        kept = [file.keep(place, print_) for place, print_ in enumerate(prints)]
        assert {type(print_) for print_ in kept} == {Fingerprint, KeptFingerprint}
        for print_, same in zip(prints, kept, strict=True):
            np.testing.assert_array_equal(print_.thumbnail_TT, same.thumbnail_TT)
