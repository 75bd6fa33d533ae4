"""Geometry: the fit of oblong pictures and the flips are the same in check, training, predict and serving."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from checks import DataSet, names
from jobs import Trained, run, small_frame, small_job

from lesion import artifact
from lesion.algorithms.classify.manifest import read
from lesion.algorithms.classify.prediction.load import load_predictor
from lesion.check.finding import Finding
from lesion.data.decode import images
from lesion.errors import UserError
from lesion.serve.app import create_app

CHOSEN = {"fit": "pad", "flips": "horizontal"}


def draw(path: Path, *, width: int, height: int, seed: int) -> None:
    """Noise of that size."""
    noise_HWC = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    cv2.imwrite(str(path), cv2.GaussianBlur(noise_HWC, (0, 0), 3))


def cut_off(data: DataSet, **settings: object) -> list[Finding]:
    return [finding for finding in data.check(**settings).findings if finding.name == "cut_off"]


@pytest.fixture
def data(tmp_path) -> DataSet:
    """Pictures of 80 × 64 pixels, of which crop leaves four fifths."""
    return DataSet(tmp_path / "training", small_frame(6))


def test_what_crop_cuts_off_is_said_with_the_remedy(data):
    [finding] = cut_off(data)
    assert finding.level == "note" and finding.rows == ()
    assert "of the median image 20% of the area, of one 20%" in finding.what and "fit=pad" in finding.do
    for row, name in enumerate(data.frame["image_name"][:8]):
        draw(data.picture(name), width=60, height=150 if row else 180, seed=row)
    [finding] = cut_off(data)
    assert finding.level == "warning" and "median image 60% of the area, of one 67%" in finding.what
    assert names(finding) == data.frame["image_name"][:8].tolist()
    assert cut_off(data, fit="pad") == cut_off(data, fit="stretch") == []


def test_of_square_pictures_nothing_is_cut_off(data):
    for row, name in enumerate(data.frame["image_name"]):
        draw(data.picture(name), width=64, height=64, seed=row)
    assert cut_off(data) == []


def test_a_few_oblong_pictures_among_square_ones_are_named_and_no_warning(data):
    for row, name in enumerate(data.frame["image_name"]):
        draw(data.picture(name), width=64, height=64 if row else 100, seed=row)
    [finding] = cut_off(data)
    assert finding.level == "note" and "median image 0% of the area, of one 36%" in finding.what
    assert names(finding) == [data.frame["image_name"][0]]


def test_classes_that_are_sides_are_warned_of_unless_nothing_is_mirrored(data):
    data.rewrite(data.frame.assign(target=data.frame["target"].map({0: "left", 1: "right"})))
    assert {"sides"} <= {finding.name for finding in data.check(positive_class="right").findings}
    assert "sides" not in {finding.name for finding in data.check(flips="none", positive_class="right").findings}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Trained:
    return run(small_job(tmp_path_factory.mktemp("geometry"), tta=2, cache="auto", **CHOSEN))


def probability(trained: Trained, row: int) -> float:
    """Of a row's picture, by the network of the fold that held it out, as `predict` and the server compute it."""
    oof = trained.oof.iloc[row]
    predictor = load_predictor(trained.root / "model", device="cpu", num_cores=1, fold=int(oof["fold"]))
    picture = images.read(trained.channel / "train_jpg" / f"{oof['image_name']}.jpg")
    table = small_frame().astype(object).iloc[row]
    metadata = {name: table[name] for name in predictor.metadata_columns}
    return float(predictor.predict([picture], [metadata])[0, 0])


def test_an_artifact_predicts_by_the_fit_and_the_views_that_it_was_trained_with(trained):
    for row in (0, 5):
        assert probability(trained, row) == pytest.approx(trained.oof["probability"][row], abs=1e-6)
    assert trained.payload["preprocessing"]["fit"] == "pad" and trained.payload["flips"] == "horizontal"
    path = trained.root / "model" / "manifest.json"
    written = path.read_text()
    cropped = json.loads(written)
    cropped["payload"]["preprocessing"]["fit"] = "crop"
    try:
        path.write_text(json.dumps(cropped))
        assert probability(trained, 0) != pytest.approx(trained.oof["probability"][0], abs=1e-6)
    finally:
        path.write_text(written)


def test_a_request_for_views_that_training_did_without_is_refused(trained):
    client = create_app(load_predictor(trained.root / "model", device="cpu", num_cores=1)).test_client()
    assert client.get("/model").get_json()["views"] == {"default": 2, "most": 2, "flips": "horizontal"}
    assert client.get("/model").get_json()["inputs"]["picture"]["fit"] == "pad"
    picture = (trained.channel / "train_jpg" / "IMG_000_0.jpg").read_bytes()
    answers = [
        client.post(
            "/invocations",
            data=picture,
            content_type="image/jpeg",
            headers={"X-Amzn-SageMaker-Custom-Attributes": f"views={views}"},
        )
        for views in (2, 3)
    ]
    assert [answer.status_code for answer in answers] == [200, 400]
    assert answers[1].get_json()["error"] == "custom_attributes"
    assert "views=3 is more than 2" in answers[1].get_json()["message"] and "flips=horizontal" in answers[1].text


def test_a_manifest_whose_views_contradict_its_flips_is_refused(trained, tmp_path):
    manifest = artifact.load_manifest(trained.root / "model")
    wrong = manifest.model_copy(update={"payload": {**manifest.payload, "flips": "none"}})
    with pytest.raises(UserError, match="num_views is 2, and flips=none allows 1"):
        read(tmp_path, wrong)


def test_an_artifact_of_before_was_trained_with_crop_and_all_flips(trained, tmp_path):
    manifest = artifact.load_manifest(trained.root / "model")
    payload = {name: value for name, value in manifest.payload.items() if name != "flips"}
    payload["preprocessing"] = {name: value for name, value in payload["preprocessing"].items() if name != "fit"}
    model = read(tmp_path, manifest.model_copy(update={"payload": payload}))
    assert model.flips == "flips_and_rotations" and model.preprocessing.fit == "crop"
