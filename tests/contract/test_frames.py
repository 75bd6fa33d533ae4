"""Frames of DICOM files through a whole job: trained on, predicted, served, as `dicom_frames` says."""

from __future__ import annotations

import base64
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from flask.testing import FlaskClient

from dicom_files import bytes_of, dataset_of
from factories import run_job, write_hyperparameters
from lesion.algorithms.classify.prediction.load import load_predictor
from lesion.predict_files import predict_files
from lesion.serve.app import create_app
from lesion.serve.limits import Limits

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 40, 40), np.uint8)
SETTINGS = {
    "model": "test_resnet",
    "pretrained": False,
    "image_size": 32,
    "folds": 2,
    "split": "stratified_group_kfold",
    "epochs": 1,
    "num_workers": 0,
}


def frame(number: int) -> bytes:
    return bytes_of(dataset_of(FRAMES[number]))


CASE = bytes_of(dataset_of(FRAMES))


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A job of eight files of three frames, trained on all of them."""
    root = tmp_path_factory.mktemp("frames")
    channel = root / "input/data/training"
    (channel / "train").mkdir(parents=True)
    rng = np.random.default_rng(1)
    for number in range(8):
        pixels = rng.integers(0, 120 + 100 * (number % 2), (3, 40, 40)).astype(np.uint8)
        (channel / "train" / f"p{number}.dcm").write_bytes(bytes_of(dataset_of(pixels)))
    rows = pd.DataFrame({"image_name": [f"p{n}.dcm" for n in range(8)], "target": [n % 2 for n in range(8)]})
    rows.to_csv(channel / "train.csv", index=False)
    write_hyperparameters(root, {**SETTINGS, "dicom_frames": "all"})
    run_job(root)
    return root


def with_choice(root: Path, folder: Path, choice: str) -> Path:
    """The artifact as a job with another dicom_frames leaves it."""
    model_dir = shutil.copytree(root / "model", folder)
    fields = json.loads((model_dir / "manifest.json").read_text())
    assert fields["payload"]["dicom_frames"] == "all"
    fields["payload"]["dicom_frames"] = choice
    (model_dir / "manifest.json").write_text(json.dumps(fields))
    return model_dir


def client_of(model_dir: Path) -> FlaskClient:
    return create_app(load_predictor(model_dir, device="cpu", num_cores=1)).test_client()


def answers(client: FlaskClient, *contents: bytes) -> list[dict]:
    sent = [{"image": base64.b64encode(content).decode()} for content in contents]
    answer = client.post("/invocations", json={"instances": sent})
    assert answer.status_code == 200, answer.data
    return answer.get_json()["predictions"]


def probability(client: FlaskClient, content: bytes) -> float:
    (prediction,) = answers(client, content)
    return float(prediction["probability"])


def test_each_frame_is_a_row_and_a_files_frames_stay_in_one_fold(root):
    oof = pd.read_csv(root / "output/data/oof.csv")
    assert len(oof) == 24 and oof["image_name"][:3].tolist() == ["p0.dcm#1", "p0.dcm#2", "p0.dcm#3"]
    assert oof.groupby(oof["image_name"].str[:2])["fold"].nunique().eq(1).all()


@pytest.mark.parametrize(("choice", "numbers"), [("first", [0]), ("middle", [2]), ("all", [0, 1, 2, 3, 4])])
def test_a_case_is_answered_by_its_frames(choice, numbers, root, tmp_path):
    """By HTTP, alone and beside others, and by `lesion predict`."""
    model_dir = with_choice(root, tmp_path / "model", choice)
    client = client_of(model_dir)
    expected = np.mean([probability(client, frame(number)) for number in numbers])
    assert probability(client, CASE) == pytest.approx(expected, abs=1e-5)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, content in (("a", frame(0)), ("b", CASE), ("c", b"DICM"), ("d", CASE[:-500]), ("e", frame(1))):
        (folder / f"{name}.dcm").write_bytes(content)
    predict_files(
        folder,
        model_dir=model_dir,
        output=tmp_path / "out.csv",
        device="cpu",
        fold=None,
        precision="fp32",
        num_cores=1,
        show_progress=False,
    )
    rows = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert rows.iloc[:, 0].tolist() == [f"{name}.dcm" for name in "abcde"]
    assert float(rows["probability"][1]) == pytest.approx(expected, abs=1e-3)  # serving may compute in bf16
    assert rows["probability"][2] == "" and "c.dcm" in rows["error"][2]
    assert (rows["error"][3] == "") is (choice != "all")  # its last frame is cut
    assert rows["error"][[0, 1, 4]].eq("").all()


def test_a_cut_case_costs_itself_only_among_many(root):
    client = client_of(root / "model")
    predictions = answers(client, frame(0), CASE[:-500], CASE, b"x")
    assert ["error" in prediction for prediction in predictions] == [False, True, False, True]
    assert predictions[2]["probability"] == pytest.approx(probability(client, CASE), abs=1e-5)
    answer = client.post("/invocations", data=CASE, content_type="application/dicom")
    assert answer.status_code == 200 and str(predictions[2]["probability"])[:6] in answer.get_data(as_text=True)


CUT = CASE[:-500]  # its last frame


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (CUT, "application/dicom"),
        (json.dumps({"instances": [{"image": base64.b64encode(CUT).decode()}] * 2}), "application/json"),
        (json.dumps({"image": base64.b64encode(CUT).decode()}), "application/jsonlines"),
    ],
    ids=["a file", "instances", "a line"],
)
def test_a_request_of_nothing_but_cut_cases_is_refused_and_no_image_is_counted(root, body, content_type):
    app = create_app(load_predictor(root / "model", device="cpu", num_cores=1), has_metrics=True)
    answer = app.test_client().post("/invocations", data=body, content_type=content_type)
    assert answer.status_code == 400 and answer.get_json()["error"] == "unreadable_image", answer.data
    assert b"lesion_pictures_total 0.0" in app.test_client().get("/metrics").data


def test_a_case_is_one_image_in_log_and_metrics(root, caplog):
    caplog.set_level(logging.INFO, logger="lesion")
    app = create_app(load_predictor(root / "model", device="cpu", num_cores=1), has_metrics=True)
    assert len(answers(app.test_client(), CASE, frame(0))) == 2
    assert "pictures=2 " in caplog.text and b"lesion_pictures_total 2.0" in app.test_client().get("/metrics").data


def test_a_case_has_one_map_that_of_its_first_frame_and_counts_as_one_image(root):
    predictor = load_predictor(root / "model", device="cpu", num_cores=1)
    drawn = []

    def watched(compute):
        def executor(batch):
            outputs = compute(batch)
            drawn.extend(output.map for output in outputs if output.map is not None)
            return outputs

        return executor

    predictor.executors = [watched(executor) for executor in predictor.executors]
    client = create_app(predictor, limits=Limits(max_maps=2)).test_client()

    def ask(*contents: bytes):
        sent = [{"image": base64.b64encode(content).decode()} for content in contents]
        headers = {"X-Amzn-SageMaker-Custom-Attributes": "map=true"}
        return client.post("/invocations", json={"instances": sent}, headers=headers)

    two = ask(CASE, frame(0))
    assert two.status_code == 200, two.data
    of_case, of_first = two.get_json()["predictions"]
    assert len(drawn) == 2 and of_case["map"] == of_first["map"]
    assert of_case["probability"] == pytest.approx(probability(client, CASE), abs=1e-6)
    assert ask(CASE, CASE, CASE).status_code == 413
