"""Frames: files with more pictures than the one that is read are known, whatever their format."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from lesion.data.decode import images
from lesion.data.decode.frames import has_more, noting

FRAMES = [Image.fromarray(np.full((8, 9, 3), level, np.uint8)) for level in (10, 90, 200)]


def saved(kind: str, num: int, **options: object) -> bytes:
    FRAMES[0].save(file := io.BytesIO(), kind, save_all=num > 1, append_images=FRAMES[1:num], **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_a_file_of_several_frames_is_known_and_one_of_a_single_frame_too(kind):
    assert has_more(saved(kind, 3)) and has_more(saved(kind, 2)) and not has_more(saved(kind, 1))


@pytest.mark.parametrize("is_big", [False, True])
def test_the_levels_of_a_pyramid_are_no_frames(is_big):
    whole = np.zeros((64, 64, 3), np.uint8)
    file = io.BytesIO()
    with tifffile.TiffWriter(file, bigtiff=is_big) as tiff:
        tiff.write(whole, photometric="rgb")
        tiff.write(whole[::2, ::2], photometric="rgb", subfiletype=1)
    assert not has_more(file.getvalue())
    with tifffile.TiffWriter(file := io.BytesIO(), bigtiff=is_big) as tiff:
        tiff.write(whole, photometric="rgb")
        tiff.write(whole, photometric="rgb")
    assert has_more(file.getvalue())


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_a_file_that_is_cut_off_is_no_error(kind):
    content = saved(kind, 3)
    for length in range(0, len(content), 7):
        has_more(content[:length])


def test_the_decoder_notes_it_for_who_asks(tmp_path):
    (tmp_path / "a.gif").write_bytes(saved("GIF", 2))
    (tmp_path / "b.gif").write_bytes(saved("GIF", 1))
    for name, expected in (("a.gif", True), ("b.gif", False)):
        with noting() as noted:
            images.read(Path(tmp_path / name))
        assert noted.has_more is expected
