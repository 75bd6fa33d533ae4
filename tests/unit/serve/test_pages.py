"""Pages: what /model says of a model, by its algorithm and by those who serve it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from lesion.algorithms.classify.manifest import ClassifierRecord, TargetRecord, read
from lesion.algorithms.classify.prediction.predictor import Ensemble
from lesion.artifact import Manifest, load_manifest
from lesion.data.metadata import ColumnEncoder
from lesion.serve.pages import describe

GOLDEN = Path(__file__).parents[2] / "golden"
WRITTEN = json.loads((GOLDEN / "artifact_v2" / "manifest.json").read_text())  # as its file has it
MANIFEST = load_manifest(GOLDEN / "artifact_v2")
BASE = read(GOLDEN / "artifact_v2", MANIFEST)  # of three classes melanoma is asked about


def told(model: ClassifierRecord, manifest: Manifest = MANIFEST) -> dict:
    """What is described, as a client reads it."""
    predictor = Ensemble(manifest, model, model.folds, [], max_batch=1, backend="torch cpu fp32")
    return json.loads(json.dumps(describe(predictor), allow_nan=False))


def test_the_model_is_told_with_what_made_it_and_what_runs_it():
    described = told(BASE)
    assert re.fullmatch("[0-9a-f]{12}", described["model"].pop("version"))
    assert described["model"] == {
        "network": "test_efficientnet",
        "algorithm": "classify",
        "format_version": 2,
        "lesion_version": "0.1.0",
    }
    assert described["serving"] == {"backend": "torch cpu fp32", "folds": "0, 1"}
    assert described["packages"] == WRITTEN["packages"] and described["packages"]["timm"] == "1.0.31"
    assert described["views"] == {"default": 3, "most": 8, "flips": "flips_and_rotations"}


def test_another_fingerprint_is_another_version():
    other = MANIFEST.model_copy(update={"data_fingerprint": "0" * 64})
    assert told(BASE)["model"]["version"] != told(BASE, other)["model"]["version"]


def test_inputs_are_the_picture_and_each_metadata_column_in_the_order_of_training():
    inputs = told(BASE)["inputs"]
    picture = inputs["picture"]
    assert {"application/x-image", "application/dicom", "multipart/form-data"} <= set(
        picture["content_types"]
    ) and picture["image_size"] == 32
    assert inputs["metadata"] == [
        {"name": "sex", "kind": "category", "categories": ["female", "male"]},
        {"name": "age_approx", "kind": "number", "also_called": ["age"]},
        {"name": "prior", "kind": "boolean"},
        {"name": "size_mm", "kind": "number"},
    ]


def test_the_values_of_a_picture_are_told_with_their_order_type_and_range():
    picture = told(BASE)["inputs"]["picture"]
    assert (picture["channels"], picture["dtype"], picture["range"]) == ("RGB", "uint8", [0, 255])
    assert picture["of_16_bits"] == "the upper byte" and {"JPEG", "DICOM"} <= set(picture["formats"])


def test_a_short_name_is_told_only_where_it_is_not_a_columns_own():
    of = BASE.model_copy(update={"metadata_columns": ["age", "age_approx"]})
    assert all("also_called" not in column for column in told(of)["inputs"]["metadata"])


def test_a_word_that_one_fold_alone_has_seen_is_among_the_categories():
    seen = [("torso",), ("scalp", "torso")]
    folds = [
        record.model_copy(update={"metadata": (ColumnEncoder("site", "category", categories=words),)})
        for record, words in zip(BASE.folds, seen, strict=True)
    ]
    described = told(BASE.model_copy(update={"folds": folds, "metadata_columns": ["site"]}))
    assert described["inputs"]["metadata"] == [{"name": "site", "kind": "category", "categories": ["scalp", "torso"]}]


@pytest.mark.parametrize(
    ("kind", "names", "thresholds", "told_with"),
    [
        ("binary", ("benign", "malignant"), (0.25,), {"malignant": 0.25}),
        ("multilabel", ("net", "veil"), (0.5, 0.1), {"net": 0.5, "veil": 0.1}),
        ("multiclass", ("a", "b", "c"), (), {}),
    ],
)
def test_each_threshold_is_told_with_its_class(kind, names, thresholds, told_with):
    target = TargetRecord(kind=kind, class_names=names, of_interest=None, thresholds=thresholds)
    question = told(BASE.model_copy(update={"target": target}))["question"]
    assert question["answers"] == question["classes"] == list(names) and question["thresholds"] == told_with


def test_a_positive_class_of_many_is_asked_about_against_the_rest():
    question = told(BASE)["question"]
    assert question["kind"] == "multiclass" and question["positive_class"] == "melanoma"
    assert question["classes"] == ["keratosis", "melanoma", "nevus"]
    assert question["answers"] == ["not melanoma", "melanoma"]
    assert question["thresholds"] == {"melanoma": 0.2536219656467438}


def test_metrics_are_the_manifests_with_their_intervals_and_each_folds_own():
    described = told(BASE)
    assert described["metrics"]["overall"]["interval_95"]["roc_auc"] == [0.9, 1.0]
    assert [fold["fold"] for fold in described["folds"]] == [0, 1]
    assert [fold["metrics"] for fold in described["folds"]] == [fold["metrics"] for fold in WRITTEN["folds"]]
    assert round(described["folds"][0]["metrics"]["roc_auc"], 4) == 0.9048


def test_an_algorithm_that_says_nothing_of_itself_is_told_with_what_serving_knows():
    silent = SimpleNamespace(manifest=MANIFEST, backend="numpy", metadata_columns=[], describe=dict)
    described = describe(silent)
    assert described["model"]["algorithm"] == "classify" and described["serving"] == {"backend": "numpy"}
    assert described["inputs"]["picture"]["channels"] == "RGB" and described["inputs"]["metadata"] == []


@pytest.mark.parametrize("name", ["artifact_v1", "artifact_v2", "artifact_v3"])
def test_no_name_of_a_file_is_told(name):
    manifest = load_manifest(GOLDEN / name)
    text = json.dumps(told(read(GOLDEN / name, manifest), manifest))
    assert not [file for file, record in manifest.files.items() if file in text or record.sha256 in text]
