"""Prediction set: what a model predicts: one file, or a folder, in any form that training takes.

The rows are those that training would open, with the same names and metadata. What the table lacks is missing.
"""

from __future__ import annotations

import codecs
import logging
import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lesion.data.decode import images
from lesion.data.decode.reading import check_given, check_regular, reading
from lesion.data.metadata import Row, unknown_words
from lesion.data.sources.augmented_manifest import AugmentedManifest
from lesion.data.sources.class_folder import ClassFolder, ClassPictures
from lesion.data.sources.csv_folder import CsvFolder
from lesion.data.sources.folders.set_names import Split
from lesion.data.sources.formats import find_format, recognised
from lesion.data.sources.isic_hdf5 import ARRAYS, IsicHdf5
from lesion.data.sources.json_lines import is_json_lines_table, read_header
from lesion.data.sources.layouts import LAYOUTS, check_source
from lesion.data.sources.location import SplitLocation, walk_images
from lesion.data.sources.lst import Lst
from lesion.data.sources.medmnist_npz import MedmnistNpz
from lesion.data.sources.once import once
from lesion.data.sources.pcam_hdf5 import PcamHdf5
from lesion.data.sources.tables.plain_name import plain
from lesion.data.sources.tables.table_files import is_unknown, table_files
from lesion.data.sources.webdataset import WebDataset
from lesion.data.table import Columns, Source
from lesion.errors import UserError
from lesion.words import listed, shortened

log = logging.getLogger(__name__)

SPLITS: tuple[Split, ...] = ("test", "train", "validation")  # the set of a folder that is predicted: the first there is
OPENERS: dict[str, Callable[[Path, Columns], Source]] = {
    CsvFolder.name: CsvFolder,
    ClassFolder.name: lambda path, columns: ClassFolder(ClassPictures(path.parent, (path,)), columns),
    PcamHdf5.name: lambda path, columns: PcamHdf5(path, None, _pcam_table(path), columns),
    IsicHdf5.name: IsicHdf5.open_file,
    MedmnistNpz.name: MedmnistNpz.open_file,
    Lst.name: lambda path, columns: Lst(path, path.parent, columns),
    AugmentedManifest.name: lambda path, columns: AugmentedManifest(path, path.parent, columns),
    WebDataset.name: lambda path, columns: WebDataset([path], columns),
}
ENDINGS = {
    **dict.fromkeys((".csv", ".tsv", ".tab"), CsvFolder.name),
    ".npz": MedmnistNpz.name,
    ".lst": Lst.name,
    ".manifest": AugmentedManifest.name,
    ".jsonl": AugmentedManifest.name,
    ".tar": WebDataset.name,
    **dict.fromkeys(images.SUFFIXES, ClassFolder.name),
}
HEAD_BYTES = 4096


def open_prediction_set(path: Path, columns: Columns, *, source: str = "auto") -> Source:
    """The set in a file or a folder, in the format called `source`, or the one that is recognised.

    The log says which, and what of a folder is not among the rows. A file whose header cannot be read costs its own
    row: it raises when its picture is read. Raises UserError where there is no set, or the whole of it cannot be read.
    """
    check_source(source)
    check_given(path)
    columns = replace(columns, is_for_prediction=True)
    if path.is_dir():
        with once():
            opened = _open_folder(path, columns, source)
    else:
        name = _format_of(path) if source == "auto" else source
        log.info("source=%s because it is %s", name, path.name if source == "auto" else "set")
        opened = OPENERS[name](path, columns)
    for remark in opened.table().remarks:
        log.log(logging.WARNING if remark.level == "warning" else logging.INFO, "%s", remark)
    return opened


def warn_of_unknown_words(rows: Sequence[Row], known_words: Mapping[str, Container[str]]) -> None:
    """One line for each metadata column with words that no training row had; `known_words` are those that one had."""
    for column, known in known_words.items():
        if unknown := unknown_words([row.get(column) for row in rows], known):
            each = [f"{shortened(word, 40)} ({count})" for word, count in unknown.most_common()]
            what = "metadata column %s: %d rows have words that no training row had, taken as missing: %s"
            log.warning(what, column, unknown.total(), listed(each))


def _open_folder(folder: Path, columns: Columns, source: str) -> Source:
    """The test set in a folder, or else the training or validation set, or else all images below it.

    All images are what the format class_folder gives too: a table beside them is then not looked at.
    """
    named = [split for split in SPLITS if recognised(SplitLocation(folder, split, is_own=False), source=source)]
    location = SplitLocation(folder, named[0], is_own=False) if named else SplitLocation(folder, "test")
    if named or (not _is_beside_text(location, columns, source) and recognised(location, source=source)):
        opened = find_format(location, source=source).open(location, columns)
        if named[1:]:
            log.warning("not predicted: the %s set in %s", " and the ".join(named[1:]), folder)
        _say_what_is_left(opened, folder)
        return opened
    paths = walk_images(folder)
    if not paths or source not in ("auto", ClassFolder.name):
        raise UserError(
            "no images in this folder, and no set in another format",
            where=folder,
            do="Give a table, a folder of images, or one of: " + "; ".join(LAYOUTS.values()) + ".",
        )
    return ClassFolder(ClassPictures(folder, tuple(paths)), columns)


def _is_beside_text(location: SplitLocation, columns: Columns, source: str) -> bool:
    """Whether images lie there beside a CSV that does not name them, such as somebody's notes."""
    tables = table_files(location) if source == "auto" else []
    wanted = plain(columns.image) if columns.image is not None else ""
    is_text = all(is_unknown(path) and wanted not in map(plain, read_header(path)) for path in tables)
    return bool(tables and is_text and walk_images(location.folder))


def _say_what_is_left(opened: Source, folder: Path) -> None:
    """Logs how many images of the folder are in no row."""
    strays = opened.table().strays
    if strays:
        log.warning("not predicted: %d images in no row, such as %s", len(strays), strays[0])
    if isinstance(opened, ClassFolder) and (num_left := len(walk_images(folder)) - len(opened.table())) > 0:
        log.warning("not predicted: %d images below other folders of %s", num_left, folder)


def _format_of(path: Path) -> str:
    """The format of one file, by its ending, or else its first bytes: what is no text is an image."""
    ending = Path(path.name.lower().removesuffix(".gz")).suffix  # what cannot be read packed says so
    if ending in (".h5", ".hdf5"):
        return PcamHdf5.name if ARRAYS.search(path.stem.lower()) else IsicHdf5.name
    if is_json_lines_table(path):
        return CsvFolder.name
    return ENDINGS.get(ending) or (CsvFolder.name if _is_text(path) else ClassFolder.name)


def _is_text(path: Path) -> bool:
    """Whether it may be a table: text holds no NUL, unless it is UTF-16."""
    what = "not a readable CSV, nor an image"
    check_regular(path, what=what)
    with reading(path, what, do="Give a table, an image, or a folder."), path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return b"\0" not in head or head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


def _pcam_table(x_path: Path) -> Path | None:
    """The slides of *_x.h5, in *_meta.csv beside it."""
    beside = x_path.with_name(f"{re.sub('x$', 'meta', x_path.stem, flags=re.IGNORECASE)}.csv")
    return beside if beside.is_file() else None
