"""Grey values of DICOM: from what is stored to what is measured, and from there to brightness (PS3.3, C.11.1, C.11.2).

Rescale and window stand in the frame's functional group, in the group that all frames share, or beside the pixels: the
first place that has a valid one counts. A window or table that is empty or cannot be is as none.
"""

# H, W pixels

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.data.decode.dicom_tables import LookupTable, Unreadable, sequence_table

# The narrowest window of each function: in C.11.2.1.2 for the linear one, else any above 0.
NARROWEST = {"LINEAR": 1.0, "LINEAR_EXACT": 0.0, "SIGMOID": 0.0}


@dataclass(frozen=True)
class Window:
    """A range of measured values that is shown from black to white."""

    centre: float
    width: float
    function: str  # of NARROWEST

    def __call__(self, measured_HW: NDArray[Any]) -> NDArray[np.float64]:
        """The share of full brightness, 0 to 1."""
        x_HW = measured_HW.astype(np.float64)
        if self.function == "SIGMOID":
            return np.asarray(1 / (1 + np.exp(np.clip(-4 * (x_HW - self.centre) / self.width, -700, 700))))
        half = 0.5 if self.function == "LINEAR" else 0.0
        centre, width = self.centre - half, self.width - 2 * half
        if width == 0:
            return np.asarray(x_HW > centre, dtype=np.float64)
        return np.clip((x_HW - centre) / width + 0.5, 0, 1)


@dataclass(frozen=True)
class GreyScale:
    """How a frame's stored values become brightness."""

    slope: float
    intercept: float
    modality: LookupTable | None
    voi: Window | LookupTable | None
    stored_range: tuple[int, int]  # the smallest and the largest value that can be stored

    @property
    def has_known_ends(self) -> bool:
        """Whether black and white are known without the frame: by a window or table, or as 8 bits are shown whole."""
        return self.voi is not None or (self.modality is None and self.stored_range[1] - self.stored_range[0] < 256)

    def shown(self, stored_HW: NDArray[Any], ends: tuple[float, float]) -> NDArray[np.float64]:
        """The share of full brightness, 0 to 1; `ends` are black's and white's measured values without a window."""
        measured_HW = self._measured(stored_HW)
        if isinstance(self.voi, Window):
            return self.voi(measured_HW)
        if self.voi is not None:
            return np.asarray(self.voi(measured_HW) / (2**self.voi.bits - 1), dtype=np.float64)
        low, high = ends
        return np.clip((measured_HW.astype(np.float64) - low) / max(high - low, 1e-12), 0, 1)

    def ends(self, strips: Iterable[NDArray[Any]]) -> tuple[float, float]:
        """The measured values shown as black and white without a window: a frame's smallest and largest; or of up to
        8 bits those of all values that can be stored. `strips` are the frame's values in parts, without its padding.
        """
        if self.has_known_ends:
            first, last = self._measured(np.array(self.stored_range)).tolist() if self.voi is None else (0.0, 1.0)
            return min(first, last), max(first, last)
        ends = [end for strip in strips for end in self._ends_of(strip)]
        return (min(ends), max(ends)) if ends else (0.0, 1.0)  # there is nothing but padding

    def _measured(self, stored_HW: NDArray[Any]) -> NDArray[Any]:
        if self.modality is not None:
            return self.modality(stored_HW)
        if (self.slope, self.intercept) == (1.0, 0.0):
            return stored_HW
        return np.asarray(stored_HW.astype(np.float64) * self.slope + self.intercept)

    def _ends_of(self, stored: NDArray[Any]) -> list[float]:
        if not stored.size:
            return []
        measured = self._measured(stored)
        return [float(measured.min()), float(measured.max())]


def grey_scale(dataset: Any, groups: Sequence[Any], *, order: str, bits: int, is_signed: bool) -> GreyScale:
    """The grey scale of a frame. `groups` are its own functional group and the shared one, where they are there.

    `bits` and `is_signed` are of the stored values. Raises Unreadable for numbers that are none, and broken tables.
    """
    low = -(2 ** (bits - 1)) if is_signed else 0
    stored_range = low, low + 2**bits - 1
    modality = sequence_table(dataset, "ModalityLUTSequence", order, is_signed=is_signed)
    slope, intercept = next(_rescales([*_within(groups, "PixelValueTransformationSequence"), dataset]), (1.0, 0.0))
    is_negative = modality is None and min(end * slope + intercept for end in stored_range) < 0
    places = [*_within(groups, "FrameVOILUTSequence"), dataset]
    tables = (sequence_table(place, "VOILUTSequence", order, is_signed=is_negative) for place in places)
    voi = next(_windows(places), None) or next((table for table in tables if table is not None), None)
    return GreyScale(slope, intercept, modality, voi, stored_range)


def _within(groups: Sequence[Any], name: str) -> Iterator[Any]:
    """The first item of the sequence `name` in each functional group that has one."""
    for group in groups:
        if items := group.get(name):
            yield items[0]


def _rescales(places: Sequence[Any]) -> Iterator[tuple[float, float]]:
    for place in places:
        slopes, intercepts = numbers(place, "RescaleSlope"), numbers(place, "RescaleIntercept")
        slope = slopes[0] if slopes else None
        intercept = intercepts[0] if intercepts else None
        if (slope, intercept) != (None, None) and slope != 0:
            yield 1.0 if slope is None else slope, 0.0 if intercept is None else intercept


def _windows(places: Sequence[Any]) -> Iterator[Window]:
    """The valid windows of each place, in the order of the file."""
    for place in places:
        function = str(place.get("VOILUTFunction") or "LINEAR").strip().upper()
        for centre, width in zip(numbers(place, "WindowCenter"), numbers(place, "WindowWidth"), strict=False):
            if centre is None or width is None:
                continue
            if function not in NARROWEST:
                raise Unreadable(f"DICOM whose VOILUTFunction is {function[:40]!a}")
            if width >= NARROWEST[function] and width > 0:
                yield Window(centre, width, function)


def numbers(dataset: Any, name: str) -> list[float | None]:
    """The element's numbers; None for those that are empty or not finite. Raises Unreadable for words."""
    try:
        value = dataset.get(name)
        values = [] if value is None else [value] if isinstance(value, str | float | int) else list(value)
        found = [None if one is None or not str(one).strip() else float(one) for one in values]
    except (TypeError, ValueError) as error:
        raise Unreadable(f"DICOM whose {name} is no number") from error
    return [one if one is not None and math.isfinite(one) else None for one in found]
