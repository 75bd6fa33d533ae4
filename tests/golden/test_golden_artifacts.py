"""Golden: artifacts of every format version so far still load, and answer what plain torch worked out of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lesion import artifact
from lesion.algorithms.classify.manifest import read
from lesion.algorithms.classify.prediction.load import load_predictor, load_torch
from lesion.data.decode import images

ARTIFACTS = sorted(Path(__file__).parent.glob("artifact_v*"))
# The first two hold no graph.
WAYS = [("torch", path) for path in ARTIFACTS] + [("graph", path) for path in ARTIFACTS[2:]]


def test_every_format_version_has_its_artifact():
    versions = [artifact.load_manifest(path).format_version for path in ARTIFACTS]
    assert versions == list(range(1, artifact.FORMAT_VERSION + 1))


@pytest.mark.parametrize(("by", "path"), WAYS, ids=[f"{path.name}-{by}" for by, path in WAYS])
def test_an_old_artifact_answers_as_it_did(by, path):
    if by == "graph":
        predictor = load_predictor(path, device="cpu", num_cores=2, precision="fp32")
        assert predictor.backend == "openvino cpu fp32"
    else:
        manifest = artifact.load_manifest(path)
        model = read(path, manifest)
        predictor = load_torch(path, manifest, model, model.folds, [torch.device("cpu")])
    expected = json.loads((path / "expected.json").read_text())
    picture = images.read(path / "picture.png")
    probs_NK = predictor.predict([picture] * len(expected), [row["metadata"] for row in expected])
    expected_NK = np.array([row.get("probabilities") or [row["probability"]] for row in expected])
    np.testing.assert_allclose(probs_NK, expected_NK, atol=1e-4)
    assert len({round(row[0], 3) for row in expected_NK.tolist()}) == len(expected)  # the rows are told apart


@pytest.mark.parametrize("path", ARTIFACTS, ids=lambda path: path.name)
def test_every_file_of_an_old_artifact_is_listed_and_is_the_one_that_was_written(path):
    manifest = artifact.load_manifest(path)
    others = {"manifest.json", "expected.json", "picture.png"}
    assert set(manifest.files) == {file.name for file in path.iterdir()} - others
    for name in manifest.files:
        assert artifact.path_of_file(path, manifest, name) == path / name


def test_earlier_formats_say_the_same_in_the_form_of_the_latest():
    """Each question as its manifest states it, format 1's one threshold and one target column among them."""
    models = [read(path, artifact.load_manifest(path)) for path in ARTIFACTS]
    assert [(model.question.kind, model.target_columns) for model in models] == [
        ("binary", ["target"]),
        *[("multiclass", ["kind"])] * 3,
    ]
    stated = json.loads((ARTIFACTS[0] / "manifest.json").read_text())["target"]
    assert models[0].target.thresholds == (stated["threshold"],) and models[0].target.of_interest is None
    assert [record.fold for model in models for record in model.folds] == [0, 1] * 4
