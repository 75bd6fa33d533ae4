"""Table: the rows of a data set, no pixels. One entry a sample in every column; their order is the source's own."""

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
from lesion.data.remark import Remark

USUAL_METADATA = ("sex", "age_approx", "anatom_site_general_challenge")  # of the SIIM-ISIC challenge
USUAL_GROUP = "patient_id"


@dataclass(frozen=True)
class Columns:
    """Which columns are wanted of a data set, and which of them it must have."""

    image: str | None = None  # None: the first of the usual names that is there
    metadata: tuple[str, ...] | None = None  # None: those of `usual_metadata` that are there
    targets: tuple[str, ...] = ()
    are_targets_needed: bool = False  # else taken where they are there: a test set may have none
    class_name: str | None = None
    group: str | None = None
    is_group_needed: bool = False
    fold: str | None = None
    usual_metadata: tuple[str, ...] = USUAL_METADATA
    table_file: str | None = None  # the CSV of the training set; None: the one that is found
    # Hyperparameters of columns that the user left unset: a table of known columns says what they are.
    unset: frozenset[str] = frozenset()
    known: str | None = None  # the data set whose table it is, as known_tables.py calls it
    # A table that was refused is opened once more for what can be known of it: what it lacks is left out.
    is_lenient: bool = False
    # A set to predict: what the table lacks is missing, and a header that cannot be read costs its own row.
    is_for_prediction: bool = False

    def optional(self) -> Columns:
        """The same columns where they are there; none is needed."""
        return replace(self, are_targets_needed=False, is_group_needed=False, fold=None)


@dataclass(frozen=True)
class SampleTable:
    """Columns of S rows: names (unique), targets, groups, folds and metadata, all as text as they were written."""

    name_S: NDArray[np.str_]
    metadata: pd.DataFrame  # missing cells as NA; one column for each of Columns.metadata, in that order
    targets: pd.DataFrame | None = None  # no cell missing, or "" in a lenient table; one column, or one for each label
    class_name_S: NDArray[np.str_] | None = None  # the class name of each row, "" where absent
    group_S: NDArray[np.str_] | None = None
    fold_S: NDArray[np.str_] | None = None
    is_valid_S: NDArray[np.bool_] | None = None  # True on the rows of a validation channel
    is_placed_S: NDArray[np.bool_] | None = None  # False where a cell of group or fold is empty; None: they are whole
    others: pd.DataFrame | None = None  # the columns that are not used, as text
    strays: tuple[str, ...] = ()  # pictures that lie there and that no row names
    remarks: tuple[Remark, ...] = ()  # what was decided when the set was opened
    image_column: str = "image_name"
    columns: Columns | None = None  # as they were found; None where nothing was looked for
    where: str = "the table"  # what an error calls it

    def __len__(self) -> int:
        return len(self.name_S)

    def rows(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> SampleTable:
        """The rows that a mask or a list of positions picks, in its order."""
        index = np.arange(len(self))[keep]
        arrays = ("class_name_S", "group_S", "fold_S", "is_valid_S", "is_placed_S")
        picked: dict[str, Any] = {
            name: None if (values := getattr(self, name)) is None else values[index] for name in arrays
        }
        return replace(
            self,
            name_S=self.name_S[index],
            metadata=self.metadata.iloc[index],
            targets=None if self.targets is None else self.targets.iloc[index],
            others=None if self.others is None else self.others.iloc[index],
            **picked,
        )

    def metadata_rows(self) -> list[Row]:
        """Each row's metadata by column name, missing cells as None."""
        cells = self.metadata.astype(object).where(self.metadata.notna(), None)
        return [dict(zip(self.metadata.columns, row, strict=True)) for row in cells.itertuples(index=False, name=None)]

    @property
    def target_names(self) -> tuple[str, ...]:
        """The target columns, as the table calls them."""
        return () if self.targets is None else tuple(map(str, self.targets.columns))

    @property
    def group_or_row_S(self) -> NDArray[np.str_]:
        """What is independent of what: each row's group, or where there are none the row itself."""
        return self.name_S if self.group_S is None else self.group_S

    @property
    def is_whole_S(self) -> NDArray[np.bool_]:
        """The rows [S] without an empty cell of target, group or fold: all, unless the table is a lenient one."""
        is_whole_S = np.ones(len(self), dtype=bool) if self.is_placed_S is None else self.is_placed_S
        return is_whole_S if self.targets is None else is_whole_S & (self.targets != "").all(axis=1).to_numpy()

    def fingerprint(self) -> str:
        """A digest of names, targets, groups and metadata: the same rows in the same order give the same one."""
        digest = hashlib.sha256()
        for column in (self.name_S, self.group_S, self.fold_S):
            digest.update(
                b"none" if column is None else "\x1f".join(map(str, column.tolist())).encode(errors="surrogatepass")
            )
            digest.update(b"\x1e")
        for frame in (self.targets, self.metadata):
            digest.update(b"none" if frame is None else frame.to_csv(index=False).encode(errors="surrogatepass"))
        return digest.hexdigest()


class Readable(Protocol):
    """Numbered pictures. Reading is safe from several threads at once."""

    def read(self, index: int) -> Pixels:
        """One picture as uint8 RGB [H, W, 3]. Raises UserError that names the file."""
        ...


class Source(Readable, Protocol):
    """A data set: its rows, and the picture of each, numbered as the rows are."""

    def table(self) -> SampleTable: ...


class Concat:
    """A training and a validation channel as one source; its table marks the validation rows."""

    def __init__(self, training: Source, validation: Source) -> None:
        self._parts: Sequence[Source] = (training, validation)
        self._tables = [part.table() for part in self._parts]
        self._starts = np.cumsum([0] + [len(table) for table in self._tables])

    def table(self) -> SampleTable:
        def joined(column: str) -> Any:
            values = [getattr(table, column) for table in self._tables]
            if any(value is None for value in values):
                return None
            is_frame = column in {"metadata", "targets", "others"}
            return pd.concat(values, ignore_index=True) if is_frame else np.concatenate(values)

        columns = ("name_S", "metadata", "targets", "class_name_S", "group_S", "others")
        return SampleTable(
            **{column: joined(column) for column in columns},
            strays=tuple(stray for table in self._tables for stray in table.strays),
            remarks=tuple(remark for table in self._tables for remark in table.remarks),
            is_valid_S=np.repeat([False, True], [len(table) for table in self._tables]),
            is_placed_S=np.concatenate(
                [
                    np.ones(len(table), dtype=bool) if table.is_placed_S is None else table.is_placed_S
                    for table in self._tables
                ]
            ),
            image_column=self._tables[0].image_column,
            columns=self._tables[0].columns,
            where=" and ".join(table.where for table in self._tables),
        )

    def read(self, index: int) -> Pixels:
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._parts[part].read(index - int(self._starts[part]))


class Rows:
    """Some rows of a source, in an order of their own and under a table of their own: a source again.

    What is left when rows are dropped, groups are merged, or a column is added.
    """

    def __init__(
        self, source: Source, index_S: NDArray[np.intp] | None = None, *, table: SampleTable | None = None
    ) -> None:
        """`index_S` is where each row stands in `source`, all of them unless given; `table` says what these rows hold,
        as `source` does unless given."""
        opened = source.table()
        self._source = source
        self.index_S = np.arange(len(opened)) if index_S is None else index_S
        self._table = opened.rows(self.index_S) if table is None else table
        assert len(self._table) == len(self.index_S)

    def table(self) -> SampleTable:
        return self._table

    def read(self, index: int) -> Pixels:
        return self._source.read(int(self.index_S[index]))
