"""Class folders: a folder of pictures for each class, the folder's name the class's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import pandas as pd

from lesion.data.decode import images
from lesion.data.masks import NO_MASKS, Masks, find_masks
from lesion.data.remark import Remark
from lesion.data.sources.folders.other_layouts import OtherLayout, other_layouts
from lesion.data.sources.folders.set_folders import Parts, SetFolders, are_patients, set_folders
from lesion.data.sources.folders.set_names import is_neutral, set_of
from lesion.data.sources.folders.side_folders import find_copies, is_side_folder, left_over_classes, side_classes
from lesion.data.sources.location import NOT_DATA, SplitLocation, walk_files, walk_images
from lesion.data.sources.once import remembered
from lesion.data.sources.rows import one_target, refuse_groups, table_of
from lesion.data.sources.tables.headers import with_headers
from lesion.data.sources.tables.table_files import table_files
from lesion.data.table import Columns, SampleTable
from lesion.errors import UserError, raise_all
from lesion.words import listed

FEWEST_PATIENTS = 3  # folders below classes that are taken for groups
# A file of one of these kinds says more of the set than its folders do.
OTHER_FORMATS = {".csv", ".tsv", ".tab", ".lst", ".rec", ".manifest", ".jsonl", ".tar", ".h5", ".hdf5"}


@dataclass(frozen=True)
class ClassPictures:
    """The folder of a set's classes, the pictures below it, and the masks that are left out."""

    root: Path
    paths: tuple[Path, ...]
    masks: Masks = NO_MASKS
    is_looked_through: bool = False  # the root lies in folders that say neither set nor class

    @property
    def classes(self) -> list[str]:
        return sorted({path.relative_to(self.root).parts[0] for path in self.paths if path.parent != self.root})


class ClassFolder:
    """Pictures in one folder per class; a test set may be without class folders. A sample's name is its path."""

    name = "class_folder"

    def __init__(self, pictures: ClassPictures, columns: Columns) -> None:
        """Raises UserError where groups are wanted: folders know none, unless the pictures are DICOM."""
        root, paths = pictures.root, list(pictures.paths)
        relative = [path.relative_to(root) for path in paths]
        frame = pd.DataFrame({columns.image or "image_name": [path.as_posix() for path in relative]}, dtype="string")
        if all(len(path.parts) > 1 for path in relative):
            if len(columns.targets) > 1:
                raise one_target(columns, root)
            for column in columns.targets:
                frame[column] = [path.parts[0] for path in relative]
        remarks = _add_patients(frame, relative, columns, root)
        self._unreadable: dict[Path, UserError] = {}  # a set to predict: files whose header cannot be read
        frame = with_headers(frame, paths, columns, self._unreadable)
        if columns.group not in frame:
            refuse_groups(columns, "class folders", root)
        table = table_of(frame, columns, str(root))
        self._table = replace(table, has_class_folders=True, remarks=(*table.remarks, *remarks))
        self._paths, self._decode_px = paths, columns.decode_px

    @classmethod
    def recognise(cls, location: SplitLocation) -> str | None:
        if {path.suffix.lower() for path in walk_files(location.folder)} & OTHER_FORMATS:
            return None
        if table_files(SplitLocation(location.folder, "train")):  # also one without an ending
            return None
        try:
            pictures = class_pictures(location)
        except UserError:  # sets of unknown names: opening the training set says so
            return "it holds folders of images" if location.is_own else None
        if pictures is None or not pictures.paths:
            return None
        classes = pictures.classes
        if location.split == "test":
            return f"{pictures.root.name}/ holds images"
        # A folder of one class is seen where others lie beside it, so that opening it says what is missing there.
        is_seen = len(classes) > 1 or (classes and (location.split != "train" or len(_folders(pictures.root)) > 1))
        return f"it holds the folders {', '.join(classes[:4])}" if is_seen else None

    @classmethod
    def hint(cls, location: SplitLocation) -> str:
        """What to do where there are class folders, and a file of another format that is none; else ""."""
        others = [path for path in walk_files(location.folder) if path.suffix.lower() in OTHER_FORMATS]
        try:
            pictures = class_pictures(location)
        except UserError:
            return ""
        if not others or pictures is None or len(pictures.classes) < 2:
            return ""
        classes, other = listed(pictures.classes), others[0].relative_to(location.folder)
        return (
            f"The folders {classes} are not taken as classes, because of {other}: set source=class_folder to do so, or "
            "source=csv_folder to read a table. "
        )

    @classmethod
    def of_one_class(cls, location: SplitLocation) -> UserError | None:
        """What is said of a training set that nothing recognises, and that is one folder of images without a table."""
        paths = walk_files(location.folder)
        if location.split != "train" or not paths or len(walk_images(location.folder)) < len(paths):
            return None
        pictures = class_pictures(location)
        return _one_class(pictures, []) if pictures is not None and len(pictures.classes) == 1 else None

    @classmethod
    def open(cls, location: SplitLocation, columns: Columns) -> Self:
        pictures = class_pictures(location)
        if pictures is None or not pictures.paths:
            raise UserError(f"no folders of images for the {location.split} set", where=location.folder, do="Add them.")
        raise_all(pictures.masks.problems)
        loose = [path.name for path in pictures.paths if path.parent == pictures.root]
        is_mixed = bool(loose and columns.targets and len(loose) < len(pictures.paths))
        if (columns.are_targets_needed and loose) or is_mixed:
            raise UserError(
                f"{len(loose)} images are in no class folder, such as {loose[0]}"
                if len(loose) > 1
                else f"1 image is in no class folder, {loose[0]}",
                where=pictures.root,
                do="Move each into that of its class.",
            )
        if location.split == "train" and columns.are_targets_needed and len(pictures.classes) == 1:
            raise _one_class(pictures, other_layouts(location.folder))
        source = cls(pictures, columns)
        source._table = replace(source._table, remarks=(*source._table.remarks, *_remarks(location, pictures)))
        return source

    def table(self) -> SampleTable:
        return self._table

    @property
    def paths(self) -> Sequence[Path | None]:
        return self._paths

    def read(self, index: int) -> images.Pixels:
        path = self._paths[index]
        if path in self._unreadable:
            raise self._unreadable[path]
        return images.read(path, decode_px=self._decode_px)

    def files(self) -> list[Path]:
        return self._paths


