"""Explain files: why the pictures of a set get their answers: a map over each, and what its metadata does, as a CSV."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from lesion.algorithms.base import Device, Explanation, Predictor
from lesion.algorithms.written_by import algorithm_of_artifact
from lesion.data.decode import images
from lesion.data.decode.images import Pixels
from lesion.data.prediction_set import warn_of_unknown_words
from lesion.data.sources.frames import FramesOf, OfFiles
from lesion.data.thumbnail import small
from lesion.data.write_csv import write_csv
from lesion.errors import LesionError, UserError
from lesion.files import ensure_writable, make_folder, numbered_stem, write_atomic
from lesion.predict_part import open_for

log = logging.getLogger(__name__)

TABLE = "explanations.csv"
LONGEST_PX = 1024  # of an overlay's longer side


def explain_files(
    source_path: Path,
    *,
    model_dir: Path,
    output: Path,
    class_name: str | None = None,
    method: str | None = None,
    source: str = "auto",
    image_column: str | None = None,
    device: Device,
    fold: int | None,
    num_cores: int,
    show_progress: bool,
) -> int:
    """Writes for each row of the set at `source_path` an overlay (PNG) and the raw map (npy, float32 [H, W], NaN where
    the networks saw nothing), and explanations.csv with answer, files and metadata attribution.

    Of a file with several frames the first that is predicted is explained. Returns how many rows could not be
    explained; they hold the error. Raises PlatformError before anything is computed if `output` cannot be written.
    """
    make_folder(output)
    ensure_writable(output / TABLE)
    explainer = algorithm_of_artifact(model_dir).load_explainer(
        model_dir, device=device, num_cores=num_cores, fold=fold, class_name=class_name, method=method
    )
    predictor = explainer.predictor
    pictures = open_for(source_path, predictor, source=source, image_column=image_column)
    names, rows = pictures.table().name_S.tolist(), pictures.table().metadata_rows()
    warn_of_unknown_words(rows, predictor.metadata_words)
    paths = pictures.paths if isinstance(pictures, OfFiles) else [None] * len(names)
    frames = FramesOf(pictures, paths, predictor.dicom_frames)
    first_of = {row: index for index, (row, *_) in reversed(list(enumerate(frames.places)))}
    nothing = dict.fromkeys([*_columns(predictor, explainer.change_names)], "")
    told: list[dict[str, Any]] = []
    for number, name in enumerate(tqdm(names, unit="image", disable=not show_progress)):
        stem = numbered_stem(number, str(name))
        try:
            if number not in first_of:
                raise UserError("the file has no frame that could be explained", where=str(name), do="Leave it out.")
            image_HWC = frames.read(first_of[number])
            explanation = explainer.explain(image_HWC, rows[number])
        except LesionError as error:
            told.append({**nothing, "error": str(error)})
            continue
        _write_files(output, stem, image_HWC, explanation)
        told.append({**_cells(explanation, stem), "error": ""})
    columns = {column: [row[column] for row in told] for column in [*nothing, "error"]}
    write_csv(output / TABLE, pd.DataFrame({predictor.image_column: names, **columns}))
    num_failed = sum(bool(row["error"]) for row in told)
    log.info("explanations=%s pictures=%d unexplained=%d", output / TABLE, len(names), num_failed)
    return num_failed


def _columns(predictor: Predictor, change_names: Any) -> list[str]:
    return [*predictor.column_names, "map_class", "map_method", "overlay", "map", "log_odds", *change_names]


def _cells(explanation: Explanation, stem: str) -> dict[str, Any]:
    return {
        **explanation.answer.columns,
        "map_class": explanation.map.class_name,
        "map_method": explanation.map.method,
        "overlay": f"{stem}.png",
        "map": f"{stem}.npy",
        "log_odds": round(explanation.log_odds, 6),
        **{name: round(change, 6) for name, change in explanation.metadata_changes.items()},
    }


def _write_files(output: Path, stem: str, image_HWC: Pixels, explanation: Explanation) -> None:
    over_HWC = explanation.map.over(small(image_HWC, side_px=min(LONGEST_PX, max(image_HWC.shape[:2]))))
    write_atomic(output / f"{stem}.png", images.encode(over_HWC, "PNG"))
    write_atomic(output / f"{stem}.npy", _npy(explanation.map.in_picture()))


def _npy(values_HW: Any) -> bytes:
    import io

    file = io.BytesIO()
    np.save(file, values_HW, allow_pickle=False)
    return file.getvalue()
