"""Pictures: files below a folder that a table names."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lesion.data.decode import images
from lesion.data.remark import Remark
from lesion.data.sources.location import walk_images
from lesion.data.sources.missing_pictures import remedy_of
from lesion.data.sources.name_match import match_names, words_of
from lesion.errors import UserError, raise_all
from lesion.words import listed, shortened

MAX_NAME = 200  # characters of a name in a message


class NamedPictures:
    """The picture of each name [S], listed and not yet decoded: the file called so, or else the only one that fits.

    `name_match` says what fits. How names were found that no file is called is in `remarks`.
    """

    def __init__(
        self,
        folder: Path,
        name_S: NDArray[np.str_],
        *,
        origin: Path | None = None,
        without: Collection[Path] = (),
        decode_px: int | None = None,
    ) -> None:
        """Names are paths below `folder`, or seen from `origin`; files in the folders `without` are not looked at."""
        self.folder, self._decode_px = folder, decode_px
        self.files = walk_images(folder)
        if without:
            self.files = [path for path in self.files if not set(without) & set(path.parents)]
        self._names: list[str] = name_S.tolist()
        self._relative = [path.relative_to(folder).as_posix() for path in self.files]
        self._matches = match_names(
            self._names,
            self._relative,
            folder=str(folder.absolute()),
            origin=None if origin is None else str(origin.absolute()),
        )
        self.paths: list[Path | None] = [
            None if file is None else self.files[file] for file in self._matches.files
        ]  # None where there is no such file

    @property
    def is_whole(self) -> bool:
        """Whether each name has a file, and each file one name."""
        return None not in self.paths and not self._matches.shared

    def check(self) -> None:
        """Raises UserError for names that fit several files, and for files that several names fit."""
        problems, doubtful, shared = [], self._matches.doubtful, self._matches.shared
        if doubtful:
            place, candidates = next(iter(doubtful.items()))
            more = f", and {len(doubtful) - 1} more names fit several" if len(doubtful) > 1 else ""
            problems.append(
                UserError(
                    f"'{_short(self._names[place])}' fits {len(candidates)} files{more}",
                    where=", ".join(str(self.files[file]) for file in candidates[:3]),
                    do=f"Write the path below {self.folder}, with the ending.",
                )
            )
        if shared:
            file, places = next(iter(shared.items()))
            more = f", and so it is with {len(shared) - 1} more images" if len(shared) > 1 else ""
            names = listed([f"'{_short(self._names[place])}'" for place in places], most=3)
            problems.append(
                UserError(
                    f"{len(places)} rows fit one image, {names}{more}",
                    where=self.files[file],
                    do="Keep one row per image, and write each name as its file is called.",
                )
            )
        raise_all(problems)

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """One, if any name was found by a weaker rule; a warning, if it took several rules."""
        ways = words_of(self._matches, self._names, self._relative)
        if not ways:
            return ()
        is_mixed = len(ways) > 1
        do = "Inspect some of them, or write each name as its file is called." if is_mixed else ""
        what = "; ".join(shortened(way, 3 * MAX_NAME) for way in ways)
        return (Remark("images_by_other_names", what, do, str(self.folder), "warning" if is_mixed else "note"),)

    @property
    def found(self) -> list[Path]:
        return [path for path in self.paths if path is not None]

    def read(self, index: int) -> images.Pixels:
        """One picture as uint8 RGB [H, W, 3]. Raises UserError that names it where it is absent or broken."""
        path = self.paths[index]
        if path is None:
            raise UserError(
                f"image not found below {self.folder}",
                where=self._names[index],
                do=self._remedy,
                kind="unreadable_image",
            )
        return images.read(path, decode_px=self._decode_px)

    @cached_property
    def _remedy(self) -> str:
        """What to do about all pictures that are not there, by comparing their names with the files without a row."""
        missing = [name for name, path in zip(self._names, self.paths, strict=True) if path is None]
        used = set(self._matches.files)
        strays = [path for file, path in enumerate(self._relative) if file not in used]
        return remedy_of(missing, self._relative, strays, self.folder)


def _short(name: str) -> str:
    return shortened(name, MAX_NAME)
