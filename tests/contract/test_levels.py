"""Levels: what `lesion check` says of images that store few bits in 16, and of channels that are not read."""

from __future__ import annotations

import numpy as np
from checks import check, one
from PIL import Image

from layouts import draw_tree
from tiff_files import tiff_file


def test_images_that_leave_the_upper_levels_unused_are_named_with_what_to_do(tmp_path):
    root = draw_tree(tmp_path / "data", ["a", "b"], num=6)
    levels = np.random.default_rng(0).integers(0, 4096, (40, 40, 1))
    (root / "a" / "stated.tif").write_bytes(tiff_file(levels, 16, photometric=1, more={281: (4095,)}))
    (root / "a" / "silent.tif").write_bytes(tiff_file(levels[::-1], 16, photometric=1))
    Image.fromarray(levels[:, ::-1, 0].astype(np.uint16)).save(root / "b" / "silent.png")
    found = one(check({"training": root}, tmp_path / "out"), "levels_not_used")
    assert found.level == "warning" and sorted(row.name for row in found.rows) == ["a/silent.tif", "b/silent.png"]
    assert "look black" in found.what and "MaxSampleValue" in found.do


def test_images_with_a_channel_beside_their_colours_are_named(tmp_path):
    """RGB and near infrared: the colours are right, and the fourth is not seen."""
    root = draw_tree(tmp_path / "data", ["a", "b"], num=6)
    levels = np.random.default_rng(0).integers(0, 256, (40, 40, 4))
    (root / "a" / "infrared.tif").write_bytes(tiff_file(levels, 8, photometric=2, extras=(0,)))
    (root / "b" / "alpha.tif").write_bytes(tiff_file(levels[::-1], 8, photometric=2, extras=(2,)))
    found = one(check({"training": root}, tmp_path / "out"), "channels_not_read")
    assert found.level == "warning" and [row.name for row in found.rows] == ["a/infrared.tif"]
    assert found.what.startswith("1 of 14 training images has a channel beside its colours")
