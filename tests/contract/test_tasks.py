"""Tasks: several classes, several labels, a positive class; trained, served and tabled from the same numbers."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jobs import Trained, run, small_frame, small_job
from sklearn.metrics import brier_score_loss

from factories import write_channel
from lesion.algorithms.classify.prediction.load import load_predictor
from lesion.data.decode import images
from lesion.errors import UserError
from lesion.predict_files import predict_files
from lesion.report.facts import Facts
from lesion.report.page import render
from lesion.serve.app import create_app

KINDS = ["keratosis", "melanoma", "nevus"]


def frame_of(num_patients: int = 9) -> pd.DataFrame:
    """Two pictures a patient, of different kinds; three columns of yes or no; three centres."""
    frame, number = small_frame(num_patients), np.arange(2 * num_patients)
    signs = {f"sign_{bit}": np.random.default_rng(bit).permutation(number) % 2 for bit in range(3)}
    kinds = [KINDS[value] for value in (number + number // 6) % 3]
    return frame.assign(kind=kinds, centre=[f"C{value}" for value in number // 6], **signs)


SIGNS = "sign_0,sign_1,sign_2"


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Trained:
    root = small_job(tmp_path_factory.mktemp("many"), frame=frame_of(), target_column="kind", repeats=2, epochs=2)
    test = frame_of(3).assign(image_name=lambda frame: "TEST_" + frame["image_name"], patient_id="T")
    write_channel(root / "input/data/training", test, csv_name="test.csv", image_dir="test_jpg")
    return run(root, is_rendered=True)


@pytest.fixture(scope="module")
def signs(tmp_path_factory) -> Trained:
    return run(small_job(tmp_path_factory.mktemp("signs"), frame=frame_of(), target_column=SIGNS), is_rendered=True)


@pytest.fixture(scope="module")
def one_of_many(tmp_path_factory) -> Trained:
    changes = {"target_column": "kind", "positive_class": "melanoma"}
    return run(
        small_job(tmp_path_factory.mktemp("interest"), frame=frame_of(), has_test=True, **changes), is_rendered=True
    )


def results(trained: Trained) -> Path:
    return trained.root / "output" / "data"


def picture(trained: Trained) -> Path:
    return sorted((trained.channel / "train_jpg").iterdir())[0]


def answer(trained: Trained, body: bytes, content_type: str) -> dict:
    app = create_app(load_predictor(trained.root / "model", device="cpu", num_cores=2))
    response = app.test_client().post("/invocations", data=body, content_type=content_type)
    assert response.status_code == 200
    return response.get_json()


def test_several_classes_have_a_probability_each_that_add_up_to_one(many):
    probs = many.oof[[f"probability_{kind}" for kind in KINDS]].to_numpy()
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-6)
    truth = pd.read_csv(many.channel / "train.csv").set_index("image_name")["kind"]
    assert (many.oof["target"] == truth.loc[many.oof["image_name"]].to_numpy()).all()


def test_repeated_folds_hold_each_row_out_each_time_and_average_its_answers(many):
    assert many.oof["image_name"].value_counts().tolist() == [2] * 18 and set(many.oof["fold"]) == {0, 1, 2, 3}
    means = many.oof.groupby("image_name")[[f"judged_raw_probability_{kind}" for kind in KINDS]].mean()
    truth = pd.read_csv(many.channel / "train.csv").set_index("image_name").loc[means.index, "kind"]
    overall = json.loads((results(many) / "metrics.json").read_text())["overall"]
    expected = -np.log([row[f"judged_raw_probability_{truth[name]}"] for name, row in means.iterrows()]).mean()
    assert overall["uncalibrated"]["metrics"]["log_loss"] == pytest.approx(expected, abs=1e-6)
    assert "roc_auc" not in overall["metrics"] and overall["notes"]["roc_auc"].startswith("no output has 10 positives")
    right = np.array(KINDS)[means.to_numpy().argmax(axis=1)] == truth
    assert overall["metrics"]["accuracy"] == pytest.approx(right.mean())
    assert overall["classes"] == dict.fromkeys(KINDS, 6) and overall["thresholds"] == []


def test_a_labelled_test_set_is_judged_by_the_whole_ensemble(many):
    judged = json.loads((results(many) / "metrics.json").read_text())["test"]
    submission = pd.read_csv(results(many) / "submission.csv")
    assert list(submission.columns) == ["image_name", *KINDS] and len(submission) == judged["num_rows"] == 6
    truth = pd.read_csv(many.channel / "test.csv")["kind"]
    expected = -np.log([submission.loc[row, kind] for row, kind in enumerate(truth)]).mean()
    assert judged["metrics"]["log_loss"] == pytest.approx(expected, rel=1e-5)


def test_several_classes_are_answered_by_name(many):
    (said,) = answer(many, picture(many).read_bytes(), "image/jpeg")["predictions"]
    probs = load_predictor(many.root / "model", device="cpu", num_cores=2).predict([images.read(picture(many))], [{}])[
        0
    ]
    assert said["probabilities"] == pytest.approx(dict(zip(KINDS, probs.tolist(), strict=True)))
    assert said["label"] == KINDS[int(probs.argmax())] and "probability" not in said


def test_several_labels_are_asked_each_for_itself(signs):
    probs = signs.oof[[f"judged_raw_probability_sign_{bit}" for bit in range(3)]].to_numpy()
    truth = signs.oof[[f"target_sign_{bit}" for bit in range(3)]].to_numpy()
    assert (truth == frame_of()[[f"sign_{bit}" for bit in range(3)]].to_numpy()).all()
    overall = signs.manifest["metrics"]["overall"]
    expected = ((truth - probs) ** 2).mean()
    assert overall["uncalibrated"]["metrics"]["brier"] == pytest.approx(expected, abs=1e-6)
    assert len(overall["thresholds"]) == 3
    (said,) = answer(signs, picture(signs).read_bytes(), "image/jpeg")["predictions"]
    reached = zip(said["probabilities"].items(), overall["thresholds"], strict=True)
    assert said["labels"] == [name for (name, prob), threshold in reached if prob >= threshold]


def test_a_positive_class_of_many_is_judged_and_answered_against_the_rest(one_of_many):
    oof = one_of_many.oof
    assert oof["target"].tolist() == (frame_of()["kind"] == "melanoma").astype(int).tolist()
    np.testing.assert_allclose(oof["probability"], oof["probability_melanoma"], atol=1e-9)
    overall = one_of_many.manifest["metrics"]["overall"]
    expected = brier_score_loss(oof["target"], oof["judged_probability"])
    assert overall["metrics"]["brier"] == pytest.approx(expected, abs=1e-6)
    body = json.dumps({"image": base64.b64encode(picture(one_of_many).read_bytes()).decode()}).encode()
    bare = answer(one_of_many, body, "application/json")
    (said,) = answer(one_of_many, picture(one_of_many).read_bytes(), "image/jpeg")["predictions"]
    assert bare == said["probability"] == said["probabilities"]["melanoma"]
    expected = "melanoma" if bare >= overall["thresholds"][0] else "not melanoma"
    assert said["label"] == expected
    assert list(pd.read_csv(results(one_of_many) / "submission.csv").columns) == ["image_name", "kind"]


@pytest.mark.parametrize("trained", ["many", "signs", "one_of_many"])
def test_a_folder_of_pictures_is_tabled_with_a_column_a_class(request, trained, tmp_path):
    job = request.getfixturevalue(trained)
    output = tmp_path / "out.csv"
    options = {"device": "cpu", "fold": None, "precision": "fp32", "num_cores": 1, "show_progress": False}
    assert predict_files(job.channel / "train_jpg", model_dir=job.root / "model", output=output, **options) == 0
    table = pd.read_csv(output)
    names = job.payload["target"]["class_names"]
    assert [f"probability_{name}" for name in names] == [c for c in table.columns if c.startswith("probability_")]
    assert ("probability" in table.columns) == (trained == "one_of_many") and len(table) == 18


@pytest.mark.parametrize("trained", ["many", "signs", "one_of_many"])
def test_every_task_has_a_report_with_its_classes_and_pictures(request, trained):
    job = request.getfixturevalue(trained)
    facts = Facts.read(results(job) / "report.json")
    assert list(facts.question.classes) == job.payload["target"]["class_names"]
    told = {metric.key: metric.number for metric in facts.metrics}
    assert told["log_loss"].value == pytest.approx(job.manifest["metrics"]["overall"]["metrics"]["log_loss"])
    assert told["roc_auc"].value is None and "10" in told["roc_auc"].why
    page = (results(job) / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") > 0 and render(facts) == page


def test_leaving_a_centre_out_with_one_class_wants_a_metric_that_bears_it(tmp_path):
    frame = frame_of().assign(target=[0] * 6 + [0, 1] * 6)
    changes = {"frame": frame, "split": "leave_one_group_out", "group_column": "centre"}
    with pytest.raises(UserError, match=r"fold 0 has no validation row of class 1.*metric=log_loss"):
        run(small_job(tmp_path / "ranked", **changes))
    trained = run(small_job(tmp_path / "likely", metric="log_loss", **changes))
    assert trained.oof.groupby("fold")["group"].unique().tolist() == [["C0"], ["C1"], ["C2"]]
    assert "roc_auc" not in trained.payload["folds"][0]["metrics"]
    assert "balanced_accuracy" in trained.manifest["metrics"]["overall"]["metrics"]
