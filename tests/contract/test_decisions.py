"""Decisions: calibration and operating point, from training to the answer by every door, and changed afterwards."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from checks import DataSet, errors
from jobs import Trained, run, small_frame, small_job

from lesion import artifact
from lesion.algorithms.classify.prediction.load import load_predictor
from lesion.data.decode import images
from lesion.errors import UserError
from lesion.predict_files import predict_files
from lesion.serve.app import create_app
from processes import lesion

POINT = "sensitivity=0.9"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Trained:
    settings = {"folds": 3, "calibration": "platt", "operating_point": POINT, "deployment_prevalence": 0.1}
    settings |= {"metadata_columns": "sex"}  # the others give these few targets away
    root = small_job(tmp_path_factory.mktemp("decisions"), frame=small_frame(24), has_test=True, epochs=3, **settings)
    return run(root)


@pytest.fixture(scope="module")
def predictor(trained):
    return load_predictor(trained.root / "model", device="cpu", num_cores=1, precision="fp32")


def post(predictor, trained: Trained, attributes: str = "", row: int = 0):
    picture = trained.channel / "train_jpg" / f"{trained.oof['image_name'][row]}.jpg"
    headers = {"X-Amzn-SageMaker-Custom-Attributes": attributes, "Content-Type": "image/jpeg"}
    return create_app(predictor).test_client().post("/invocations", data=picture.read_bytes(), headers=headers)


def test_the_artifact_and_the_results_say_what_was_decided(trained):
    payload, overall = trained.payload, trained.manifest["metrics"]["overall"]
    assert payload["calibration"]["deployment_prevalence"] == [0.1]
    assert overall["calibration"]["method"] in {"temperature", "platt"}  # the simpler one where positives are few
    assert 0 <= overall["calibration"]["variance_share_between_networks"] <= 0.5
    assert overall["operating_point"] == payload["operating"]["spec"] == POINT
    assert overall["thresholds"] == payload["target"]["thresholds"]
    assert set(overall["uncalibrated"]["metrics"]) == set(overall["metrics"])


def test_every_row_is_answered_by_its_fold_as_its_table_says(trained, tmp_path):
    fold = int(trained.oof["fold"][0])
    options = {"device": "cpu", "precision": "fp32", "num_cores": 1, "show_progress": False}
    table = tmp_path / "out.csv"
    predict_files(trained.channel / "train.csv", model_dir=trained.root / "model", output=table, fold=fold, **options)
    own = trained.oof[trained.oof["fold"] == fold].set_index("image_name")["probability"]
    found = pd.read_csv(table).set_index("image_name")["probability"].loc[own.index]
    np.testing.assert_allclose(found, own, atol=2e-5)


def test_the_test_set_is_answered_by_the_calibrated_ensemble(trained, predictor):
    submission = pd.read_csv(trained.root / "output/data/submission.csv")
    rows = pd.read_csv(trained.channel / "test.csv", dtype=str, keep_default_na=False)
    metadata = [{name: row[name] or None for name in predictor.metadata_columns} for row in rows.to_dict("records")]
    pictures = [images.read(trained.channel / "test_jpg" / f"{name}.jpg") for name in rows["image_name"]]
    np.testing.assert_allclose(submission["target"], predictor.predict(pictures, metadata)[:, 0], atol=2e-4)


def test_details_hold_the_classes_that_an_image_may_have(trained, predictor):
    """Recomputed from the artifact's quantiles and the answer's probability, back at the prevalence of the rows."""
    [told] = json.loads(post(predictor, trained, "details=true").data)["predictions"]
    sets, calibration = trained.payload["prediction_sets"], trained.payload["calibration"]
    [here], [there] = calibration["trained_prevalence"], calibration["deployment_prevalence"]
    odds = told["probability"] / (1 - told["probability"]) * here / (1 - here) / (there / (1 - there))
    probs = np.array([1 / (1 + odds), odds / (1 + odds)])
    names = np.array(trained.payload["target"]["class_names"])
    is_in = (1 - probs <= np.array(sets["quantiles"])) | (probs == probs.max())
    assert told["prediction_set"] == {"classes": names[is_in].tolist(), "coverage": 0.9}


def test_a_request_chooses_its_operating_point_and_is_told_which_was_used(trained, predictor):
    plain = json.loads(post(predictor, trained, "details=true").data)["predictions"][0]
    assert plain["operating_point"] == {"asked": POINT, "threshold": trained.payload["target"]["thresholds"][0]}
    low, high = (
        json.loads(post(predictor, trained, f"operating_point=threshold={value}").data)["predictions"][0]
        for value in (0, 1)
    )
    assert (low["label"], high["label"]) == tuple(reversed(trained.payload["target"]["class_names"]))
    assert low["probability"] == high["probability"] == plain["probability"]
    assert low["operating_point"] == {"asked": "threshold=0", "threshold": 0}
    chosen = json.loads(post(predictor, trained, "operating_point=Specificity = 0.8").data)["predictions"][0]
    [curve] = trained.payload["operating"]["curves"]
    allowed = [
        t for t, false in zip(curve["thresholds"], curve["false_positive_rates"], strict=True) if false <= 0.2 + 1e-9
    ]
    assert chosen["operating_point"] == {"asked": "specificity=0.8", "threshold": min(allowed)}
    assert "operating_point" not in json.loads(post(predictor, trained).data)["predictions"][0]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [("sensitivty=0.9", "did you mean sensitivity"), ("cost=-1", "above 0"), ("", "is no operating point")],
)
def test_an_operating_point_that_cannot_be_is_refused_in_words(trained, predictor, wrong, said):
    response = post(predictor, trained, f"operating_point={wrong}")
    assert response.status_code == 400
    told = json.loads(response.data)
    assert told["error"] == "custom_attributes" and said in told["message"]
    with pytest.raises(UserError, match=said):
        load_predictor(trained.root / "model", device="cpu", num_cores=1, operating_point=wrong)


def test_a_deployment_chooses_the_operating_point_of_all_answers(trained, tmp_path):
    predictor = load_predictor(
        trained.root / "model", device="cpu", num_cores=1, precision="fp32", operating_point="threshold=0"
    )
    assert predictor.describe()["question"]["operating_point"] == "threshold=0"
    positive = trained.payload["target"]["class_names"][1]
    assert {json.loads(post(predictor, trained, row=row).data)["predictions"][0]["label"] for row in range(4)} == {
        positive
    }
    table = tmp_path / "out.csv"
    done = lesion(
        *("predict", trained.channel / "train.csv", "--model", trained.root / "model", "--output", table),
        *("--operating-point", "threshold=1", "--device", "cpu"),
    )
    assert done.returncode == 0, done.stderr
    assert set(pd.read_csv(table)["label"]) == {trained.payload["target"]["class_names"][0]}


def test_an_artifact_without_curves_takes_a_threshold_and_refuses_the_rest(trained, tmp_path):
    """As format 3 is."""
    manifest = artifact.load_manifest(trained.root / "model")
    folder = tmp_path / "model"
    folder.mkdir()
    for name in manifest.files:
        (folder / name).write_bytes((trained.root / "model" / name).read_bytes())
    payload = {name: value for name, value in manifest.payload.items() if name not in {"calibration", "operating"}}
    artifact.save_manifest(folder, manifest.model_copy(update={"payload": payload, "format_version": 3}))
    older = load_predictor(folder, device="cpu", num_cores=1, operating_point="threshold=0.2")
    assert older.describe()["question"]["thresholds"] == {payload["target"]["class_names"][1]: 0.2}
    with pytest.raises(UserError, match=r"has none.*Say threshold=T"):
        load_predictor(folder, device="cpu", num_cores=1, operating_point="sensitivity=0.9")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"operating_point": "sensitivity=0.9"}, "the most probable of several classes"),
        ({"deployment_prevalence": 0.1}, "each class has a probability here"),
        ({"class_weight": 3}, "class_weight=3 is the weight of a positive class, but this target has 3 classes"),
    ],
)
def test_several_classes_have_no_threshold_prevalence_or_weight_of_a_positive_class(tmp_path, settings, said):
    frame = small_frame(9).assign(diagnosis=["a", "b", "c"] * 6)
    [error] = errors(DataSet(tmp_path / "training", frame, target_column="diagnosis").check(**settings))
    assert said in str(error.what)
