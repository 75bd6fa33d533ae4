"""Tiles: slides to a data set for `lesion train`: train.csv, and a folder of tiles for each slide.

A slide's tiles are written first and their rows last, so that a second run knows which slides are finished. The
settings are in prepared.json: a folder never holds tiles of different settings.
"""

# T tiles

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from lesion.data.decode import images
from lesion.data.decode.reading import reading
from lesion.data.sources.location import walk_files
from lesion.data.sources.tables.known_tables import PATIENTS
from lesion.data.sources.tables.plain_name import plain
from lesion.errors import UserError
from lesion.files import make_folder, write_atomic, write_whole
from lesion.prepare.annotation_mask import AnnotationMask, PositiveRule, read_annotation_masks
from lesion.prepare.provenance import fingerprint, write_provenance
from lesion.prepare.slide_table import SlideTable, read_slide_table
from lesion.prepare.slides import Resolution, Slide, SlideFile, find_slides, read_stated, usual_resolution
from lesion.prepare.tissue import find_tissue

log = logging.getLogger(__name__)
T = TypeVar("T")

ROWS = "tiles.csv"  # in each slide's folder; where it is, the slide is finished
FOLDERS = {"jpg": "train_jpg", "png": "train_images"}  # beside train.csv, where sources/csv_folder looks
KINDS: dict[str, Literal["JPEG", "PNG"]] = {"jpg": "JPEG", "png": "PNG"}
MAX_TILES = 10_000_000  # of a slide, with those on glass
JPEG_QUALITY = 90  # scanners write 70 to 90


@dataclass(frozen=True)
class Tiling:
    """How slides are cut."""

    size_px: int = 256  # a tile's side
    overlap_px: int = 0  # between neighbours, in pixels of the tile
    min_tissue: float = 0.5  # the share of a tile that must be tissue
    resolution: Resolution | None = None  # None: usual_resolution
    suffix: Literal["jpg", "png"] = "jpg"


@dataclass(frozen=True)
class LabelSource:
    """Where targets come from: a table of slides, polygons, both (then polygons give the target), or neither."""

    table: Path | None = None
    target_column: str | None = None
    annotations: Path | None = None
    rule: PositiveRule = field(default_factory=PositiveRule)


@dataclass(frozen=True)
class _Job:
    """All that is known of a slide before it is opened."""

    name: str
    path: Path
    folder: Path
    downsample: float
    target: str | None
    mask: AnnotationMask | None
    carried: Mapping[str, str]


def prepare_tiles(
    source: Path, *, output: Path, tiling: Tiling, labels: LabelSource, num_workers: int, show_progress: bool
) -> int:
    """Cuts the slide in a file, or those below a folder, into `output`, and returns how many tiles that holds.

    The same tiles come out for any `num_workers`, and after a kill and a second run. Raises UserError, before the
    first tile is cut, for settings, slides, tables and annotations that do not fit, and at the end if nothing is left.
    """
    _check(tiling, labels.rule)
    slides = find_slides(source)
    if source.is_dir() and output.resolve().is_relative_to(source.resolve()):
        raise UserError("the output folder lies inside the input folder", where=output, do="Choose a folder beside it.")
    stated = _of_each(slides, lambda slide: read_stated(slide.path))
    resolution = tiling.resolution or usual_resolution(list(stated.values()))
    downsamples = _of_each(slides, lambda slide: resolution.downsample(stated[slide.name], where=slide.path))
    table, masks = _read_labels(labels, slides, is_whole=source.is_dir())
    write_provenance(output, _made_with(tiling, resolution, labels, slides))
    folders = {slide.name: output / FOLDERS[tiling.suffix] / slide.name for slide in slides}
    jobs = [
        _Job(
            slide.name,
            slide.path,
            folders[slide.name],
            downsamples[slide.name],
            target=table.targets[slide.name] if table and table.targets else None,
            mask=masks[slide.name] if masks else None,
            carried=table.carried[slide.name] if table else {},
        )
        for slide in slides
    ]
    # Threads and not processes: OpenSlide and OpenCV let go of the interpreter's lock. 256 tiles of 256 px took 0.58 s
    # with one thread, 0.30 with two, and 0.29 with two processes.
    with ThreadPoolExecutor(num_workers) as pool, tqdm(total=0, unit="tile", disable=not show_progress) as bar:
        for job in jobs:
            if not (job.folder / ROWS).exists():
                _cut(job, tiling, labels.rule, pool, bar)
    return _join(output, jobs)


