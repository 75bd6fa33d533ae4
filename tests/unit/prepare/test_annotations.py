"""Annotations: what QuPath and ASAP write is read, and whatever else is refused in words."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesion.errors import UserError
from lesion.prepare.annotations import read_annotations

SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
HOLE = [[4, 4], [6, 4], [6, 6], [4, 6], [4, 4]]
ASAP = """<?xml version="1.0"?>
<ASAP_Annotations><Annotations>
 <Annotation Name="a" Type="Polygon" PartOfGroup="Tumor"><Coordinates>
  <Coordinate Order="0" X="1.5" Y="2"/><Coordinate Order="1" X="9" Y="2"/><Coordinate Order="2" X="9" Y="8"/>
 </Coordinates></Annotation>
 <Annotation Name="b" Type="Dot" PartOfGroup="None"><Coordinates><Coordinate Order="0" X="1" Y="1"/></Coordinates>
 </Annotation>
 <Annotation Name="c" Type="Rectangle" PartOfGroup="None"><Coordinates>
  <Coordinate Order="0" X="0" Y="0"/><Coordinate Order="1" X="4" Y="0"/><Coordinate Order="2" X="4" Y="4"/>
  <Coordinate Order="3" X="0" Y="4"/></Coordinates></Annotation>
</Annotations><AnnotationGroups><Group Name="Tumor" PartOfGroup="None"/></AnnotationGroups></ASAP_Annotations>
"""


def feature(kind: str, coordinates: object, name: str | None = "Tumor") -> dict[str, object]:
    properties = (
        {} if name is None else {"classification": {"name": name, "color": [1, 2, 3]}, "objectType": "annotation"}
    )
    return {"type": "Feature", "properties": properties, "geometry": {"type": kind, "coordinates": coordinates}}


def written(folder: Path, document: object, name: str = "a.geojson") -> Path:
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


@pytest.mark.parametrize(
    "wrap",
    [lambda features: {"type": "FeatureCollection", "features": features}, lambda features: features],
    ids=["a collection", "a list"],
)
def test_qupaths_polygons_come_with_their_class_and_holes(tmp_path, wrap):
    shapes = [feature("Polygon", [SQUARE, HOLE]), feature("MultiPolygon", [[SQUARE], [HOLE]], None)]
    first, second = read_annotations(written(tmp_path, wrap(shapes)))
    assert (first.class_name, second.class_name) == ("Tumor", "")
    np.testing.assert_array_equal(first.rings[1], HOLE)
    assert len(second.rings) == 2


def test_a_single_feature_is_a_document_too(tmp_path):
    assert len(read_annotations(written(tmp_path, feature("Polygon", [SQUARE])))) == 1


def test_points_and_lines_are_left_out_and_counted(tmp_path, caplog):
    shapes = [feature("Point", [1, 2]), feature("LineString", [[0, 0], [1, 1]]), feature("Polygon", [SQUARE])]
    assert len(read_annotations(written(tmp_path, shapes))) == 1
    assert "points_and_lines_left_out=2" in caplog.text


def test_asaps_regions_come_with_their_group(tmp_path):
    first, second = read_annotations(written(tmp_path, ASAP, "a.xml"))
    assert (first.class_name, second.class_name) == ("Tumor", "")
    np.testing.assert_array_equal(first.rings[0], [[1.5, 2], [9, 2], [9, 8]])
    assert len(second.rings[0]) == 4


BROKEN = {
    "cut off": ('{"features": [', "a.geojson", "line 1"),
    "no list": ('{"features": 3}', "a.geojson", "no list of features"),
    "no geometry": ('[{"type": "Feature"}]', "a.geojson", "feature 1: not a GeoJSON feature"),
    "a circle": (json.dumps([feature("Circle", [])]), "a.geojson", "feature 1: not a GeoJSON feature"),
    "two points": (json.dumps([feature("Polygon", [SQUARE[:2]])]), "a.geojson", "not three or more points"),
    "words for numbers": (json.dumps([feature("Polygon", [[["a", "b"]] * 4])]), "a.geojson", "not a pair of numbers"),
    "a number beyond all": (
        json.dumps([feature("Polygon", [[[1e308, 0], [0, 1], [1, 1]]])]),
        "a.geojson",
        "below 4,000,",
    ),
    "an integer of 400 digits": (
        json.dumps([feature("Polygon", [[[10**400, 0], [0, 1], [1, 1]]])]),
        "a.geojson",
        "not a pair of numbers",
    ),
    "NaN": (json.dumps([feature("Polygon", [[[float("nan"), 0], [0, 1], [1, 1]]])]), "a.geojson", "not three or more"),
    "lists without end": ("[" * 100_000, "a.geojson", "nested too deeply"),
    "points in points": (json.dumps([feature("Polygon", json.loads("[" * 500 + "]" * 500))]), "a.geojson", "feature 1"),
    "a class that is a list": (
        json.dumps([{**feature("Polygon", [SQUARE]), "properties": {"name": [[1]]}}]),
        "a.geojson",
        "feature 1: its class is not text",
    ),
    "a key twice": ('{"features": [], "features": []}', "a.geojson", "'features' occurs twice"),
    "more points than fit": ("[" * 5_000_001, "a.geojson", "more than 5,000,000 points"),
    "more elements than fit": ("<a/>" * 5_000_001, "a.xml", "more than 5,000,000 points"),
    "elements without end": ("<a>" * 100_000, "a.xml", "line 1"),
    "entities upon entities": (
        '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
        + "".join(
            f'<!ENTITY {after} "{f"&{name};" * 10}">' for name, after in zip("abcdefghi", "bcdefghij", strict=True)
        )
        + "]><ASAP_Annotations>&j;</ASAP_Annotations>",
        "a.xml",
        "line 1",
    ),
    "another file as an entity": (
        '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><ASAP_Annotations>&a;</ASAP_Annotations>',
        "a.xml",
        "line 1",
    ),
    "NUL": ("[\0]", "a.geojson", "it holds NUL bytes"),
    "another XML": ("<html></html>", "a.xml", "<html> is not <ASAP_Annotations>"),
    "XML cut off": (ASAP[:200], "a.xml", "line "),
    "an unknown type": (ASAP.replace("Rectangle", "Ellipse"), "a.xml", "annotation 'c': type 'Ellipse'"),
    "no coordinate": (ASAP.replace('X="9"', ""), "a.xml", "annotation 'a'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_named_with_its_place(tmp_path, case):
    text, name, words = BROKEN[case]
    with pytest.raises(UserError) as caught:
        read_annotations(written(tmp_path, text, name))
    assert words in str(caught.value) and name in str(caught.value)


def test_a_pipe_is_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.geojson")
    with pytest.raises(UserError, match=r"a pipe and not a file .*a\.geojson"):
        read_annotations(tmp_path / "a.geojson")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["type", "geometry", "coordinates", "properties", "features", "name"]), inner)
    ),
    max_leaves=20,
)


@given(document=JSON | st.builds(feature, st.sampled_from(["Polygon", "MultiPolygon", "Point"]), JSON))
def test_nothing_but_a_clear_error_comes_of_any_json(tmp_path_factory, document):
    path = written(tmp_path_factory.mktemp("any"), document)
    try:
        regions = read_annotations(path)
    except UserError:
        return
    assert all(np.isfinite(ring).all() for region in regions for ring in region.rings)


@given(text=st.text(max_size=60))
def test_nothing_but_a_clear_error_comes_of_any_text_called_xml(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "a.xml"
    path.write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(UserError):
        read_annotations(path)
