"""Flat manifests: format 2, in which the classifier's fields stood beside the envelope's, is read as format 3."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lesion.algorithms.classify.manifest import read
from lesion.algorithms.classify.prediction.load import load_predictor
from lesion.artifact import load_manifest

GOLDEN = Path(__file__).parents[1] / "golden" / "artifact_v3"


def flat(fields: dict[str, Any]) -> dict[str, Any]:
    """A manifest of format 3 in the form of format 2, but for the features of its graph, which format 2 had not."""
    files, payload = fields["files"], fields["payload"]
    folds = [{**fold, "sha256": files[fold["file"]]["sha256"]} for fold in payload["folds"]]
    graph = {
        **payload["graph"],
        "sha256": files[payload["graph"]["file"]]["sha256"],
        "weights_sha256": files[payload["graph"]["weights_file"]]["sha256"],
    }
    rest = {name: value for name, value in fields.items() if name not in {"files", "payload"}}
    return {**rest, **payload, "folds": folds, "graph": graph, "format_version": 2}


@pytest.fixture
def earlier(tmp_path) -> Path:
    """The latest golden artifact with a manifest of format 2."""
    folder = shutil.copytree(GOLDEN, tmp_path / "model")
    path = folder / "manifest.json"
    path.write_text(json.dumps(flat(json.loads(path.read_text()))))
    return folder


def test_a_manifest_of_format_2_says_the_same_but_for_the_lengths_of_files(earlier):
    now, then = load_manifest(GOLDEN), load_manifest(earlier)
    assert then.format_version == 2
    assert {record.bytes for record in then.files.values()} == {None}
    assert {name: record.sha256 for name, record in then.files.items()} == {
        name: record.sha256 for name, record in now.files.items()
    }
    assert (then.algorithm, then.packages, then.config, then.metrics) == (
        now.algorithm,
        now.packages,
        now.config,
        now.metrics,
    )
    assert read(earlier, then) == read(GOLDEN, now)
    assert "sha256" not in json.dumps(then.payload)


def test_its_graph_answers(earlier):
    assert load_predictor(earlier, device="cpu", num_cores=2, precision="fp32").backend == "openvino cpu fp32"
