"""Location: the folder in which one split of a data set lies, and the files there."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from lesion.data.decode.image_files import image_files
from lesion.data.decode.reading import reading
from lesion.data.sources.folders.set_names import Split, set_in, set_of
from lesion.data.sources.once import remembered
from lesion.data.table import Columns, Source
from lesion.errors import UserError

# What other programs leave: macOS, Synology's and QNAP's servers, Windows, file systems.
NOT_DATA = (
    "__MACOSX",
    "Icon\r",
    "@eaDir",
    "#recycle",
    "@Recycle",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
)


@dataclass(frozen=True)
class SplitLocation:
    """A channel's folder, and which split of the data set is looked for in it."""

    folder: Path
    split: Split
    is_own: bool = True  # False where a test set is looked for in the training channel: only a part of it can be it
    lists: Path | None = None  # the channel with .lst files: train_lst, validation_lst

    def pick(self, paths: Sequence[Path]) -> list[Path]:
        """Those of the files that belong to this split, by a set's word in their names or in those of their folders.

        In a channel of its own, files without such a word belong to the split, and if there are none, all files do.
        """
        found = {path: self._set_of(path) for path in paths}
        named = [path for path, split in found.items() if split == self.split]
        if named or not self.is_own:
            return named
        return [path for path, split in found.items() if split is None] or (
            list(paths) if self.split != "train" else []
        )

    def _set_of(self, path: Path) -> Split | None:
        """The set that a file's name says, or else the innermost folder below this one that is called as a set."""
        if (split := set_in(path.stem)) is not None:
            return split
        return self.set_of_folder(path)

    def set_of_folder(self, path: Path) -> Split | None:
        """The set that the innermost folder above a file, and below this one, is called as; None if none is."""
        folders = path.relative_to(self.folder).parts[:-1] if path.is_relative_to(self.folder) else ()
        return next((split for name in reversed(folders) if (split := set_of(name)) is not None), None)


class Format(Source, Protocol):
    """A data set format: recognises a data set by its files, and opens it without decoding a picture."""

    name: str  # what the hyperparameter `source` calls it

    @classmethod
    def recognise(cls, location: SplitLocation) -> str | None:
        """Why the folder has this format, as words after "because"; None if it has not.

        Raises UserError only where the folder cannot be listed.
        """
        ...

    @classmethod
    def open(cls, location: SplitLocation, columns: Columns) -> Self:
        """The set as a source. Raises UserError where it is not there, or lacks what `columns` needs."""
        ...

    def files(self) -> Iterable[Path]:
        """The files of which the set is made: its table and its pictures, its shards."""
        ...


def walk_files(folder: Path) -> list[Path]:
    """All files below `folder`, sorted; without hidden ones and what macOS, notebooks and SageMaker leave there.

    Links are followed, each real folder once and by its own path where it has one below `folder`, so that links in
    circles end. Raises UserError for a folder that cannot be listed.
    """
    return _listed(folder)[0]


def hidden_files(folder: Path) -> list[Path]:
    """The files below `folder` that `walk_files` leaves out: called so, or in folders called so; sorted."""
    return _listed(folder)[1]


@remembered
def _listed(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files of data and the others. Links into hidden folders are not followed."""
    found: list[str] = []
    hidden: list[str] = []
    seen: set[tuple[int, int]] = set()
    folders, links, of_others = deque([os.fspath(folder)]), deque[str](), deque[str]()
    while folders or links or of_others:
        is_hidden = not folders and not links
        where = (folders or links or of_others).popleft()
        try:
            with reading(where, "the folder cannot be listed", do="Make it readable for this user, or remove it."):
                status = Path(where).stat()
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                with os.scandir(where) as listed:
                    entries = sorted(listed, key=lambda entry: entry.name)
        except UserError:
            if is_hidden:  # nothing in it would be read
                continue
            raise
        for entry in entries:
            is_folder, is_seen = _is_folder(entry), not is_hidden and is_data(entry.name)
            if not is_folder:
                (found if is_seen else hidden).append(entry.path)
            elif is_seen:
                (links if entry.is_symlink() else folders).append(entry.path)
            elif not entry.is_symlink():
                of_others.append(entry.path)
    return sorted(map(Path, found)), sorted(map(Path, hidden))


@remembered
def walk_images(folder: Path) -> list[Path]:
    """The image files below `folder`, whatever their endings, sorted as `walk_files` does."""
    return image_files(walk_files(folder))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: opening it raises the error
        return False


def is_data(name: str) -> bool:
    """Whether a file or folder of this name is looked at."""
    return not name.startswith(".") and ".sagemaker-" not in name and name not in NOT_DATA
