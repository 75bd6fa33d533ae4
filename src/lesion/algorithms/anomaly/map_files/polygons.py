"""Polygons: the outlines of flagged regions as GeoJSON annotations (RFC 7946), in the form that QuPath opens."""

# H, W pixels

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.anomaly.map_files.positions import Position

CLASS_NAME, COLOUR = "Anomaly", [200, 0, 0]  # of the annotations in QuPath
FINER = 3  # pixels of the drawing a pixel of the flags: a contour runs through pixels' centres, and not along edges
Ring = list[list[float]]


def outlines(is_flagged_HW: NDArray[np.bool_], size: tuple[int, int]) -> list[list[Ring]]:
    """The polygons of the flagged regions of an image of `size` (height, width) in its pixels: for each the outer ring
    and those of its holes, closed, to a third of a pixel of the flags. By their numbers outer rings run
    counterclockwise and holes clockwise (RFC 7946, 3.1.6). No ring touches itself or another one: programs that compute
    with polygons refuse those that do (OGC Simple Features 6.1.11)."""
    fine = is_flagged_HW.astype(np.uint8).repeat(FINER, axis=0).repeat(FINER, axis=1)
    _part_corners(fine, is_flagged_HW)
    contours, hierarchy = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    polygons: dict[int, list[Ring]] = {}
    scale = np.array([size[1] / fine.shape[1], size[0] / fine.shape[0]])
    # Outer rings come with the parent −1; a hole's parent is its outer ring.
    parents = [] if hierarchy is None else hierarchy[0][:, 3].tolist()
    for number in sorted(range(len(contours)), key=lambda one: parents[one] >= 0):
        points = (contours[number].reshape(-1, 2)[::-1] + 0.5) * scale  # OpenCV's run the other way round
        if len(points) >= 3:
            ring = [[round(float(x), 2), round(float(y), 2)] for x, y in [*points, points[0]]]
            polygons.setdefault(number if parents[number] < 0 else parents[number], []).append(ring)
    return list(polygons.values())


def _part_corners(fine: NDArray[np.uint8], is_flagged_HW: NDArray[np.bool_]) -> None:
    """Takes a corner from one of two pixels that touch by a corner alone: a contour would run through it twice."""
    upper, lower = is_flagged_HW[:-1], is_flagged_HW[1:]
    falling = upper[:, :-1] & lower[:, 1:] & ~upper[:, 1:] & ~lower[:, :-1]
    rising = upper[:, 1:] & lower[:, :-1] & ~upper[:, :-1] & ~lower[:, 1:]
    for touch_HW, right in ((falling, -1), (rising, 0)):
        y, x = np.nonzero(touch_HW)
        fine[FINER * (y + 1) - 1, FINER * (x + 1) + right] = 0


def feature(rings: Sequence[Ring], position: Position, *, name: str, score: float) -> dict[str, Any]:
    """One annotation of QuPath, moved to where its image lies on the slide."""
    x, y = position.corner or (0.0, 0.0)
    side = position.downsample
    moved = [[[round(x + side * u, 2), round(y + side * v, 2)] for u, v in ring] for ring in rings]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": moved},
        "properties": {
            "objectType": "annotation",
            "name": name,
            "classification": {"name": CLASS_NAME, "color": COLOUR},
            "measurements": {"Highest anomaly score": round(score, 6)},
        },
    }


def collection(features: Sequence[dict[str, Any]]) -> bytes:
    return (json.dumps({"type": "FeatureCollection", "features": list(features)}, ensure_ascii=False) + "\n").encode()
