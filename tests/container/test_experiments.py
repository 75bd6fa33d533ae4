"""lesion_jobs.track: a finished job as MLflow itself reads it back, from a store in a folder. No Docker, no network."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # environments
from environments import PROJECT, environment, run_script

GOLDEN = PROJECT / "tests" / "golden" / "artifact_v4"
HISTORY = "fold,epoch,lr,roc_auc\n0,0,0.001,0.5\n0,1,0.001,0.75\n1,0,0.001,\n"


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return dict(json.loads((GOLDEN / "manifest.json").read_text()))


@pytest.fixture(scope="module")
def found(manifest: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What MLflow has of a job with the golden artifact, whose metrics are those of metrics.json."""
    folder = tmp_path_factory.mktemp("tracked")
    results, model = folder / "job" / "output" / "data", folder / "job" / "model"
    results.mkdir(parents=True)
    model.mkdir()
    shutil.copy(GOLDEN / "manifest.json", model)
    (results / "metrics.json").write_text(json.dumps(manifest["metrics"]))
    (results / "history.csv").write_text(HISTORY)
    (results / "report.html").write_text("<html></html>")
    (results / "oof.csv").write_text("image_name,group\nIMG_1,P1\n")
    run_script(environment("mlflow"), "mlflow_track.py", folder, variables={"TMPDIR": str(folder)}, limit_s=400)
    return dict(json.loads((folder / "found.json").read_text()))


def test_hyperparameters_metrics_and_intervals_are_those_of_the_job(found, manifest):
    assert found["status"] == "FINISHED"
    assert found["params"]["model"] == manifest["config"]["model"]
    assert json.loads(found["params"]["folds"]) == manifest["config"]["folds"]
    assert set(found["params"]) == set(manifest["config"])
    overall = manifest["metrics"]["overall"]
    for name, value in overall["metrics"].items():
        assert found["metrics"][f"validation.{name}"] == pytest.approx(value)
    for name, (low, _) in overall.get("interval_95", {}).items():
        assert found["metrics"][f"validation.{name}.low"] == pytest.approx(low)


def test_each_folds_epochs_are_a_curve(found):
    assert found["curve"] == [[0, 0.5], [1, 0.75]]
    assert "fold_1.roc_auc" not in found["metrics"]  # an empty cell is no number


def test_it_is_known_what_was_trained_on_what_by_which_image(found, manifest):
    tags = found["tags"]
    assert tags["lesion.data_fingerprint"] == manifest["data_fingerprint"] and tags["lesion.image"].endswith("0" * 64)
    assert tags["package.torch"] == manifest["packages"]["torch"]
    assert found["data_set"][0] == "training" and found["data_set"][2] == {"sha256": manifest["data_fingerprint"]}
    assert manifest["data_fingerprint"].startswith(found["data_set"][1])


def test_the_report_is_logged_and_nothing_that_names_images_or_patients(found):
    assert found["documents"] == ["history.csv", "manifest.json", "metrics.json", "report.html"]


def test_a_job_is_tracked_once(found):
    assert found["is_once"]


def test_what_cannot_be_tracked_is_said_with_what_to_do(found):
    assert "no metrics.json" in found["refusals"]["no results"]
    assert "not a tracking server" in found["refusals"]["no scheme"]
    assert "pip install sagemaker-mlflow" in found["refusals"]["sagemaker"]
