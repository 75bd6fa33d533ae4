"""HistomicsUI's JSON, of the Digital Slide Archive: annotations, each with elements.

The schema: https://girder.github.io/large_image/annotations.html
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lesion.prepare.regions import MAX_PX, LeftOut, Region, Ring, broken, ellipse_in, points_of, rectangle, ring_of

WITHOUT_AREA = {"point": "point", "arrow": "arrow", "rectanglegrid": "grid"}
OVERLAYS = {"heatmap", "griddata", "image", "pixelmap"}
NO_GROUP = {None, "", "default"}


def is_histomics(document: Any) -> bool:
    """Whether it is an annotation, as its interface shows it or as its server sends it, or a list of them."""
    first = document[0] if isinstance(document, list) and document else document
    return isinstance(first, dict) and ("elements" in first or "elements" in _annotation(first))


def read_histomics(document: Any, path: Path) -> list[Region | LeftOut]:
    """The regions of all elements, with their group or label as class, or else the annotation's name."""
    found: list[Region | LeftOut] = []
    for part in document if isinstance(document, list) else [document]:
        annotation = part if isinstance(part, dict) and "elements" in part else _annotation(part)
        elements = annotation.get("elements")
        if not isinstance(elements, list):
            raise broken(path, "no list of elements")
        for number, element in enumerate(elements, 1):
            name = f"element {number}"
            try:
                found.append(_element(element, annotation, name, path))
            except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
                why = f"{name}: not an element of HistomicsUI ({type(error).__name__})"
                raise broken(path, why) from error
    return found


def _annotation(part: Any) -> Mapping[str, Any]:
    annotation = part.get("annotation") if isinstance(part, dict) else None
    return annotation if isinstance(annotation, dict) else {}


def _element(element: Any, annotation: Mapping[str, Any], name: str, path: Path) -> Region | LeftOut:
    kind = element["type"]
    if kind in WITHOUT_AREA:
        return LeftOut(WITHOUT_AREA[kind])
    if kind in OVERLAYS:
        return LeftOut("overlay")
    if kind == "polyline":
        if not element.get("closed"):
            return LeftOut("line")
        rings = [ring_of(ring, name, path) for ring in (element["points"], *(element.get("holes") or ()))]
    elif kind in ("rectangle", "ellipse", "circle"):
        corners = _corners(element, name, path)
        rings = [corners if kind == "rectangle" else ellipse_in(corners)]
    else:
        raise broken(path, f"{name}: type '{str(kind)[:80]}' is not one of HistomicsUI's")
    return Region(_class_name(element, annotation, name, path), tuple(rings))


def _corners(element: Mapping[str, Any], name: str, path: Path) -> Ring:
    """A rectangle, or the one around an ellipse or a circle; `rotation` is in radians, from x towards y."""
    is_circle = element["type"] == "circle"
    width, height = (2 * element["radius"],) * 2 if is_circle else (element["width"], element["height"])
    if not 0 <= max(width, height) < MAX_PX:
        raise broken(path, f"{name}: not three or more points with x and y in pixels, below {MAX_PX:,.0f}")
    angle = float(element.get("rotation") or 0)
    along = np.array([math.cos(angle), math.sin(angle)])
    across = np.array([-math.sin(angle), math.cos(angle)])
    (centre,) = points_of([element["center"]], name, path)
    return ring_of(rectangle(centre, width / 2 * along, height / 2 * across).tolist(), name, path)


def _class_name(element: Mapping[str, Any], annotation: Mapping[str, Any], name: str, path: Path) -> str:
    label = element.get("label")
    said = [element.get("group"), label.get("value") if isinstance(label, dict) else label, annotation.get("name")]
    words = [word for word in said if not isinstance(word, str | None) or word not in NO_GROUP]
    if not all(isinstance(word, str | int | float) for word in words):
        raise broken(path, f"{name}: its class is not text")
    return str(words[0]).strip() if words else ""
