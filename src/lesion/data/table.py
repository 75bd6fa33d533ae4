"""Table: the rows of a data set, no pixels. One entry a sample in every column; the order is the CSV's and stays so."""

# S samples

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion.data.images import Pixels
from lesion.data.metadata import Row
from lesion.errors import UserError


@dataclass(frozen=True)
class Columns:
    """Which column holds what. None where a table has no such thing: a test set has no target."""

    image: str | None
    metadata: tuple[str, ...]
    target: str | None = None
    class_name: str | None = None
    group: str | None = None
    fold: str | None = None


@dataclass(frozen=True)
class SampleTable:
    """Columns of S rows: names (unique), targets (float32, 0 or 1), groups and folds as text, metadata as written."""

    name_S: NDArray[np.str_]
    metadata: pd.DataFrame  # text, missing as NA; one column for each of Columns.metadata, in that order
    target_S: NDArray[np.float32] | None = None
    group_S: NDArray[np.str_] | None = None
    fold_S: NDArray[np.str_] | None = None
    is_held_S: NDArray[np.bool_] | None = None  # True on the rows of a validation channel
    class_names: tuple[str, str] = ("0", "1")
    image_column: str = "image_name"

    def __len__(self) -> int:
        return len(self.name_S)

    def rows(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> SampleTable:
        """The rows that a mask or a list of positions picks, in its order."""
        picked: dict[str, Any] = {
            column: None if (values := getattr(self, column)) is None else values[keep]
            for column in ("target_S", "group_S", "fold_S", "is_held_S")
        }
        return replace(
            self, name_S=self.name_S[keep], metadata=self.metadata.iloc[np.arange(len(self))[keep]], **picked
        )

    def metadata_rows(self) -> list[Row]:
        """Each row's metadata by column name, missing cells as None."""
        cells = self.metadata.astype(object).where(self.metadata.notna(), None)
        return [dict(zip(self.metadata.columns, row, strict=True)) for row in cells.itertuples(index=False, name=None)]

    def fingerprint(self) -> str:
        """A digest of names, targets, groups and metadata: the same rows in the same order give the same one."""
        digest = hashlib.sha256()
        for column in (self.name_S, self.target_S, self.group_S, self.fold_S):
            digest.update(b"none" if column is None else "\x1f".join(map(str, column.tolist())).encode())
            digest.update(b"\x1e")
        digest.update(self.metadata.to_csv(index=False).encode())
        return digest.hexdigest()


class Readable(Protocol):
    """Numbered pictures. Reading is safe from several threads at once."""

    def read(self, index: int) -> Pixels:
        """One picture as uint8 RGB [H, W, 3]. Raises UserError that names the file."""
        ...


class Source(Readable, Protocol):
    """A data set: its rows, and the picture of each, numbered as the rows are."""

    def table(self) -> SampleTable: ...


class Joined:
    """A training and a validation channel as one source, whose table says which rows are held out."""

    def __init__(self, training: Source, validation: Source) -> None:
        self._parts: Sequence[Source] = (training, validation)
        self._tables = [part.table() for part in self._parts]
        names = [table.class_names for table in self._tables]
        if names[0] != names[1] and "0" not in names[0] + names[1]:  # digits name nothing, so they contradict nothing
            raise UserError(
                f"the training targets are {' and '.join(names[0])}, the validation targets {' and '.join(names[1])}",
                do="Use the same two words in both tables.",
            )
        self._starts = np.cumsum([0] + [len(table) for table in self._tables])

    def table(self) -> SampleTable:
        def joined(column: str) -> Any:
            values = [getattr(table, column) for table in self._tables]
            return None if any(value is None for value in values) else np.concatenate(values)

        return SampleTable(
            name_S=joined("name_S"),
            metadata=pd.concat([table.metadata for table in self._tables], ignore_index=True),
            target_S=joined("target_S"),
            group_S=joined("group_S"),
            is_held_S=np.repeat([False, True], [len(table) for table in self._tables]),
            class_names=self._tables[0].class_names,
            image_column=self._tables[0].image_column,
        )

    def read(self, index: int) -> Pixels:
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._parts[part].read(index - int(self._starts[part]))


class Picked:
    """Some rows of a source, in the order asked for: what is left when unreadable pictures are dropped."""

    def __init__(self, source: Source, index_S: NDArray[np.intp]) -> None:
        self._source, self._index_S = source, index_S

    def table(self) -> SampleTable:
        return self._source.table().rows(self._index_S)

    def read(self, index: int) -> Pixels:
        return self._source.read(int(self._index_S[index]))
