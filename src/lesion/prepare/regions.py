"""Regions: areas that a person drew on a slide, with their class. What each annotation format is read into.

Coordinates are pixels of level 0. What has no area, or is no annotation, is left out by its kind.
"""

# P points

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.errors import UserError

Ring = NDArray[np.float64]

MAX_PX = 4e6  # of a coordinate: 256 parts of a pixel, from one end to the other, are numbers of 32 bits
ELLIPSE_POINTS = 72  # one every 5 degrees: within a thousandth of the radius
EXPORT = "Export it again: from QuPath as GeoJSON, from ASAP or ImageScope as XML, from HistomicsUI as JSON."


@dataclass(frozen=True)
class Region:
    """One area: its class ("" where it has none), and closed rings [P, 2] of x and y, the first its outline.

    A point is inside where an odd number of rings go round it: further rings are holes.
    """

    class_name: str
    rings: tuple[Ring, ...]
    wider: tuple[str, ...] = ()  # the classes that its class belongs to: Tumor of "Tumor: Positive", a group's groups
    cuts: tuple[Ring, ...] = ()  # what is cut out of the rings, wherever it lies

    def is_one_of(self, class_names: Sequence[str]) -> bool:
        return self.class_name in class_names or not set(self.wider).isdisjoint(class_names)


@dataclass(frozen=True)
class LeftOut:
    """Something in an annotation file that is no region, by its kind: "point", "cell"."""

    kind: str


@dataclass(frozen=True)
class Annotations:
    """A file's regions in its order, and how many of what else it holds."""

    regions: tuple[Region, ...]
    left_out: Counter[str]

    @classmethod
    def of(cls, found: Sequence[Region | LeftOut]) -> Annotations:
        regions = tuple(one for one in found if isinstance(one, Region))
        return cls(regions, Counter(one.kind for one in found if isinstance(one, LeftOut)))


def ring_of(points: Sequence[Any], name: str, path: Path) -> Ring:
    """The points as a ring [P, 2]; further coordinates, such as z, are dropped.

    Raises UserError that says `name` for fewer than three points, and for what is not x and y in pixels.
    """
    ring_P2 = points_of(points, name, path)
    if len(ring_P2) < 3:
        raise broken(path, f"{name}: not three or more points with x and y in pixels, below {MAX_PX:,.0f}")
    return ring_P2


def points_of(points: Sequence[Any], name: str, path: Path) -> Ring:
    """The points [P, 2], any number of them. Raises UserError for what is not x and y in pixels."""
    try:
        points_P2 = np.array([point[:2] for point in points], dtype=np.float64)
    except (TypeError, ValueError, KeyError, OverflowError, RecursionError) as error:
        raise broken(path, f"{name}: a coordinate that is not a pair of numbers") from error
    if len(points_P2) == 0:
        return points_P2.reshape(0, 2)
    if points_P2.ndim != 2 or points_P2.shape[1] != 2 or not np.abs(points_P2).max() < MAX_PX:
        raise broken(path, f"{name}: not three or more points with x and y in pixels, below {MAX_PX:,.0f}")
    return points_P2


def rectangle(centre: Ring, half_width: Ring, half_height: Ring) -> Ring:
    """The corners [4, 2] of a rectangle by its centre [2] and its half sides as vectors [2], so that it may be turned.

    The first side goes along `half_width`.
    """
    corners: Ring = centre + np.array(
        [-half_width - half_height, half_width - half_height, half_width + half_height, half_height - half_width]
    )
    return corners


def ellipse_in(corners: Ring) -> Ring:
    """The ellipse [P, 2] that touches the sides of a rectangle [4, 2], which may be turned."""
    half_width, half_height = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angle_P1 = np.linspace(0, 2 * np.pi, ELLIPSE_POINTS, endpoint=False)[:, None]
    ring_P2: Ring = corners.mean(axis=0) + np.cos(angle_P1) * half_width + np.sin(angle_P1) * half_height
    return ring_P2


def box_around(points_P2: Ring) -> Ring:
    """The corners [4, 2] of the upright rectangle around the points."""
    low, high = points_P2.min(axis=0), points_P2.max(axis=0)
    half_width, half_height = (high - low) / 2 * np.eye(2)
    return rectangle((low + high) / 2, half_width, half_height)


def broken(path: Path, why: str, *, do: str = EXPORT) -> UserError:
    return UserError(f"the annotation file cannot be read: {why}", where=path, do=do)
