"""Prediction: what the client encodes the server decodes, and what the server encodes the client decodes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from factories import draw_picture
from lesion.algorithms.anomaly.predictor import AnomalyPredictor
from lesion.algorithms.base import Answer, Options, Output
from lesion.algorithms.classify.prediction.answer import answer_of
from lesion.algorithms.classify.prediction.point import Points
from lesion.errors import UserError
from lesion.serve.answers import JSON, encode
from lesion.serve.records import Form, Invocation
from lesion.serve.requests import decode
from lesion.targets import Target
from lesion_jobs.answers import Prediction, decode_answer
from lesion_jobs.endpoints.prediction import encode_request, read_picture


@pytest.fixture
def picture(tmp_path: Path) -> bytes:
    draw_picture(tmp_path / "picture.jpg", is_positive=True, seed=0)
    return (tmp_path / "picture.jpg").read_bytes()


def test_a_picture_and_its_metadata_reach_the_server_whole(picture: bytes):
    bare, told = (
        decode(*encode_request(picture, metadata), metadata_columns=[]).records[0]
        for metadata in (None, {"sex": "male", "age_approx": 45.0, "anatom_site": None})
    )
    assert bare.picture == told.picture == picture
    assert (bare.row, told.row) == ({}, {"sex": "male", "age_approx": 45.0, "anatom_site": None})


@pytest.mark.parametrize(
    ("ending", "kind"), [(".jpg", "image/jpeg"), (".png", "image/png"), (".bmp", "application/x-image")]
)
def test_a_picture_is_sent_as_what_its_bytes_are(ending: str, kind: str):
    content = cv2.imencode(ending, np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    assert encode_request(content) == (content, kind)


def test_both_shapes_of_answer_are_read():
    assert decode_answer(b"0.0698", where="p.jpg") == Prediction(0.0698, None)
    listed = json.dumps({"predictions": [{"probability": 0.0731, "label": "benign"}]}).encode()
    assert decode_answer(listed, where="p.jpg") == Prediction(0.0731, "benign")


TARGETS = {
    "yes or no": (Target("binary", ("benign", "malignant")), [0.75], ("malignant", ())),
    "which": (Target("multiclass", ("a", "b", "c")), [0.125, 0.75, 0.125], ("b", ())),
    "one of many": (Target("multiclass", ("a", "b", "c"), "b"), [0.125, 0.75, 0.125], ("b", ())),
    "which ones": (Target("multilabel", ("a", "b")), [0.75, 0.25], (None, ("a",))),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_what_the_server_says_of_every_kind_of_target_is_read(kind: str):
    target, probs, (label, labels) = TARGETS[kind]
    probs_FVK = np.array([[probs]])
    logits_FVK = np.log(probs_FVK) - (0 if target.kind == "multiclass" else np.log1p(-probs_FVK))
    thresholds = (0.5,) * (1 if target.has_binary_answer else len(target.class_names))
    point = Points(target, spec="youden", thresholds_Q=thresholds, curves_Q=(), prevalences_Q=()).default
    parts = {"target": target, "calibration": None, "point": point, "prediction_sets": None, "folds": [0]}
    told = answer_of(Output(logits_FVK), Options(), **parts)

    def answer(form: str) -> bytes:
        """What the server writes to a request of that form."""
        return encode([told], Invocation([], form), media_type=JSON, num_cells=2)

    read = decode_answer(answer("picture"), where="p.jpg")
    assert (read.label, read.labels) == (label, labels)
    assert read.probability == (0.75 if target.has_binary_answer else None)
    assert read.probabilities == ({} if target.kind == "binary" else dict(zip(target.class_names, probs, strict=True)))
    if not target.has_binary_answer:  # with metadata the same object comes by itself
        assert decode_answer(answer("payload"), where="p.jpg") == read


@pytest.mark.parametrize("form", ["picture", "payload"])
def test_how_anomalous_a_picture_is_is_read(form: Form):
    fields = dict(zip(AnomalyPredictor.column_names, (0.75, 0.125, True), strict=True))
    told = Answer(fields, line={}, cells=[], columns={}, bare=fields)
    read = decode_answer(encode([told], Invocation([], form), media_type=JSON, num_cells=3), where="p.jpg")
    assert (read.anomaly_score, read.anomalous_fraction, read.is_anomalous) == (0.75, 0.125, True)
    assert (read.probability, read.label) == (None, None)


def test_an_errors_body_is_raised_since_local_mode_hands_it_over_as_an_answer():
    body = json.dumps({"error": "unreadable_image", "message": "not a picture (request body). Replace it."}).encode()
    with pytest.raises(UserError, match=r"refused \(p.jpg\)\. not a picture") as refused:
        decode_answer(body, where="p.jpg")
    assert refused.value.kind == "unreadable_image"


@pytest.mark.parametrize("body", [b"", b"<html>502</html>", b"null", b"true", b"[]", b'{"predictions": []}', b"\xff"])
def test_anything_else_is_not_taken_for_a_prediction(body: bytes):
    with pytest.raises(UserError, match="not Lesion's"):
        decode_answer(body, where="p.jpg")


def test_a_picture_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"nowhere\.jpg"):
        read_picture(tmp_path / "nowhere.jpg")
