"""Metadata: fitted on the rows given, and finite whatever a request holds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from lesion.data.metadata import MISSING, REACH, ColumnEncoder, KnownWords, MetadataEncoder, column_kinds
from lesion.errors import UserError

ROWS = [{"sex": "male", "age": "30"}, {"sex": "female", "age": "50"}, {"sex": "male", "age": None}]
KINDS = {"sex": "category", "age": "number"}
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))


@pytest.fixture
def encoder() -> MetadataEncoder:
    return MetadataEncoder.fit(ROWS, KINDS)


def test_features_are_words_in_order_then_the_standardised_number_and_its_flag(encoder):
    """Ages 30 and 50: mean 40, deviation 10. Words: female, male."""
    expected = [[0, 1, -1, 0], [1, 0, 1, 0], [0, 1, 0, 1]]
    np.testing.assert_array_equal(encoder.encode(ROWS), expected)
    assert encoder.num_features == 4 and encoder.encode(ROWS).dtype == np.float32


def test_fitting_sees_the_given_rows_only(encoder):
    encoder.encode([{"sex": "other", "age": "90"}])
    assert encoder == MetadataEncoder.fit(ROWS, KINDS)
    assert MetadataEncoder.fit(ROWS[:2], KINDS).encode([{"age": "60"}]).tolist() == [[0, 0, 2, 0]]
    assert MetadataEncoder.fit(ROWS[:1], KINDS).encode(ROWS[:2]).tolist() == [[1], [0]]


@pytest.mark.parametrize("cell", [None, "", "  ", "NA", "nan", "None", math.nan, *sorted(MISSING)])
def test_a_missing_cell_is_zeros_and_for_a_number_a_flag(encoder, cell):
    assert encoder.encode([{"sex": cell, "age": cell}]).tolist() == [[0, 0, 0, 1]]
    assert encoder.encode([{}]).tolist() == [[0, 0, 0, 1]]


def test_a_word_never_seen_is_zeros(encoder):
    assert encoder.encode([{"sex": "unknown", "age": 40}]).tolist() == [[0, 0, 0, 0]]


def test_the_order_of_a_rows_names_and_strangers_among_them_change_nothing(encoder):
    row = {"weight": 80, "age": "30", "diagnosis": "nevus", "sex": "male"}
    np.testing.assert_array_equal(encoder.encode([row]), encoder.encode([{"sex": "male", "age": "30"}]))


@pytest.mark.parametrize("age", [45, 45.0, "45", " 45.0 ", "4.5e1"])
def test_a_number_may_come_as_number_or_text(encoder, age):
    assert encoder.encode([{"sex": "male", "age": age}]).tolist() == [[0, 1, 0.5, 0]]


@pytest.mark.parametrize("grade", [2, 2.0, "2"])
def test_a_category_may_come_as_number_or_text(grade):
    encoder = MetadataEncoder.fit([{"grade": "1"}, {"grade": "2"}], {"grade": "category"})
    assert encoder.encode([{"grade": grade}]).tolist() == [[0, 1]]


@pytest.mark.parametrize("age", ["old", "inf", "-inf", "1,5", "4_5", "٤٥", "0x2d", True, [30], {"years": 30}])
def test_text_for_a_number_is_refused_by_name(encoder, age):
    with pytest.raises(UserError, match=r"is not a number.*metadata field age"):
        encoder.encode([{"sex": "male", "age": age}])


@pytest.mark.parametrize("value", ["7", "0", "0.1", "1e15", "-3.3"])
def test_a_number_that_is_the_same_in_all_rows_gives_no_features(value):
    encoder = MetadataEncoder.fit([{"age": value}] * 7, {"age": "number"})
    assert encoder.encode([{"age": value}, {"age": "8"}, {}]).shape == (3, 0)


@pytest.mark.parametrize("value", ["7", "0.1", "1e15"])
def test_of_one_number_in_some_rows_only_counts_whether_it_is_there(value):
    encoder = MetadataEncoder.fit([{"age": value}] * 7 + [{}], {"age": "number"})
    assert encoder.encode([{"age": value}, {"age": "1e30"}, {}]).tolist() == [[0, 0], [0, 0], [0, 1]]


@pytest.mark.parametrize("kind", ["number", "boolean", "category"])
@pytest.mark.parametrize("cell", [None, "45", "true", "a word that no number is"])
def test_a_column_without_any_value_gives_no_features_whatever_comes_later(kind, cell):
    encoder = MetadataEncoder.fit([{}, {"x": None, "sex": "F"}], {"x": kind, "sex": "category"})
    assert encoder.encode([{"x": cell, "sex": "F"}]).tolist() == [[1]] and encoder.num_features == 1


def test_an_encoder_of_an_earlier_version_takes_numbers_that_it_never_saw():
    """Its JSON does not say what it learned."""
    stored = '{"name": "age", "kind": "number", "mean": 0.0, "std": 1.0}'
    column = TypeAdapter(ColumnEncoder).validate_json(stored)
    assert column.width == 2 and [column.encode(age) for age in ("45", "0.5", None)] == [[10, 0], [0.5, 0], [0, 1]]


@pytest.mark.parametrize("age", [1e300, 10**300, "1e308", 10_000])
def test_a_huge_number_is_held_within_reach(encoder, age):
    assert encoder.encode([{"age": age}])[0, 2] == REACH
    assert encoder.encode([{"age": f"-{age}"}])[0, 2] == -REACH


def test_a_huge_number_among_the_training_rows_stays_finite():
    rows = [{"age": "1e308"}, {"age": "1e308"}, {"age": "-1e200"}, {"age": "3"}]
    assert np.isfinite(MetadataEncoder.fit(rows, {"age": "number"}).encode(rows)).all()


def test_no_columns_make_no_features():
    assert MetadataEncoder.fit(ROWS, {}).encode(ROWS).shape == (3, 0)


@given(ages=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), words=st.lists(st.text()))
def test_an_encoder_comes_back_from_json_bit_by_bit(ages, words):
    rows = [{"age": age} for age in ages] + [{"sex": word} for word in words]
    encoder = MetadataEncoder.fit(rows, KINDS)
    columns = TypeAdapter(tuple[ColumnEncoder, ...])  # as the artifact's manifest keeps them
    again = MetadataEncoder(columns.validate_json(columns.dump_json(encoder.columns)))
    assert again == encoder
    np.testing.assert_array_equal(again.encode(rows), encoder.encode(rows))


@given(training=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8), cell=scalars)
@example(training=[1e308, -1e308], cell=5e-324)
@example(training=[0.1] * 8, cell=1e308)
def test_any_scalar_gives_finite_features_or_a_user_error(training, cell):
    encoder = MetadataEncoder.fit([{"age": age, "sex": "male"} for age in training], KINDS)
    try:
        features = encoder.encode([{"age": cell, "sex": cell}])
    except UserError:
        assert cell is not None
    else:
        assert features.shape == (1, encoder.num_features)
        assert np.isfinite(features).all() and np.abs(features).max() <= REACH


def test_a_column_is_a_number_where_every_cell_is_one_or_missing():
    rows = [{"age": "30", "site": "torso", "empty": ""}, {"age": "NA", "site": "3", "empty": None}]
    assert column_kinds(rows, ["age", "site", "empty"]) == {"age": "number", "site": "category", "empty": "number"}


OTHER_NUMBERS = [
    "inf",
    "-Infinity",
    "1e999",
    "30,0",
    "4_5",
    "٤٥",
    "1 000",
    "1,234.5",
    "30 years",
    "45y",
    "5 %",
    "1.5mm",
]


@pytest.mark.parametrize("cell", OTHER_NUMBERS)
def test_a_number_written_in_another_way_makes_no_words_of_the_others_and_is_refused_by_name(cell):
    rows = [{"age": cell}, {"age": "1"}, {"age": ""}]
    assert column_kinds(rows, ["age"]) == {"age": "number"}
    with pytest.raises(UserError, match=r"is not a number.*metadata field age.*such as 30 or 30\.5"):
        MetadataEncoder.fit(rows, column_kinds(rows, ["age"]))


@pytest.mark.parametrize("grade", ["1+", "3a", "T1", "1-2", "2.1.3", "I", "<5", "0x2d", "-", "+", "years", "unknown"])
def test_grades_and_ranges_are_words(grade):
    assert column_kinds([{"grade": grade}, {"grade": "1"}], ["grade"]) == {"grade": "category"}
    assert column_kinds([{"site": "inf"}, {"site": "sup"}], ["site"]) == {"site": "category"}  # inferior


def test_a_column_of_nothing_but_f_holds_women_and_no_noes():
    assert column_kinds([{"sex": "F"}, {"sex": "f"}], ["sex"]) == {"sex": "category"}
    assert column_kinds([{"x": "f"}, {"x": "t"}], ["x"]) == {"x": "boolean"}
    assert column_kinds([{"x": "N"}, {"x": "F"}], ["x"]) == {"x": "category"}  # both of them no, as a boolean


@pytest.mark.parametrize("word", ["female", "Female", " FEMALE ", "F", "f", "woman", "Ｆemale"])
def test_a_word_may_come_in_any_spelling_at_training_and_at_prediction(encoder, word):
    assert encoder.encode([{"sex": word, "age": 40}]).tolist() == [[1, 0, 0, 0]]
    trained = MetadataEncoder.fit([{"sex": "male"}, {"sex": word}], {"sex": "category"})
    for other in ("female", "F", "Woman"):
        assert trained.encode([{"sex": other}]).tolist() == trained.encode([{"sex": word}]).tolist()
    assert trained.encode([{"sex": "M"}]).sum() == 1 and trained.num_features == 2


def test_spellings_of_a_word_are_one_category_called_as_most_rows_write_it():
    rows = [{"site": word} for word in ("Torso", "torso", "torso", "TRUNK", "palms/soles", "Palms / Soles")]
    [column] = MetadataEncoder.fit(rows, {"site": "category"}).columns
    assert column.categories == ("Palms / Soles", "torso")  # of equally many the alphabet's first
    assert [column.category_of(word) for word in ("trunk", "palms and soles", "leg")] == [
        "torso",
        "Palms / Soles",
        None,
    ]


def test_an_encoder_of_an_earlier_version_compares_words_as_they_are_written():
    """Its JSON says nothing of synonyms."""
    stored = '{"name": "sex", "kind": "category", "categories": ["Male", "female", "male"]}'
    column = TypeAdapter(ColumnEncoder).validate_json(stored)
    assert [column.encode(word) for word in ("male", "Male", "M", "Female")] == [
        [0, 0, 1],
        [1, 0, 0],
        [0, 0, 0],
        [0, 0, 0],
    ]
    known = KnownWords([column])
    assert "Male" in known and "MALE" not in known and known.categories == ["Male", "female", "male"]


def test_synonyms_are_kept_with_the_encoder_so_that_a_longer_list_changes_no_artifact():
    column = ColumnEncoder("sex", "category", categories=("female", "male"), synonyms={"w": "female"})
    assert [column.category_of(word) for word in ("W", "F", "FEMALE")] == ["female", None, "female"]


def test_the_words_known_are_those_of_any_fold():
    columns = [
        MetadataEncoder.fit([{"x": word} for word in words], {"x": "category"}).columns[0]
        for words in (["male", "other"], ["Male", "F"])
    ]
    known = KnownWords(columns)
    assert all(word in known for word in ("M", "OTHER", "female")) and "unknown" not in known and None not in known
    assert known.categories == ["F", "Male", "other"]


BOOLEANS = [{"prior": "Yes"}, {"prior": "no"}, {"prior": None}]


def test_words_of_yes_and_no_are_one_column_with_a_flag_for_missing():
    assert column_kinds(BOOLEANS, ["prior"]) == {"prior": "boolean"}
    encoder = MetadataEncoder.fit(BOOLEANS, {"prior": "boolean"})
    assert encoder.encode(BOOLEANS).tolist() == [[1, 0], [-1, 0], [0, 1]] and encoder.num_features == 2


@pytest.mark.parametrize("cell", [True, "true", "TRUE", "y", 1, "1", 1.0])
def test_a_yes_may_come_as_boolean_number_or_word(cell):
    assert MetadataEncoder.fit(BOOLEANS, {"prior": "boolean"}).encode([{"prior": cell}]).tolist() == [[1, 0]]


def test_what_is_neither_yes_nor_no_is_refused_by_its_field():
    encoder = MetadataEncoder.fit(BOOLEANS, {"prior": "boolean"})
    with pytest.raises(UserError, match=r"'maybe' is neither yes nor no .*field prior"):
        encoder.encode([{"prior": "maybe"}])


def test_zeros_and_ones_stay_numbers_and_other_words_categories():
    assert column_kinds([{"a": "0", "b": "yes"}, {"a": "1", "b": "unknown"}], "ab") == {"a": "number", "b": "category"}


def test_a_logarithm_is_taken_before_mean_and_deviation():
    rows = [{"size": str(math.e - 1)}, {"size": str(math.e**3 - 1)}]  # logarithms 1 and 3: mean 2, deviation 1
    encoder = MetadataEncoder.fit(rows, {"size": "number"}, logs=["size"])
    np.testing.assert_allclose(encoder.encode([*rows, {"size": 0}]), [[-1, 0], [1, 0], [-2, 0]], atol=1e-6)
    assert TypeAdapter(MetadataEncoder).validate_json(TypeAdapter(MetadataEncoder).dump_json(encoder)) == encoder


def test_a_number_below_zero_has_no_logarithm():
    encoder = MetadataEncoder.fit([{"size": 1}, {"size": 2}], {"size": "number"}, logs=["size"])
    with pytest.raises(UserError, match="'-1' is below 0"):
        encoder.encode([{"size": -1}])