def _add_patients(frame: pd.DataFrame, relative: Sequence[Path], columns: Columns, root: Path) -> list[Remark]:
    """Adds the folder below each class as the group, where all are called as patients: benign/P01/x.png."""
    inner = [path.parts[1] if len(path.parts) > 2 else "" for path in relative]
    if columns.group is None or not inner or not are_patients(inner) or len(set(inner)) < FEWEST_PATIENTS:
        return []
    frame[columns.group] = inner
    what = f"the folders below the classes are the groups, {len(set(inner))} of them such as {relative[0].parts[1]}"
    do = "A name that several classes have is one patient. If they are no patients, put the images into their class."
    return [Remark("groups_by_folder", what, do, str(root))]


def has_class_folders(location: SplitLocation) -> bool:
    """Whether at least two folders of images lie there, whatever else does."""
    try:
        pictures = class_pictures(location)
    except UserError:  # it is in doubt which folders are sets
        return True
    return pictures is not None and len(pictures.classes) > 1


def class_pictures(location: SplitLocation) -> ClassPictures | None:
    """The pictures of one set; None if the channel is not its own and has no folder for it.

    Raises UserError where it is in doubt which folders are sets.
    """
    found = _folders_below(location.folder)
    if isinstance(found.sets, UserError):
        raise found.sets
    root = found.sets.of(location.split, is_own=location.is_own)
    if root is None:
        return None
    others = [parts for split, parts in found.sets.sets.items() if split != location.split]
    mine = [
        path
        for path, parts in found.parts_of.items()
        if parts[: len(root)] == root and not any(parts[: len(other)] == other for other in others)
    ]
    folder = location.folder
    return ClassPictures(folder.joinpath(*root), tuple(mine), found.masks, is_looked_through=bool(found.sets.root))


@dataclass(frozen=True)
class _Folders:
    """The pictures of a channel by the parts of their paths in it, without masks and copies in side folders; its masks,
    and its sets or why they are in doubt."""

    parts_of: Mapping[Path, Parts]
    masks: Masks
    sets: SetFolders | UserError


