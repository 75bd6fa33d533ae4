"""Report files: a report.json to the page, the dossier and the cards that it holds the facts of."""

from __future__ import annotations

from pathlib import Path

from lesion.errors import UserError
from lesion.files import make_folder, write_atomic
from lesion.report.documents import documents
from lesion.report.facts import JSON, Facts

PLACES = (JSON, f"output/data/{JSON}", f"data/{JSON}")  # in a folder: of results, of a job, of its output


def rebuild_report(place: Path, *, output: Path | None = None) -> list[Path]:
    """Writes report.html, report.json with the dossier, and a training report's two cards; returns their paths.

    `place` is a job's folder, that of its results or of an evaluation, or a report.json; `output` is where to write,
    the folder of that report.json unless given. Raises UserError where there is no report that can be read.
    """
    path = place if place.is_file() else next((place / name for name in PLACES if (place / name).is_file()), None)
    if path is None:
        raise UserError(
            f"no {JSON}", where=place, do="Give a job's folder, or that of its results or of an evaluation."
        )
    texts = documents(Facts.read(path))
    folder = output or path.parent
    make_folder(folder)
    written = []
    for name, text in texts.items():
        write_atomic(folder / name, text.encode())
        written.append(folder / name)
    return written
