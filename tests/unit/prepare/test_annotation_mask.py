"""AnnotationMask: when a tile is positive, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lesion.errors import UserError
from lesion.prepare.annotation_mask import AnnotationMask, PositiveRule, read_annotation_masks
from lesion.prepare.annotations import Region
from lesion.prepare.slides import SlideFile


def square(x: float, y: float, side: float) -> np.ndarray:
    return np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side]], float)


def share(masks: AnnotationMask, x: float, y: float, extent: float, size: int = 64) -> float:
    return float(masks.draw(x, y, extent, size_px=size).mean())


@pytest.mark.parametrize(("x", "expected"), [(0, 0), (50, 0.5), (100, 1), (150, 0.5), (200, 0), (75, 0.75)])
def test_the_share_of_a_tile_in_a_region(x, expected):
    masks = AnnotationMask([Region("Tumor", (square(100, 0, 100),))], positive=(), excluded=())
    assert share(masks, x, 0, 100) == pytest.approx(expected, abs=0.02)


def test_a_hole_is_outside_and_an_excluded_region_cuts():
    ring, hole = square(0, 0, 100), square(25, 25, 50)
    assert share(AnnotationMask([Region("a", (ring, hole))], positive=(), excluded=()), 0, 0, 100) == pytest.approx(
        0.75, abs=0.02
    )
    cut = AnnotationMask([Region("_2", (square(0, 0, 50),)), Region("a", (ring,))], positive=(), excluded=("_2",))
    assert share(cut, 0, 0, 100) == pytest.approx(0.75, abs=0.02)


def test_only_positive_classes_count():
    regions = [Region("Tumor", (square(0, 0, 50),)), Region("Stroma", (square(50, 50, 50),))]
    assert share(AnnotationMask(regions, positive=("Tumor",), excluded=()), 0, 0, 100) == pytest.approx(0.25, abs=0.02)
    assert share(AnnotationMask(regions, positive=(), excluded=()), 0, 0, 100) == pytest.approx(0.5, abs=0.02)


def test_a_finer_tile_sees_the_same_region():
    masks = AnnotationMask([Region("a", (square(100, 100, 100),))], positive=(), excluded=())
    assert share(masks, 100, 100, 400, size=100) == pytest.approx(1 / 16, abs=0.01)


@pytest.mark.parametrize(
    ("label_from", "min_overlap", "expected"),
    [("centre", 0.5, True), ("area", 0.5, False), ("area", 0.1, True), ("area", 0, True)],
)
def test_the_middle_third_or_all_of_a_tile_decides(label_from, min_overlap, expected):
    mask_HW = np.zeros((96, 96), np.uint8)
    mask_HW[32:64, 32:64] = 1
    assert PositiveRule(label_from, min_overlap).is_positive(mask_HW) is expected


def test_a_tile_without_any_mark_is_negative_whatever_is_asked():
    assert not PositiveRule("area", 0).is_positive(np.zeros((96, 96), np.uint8))


def test_one_pixel_in_the_middle_is_enough_for_patchcamelyons_rule():
    mask_HW = np.zeros((96, 96), np.uint8)
    mask_HW[40, 40] = 1
    assert PositiveRule("centre", 0).is_positive(mask_HW)
    mask_HW[:] = 0
    mask_HW[10, 10] = 1
    assert not PositiveRule("centre", 0).is_positive(mask_HW)


def annotated(folder: Path, name: str) -> None:
    geometry = {"type": "Polygon", "coordinates": [square(0, 0, 10).tolist()]}
    (folder / name).write_text(json.dumps([{"geometry": geometry, "properties": {"name": "Tumor"}}]))


def test_files_belong_to_the_slides_that_are_called_alike(tmp_path):
    annotated(tmp_path, "a.geojson")
    slides = [SlideFile("sub/a", Path("sub/a.svs")), SlideFile("b", Path("b.svs"))]
    masks = read_annotation_masks(tmp_path, slides, PositiveRule(), is_whole=True)
    assert share(masks["sub/a"], 0, 0, 10) == 1 and share(masks["b"], 0, 0, 10) == 0


def test_a_region_as_large_as_coordinates_go_is_drawn_right():
    far = 3_999_999.0
    around = Region("a", (np.array([[-far, -far], [far, -far], [far, far], [-far, far]]),))
    crossing = Region("b", (np.array([[0.0, 0.0], [far, far], [far, 0.0], [0.0, far]]),))  # crosses itself half-way
    assert share(AnnotationMask([around], positive=(), excluded=()), 999_000, 0, 100) == 1
    assert share(AnnotationMask([crossing], positive=(), excluded=()), 2_000_000, 500_000, 100) == 0
    assert share(AnnotationMask([crossing], positive=(), excluded=()), 500_000, 2_000_000, 100) == 1


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "no annotations here"),
        (["a.geojson", "a.json"], "two annotation files of one slide"),
        (["a.geojson", "c.geojson"], "1 annotation files without a slide, the first: c.geojson"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, names, words):
    for name in names:
        annotated(tmp_path, name)
    with pytest.raises(UserError, match=words):
        read_annotation_masks(tmp_path, [SlideFile("a", Path("a.svs"))], PositiveRule(), is_whole=True)
