"""Table: rows picked and sources joined keep names, targets and pictures together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lesion.data.decode.images import Pixels
from lesion.data.table import Concat, Rows, SampleTable


class Levels:
    """A source whose row i has the picture, name, target and metadata that its level says."""

    def __init__(self, *levels: int) -> None:
        self.levels = levels

    def table(self) -> SampleTable:
        return SampleTable(
            name_S=np.array([f"p{level}" for level in self.levels]),
            metadata=pd.DataFrame({"age": pd.array([str(level) for level in self.levels], dtype="string")}),
            targets=pd.DataFrame({"target": [str(level % 2) for level in self.levels]}),
            class_name_S=np.array([f"C{level}" for level in self.levels]),
            group_S=np.array([f"G{level}" for level in self.levels]),
            image_column="image_id",
        )

    def read(self, index: int) -> Pixels:
        return np.full((2, 2, 3), self.levels[index], np.uint8)


def assert_rows_are(source: Concat | Rows, levels: list[int]) -> None:
    """Every column and every picture says the same level for each row."""
    table = source.table()
    assert len(table) == len(levels)
    assert table.name_S.tolist() == [f"p{level}" for level in levels]
    assert table.targets["target"].tolist() == [str(level % 2) for level in levels]
    assert table.class_name_S.tolist() == [f"C{level}" for level in levels]
    assert table.group_S.tolist() == [f"G{level}" for level in levels]
    assert [row["age"] for row in table.metadata_rows()] == [str(level) for level in levels]
    assert [int(source.read(row)[0, 0, 0]) for row in range(len(levels))] == levels
    assert table.image_column == "image_id"


def test_joined_sources_stand_behind_one_another():
    joined = Concat(Levels(1, 2, 3), Levels(5, 4))
    assert_rows_are(joined, [1, 2, 3, 5, 4])
    assert joined.table().is_valid_S.tolist() == [False, False, False, True, True]


def test_picked_rows_stand_in_the_order_asked_for():
    assert_rows_are(Rows(Levels(7, 8, 9, 10), np.array([3, 0, 2])), [10, 7, 9])


def test_picked_rows_of_joined_sources_agree_with_both():
    picked = Rows(Concat(Levels(1, 2), Levels(3, 4)), np.array([1, 2]))
    assert_rows_are(picked, [2, 3])
    assert picked.table().is_valid_S.tolist() == [False, True]


def test_rows_of_a_joined_source_without_groups_are_groups_of_their_own():
    class Ungrouped(Levels):
        def table(self) -> SampleTable:
            return replace(super().table(), group_S=None)

    joined = Concat(Levels(1), Ungrouped(2)).table()
    assert joined.group_S.tolist() == ["G1", "p2"] and joined.has_own_group_S.tolist() == [False, True]
    assert Concat(Ungrouped(1), Ungrouped(2)).table().group_S is None


@pytest.mark.parametrize("lacks", [0, 1])
def test_a_joined_source_has_the_metadata_of_its_training_set(lacks):
    class Bare(Levels):
        def table(self) -> SampleTable:
            return replace(super().table(), metadata=pd.DataFrame(index=range(len(self.levels))))

    parts = [Levels(1), Levels(2)]
    parts[lacks] = Bare(lacks + 1)
    table = Concat(*parts).table()
    assert table.metadata_rows() == ([{}, {}] if lacks == 0 else [{"age": "1"}, {"age": None}])
    said = [remark.what for remark in table.remarks if remark.name == "metadata_of_one_set"]
    assert said == (["metadata that the validation set has and the training set lacks is not used: age"] * (1 - lacks))


@pytest.mark.parametrize(("lacks", "expected"), [([0], ["", "C2"]), ([1], ["C1", ""]), ([0, 1], None)])
def test_a_joined_source_has_the_class_names_of_the_set_that_has_them(lacks, expected):
    class Nameless(Levels):
        def table(self) -> SampleTable:
            return replace(super().table(), class_name_S=None)

    class_name_S = Concat(*((Nameless if part in lacks else Levels)(part + 1) for part in (0, 1))).table().class_name_S
    assert (None if class_name_S is None else class_name_S.tolist()) == expected


def test_rows_may_be_picked_by_mask():
    table = Levels(1, 2, 3).table().rows(np.array([True, False, True]))
    assert table.name_S.tolist() == ["p1", "p3"] and table.metadata_rows() == [{"age": "1"}, {"age": "3"}]
    assert table.fold_S is None


def test_a_missing_cell_is_none():
    table = replace(Levels(1, 2).table(), metadata=pd.DataFrame({"age": pd.array([None, "3"], dtype="string")}))
    assert table.metadata_rows() == [{"age": None}, {"age": "3"}]


def test_the_same_rows_have_the_same_fingerprint():
    assert Levels(1, 2).table().fingerprint() == Levels(1, 2).table().fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        {"name_S": np.array(["p1", "other"])},
        {"name_S": np.array(["p2", "p1"])},
        {"targets": pd.DataFrame({"target": ["1", "1"]})},
        {"targets": pd.DataFrame({"other": ["1", "0"]})},
        {"targets": None},
        {"group_S": np.array(["G1", "G1"])},
        {"group_S": None},
        {"fold_S": np.array(["0", "1"])},
        {"metadata": pd.DataFrame({"age": ["1", "3"]})},
        {"metadata": pd.DataFrame({"years": ["1", "2"]})},
    ],
)
def test_a_fingerprint_changes_with_whatever_a_row_says(change):
    table = Levels(1, 2).table()
    assert replace(table, **change).fingerprint() != table.fingerprint()


def test_rows_of_rows_stand_where_the_source_has_them_and_keep_the_table_that_they_were_given():
    left = Rows(Levels(7, 8, 9, 10), np.array([1, 2, 3]))
    table = replace(left.table().rows(np.array([0, 2])), group_S=np.array(["a", "a"]))
    merged = Rows(left, np.array([0, 2]), table=table)
    assert merged.table().group_S.tolist() == ["a", "a"] and merged.table().name_S.tolist() == ["p8", "p10"]
    assert [int(merged.read(row)[0, 0, 0]) for row in range(2)] == [8, 10]
