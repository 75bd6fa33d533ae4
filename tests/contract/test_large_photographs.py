"""Large photographs: one rule by which JPEGs are decoded smaller, for training, `predict` and serving alike."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from jobs import Trained, run, small_job

from lesion import artifact
from lesion.algorithms.classify.manifest import read
from lesion.algorithms.classify.prediction.load import load_predictor
from lesion.data.decode import images
from lesion.errors import UserError
from lesion.predict_files import predict_files
from lesion.serve.app import create_app

ROW = 0


@pytest.fixture(scope="module", params=["auto", "off"])
def trained(request, tmp_path_factory) -> Trained:
    """Of photographs of 597×485 pixels with detail in each, where three times the larger square is 111."""
    root = small_job(
        tmp_path_factory.mktemp("large"),
        tta=1,
        cache=request.param,
        metadata_columns=[],
        calibration="none",
        learning_rate=0.01,
    )
    for seed, path in enumerate(sorted((root / "input" / "data" / "training" / "train_jpg").iterdir())):
        noise_HWC = np.random.default_rng(seed).integers(0, 256, (485, 597, 3), np.uint8)
        drawn_HWC = cv2.resize(cv2.imread(str(path)), (597, 485), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(path), cv2.addWeighted(drawn_HWC, 0.3, noise_HWC, 0.7, 0))
    return run(root)


def picture_of(trained: Trained) -> Path:
    return trained.channel / "train_jpg" / f"{trained.oof['image_name'][ROW]}.jpg"


def answers(trained: Trained, tmp_path: Path) -> list[float]:
    """Of one row by the network that held it out: from `lesion predict`, and over HTTP."""
    fold, model = int(trained.oof["fold"][ROW]), trained.root / "model"
    output = tmp_path / "predictions.csv"
    predict_files(
        picture_of(trained),
        model_dir=model,
        output=output,
        device="cpu",
        fold=fold,
        precision="fp32",
        num_cores=1,
        show_progress=False,
    )
    client = create_app(load_predictor(model, device="cpu", num_cores=1, fold=fold, precision="fp32")).test_client()
    answer = client.post("/invocations", data=picture_of(trained).read_bytes(), content_type="image/jpeg")
    return [float(pd.read_csv(output)["probability"][0]), answer.get_json()["predictions"][0]["probability"]]


def by_library(trained: Trained, *, decode_px: int | None) -> float:
    predictor = load_predictor(
        trained.root / "model", device="cpu", num_cores=1, fold=int(trained.oof["fold"][ROW]), precision="fp32"
    )
    return float(predictor.predict([images.read(picture_of(trained), decode_px=decode_px)], [{}])[0, -1])


def test_training_predicting_and_serving_see_the_same_reduced_picture(trained, tmp_path):
    assert trained.payload["preprocessing"]["decode_px"] == 111
    expected = by_library(trained, decode_px=111)
    assert abs(expected - by_library(trained, decode_px=None)) > 5e-5  # else the test could not tell
    assert trained.oof["probability"][ROW] == pytest.approx(expected, abs=5e-6)
    assert answers(trained, tmp_path) == pytest.approx([expected, expected], abs=5e-6)


def test_an_artifact_of_before_decodes_whole(trained, tmp_path):
    path = trained.root / "model" / "manifest.json"
    written = path.read_text()
    older = json.loads(written)
    del older["payload"]["preprocessing"]["decode_px"]
    try:
        path.write_text(json.dumps(older))
        expected = by_library(trained, decode_px=None)
        assert answers(trained, tmp_path) == pytest.approx([expected, expected], abs=5e-6)
    finally:
        path.write_text(written)


def test_a_manifest_that_would_decode_less_than_the_network_sees_is_refused(trained, tmp_path):
    manifest = artifact.load_manifest(trained.root / "model")
    preprocessing = {**manifest.payload["preprocessing"], "decode_px": 31}
    wrong = manifest.model_copy(update={"payload": {**manifest.payload, "preprocessing": preprocessing}})
    with pytest.raises(UserError, match="decode_px is 31, less than image_size, 32"):
        read(tmp_path, wrong)
