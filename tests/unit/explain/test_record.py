"""Record: when the maps that an artifact was given are not to be read, in words."""

from __future__ import annotations

import numpy as np
import pytest

from lesion.algorithms.base import Answer
from lesion.algorithms.classify.explanation.maps import with_map
from lesion.explain.picture_map import PictureMap
from lesion.explain.record import CandidateRecord, ExplanationRecord

GOOD = {
    "method": "layer_cam",
    "insertion": 0.68,
    "deletion": 0.24,
    "chance": CandidateRecord(method="random", insertion=0.63, deletion=0.5),
    "gain_error": 0.05,
    "without_gradient": "occlusion",
    "randomised": 0.85,
    "randomised_other": 0.8,
    "num_pictures": 12,
}


def test_a_map_that_is_clearly_better_than_chance_and_of_its_weights_has_no_warning():
    assert ExplanationRecord.model_validate(GOOD).warning == ""


def test_a_map_that_random_weights_draw_too_is_warned_of():
    warning = ExplanationRecord.model_validate({**GOOD, "randomised": 0.94}).warning
    assert "networks of random weights" in warning and "0.94" in warning and "0.80" in warning


@pytest.mark.parametrize(
    "changes",
    [
        {"gain_error": 0.2},
        {"insertion": 0.38, "gain_error": 0.001},
        {"insertion": 0.5, "deletion": 0.5, "gain_error": None},
        {"insertion": 0.3},
    ],
)
def test_a_map_that_is_not_clearly_better_than_chance_is_warned_of(changes):
    record = ExplanationRecord.model_validate({**GOOD, **changes})
    assert "no map was clearly better than a random one" in record.warning


def test_the_warning_is_kept_in_the_artifact_and_read_again():
    stored = ExplanationRecord.model_validate({**GOOD, "gain_error": 0.2}).model_dump()
    assert stored["warning"] and ExplanationRecord.model_validate(stored).warning == stored["warning"]


def test_an_older_artifact_without_the_error_is_judged_by_its_gain():
    assert ExplanationRecord.model_validate({**GOOD, "gain_error": None}).warning == ""


@pytest.mark.parametrize(
    ("method", "error", "is_warned"),
    [("layer_cam", 0.2, True), ("occlusion", 0.2, True), ("grad_cam", 0.2, False), ("layer_cam", 0.05, False)],
)
def test_an_answers_map_says_so_too_if_it_is_the_one_that_was_measured(method, error, is_warned):
    record = ExplanationRecord.model_validate({**GOOD, "gain_error": error})
    picture_map = PictureMap(np.eye(4, dtype=np.float32), "yes", method, 40, 40, "crop")
    answer = with_map(Answer({}, {}, [], {}, 0.5), picture_map, record)
    for form in (answer.fields, answer.line, answer.bare):
        assert ("map_warning" in form) == is_warned and "map" in form
