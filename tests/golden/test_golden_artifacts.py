"""Golden: artifacts of every format version so far still load, and answer what plain torch worked out of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lesion import artifact
from lesion.algorithms.classify.load import load
from lesion.data.images import read

ARTIFACTS = sorted(Path(__file__).parent.glob("artifact_v*"))


def test_every_format_version_has_its_artifact():
    versions = [artifact.load_manifest(path).format_version for path in ARTIFACTS]
    assert versions == list(range(1, artifact.FORMAT_VERSION + 1))


@pytest.mark.parametrize("path", ARTIFACTS, ids=lambda path: path.name)
def test_an_old_artifact_answers_as_it_did(path):
    predictor = load(path, device="cpu", num_cores=2)
    expected = json.loads((path / "expected.json").read_text())
    picture = read(path / "picture.png")
    probs_NK = predictor.predict([picture] * len(expected), [row["metadata"] for row in expected])
    expected_NK = np.array([row.get("probabilities") or [row["probability"]] for row in expected])
    np.testing.assert_allclose(probs_NK, expected_NK, atol=1e-4)
    assert len({round(row[0], 3) for row in expected_NK.tolist()}) == len(expected)  # the rows are told apart
