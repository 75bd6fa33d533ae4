"""Survey: decodes every picture of a source once, and computes the image statistics that the check uses."""

# C red, green, blue · S samples

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lesion.check.fingerprints import AnyFingerprint, FingerprintFile, fingerprint
from lesion.data.decode.frames import noting
from lesion.data.decode.images import Pixels
from lesion.data.quality.image_quality import Surveyed, surveyed
from lesion.data.table import Source
from lesion.errors import UserError
from lesion.read_ahead import read_ahead

CELLS = 16  # on a side of the squeezed picture; the outermost ring of cells is its border
BLANK = 2.0  # grey levels of deviation: below it there is nothing to be seen


@dataclass(frozen=True)
class ImageStats:
    """Image statistics: size, mean and border colour, contrast, and the fingerprint that copies are found by."""

    width_px: int
    height_px: int
    mean_C: tuple[float, float, float]  # colours in 0 to 255
    border_C: tuple[float, float, float]
    deviation: float  # of its brightness, in grey levels
    print_: AnyFingerprint
    has_more_frames: bool = False  # the file holds others than the one that is read
    is_dim: bool = False  # 16 bits a sample, of which the upper ones are not used
    has_more_channels: bool = False  # beside the colours that are read
    measures: Surveyed | None = None

    @property
    def is_blank(self) -> bool:
        return self.deviation < BLANK


def image_stats(image_HWC: Pixels, size_px: tuple[int, int] | None = None) -> ImageStats:
    """The statistics of one picture (uint8 RGB), which was `size_px` (height, width) large before it was decoded."""
    cells_HWC = cv2.resize(image_HWC, (CELLS, CELLS), interpolation=cv2.INTER_AREA).astype(np.float64)
    is_border_HW = np.ones((CELLS, CELLS), dtype=bool)
    is_border_HW[1:-1, 1:-1] = False
    height_px, width_px = image_HWC.shape[:2] if size_px is None else size_px
    print_ = fingerprint(image_HWC)
    return ImageStats(
        width_px,
        height_px,
        _colour(cells_HWC.reshape(-1, 3)),
        _colour(cells_HWC[is_border_HW]),
        float(print_.thumbnail_TT.std()),
        print_,
    )


def survey(
    source: Source, *, num_workers: int, bar: tqdm[Any], keep: Callable[[int, Pixels], None] | None = None
) -> list[ImageStats | UserError]:
    """The statistics of each picture in the order of the table, or the error that says why it cannot be read.

    `keep(row, picture)` is called for each readable picture, from several threads at once, so that each picture is
    decoded only once.
    """

    prints = FingerprintFile()

    def measure(index: int) -> ImageStats | UserError:
        try:
            with noting() as noted:
                image_HWC = source.read(index)
        except UserError as error:
            return error
        if keep is not None:
            keep(index, image_HWC)
        stats = image_stats(image_HWC, noted.size_px)
        return replace(
            stats,
            print_=prints.keep(index, stats.print_),
            has_more_frames=noted.has_more,
            is_dim=noted.is_dim,
            has_more_channels=noted.has_more_channels,
            measures=surveyed(image_HWC, noted.size_px),
        )

    stats_S = []
    for found in read_ahead(measure, range(len(source.table())), num_threads=num_workers):
        stats_S.append(found)
        bar.update()
    return stats_S


def plain_features(stats_S: Sequence[ImageStats]) -> dict[str, NDArray[np.float64]]:
    """Shortcut features, which say nothing of what is shown: for each name of one a few numbers a picture [S, n].

    Sizes are taken as logarithms.
    """
    return {
        "size": np.log([[stats.width_px, stats.height_px] for stats in stats_S]),
        "border": np.array([stats.border_C for stats in stats_S]),
        "mean colour": np.array([stats.mean_C for stats in stats_S]),
    }


def _colour(cells_NC: NDArray[np.float64]) -> tuple[float, float, float]:
    red, green, blue = cells_NC.mean(axis=0).tolist()
    return (red, green, blue)
