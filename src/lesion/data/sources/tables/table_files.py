"""Table files: which file of a folder is the table of a set, whatever it is called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lesion.data.sources.folders.set_names import set_in, set_of
from lesion.data.sources.json_lines import is_json_lines_table, read_header
from lesion.data.sources.location import SplitLocation, walk_files
from lesion.data.sources.tables.column_names import IMAGE_COLUMNS
from lesion.data.sources.tables.known_tables import UNKNOWN, find_known
from lesion.data.sources.tables.plain_name import plain
from lesion.errors import UserError
from lesion.words import listed

ENDINGS = {".csv", ".tsv", ".tab"}
# A file of one of these kinds is the data set, and a table beside it belongs to it.
OTHER_FORMATS = {".lst", ".rec", ".manifest", ".tar", ".h5", ".hdf5", ".npz"}
SPREADSHEETS = {".xlsx", ".xls", ".ods", ".numbers", ".parquet", ".feather", ".sav", ".dta"}
MOST_WITHOUT_ENDING = 20  # files that are opened to see if they are a known data set's table
CSV_NAMES = {"train": ("train.csv",), "validation": ("validation.csv", "train.csv"), "test": ("test.csv",)}


def usual_names(location: SplitLocation) -> tuple[str, ...]:
    """A validation channel's own table may be called train.csv; beside a training set only validation.csv is it."""
    return CSV_NAMES[location.split] if location.is_own else CSV_NAMES[location.split][:1]


def table_files(location: SplitLocation) -> list[Path]:
    """The tables that may be the set's: one of a usual name, or else all of other names; none beside other formats."""
    files = walk_files(location.folder)
    if usual := _usual(location, files):
        return usual
    is_other = any(path.suffix.lower() in OTHER_FORMATS for path in files)
    manifests = [path for path in files if path.suffix.lower() == ".jsonl" and not is_json_lines_table(path)]
    return [] if is_other or manifests else tables_of(location)


def tables_of(location: SplitLocation) -> list[Path]:
    """The tables that may be the set's, whatever lies beside them.

    Of other names than the usual ones are those that name the set (train_labels.csv), or if none does, those that name
    no set at all (metadata.csv); where all of these lie in folders of sets, those in the set's own
    (train/metadata.csv). In a training channel another set must be named, and not beside a table called train.csv.
    """
    files = walk_files(location.folder)
    if usual := _usual(location, files):
        return usual
    tables = [path for path in files if _is_table(path) and not _is_submission(path)]
    if called := [path for path in tables if set_of(path.stem, is_table=True) == location.split]:
        return called
    if not location.is_own and any(path.name in CSV_NAMES["train"] for path in files):
        return []
    if not tables:
        bare = [path for path in files if path.suffix.lower() in {"", ".txt"}]
        tables = [path for path in bare if _is_known(path)] if len(bare) <= MOST_WITHOUT_ENDING else []
    if named := [path for path in tables if set_in(path.stem) == location.split]:
        return named
    rest = [path for path in tables if set_in(path.stem) is None]
    folder_set = {path: location.set_of_folder(path) for path in rest}
    if rest and None not in folder_set.values() and (location.split in folder_set.values() or len(rest) > 1):
        return [path for path in rest if folder_set[path] == location.split]
    return rest if location.is_own else []


def _usual(location: SplitLocation, files: Sequence[Path]) -> list[Path]:
    found = ([path for path in files if path.name == name] for name in usual_names(location))
    return next(filter(None, found), [])


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS or is_json_lines_table(path)


