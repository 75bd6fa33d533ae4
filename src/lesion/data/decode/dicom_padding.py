"""Padding of DICOM: stored values that were not measured, as those outside a scanner's circle (PS3.3, C.7.5.1.1.2).

They are background, so they are shown black, whatever their number, the window and MONOCHROME1 would make of them.
"""

# H, W pixels

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.data.decode.dicom_frame import Layout


@dataclass(frozen=True)
class Padding:
    """The smallest and the largest stored value that are padding."""

    first: int
    last: int
    is_beyond_bits: bool  # it takes more bits than are stored: some scanners write it into the whole word

    def __call__(self, values_HW: NDArray[Any], words_HW: NDArray[Any]) -> NDArray[np.bool_]:
        """Which pixels are padding: by their stored values, or by the unsigned words that hold them."""
        is_padding_HW = (values_HW >= self.first) & (values_HW <= self.last)
        if self.is_beyond_bits:
            numbers_HW = words_HW if self.first >= 0 else words_HW.astype(f"i{words_HW.dtype.itemsize}")
            is_padding_HW |= (numbers_HW >= self.first) & (numbers_HW <= self.last)
        return np.asarray(is_padding_HW)


def padding_of(dataset: Any, layout: Layout, order: str) -> Padding | None:
    """The padding that the header states: PixelPaddingValue, up to PixelPaddingRangeLimit if there is one."""
    value, limit = (_whole(dataset.get(f"PixelPadding{name}"), layout, order) for name in ("Value", "RangeLimit"))
    if value is None:
        return None
    ends = value, value if limit is None else limit
    low = -(2 ** (layout.bits_stored - 1)) if layout.is_signed else 0
    is_beyond = min(ends) < low or max(ends) >= low + 2**layout.bits_stored
    return Padding(min(ends), max(ends), is_beyond)


def _whole(value: Any, layout: Layout, order: str) -> int | None:
    """The number, with a sign as the stored values have it, whatever kind of number the file says; None for none."""
    if isinstance(value, bytes) and len(value) == 2:  # pydicom leaves it so where the file does not state its kind
        value = int(np.frombuffer(value, f"{order}u2")[0])
    if not isinstance(value, int):
        return None
    value %= 2**16  # it has 16 bits, of which pixels of 8 use the lower ones
    num_bits = min(layout.bits_allocated, 16)
    if not layout.is_signed:
        return int(value % 2**num_bits)
    return int((value + 2 ** (num_bits - 1)) % 2**num_bits - 2 ** (num_bits - 1))
