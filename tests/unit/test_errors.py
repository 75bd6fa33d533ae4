"""Errors: several are said at once, and what is said fits the file that the platform shows."""

from __future__ import annotations

import pickle

import pytest

from lesion.errors import MOST_CHARACTERS, UserError, UserErrors, collecting, raise_all

FIRST = UserError("no pictures", where="/data", do="Add some.", kind="one")
SECOND = UserError("column 'a' is empty", where="train.csv", do="Fill it in.", kind="two")


def test_one_problem_is_raised_as_it_is_and_none_is_no_error():
    raise_all([])
    with pytest.raises(UserError) as caught:
        raise_all([FIRST])
    assert caught.value is FIRST


def test_several_are_said_at_once_each_with_its_place_and_remedy():
    with pytest.raises(UserErrors) as caught:
        raise_all([FIRST, SECOND])
    assert str(caught.value) == (
        "2 things are wrong: 1) no pictures (/data). Add some. 2) column 'a' is empty (train.csv). Fill it in."
    )
    assert caught.value.kind == "one" and caught.value.exit_code == 2


def test_they_come_back_from_another_process_as_they_were():
    again = pickle.loads(pickle.dumps(UserErrors([FIRST, SECOND])))
    assert str(again) == str(UserErrors([FIRST, SECOND])) and [one.kind for one in again.each] == ["one", "two"]


@pytest.mark.parametrize("length", [1, 150, 200, 400, 2000])
def test_as_many_as_fit_are_said_whole_and_the_others_counted(length):
    errors = [UserError(f"{number}{'x' * length}", where="y" * 3000, do="Do.") for number in range(5)]
    text = str(UserErrors(errors))
    assert len(text) <= MOST_CHARACTERS
    num_said = sum(f" {number + 1}) {number}x" in text for number in range(5))
    assert num_said >= 1 and text.endswith(f" And {5 - num_said} more." if num_said < 5 else "Do.")


def test_collecting_goes_on_and_says_the_same_once():
    problems: list[UserError] = []
    for error in (FIRST, UserErrors([FIRST, SECOND]), SECOND):
        with collecting(problems):
            raise error
    with collecting(problems):
        pass
    assert [str(problem) for problem in problems] == [str(FIRST), str(SECOND)]
