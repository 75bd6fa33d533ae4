"""Table: the rows of a data set, no pixels. One entry a sample in every column; their order is the source's own."""

# S samples

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion.data.decode.images import FrameChoice, Pixels
from lesion.data.groups import one_spelling, own_groups
from lesion.data.metadata import Row
from lesion.data.remark import Remark
from lesion.words import listed

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
    on_missing_group: Literal["own_group", "drop", "error"] = "own_group"  # drop: whoever trains leaves the rows out
    on_uncertain: Literal["error", "drop", "positive", "negative"] = "error"  # labels (data/labels/uncertain)
    frames: FrameChoice = "first"  # which frames of DICOM files are its pictures
    decode_px: int | None = None  # of a JPEG's shorter side, which the decoder may reduce to so many; None: all
    mask: str | None = None  # the column of masks' paths, which whoever trains reads from `others`
    # A table that was refused is opened once more for what can be known of it: what it lacks is left out.
    is_lenient: bool = False
    # A set to predict: what the table lacks is missing, and a header that cannot be read costs its own row.
    is_for_prediction: bool = False

    def optional(self) -> Columns:
        """The same columns where they are there; none is needed, nor a group for each row."""
        return replace(self, are_targets_needed=False, is_group_needed=False, fold=None, on_missing_group="own_group")