@remembered
def _folders_below(folder: Path) -> _Folders:
    pictures, start = walk_images(folder), len(f"{folder}/")
    masks = find_masks(folder, pictures)
    pictures = [path for path in pictures if path not in masks.paths]
    copies = find_copies(folder, pictures)
    parts_of = {path: tuple(str(path)[start:].split("/")) for path in pictures if path not in copies}
    try:
        return _Folders(parts_of, masks, set_folders(folder, list(parts_of.values())))
    except UserError as error:
        return _Folders(parts_of, masks, error)


def _remarks(location: SplitLocation, pictures: ClassPictures) -> Iterator[Remark]:
    """What was decided by the names of folders and files."""
    root = pictures.root
    where, classes = str(root), pictures.classes
    if pictures.is_looked_through or (root != location.folder and root.name != location.split):
        yield Remark(
            "set_folder",
            f"{root.relative_to(location.folder)}/ is read as the {location.split} set, with {_number(classes)}",
            where=str(location.folder),
        )
    deep = [path for path in pictures.paths if not all(map(is_neutral, path.relative_to(root).parts[1:-1]))]
    if deep:
        first = max(deep, key=lambda path: len(path.parts)).relative_to(root)
        yield Remark(
            "deep_classes",
            f"the first folder is the class, and {len(deep)} images lie deeper: {first} is of class {first.parts[0]}",
            "If a deeper folder is the class, give a train.csv.",
            where,
        )
    if sides := side_classes(classes):
        taken = "are taken as classes" if len(sides) > 1 else "is taken as a class"
        yield Remark(
            "side_folder_as_class",
            f"{listed([f'{name}/' for name in sides])} {taken}: no other folder holds images of the same names",
            "Move it out of the channel if it is none, such as thumbnails or annotated copies.",
            where,
            "warning",
        )
    if left := left_over_classes(classes):
        taken = "are taken as classes of their own" if len(left) > 1 else "is taken as a class of its own"
        yield Remark(
            "left_over_class",
            f"{listed([f'{name}/' for name in left])} {taken}, by a name of what is copied, augmented or left over",
            "Move it out of the channel if it is no class, or its images into that of their class.",
            where,
            "warning",
        )
    if empty := _empty_folders(root, pictures):
        what = "the folders" if len(empty) > 1 else "the folder"
        yield Remark(
            "empty_class_folder",
            f"{what} {listed([f'{name}/' for name in empty])} hold{'s' * (len(empty) == 1)} no images: no class and no "
            "set is made of that",
            "Add its images, or remove it.",
            where,
            "warning",
        )


def _one_class(pictures: ClassPictures, others: Sequence[OtherLayout]) -> UserError:
    """The refusal of a set with one class, with what the folders and the files of other programs beside it are."""
    (name,) = pictures.classes
    empty = _empty_folders(pictures.root, pictures)
    kinds = {
        other: "no images" if other in empty else "images of the same names" if is_side_folder(other) else "masks"
        for other in _folders(pictures.root)
        if other != name
    }
    kinds |= {other: f"the {split} set" for other in kinds if (split := set_of(other)) is not None}
    beside = f"; beside it lie {listed([f'{other}/ ({kind})' for other, kind in kinds.items()])}" if kinds else ""
    for other in others[:1]:
        beside += f"; {other.path.name} is {other.what}, which is not read"
    return UserError(
        f"there is one class only, {name}/{beside}",
        where=pictures.root,
        do=others[0].do if others else "Add a folder with images for each class, or a train.csv.",
    )


def _empty_folders(root: Path, pictures: ClassPictures) -> list[str]:
    """The folders beside those of the classes in which there is no picture."""
    if not pictures.classes:
        return []
    held = {path.relative_to(root).parts[0] for path in walk_images(root)}
    return [name for name in _folders(root) if name not in held]


def _folders(root: Path) -> list[str]:
    with os.scandir(root) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    return sorted(name for name in names if name not in NOT_DATA)


def _number(classes: Sequence[str]) -> str:
    return f"{len(classes)} classes: {listed(classes)}" if classes else "no classes"
