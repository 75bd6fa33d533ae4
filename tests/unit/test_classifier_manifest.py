"""The classifier's part of a manifest: what it says comes back, and a label follows from its thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesion.algorithms.classify.manifest import ClassifierRecord, FoldRecord, GraphRecord, read
from lesion.artifact import Manifest, load_manifest, save
from lesion.data.metadata import ColumnEncoder
from lesion.data.transforms import Preprocess
from lesion.errors import UserError


def fold(number: int) -> FoldRecord:
    age = ColumnEncoder("age", "number", mean=0.1 + 0.2, std=1e-300)
    sex = ColumnEncoder("sex", "category", categories=("female", "male", "unknown"))
    return FoldRecord(
        fold=number, file=f"fold_{number}.safetensors", metadata=(age, sex), best_epoch=3, metrics={"roc_auc": 1 / 3}
    )


def model_of(**changes: object) -> ClassifierRecord:
    fields: dict[str, Any] = {
        "model": "test_resnet",
        "model_args": {"pad_type": "same"},
        "target": {"kind": "binary", "class_names": ("no", "yes"), "of_interest": None, "thresholds": (0.25,)},
        "preprocessing": Preprocess(32, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
        "num_views": 3,
        "metadata_columns": ["age", "sex"],
        "image_column": "image_name",
        "target_columns": ["target"],
        "folds": [fold(0), fold(4)],
    }
    return ClassifierRecord(**{**fields, **changes})


def saved(folder: Path, model: ClassifierRecord, *, algorithm: str = "classify") -> Manifest:
    manifest = Manifest(
        algorithm=algorithm,
        files={},
        packages={},
        data_fingerprint="",
        config={},
        metrics={},
        payload=model.model_dump(),
    )
    return save(folder, manifest, dict.fromkeys(model.files, b"1"))


@pytest.mark.parametrize("num_features", [None, 512])
def test_what_is_written_comes_back_as_it_was(tmp_path, num_features):
    differences = {"fp32": 1e-7}
    graph = GraphRecord(
        file="a.xml", weights_file="a.bin", num_checked=16, differences=differences, num_features=num_features
    )
    model = model_of(graph=graph)
    saved(tmp_path, model)
    assert read(tmp_path, load_manifest(tmp_path)) == model
    assert model.files == ["fold_0.safetensors", "fold_4.safetensors", "a.xml", "a.bin"]


def test_a_fold_knows_how_many_numbers_its_network_takes_of_a_row():
    assert fold(0).num_metadata == 2 + 3  # a number and whether it is missing; a word each


def test_the_payload_of_another_algorithm_is_refused(tmp_path):
    saved(tmp_path, model_of(), algorithm="segment")
    with pytest.raises(UserError, match="algorithm: 'segment', but 'classify' is needed") as caught:
        read(tmp_path, load_manifest(tmp_path))
    assert caught.value.kind == "artifact"


def test_a_file_that_the_manifest_does_not_list_is_refused(tmp_path):
    manifest = saved(tmp_path, model_of())
    files = {name: record for name, record in manifest.files.items() if name != "fold_4.safetensors"}
    with pytest.raises(UserError, match=r"files does not list 'fold_4\.safetensors'"):
        read(tmp_path, manifest.model_copy(update={"files": files}))


def test_a_file_that_nothing_speaks_of_is_passed_over(tmp_path):
    """As what a later version adds."""
    model = model_of()
    manifest = saved(tmp_path, model)
    more = {**manifest.files, "later.bin": manifest.files["fold_0.safetensors"]}
    assert read(tmp_path, manifest.model_copy(update={"files": more})) == model


@given(prob=st.floats(0, 1))
def test_the_label_is_class_one_from_the_threshold_on(prob):
    model = model_of()
    labels = model.question.label(np.array([prob]), model.points().default.thresholds_Q)
    assert labels == ["yes" if prob >= 0.25 else "no"]


@pytest.mark.parametrize("asked", ["youden", "Youden", "sensitivity=0.9", "threshold=0.5"])
def test_the_most_probable_of_several_classes_has_no_operating_point(asked):
    target = {"kind": "multiclass", "class_names": ("a", "b", "c"), "of_interest": None, "thresholds": ()}
    points = model_of(target=target).points()
    assert points.of(None).spec is None
    with pytest.raises(UserError) as caught:
        points.of(asked)
    assert caught.value.kind == "custom_attributes"
