"""Seen: which places of a scorer's square an image fills. The others are the bars that fit=pad puts beside it, and no
part of the image: they count for no score, share or threshold. Needs NumPy alone."""

# S images · h, w places of a map

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesion.geometry import Fit

if TYPE_CHECKING:  # it needs pandas
    from lesion.data.table import Readable


def seen_hw(size: Sequence[int], fit: Fit, height: int, width: int) -> NDArray[np.bool_]:
    """The places [height, width] whose centres lie in an image of this `size`, its height and width; of one that is
    narrower than a place those in the middle."""
    if fit != "pad":
        return np.ones((height, width), dtype=bool)
    is_seen_h, is_seen_w = (
        # Of the square's side, measured from its middle.
        np.abs((np.arange(num) + 0.5) / num - 0.5) <= max(side / max(size), 1 / num) / 2 + 1e-9
        for side, num in zip(size, (height, width), strict=True)
    )
    return is_seen_h[:, None] & is_seen_w


def sizes_of(source: Readable, rows: NDArray[np.intp], *, num_workers: int) -> NDArray[np.intp]:
    """Height and width [S, 2] of the images of these rows, each of which is read."""
    with ThreadPoolExecutor(max(num_workers, 1)) as threads:
        return np.array(list(threads.map(lambda row: source.read(row).shape[:2], rows.tolist())), dtype=np.intp)
