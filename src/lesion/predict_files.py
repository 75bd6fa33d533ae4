"""Predict files: a set of pictures, in any form that training takes, through a predictor, to a CSV.

The rows are cut into parts, which are kept until the CSV is written: the same command goes on where it was killed, and
several processes or a Ray cluster can share the parts.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import pandas as pd
from tqdm import tqdm

from lesion.algorithms.base import Device, PrecisionChoice
from lesion.algorithms.written_by import algorithm_of_artifact
from lesion.data.prediction_set import warn_of_unknown_words
from lesion.data.sources.frames import OfFiles
from lesion.data.sources.location import walk_files
from lesion.data.write_csv import write_csv
from lesion.errors import PlatformError, UserError, raise_all
from lesion.files import ensure_writable, is_device, only_one, writing
from lesion.predict_part import Cells, OpenSet, Plan, answers, open_plan, read_part, write_part, write_part_in_worker
from lesion.prepare.provenance import NAME as RECORD
from lesion.prepare.provenance import write_provenance
from lesion.words import listed
from lesion.worker_pool import Engine, run_all

log = logging.getLogger(__name__)

PARTS = ".parts"  # beside the output, what its folder of finished parts is called
ROWS_PER_PART = 1024  # a multiple of the batches of a GPU, so that parts cut none of them
MANY_IN_ONE_FILE = {".h5", ".hdf5", ".npz", ".tar"}


def predict_files(
    source_path: Path,
    *,
    model_dir: Path,
    output: Path,
    source: str = "auto",
    image_column: str | None = None,
    device: Device,
    fold: int | None,
    precision: PrecisionChoice,
    operating_point: str | None = None,
    maps: Path | None = None,
    num_cores: int,
    show_progress: bool,
    rows_per_part: int = ROWS_PER_PART,
    engine: Engine = "processes",
    num_workers: int = 1,
) -> int:
    """Writes picture, probability, label and error for each row of the set at `source_path`, in its order.

    `maps` is a folder for the maps of the answers, where the algorithm has them.
    `source` is the set's format and `image_column` the column of its pictures, unless they are found. Returns how many
    could not be predicted; their rows hold the error and no probability, and the others are kept.

    A set of more than `rows_per_part` rows is computed in parts, by `num_workers` processes that share `num_cores`, or
    by a Ray cluster. Finished parts lie in a folder beside `output` until that is written, so that the same call goes
    on where one was killed. The answers of one set are the same for any number of workers.

    Raises PlatformError, before anything is predicted, if `output` cannot be written, and UserError for options that do
    not go together or that differ from those of the finished parts.
    """
    _check(output, maps=maps, device=device, rows_per_part=rows_per_part, engine=engine, num_workers=num_workers)
    ensure_writable(output)
    plan = Plan(
        source_path=source_path.absolute(),  # the nodes of a cluster have other working folders
        source=source,
        image_column=image_column,
        model_dir=model_dir.absolute(),
        device=device,
        fold=fold,
        precision=precision,
        operating_point=operating_point,
        num_cores=1 if engine == "ray" else max(num_cores // num_workers, 1),
        folder=output.absolute().with_name(output.name + PARTS),
        rows_per_part=rows_per_part,
    )
    open_set = open_plan(replace(plan, device="cpu") if engine == "ray" else plan)  # its GPUs are elsewhere
    names = open_set.name_S
    warn_of_unknown_words(open_set.rows, open_set.predictor.metadata_words)
    if remark := open_set.frames(range(len(names))).remark(str(source_path)):
        log.warning("%s", remark.what)

    def write(cells: Sequence[Cells]) -> int:
        columns = {name: [row[name] for row in cells] for name in [*open_set.predictor.column_names, "error"]}
        write_csv(output, pd.DataFrame({open_set.predictor.image_column: names, **columns}))
        num_failed = sum(bool(row["error"]) for row in cells)
        log.info("predictions=%s pictures=%d unanswered=%d", output, len(cells), num_failed)
        return num_failed

    with tqdm(total=len(names), unit="image", disable=not show_progress) as bar:
        is_here = engine == "processes" and num_workers == 1
        is_one_part = len(names) <= rows_per_part and not plan.folder.exists()  # it may be that of other options
        if maps is not None or is_device(output) or (is_here and is_one_part):
            return write(_at_once(open_set, maps, model_dir, num_cores, bar))
        write_provenance(plan.folder, _made_with(plan, open_set))
        with only_one(plan.folder, "prediction"):
            num_failed = write(_in_parts(plan, open_set, engine, num_workers, bar))
            _remove_parts(plan)
        return num_failed


def _check(
    output: Path, *, maps: Path | None, device: Device, rows_per_part: int, engine: Engine, num_workers: int
) -> None:
    """Refuses options that are out of range or do not go together."""
    is_shared = engine == "ray" or num_workers > 1
    wrong = {
        f"--rows {rows_per_part}: 1 or more": (rows_per_part < 1, "Correct it."),
        f"--workers {num_workers}: 1 or more": (num_workers < 1, "Correct it."),
        "--maps are drawn by one process": (is_shared and maps is not None, "Leave --engine and --workers out."),
        "one process computes on all GPUs": (
            engine == "processes" and num_workers > 1 and device != "cpu",
            "Leave --workers out, or set --device cpu.",
        ),
        "parts are kept beside the output, and this is a device": (
            is_shared and is_device(output),
            "Choose a file for --output.",
        ),
    }
    raise_all([UserError(what, do=do) for what, (is_wrong, do) in wrong.items() if is_wrong])


def _at_once(open_set: OpenSet, maps: Path | None, model_dir: Path, num_cores: int, bar: tqdm[NoReturn]) -> list[Cells]:
    """The cells of all rows, and their maps, if a folder for them is given."""
    algorithm = algorithm_of_artifact(model_dir)
    table = open_set.pictures.table()
    map_writer = None if maps is None else algorithm.map_writer(open_set.predictor, maps, table)
    cells: list[Cells] = []
    for row in answers(open_set, range(len(table)), num_cores=num_cores, map_writer=map_writer):
        cells.append(row)
        bar.update()
    if map_writer is not None:
        map_writer.finish()
    return cells


def _in_parts(plan: Plan, open_set: OpenSet, engine: Engine, num_workers: int, bar: tqdm[NoReturn]) -> list[Cells]:
    """The cells of all rows; the parts that are not finished are computed."""
    num_rows = len(open_set.name_S)
    numbers = range(plan.num_parts(num_rows))
    pending = [number for number in numbers if read_part(plan, number, num_rows) is None]
    if len(pending) < len(numbers):
        log.info("resuming: %d of %d parts are in %s", len(numbers) - len(pending), len(numbers), plan.folder)
    bar.update(num_rows - sum(len(plan.rows(number, num_rows)) for number in pending))
    if engine == "processes" and num_workers == 1:
        for number in pending:
            write_part(plan, open_set, number, on_row=bar.update)
    else:
        tasks = [(plan, number) for number in pending]
        needs_gpu = plan.device == "cuda"
        for num_done in run_all(
            write_part_in_worker, tasks, engine=engine, num_workers=num_workers, needs_gpu=needs_gpu
        ):
            bar.update(num_done)
    parts = [read_part(plan, number, num_rows) for number in numbers]
    if lost := [plan.path(number).name for number in numbers if parts[number] is None]:
        raise PlatformError(
            f"parts that were written are not there: {listed(lost)}",
            where=plan.folder,
            do="All workers must see this folder by the same path.",
        )
    return [row for part in parts if part is not None for row in part]


def _made_with(plan: Plan, open_set: OpenSet) -> dict[str, object]:
    """All that the answers depend on. Of pictures it has sizes and times of change: to read them takes as long as to
    predict them."""
    paths: Sequence[Path | None] = open_set.paths
    if not isinstance(open_set.pictures, OfFiles):
        found = walk_files(plan.source_path) if plan.source_path.is_dir() else [plan.source_path]
        paths = [path for path in found if path.suffix.lower() in MANY_IN_ONE_FILE]
    pictures = hashlib.sha256()
    for path in paths:
        state = path.stat() if path is not None and path.exists() else None
        pictures.update(f"{path} {state and (state.st_size, state.st_mtime_ns)}\n".encode(errors="surrogatepass"))
    return {
        "made": "predictions",
        "lesion": version("lesion"),
        "model": open_set.predictor.manifest.version,
        "table": open_set.pictures.table().fingerprint(),
        "pictures": pictures.hexdigest(),
        "fold": plan.fold,
        "precision": plan.precision,
        "operating_point": plan.operating_point,
        "device": plan.device,
        "backend": open_set.predictor.backend,
        "rows": plan.rows_per_part,
    }


def _remove_parts(plan: Plan) -> None:
    """Removes the folder of the parts, its record last: what is left of a removal that was cut off can be resumed."""
    with writing(plan.folder, "cannot be removed"):
        for path in sorted(plan.folder.iterdir(), key=lambda path: path.name == RECORD):
            path.unlink()
        plan.folder.rmdir()
