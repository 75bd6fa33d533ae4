"""Pictures: files below a folder that a table names."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lesion.data import images
from lesion.data.sources.location import walk_images
from lesion.errors import UserError


class NamedPictures:
    """The picture of each name [S], listed and not yet decoded.

    A name is a relative path or a file name, with the ending or without; `by_file_name` also looks for a path that is
    not there by its last part.
    """

    def __init__(self, folder: Path, name_S: NDArray[np.str_], *, by_file_name: bool = False) -> None:
        """Raises UserError if a name matches two files."""
        self.folder = folder
        self.files = walk_images(folder)
        self._names: list[str] = name_S.tolist()
        by_path: dict[str, Path] = {}
        by_name: dict[str, set[Path]] = defaultdict(set)
        for path in self.files:
            relative = path.relative_to(folder)
            by_path[relative.as_posix()] = path
            for key in {path.name, path.stem, relative.with_suffix("").as_posix()}:
                by_name[key].add(path)
        self.paths: list[Path | None] = []  # None where there is no such file
        for name in self._names:
            # A whole path is never in doubt, also where its file name is there again in another folder.
            known = by_name.get(name) or (by_name.get(name.rpartition("/")[2]) if by_file_name else None)
            paths = [by_path[name]] if name in by_path else sorted(known or ())
            if len(paths) > 1:
                raise UserError(
                    f"'{name}' fits {len(paths)} files",
                    where=", ".join(map(str, paths[:3])),
                    do="Give the path or the ending in the CSV.",
                )
            self.paths.append(paths[0] if paths else None)

    @property
    def found(self) -> list[Path]:
        return [path for path in self.paths if path is not None]

    def read(self, index: int) -> images.Pixels:
        """One picture as uint8 RGB [H, W, 3]. Raises UserError that names it where it is absent or broken."""
        path = self.paths[index]
        if path is None:
            raise UserError(
                "image not found",
                where=f"{self._names[index]} below {self.folder}",
                do="Add the file, or remove the row.",
                kind="unreadable_image",
            )
        return images.read(path)
