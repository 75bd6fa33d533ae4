"""ASAP's XML, as Camelyon ships it. https://computationalpathologygroup.github.io/ASAP/"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path

from lesion.prepare.regions import LeftOut, Region, broken, ring_of

ROOT = "ASAP_Annotations"
AREAS = {"Polygon", "Rectangle", "Spline"}  # a spline's points are so dense that a polygon is the same
WITHOUT_AREA = {"Dot": "point", "PointSet": "point", "Measurement": "line"}
NO_GROUP = {"", "None"}


def read_asap(root: ET.Element, path: Path) -> list[Region | LeftOut]:
    """The regions, with their groups as classes. A group may be part of another."""
    parents: dict[str, str] = {}
    for group in root.iter("Group"):
        parents.setdefault(_name(group.get("Name")), _name(group.get("PartOfGroup")))
    return [_region(one, parents, path) for one in root.iter("Annotation")]


def _region(annotation: ET.Element, parents: Mapping[str, str], path: Path) -> Region | LeftOut:
    name, kind = f"annotation '{annotation.get('Name', '')[:80]}'", annotation.get("Type")
    if kind in WITHOUT_AREA:
        return LeftOut(WITHOUT_AREA[kind])
    if kind not in AREAS:
        allowed = ", ".join(sorted(AREAS | set(WITHOUT_AREA)))
        raise broken(path, f"{name}: type '{str(kind)[:80]}' is not one of {allowed}")
    points = [[point.get("X"), point.get("Y")] for point in _in_order(list(annotation.iter("Coordinate")))]
    class_name = _name(annotation.get("PartOfGroup"))
    return Region(class_name, (ring_of(points, name, path),), _groups_of(class_name, parents))


def _in_order(coordinates: Sequence[ET.Element]) -> Sequence[ET.Element]:
    """By their Order, as ASAP reads them; as they stand in the file where a number is missing."""
    numbers = [point.get("Order", "") for point in coordinates]
    if not all(number.isdecimal() and len(number) < 10 for number in numbers):
        return coordinates
    return sorted(coordinates, key=lambda point: int(point.get("Order", "")))


def _groups_of(class_name: str, parents: Mapping[str, str]) -> tuple[str, ...]:
    """The group's group, and its group; each once, should they go round in a circle."""
    wider = [class_name]
    while (parent := parents.get(wider[-1], "")) and parent not in wider:
        wider.append(parent)
    return tuple(wider[1:])


def _name(text: str | None) -> str:
    return "" if (stripped := (text or "").strip()) in NO_GROUP else stripped
