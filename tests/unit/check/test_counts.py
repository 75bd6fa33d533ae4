"""Counts: every row is counted once in every table, and the folds' table says what each holds out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lesion.check.counts import crosstabs, fold_counts
from lesion.data.labels.encode import Labelled
from lesion.data.table import SampleTable
from lesion.targets import Target


@pytest.fixture
def labelled() -> Labelled:
    rng = np.random.default_rng(0)
    metadata = pd.DataFrame(
        {
            "sex": rng.choice(["male", "female", None], 60),
            "age_approx": [None, "0", "99", *rng.integers(1, 90, 57).astype(str)],
            "thickness": (rng.gamma(1, 2, 60)).round(3).astype(str),
        }
    ).astype("string")
    table = SampleTable(
        name_S=np.array([f"p{row}" for row in range(60)]),
        metadata=metadata,
        group_S=np.array([f"g{row // 2}" for row in range(60)]),
        others=pd.DataFrame({"anatom_site_general_challenge": ["torso", "arm"] * 30, "note": "x"}, dtype="string"),
    )
    return Labelled(table, Target("binary", ("benign", "malignant")), (rng.random((60, 1)) < 0.3).astype(np.float32))


def test_each_table_counts_every_row_once_by_class(labelled):
    found = crosstabs(labelled)
    assert set(found) == {"sex", "age_approx", "thickness", "anatom_site_general_challenge"}
    num_yes = int(labelled.targets_SK.sum())
    for name, frame in found.items():
        assert frame.sum().to_dict() == {"benign": 60 - num_yes, "malignant": num_yes}, name


def test_ages_are_counted_by_decades_in_their_order(labelled):
    index = crosstabs(labelled)["age_approx"].index.tolist()
    assert index[0] == "0 to 9" and index[-2:] == ["90 to 99", "missing"]
    ages = pd.to_numeric(labelled.table.metadata["age_approx"])
    assert crosstabs(labelled)["age_approx"].loc["30 to 39"].sum() == ages.between(30, 39).sum()


def counted(labelled: Labelled, **columns: list[str]) -> dict[str, list[str]]:
    """The values that rows are counted by, of metadata that replaces the fixture's."""
    table = replace(labelled.table, metadata=pd.DataFrame(columns, dtype="string"))
    return {name: frame.index.tolist() for name, frame in crosstabs(replace(labelled, table=table)).items()}


def test_an_age_that_is_a_moment_takes_no_memory_and_is_counted_alone(labelled):
    ages = [str(age) for age in range(20, 78)]
    assert counted(labelled, age_approx=[*ages, "631152000", "-5"])["age_approx"] == [
        "-10 to -1",
        *(f"{decade} to {decade + 9}" for decade in range(20, 80, 10)),
        "631152000 to 631152009",
    ]


def test_ages_in_days_are_counted_in_a_few_steps(labelled):
    assert len(counted(labelled, age_days=[str(100 + 500 * row) for row in range(60)])["age_days"]) == 6


def test_ages_as_dicom_writes_them_are_counted_by_decades(labelled):
    ages = [f"{20 + row % 40:03d}Y" for row in range(59)]
    found = counted(labelled, age_approx=[*ages, "018M"])["age_approx"]
    assert found == ["0 to 9", "20 to 29", "30 to 39", "40 to 49", "50 to 59"]


@pytest.mark.parametrize(("first", "step"), [(20200101, 1), (1577836800, 3), (0.5, 1e-7)])
def test_numbers_that_differ_in_late_digits_alone_are_counted_in_steps(labelled, first, step):
    steps = counted(labelled, acquired=[f"{first + step * (row % 30):.10g}" for row in range(60)])["acquired"]
    assert len(steps) == len(set(steps)) == 6


def test_spellings_of_a_word_are_counted_together(labelled):
    words = ["male", "M", "male", "Female", "female", ""] * 10
    frame = labelled.table.metadata.assign(sex=pd.Series(words, dtype="string").replace("", pd.NA))
    counted = crosstabs(replace(labelled, table=replace(labelled.table, metadata=frame)))["sex"].sum(axis=1)
    assert counted.to_dict() == {"male": 30, "Female": 20, "missing": 10}


def test_a_fold_is_a_row(labelled):
    valid_FS = np.array([[True] * 20 + [False] * 40, [False] * 20 + [True] * 40])
    frame = fold_counts(labelled, valid_FS)
    yes = int(labelled.targets_SK[:20].sum())
    assert frame.loc[0].to_dict() == {"rows": 20, "groups": 10, "benign": 20 - yes, "malignant": yes}
    assert frame["rows"].tolist() == [20, 40]
