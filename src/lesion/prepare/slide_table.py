"""Slide table: a CSV with each slide's target, its group, and further columns that its tiles inherit."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lesion.data.sources.tables.csv_table import read_csv, remarks_of
from lesion.data.sources.tables.plain_name import plain
from lesion.errors import UserError
from lesion.prepare.slides import SlideFile, pick_slide
from lesion.words import listed

log = logging.getLogger(__name__)

# The first of them that is there says which slide it is, whatever its capitals: names of files, then of slides.
SLIDE_COLUMNS = (
    "file", "image_name", "file_name", "filename", "image_id", "image", "slide", "slide_id", "slide_name", "wsi",
    "wsi_id", "wsi_name", "wsi_filename", "slide_filename",
)  # fmt: skip
TARGET_COLUMNS = ("target", "label")
OURS = ("image_name", "target", "x", "y", "downsample", "tissue")  # columns that every tile gets


@dataclass(frozen=True)
class SlideTable:
    """One row a slide, by the slide's name. Cells are text as it was written, "" where missing."""

    targets: Mapping[str, str] | None
    carried: Mapping[str, Mapping[str, str]]  # further columns, the same for every slide


def read_slide_table(
    path: Path, slides: Sequence[SlideFile], *, target_column: str | None, is_target_needed: bool, is_whole: bool
) -> SlideTable:
    """The table of these slides, each of which must have one row, and with `is_whole` each row its slide.

    The target column is `target_column`, or the first of TARGET_COLUMNS. Where it is not needed, since annotations
    give a tile's target, it is carried as `slide_target`. The log says which columns were taken. Raises UserError that
    names what is missing or duplicate.
    """
    frame = read_csv(path).fillna("")
    for remark in remarks_of(frame):
        log.log(logging.WARNING if remark.level == "warning" else logging.INFO, "%s", remark)
    columns = list(frame.columns)
    slide_column = _first_of(SLIDE_COLUMNS, columns, path)
    wanted = [target_column] if target_column else TARGET_COLUMNS
    target = _first_of(wanted, columns, path)
    if slide_column is None:
        raise _no_column("slide", SLIDE_COLUMNS, path, columns, "Rename the one that names the slides.")
    if target is None and (is_target_needed or target_column):
        raise _no_column("target", wanted, path, columns, "Rename one, or give --target-column.")
    log.info("slides=%s slide_column=%s target_column=%s", path, slide_column, target or "none")
    kept = [column for column in columns if column not in {slide_column, target}]
    if clash := [column for column in kept if plain(column) in OURS]:
        raise UserError(f"columns {clash} would stand twice in the tiles' table", where=path, do="Rename them.")
    names = _names(frame[slide_column].str.strip().tolist(), path, slides, is_whole=is_whole)
    rows = dict(zip(names, frame.to_dict("records"), strict=True))
    if target is None:
        return SlideTable(None, {slide.name: {name: rows[slide.name][name] for name in kept} for slide in slides})
    targets = {slide.name: str(rows[slide.name][target]).strip() for slide in slides}
    if empty := [name for name, word in targets.items() if not word]:
        raise UserError(f"column '{target}' is empty for {listed(empty)}", where=path, do="Fill it in.")
    carried = {slide.name: {name: rows[slide.name][name] for name in kept} for slide in slides}
    if is_target_needed:
        return SlideTable(targets, carried)
    return SlideTable(None, {name: {**row, "slide_target": targets[name]} for name, row in carried.items()})


def _first_of(wanted: Sequence[str], columns: Sequence[str], path: Path) -> str | None:
    """The column that the first of the wanted names means, whatever its capitals."""
    for name in wanted:
        if name in columns:
            return name
        found = [column for column in columns if plain(column) == plain(name)]
        if len(found) > 1:
            raise UserError(f"columns {found} differ only in how they are written", where=path, do="Rename one.")
        if found:
            return found[0]
    return None


def _names(written: Sequence[str], path: Path, slides: Sequence[SlideFile], *, is_whole: bool) -> list[str | None]:
    """The slide of each row, None for a row without one."""
    found = [pick_slide(slides, text, where=path) for text in written]
    names = [None if slide is None else slide.name for slide in found]
    strangers = [text for text, name in zip(written, names, strict=True) if name is None]
    if strangers and is_whole:
        raise UserError(
            f"{len(strangers)} rows without a slide: {listed(strangers)}", where=path, do="Add it, or drop the row."
        )
    if absent := [slide.name for slide in slides if slide.name not in names]:
        raise UserError(f"{len(absent)} slides without a row: {listed(absent)}", where=path, do="Add their rows.")
    if twice := sorted(name for name, count in Counter(names).items() if name is not None and count > 1):
        raise UserError(f"more than one row for {listed(twice)}", where=path, do="Keep one row a slide.")
    return names


def _no_column(what: str, wanted: Sequence[str], path: Path, columns: list[str], do: str) -> UserError:
    names = " or ".join(f"'{name}'" for name in wanted)
    return UserError(f"no {what} column {names}", where=f"{path}: {columns}", do=do)
