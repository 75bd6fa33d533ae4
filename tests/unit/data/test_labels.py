"""Labels: what is written in target columns becomes the question they ask, or a clear word."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lesion.data.labels import read_labels
from lesion.data.table import SampleTable
from lesion.errors import UserError


def table_of(names: list[str] | None = None, **columns: list[str]) -> SampleTable:
    targets = pd.DataFrame(columns)
    return SampleTable(
        name_S=np.array([f"p{row}" for row in range(len(targets))]),
        metadata=pd.DataFrame(index=range(len(targets))),
        targets=targets,
        class_name_S=None if names is None else np.array(names),
        where="train.csv",
    )


def read(table: SampleTable, of_interest: str | None = None):
    labels = read_labels(table, of_interest=of_interest)
    return labels, labels.encode(table)


@pytest.mark.parametrize("cells", [["0", "1", "0"], ["0.0", "1.0", "0"], ["0", "1", "0.0"]])
def test_zero_and_one_ask_yes_or_no(cells):
    labels, targets_SK = read(table_of(target=cells))
    assert labels.target.kind == "binary" and labels.target.class_names == ("0", "1")
    assert targets_SK.tolist() == [[0], [1], [0]] and targets_SK.dtype == np.float32


def test_of_two_words_the_later_in_the_alphabet_is_yes():
    labels, targets_SK = read(table_of(target=["yes", "no", "yes"]))
    assert labels.target.class_names == ("no", "yes") and targets_SK.tolist() == [[1], [0], [1]]


def test_of_two_words_the_one_of_interest_is_yes():
    labels, targets_SK = read(table_of(target=["yes", "no", "yes"]), of_interest="no")
    assert labels.target.class_names == ("yes", "no") and targets_SK.tolist() == [[0], [1], [0]]
    labels, targets_SK = read(table_of(["b", "m"], target=["0", "1"]), of_interest="b")
    assert labels.target.class_names == ("m", "b") and targets_SK.tolist() == [[1], [0]]


def test_more_words_ask_which():
    labels, targets_SK = read(table_of(target=["rose", "daisy", "tulip", "rose", "daisy", "tulip"]))
    assert labels.target.kind == "multiclass" and labels.target.class_names == ("daisy", "rose", "tulip")
    assert targets_SK.argmax(axis=1).tolist() == [1, 0, 2, 1, 0, 2] and (targets_SK.sum(axis=1) == 1).all()


def test_numbers_of_classes_stand_in_their_order_and_take_the_names_of_another_column():
    numbers = ["10", "9.0", "2", "10", "9", "2"]
    labels, _ = read(table_of(target=numbers))
    assert labels.target.class_names == ("2", "9", "10")
    labels, targets_SK = read(table_of(["ten", "nine", "two"] * 2, target=numbers))
    assert labels.target.class_names == ("two", "nine", "ten") and targets_SK.argmax(axis=1)[0] == 2


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["good", "bad", "good"], ("good", "bad")),
        (["good", "bad", "fine"], ("0", "1")),  # two words for class 0
        (["same", "same", "same"], ("0", "1")),
        (["good", "", "good"], ("0", "1")),
    ],
)
def test_class_names_come_from_the_column_that_names_each_class_once(words, names):
    assert read(table_of(words, target=["0", "1", "0"]))[0].target.class_names == names


def test_several_columns_ask_each_for_itself():
    labels, targets_SK = read(table_of(hair=["1", "0"], ink=["1.0", "1"]))
    assert labels.target.kind == "multilabel" and labels.target.class_names == ("hair", "ink")
    assert targets_SK.tolist() == [[1, 1], [0, 1]]


def test_a_class_of_interest_is_one_of_many():
    table = table_of(diagnosis=["nevus", "melanoma", "keratosis"] * 2)
    labels, targets_SK = read(table, of_interest="melanoma")
    assert labels.target.kind == "multiclass" and labels.target.has_binary_answer and targets_SK.shape == (6, 3)


@pytest.mark.parametrize("other", ["1_0", "١٠"])
def test_what_python_alone_calls_a_number_is_a_word_of_its_own(other):
    labels, _ = read(table_of(grade=["10", other, "3"] * 2))
    assert set(labels.target.class_names) == {"10", other, "3"}


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"t": ["0", "2"]}, {}, "'t' holds 0, 2, and it is unclear which of them is the positive class"),
        ({"t": ["0.5", "1"]}, {}, "measurements, not classes.*Set target_column"),
        ({"t": ["a", "a"]}, {}, "'t' holds one value only, a"),
        ({"t": ["a", "b", "c", "d"]}, {}, "4 different values in 4 rows: not a column of classes"),
        ({"t": ["0", "1"], "u": ["0", "3"]}, {}, "column 'u' holds 3: with several target columns each is 0 or 1"),
        ({"t": ["ab", "b", "c"] * 2}, {"of_interest": "abc"}, r"abc is not one of the classes.*Did you mean ab\?"),
        ({"t": ["0", "1"], "u": ["0", "1"]}, {"of_interest": "t"}, "not one of the classes"),
    ],
)
def test_what_asks_no_question_is_refused_in_words(columns, options, message):
    with pytest.raises(UserError, match=message) as caught:
        read(table_of(**columns), **options)
    assert "train.csv" in str(caught.value)


def test_a_class_that_training_does_not_know_is_named():
    labels, _ = read(table_of(target=["rose", "daisy", "tulip"] * 2))
    with pytest.raises(
        UserError, match=r"'target' holds lily, not a class of the training set.*Use daisy, rose, tulip"
    ):
        labels.encode(table_of(target=["lily", "rose"]))
