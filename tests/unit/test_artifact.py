"""Artifact: what is written comes back bit by bit; what was changed, cut or made elsewhere is refused in words."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lesion.artifact import (
    FORMAT_VERSION,
    FoldRecord,
    Manifest,
    load_manifest,
    load_weights,
    package_versions,
    save,
    write_atomic,
)
from lesion.data.transforms import Preprocess
from lesion.errors import PlatformError, UserError


def record(fold: int, file: str | None = None) -> FoldRecord:
    return FoldRecord(
        fold=fold,
        file=file or f"fold_{fold}.safetensors",
        sha256="",
        metadata=[{"name": "age", "kind": "number", "mean": 0.1 + 0.2, "std": 1e-300, "categories": []}],
        best_epoch=3,
        metrics={"roc_auc": 1 / 3},
    )


def manifest_of(*records: FoldRecord) -> Manifest:
    return Manifest(
        algorithm="classify",
        model="test_resnet",
        model_args={"pad_type": "same"},
        target={"kind": "binary", "class_names": ["benign", "malignant"], "of_interest": None, "thresholds": [0.25]},
        preprocessing=Preprocess(32, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
        num_views=3,
        metadata_columns=["age"],
        image_column="image_name",
        target_columns=["target"],
        metrics={"overall": {"roc_auc": 0.9}},
        data_fingerprint="abc",
        config={"epochs": 1},
        packages=package_versions(),
        folds=list(records),
    )


def weights_of(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "layer.weight": torch.randn(4, 3, generator=generator),
        "layer.turned": torch.randn(3, 4, generator=generator).t(),  # not contiguous, as channels-last weights are
        "layer.odd": torch.tensor([torch.nan, -0.0, torch.inf, 1e-45]),
        "layer.count": torch.tensor(7),
    }


@pytest.fixture
def folder(tmp_path) -> Path:
    """An artifact of two folds."""
    save(tmp_path / "model", manifest_of(record(0), record(4)), {0: weights_of(0), 4: weights_of(4)})
    return tmp_path / "model"


def rewrite(folder: Path, **fields: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_manifest(folder)
    assert caught.value.kind == "artifact"
    return str(caught.value)


def test_an_artifact_comes_back_bit_by_bit(folder):
    manifest = load_manifest(folder)
    assert [fold.fold for fold in manifest.folds] == [0, 4]
    for fold in manifest.folds:
        loaded = load_weights(folder, fold)
        assert set(loaded) == set(weights_of(fold.fold))
        for name, tensor in weights_of(fold.fold).items():
            assert loaded[name].dtype == tensor.dtype and loaded[name].shape == tensor.shape
            assert loaded[name].numpy().tobytes() == tensor.contiguous().numpy().tobytes()


def test_the_manifest_comes_back_as_it_was_returned(tmp_path):
    returned = save(tmp_path, manifest_of(record(0)), {0: weights_of(0)})
    assert load_manifest(tmp_path) == returned
    assert len(returned.folds[0].sha256) == 64
    assert returned.model_copy(update={"folds": [record(0)]}) == manifest_of(record(0))


def test_an_artifact_is_its_manifest_and_a_file_a_fold_and_nothing_else(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "fold_0.safetensors",
        "fold_4.safetensors",
        "manifest.json",
    ]


def test_the_manifest_is_plain_sorted_json_with_the_format_on_it(folder):
    fields = json.loads((folder / "manifest.json").read_text())
    assert list(fields) == sorted(fields) and fields["format_version"] == FORMAT_VERSION == 2
    assert fields["packages"]["torch"] == torch.__version__.split("+")[0]


def test_an_artifact_replaces_the_one_before(folder):
    save(folder, manifest_of(record(0)), {0: weights_of(9)})
    (fold,) = load_manifest(folder).folds
    assert torch.equal(load_weights(folder, fold)["layer.weight"], weights_of(9)["layer.weight"])


@pytest.mark.parametrize("how", ["flipped", "cut", "swapped"])
def test_weights_that_were_changed_are_refused_by_their_path(folder, how):
    path = folder / "fold_0.safetensors"
    content = path.read_bytes()
    if how == "flipped":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif how == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        shutil.copy(folder / "fold_4.safetensors", path)
    with pytest.raises(UserError, match=r"not those that the manifest was written with.*fold_0\.safetensors") as caught:
        load_weights(folder, load_manifest(folder).folds[0])
    assert caught.value.kind == "artifact"


def test_weights_that_are_absent_are_refused_by_their_path(folder):
    (folder / "fold_4.safetensors").unlink()
    with pytest.raises(UserError, match=r"is missing.*fold_4\.safetensors"):
        load_weights(folder, load_manifest(folder).folds[1])


@pytest.mark.parametrize("file", ["../secret.safetensors", "/etc/passwd", "sub/../../secret.safetensors", "..", "."])
def test_a_manifest_cannot_reach_outside_its_folder(folder, file):
    """The file is there and its digest right: only the place is wrong."""
    shutil.copy(folder / "fold_0.safetensors", folder.parent / "secret.safetensors")
    reaching = load_manifest(folder).folds[0].model_copy(update={"file": file})
    with pytest.raises(UserError, match=r"is not the name of a file in the artifact's own folder"):
        load_weights(folder, reaching)
    fields = json.loads((folder / "manifest.json").read_text())
    rewrite(folder, folds=[{**fields["folds"][0], "file": file}])
    assert "folds.0.file" in refused(folder)


@pytest.mark.parametrize("packages", [{"lesion": "9.9"}, {}, None, [], "lesion"])
def test_a_newer_format_is_refused_with_both_versions(folder, packages):
    rewrite(folder, format_version=3, packages=packages)
    written = "9.9" if packages == {"lesion": "9.9"} else r"\?"
    assert re.search(rf"format 3 \(written by Lesion {written}\); this version reads 1 to 2", refused(folder))


def test_a_manifest_of_no_version_is_refused(folder):
    (folder / "manifest.json").write_text("{}")
    assert "format None" in refused(folder)
    (folder / "manifest.json").write_text("[1]")
    assert "not a JSON object" in refused(folder)


def test_a_missing_manifest_is_told_with_what_is_there(tmp_path):
    assert "nothing" in refused(tmp_path)
    (tmp_path / "model.tar.gz").write_bytes(b"")
    (tmp_path / "code").mkdir()
    message = refused(tmp_path)
    assert "no manifest.json" in message and f"{tmp_path}: code, model.tar.gz" in message
    assert "nothing" in refused(tmp_path / "absent")


def test_a_field_that_is_missing_or_wrong_is_named(folder):
    rewrite(folder, num_views="many")
    assert "num_views" in refused(folder)
    fields = json.loads((folder / "manifest.json").read_text())
    del fields["folds"][1]["sha256"], fields["num_views"]
    (folder / "manifest.json").write_text(json.dumps({**fields, "num_views": 3}))
    assert "folds.1.sha256" in refused(folder)


def test_fields_of_later_versions_are_passed_over(folder):
    before = load_manifest(folder)
    rewrite(folder, calibration={"slope": 1})
    assert load_manifest(folder) == before


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"no json", b"1" * 5000])
def test_a_damaged_manifest_is_refused(folder, content):
    (folder / "manifest.json").write_bytes(content)
    assert "manifest.json cannot be read" in refused(folder)


def test_strangers_in_the_folder_are_passed_over(folder):
    """Local mode leaves tars there, macOS its shadows, a killed write its part."""
    before = load_manifest(folder)
    for name in ("._manifest.json", "model.tar.gz", "output.tar.gz", ".DS_Store", "fold_0.safetensors.part"):
        (folder / name).write_bytes(b"\x00\x05\x16\x07")
    assert load_manifest(folder) == before
    assert all(load_weights(folder, fold) for fold in before.folds)


def test_what_cannot_be_written_is_the_platforms_fault(tmp_path):
    (tmp_path / "model").write_text("a file where the folder should be")
    with pytest.raises(PlatformError, match=r"folder cannot be made.*model"):
        save(tmp_path / "model", manifest_of(record(0)), {0: weights_of(0)})


def test_a_write_leaves_the_new_bytes_and_no_part(tmp_path):
    path = tmp_path / "a.json"
    for content in (b"old", b"new and longer", b""):
        write_atomic(path, content)
        assert path.read_bytes() == content
        assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_keeps_the_old_bytes(tmp_path):
    path = tmp_path / "a.json"
    write_atomic(path, b"old")
    with pytest.raises(TypeError):
        write_atomic(path, "no bytes")
    assert path.read_bytes() == b"old"


@given(prob=st.floats(0, 1))
def test_the_label_is_class_one_from_the_threshold_on(prob):
    assert manifest_of(record(0)).labels(np.array([prob])) == ["malignant" if prob >= 0.25 else "benign"]


def test_a_trained_artifact_is_small_in_files(trained_root):
    """Only the artifact becomes model.tar.gz: no table, no picture, no checkpoint."""
    names = sorted(path.name for path in (trained_root / "model").iterdir())
    folds = ["fold_0.safetensors", "fold_1.safetensors", "fold_2.safetensors"]
    assert names == [*folds, "graph.bin", "graph.xml", "manifest.json"]
    assert all(np.isfinite(list(fold.metrics.values())).all() for fold in load_manifest(trained_root / "model").folds)
