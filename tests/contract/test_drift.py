"""Drift, from training to the page: a trained artifact's answers over HTTP are captured and compared with it."""

from __future__ import annotations

import base64
import json
import tarfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from jobs import Trained, run, small_frame, small_job

from captures import line, write_captures
from factories import draw_picture, write_channel
from lesion.algorithms.base import Predictor
from lesion.algorithms.classify.algorithm import CLASSIFY
from lesion.artifact import load_manifest
from lesion.serve.app import create_app

NUM = 80


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A job with a fixed validation set of NUM images: what is served is the one network that they were held out of.
    Not to be written to."""
    frame = small_frame(NUM // 2 + 10)
    root = small_job(tmp_path_factory.mktemp("model"), frame=frame[NUM:], metadata_columns=[])
    validation = root / "input" / "data" / "validation"
    write_channel(validation, frame[:NUM], csv_name="validation.csv", image_dir="validation_jpg")
    return run(root)


@pytest.fixture(scope="module")
def client(model: Trained) -> Any:
    predictor: Predictor = CLASSIFY.load(
        model.root / "model", device="cpu", num_cores=1, fold=None, precision="fp32", operating_point=None
    )
    app = create_app(predictor)
    yield app.test_client()
    app.extensions["pipeline"].stop()


def captured(client: Any, folder: Path, *, blue: bool = False) -> list[str]:
    """Captures of new images, sent in turn as files, as JSON and as JSON Lines with details."""
    lines = []
    for number in range(NUM):
        path = folder / "sent" / f"{number}.jpg"
        draw_picture(path, is_positive=number % 2 == 0, seed=900_000 + number)
        if blue:
            cv2.imwrite(str(path), cv2.imread(str(path))[..., ::-1])
        content, sent_as, headers = path.read_bytes(), "image/jpeg", {}
        encoded = base64.b64encode(content).decode()
        if number % 3 == 1:
            content, sent_as = json.dumps({"instances": [{"image": encoded}]}).encode(), "application/json"
        elif number % 3 == 2:
            content, sent_as = json.dumps({"image": encoded}).encode(), "application/jsonlines"
            headers = {"X-Amzn-SageMaker-Custom-Attributes": "details=true"}
        response = client.post("/invocations", data=content, content_type=sent_as, headers=headers)
        assert response.status_code == 200
        lines.append(line(response.text, content, answer_type=response.content_type, request_type=sent_as))
    return lines


def drifted(output: Path) -> set[str]:
    return {
        one["feature_name"] for one in json.loads((output / "constraint_violations.json").read_text())["violations"]
    }


def test_an_artifact_keeps_samples_of_training_and_no_rows(model):
    manifest = load_manifest(model.root / "model")
    reference = CLASSIFY.load_reference(model.root / "model", operating_point=None)
    assert manifest.payload["reference"]["num_rows"] == NUM
    held_out = np.sort(model.oof["probability"].to_numpy(dtype=np.float32))
    np.testing.assert_allclose(reference.values["probability"], held_out, atol=1e-6)
    assert all((np.diff(values) >= 0).all() for values in reference.values.values())
    assert {"blur", "brightness", "red_green", "fine_grain"} <= set(reference.values)


def test_answers_to_images_like_those_of_training_are_no_drift(model, client, command, tmp_path):
    write_captures(tmp_path / "captured", captured(client, tmp_path))
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(model.root / "model", arcname=".")
    said = command("drift", tmp_path / "captured", "--model", archive, "--output", tmp_path / "drift")
    assert said.returncode == 0, said.stderr
    assert "No drift in" in said.stdout and not drifted(tmp_path / "drift")


def test_images_of_another_colour_are_drift(model, client, command, tmp_path):
    write_captures(tmp_path / "captured", captured(client, tmp_path, blue=True))
    said = command("drift", tmp_path / "captured", "--model", model.root / "model", "--output", tmp_path / "drift")
    assert said.returncode == 0 and "Drift in" in said.stdout
    assert {"red_green", "yellow_blue"} <= drifted(tmp_path / "drift")


def test_a_command_without_its_places_says_which(command):
    said = command("drift")
    assert said.returncode == 2 and "captured data (CAPTURED)" in said.stderr
    assert command("drift", "a", "--model", "b", "--output", "c", "--alpha", "2").returncode == 2
