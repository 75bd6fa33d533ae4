"""Annotations: what QuPath, ASAP, ImageScope and HistomicsUI write is read, and whatever else is refused in words."""

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
from lesion.prepare.regions import Region

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


def regions(folder: Path, document: object, name: str = "a.geojson") -> tuple[Region, ...]:
    return read_annotations(written(folder, document, name)).regions


def left_out(folder: Path, document: object, name: str = "a.geojson") -> dict[str, int]:
    return dict(read_annotations(written(folder, document, name)).left_out)


@pytest.mark.parametrize(
    "wrap",
    [lambda features: {"type": "FeatureCollection", "features": features}, lambda features: features],
    ids=["a collection", "a list"],
)
def test_qupaths_polygons_come_with_their_class_and_holes(tmp_path, wrap):
    shapes = [feature("Polygon", [SQUARE, HOLE]), feature("MultiPolygon", [[SQUARE], [HOLE]], None)]
    first, second = regions(tmp_path, wrap(shapes))
    assert (first.class_name, second.class_name) == ("Tumor", "")
    np.testing.assert_array_equal(first.rings[1], HOLE)
    assert len(second.rings) == 2


@pytest.mark.parametrize(
    "document",
    [
        feature("Polygon", [SQUARE]),
        {"type": "Polygon", "coordinates": [SQUARE]},
        [{"type": "FeatureCollection", "features": [feature("Polygon", [SQUARE])]}],
    ],
    ids=["a feature", "a geometry", "a list of a collection"],
)
def test_a_part_of_geojson_is_a_document_too(tmp_path, document):
    assert len(regions(tmp_path, document)) == 1


def qupath(properties: dict[str, object] | None, **more: object) -> dict[str, object]:
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [SQUARE]},
        "properties": properties,
        **more,
    }


CLASSES = {
    "a name": ({"classification": {"name": "Tumor", "colorRGB": -3}}, "Tumor", ()),
    "names": ({"classification": {"names": ["Tumor"]}}, "Tumor", ()),
    "a derived class by names": ({"classification": {"names": ["Tumor", "Positive"]}}, "Tumor: Positive", ("Tumor",)),
    "a derived class by name": ({"classification": {"name": "Tumor: Positive"}}, "Tumor: Positive", ("Tumor",)),
    "derived twice": (
        {"classification": {"names": ["Tumor", "CD3", "2+"]}},
        "Tumor: CD3: 2+",
        ("Tumor: CD3", "Tumor"),
    ),
    "a word": ({"classification": "Tumor"}, "Tumor", ()),
    "no classification": ({"objectType": "annotation", "name": "Region 1"}, "", ()),
    "null": ({"classification": None, "name": "Region 1"}, "", ()),
    "a name that is null": ({"classification": {"name": None}}, "", ()),
    "no names": ({"classification": {"names": []}}, "", ()),
    "no properties": (None, "", ()),
    "another program's name": ({"name": "Tumor"}, "Tumor", ()),
    "HistomicsUI's group": ({"group": "Tumor", "label": {"value": "the left one"}}, "Tumor", ()),
    "HistomicsUI's label": ({"label": {"value": "Tumor"}}, "Tumor", ()),
}


@pytest.mark.parametrize("case", CLASSES)
def test_a_class_is_read_as_geojson_is_written(tmp_path, case):
    properties, class_name, wider = CLASSES[case]
    (region,) = regions(tmp_path, [qupath(properties)])
    assert (region.class_name, region.wider) == (class_name, wider)


@pytest.mark.parametrize(
    ("properties", "more", "kind"),
    [
        ({"objectType": "tma_core"}, {}, "TMA core"),
        ({"objectType": "cell"}, {}, "cell"),
        ({"object_type": "detection"}, {}, "detection"),
        ({"objectType": "tile"}, {}, "tile"),
        ({"isMissing": False}, {"id": "TMACoreObject"}, "TMA core"),
        ({}, {"id": "PathCellObject"}, "cell"),
        ({}, {"geometry": None}, "feature without a place"),
        ({}, {"geometry": {"type": "Polygon", "coordinates": []}}, "feature without a place"),
    ],
)
def test_what_nobody_drew_is_no_annotation(tmp_path, properties, more, kind):
    drawn = qupath({"classification": {"name": "Tumor"}}, id="PathAnnotationObject")
    document = [drawn, qupath({"classification": {"name": "Tumor"}, **properties}, **more)]
    assert len(regions(tmp_path, document)) == 1 and left_out(tmp_path, document) == {kind: 1}


def test_the_polygons_of_a_collection_are_regions_of_their_own_and_what_has_no_area_is_counted(tmp_path):
    inner = {"type": "GeometryCollection", "geometries": [{"type": "Polygon", "coordinates": [HOLE]}]}
    geometries = [{"type": "Polygon", "coordinates": [SQUARE]}, {"type": "Point", "coordinates": [3, 3]}, inner]
    document = qupath({"classification": {"name": "Tumor"}})
    document["geometry"] = {"type": "GeometryCollection", "geometries": geometries}
    first, second = regions(tmp_path, document)
    assert first.class_name == second.class_name == "Tumor" and len(first.rings) == len(second.rings) == 1
    assert left_out(tmp_path, document) == {"point": 1}


