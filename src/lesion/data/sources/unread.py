"""Unread: what lies in a channel and no set is made of."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from lesion.data.decode import images
from lesion.data.masks import find_masks
from lesion.data.remark import Remark
from lesion.data.sources.folders.other_layouts import other_layouts
from lesion.data.sources.folders.set_names import is_in_doubt, set_in, set_of, words_of
from lesion.data.sources.folders.side_folders import find_copies, is_side_folder
from lesion.data.sources.location import NOT_DATA, hidden_files, is_data, walk_files, walk_images
from lesion.words import listed

# What may hold rows or images: whoever puts one there may expect it to be used.
OF_DATA = {
    ".csv", ".tsv", ".xlsx", ".xls", ".lst", ".rec", ".manifest", ".jsonl", ".parquet", ".tar", ".tgz", ".h5", ".hdf5",
    ".npz", ".npy", ".zip", ".gz", ".pkl", ".mat",
}  # fmt: skip

TABLES = {".csv", ".tsv", ".jsonl", ".xlsx", ".xls"}
TEST_WORDS = {"holdout", "heldout", "eval", "evaluation", "external", "unseen"}

# Who leaves files of these beginnings, and how that is said.
LEFT_BY = {
    "._": "macOS",
    "__MACOSX": "macOS",
    "@eaDir": "a Synology server",
    "@Recycle": "a QNAP server",
    ".ipynb_checkpoints": "Jupyter",
    ".Trash": "a desktop",
}
LEFT_BEHIND = " leaves them)"


@dataclass(frozen=True)
class Unread:
    """What is said of the files of a channel that nothing reads, and those of them that are masks."""

    remarks: tuple[Remark, ...]
    masks: frozenset[Path]


def unread(folder: Path, used: Collection[Path], said: Collection[Path]) -> Unread:
    """What of a channel's folder no set uses; of the files that are `said` of elsewhere only which are masks."""
    left = [path for path in walk_files(folder) if path not in used]
    if left:  # a link may lead to a file that is used by its own path
        real = {os.path.realpath(path) for path in used}
        left = [path for path in left if os.path.realpath(path) not in real]
    pictures = walk_images(folder) if left else []
    is_picture = set(pictures)
    masks = frozenset[Path]()
    if is_picture.intersection(left):
        masks = find_masks(folder, pictures).paths.intersection(left)
    remarks = []
    if masks:
        what = f"{len(masks)} masks are not read, such as {min(masks).relative_to(folder)}"
        remarks.append(Remark("masks_not_read", what, where=str(folder)))
    left = [path for path in left if path not in masks and path not in said]
    if copies := find_copies(folder, [path for path in pictures if path not in masks]).intersection(left):
        sides = sorted({_side_folder(path, folder) for path in copies})
        what = (
            f"{len(copies)} images in {listed([f'{side}/' for side in sides])} are not read: images of the same names "
        )
        do = "Rename the folder if it is a class of its own."
        remarks.append(Remark("copies_not_read", f"{what}lie in other folders", do, str(folder), "warning"))
        left = [path for path in left if path not in copies]
    remarks += _hidden(folder)
    for other in other_layouts(folder):
        if other.path in left:
            what = f"{other.path.relative_to(folder)} is {other.what}: not read"
            remarks.append(Remark("other_layout", what, other.do, str(folder), "warning"))
    if left:
        is_data = any(path in is_picture or path.suffix.lower() in OF_DATA for path in left)
        remarks.append(_not_read(folder, left, is_data=is_data))
    return Unread(tuple(remarks), masks)


def _side_folder(path: Path, folder: Path) -> str:
    parts = path.relative_to(folder).parts[:-1]
    place = next(place for place, name in enumerate(parts) if is_side_folder(name))
    return "/".join(parts[: place + 1])


def _hidden(folder: Path) -> list[Remark]:
    """What is said of files that are called as images or tables, and are hidden or what other programs leave."""
    endings = OF_DATA | images.SUFFIXES
    found = [path.relative_to(folder) for path in hidden_files(folder) if path.suffix.lower() in endings]
    if not found:
        return []
    reasons = Counter(map(_reason, found))
    said = listed([f"{count} {reason}" for reason, count in reasons.most_common()], most=6)
    number = "1 file" if len(found) == 1 else f"{len(found)} files"
    are_left = all(reason.endswith(LEFT_BEHIND) for reason in reasons)
    return [
        Remark(
            "hidden_files",
            f"{number} called as images or tables {'is' if len(found) == 1 else 'are'} not read: {said}",
            "" if are_left else "Rename what is meant to be rows or images, so that no name begins with a point.",
            str(folder),
            "note" if are_left else "warning",
        )
    ]


def _reason(path: Path) -> str:
    """Where a hidden file lies, and who leaves files so."""
    top = next(part for part in path.parts if not is_data(part))
    who = next((who for beginning, who in LEFT_BY.items() if top.startswith(beginning)), "")
    place = f"in {top}/" if top != path.name else "called ._ and more" if top.startswith("._") else f"such as {top}"
    if who or top in NOT_DATA:
        return f"{place} ({who or 'another program'}{LEFT_BEHIND}"
    return f"in {top}/ (hidden)" if top != path.name else "hidden by a point before their names"


def _set_called(name: str) -> str | None:
    """The set that the name of a table seems to mean: external_test, holdout and eval_labels are test sets."""
    if (split := set_in(name)) is not None:
        return None if split == "train" else split
    return "test" if TEST_WORDS.intersection(words_of(name)) else None


def _not_read(folder: Path, left: list[Path], *, is_data: bool) -> Remark:
    counts = Counter(path.suffix.lower() or "without ending" for path in left)
    kinds = listed([f"{count} {ending}" for ending, count in counts.most_common()], most=6)
    number = "1 file is" if len(left) == 1 else f"{len(left)} files are"
    tops = {path.relative_to(folder).parts[0] for path in left if path.parent != folder}
    sets = sorted(name for name in tops if set_of(name) or is_in_doubt(name))
    do = "Ignore this if they are not meant to be rows or images." if is_data else ""
    if sets:
        do = f"If they are rows or images of the {set_of(sets[0]) or 'next'} set, give them in a form that is read."
        if is_in_doubt(sets[0]):
            do = f"Call {sets[0]}/ validation/ or test/, if it is meant to be one."
    named = ""
    if table := next((path for path in left if path.suffix.lower() in TABLES and _set_called(path.stem)), None):
        split, name = _set_called(table.stem), table.relative_to(folder).as_posix()
        named = f"; {name} is called as a {split} set"
        do = (
            f"To use it as the {split} set, put {name} and its images into a channel of their own, `{split}`; or call "
            f"it {split}.csv and the folder of its images {split}_jpg/."
        )
    return Remark(
        "files_not_read",
        f"{number} not read: {kinds}, such as {left[0].relative_to(folder)}{named}",
        do,
        str(folder),
        "warning" if is_data else "note",
    )
