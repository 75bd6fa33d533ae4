"""Predict files: a CSV or a folder of pictures through an artifact, to a CSV."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from tqdm import tqdm

from lesion.algorithms.classify.predict import load
from lesion.algorithms.classify.results import write_csv
from lesion.artifact import Manifest
from lesion.data import images
from lesion.data.loader import ordered_batches
from lesion.data.metadata import Row
from lesion.data.sources.csv_folder import CsvFolder, read_csv, walk_files
from lesion.data.table import Columns, Source
from lesion.engine.device import limit_threads, pick_device
from lesion.errors import UserError

log = logging.getLogger(__name__)

BATCH_SIZE = 16


def predict_files(
    source_path: Path,
    *,
    model_dir: Path,
    output: Path,
    device: Literal["auto", "cpu", "cuda"],
    fold: int | None,
    num_cores: int,
    show_progress: bool,
) -> int:
    """Writes picture, probability, label and error for each row of a CSV or each picture below a folder, in order.

    Returns how many could not be read; their rows hold the error and no probability, so that nothing else is lost.
    """
    limit_threads(num_cores)
    predictor = load(model_dir, pick_device(device), fold=fold)
    manifest = predictor.manifest
    names, rows, source = _open(source_path, manifest)
    probs = np.full(len(names), np.nan, dtype=np.float32)
    errors = [""] * len(names)

    def read(index: int) -> images.Pixels | None:
        try:
            return source.read(index)
        except UserError as error:
            errors[index] = str(error)
            return None

    with (
        ThreadPoolExecutor(num_cores) as pool,
        tqdm(total=len(names), unit="picture", disable=not show_progress) as bar,
    ):
        for batch in ordered_batches(np.arange(len(names)), BATCH_SIZE):
            pictures = list(pool.map(read, batch.tolist()))
            good = [
                (index, picture) for index, picture in zip(batch.tolist(), pictures, strict=True) if picture is not None
            ]
            if good:
                kept = [index for index, _ in good]
                probs[kept] = predictor.predict([picture for _, picture in good], [rows[index] for index in kept])[:, 0]
            bar.update(len(batch))

    class_names, threshold = manifest.target["class_names"], manifest.target["threshold"]
    labels = ["" if np.isnan(prob) else class_names[int(float(prob) >= threshold)] for prob in probs]
    frame = pd.DataFrame({manifest.image_column: names, "probability": probs, "label": labels, "error": errors})
    output.parent.mkdir(parents=True, exist_ok=True)
    write_csv(output, frame)
    num_failed = sum(map(bool, errors))
    log.info("predictions=%s pictures=%d unreadable=%d", output, len(names), num_failed)
    return num_failed


class _Files:
    """Pictures by path, for a folder without a table."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def read(self, index: int) -> images.Pixels:
        return images.read(self._paths[index])


def _open(path: Path, manifest: Manifest) -> tuple[list[str], Sequence[Row], Source | _Files]:
    if path.is_dir():
        paths = [found for found in walk_files(path) if found.suffix.lower() in images.SUFFIXES]
        if not paths:
            raise UserError(
                "no pictures in this folder", where=path, do=f"Looked for {', '.join(sorted(images.SUFFIXES))}."
            )
        return [found.relative_to(path).as_posix() for found in paths], [{}] * len(paths), _Files(paths)
    header = read_csv(path).columns
    columns = Columns(
        image=manifest.image_column if manifest.image_column in header else None,
        target=None,
        class_name=None,
        group=None,
        fold=None,
        metadata=tuple(name for name in manifest.metadata_columns if name in header),
    )
    if absent := [name for name in manifest.metadata_columns if name not in header]:
        log.warning("metadata columns not in %s, taken as missing: %s", path, ", ".join(absent))
    csv_source = CsvFolder(path, columns)
    table = csv_source.table()
    return table.name_S.tolist(), table.metadata_rows(), csv_source
