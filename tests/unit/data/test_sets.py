"""Sets: a column of sets is told from a column of folds, whatever its words are."""

from __future__ import annotations

import numpy as np
import pytest

from lesion.data.sets import set_of, sets_of
from lesion.errors import UserError


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        *(("train", "training"), ("Training", "training"), ("TRAIN", "training"), ("train_set", "training")),
        *(("trainset", "training"), ("training data", "training"), ("tr", "training")),
        *(("val", "validation"), ("Valid", "validation"), ("VALIDATION", "validation"), ("val-split", "validation")),
        *(("dev", "validation"), ("test", "test"), ("Testing", "test"), ("test set", "test"), ("hold-out", "test")),
        *(("0", None), ("fold 1", None), ("UNASSIGNED", None), ("site A", None), ("", None), ("invalid", None)),
    ],
)
def test_a_set_is_known_by_its_usual_names(word, expected):
    assert set_of(word) == expected


@pytest.mark.parametrize(
    ("column", "words", "expected"),
    [
        ("ml_use", ["training", "validation", "test"], ["training", "validation", "test"]),
        ("split", ["Train", "Train", "VAL"], ["training", "training", "validation"]),
        ("is_valid", ["True", "False", "False"], ["validation", "training", "training"]),
        ("is_test", ["0", "1", "0"], ["training", "test", "training"]),
        ("fold", ["0", "1", "0"], None),
        ("fold", ["0", "1", "2"], None),
        ("centre", ["Vienna", "Sydney", "Vienna"], None),
    ],
)
def test_a_column_speaks_of_sets_or_of_folds(column, words, expected):
    found = sets_of(column, np.array(words))
    assert (None if found is None else found.tolist()) == expected


@pytest.mark.parametrize(
    ("column", "words", "message"),
    [
        ("ml_use", ["TRAIN", "TEST", "UNASSIGNED"], "holds names of sets, TEST, TRAIN, and other words: UNASSIGNED"),
        ("split", ["train", "", "test"], "and other words: nothing"),
        ("split", ["val", "test"], "marks no row as a training row: it holds test, val"),
        ("split", ["train", "Train"], "marks all rows as training rows"),
        ("is_train", ["1", "0"], "does not say whether the other rows are validation or test rows"),
    ],
)
def test_a_column_that_says_it_by_halves_is_refused(column, words, message):
    with pytest.raises(UserError, match=message) as caught:
        sets_of(column, np.array(words))
    assert "train, validation or test" in caught.value.do
