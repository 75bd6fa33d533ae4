"""Evaluation: the prediction sets that are told are those that other patients made; how large the served ones are."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lesion.algorithms.classify.results.evaluation import Answers, evaluate, subgroup_columns
from lesion.data.labels.encode import Labelled
from lesion.data.quality.picture_measures import COLUMNS, PictureMeasures
from lesion.data.table import SampleTable
from lesion.targets import Target


def test_the_served_sets_are_told_where_a_part_has_too_few_patients_of_a_class():
    """Of ten positive patients eight make each part's sets: too few to leave the class out of any. All ten can."""
    names = np.array([f"{row}.png" for row in range(110)])
    targets_S1 = (np.arange(110) < 10).astype(np.float32)[:, None]
    probs_S1 = np.where(targets_S1 == 1, 0.9, np.linspace(0.01, 0.6, 110)[:, None]).astype(np.float32)
    table = SampleTable(name_S=names, metadata=pd.DataFrame(index=range(110)), group_S=names)
    labelled = Labelled(table, Target("binary", ("no", "yes")), targets_S1)
    found = evaluate(Answers(labelled, probs_S1, probs_S1 >= 0.5, probs_S1, (0.5,)), subgroups={})["uncertainty"]
    verified = found["verified"]
    assert found["classes"] == ["no", "yes"] and verified["is_by_class"]
    assert verified["by_class"][1]["value"] == 1 and verified["mean_size"] > 1.7
    assert found["served"]["mean_size"] < 1.2 and found["served"]["share_of_one_class"] > 0.8


def test_ages_as_dicom_writes_them_are_bands_of_life():
    metadata = pd.DataFrame({"age_approx": ["017Y", "045Y", "018M", None] * 5, "scanner": ["003D", "MR-2"] * 10})
    table = SampleTable(name_S=np.arange(20).astype(str), metadata=metadata.astype("string"))
    labelled = Labelled(table, Target("binary", ("no", "yes")), np.arange(20, dtype=np.float32)[:, None] % 2)
    probs_S1 = np.full((20, 1), 0.5, np.float32)
    answers = Answers(labelled, probs_S1, probs_S1 >= 0.5, probs_S1, (0.5,))
    columns = evaluate(answers, subgroups=subgroup_columns(labelled))["subgroups"]["columns"]
    assert {one["level"] for one in columns["age_approx"]} == {"under 18", "40 to 59", "unknown"}
    assert {one["level"] for one in columns["scanner"]} == {"003D", "MR-2"}


def test_what_people_graded_stands_beside_what_is_measured():
    """DDI has the skin tone by people, Fitzpatrick17k the scale; a table may have columns of ink and hair."""
    others = pd.DataFrame({"skin_tone": [12, 34, 56, 12], "fitzpatrick_scale": [1, 3, 5, -1]})
    metadata = pd.DataFrame({"ink": ["yes", "no", "no", "yes"], "dark_corners": ["no"] * 4}, dtype="string")
    table = SampleTable(name_S=np.arange(4).astype(str), metadata=metadata, others=others)
    labelled = Labelled(table, Target("binary", ("no", "yes")), np.zeros((4, 1), np.float32))
    measures = PictureMeasures(np.zeros((4, len(COLUMNS)), np.float32))
    columns = subgroup_columns(labelled, measures)
    for name, values in {**metadata, **others}.items():
        assert list(columns[name]) == values.tolist(), name
    assert columns["ink (measured)"] == ["no"] * 4 and set(columns["skin tone (measured)"]) == {"brown"}