def area(ring: np.ndarray) -> float:
    """The shoelace formula."""
    x_P, y_P = ring.T
    return abs(float(np.dot(x_P, np.roll(y_P, -1)) - np.dot(y_P, np.roll(x_P, -1)))) / 2


def test_qupaths_ellipse_is_the_one_in_the_box_around_its_polygon(tmp_path):
    document = qupath({})
    document["geometry"] = {"type": "Polygon", "isEllipse": True, "coordinates": [SQUARE]}
    (region,) = regions(tmp_path, document)
    assert area(region.rings[0]) == pytest.approx(np.pi * 25, rel=0.01)


def test_points_and_lines_are_left_out_and_counted(tmp_path):
    shapes = [feature("Point", [1, 2]), feature("LineString", [[0, 0], [1, 1]]), feature("Polygon", [SQUARE])]
    assert len(regions(tmp_path, shapes)) == 1 and left_out(tmp_path, shapes) == {"point": 1, "line": 1}


def test_asaps_regions_come_with_their_group(tmp_path):
    first, second = regions(tmp_path, ASAP, "a.xml")
    assert (first.class_name, second.class_name) == ("Tumor", "")
    np.testing.assert_array_equal(first.rings[0], [[1.5, 2], [9, 2], [9, 8]])
    assert len(second.rings[0]) == 4


def test_asaps_groups_may_be_in_groups_and_even_in_circles(tmp_path):
    groups = """<Group Name="_0" PartOfGroup="Tumor"/><Group Name="Tumor" PartOfGroup="Lesions"/>
    <Group Name="Lesions" PartOfGroup="Tumor"/>"""
    text = ASAP.replace('PartOfGroup="Tumor"', 'PartOfGroup="_0"').replace(
        "<AnnotationGroups>", "<AnnotationGroups>" + groups
    )
    first, _ = regions(tmp_path, text, "a.xml")
    assert (first.class_name, first.wider) == ("_0", ("Tumor", "Lesions"))
    assert first.is_one_of(["Lesions"]) and not first.is_one_of(["Stroma"])


def test_asaps_coordinates_stand_in_any_order(tmp_path):
    turned = ASAP.replace('Order="0" X="1.5"', 'Order="7" X="1.5"')
    np.testing.assert_array_equal(regions(tmp_path, turned, "a.xml")[0].rings[0], [[9, 2], [9, 8], [1.5, 2]])


def imagescope(*layers: str) -> str:
    return f'<Annotations MicronsPerPixel="0.25">{"".join(layers)}</Annotations>'


def layer(*some: str, name: str = "", attributes: str = "") -> str:
    head = f'<Annotation Id="1" Name="{name}"><Attributes>{attributes}</Attributes><Regions>'
    return f"{head}{''.join(some)}</Regions></Annotation>"


def region(points: list[list[int]], *, kind: int = 0, negative: int = 0, text: str = "") -> str:
    vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in points)
    return (
        f'<Region Id="1" Type="{kind}" NegativeROA="{negative}" Text="{text}"><Vertices>{vertices}</Vertices></Region>'
    )


@pytest.mark.parametrize(
    ("name", "attributes", "text", "expected"),
    [
        ("Tumor", '<Attribute Name="Description" Id="0" Value="checked"/>', "", "Tumor"),
        ("", '<Attribute Id="0" Name="Tumor" Value=""/>', "", "Tumor"),
        ("", '<Attribute Name="Description" Id="0" Value="Tumor"/>', "", "Tumor"),
        (" ", '<Attribute Name="Description" Id="0" Value=""/>', "Tumor", "Tumor"),
        ("", "", "", ""),
    ],
)
def test_imagescopes_layers_are_classes(tmp_path, name, attributes, text, expected):
    document = imagescope(layer(region(SQUARE, text=text), name=name, attributes=attributes))
    (found,) = regions(tmp_path, document, "a.xml")
    assert found.class_name == expected
    np.testing.assert_array_equal(found.rings[0], SQUARE)


def test_imagescopes_negative_regions_are_cut_out_of_their_own_layer(tmp_path):
    far = [[90, 90], [99, 90], [99, 99]]
    document = imagescope(
        layer(region(HOLE, negative=1), region(SQUARE), region(far), name="Tumor"), layer(region(SQUARE), name="Stroma")
    )
    tumor, elsewhere, stroma = regions(tmp_path, document, "a.xml")
    np.testing.assert_array_equal(tumor.cuts[0], HOLE)
    assert elsewhere.cuts == stroma.cuts == ()


