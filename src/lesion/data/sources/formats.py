"""Formats: every way in which a data set may lie there, and which one this is."""

from __future__ import annotations

import logging
from pathlib import Path

from lesion.data.sources.augmented_manifest import AugmentedManifest
from lesion.data.sources.class_folder import ClassFolder
from lesion.data.sources.csv_folder import CsvFolder
from lesion.data.sources.lst import Lst
from lesion.data.sources.pcam_hdf5 import PcamHdf5
from lesion.data.sources.place import Format, Place, walk_files
from lesion.data.sources.webdataset import WebDataset
from lesion.data.table import Columns, Source
from lesion.errors import UserError

log = logging.getLogger(__name__)

FORMATS: dict[str, type[Format]] = {
    source.name: source for source in (CsvFolder, ClassFolder, PcamHdf5, Lst, AugmentedManifest, WebDataset)
}


def open_source(place: Place, columns: Columns, *, source: str) -> Source:
    """The set that lies at `place`: in the format called `source`, or for "auto" in the one that recognises it.

    Says in one log line which and why. Raises UserError where none or several do, with what there is.
    """
    if source != "auto":
        log.info("source=%s set=%s because it was asked for", source, place.split)
        return FORMATS[source].open(place, columns)
    reasons = recognised(place, source=source)
    if not reasons:
        raise UserError(
            f"no {place.split} set found",
            where=f"{place.folder}: {listing(place.folder)}",
            do="Lay it out as one of: " + "; ".join(f"{name}: {kind.layout}" for name, kind in FORMATS.items()) + ".",
        )
    if len(reasons) > 1:
        raise UserError(
            "the format is in doubt: " + "; ".join(f"{name}, because {reason}" for name, reason in reasons.items()),
            where=place.folder,
            do="Set source to one of them, or take the other files away.",
        )
    ((name, reason),) = reasons.items()
    log.info("source=%s set=%s because %s", name, place.split, reason)
    return FORMATS[name].open(place, columns)


def recognised(place: Place, *, source: str) -> dict[str, str]:
    """The formats that see their set at `place`, each with its reason; only the one called `source` unless "auto"."""
    reasons = {name: kind.recognise(place) for name, kind in FORMATS.items() if source in {"auto", name}}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def listing(folder: Path) -> str:
    """The first files of a folder, for a message."""
    return ", ".join(path.relative_to(folder).as_posix() for path in walk_files(folder)[:5]) or "no files"
