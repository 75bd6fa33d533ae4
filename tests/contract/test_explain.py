"""Explain: maps and metadata attribution of a trained artifact, by HTTP, on the command line, and in the artifact."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import requests
from jobs import Trained, run, small_job
from scipy.special import logit
from test_serving import METADATA, payload

from lesion.algorithms.base import Options
from lesion.algorithms.classify.explanation import choice as explanation
from lesion.algorithms.classify.explanation import openvino_map
from lesion.algorithms.classify.explanation.attribution import MetadataAttribution
from lesion.algorithms.classify.explanation.explainer import load_explainer
from lesion.algorithms.classify.prediction import torch_executor
from lesion.algorithms.classify.prediction.load import load_predictor
from lesion.algorithms.classify.prediction.predictor import Ensemble
from lesion.data.decode import images
from lesion.errors import UserError
from lesion.explain.agreement import rank_correlation
from lesion.explain.record import ExplanationRecord
from processes import Server

GOLDEN = Path(__file__).parents[1] / "golden" / "artifact_v4"  # of three classes
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


@pytest.fixture(scope="module")
def picture(trained_root: Path) -> bytes:
    return (trained_root / "input/data/training/train_jpg/IMG_000_0.jpg").read_bytes()


@pytest.fixture(scope="module")
def record(trained_root: Path) -> ExplanationRecord:
    return ExplanationRecord.model_validate(Trained(trained_root).payload["explanation"])


def asked(server: Server, body: object, content_type: str = "image/jpeg", **headers: str) -> requests.Response:
    return server.ask(body, content_type, X_Amzn_SageMaker_Custom_Attributes="map=true", **headers)


def drawn(prediction: dict[str, str]) -> np.ndarray:
    """The map of an answer, as pixels."""
    content = base64.b64decode(prediction["map"], validate=True)
    assert content.startswith(b"\x89PNG")
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


# In the artifact


def test_a_job_keeps_the_map_that_it_chose_and_what_it_measured(record):
    assert 1 <= record.num_pictures <= 12 and len(record.candidates) >= 6  # as many images as its seconds allow
    assert record.without_gradient in {"cam", "occlusion"} and record.agreement is not None
    assert record.randomised is not None and 0 <= record.randomised < 0.99
    assert record.randomised_other is not None and 0 <= record.randomised_other < 0.99
    [own] = [one for one in record.candidates if (one.method, one.level) == (record.method, record.level)]
    assert (own.insertion, own.deletion) == (record.insertion, record.deletion)
    if record.method == "cam":
        assert record.without_gradient == "cam" and record.agreement == pytest.approx(1)
    else:
        assert own.gain > max(one.gain for one in record.candidates if one.method == "cam")


def test_a_job_whose_explanation_fails_ends_well_with_a_warning(tmp_path, monkeypatch, said):
    """As where memory is out: the choice itself, which cannot be made to fail from outside, is replaced."""

    def fail(*_, **__):
        raise RuntimeError("out of memory\nat line 5")

    monkeypatch.setattr(explanation, "choose", fail)
    trained = run(small_job(tmp_path, explain=True))
    assert trained.payload["explanation"] is None and len(trained.payload["folds"]) == 2
    assert "explanation: no map was chosen, occlusion will serve: RuntimeError: out of memory\n" in said()


@pytest.mark.parametrize(
    "changes", [{"target_column": "diagnosis"}, {"target_column": json.dumps(["target", "other_target"])}]
)
def test_a_job_of_every_kind_of_target_chooses_a_map(tmp_path, changes):
    trained = run(small_job(tmp_path, explain=True, **changes))
    assert trained.payload["explanation"]["num_pictures"] >= 1


# Over HTTP


def test_a_map_comes_with_the_answer_and_changes_nothing_else_of_it(server, picture, record):
    [plain] = server.ask(picture).json()["predictions"]
    [prediction] = asked(server, picture).json()["predictions"]
    image_HW = drawn(prediction)
    assert {name: prediction[name] for name in plain} == plain
    assert prediction["map_class"] == "malignant" and prediction["map_method"] == record.without_gradient
    assert image_HW.shape == images.decode(picture).shape[:2] and image_HW.dtype == np.uint8
    assert image_HW.max() == 255 and image_HW[:, 0].max() == 0  # fit=crop: beside the middle square nothing was seen


def test_torch_draws_maps_over_http_too_by_occlusion_where_none_was_chosen(other_server, picture):
    [plain] = other_server.ask(picture).json()["predictions"]
    [prediction] = asked(other_server, picture).json()["predictions"]
    assert prediction["map_method"] == "occlusion" and drawn(prediction).shape == (64, 80)
    assert prediction["probability"] == plain["probability"]


def test_a_class_can_be_named_and_the_negative_one_is_the_opposite(server, picture):
    told = {}
    for name in ("malignant", "BENIGN"):
        response = server.ask(picture, X_Amzn_SageMaker_Custom_Attributes=f"map={name}; views=1")
        [told[name]] = response.json()["predictions"]
    assert told["BENIGN"]["map_class"] == "benign"
    seen = np.s_[:, 8:72]
    first, second = (drawn(told[name])[seen] for name in told)
    assert ((first > 0) & (second > 0)).mean() < 0.1  # heat begins at the median of each


def test_the_bare_form_answers_with_an_object_and_lines_hold_their_map(server, picture):
    bare = asked(server, payload(picture, METADATA), "application/json").json()
    assert set(bare) - {"map_warning"} == {"probability", "label", "map", "map_class", "map_method"}
    lines = asked(server, "\n".join([payload(picture)] * 2), "application/jsonlines").text.splitlines()
    assert [drawn(json.loads(line)).shape for line in lines] == [(64, 80)] * 2


def test_no_map_unless_it_is_asked_for(server, picture):
    response = server.ask(picture, X_Amzn_SageMaker_Custom_Attributes="map=false, details=true")
    assert "map" not in response.json()["predictions"][0]


def test_an_unknown_class_is_refused_in_words(server, picture):
    response = server.ask(picture, X_Amzn_SageMaker_Custom_Attributes="map=melanom%61")
    assert response.status_code == 400 and response.json()["error"] == "custom_attributes"
    assert "'melanoma'" in response.json()["message"] and "benign, malignant" in response.json()["message"]


def test_csv_has_no_place_for_a_map(server, picture):
    response = asked(server, picture, Accept="text/csv")
    assert response.status_code == 400 and "CSV" in response.json()["message"]


def test_more_pictures_than_a_request_may_have_maps_of_are_refused(server, picture):
    instance = {"image": base64.b64encode(picture).decode()}
    ask = {number: json.dumps({"instances": [instance] * number}) for number in (16, 17)}
    assert len(asked(server, ask[16], "application/json").json()["predictions"]) == 16
    refused = asked(server, ask[17], "application/json")
    assert refused.status_code == 413 and "16 images with a map" in refused.json()["message"]
    assert server.ask(ask[17], "application/json").status_code == 200


# The graph and torch


def test_the_graphs_class_activation_is_torchs(trained_root):
    model_dir, options = trained_root / "model", Options(map="", map_method="cam", views=2)
    picture_HWC = images.read(trained_root / "input/data/training/train_jpg/IMG_003_0.jpg")
    by_graph = load_predictor(model_dir, device="cpu", num_cores=2, precision="fp32")
    by_torch = load_explainer(model_dir, device="cpu", num_cores=2, fold=None, class_name=None, method="cam").predictor
    assert by_graph.backend.startswith("openvino") and by_torch.backend.startswith("torch")
    found = [map_of(one, picture_HWC, options) for one in (by_graph, by_torch)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-3)
    other = Options(map="", map_method="occlusion")
    found = [map_of(one, picture_HWC, other) for one in (by_graph, by_torch)]
    correlation = rank_correlation(*found)
    assert correlation is not None and correlation > 0.95  # rounding of small falls may change ranks


def map_of(predictor: Ensemble, picture_HWC: np.ndarray, options: Options) -> np.ndarray:
    [output] = predictor.executors[0]([predictor.prepare(picture_HWC, {}, options)])
    assert output.map is not None
    return output.map.values_hw


@pytest.mark.parametrize("name", ["keratosis", "melanoma", "nevus"])
@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_the_class_that_is_explained_is_the_one_that_is_answered(tmp_path, kind, name):
    """Where `name` is frequent at the deployment, and the others are rare, whatever the networks say."""
    model_dir = shutil.copytree(GOLDEN, tmp_path / "model")
    manifest = json.loads((model_dir / "manifest.json").read_text())
    target = manifest["payload"]["target"]
    of_interest = {"kind": kind, "of_interest": None, "thresholds": [0.5] * 3 if kind == "multilabel" else []}
    calibration = {
        "calibrator": {"is_multiclass": kind == "multiclass", "maps": [{"method": "none"}] * 3},
        "pooling": {"is_multiclass": kind == "multiclass", "centres": [0.0] * 3},
        "trained_prevalence": [1 / 3] * 3,
        "deployment_prevalence": [0.998 if name == one else 0.001 for one in target["class_names"]],
    }
    manifest["payload"] |= {"target": target | of_interest, "operating": None, "prediction_sets": None}
    manifest["payload"]["calibration"] = calibration
    (model_dir / "manifest.json").write_text(json.dumps(manifest))
    predictor = load_predictor(model_dir, device="cpu", num_cores=1)
    options = Options(map="")
    picture_HWC = images.read(GOLDEN / "picture.png")
    [output] = predictor.executors[0]([predictor.prepare(picture_HWC, {}, options)])
    told = predictor.answer(output, options).fields
    assert max(told["probabilities"], key=told["probabilities"].get) == told["map_class"] == name


@pytest.mark.parametrize(("by", "num_passes"), [("openvino", 50), ("torch", 1)])
def test_a_slow_map_notes_that_it_goes_on(trained_root, monkeypatch, by, num_passes):
    """Else a server whose passes take seconds would seem to hang."""
    noted = []
    for executor in (openvino_map, torch_executor):
        monkeypatch.setattr(executor, "note_progress", lambda: noted.append(1))
    given = {"device": "cpu", "num_cores": 1, "fold": 0}
    if by == "torch":
        predictor = load_explainer(trained_root / "model", class_name=None, method="occlusion", **given).predictor
    else:
        predictor = load_predictor(trained_root / "model", precision="fp32", **given)
    assert predictor.backend.startswith(by)
    map_of(predictor, np.zeros((48, 48, 3), np.uint8), Options(map="", map_method="occlusion", views=1))
    assert len(noted) == num_passes


def test_a_gradient_on_the_graph_is_refused_in_words(trained_root):
    predictor = load_predictor(trained_root / "model", device="cpu", num_cores=1, precision="fp32")
    picture = predictor.prepare(np.zeros((9, 9, 3), np.uint8), {}, Options(map="", map_method="grad_cam"))
    with pytest.raises(UserError, match="no gradients"):
        predictor.executors[0]([picture])


# Metadata


def test_a_change_of_metadata_is_the_difference_of_two_predictions(trained_root):
    """Against log-odds of the probabilities that the predictor answers, one fold, one view."""
    model_dir = trained_root / "model"
    explainer = load_explainer(model_dir, device="cpu", num_cores=2, fold=0, class_name="malignant", method="cam")
    picture_HWC = images.read(trained_root / "input/data/training/train_jpg/IMG_003_0.jpg")
    explanation = explainer.explain(picture_HWC, METADATA)

    def log_odds(row) -> float:
        prepared = explainer.predictor.prepare(picture_HWC, row, Options(views=1))
        [output] = explainer.predictor.executors[0]([prepared])
        return float(logit(explainer.predictor.answer(output, Options()).columns["probability"]))

    whole = log_odds(METADATA)
    assert explanation.log_odds == pytest.approx(whole, abs=1e-4)
    changes = explanation.metadata_changes
    assert list(changes) == list(explainer.change_names) and len(changes) == 2 * len(METADATA)
    for name in METADATA:
        without = {key: value for key, value in METADATA.items() if key != name}
        assert changes[f"if_missing_{name}"] == pytest.approx(log_odds(without) - whole, abs=1e-4)
    both = [log_odds({**METADATA, "sex": sex}) - whole for sex in ("female", "male")]
    assert changes["if_usual_sex"] == pytest.approx(np.mean(both), abs=1e-4)
    ages = Trained(trained_root).payload["folds"][0]["metadata"]
    [mean] = [column["mean"] for column in ages if column["name"] == "age_approx"]
    assert changes["if_usual_age_approx"] == pytest.approx(log_odds({**METADATA, "age_approx": mean}) - whole, abs=1e-4)


def test_log_odds_and_changes_are_those_of_the_calibrated_probability_beside_them(trained_root, tmp_path):
    """Platt halves the log-odds and adds one; at 5 % instead of a half, ln 19 is taken off. Changes are halved."""
    calibration = {
        "calibrator": {"is_multiclass": False, "maps": [{"method": "platt", "slope": 0.5, "offset": 1.0}]},
        "pooling": {"is_multiclass": False, "centres": [0.0]},
        "trained_prevalence": [0.5],
        "deployment_prevalence": [0.05],
    }
    picture_HWC = images.read(trained_root / "input/data/training/train_jpg/IMG_003_0.jpg")
    told = []
    for number, known in enumerate((None, calibration)):
        model_dir = shutil.copytree(trained_root / "model", tmp_path / str(number))
        manifest = json.loads((model_dir / "manifest.json").read_text())
        manifest["payload"]["calibration"] = known
        (model_dir / "manifest.json").write_text(json.dumps(manifest))
        explainer = load_explainer(model_dir, device="cpu", num_cores=2, fold=0, class_name=None, method="cam")
        told.append(explainer.explain(picture_HWC, METADATA))
        assert told[-1].log_odds == pytest.approx(logit(told[-1].answer.columns["probability"]), abs=1e-4)
    plain, calibrated = told
    assert calibrated.log_odds == pytest.approx(0.5 * plain.log_odds + 1 - np.log(19), abs=1e-3)
    assert max(map(abs, plain.metadata_changes.values())) > 1e-3
    for name, change in plain.metadata_changes.items():
        assert calibrated.metadata_changes[name] == pytest.approx(0.5 * change, abs=1e-3)


def test_a_column_that_taught_training_nothing_changes_nothing_and_moves_no_other(trained_root, tmp_path):
    model_dir = shutil.copytree(trained_root / "model", tmp_path / "model")
    manifest = json.loads((model_dir / "manifest.json").read_text())
    manifest["payload"]["metadata_columns"].insert(0, "weight")
    for fold in manifest["payload"]["folds"]:
        fold["metadata"].insert(0, {"name": "weight", "kind": "number", "learned": "nothing"})
    (model_dir / "manifest.json").write_text(json.dumps(manifest))
    picture_HWC = images.read(trained_root / "input/data/training/train_jpg/IMG_003_0.jpg")
    explainers = [
        load_explainer(folder, device="cpu", num_cores=2, fold=0, class_name=None, method="cam")
        for folder in (trained_root / "model", model_dir)
    ]
    before, after = (one.explain(picture_HWC, {**METADATA, "weight": "80"}).metadata_changes for one in explainers)
    assert after == pytest.approx({"if_missing_weight": 0, "if_usual_weight": 0, **before}, abs=1e-6)


def test_a_model_without_metadata_has_no_changes(tmp_path):
    root = run(small_job(tmp_path, metadata_columns="[]")).root
    explainer = load_explainer(root / "model", device="cpu", num_cores=1, fold=None, class_name=None, method=None)
    assert explainer.change_names == ()
    explanation = explainer.explain(np.zeros((40, 30, 3), np.uint8), {})
    assert explanation.metadata_changes == {} and explanation.map.in_picture().shape == (40, 30)
    assert isinstance(explainer._attribution, MetadataAttribution)


# On the command line


def test_a_folder_is_explained_in_files_and_a_table(command, trained_root, tmp_path, record):
    pictures, output = trained_root / "input/data/training/train_jpg", tmp_path / "out"
    ended = command("explain", pictures, "--model", trained_root / "model", "--output", output, "--device", "cpu")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    table = pd.read_csv(output / "explanations.csv")
    assert len(table) == len(list(pictures.iterdir())) and table["error"].isna().all()
    assert set(table["map_method"]) == {record.method} and set(table["map_class"]) == {"malignant"}
    first = table.iloc[0]
    values_HW = np.load(output / first["map"], allow_pickle=False)
    over_HWC = cv2.imread(str(output / first["overlay"]))
    assert values_HW.shape == over_HWC.shape[:2] == (64, 80) and values_HW.dtype == np.float32
    assert np.isnan(values_HW[:, :8]).all() and np.isfinite(values_HW[:, 8:72]).all()
    assert {"if_missing_sex", "if_usual_age_approx", "log_odds"} <= set(table.columns)


def test_a_picture_that_cannot_be_read_has_its_error_and_the_others_are_explained(command, trained_root, tmp_path):
    pictures, output = tmp_path / "pictures", tmp_path / "out"
    pictures.mkdir()
    good = (trained_root / "input/data/training/train_jpg/IMG_000_0.jpg").read_bytes()
    (pictures / "a.jpg").write_bytes(good[:300])
    (pictures / "b.jpg").write_bytes(good)
    arguments = ("--model", trained_root / "model", "--output", output, "--method", "occlusion", "--class", "benign")
    ended = command("explain", pictures, *arguments)
    assert ended.returncode == 2
    table = pd.read_csv(output / "explanations.csv")
    assert table["error"].isna().tolist() == [False, True]
    assert table["map_class"].tolist()[1] == "benign" and table["map_method"].tolist()[1] == "occlusion"
    assert len(list(output.glob("*.png"))) == len(list(output.glob("*.npy"))) == 1


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--method", "gradcam", "Did you mean grad_cam"),
        ("--class", "nevus", "benign, malignant; or leave --class out"),
        ("--fold", "9", "fold 9"),
    ],
)
def test_what_there_is_not_is_refused_before_anything_is_read(command, trained_root, tmp_path, option, value, expected):
    arguments = ("--model", trained_root / "model", "--output", tmp_path / "out", option, value)
    ended = command("explain", tmp_path / "nothing", *arguments)
    assert ended.returncode == 2 and expected in ended.stdout + ended.stderr
