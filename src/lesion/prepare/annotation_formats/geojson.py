"""GeoJSON (RFC 7946): as QuPath writes it, and other programs for it to read.

QuPath's classes: `classification` with `name`, or `names` of a derived class. "Tumor: Positive" is a Tumor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lesion.prepare.regions import LeftOut, Region, Ring, box_around, broken, ellipse_in, ring_of

SHAPES = {"Polygon", "MultiPolygon", "GeometryCollection"}
WITHOUT_AREA = {"Point": "point", "MultiPoint": "point", "LineString": "line", "MultiLineString": "line"}
TYPES = {"Feature", "FeatureCollection"} | SHAPES | set(WITHOUT_AREA)
# What QuPath computed or laid out, and nobody drew; by objectType, and by the id of version 0.2.
NO_ANNOTATIONS = {
    "detection": "detection",
    "cell": "cell",
    "tile": "tile",
    "tma_core": "TMA core",
    "root": "root",
    "PathDetectionObject": "detection",
    "PathCellObject": "cell",
    "PathTileObject": "tile",
    "TMACoreObject": "TMA core",
    "PathRootObject": "root",
}
NOWHERE = "feature without a place"
NOT_A_FEATURE = (KeyError, TypeError, AttributeError)


def is_geojson(document: Any) -> bool:
    """Whether it is an object of GeoJSON, or a list of such."""
    first = document[0] if isinstance(document, list) and document else document
    if not isinstance(first, dict):
        return isinstance(document, list) and not document
    kind = first.get("type")
    return (isinstance(kind, str) and kind in TYPES) or not {"features", "geometry"}.isdisjoint(first)


def read_geojson(document: Any, path: Path) -> list[Region | LeftOut]:
    """The regions of a feature, a collection or a list of them, or of a geometry alone."""
    found: list[Region | LeftOut] = []
    for number, feature in enumerate(_features(document, path), 1):
        name = f"feature {number}"
        try:
            found += _feature(feature, name, path)
        except NOT_A_FEATURE as error:
            why = f"{name}: not a GeoJSON feature with a polygon ({type(error).__name__})"
            raise broken(path, why) from error
    return found


def _features(document: Any, path: Path) -> Iterator[Any]:
    for part in document if isinstance(document, list) else [document]:
        features = part.get("features", [part]) if isinstance(part, dict) else [part]
        if not isinstance(features, list):
            raise broken(path, "no list of features")
        yield from features


def _feature(feature: Any, name: str, path: Path) -> list[Region | LeftOut]:
    if feature.get("type") in SHAPES | set(WITHOUT_AREA):  # a geometry without a feature around it
        feature = {"geometry": feature}
    properties, geometry = feature.get("properties") or {}, feature["geometry"]
    kind = properties.get("objectType") or properties.get("object_type") or feature.get("id")
    if isinstance(kind, str) and kind in NO_ANNOTATIONS:
        return [LeftOut(NO_ANNOTATIONS[kind])]
    if geometry is None:  # RFC 7946: a feature that lies nowhere
        return [LeftOut(NOWHERE)]
    names = _class_names(properties, name, path)
    class_name = ": ".join(names)
    wider = tuple(": ".join(names[:length]) for length in range(len(names) - 1, 0, -1))
    is_ellipse = geometry.get("isEllipse") is True or properties.get("type") in ("ellipse", "circle")
    found: list[Region | LeftOut] = []
    for polygons in _areas(geometry):
        if isinstance(polygons, LeftOut):
            found.append(polygons)
            continue
        rings = [ring_of(ring, name, path) for polygon in polygons for ring in polygon]
        if not rings:
            raise broken(path, f"{name}: a polygon without points")
        if is_ellipse:
            rings = [_ellipse(rings[0], properties)]
        found.append(Region(class_name, tuple(rings), wider))
    return found


def _areas(geometry: Any) -> Iterator[list[Any] | LeftOut]:
    """The polygons of each shape in a geometry, or what it is instead. Not recursive: collections nest without end."""
    waiting = [geometry]
    while waiting:
        shape = waiting.pop()
        kind = shape["type"]
        if kind == "GeometryCollection":
            waiting += reversed(shape["geometries"])
        elif kind in WITHOUT_AREA:
            yield LeftOut(WITHOUT_AREA[kind])
        else:
            coordinates = shape["coordinates"]
            polygons = {"Polygon": [coordinates], "MultiPolygon": coordinates}[kind]
            yield polygons if coordinates != [] else LeftOut(NOWHERE)  # RFC 7946: as null


def _class_names(properties: Mapping[str, Any], name: str, path: Path) -> Sequence[str]:
    """The parts of the class, the widest first; none where it has no class."""
    is_qupaths = {"objectType", "object_type", "classification"} & set(properties)
    said = properties.get("classification")
    if isinstance(said, dict):
        said = said.get("names") or said.get("name")
    elif not is_qupaths:  # HistomicsUI's group and label; a name is a class where no class has a place of its own
        label = properties.get("label")
        said = properties.get("group") or (label.get("value") if isinstance(label, dict) else label)
        said = said or properties.get("name")
    parts = said if isinstance(said, list) else str(said).split(": ") if isinstance(said, str) else [said]
    if not all(part is None or (isinstance(part, str | int | float) and not isinstance(part, bool)) for part in parts):
        raise broken(path, f"{name}: its class is not text")
    return [text for part in parts if part is not None and (text := str(part).strip())]


def _ellipse(ring_P2: Ring, properties: Mapping[str, Any]) -> Ring:
    """The ellipse of which a polygon shows the outline (QuPath) or the rectangle around it (HistomicsUI)."""
    is_rectangle = len(ring_P2) in (4, 5) and properties.get("type") == "ellipse"
    return ellipse_in(ring_P2[:4] if is_rectangle else box_around(ring_P2))
