"""Masks: which pixels of an image are anomalous, from the files that a column names, in the square that is scored."""

# S rows · H, W pixels · Q pixels a side of the judged square

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from lesion.algorithms.anomaly.config import AnomalyConfig
from lesion.check.finding import Part
from lesion.data.table import SampleTable, Source
from lesion.data.transforms import Preprocess, fitted
from lesion.errors import UserError, collecting, raise_all

DECODED_AT = (1, 2, 4, 8)  # parts of a JPEG's sides, rounded up
JUDGED_PX = 64  # a side of the square in which pixels are judged: finer than any map


def mask_paths(
    table: SampleTable, config: AnomalyConfig, channels: Mapping[str, Path], *, part: Part
) -> dict[int, Path]:
    """The mask's path of each row that has one, by its number: below the folder of the channel that the row is from.
    Raises UserError where the column that the user named is missing."""
    others = table.others
    if others is None or config.mask_column not in others.columns:
        if "mask_column" not in config.model_fields_set:
            return {}
        what = f"column '{config.mask_column}' not found, which mask_column names"
        raise UserError(what, where=table.where, do="Correct mask_column, or leave it out.")
    cells = others[config.mask_column].fillna("").astype(str).str.strip().tolist()
    own = channels.get(part, channels.get("training", Path()))
    of_valid = channels.get("validation", own)
    is_valid_S = np.zeros(len(table), dtype=bool) if table.is_valid_S is None else table.is_valid_S
    return {row: (of_valid if is_valid_S[row] else own) / cell for row, cell in enumerate(cells) if cell}


def read_masks(
    paths: Mapping[int, Path], rows: Iterable[int], source: Source, preprocess: Preprocess
) -> dict[int, NDArray[np.bool_]]:
    """Which pixels of the judged square [Q, Q] are anomalous, of those of the rows that have a mask.

    Raises one UserError for all masks that cannot be read or do not have the size of their image.
    """
    found, problems = {}, list[UserError]()
    for row in rows:
        if row in paths:
            with collecting(problems):
                found[row] = _judged_square(read_mask(paths[row]), source.read(row).shape[:2], preprocess, paths[row])
    raise_all(problems)
    return found


def _judged_square(
    mask_HW: NDArray[np.bool_], size: tuple[int, ...], preprocess: Preprocess, path: Path
) -> NDArray[np.bool_]:
    """The mask as the image is fitted into its square. A large JPEG was decoded at a half, a quarter or an eighth."""
    if not any(tuple(-(-side // part) for side in mask_HW.shape) == tuple(size) for part in DECODED_AT):
        (height, width), (own_height, own_width) = size, mask_HW.shape
        raise UserError(
            f"the mask has {own_width} × {own_height} pixels, and its image {width} × {height}",
            where=path,
            do="Give a mask of the image's size.",
        )
    grey_HWC = np.repeat(np.where(mask_HW, 255, 0).astype(np.uint8)[..., None], 3, axis=2)
    return np.asarray(fitted(grey_HWC, JUDGED_PX, preprocess.fit)[..., 0] >= 128)


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Where a mask is above 0 [H, W], as its numbers are stored: 1 of a palette and 255 of grey both count, and how
    opaque a pixel is does not.

    Raises UserError for what is no picture.
    """
    try:
        with Image.open(path) as image:
            values, has_alpha = np.asarray(image), image.getbands()[-1] in ("A", "a")
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
        raise UserError("the mask cannot be read as a picture", where=path, do="Replace it by a PNG.") from error
    if values.ndim == 3:
        values = values[..., :-1].max(axis=2) if has_alpha else values.max(axis=2)
    return np.asarray(values > 0)
