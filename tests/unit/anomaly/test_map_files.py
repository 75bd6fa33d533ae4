"""Map files: polygons in the form of QuPath, positions on slides, and the density of flagged pixels."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from geojson_pydantic import Feature, FeatureCollection
from geojson_pydantic import Polygon as PolygonGeometry
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from shapely import Polygon

from lesion.algorithms.anomaly.map_files.density import Tile, density_of, picture_of
from lesion.algorithms.anomaly.map_files.polygons import collection, feature, outlines
from lesion.algorithms.anomaly.map_files.positions import Position, positions_of
from lesion.algorithms.classify.algorithm import CLASSIFY
from lesion.data.table import SampleTable
from lesion.errors import UserError
from lesion.prepare.annotation_formats.geojson import read_geojson


def square_with_hole() -> np.ndarray:
    is_flagged_HW = np.zeros((20, 40), bool)
    is_flagged_HW[4:14, 10:30] = True
    is_flagged_HW[7:10, 15:20] = False
    return is_flagged_HW


def test_an_outline_is_in_pixels_of_the_image_with_its_holes():
    [[outer, hole]] = outlines(square_with_hole(), (40, 80))
    assert Polygon(outer).area == pytest.approx(4 * 10 * 20, rel=0.06)
    assert Polygon(hole).area == pytest.approx(4 * 3 * 5, rel=0.4)
    x, y = np.array(outer).T
    assert [x.min(), x.max(), y.min(), y.max()] == pytest.approx([20, 60, 8, 28], abs=0.5)


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=7)))
def test_rings_are_closed_run_the_right_way_and_touch_neither_themselves_nor_another_one(is_flagged_HW):
    """What makes a polygon valid for GEOS, QuPath's geometry library in C++ (its own one is JTS), and more than that:
    a hole that touches its outer ring in a point is valid too."""
    height, width = is_flagged_HW.shape
    polygons = outlines(is_flagged_HW, (9 * height, 9 * width))  # in steps of a third of a pixel: 3
    shapes = [Polygon(outer, holes) for outer, *holes in polygons]
    assert all(shape.is_valid and shape.exterior.is_ccw for shape in shapes)
    assert not any(hole.is_ccw for shape in shapes for hole in shape.interiors)
    lines = [line for shape in shapes for line in (shape.exterior, *shape.interiors)]
    assert all(line.is_ring for line in lines)
    assert all(line.distance(other) > 1 for line, other in combinations(lines, 2))
    area = sum(shape.area for shape in shapes)
    lost = 2 / 3 * 81 * is_flagged_HW.sum()  # a contour runs through the centres of thirds, and holes are wider
    assert 81 * is_flagged_HW.sum() - lost <= area <= 81 * is_flagged_HW.sum()


def test_nothing_flagged_has_no_outline():
    assert outlines(np.zeros((5, 5), bool), (50, 50)) == []


def test_a_slides_polygons_are_annotations_that_qupath_opens():
    """GeoJSON by RFC 7946, and what QuPath's reader takes (0.4 and later): `objectType`, a `classification` with name
    and colour, and `measurements` as an object of numbers."""
    [rings] = outlines(square_with_hole(), (20, 40))
    position = Position("slide", (1000.0, 500.0), 2.0)
    written = collection([feature(rings, position, name="tile 1", score=0.7)])
    FeatureCollection[Feature[PolygonGeometry, dict[str, Any]]].model_validate_json(written)
    document = json.loads(written)
    [one] = document["features"]
    assert one["properties"] == {
        "objectType": "annotation",
        "name": "tile 1",
        "classification": {"name": "Anomaly", "color": [200, 0, 0]},
        "measurements": {"Highest anomaly score": 0.7},
    }
    x, y = np.array(one["geometry"]["coordinates"][0]).T
    assert [x.min(), x.max(), y.min(), y.max()] == pytest.approx([1020, 1060, 508, 528], abs=1)
    [region] = read_geojson(document, Path("slide.geojson"))  # our own reader of QuPath's files takes it too
    assert region.class_name == "Anomaly" and len(region.rings) == 2


def table(**columns: list[str]) -> SampleTable:
    others = pd.DataFrame(columns, dtype="string")
    names = np.array([f"t{number}" for number in range(len(others))])
    return SampleTable(names, pd.DataFrame(index=range(len(names))), others=others)


def test_a_tile_lies_where_its_table_says():
    found = positions_of(
        table(slide_id=["a", "b"], X=["0", "512"], y=["1e3", "2"], downsample=["2", "1.5"]), "patient_id"
    )
    assert found == [Position("a", (0.0, 1000.0), 2.0), Position("b", (512.0, 2.0), 1.5)]


def test_without_positions_images_have_their_group_or_stand_for_themselves():
    assert positions_of(table(patient_id=["p", ""]), "patient_id") == [Position("p"), Position("t1")]
    assert positions_of(table(x=["1"], y=["2"]), "patient_id") == [Position("t0")]


def test_cells_that_are_no_positions_are_named_all_at_once():
    wrong = table(slide_id=["a", "a"], x=["1", "left"], y=["2", ""], downsample=["0", "1"])
    with pytest.raises(UserError) as refused:
        positions_of(wrong, "patient_id")
    assert all(word in str(refused.value) for word in ("'x'", "left", "'y'", "'downsample'"))


def test_a_classifier_has_no_maps_and_says_where_to_look(tmp_path):
    with pytest.raises(UserError, match=r"no maps \(--maps\).*lesion explain"):
        CLASSIFY.map_writer(None, tmp_path, table(x=["1"]))


def tile(x: float, y: float, spots: list[tuple[float, float]], spot_px: float = 100.0) -> Tile:
    spot_P2 = np.array(spots, np.float64).reshape(-1, 2)
    return Tile(np.full((8, 8, 3), 200, np.uint8), (x, y, x + 1000, y + 1000), spot_P2, spot_px)


def test_the_density_is_highest_where_flagged_pixels_are_dense_and_zero_below_a_fifth_of_that():
    dense = [(500.0 + number, 500.0) for number in range(20)]
    tiles = [tile(0, 0, dense), tile(1000, 0, [(1500.0, 500.0)]), tile(0, 1000, []), tile(1000, 1000, [])]
    density_HW = density_of(tiles)
    row, column = np.unravel_index(int(density_HW.argmax()), density_HW.shape)
    assert density_HW.shape == (100, 100) and abs(row - 25) <= 1 and abs(column - 25) <= 1
    assert density_HW[25, 75] == 0  # a twentieth of the peak
    assert density_HW[density_HW > 0].min() >= 0.2
    # A Gaussian of 100 px, five cells: one cell of deviation from the peak is exp(-1/2) of it.
    assert density_HW[row + 5, column] == pytest.approx(np.exp(-0.5), abs=0.08)


def test_few_flagged_pixels_show_nothing():
    assert not density_of([tile(0, 0, [(500.0, 500.0)], spot_px=199.0)]).any()
    assert density_of([tile(0, 0, [(500.0, 500.0)], spot_px=201.0)]).any()


def test_the_picture_shows_tiles_in_place_and_colours_where_it_is_dense():
    picture_HWC = picture_of([tile(0, 0, [(500.0, 500.0)], spot_px=1000.0), tile(2000, 1000, [])])
    assert picture_HWC.shape == (667, 1000, 3)
    assert (picture_HWC[20, 20] == 200).all() and (picture_HWC[600, 20] == 255).all()
    assert not (picture_HWC[167, 167] == 200).all()
