"""Missing pictures: the names that have no file beside the files that have no row, and the likely cause."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from pathlib import Path

from lesion.data.decode.image_files import stem
from lesion.data.sources.location import walk_files
from lesion.data.sources.name_match import SPELLINGS
from lesion.words import listed, shortened

NUM_COMPARED = 20  # of the names: each is searched for in all files
MAX_STRAYS = 50_000
MIN_CONTAINED = 3  # characters of a name that is searched for within others
ROUNDED = re.compile(r"\d([.,]\d+)?[eE]\+?\d+")  # 1.23E+12, as spreadsheets write long numbers
MAX_NAME = 100


def remedy_of(missing: Sequence[str], pictures: Sequence[str], strays: Sequence[str], folder: Path) -> str:
    """What to do about names that no file fits, for all of them at once.

    `pictures` are the images below `folder` as paths below it, and `strays` those of them that no row names.
    """
    first = listed([shortened(stray, MAX_NAME) for stray in strays], most=3)
    have = "image there has" if len(strays) == 1 else "images there have"
    there = f"{len(strays)} {have} no row: {first}."
    if not strays:
        there = "Every image there has a row." if pictures else "There are no images at all."
    # Spread over the column: the first names may be of one folder.
    compared = missing[:: max(len(missing) // NUM_COMPARED, 1)][:NUM_COMPARED]
    cause = (
        _other_file(compared, set(pictures), folder)
        or _rounded(compared)
        or _leads_out(compared)
        or _other_spelling(compared, strays)
        or _part_of_name(compared, strays[:MAX_STRAYS])
    )
    return f"{there} {cause or 'Add the files, or correct the names.'}"


def _rounded(names: Sequence[str]) -> str | None:
    rounded = [name for name in names if ROUNDED.fullmatch(stem(name))]
    if not _is_most(rounded, names):
        return None
    return f"A spreadsheet has rounded the names, such as {rounded[0]}: restore them from the table it was made of."


def _leads_out(names: Sequence[str]) -> str | None:
    out = [name for name in names if ".." in re.split(r"[/\\]", name)]
    if not _is_most(out, names):
        return None
    return f"A path such as {shortened(out[0], MAX_NAME)} leads out of the folder: write the names as paths below it."


def _other_file(names: Sequence[str], pictures: Set[str], folder: Path) -> str | None:
    """There is such a file, and it is no image."""
    others = {path.relative_to(folder).as_posix() for path in walk_files(folder)} - pictures
    by_name = {key: other for other in sorted(others) for key in (_last(other), stem(_last(other)).partition(".")[0])}
    found = [other for name in names if (other := by_name.get(_last(name)) or by_name.get(stem(_last(name))))]
    if not _is_most(found, names):
        return None
    return f"Files such as {found[0]} are no images that can be read: convert them, to PNG for example."


def _other_spelling(names: Sequence[str], strays: Sequence[str]) -> str | None:
    """A rule would find them, but contradicts what other names have found."""
    for spelling in SPELLINGS:
        by_name = {key: stray for stray in strays for key in spelling.file(_last(stray))}
        found = [(name, by_name[key]) for name in names if (key := spelling.name(_last(name))) in by_name]
        if _is_most(found, names):
            name, stray = found[0]
            words = spelling.words or "in another folder"
            return (
                f"'{shortened(name, MAX_NAME)}' may be {shortened(stray, MAX_NAME)}, {words}, but that is not certain: "
                "other names would fit other files so. Write the names as the files are called."
            )
    return None


def _part_of_name(names: Sequence[str], strays: Sequence[str]) -> str | None:
    """The files' names hold the rows' names and more, or the other way round."""
    stems = [(stem(_last(stray)), stray) for stray in strays]
    found = []
    for name in names:
        text = stem(_last(name))
        longer = [stray for other, stray in stems if text in other] if len(text) >= MIN_CONTAINED else []
        shorter = [stray for other, stray in stems if other in text and len(other) >= MIN_CONTAINED]
        if len(longer or shorter) == 1:
            found.append((name, *(longer or shorter)))
    if not _is_most(found, names):
        return None
    name, stray = found[0]
    example = f"'{shortened(name, MAX_NAME)}' may be {shortened(stray, MAX_NAME)}"
    return f"{example}: write the names as the files are called."


def _last(path: str) -> str:
    return re.split(r"[/\\]", path)[-1]


def _is_most(found: Sequence[object], names: Sequence[str]) -> bool:
    return 2 * len(found) > len(names)
