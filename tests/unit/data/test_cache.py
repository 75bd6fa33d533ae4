"""Cache: what is read from it is what decoding gives, bit by bit; without room nothing is kept; nothing is left."""

from __future__ import annotations

import io
import logging
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from lesion.data import cache as cache_module
from lesion.data.cache import Cache, Cached, Decoded, record_bytes
from lesion.data.decode.images import Pixels, decode
from lesion.data.transforms import Preprocess, fitted
from lesion.errors import PlatformError
from lesion.geometry import Fit

PREPROCESS = Preprocess(32, (0.5,) * 3, (0.5,) * 3)  # training squares of 37 px
RECORD = record_bytes(32)


class Files:
    """Encoded pictures."""

    def __init__(self, *contents: bytes) -> None:
        self.contents = contents

    def read(self, index: int) -> Pixels:
        return decode(self.contents[index])


def file_of(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def files_of_all_kinds() -> Files:
    """Oblong, tall, small, grey, of 16 bits, transparent, CMYK, and one that is stored lying on its side."""
    rng = np.random.default_rng(0)
    colours = [Image.fromarray(rng.integers(0, 256, (h, w, 3), np.uint8)) for h, w in [(60, 90), (90, 61), (20, 25)]]
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(rng.integers(0, 65536, (50, 70), np.uint16))
    clear = Image.fromarray(rng.integers(0, 256, (50, 50, 4), np.uint8))
    return Files(
        *(file_of(image, "JPEG") for image in colours),
        file_of(colours[0].convert("L"), "PNG"),
        file_of(deep, "PNG"),
        file_of(clear, "PNG"),
        file_of(colours[0].convert("CMYK"), "JPEG"),
        file_of(colours[0], "JPEG", exif=exif),
    )


def filled(cache: Cache, files: Files) -> None:
    cache.reserve(len(files.contents))
    for index in range(len(files.contents)):
        cache.keep(index, files.read(index))


@pytest.mark.parametrize("fit", get_args(Fit))
def test_both_squares_are_what_decoding_gives(tmp_path, fit):
    files = files_of_all_kinds()
    rows_S, preprocess = np.arange(len(files.contents)), replace(PREPROCESS, fit=fit)
    with Cache(tmp_path, preprocess) as cache:
        filled(cache, files)
        cached, decoded = cache.pictures(files, rows_S), Decoded(files, preprocess)
        assert isinstance(cached, Cached) and cached.image_size == decoded.image_size == 32
        for row in rows_S.tolist():
            for pictures in (cached, decoded):
                np.testing.assert_array_equal(pictures.training(row), fitted(files.read(row), 37, fit))
                np.testing.assert_array_equal(pictures.square(row), fitted(files.read(row), 32, fit))


@pytest.mark.parametrize("has_cache", [True, False])
def test_a_square_is_written_where_it_is_asked_to_be_and_nowhere_else(tmp_path, has_cache):
    files = files_of_all_kinds()
    images_NHWC = np.full((3, 32, 32, 3), 7, np.uint8)
    with Cache(tmp_path, PREPROCESS, is_wanted=has_cache) as cache:
        filled(cache, files)
        cache.pictures(files, np.arange(8)).square(4, images_NHWC[1])
    np.testing.assert_array_equal(images_NHWC[1], PREPROCESS(files.read(4)))
    assert (images_NHWC[[0, 2]] == 7).all()


def test_rows_that_were_dropped_do_not_shift_the_others(tmp_path):
    files = files_of_all_kinds()
    with Cache(tmp_path, PREPROCESS) as cache:
        cache.reserve(8)
        for index in (7, 0, 3, 5):  # the others could not be read
            cache.keep(index, files.read(index))
        pictures = cache.pictures(files, np.array([0, 3, 7]))
        assert isinstance(pictures, Cached)
        for row, place in enumerate([0, 3, 7]):
            np.testing.assert_array_equal(pictures.square(row), PREPROCESS(files.read(place)))


def test_a_picture_that_was_not_kept_is_never_taken_for_a_black_one(tmp_path):
    files = files_of_all_kinds()
    with Cache(tmp_path, PREPROCESS) as cache:
        cache.reserve(8)
        cache.keep(0, files.read(0))
        assert isinstance(cache.pictures(files, np.array([0, 1])), Decoded)


def test_eight_threads_fill_it_and_read_it(tmp_path):
    rng = np.random.default_rng(0)
    images_NHWC = rng.integers(0, 256, (200, 40, 50, 3), np.uint8)
    with Cache(tmp_path, PREPROCESS) as cache, ThreadPoolExecutor(8) as pool:
        cache.reserve(200)
        list(pool.map(cache.keep, range(200), images_NHWC))
        pictures = cache.pictures(Files(), np.arange(200))
        order = rng.permutation(np.repeat(np.arange(200), 3)).tolist()
        for row, square in zip(order, pool.map(pictures.square, order), strict=True):
            np.testing.assert_array_equal(square, PREPROCESS(images_NHWC[row]))


def test_the_room_is_taken_before_anything_is_written_and_given_back(tmp_path):
    folder = tmp_path / "not" / "there"
    with Cache(folder, PREPROCESS) as cache:
        cache.reserve(100)
        (path,) = folder.iterdir()
        assert path.stat().st_size == 100 * RECORD == 100 * (37**2 + 32**2) * 3
        assert path.stat().st_blocks * 512 >= 100 * RECORD  # not a hole
    assert list(folder.iterdir()) == []


def test_the_log_says_how_much_was_kept(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with Cache(tmp_path, PREPROCESS) as cache:
        cache.reserve(1000)
        for index in range(1000):
            cache.keep(index, np.zeros((1, 1, 3), np.uint8))
        cache.pictures(Files(), np.arange(1000))
    assert "cache=on mib=7 pictures=1000 seconds=" in caplog.text


def test_it_is_off_when_that_is_asked_and_touches_no_disk(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    files = files_of_all_kinds()
    with Cache(tmp_path / "cache", PREPROCESS, is_wanted=False) as cache:
        filled(cache, files)
        pictures = cache.pictures(files, np.arange(8))
    assert isinstance(pictures, Decoded) and not (tmp_path / "cache").exists()
    assert 'cache=off why="it is set" needed_mib=0 free_mib=' in caplog.text


def test_it_is_off_where_the_disk_has_too_little_room(tmp_path, caplog):
    """Nearly all of what is free is too much: a rest must be left for the results."""
    caplog.set_level(logging.INFO)
    free = shutil.disk_usage(tmp_path).free
    with Cache(tmp_path, PREPROCESS) as cache:
        cache.reserve((free - 500_000_000) // RECORD)
        assert list(tmp_path.iterdir()) == []
        cache.keep(0, np.zeros((1, 1, 3), np.uint8))
        assert isinstance(cache.pictures(Files(), np.array([0])), Decoded)
    assert f'cache=off why="too little room" needed_mib={(free - 500_000_000) / 2**20:.0f} free_mib=' in caplog.text


def test_it_is_off_where_a_file_cannot_become_so_large(tmp_path):
    """As on a disk that fills between the question and the answer; of a real limit, in a process of its own."""
    script = f"""
import logging, resource, sys
from pathlib import Path
import numpy as np
from lesion.data.cache import Cache, Decoded
from lesion.data.transforms import Preprocess
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
resource.setrlimit(resource.RLIMIT_FSIZE, ({RECORD} * 10, {RECORD} * 10))
with Cache(Path({str(tmp_path)!r}), Preprocess(32, (0.5,) * 3, (0.5,) * 3)) as cache:
    cache.reserve(11)
    assert not list(Path({str(tmp_path)!r}).iterdir())
    cache.keep(10, np.zeros((1, 1, 3), np.uint8))
    assert isinstance(cache.pictures(None, np.array([10])), Decoded)
    """
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert 'cache=off why="File too large" needed_mib=0' in ended.stdout


def test_it_is_off_where_nothing_can_be_written(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    (tmp_path / "file").write_text("")
    with Cache(tmp_path / "file" / "cache", PREPROCESS) as cache:
        cache.reserve(1)
        assert isinstance(cache.pictures(Files(), np.array([], dtype=np.intp)), Decoded)
    assert 'cache=off why="Not a directory"' in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_disk_that_is_full_after_all_is_noticed_and_given_back(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=False).returncode:
        pytest.skip("this container may not mount")
    monkeypatch.setattr(cache_module, "MARGIN_BYTES", -(1 << 30))  # as if there had been room when it was asked for
    try:
        with Cache(tmp_path, PREPROCESS) as cache:
            cache.reserve(2 * (1 << 20) // RECORD)
            assert list(tmp_path.iterdir()) == [] and shutil.disk_usage(tmp_path).free == 1 << 20
            assert isinstance(cache.pictures(Files(), np.array([0])), Decoded)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert 'cache=off why="No space left on device" needed_mib=2 free_mib=1' in caplog.text


def test_what_a_killed_job_left_is_removed_and_a_living_one_is_let_be(tmp_path):
    script = f"""
import time
from pathlib import Path
from lesion.data.cache import Cache
from lesion.data.transforms import Preprocess
with Cache(Path({str(tmp_path)!r}), Preprocess(32, (0.5,) * 3, (0.5,) * 3)) as cache:
    cache.reserve(5)
    print("ready", flush=True)
    time.sleep(20)
    """
    (tmp_path / "notes.txt").write_text("of the user")
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        (theirs,) = tmp_path.glob("lesion-*")
        with Cache(tmp_path, PREPROCESS) as cache:
            cache.reserve(1)
            assert theirs.exists() and len(list(tmp_path.glob("lesion-*"))) == 2
        process.kill()
    assert theirs.exists()
    with Cache(tmp_path, PREPROCESS) as cache:
        cache.reserve(1)
        assert not theirs.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_file_is_gone_when_the_job_fails(tmp_path):
    with pytest.raises(KeyboardInterrupt), Cache(tmp_path, PREPROCESS) as cache:
        cache.reserve(5)
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_cut_is_an_error_and_no_wrong_picture(tmp_path):
    files = files_of_all_kinds()
    with Cache(tmp_path, PREPROCESS) as cache:
        filled(cache, files)
        pictures = cache.pictures(files, np.arange(8))
        (path,) = tmp_path.iterdir()
        os.truncate(path, 7 * RECORD + 10)
        np.testing.assert_array_equal(pictures.square(6), PREPROCESS(files.read(6)))
        with pytest.raises(PlatformError, match="cache of decoded images cannot be read"):
            pictures.training(7)
