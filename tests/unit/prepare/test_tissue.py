"""Tissue: the mask is what was drawn, and a tile's share of it what can be counted."""

# H, W cells · T tiles

from __future__ import annotations

import cv2
import numpy as np
import openslide
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesion.prepare.slides import Slide
from lesion.prepare.tissue import BLOCK_PX, TissueMask, find_tissue, is_tissue, thumbnail
from slides import GLASS, TISSUE, draw_slide, pyramid, write_slide


def test_the_tissue_is_where_it_was_drawn(tmp_path):
    discs = [(500, 400, 250), (1400, 900, 150)]
    with Slide(write_slide(tmp_path / "a.tif", pyramid(draw_slide(2000, 1200, discs)))) as slide:
        mask = find_tissue(slide, extent_px=128)
    assert mask.cell_px == 8
    y_H1, x_1W = np.ogrid[4:1200:8, 4:2000:8]
    drawn_HW = np.any([(x_1W - x) ** 2 + (y_H1 - y) ** 2 < radius**2 for x, y, radius in discs], axis=0)
    both, either = (mask.is_tissue_HW & drawn_HW).sum(), (mask.is_tissue_HW | drawn_HW).sum()
    assert both / either > 0.96  # the rims are half of each


@pytest.mark.parametrize(
    ("colour", "noise", "expected"),
    [
        (GLASS, 4, 0),  # Otsu's threshold alone would call half of the noise tissue
        ((255, 255, 255), 0, 0),
        ((128, 128, 128), 3, 0),
        ((4, 1, 2), 2, 0),  # black: saturation is 75 % there and means nothing
        (TISSUE, 30, 1),  # Otsu's threshold alone would leave half out
    ],
)
def test_all_glass_has_no_tissue_and_all_tissue_no_glass(colour, noise, expected):
    noise_HW1 = np.random.default_rng(0).normal(0, noise, (100, 100, 1))
    thumbnail_HWC = np.clip(np.array(colour) + noise_HW1, 0, 255).astype(np.uint8)
    assert is_tissue(thumbnail_HWC).mean() == pytest.approx(expected, abs=0.01)


def test_a_speck_of_dust_is_no_tissue():
    thumbnail_HWC = draw_slide(60, 60, [(40, 40, 10)])
    thumbnail_HWC[10, 10] = TISSUE
    mask_HW = is_tissue(thumbnail_HWC)
    assert mask_HW[40, 40] and not mask_HW[:20, :20].any()


def test_shares_by_hand():
    is_tissue_HW = np.zeros((4, 6), bool)
    is_tissue_HW[:, :3] = True
    mask = TissueMask(is_tissue_HW, cell_px=10.0)
    corners_T2 = np.array([[0, 0], [20, 0], [20, 20], [40, 0], [29, 11]])
    np.testing.assert_array_equal(mask.shares(corners_T2, 20.0), [1, 0.5, 0.5, 0, 0])


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4))
def test_tiles_of_whole_cells_have_the_mean_of_these(seed, cells, rows, columns):
    is_tissue_HW = np.random.default_rng(seed).random((rows * cells, columns * cells)) < 0.5
    x_T, y_T = np.meshgrid(np.arange(columns), np.arange(rows))
    corners_T2 = np.stack([x_T.ravel(), y_T.ravel()], axis=1) * cells * 7
    means_HW = is_tissue_HW.reshape(rows, cells, columns, cells).mean(axis=(1, 3))
    np.testing.assert_allclose(TissueMask(is_tissue_HW, 7.0).shares(corners_T2, cells * 7.0), means_HW.ravel())


def test_a_slide_is_never_read_whole(tmp_path, monkeypatch):
    """4,000 × 4,000 pixels without a pyramid, the largest window is as it says."""
    sizes = []
    whole = openslide.OpenSlide.read_region

    def read_region(self, location, level, size):
        sizes.append(size)
        return whole(self, location, level, size)

    monkeypatch.setattr(openslide.OpenSlide, "read_region", read_region)
    image_HWC = draw_slide(4000, 4000, [(2000, 2000, 900)])
    with Slide(write_slide(tmp_path / "a.tif", [image_HWC])) as slide:
        thumbnail_HWC = thumbnail(slide, 16.0)
    assert max(max(size) for size in sizes) <= BLOCK_PX and len(sizes) == 4
    assert sum(width * height for width, height in sizes) == 4000 * 4000
    reference_HWC = cv2.resize(image_HWC, (250, 250), interpolation=cv2.INTER_AREA)
    assert np.abs(thumbnail_HWC.astype(int) - reference_HWC).max() <= 1


def test_the_thumbnail_of_any_size_stays_small(tmp_path):
    with Slide(write_slide(tmp_path / "a.tif", [draw_slide(8200, 40)])) as slide:
        assert find_tissue(slide, extent_px=16).is_tissue_HW.shape == (20, 4096)