@dataclass(frozen=True)
class SampleTable:
    """Columns of S rows: names (unique), targets, groups, folds and metadata, all as text as they were written."""

    name_S: NDArray[np.str_]
    metadata: pd.DataFrame  # missing cells as NA; one column for each of Columns.metadata, in that order
    targets: pd.DataFrame | None = None  # no cell missing, or "" in a lenient table; one column, or one for each label
    class_name_S: NDArray[np.str_] | None = None  # the class name of each row, "" where absent
    group_S: NDArray[np.str_] | None = None  # one spelling for each group
    is_own_S: NDArray[np.bool_] | None = None  # True where no group is known, and the row is one of its own
    fold_S: NDArray[np.str_] | None = None
    is_valid_S: NDArray[np.bool_] | None = None  # True on the rows of a validation set
    has_class_folders: bool = False  # a target is the folder that an image lies in
    has_sets: bool = False  # a column said which rows are training rows: it holds no folds
    # Target columns of a lenient table that may say more than its whole rows do, once the empty cells are filled in.
    unclear_targets: frozenset[str] = frozenset()
    num_aside: int = 0  # rows of a lenient table that were left aside for an empty cell
    is_placed_S: NDArray[np.bool_] | None = None  # False where a cell of group or fold is empty; None: they are whole
    num_uncertain: int = 0  # rows that on_uncertain=drop left out
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

        def picked_of(frame: pd.DataFrame) -> pd.DataFrame:
            return frame.iloc[index].reset_index(drop=True)  # a row may be picked twice, and labels are told apart

        arrays = ("class_name_S", "group_S", "is_own_S", "fold_S", "is_valid_S", "is_placed_S")
        picked: dict[str, Any] = {
            name: None if (values := getattr(self, name)) is None else values[index] for name in arrays
        }
        return replace(
            self,
            name_S=self.name_S[index],
            metadata=picked_of(self.metadata),
            targets=None if self.targets is None else picked_of(self.targets),
            others=None if self.others is None else picked_of(self.others),
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
    def has_own_group_S(self) -> NDArray[np.bool_]:
        """The rows [S] whose group is not known, each of them a group of its own: all, if the table has no groups."""
        return np.full(len(self), self.group_S is None) if self.is_own_S is None else self.is_own_S

    @property
    def is_whole_S(self) -> NDArray[np.bool_]:
        """The rows [S] without an empty cell of target, group or fold: all, unless the table is a lenient one."""
        is_whole_S = np.ones(len(self), dtype=bool) if self.is_placed_S is None else self.is_placed_S
        return is_whole_S if self.targets is None else is_whole_S & (self.targets != "").all(axis=1).to_numpy()

    def whole_rows(self, index_S: NDArray[np.intp]) -> SampleTable:
        """These of its whole rows, which know what the rows that are left aside may say: `unclear_targets`."""
        picked, is_whole_S = self.rows(index_S), self.is_whole_S
        if self.targets is None or is_whole_S.all():
            return picked
        unclear = {
            str(name)
            for name, text_S in self.targets.items()
            if (text_S == "").any() or set(text_S) != set(text_S[is_whole_S])
        }
        return replace(picked, unclear_targets=frozenset(unclear), num_aside=int((~is_whole_S).sum()))

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

        group_S, is_own_S = self._groups()
        return SampleTable(
            **{column: joined(column) for column in ("name_S", "targets", "others")},
            metadata=joined("metadata")[list(self._tables[0].metadata.columns)],  # which networks are trained with
            class_name_S=self._class_names(),
            group_S=group_S,
            is_own_S=is_own_S,
            strays=tuple(stray for table in self._tables for stray in table.strays),
            remarks=(*(remark for table in self._tables for remark in table.remarks), *self._remarks()),
            is_valid_S=np.repeat([False, True], [len(table) for table in self._tables]),
            is_placed_S=np.concatenate(
                [
                    np.ones(len(table), dtype=bool) if table.is_placed_S is None else table.is_placed_S
                    for table in self._tables
                ]
            ),
            num_uncertain=sum(table.num_uncertain for table in self._tables),
            has_class_folders=all(table.has_class_folders for table in self._tables),
            image_column=self._tables[0].image_column,
            columns=self._tables[0].columns,
            where=" and ".join(table.where for table in self._tables),
        )

    def _class_names(self) -> NDArray[np.str_] | None:
        """Both sets' class names, "" in the rows of a set without them. None if both have none."""
        if all(table.class_name_S is None for table in self._tables):
            return None
        return np.concatenate(
            [np.full(len(table), "") if table.class_name_S is None else table.class_name_S for table in self._tables]
        )

    def _groups(self) -> tuple[NDArray[np.str_] | None, NDArray[np.bool_] | None]:
        """Both sets' groups in one spelling, and the rows that are groups of their own: all of a set without groups.
        None if both have none."""
        if all(table.group_S is None for table in self._tables):
            return None, None
        name_S = np.concatenate([table.name_S for table in self._tables])
        group_S = np.concatenate([table.group_or_row_S for table in self._tables])
        is_own_S = np.concatenate([table.has_own_group_S for table in self._tables])
        group_S[~is_own_S] = one_spelling(group_S[~is_own_S])[0]
        return own_groups(group_S, name_S, is_own_S), is_own_S

    def _remarks(self) -> list[Remark]:
        """What joining the sets leaves out."""
        training, validation = self._tables
        remarks = []
        if (training.group_S is None) != (validation.group_S is None):
            has, lacks = ("training", "validation")[:: 1 if validation.group_S is None else -1]
            what = f"the {has} set has groups and the {lacks} set has none: a patient in both is not found"
            do = f"Give the {lacks} set the same group column."
            remarks.append(Remark("groups_of_one_set", what, do, validation.where, "warning"))
        if lacking := [str(name) for name in validation.metadata if name not in training.metadata]:
            what = f"metadata that the validation set has and the training set lacks is not used: {listed(lacking)}"
            do = "Give the training set the same columns."
            remarks.append(Remark("metadata_of_one_set", what, do, validation.where, "warning"))
        if training.fold_S is not None:
            what = "the fold column that split names is not used: the validation channel replaces it"
            remarks.append(Remark("unused_folds", what, where=training.where, level="warning"))
        return remarks

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

    @property
    def num_opened(self) -> int:
        """How many rows the source has: those that were left out too."""
        return len(self._source.table())

    def table(self) -> SampleTable:
        return self._table

    def read(self, index: int) -> Pixels:
        return self._source.read(int(self.index_S[index]))