def test_imagescopes_shapes(tmp_path):
    corners = [[0, 0], [10, 20]]
    shapes = [
        region(corners, kind=1),
        region(corners, kind=2),
        region(corners, kind=3),
        region([[5, 5]]),
        region(corners),
    ]
    document = imagescope(layer(*shapes, name="Tumor"))
    rectangle, ellipse = regions(tmp_path, document, "a.xml")
    assert area(rectangle.rings[0]) == 200 and area(ellipse.rings[0]) == pytest.approx(np.pi * 50, rel=0.01)
    assert left_out(tmp_path, document, "a.xml") == {"arrow": 1, "point or line": 2}


def histomics(*elements: dict[str, object], name: str = "") -> dict[str, object]:
    return {"annotation": {"name": name, "elements": list(elements)}}


def closed(**more: object) -> dict[str, object]:
    return {"type": "polyline", "closed": True, "points": [[*point, 0] for point in SQUARE], **more}


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: [one], lambda one: one["annotation"]])
def test_histomicsuis_elements_come_with_their_group_label_or_annotation(tmp_path, wrap):
    document = histomics(
        closed(group="Tumor", label={"value": "left"}),
        closed(group="default", label={"value": "Stroma"}, holes=[[[*point, 0] for point in HOLE]]),
        closed(),
        {"type": "polyline", "points": [[0, 0, 0], [1, 1, 0]], "closed": False},
        {"type": "point", "center": [1, 2, 0]},
        {"type": "pixelmap", "values": []},
        name="Necrosis",
    )
    found = regions(tmp_path, wrap(document), "a.json")
    assert [one.class_name for one in found] == ["Tumor", "Stroma", "Necrosis"]
    assert [len(one.rings) for one in found] == [1, 2, 1]
    assert left_out(tmp_path, wrap(document), "a.json") == {"line": 1, "point": 1, "overlay": 1}


def test_histomicsuis_rectangle_is_turned_from_x_towards_y(tmp_path):
    box = {"center": [10, 20, 0], "width": 8, "height": 2}
    upright = {"type": "rectangle", **box}
    document = histomics(upright, {**upright, "rotation": np.pi / 2}, {**upright, "type": "ellipse", "rotation": 1})
    document["annotation"]["elements"].append({"type": "circle", "center": [0, 0, 0], "radius": 3})
    plain, turned, ellipse, circle = (one.rings[0] for one in regions(tmp_path, document, "a.json"))
    np.testing.assert_allclose([plain.min(axis=0), plain.max(axis=0)], [[6, 19], [14, 21]])
    np.testing.assert_allclose([turned.min(axis=0), turned.max(axis=0)], [[9, 16], [11, 24]])
    np.testing.assert_allclose(turned[0], [11, 16])  # the corner that was at the upper left
    assert area(ellipse) == pytest.approx(np.pi * 4, rel=0.01) and area(circle) == pytest.approx(np.pi * 9, rel=0.01)


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
    "another XML": ("<html></html>", "a.xml", "<html> is not <ASAP_Annotations> (ASAP) or <Annotations>"),
    "COCO": ('{"images": [], "annotations": [], "categories": []}', "a.json", "looks like COCO's, which is not read"),
    "another JSON": ('{"tumours": []}', "a.json", "neither GeoJSON (features) nor HistomicsUI's (elements)"),
    "NDP.view": ("<annotations><ndpviewstate/></annotations>", "a.xml", "looks like NDP.view's, which is not read"),
    "HALO": (
        imagescope(layer('<Region Type="Polygon"><Vertices><V X="1" Y="2"/></Vertices></Region>')),
        "a.xml",
        "looks like HALO's, which is not read",
    ),
    "an element without points": ('{"elements": [{"type": "polyline", "closed": true}]}', "a.json", "element 1: not"),
    "a rectangle without end": (
        '{"elements": [{"type": "rectangle", "center": [0, 0, 0], "width": Infinity, "height": 1}]}',
        "a.json",
        "element 1: not three or more points",
    ),
    "an unknown element": ('{"elements": [{"type": "star"}]}', "a.json", "type 'star' is not one of HistomicsUI's"),
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


KEYS = ["type", "geometry", "coordinates", "properties", "features", "name", "classification", "geometries"]
KEYS += ["elements", "annotation", "points", "center", "width", "height", "closed", "label", "group"]
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=20,
)


KINDS = st.sampled_from(["polyline", "rectangle", "ellipse", "circle", "point", "star"])
ELEMENTS = st.builds(
    lambda kind, said: {"elements": [{**said, "type": kind}]}, KINDS, st.dictionaries(st.sampled_from(KEYS), JSON)
)


@given(document=JSON | st.builds(feature, st.sampled_from(["Polygon", "MultiPolygon", "Point"]), JSON) | ELEMENTS)
def test_nothing_but_a_clear_error_comes_of_any_json(tmp_path_factory, document):
    path = written(tmp_path_factory.mktemp("any"), document)
    try:
        found = read_annotations(path).regions
    except UserError:
        return
    assert all(np.isfinite(ring).all() for one in found for ring in one.rings)


@given(text=st.text(max_size=60))
def test_nothing_but_a_clear_error_comes_of_any_text_called_xml(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "a.xml"
    path.write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(UserError):
        read_annotations(path)
