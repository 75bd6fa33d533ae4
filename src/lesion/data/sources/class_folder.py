"""Class folders: a folder of pictures for each class, the folder's name the class's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pandas as pd

from lesion.data import images
from lesion.data.sources.headers import with_headers
from lesion.data.sources.location import Split, SplitLocation, walk_files, walk_images
from lesion.data.sources.rows import one_target, refuse_groups, table_of
from lesion.data.table import Columns, SampleTable
from lesion.errors import UserError

FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
# A file of one of these kinds says more of the set than its folders do.
OTHER_FORMATS = {".csv", ".lst", ".rec", ".manifest", ".jsonl", ".tar", ".h5", ".hdf5"}


class ClassFolder:
    """Pictures in one folder per class; a test set may be without class folders. A sample's name is its path."""

    name = "class_folder"
    layout = "one folder per class, in the channel or in its train/, validation/ and test/"

    def __init__(self, root: Path, paths: Sequence[Path], columns: Columns) -> None:
        """Raises UserError where groups are wanted: folders know none, unless the pictures are DICOM."""
        relative = [path.relative_to(root) for path in paths]
        frame = pd.DataFrame({columns.image or "image_name": [path.as_posix() for path in relative]}, dtype="string")
        if all(len(path.parts) > 1 for path in relative):
            if len(columns.targets) > 1:
                raise one_target(columns, root)
            for column in columns.targets:
                frame[column] = [path.parts[0] for path in relative]
        frame = with_headers(frame, paths, columns)
        if columns.group not in frame:
            refuse_groups(columns, "class folders", root)
        self._table, self._paths = table_of(frame, columns, str(root)), list(paths)

    @classmethod
    def recognise(cls, location: SplitLocation) -> str | None:
        root = _root(location)
        if root is None or {path.suffix.lower() for path in walk_files(location.folder)} & OTHER_FORMATS:
            return None
        classes = sorted({path.relative_to(root).parts[0] for path in _pictures(root) if path.parent != root})
        if location.split == "test" and _pictures(root):
            return f"{root.name}/ holds images"
        return f"it holds the folders {', '.join(classes[:4])}" if len(classes) > 1 else None

    @classmethod
    def open(cls, location: SplitLocation, columns: Columns) -> Self:
        root = _root(location)
        paths = [] if root is None else _pictures(root)
        if root is None or not paths:
            raise UserError(f"no folders of images for the {location.split} set", where=location.folder, do="Add them.")
        loose = [path.name for path in paths if path.parent == root]
        if columns.are_targets_needed and loose:
            raise UserError(
                f"{len(loose)} images are in no class folder, such as {loose[0]}"
                if len(loose) > 1
                else f"1 image is in no class folder, {loose[0]}",
                where=root,
                do="Move each into that of its class.",
            )
        return cls(root, paths, columns)

    def table(self) -> SampleTable:
        return self._table

    def read(self, index: int) -> images.Pixels:
        return images.read(self._paths[index])


def _root(location: SplitLocation) -> Path | None:
    """The folder that holds the class folders: the split's own inside the channel, or the channel."""
    inside = [
        path for path in sorted(location.folder.glob("*")) if path.is_dir() and path.name in FOLDERS[location.split]
    ]
    if inside:
        return inside[0]
    return location.folder if location.is_own else None


def _pictures(root: Path) -> list[Path]:
    """The pictures below the root, without those of other sets, where the channel itself is the root."""
    others = {root / name for names in FOLDERS.values() for name in names}
    return [path for path in walk_images(root) if not others & set(path.parents)]
