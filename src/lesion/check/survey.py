"""Survey: every picture of a source decoded once, and what the check needs to know of each."""

# C red, green, blue · S samples

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lesion.check.duplicates import Fingerprint, fingerprint
from lesion.data.images import Pixels
from lesion.data.table import Source
from lesion.errors import UserError

CELLS = 16  # on a side of the squeezed picture; the outermost ring of cells is its border
BLANK = 2.0  # grey levels of deviation: below it there is nothing to be seen


@dataclass(frozen=True)
class Look:
    """What one picture looks like from afar."""

    width_px: int
    height_px: int
    mean_C: tuple[float, float, float]  # colours in 0 to 255
    border_C: tuple[float, float, float]
    deviation: float  # of its brightness, in grey levels
    print_: Fingerprint

    @property
    def is_blank(self) -> bool:
        return self.deviation < BLANK


def look(image_HWC: Pixels) -> Look:
    """What a picture (uint8 RGB) looks like."""
    cells_HWC = cv2.resize(image_HWC, (CELLS, CELLS), interpolation=cv2.INTER_AREA).astype(np.float64)
    is_border_HW = np.ones((CELLS, CELLS), dtype=bool)
    is_border_HW[1:-1, 1:-1] = False
    height_px, width_px = image_HWC.shape[:2]
    print_ = fingerprint(image_HWC)
    return Look(
        width_px,
        height_px,
        _colour(cells_HWC.reshape(-1, 3)),
        _colour(cells_HWC[is_border_HW]),
        float(print_.thumbnail_TT.std()),
        print_,
    )


def survey(
    source: Source, *, num_workers: int, bar: tqdm[Any], keep: Callable[[int, Pixels], None] | None = None
) -> list[Look | UserError]:
    """A look at each picture in the order of the table, or the error that says why it cannot be read.

    `keep` is given each picture that could be read and its row, by several threads at once: a picture is decoded once.
    """

    def look_at(index: int) -> Look | UserError:
        try:
            image_HWC = source.read(index)
        except UserError as error:
            return error
        if keep is not None:
            keep(index, image_HWC)
        return look(image_HWC)

    looks = []
    with ThreadPoolExecutor(max(num_workers, 1)) as pool:
        for found in pool.map(look_at, range(len(source.table()))):
            looks.append(found)
            bar.update()
    return looks


def plain_features(looks: Sequence[Look]) -> dict[str, NDArray[np.float64]]:
    """What a network could go by without looking at what is shown: for each word of it a few numbers a picture [S, n].

    Sizes are taken as logarithms.
    """
    return {
        "size": np.log([[look.width_px, look.height_px] for look in looks]),
        "border": np.array([look.border_C for look in looks]),
        "mean colour": np.array([look.mean_C for look in looks]),
    }


def _colour(cells_NC: NDArray[np.float64]) -> tuple[float, float, float]:
    red, green, blue = cells_NC.mean(axis=0).tolist()
    return (red, green, blue)
