"""Safeguards from the job to the answer: quality, familiarity and the audit line."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from flask.testing import FlaskClient
from safetensors.numpy import load as from_bytes
from safetensors.numpy import save as to_bytes

from contract.jobs import Trained, run, run_a_step, small_frame, small_job
from dicom_files import bytes_of, dataset_of
from lesion.algorithms.classify.prediction.load import load_predictor
from lesion.data.decode import images
from lesion.errors import UserError
from lesion.report.facts import Facts
from lesion.serve.app import CUSTOM_ATTRIBUTES, create_app
from lesion.serve.audit import NO_AUDIT, Audit

JPEG = {"Content-Type": "image/jpeg"}
NUM_PATIENTS = 60  # of two pictures each: enough for bounds and for statistics


def large_job(root: Path, **changes: object) -> Path:
    return small_job(root, frame=small_frame(NUM_PATIENTS), metadata_columns=[], **changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A job with a graph, so that a CPU answers as in production. Not to be written to."""
    return run(large_job(tmp_path_factory.mktemp("trained"), export_graph=True))


@pytest.fixture(scope="module")
def usual(trained: Trained) -> bytes:
    return (trained.channel / "train_jpg" / "IMG_007_0.jpg").read_bytes()


@pytest.fixture(scope="module")
def poor(usual: bytes) -> bytes:
    """The same picture in the dark, out of focus."""
    image = cv2.GaussianBlur(cv2.imdecode(np.frombuffer(usual, np.uint8), cv2.IMREAD_COLOR), (0, 0), 3) // 4
    return bytes(cv2.imencode(".png", image)[1])


def client_of(root: Path, audit: Audit = NO_AUDIT) -> FlaskClient:
    predictor = load_predictor(root / "model", device="cpu", num_cores=1, precision="fp32")
    return create_app(predictor, audit=audit).test_client()


def with_policy(policy: str, trained: Trained, root: Path) -> Path:
    """The job's artifact with another `on_low_quality`, which is all that the hyperparameter changes in it."""
    return changed(trained, root, quality={**trained.payload["quality"], "on_low_quality": policy})


def changed(trained: Trained, root: Path, **changes: object) -> Path:
    """The job's artifact with another payload."""
    shutil.copytree(trained.root / "model", root / "model")
    path = root / "model" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["payload"] |= changes
    path.write_text(json.dumps(manifest))
    return root


def first(client: FlaskClient, picture: bytes) -> dict[str, Any]:
    return dict(client.post("/invocations", data=picture, headers=JPEG).get_json()["predictions"][0])


def test_what_training_pictures_are_like_is_kept_and_few_of_them_are_warned_of(trained):
    quality, familiarity = trained.payload["quality"], trained.payload["familiarity"]
    assert quality["num_pictures"] == familiarity["num_rows"] == 2 * NUM_PATIENTS
    assert quality["share_warned"]["any"] <= 0.02 and quality["on_low_quality"] == "warn"
    assert familiarity["folds"] == [0, 1] and familiarity["file"] in trained.manifest["files"]


def test_a_poor_picture_is_answered_with_a_warning_or_refused_or_not_looked_at(trained, tmp_path, usual, poor):
    """The three policies. What a picture of other colours is like is said by familiarity all the same."""
    warning = client_of(trained.root)
    assert "warnings" not in first(warning, usual)
    assert {"dark", "blurred", "unfamiliar"} <= set(first(warning, poor)["warnings"])

    ignoring = client_of(with_policy("ignore", trained, tmp_path / "ignore"))
    assert first(ignoring, poor)["warnings"] == ["unfamiliar"]

    refusing = client_of(with_policy("refuse", trained, tmp_path / "refuse"))
    response = refusing.post("/invocations", data=poor, headers=JPEG)
    assert response.status_code == 400 and response.get_json()["error"] == "low_quality"
    assert "dark" in response.get_json()["message"] and "blurred" in response.get_json()["message"]
    for accept in ("text/csv", "application/jsonlines"):  # whose answers have no place for warnings
        assert refusing.post("/invocations", data=poor, headers={**JPEG, "Accept": accept}).status_code == 400
    instances = [{"image": base64.b64encode(picture).decode()} for picture in (usual, poor, usual)]
    predictions = refusing.post("/invocations", json={"instances": instances}).get_json()["predictions"]
    assert [each.get("error", {}).get("kind") for each in predictions] == [None, "low_quality", None]


def test_warnings_and_familiarity_stand_in_objects_and_never_beside_a_bare_number(trained, usual, poor):
    client = client_of(trained.root)
    found = first(client, poor)
    assert found["warnings"][-1] == "unfamiliar" and found["familiarity"] < 0.01 <= first(client, usual)["familiarity"]
    encoded = {"image": base64.b64encode(poor).decode()}
    assert isinstance(client.post("/invocations", json=encoded).get_json(), float)
    lines = {"data": json.dumps(encoded), "content_type": "application/jsonlines"}
    assert set(json.loads(client.post("/invocations", **lines).data)) == {"prediction"}
    details = client.post("/invocations", **lines, headers={CUSTOM_ATTRIBUTES: "details=true"})
    assert json.loads(details.data)["warnings"] == found["warnings"]


