"""Annotations: polygons drawn on a slide, read from QuPath's GeoJSON or ASAP's XML.

Coordinates are pixels of level 0. Points and lines have no area and are left out, which the log says.
"""

# P points

from __future__ import annotations

import json
import logging
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.data.reading import MIB, file_text, parse_json
from lesion.errors import UserError

log = logging.getLogger(__name__)

EXPORT = "Export it again, as GeoJSON from QuPath or as XML from ASAP."
MAX_BYTES = 256 * MIB
MAX_POINTS = 5_000_000  # of a file: 1 GB once they are taken apart
MAX_PX = 4e6  # of a coordinate: 256 parts of a pixel, from one end to the other, are numbers of 32 bits
SUFFIXES = {".geojson", ".json", ".xml"}
WITHOUT_AREA = {"Point", "MultiPoint", "LineString", "MultiLineString", "Dot", "PointSet"}
ASAP_AREAS = {"Polygon", "Rectangle", "Spline"}  # a spline's points are so dense that a polygon is the same


@dataclass(frozen=True)
class Region:
    """One annotation: its class ("" where it has none), and closed rings [P, 2] of x and y, the first its outline.

    A point is inside where an odd number of rings go round it: further rings are holes.
    """

    class_name: str
    rings: tuple[NDArray[np.float64], ...]


def read_annotations(path: Path) -> list[Region]:
    """The regions in a file, in its order. Raises UserError with file and line, or annotation, where it is broken."""
    text = file_text(path, "the annotation file cannot be read", do=EXPORT, max_bytes=MAX_BYTES)
    opening = "<" if path.suffix.lower() == ".xml" else "["
    if text.count(opening) > MAX_POINTS:  # each becomes some hundred bytes when it is taken apart
        raise _broken(path, f"more than {MAX_POINTS:,} points")
    regions = _asap(text, path) if path.suffix.lower() == ".xml" else _geojson(text, path)
    found = [region for region in regions if region is not None]
    if left_out := len(regions) - len(found):
        log.warning("annotations=%s points_and_lines_left_out=%d", path, left_out)
    return found


def _geojson(text: str, path: Path) -> list[Region | None]:
    """RFC 7946, as QuPath writes it: a FeatureCollection, a list of features or one feature."""
    try:
        document = parse_json(text)
    except json.JSONDecodeError as error:
        raise _broken(path, f"line {error.lineno}: {error.msg}") from error
    except ValueError as error:
        raise _broken(path, str(error)) from error
    features = document.get("features", [document]) if isinstance(document, dict) else document
    if not isinstance(features, list):
        raise _broken(path, "no list of features")
    return [_feature(feature, f"feature {number}", path) for number, feature in enumerate(features, 1)]


def _feature(feature: Any, name: str, path: Path) -> Region | None:
    try:
        properties, geometry = feature.get("properties") or {}, feature["geometry"]
        class_name = (properties.get("classification") or {}).get("name") or properties.get("name") or ""
        kind = geometry["type"]
        if kind in WITHOUT_AREA:
            return None
        polygons = {"Polygon": lambda rings: [rings], "MultiPolygon": list}[kind](geometry["coordinates"])
        rings = [_ring(ring, name, path) for polygon in polygons for ring in polygon]
    except (KeyError, TypeError, AttributeError) as error:
        raise _broken(path, f"{name}: not a GeoJSON feature with a polygon ({type(error).__name__})") from error
    if not rings:
        raise _broken(path, f"{name}: a polygon without points")
    if not isinstance(class_name, str | int | float):
        raise _broken(path, f"{name}: its class is not text")
    return Region(str(class_name), tuple(rings))


def _asap(text: str, path: Path) -> list[Region | None]:
    """ASAP's XML, as Camelyon ships it. https://computationalpathologygroup.github.io/ASAP/"""
    try:
        root = ET.fromstring(text)  # noqa: S314  expat bounds by itself what entities may grow to (since 2.4.1)
    except ET.ParseError as error:
        raise _broken(path, f"line {error.position[0]}: {error}") from error
    if root.tag != "ASAP_Annotations":
        raise _broken(path, f"<{root.tag[:80]}> is not <ASAP_Annotations>")
    return [_asap_region(one, path) for one in root.iter("Annotation")]


def _asap_region(annotation: ET.Element, path: Path) -> Region | None:
    name, kind = f"annotation '{annotation.get('Name', '')[:80]}'", annotation.get("Type")
    if kind in WITHOUT_AREA:
        return None
    if kind not in ASAP_AREAS:
        allowed = ", ".join(sorted(ASAP_AREAS | WITHOUT_AREA))
        raise _broken(path, f"{name}: type '{str(kind)[:80]}' is not one of {allowed}")
    ring = _ring([[point.get("X"), point.get("Y")] for point in annotation.iter("Coordinate")], name, path)
    class_name = annotation.get("PartOfGroup") or ""
    return Region("" if class_name == "None" else class_name, (ring,))


def _ring(points: Sequence[Any], name: str, path: Path) -> NDArray[np.float64]:
    try:
        ring_P2 = np.array([point[:2] for point in points], dtype=np.float64)
    except (TypeError, ValueError, KeyError, OverflowError, RecursionError) as error:
        raise _broken(path, f"{name}: a coordinate that is not a pair of numbers") from error
    if ring_P2.ndim != 2 or len(ring_P2) < 3 or ring_P2.shape[1] != 2 or not np.abs(ring_P2).max() < MAX_PX:
        raise _broken(path, f"{name}: not three or more points with x and y in pixels, below {MAX_PX:,.0f}")
    return ring_P2


def _broken(path: Path, why: str) -> UserError:
    return UserError(
        f"the annotation file cannot be read: {why}",
        where=path,
        do=EXPORT,
    )
