"""AnnotationMask: when a tile is positive, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lesion.errors import UserError
from lesion.prepare.annotation_mask import AnnotationMask, PositiveRule, read_annotation_masks
from lesion.prepare.positive_classes import choose_positive
from lesion.prepare.regions import Region
from lesion.prepare.slides import SlideFile


def square(x: float, y: float, side: float) -> np.ndarray:
    return np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side]], float)


def share(masks: AnnotationMask, x: float, y: float, extent: float, size: int = 64) -> float:
    return float(masks.draw(x, y, extent, size_px=size).mean())


@pytest.mark.parametrize(("x", "expected"), [(0, 0), (50, 0.5), (100, 1), (150, 0.5), (200, 0), (75, 0.75)])
def test_the_share_of_a_tile_in_a_region(x, expected):
    masks = AnnotationMask([Region("Tumor", (square(100, 0, 100),))], positive=["Tumor"], excluded=())
    assert share(masks, x, 0, 100) == pytest.approx(expected, abs=0.02)


def test_a_hole_is_outside_and_an_excluded_region_cuts():
    ring, hole = square(0, 0, 100), square(25, 25, 50)
    holed = AnnotationMask([Region("a", (ring, hole))], positive=["a"], excluded=())
    assert share(holed, 0, 0, 100) == pytest.approx(0.75, abs=0.02)
    regions = [Region("_2", (square(0, 0, 50),)), Region("a", (ring,))]
    cut = AnnotationMask(regions, positive=["a"], excluded=["_2"])
    assert share(cut, 0, 0, 100) == pytest.approx(0.75, abs=0.02)


def test_what_is_cut_out_of_a_region_lies_anywhere_and_leaves_other_regions_whole():
    beyond = square(50, 0, 100)  # half of it lies outside
    cut = Region("a", (square(0, 0, 100),), cuts=(beyond, beyond))  # twice: it is not even-odd
    assert share(AnnotationMask([cut], positive=["a"], excluded=()), 0, 0, 200) == pytest.approx(0.125, abs=0.01)
    both = [Region("a", (square(0, 0, 200),)), cut]
    assert share(AnnotationMask(both, positive=["a"], excluded=()), 0, 0, 200) == 1


def test_only_positive_classes_count_and_those_that_belong_to_them():
    regions = [Region("Tumor: Positive", (square(0, 0, 50),), ("Tumor",)), Region("Stroma", (square(50, 50, 50),))]
    assert share(AnnotationMask(regions, positive=["Tumor"], excluded=()), 0, 0, 100) == pytest.approx(0.25, abs=0.02)
    both = AnnotationMask(regions, positive=["Tumor", "Stroma"], excluded=())
    assert share(both, 0, 0, 100) == pytest.approx(0.5, abs=0.02)


def areas(*class_names: str) -> list[Region]:
    """Regions of these classes; of "a: b" one that is an a as well."""
    return [
        Region(name, (square(0, 0, 9),), (name.partition(": ")[0],) if ": " in name else ()) for name in class_names
    ]


@pytest.mark.parametrize(
    ("class_names", "excluded", "expected"),
    [
        (["Tumor", "Tumor"], (), "Tumor"),
        (["Tumor", "Tumor: Positive"], (), "Tumor"),
        (["Tumor: Positive"], (), "Tumor: Positive"),
        (["Tumor", "Ignore*", "Region*"], (), "Tumor"),
        (["Tumor", "_2"], ["_2"], "Tumor"),
        (["", ""], (), ""),
    ],
)
def test_the_only_class_is_the_positive_one_and_that_is_said(caplog, class_names, excluded, expected):
    caplog.set_level("INFO")
    assert choose_positive(areas(*class_names), (), excluded, where="x") == (expected,)
    assert f"positive={expected or 'no class'} because it is the only class" in caplog.text


@pytest.mark.parametrize(
    ("class_names", "positive", "words"),
    [
        (["Tumor", "Stroma", "Tumor"], (), r"2 classes, .* Tumor \(2\), Stroma \(1\).*--positive \"Tumor\""),
        (["Tumor: Positive", "Tumor: Negative"], (), "2 classes, .*Tumor: Positive"),
        (["", "", "Tumor"], (), r"2 classes, .*no class \(2\), Tumor \(1\).*--positive \"Tumor\""),
        (["Ignore*"], (), r"no annotation has a class that counts: Ignore\* \(1\)"),
        ([], (), "no annotation has a class that counts: there is no area"),
        (["Tumor"], ["Tumour"], "no annotation has the class 'Tumour'; there are 'Tumor'.*Did you mean Tumor"),
    ],
)
def test_which_class_is_positive_is_never_guessed(class_names, positive, words):
    with pytest.raises(UserError, match=words):
        choose_positive(areas(*class_names), positive, (), where="x")


def test_a_finer_tile_sees_the_same_region():
    masks = AnnotationMask([Region("a", (square(100, 100, 100),))], positive=["a"], excluded=())
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
    whole = AnnotationMask([around], positive=["a"], excluded=())
    crossed = AnnotationMask([crossing], positive=["b"], excluded=())
    assert share(whole, 999_000, 0, 100) == 1
    assert share(crossed, 2_000_000, 500_000, 100) == 0
    assert share(crossed, 500_000, 2_000_000, 100) == 1


def test_regions_beside_the_slide_are_counted():
    regions = [Region("a", (square(x, y, 50),)) for x, y in ((0, 0), (75, 75), (100, 0), (0, 200), (-60, 0))]
    assert AnnotationMask(regions, positive=["a"], excluded=()).num_outside(100, 200) == 3
    assert AnnotationMask([], positive=["a"], excluded=()).num_outside(100, 200) == 0


def test_files_of_other_programs_are_named(tmp_path):
    (tmp_path / "a.ndpa").write_text("<annotations/>")
    with pytest.raises(UserError, match=r"no annotations here .*1 \.ndpa are NDP.view's: open them in QuPath"):
        read_annotation_masks(tmp_path, [SlideFile("a", Path("a.svs"))], PositiveRule(), is_whole=True)


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