def test_a_set_that_is_unfamiliar_throughout_is_told_as_such(trained, tmp_path, command):
    """Every familiarity is 0, which is not nothing."""
    for number, name in enumerate(("benign", "malignant")):
        (tmp_path / "set" / name).mkdir(parents=True)
        noise = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "set" / name / f"{number}.png"), noise)
    done = command("evaluate", tmp_path / "set", "--model", trained.root / "model", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert pd.read_csv(tmp_path / "out/predictions.csv")["familiarity"].tolist() == [0, 0]
    [metric] = Facts.read(tmp_path / "out/report.json").familiarity.metrics
    assert metric.number.value == 1


def test_a_case_with_a_map_is_as_familiar_as_without(trained, tmp_path, usual, poor):
    """The map is of its first frame, its familiarity of all."""
    root = changed(trained, tmp_path, dicom_frames="all")
    frames = np.stack([images.decode(picture) for picture in (usual, poor, poor)])
    encoded = {"image": base64.b64encode(bytes_of(dataset_of(frames, "RGB"))).decode()}
    client = client_of(root)
    with_map = client.post("/invocations", json=encoded, headers={CUSTOM_ATTRIBUTES: "map=true"}).get_json()
    without = client.post("/invocations", json={"instances": [encoded]}).get_json()["predictions"][0]
    drawn = {"map", "map_class", "map_method"}
    assert set(with_map) - set(without) == drawn and {**with_map, **without} == with_map


def test_torch_and_the_graph_say_the_same(trained, usual, poor, tmp_path):
    """The graph's features are those that the statistics were made of."""
    by_graph, by_torch = client_of(trained.root), client_of(changed(trained, tmp_path, graph=None))
    for picture in (usual, poor):
        expected = first(by_graph, picture)["familiarity"]
        assert first(by_torch, picture)["familiarity"] == pytest.approx(expected, abs=0.02)


def test_lesion_predict_has_a_column_of_warnings(trained, usual, poor, tmp_path, command):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.jpg").write_bytes(usual)
    (tmp_path / "pictures" / "b.png").write_bytes(poor)
    output = tmp_path / "predictions.csv"
    done = command("predict", tmp_path / "pictures", "--model", trained.root / "model", "--output", output)
    assert done.returncode == 0, done.stderr
    warnings = pd.read_csv(output, keep_default_na=False)["warnings"].tolist()
    assert warnings[0] == "" and {"dark", "blurred", "unfamiliar"} <= set(warnings[1].split("|"))


def test_a_job_that_resumes_after_its_check_keeps_what_was_measured_and_the_policy_it_was_given(trained, tmp_path):
    root = large_job(tmp_path, export_graph=True, checkpoint_interval_s=0, on_low_quality="refuse")
    run_a_step(root)
    assert run(root).payload["quality"] == {**trained.payload["quality"], "on_low_quality": "refuse"}


def test_too_few_pictures_have_no_safeguards_and_the_log_says_why(baseline, said, tmp_path):
    assert baseline.payload["quality"] is None and baseline.payload["familiarity"] is None
    run(small_job(tmp_path))
    assert (
        "no image-quality gate: 12 training images are fewer than 100" in said() and "no familiarity score: " in said()
    )


def other_arrays(change: Callable[[dict[str, Any]], object], trained: Trained, folder: Path) -> Path:
    """The artifact with other statistics, whose digest is right."""
    shutil.copytree(trained.root / "model", folder)
    path, name = folder / "manifest.json", trained.payload["familiarity"]["file"]
    arrays = from_bytes((folder / name).read_bytes())
    change(arrays)
    content = to_bytes(arrays)
    (folder / name).write_bytes(content)
    manifest = json.loads(path.read_text())
    manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    path.write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays.pop("held_out"),
        lambda arrays: arrays.update(held_out=arrays["held_out"].astype(np.float64)),
        lambda arrays: arrays.update({"fold_1.mean": np.full_like(arrays["fold_1.mean"], np.inf)}),
        lambda arrays: arrays.update({"appearance.mean": arrays["appearance.mean"][:5]}),
        lambda arrays: arrays.update(
            {f"fold_0.{part}": arrays[f"appearance.{part}"] for part in ("mean", "basis", "variance")}
        ),
    ],
)
def test_statistics_that_cannot_be_used_are_refused_by_file(change, trained, tmp_path):
    folder = other_arrays(change, trained, tmp_path / "model")
    with pytest.raises(UserError, match=r"familiarity\.safetensors") as caught:
        load_predictor(folder, device="cpu", num_cores=1)
    assert caught.value.kind == "artifact"


def test_the_audit_has_a_line_for_each_picture_and_nothing_that_names_a_patient(trained, usual, poor):
    reader, writer = os.pipe()
    client = client_of(trained.root, Audit(writer))
    instances = [
        {"image": base64.b64encode(picture).decode(), "metadata": {"name": "Jane Doe", "sex": "female"}}
        for picture in (usual, poor, b"no picture of Jane Doe")
    ]
    headers = {"X-Amzn-SageMaker-Inference-Id": "case-7"}
    client.post("/invocations", json={"instances": instances}, headers=headers).close()
    client.post("/invocations", json={"image": instances[2]["image"]}).close()  # refused as a whole
    client.get("/ping").close()
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        text = file.read()
    assert b"Jane" not in text and b"female" not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["request_id"] for line in lines[:3]] == ["case-7"] * 3 and lines[3]["request_id"] != "case-7"
    assert [line["sha256"] for line in lines[:2]] == [hashlib.sha256(picture).hexdigest() for picture in (usual, poor)]
    [threshold] = trained.payload["target"]["thresholds"]
    assert lines[0]["operating_point"] == {"asked": "youden", "threshold": threshold}
    assert lines[1]["warnings"][-1] == "unfamiliar" and lines[0]["label"] in {"benign", "malignant"}
    assert [line.get("refused") for line in lines] == [None, None, "unreadable_image", "unreadable_image"]
