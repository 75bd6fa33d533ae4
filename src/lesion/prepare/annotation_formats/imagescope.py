"""ImageScope's XML (Aperio, Leica): layers of regions, a layer for each class."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from lesion.prepare.regions import LeftOut, Region, Ring, box_around, broken, ellipse_in, points_of

ROOT = "Annotations"
POLYGON, RECTANGLE, ELLIPSE = "0", "1", "2"
WITHOUT_AREA = {"3": "arrow", "4": "ruler", "5": "point"}
DESCRIPTION = "Description"  # the attribute that each layer has; its value is the user's text


def read_imagescope(root: ET.Element, path: Path) -> list[Region | LeftOut]:
    """The regions of all layers. A region with NegativeROA is cut out of those of its own layer."""
    return [one for layer in root.iter("Annotation") for one in _layer(layer, path)]


def _layer(layer: ET.Element, path: Path) -> list[Region | LeftOut]:
    class_name = _class_name(layer)
    shapes: list[tuple[str, Ring]] = []
    found: list[Region | LeftOut] = []
    cuts: list[Ring] = []
    for region in layer.iter("Region"):
        ring_P2 = _ring(region, path)
        if isinstance(ring_P2, LeftOut):
            found.append(ring_P2)
        elif region.get("NegativeROA", "0").strip() not in ("0", ""):
            cuts.append(ring_P2)
        else:
            shapes.append((class_name or region.get("Text", "").strip(), ring_P2))
    return found + [
        Region(name, (ring_P2,), cuts=tuple(cut for cut in cuts if _overlap(cut, ring_P2))) for name, ring_P2 in shapes
    ]


def _class_name(layer: ET.Element) -> str:
    """The layer's name, or else that of an attribute of it, or else its description."""
    attributes = layer.findall("Attributes/Attribute")
    said = [layer.get("Name"), *(one.get("Name") for one in attributes), *(one.get("Value") for one in attributes)]
    words = [text.strip() for text in said if text]
    return next((word for word in words if word not in ("", DESCRIPTION)), "")


def _ring(region: ET.Element, path: Path) -> Ring | LeftOut:
    name, kind = f"region {region.get('Id', '')[:20]}", region.get("Type", POLYGON).strip()
    if kind in WITHOUT_AREA:
        return LeftOut(WITHOUT_AREA[kind])
    if kind not in (POLYGON, RECTANGLE, ELLIPSE):
        raise broken(path, f"{name}: type '{kind[:80]}' is not one of ImageScope's, 0 to 5")
    points_P2 = points_of([[point.get("X"), point.get("Y")] for point in region.iter("Vertex")], name, path)
    if len(points_P2) < 2 or not np.ptp(points_P2, axis=0).all():  # a click, or a line
        return LeftOut("point or line")
    if kind == ELLIPSE:
        return ellipse_in(box_around(points_P2))
    if len(points_P2) == 2:  # two corners, or a line
        return box_around(points_P2) if kind == RECTANGLE else LeftOut("point or line")
    return points_P2


def _overlap(one_P2: Ring, other_P2: Ring) -> bool:
    """Whether the boxes around two rings overlap."""
    return bool(
        (one_P2.min(axis=0) <= other_P2.max(axis=0)).all() and (other_P2.min(axis=0) <= one_P2.max(axis=0)).all()
    )