def grid(width_px: int, height_px: int, *, extent_px: float, step_px: float) -> NDArray[np.int64]:
    """The corners [T, 2] of all tiles that lie wholly on a slide, as x and y in pixels of level 0, row by row."""
    counts = [max(0, int((side_px - extent_px) // step_px) + 1) for side_px in (width_px, height_px)]
    if counts[0] * counts[1] > MAX_TILES:
        raise UserError(
            f"{counts[0]:,}×{counts[1]:,} tiles of one slide, more than {MAX_TILES:,}",
            where=f"a tile every {step_px:g} px of {width_px:,}×{height_px:,}",
            do="Make tiles larger, or let them overlap less: --size, --overlap.",
        )
    x_T, y_T = np.meshgrid(*(np.rint(np.arange(count) * step_px).astype(np.int64) for count in counts))
    return np.stack([x_T.ravel(), y_T.ravel()], axis=1)


def _cut(job: _Job, tiling: Tiling, rule: PositiveRule, pool: Executor, bar: tqdm[Any]) -> None:
    """Writes the tiles of one slide, and then their rows."""
    extent_px = tiling.size_px * job.downsample
    make_folder(job.folder)
    with Slide(job.path) as slide:
        if job.mask is not None and (num_outside := job.mask.num_outside(slide.width_px, slide.height_px)):
            size = f"{slide.width_px:,}×{slide.height_px:,} px"
            log.warning("slide=%s annotations_outside=%d: they lie beside its %s", job.name, num_outside, size)
        step_px = (tiling.size_px - tiling.overlap_px) * job.downsample
        corners_T2 = grid(slide.width_px, slide.height_px, extent_px=extent_px, step_px=step_px)
        tissue_T = find_tissue(slide, extent_px=extent_px).shares(corners_T2, extent_px)
        is_kept_T = tissue_T >= tiling.min_tissue
        bar.total = (bar.total or 0) + int(is_kept_T.sum())  # grows slide by slide

        def cut_row(y_px: int) -> list[dict[str, object]]:
            rows = []
            for index in np.flatnonzero(is_kept_T & (corners_T2[:, 1] == y_px)):
                x_px = int(corners_T2[index, 0])
                pixels_HWC = slide.read(x_px, y_px, tiling.size_px, tiling.size_px, downsample=job.downsample)
                path = job.folder / f"x{x_px}_y{y_px}.{tiling.suffix}"
                write_whole(path, images.encode(pixels_HWC, KINDS[tiling.suffix], quality=JPEG_QUALITY))
                target: object = job.target
                if job.mask is not None:
                    mask_HW = job.mask.draw(x_px, y_px, extent_px, size_px=tiling.size_px)
                    target = int(rule.is_positive(mask_HW))
                place = {"x": x_px, "y": y_px, "downsample": job.downsample}
                rows.append({"name": path.name, "target": target, **place, "tissue": tissue_T[index]})
            return rows

        rows = []
        cuts = [pool.submit(cut_row, y_px) for y_px in np.unique(corners_T2[:, 1]).tolist()]
        try:
            for cut in cuts:  # in the order of submission
                rows += cut.result()
                bar.update(len(cut.result()))
        finally:  # where one failed, others still read, and OpenSlide aborts the process if their slide is closed
            for cut in cuts:
                cut.cancel()
            wait(cuts)
    frame = pd.DataFrame(rows, columns=["name", "target", "x", "y", "downsample", "tissue"])
    frame.insert(0, "image_name", f"{job.name}/" + frame.pop("name").astype(str))
    carried = dict(job.carried)
    slide_column = next((name for name in carried if plain(name) == "slide_id"), "slide_id")
    frame.insert(1, "slide_id", carried.pop(slide_column, job.name))  # one slide may be several files: a table says so
    if job.target is None and job.mask is None:
        del frame["target"]
    os.sync()  # the tiles are on disk before the rows that name them
    write_atomic(job.folder / ROWS, frame.assign(**carried).to_csv(index=False, float_format="%.4f").encode())
    log.info("slide=%s tiles=%d of=%d downsample=%.3g", job.name, len(frame), len(corners_T2), job.downsample)


def _join(output: Path, jobs: Sequence[_Job]) -> int:
    """Writes train.csv from the rows of all slides, and logs what it holds."""
    frames = {job.name: _read_rows(job.folder / ROWS) for job in jobs}
    if without := [name for name, frame in frames.items() if frame.empty]:
        reason = "too little tissue, or smaller than a tile"
        log.warning("slides_without_tiles=%d (%s): %s", len(without), reason, ", ".join(without))
    joined = pd.concat(frames.values(), ignore_index=True)
    if joined.empty:
        raise UserError(
            f"no tile of {len(jobs)} slides has enough tissue",
            where=output,
            do="Lower --min-tissue, or make tiles smaller: --size, or a higher --magnification.",
        )
    write_atomic(output / "train.csv", joined.to_csv(index=False).encode())
    targets = joined["target"].value_counts().sort_index() if "target" in joined else pd.Series(dtype=int)
    counts = "|".join(f"{target}:{count}" for target, count in targets.items()) or "none"
    written = {plain(name): str(name) for name in joined.columns}
    group = shlex.quote(next((written[name] for name in PATIENTS if name in written), "slide_id"))
    log.info("tiles=%d slides=%d targets=%s train with group_column=%s", len(joined), len(jobs), counts, group)
    return len(joined)


def _read_rows(path: Path) -> pd.DataFrame:
    with reading(path, "not the rows of a slide's tiles", do="Remove the slide's folder, and start again."):
        return pd.read_csv(path, dtype="string", keep_default_na=False)


def _check(tiling: Tiling, rule: PositiveRule) -> None:
    wrong = {
        f"--size {tiling.size_px}: 16 px or more": tiling.size_px < 16,
        f"--overlap {tiling.overlap_px}: 0 or more, and less than --size": not 0 <= tiling.overlap_px < tiling.size_px,
        f"--min-tissue {tiling.min_tissue:g}: between 0 and 1": not 0 <= tiling.min_tissue <= 1,
        f"--min-overlap {rule.min_overlap:g}: between 0 and 1": not 0 <= rule.min_overlap <= 1,
    }
    if tiling.resolution is not None:
        words = f"--{tiling.resolution.kind} {tiling.resolution.value:g}: more than 0"
        wrong[words] = not 0 < tiling.resolution.value < float("inf")
    if found := [words for words, is_wrong in wrong.items() if is_wrong]:
        raise UserError("settings out of range", where="; ".join(found), do="Correct them.")


def _of_each(slides: Sequence[SlideFile], read: Callable[[SlideFile], T]) -> dict[str, T]:
    """What `read` gives of each slide, by name. Raises one UserError for all that cannot be read."""
    found: dict[str, T] = {}
    refusals: list[UserError] = []
    for slide in slides:
        try:
            found[slide.name] = read(slide)
        except UserError as error:
            refusals.append(error)
    if len(refusals) == 1:
        raise refusals[0]
    if refusals:
        where = "; ".join(f"{error.where}: {error.what}" for error in refusals[:5])
        raise UserError(
            f"{len(refusals)} of {len(slides)} slides cannot be prepared, the first: {where}", do=refusals[0].do
        )
    return found


def _read_labels(
    labels: LabelSource, slides: Sequence[SlideFile], *, is_whole: bool
) -> tuple[SlideTable | None, dict[str, AnnotationMask] | None]:
    table = masks = None
    if labels.table is not None:
        table = read_slide_table(
            labels.table,
            slides,
            target_column=labels.target_column,
            is_target_needed=labels.annotations is None,
            is_whole=is_whole,
        )
    if labels.annotations is not None:
        masks = read_annotation_masks(labels.annotations, slides, labels.rule, is_whole=is_whole)
    return table, masks


def _made_with(
    tiling: Tiling, resolution: Resolution, labels: LabelSource, slides: Sequence[SlideFile]
) -> dict[str, object]:
    """Everything that determines the tiles and their rows."""
    return {
        "made": "tiles",
        **asdict(tiling),
        "resolution": asdict(resolution),
        "slides": {slide.name: fingerprint([slide.path]) for slide in slides},
        "labels": None if labels.table is None else fingerprint([labels.table]),
        "target_column": labels.target_column,
        "annotations": None if labels.annotations is None else fingerprint(walk_files(labels.annotations)),
        **asdict(labels.rule),
    }
