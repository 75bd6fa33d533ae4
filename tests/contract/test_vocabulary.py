"""Vocabulary: a word of metadata means the same in training, check, `predict` and requests, however it is written."""

from __future__ import annotations

import base64
import json
import logging
import shutil
from pathlib import Path

import pandas as pd
import pytest
from checks import DataSet, names, one
from flask.testing import FlaskClient
from jobs import small_frame

from lesion.algorithms.classify.prediction.load import load_predictor
from lesion.predict_files import predict_files
from lesion.serve.app import create_app

SITE = "anatom_site_general_challenge"


@pytest.fixture
def data(tmp_path) -> DataSet:
    """Ten patients of sex male and female, with sites torso and head/neck."""
    return DataSet(tmp_path / "training", small_frame(10))


def other_set(**columns: list[str]) -> pd.DataFrame:
    """Four rows of two further patients, with words of their own."""
    frame = small_frame(2)
    ids = {"image_name": "X_" + frame["image_name"], "patient_id": "X" + frame["patient_id"]}
    return frame.assign(**ids, **columns)


def findings(data: DataSet, name: str, **settings: object) -> list[str]:
    return [finding.what for finding in data.check(**settings).findings if finding.name == name]


@pytest.mark.parametrize("channel", ["validation", "test"])
def test_words_of_another_set_are_read_as_trainings_own_or_named_with_their_rows(data, channel):
    data.add(channel, other_set(sex=["M", "F", "Diverse", "Diverse"], **{SITE: ["TRUNK", "Head & Neck", "leg", ""]}))
    report = data.check()
    read = [finding for finding in report.findings if finding.name == "other_words"]
    assert [finding.level for finding in read] == ["note", "note"]
    assert f"column 'sex' of the {channel} set" in read[0].what and "M as male, F as female" in read[0].what
    assert "TRUNK as torso, Head & Neck as head/neck" in read[1].what
    unknown = [finding for finding in report.findings if finding.name == "unknown_words"]
    assert [finding.level for finding in unknown] == ["warning", "warning"]
    assert f"column 'sex' of the {channel} set" in unknown[0].what and "Diverse (2 rows)" in unknown[0].what
    assert names(unknown[0]) == ["X_IMG_001_0", "X_IMG_001_1"] and "(female, male)" in unknown[0].do
    assert "leg (1 row)" in unknown[1].what and names(unknown[1]) == ["X_IMG_001_0"]
    part = "training" if channel == "validation" else "test"
    assert {row.part for finding in unknown for row in finding.rows} == {part}


def test_a_set_in_trainings_own_words_is_not_spoken_of(data):
    data.add("test", other_set())
    assert not {"other_words", "unknown_words"} & {finding.name for finding in data.check().findings}


def test_a_patient_whose_sex_is_written_in_two_ways_is_no_contradiction(data):
    words = {"male": ["male", "M"], "female": ["Female", "f"]}
    data.rewrite(data.frame.assign(sex=[words[sex][row % 2] for row, sex in enumerate(data.frame["sex"])]))
    assert findings(data, "contradictions") == []
    [spelt] = findings(data, "spellings")
    assert spelt.endswith("which count as one: Female, f; M, male")


@pytest.mark.parametrize("cell", ["inf", "30_5,5", "30 years"])
def test_a_number_written_in_another_way_is_refused_with_its_column(data, cell):
    frame = data.frame.astype({"age_approx": object})
    frame.loc[4, "age_approx"] = cell
    data.rewrite(frame)
    report = data.check()
    error = one(report, "bad_input")
    assert f"column 'age_approx': '{cell}' is not a number" in error.what and "train.csv" in str(error.where)
    assert names(one(report, "words_among_numbers")) == [frame["image_name"][4]]


@pytest.fixture(scope="module")
def client(trained_root) -> FlaskClient:
    return create_app(load_predictor(trained_root / "model", device="cpu", num_cores=2)).test_client()