def find_table(location: SplitLocation, chosen: str | None, *, is_of_other_format: bool = False) -> Path:
    """The table of the set: the one of `table_file`, or the only one; also beside HDF5 if `is_of_other_format`.

    Raises UserError for none and for several.
    """
    folder = location.folder
    if chosen is not None and location.split == "train":
        return _chosen(folder, chosen)
    candidates = tables_of(location) if is_of_other_format else table_files(location)
    found = [path for path in candidates if path.relative_to(folder).as_posix() != chosen]
    if len(found) == 1:
        return found[0]
    names = [path.relative_to(folder).as_posix() for path in found]
    if not found:
        do = about_spreadsheets(folder) or "Put it beside its images."
        raise UserError(f"no {' or '.join(usual_names(location))} here", where=folder, do=do)
    if len({path.name for path in found}) == 1 and found[0].name in usual_names(location):
        raise UserError(
            f"{len(found)} files are called {found[0].name}", where=", ".join(map(str, found[:5])), do="Leave one."
        )
    known = {path: label for path in found if (label := _known_as(path)) is not None}
    hint = "; ".join(f"{path.name} is known as that of {label}" for path, label in known.items())
    example = next((name for path, name in zip(found, names, strict=True) if path in known), names[0])
    raise UserError(
        f"{len(found)} tables may be that of the {location.split} set: {listed(names)}{f' ({hint})' * bool(hint)}",
        where=folder,
        do=f"Set table_file to one of them, such as table_file={example}, or leave only one there."
        if location.split == "train"
        else f"Call the right one {usual_names(location)[0]}, or leave only one there.",
    )


def tables_beside(csv_path: Path, location: SplitLocation) -> list[Path]:
    """The other tables beside a set's table that may be of the same set: those whose names say it, or say no set."""
    return [
        path
        for path in walk_files(location.folder)
        if path.parent == csv_path.parent
        and path != csv_path
        and path.suffix.lower() in ENDINGS
        and not _is_submission(path)
        and set_in(path.stem) in ({None, location.split} if location.is_own else {location.split})
    ]


def about_spreadsheets(folder: Path) -> str:
    """What to do with the tables that are in no format that is read; "" if there are none."""
    sheets = [path.name for path in walk_files(folder) if path.suffix.lower() in SPREADSHEETS]
    return f"Save {listed(sheets, most=2)} as CSV: such files are not read." if sheets else ""


def other_tables(folder: Path, where: str = "") -> list[str]:
    """The tables of a folder beside the one at `where`, by their paths in it."""
    paths = [path for path in walk_files(folder) if _is_table(path) and not _is_submission(path)]
    return [path.relative_to(folder).as_posix() for path in paths if str(path) != where]


def about_test_tables(location: SplitLocation) -> str:
    """What to do with tables that are called as those of other sets, where the training set is looked for; else ""."""
    if location.split != "train":
        return ""
    tables = [name for name in other_tables(location.folder) if set_in(Path(name).stem) not in (None, "train")]
    if not tables:
        return ""
    if len(tables) == 1:
        return f"{tables[0]} belongs to another set by its name: if it is the training set's, call it train.csv."
    return f"{listed(tables)} belong to other sets by their names: call that of the training set train.csv."


def _chosen(folder: Path, chosen: str) -> Path:
    """The file that `table_file` names, by its path in the folder or by its name alone."""
    files = walk_files(folder)
    by_path = [path for path in files if path.relative_to(folder).as_posix() == chosen]
    found = by_path or [path for path in files if path.name == chosen]
    if len(found) == 1:
        return found[0]
    tables = [path.relative_to(folder).as_posix() for path in files if _is_table(path)]
    raise UserError(
        f"table_file={chosen}: {f'{len(found)} files are called so' if found else 'there is no such file'}",
        where=folder,
        do=f"Set it to one of: {listed(tables) or 'none, since there is no table'}.",
        kind="hyperparameters",
    )


def _is_submission(path: Path) -> bool:
    """Whether it is a challenge's example of an answer: its targets are made up."""
    return path.stem.lower().replace("_", "").startswith("samplesubmission")


def _is_known(path: Path) -> bool:
    return _known_as(path) is not None


def is_unknown(path: Path) -> bool:
    """Whether a table's name says no set, and its columns neither those of a known data set nor usual ones."""
    columns = read_header(path)
    has_image = any(plain(name) in IMAGE_COLUMNS for name in columns)
    return set_in(path.stem) is None and not has_image and find_known(columns) is None


def _known_as(path: Path) -> str | None:
    """The known data set whose table a file is; None if it is none, or no text."""
    known = find_known(read_header(path))
    return None if known is None or known.name == UNKNOWN else known.name
