"""Formats: all data set formats, and which one a folder has."""

from __future__ import annotations

import logging
from pathlib import Path

from lesion.data.decode import images
from lesion.data.sources.augmented_manifest import AugmentedManifest
from lesion.data.sources.class_folder import ClassFolder
from lesion.data.sources.csv_folder import CsvFolder
from lesion.data.sources.folders.other_layouts import other_layouts
from lesion.data.sources.frames import with_frames
from lesion.data.sources.isic_hdf5 import IsicHdf5
from lesion.data.sources.layouts import LAYOUTS
from lesion.data.sources.location import Format, SplitLocation, hidden_files, walk_files, walk_images
from lesion.data.sources.lst import Lst
from lesion.data.sources.medmnist_npz import MedmnistNpz
from lesion.data.sources.pcam_hdf5 import PcamHdf5
from lesion.data.sources.tables.table_files import about_spreadsheets, about_test_tables
from lesion.data.sources.webdataset import WebDataset
from lesion.data.table import Columns, Source
from lesion.errors import UserError
from lesion.words import listed

log = logging.getLogger(__name__)

PACKED = {".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".rar"}
FORMATS: dict[str, type[Format]] = {
    source.name: source
    for source in (CsvFolder, ClassFolder, PcamHdf5, IsicHdf5, MedmnistNpz, Lst, AugmentedManifest, WebDataset)
}


def open_source(location: SplitLocation, columns: Columns, *, source: str) -> Source:
    """The data set at `location`, in the format that `find_format` finds."""
    return with_frames(find_format(location, source=source).open(location, columns), columns.frames)


def find_format(location: SplitLocation, *, source: str) -> type[Format]:
    """The format called `source`; "auto" takes the one that recognises what is at `location`.

    Logs which format and why. Raises UserError if no format or several match, with what the folder holds.
    """
    if source != "auto":
        log.info("source=%s set=%s because it is set", source, location.split)
        return FORMATS[source]
    reasons = recognised(location, source=source)
    if not reasons:
        others = other_layouts(location.folder)
        if not others and (one_class := ClassFolder.of_one_class(location)):
            raise one_class
        causes = [f"{other.path.relative_to(location.folder).as_posix()} is {other.what}" for other in others]
        raise UserError(
            f"no {location.split} set found" + f": {listed(causes, most=3)}, which is not read" * bool(causes),
            where=f"{location.folder}: {listing(location.folder)}",
            do=about_spreadsheets(location.folder)
            or (others[0].do if others else "")
            or about_test_tables(location)
            or _hidden(location.folder)
            + _unpack(location.folder)
            + ClassFolder.hint(location)
            + "Lay it out as one of: "
            + "; ".join(f"{name}: {layout}" for name, layout in LAYOUTS.items())
            + ".",
        )
    if len(reasons) > 1:
        raise UserError(
            "several formats fit: " + "; ".join(f"{name}, because {reason}" for name, reason in reasons.items()),
            where=location.folder,
            do="Set source to one of them, or remove the other files.",
        )
    ((name, reason),) = reasons.items()
    log.info("source=%s set=%s because %s", name, location.split, reason)
    return FORMATS[name]


def recognised(location: SplitLocation, *, source: str) -> dict[str, str]:
    """The formats found at `location`, each with its reason; only the one called `source` unless "auto"."""
    reasons = {name: kind.recognise(location) for name, kind in FORMATS.items() if source in {"auto", name}}
    found = {name: reason for name, reason in reasons.items() if reason is not None}
    if {CsvFolder.name, IsicHdf5.name} <= set(found) and not walk_images(location.folder):
        del found[CsvFolder.name]  # the table is that of the images in the HDF5 file
    return found


def _hidden(folder: Path) -> str:
    """What to do where all images are hidden; "" if they are not."""
    hidden = [path for path in hidden_files(folder) if path.suffix.lower() in images.SUFFIXES]
    if not hidden or walk_images(folder):
        return ""
    first = hidden[0].relative_to(folder).as_posix()
    return f"{len(hidden)} hidden images, such as {first}, are not looked at: rename what begins with a point. "


def _unpack(folder: Path) -> str:
    """What to do with files that are packed, such as PatchCamelyon's as they are downloaded; "" if there are none."""
    packed = [path.name for path in walk_files(folder) if path.suffix.lower() in PACKED]
    return f"Unpack {listed(packed, most=2)}: of packed files only single images and .tar are read. " if packed else ""


def listing(folder: Path) -> str:
    """The first files of a folder, for a message."""
    return ", ".join(path.relative_to(folder).as_posix() for path in walk_files(folder)[:5]) or "no files"
