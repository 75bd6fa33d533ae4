"""Mask check: what is wrong with the masks of a data set, all of it before anything is learned."""

# S rows

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.anomaly.config import AnomalyConfig
from lesion.algorithms.anomaly.masks import mask_paths, read_mask
from lesion.check.finding import Finding, Part, TableRow
from lesion.check.run import Labels
from lesion.check.survey import ImageStats
from lesion.data.table import SampleTable
from lesion.errors import UserError
from lesion.words import listed, number_of

DO = {
    "mask_missing": "Correct the paths, which are those below the channel's folder, or empty the cells.",
    "mask_unreadable": "Replace them by PNG files, or empty the cells.",
    "mask_size": "Give masks of their images' sizes.",
    "mask_empty": "Draw what is anomalous, not in alpha; or correct the target; or empty the cell: then the image "
    "alone is judged.",
    "mask_of_normal": "Correct the target, or empty the cell: an image with anomalous pixels must not be learned from.",
}
Stats = Sequence[ImageStats | UserError]


def mask_findings(
    tables: Mapping[Part, SampleTable],
    stats: Mapping[Part, Stats],
    *,
    labels: Labels | None,
    config: AnomalyConfig,
    channels: Mapping[str, Path],
) -> list[Finding]:
    """Of each set one finding for all masks that are not there, that are no pictures, that have another size than their
    image, that are empty though the image is anomalous, or that are not though it is normal.

    `stats` are the images' statistics; `labels` are None where it is not known what is anomalous.
    """
    findings: list[Finding] = []
    for part, table in tables.items():
        with suppress(UserError):  # no such column: the task says so
            paths = mask_paths(table, config, channels, part=part)
            findings += _of_set(part, table, paths, stats[part], _is_anomalous(table, labels))
    return findings


def _is_anomalous(table: SampleTable, labels: Labels | None) -> NDArray[np.bool_] | None:
    """Which rows [S] are anomalous; None where it is not known, which other checks say."""
    if labels is not None:
        with suppress(UserError):
            return np.asarray(labels.encode(table)[:, 0] == 1)
    return None


def _of_set(
    part: Part,
    table: SampleTable,
    paths: Mapping[int, Path],
    stats_S: Stats,
    is_anomalous_S: NDArray[np.bool_] | None,
) -> list[Finding]:
    def wrong_with(row: int) -> tuple[str, str] | None:
        """The name of what is wrong with the mask of a row, and what to say of it."""
        path, image = paths[row], stats_S[row]
        if not path.is_file():
            return "mask_missing", path.name
        try:
            mask_HW = read_mask(path)
        except UserError:
            return "mask_unreadable", path.name
        if isinstance(image, ImageStats) and mask_HW.shape != (image.height_px, image.width_px):
            own, wanted = f"{mask_HW.shape[1]} × {mask_HW.shape[0]}", f"{image.width_px} × {image.height_px}"
            return "mask_size", f"{path.name} has {own} pixels, and its image {wanted}"
        if is_anomalous_S is None or is_anomalous_S[row] == mask_HW.any():
            return None
        # An image without a mask need not be normal, but an empty mask says that nothing is anomalous.
        return "mask_empty" if is_anomalous_S[row] else "mask_of_normal", path.name

    with ThreadPoolExecutor() as threads:
        wrong_of = dict(zip(paths, threads.map(wrong_with, paths), strict=True))
    findings = []
    for name, do in DO.items():
        rows = {row: wrong[1] for row, wrong in wrong_of.items() if wrong is not None and wrong[0] == name}
        if rows:
            said = f"{_says(name, len(rows))}: {listed(list(rows.values()))}"
            what = f"{number_of(len(rows), 'mask')} of {len(paths)} of the {part} set {said}"
            concerned = tuple(TableRow(part, row, str(table.name_S[row])) for row in rows)
            findings.append(Finding("error", name, what, do, table.where, concerned))
    return findings


def _says(name: str, num: int) -> str:
    is_one = num == 1
    return {
        "mask_missing": f"{'is' if is_one else 'are'} not found",
        "mask_unreadable": f"cannot be read as {'a picture' if is_one else 'pictures'}",
        "mask_size": f"{'has' if is_one else 'have'} another size than the image",
        "mask_empty": f"{'is' if is_one else 'are'} 0 everywhere, though the image is anomalous",
        "mask_of_normal": f"{'is' if is_one else 'are'} above 0 somewhere, though the image is normal",
    }[name]