def ask(client: FlaskClient, trained_root: Path, key: str = "json_data", **metadata: object):
    """The answer to the brief's payload, or with key="metadata" to an instance among many."""
    picture = (trained_root / "input/data/training/train_jpg/IMG_000_0.jpg").read_bytes()
    instance = {"image": base64.b64encode(picture).decode(), key: metadata}
    body = instance if key == "json_data" else {"instances": [instance]}
    response = client.post("/invocations", data=json.dumps(body), content_type="application/json")
    assert response.status_code == 200, response.text
    return response


@pytest.mark.parametrize(
    ("sent", "means"),
    [
        ({"sex": "M"}, {"sex": "male"}),
        ({"sex": " Female "}, {"sex": "female"}),
        ({"anatomy": "TRUNK"}, {"anatomy": "torso"}),
        ({"anatomy": "head and neck", "age": 40}, {"anatomy": "head/neck", "age": 40}),
        ({"anatomy": "scalp"}, {"anatomy": "head/neck"}),
    ],
)
def test_a_request_is_answered_alike_in_every_spelling(client, trained_root, sent, means):
    answered, expected, nothing = (ask(client, trained_root, **fields) for fields in (sent, means, {}))
    assert answered.data == expected.data != nothing.data
    assert "X-Lesion-Unused" not in answered.headers


def test_a_word_that_training_did_not_have_is_named_beside_the_number_and_within_an_object(client, trained_root):
    bare = ask(client, trained_root, sex="X", weight=80)
    assert bare.headers["X-Lesion-Unused"] == "weight:unknown_field,sex:unknown_word"
    assert bare.data == ask(client, trained_root).data
    [prediction] = ask(client, trained_root, "metadata", sex="X", weight=80).get_json()["predictions"]
    assert prediction["unused"] == ["weight:unknown_field", "sex:unknown_word"]
    [prediction] = ask(client, trained_root, "metadata", sex="M").get_json()["predictions"]
    assert prediction.keys() == {"probability", "label"}


def test_predict_reads_every_spelling_and_names_words_that_training_did_not_have(trained_root, tmp_path, caplog):
    channel = Path(shutil.copytree(trained_root / "input/data/training", tmp_path / "channel"))
    frame = pd.read_csv(channel / "train.csv", dtype=str, keep_default_na=False)
    tables = {
        "plain": frame,
        "others": frame.assign(sex=frame["sex"].map({"male": "M", "female": "F"})),
        "unknown": frame.assign(sex=["X", "X", "diverse", *frame["sex"][3:]]),
    }
    written = {}
    for name, table in tables.items():
        table.to_csv(channel / "train.csv", index=False)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            predict_files(
                channel / "train.csv",
                model_dir=trained_root / "model",
                output=tmp_path / f"{name}.csv",
                **{"device": "cpu", "fold": None, "precision": "fp32", "num_cores": 2, "show_progress": False},
            )
        written[name] = ((tmp_path / f"{name}.csv").read_bytes(), [m for m in caplog.messages if "words" in m])
    assert written["plain"] == written["others"] and written["plain"][1] == []
    [line] = written["unknown"][1]
    assert line == (
        "metadata column sex: 3 rows have words that no training row had, taken as missing: X (2), diverse (1)"
    )


def test_ages_as_dicom_writes_them_are_years(data):
    ages = ["030Y", "042Y", "006M", "052Y", "026W"]
    data.rewrite(data.frame.assign(age_approx=[ages[row % 5] for row in range(len(data.frame))]))
    report = data.check()
    assert report.num("error") == 0 and "words_among_numbers" not in {finding.name for finding in report.findings}


@pytest.mark.parametrize("word", ["unknown", "90+", ">89"])
def test_words_in_a_column_that_is_mostly_numbers_are_a_warning(data, word):
    data.rewrite(data.frame.assign(age_approx=[word if row % 4 == 0 else 20 + row for row in range(len(data.frame))]))
    finding = one(data.check(), "words_among_numbers")
    assert finding.level == "warning" and word in finding.what
