"""Labels of a model: another table's words as the model's classes, whatever their order, and refused if unknown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesion.data.labels.encode import read_labels
from lesion.data.labels.of_model import KnownTarget, label
from lesion.data.table import SampleTable
from lesion.errors import UserError
from lesion.targets import Target

BINARY = Target("binary", ("benign", "malignant"))
NUMBERS = Target("binary", ("0", "1"))
TURNED = Target("binary", ("malignant", "benign"))
THREE = Target("multiclass", ("keratosis", "melanoma", "nevus"))
ONE_OF_THREE = Target("multiclass", THREE.class_names, "melanoma")
LABELS = Target("multilabel", ("big", "red"))


def table(names: list[str] | None = None, **targets: list[str]) -> SampleTable:
    frame = pd.DataFrame(targets)
    name_S = np.array([f"image_{number}" for number in range(len(frame))])
    names_S = None if names is None else np.array(names)
    return SampleTable(name_S, pd.DataFrame(index=range(len(frame))), frame, class_name_S=names_S)


def read(rows: SampleTable, known: KnownTarget, *, are_columns_set: bool = False) -> list[list[float]]:
    return label(rows, known, are_columns_set=are_columns_set)[0].targets_SK.tolist()


@pytest.mark.parametrize(
    ("target", "cells", "expected"),
    [
        (BINARY, ["Malignant", "BENIGN", "malignant"], [1, 0, 1]),
        (BINARY, ["malignant", "malignant"], [1, 1]),  # one class alone
        (BINARY, ["1", "0"], [1, 0]),
        (BINARY, ["0", "0"], [0, 0]),
        (TURNED, ["benign", "malignant"], [1, 0]),  # the model's positive class, not the word's
        (Target("binary", ("N", "F")), ["F", "n", "N"], [1, 0, 0]),  # two classes, neither of them yes
        (NUMBERS, ["yes", "no", "1", "0.0", "True"], [1, 0, 1, 0, 1]),
    ],
)
def test_two_classes_are_those_of_the_model(target, cells, expected):
    assert read(table(target=cells), KnownTarget(target, ["target"])) == [[value] for value in expected]


def test_several_classes_keep_the_models_order():
    expected = [[0, 0, 1], [0, 0, 1], [1, 0, 0]]
    for target in (THREE, ONE_OF_THREE):
        assert read(table(dx=["nevus", "Nevus", "keratosis"]), KnownTarget(target, ["target"])) == expected


def test_class_names_beside_numbers_say_which_number_is_which():
    rows = table(["melanoma", "nevus"], target=["4", "2"])
    assert read(rows, KnownTarget(THREE, ["target"])) == [[0, 1, 0], [0, 0, 1]]
    rows = table(["malignant", "benign"], target=["0", "1"])  # here 0 is the disease
    assert read(rows, KnownTarget(BINARY, ["target"])) == [[1], [0]]
    rows = table(["malignant", "malignant", "benign"], target=["yes", "no", "no"])  # the names are of something else
    assert read(rows, KnownTarget(BINARY, ["target"])) == [[1], [0], [0]]


def test_columns_are_found_by_name_or_taken_in_the_order_that_the_user_gave():
    known = KnownTarget(LABELS, ["big", "red"])
    assert read(table(red=["1", "0"], big=["0", "0"]), known) == [[0, 1], [0, 0]]
    rows = table(x=["1", "0"], y=["0", "1"])
    assert read(rows, known, are_columns_set=True) == [[1, 0], [0, 1]]
    with pytest.raises(UserError, match="x, y, and the model was trained on big, red"):
        read(rows, known)
    one_hot = KnownTarget(TURNED, ["benign", "malignant"])
    assert read(table(benign=["1", "0"], malignant=["0", "1"]), one_hot) == [[1], [0]]


def test_joined_labels_need_no_cell_that_joins_any():
    known = KnownTarget(LABELS, ["findings"])
    assert read(table(findings=["big|red", "red"]), known) == [[1, 1], [0, 1]]
    assert read(table(findings=["red", "big", "No Finding"]), known) == [[0, 1], [1, 0], [0, 0]]


@pytest.mark.parametrize(
    ("rows", "known", "said"),
    [
        (table(target=["naevus", "malignant"]), KnownTarget(BINARY, ["target"]), "naevus.*benign, malignant"),
        (table(target=["1", "0"]), KnownTarget(ONE_OF_THREE, ["target"]), "0, 1.*keratosis, melanoma, nevus"),
        (table(target=["0", "1"]), KnownTarget(BINARY, ["target"], is_positive_set=True), "not certain that 1"),
        (table(target=["1", "1"]), KnownTarget(BINARY, ["target"]), "holds 1, .*benign, malignant: without a 0"),
        (table(target=["0", "1", "NaN"]), KnownTarget(BINARY, ["target"]), "holds NaN, not a class"),
        (table(target=["0", "1", "benign"]), KnownTarget(BINARY, ["target"]), "holds 0, 1, not a class"),
        (table(target=["benign", "unknown"]), KnownTarget(BINARY, ["target"]), "uncertain"),
        (table(a=["1"], b=["0"]), KnownTarget(BINARY, ["target"]), "a, b, and the model was trained on target"),
        (table(big=["1"], red=["3"]), KnownTarget(LABELS, ["big", "red"]), "'red' holds 3"),
        (SampleTable(np.array(["a"]), pd.DataFrame(index=[0])), KnownTarget(BINARY, ["target"]), "no labels"),
    ],
)
def test_what_the_model_does_not_know_is_refused_with_both_lists(rows, known, said):
    with pytest.raises(UserError, match=f"(?s){said}"):
        read(rows, known)


@given(st.lists(st.sampled_from(["benign", "malignant", "Benign", "MALIGNANT "]), min_size=2, max_size=20))
def test_a_table_is_read_as_training_reads_it(cells):
    rows = table(target=cells)
    expected = ["malignant" in cell.lower() for cell in cells]
    assert read(rows, KnownTarget(BINARY, ["target"])) == [[float(value)] for value in expected]
    if len(set(expected)) == 2:
        assert read_labels(rows).encode(rows).tolist() == [[float(value)] for value in expected]
