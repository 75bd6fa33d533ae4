"""Artifact: what is written comes back bit by bit; what was changed, cut or made elsewhere is refused in words.

All of it holds for any algorithm: the one here is made up.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import BaseModel

from lesion.artifact import (
    FORMAT_VERSION,
    Manifest,
    add_files,
    clear,
    load_manifest,
    package_versions,
    path_of_file,
    read_file,
    read_headers,
    read_payload,
    read_tensors,
    save,
)
from lesion.errors import PlatformError, UserError
from lesion.files import write_atomic

WEIGHTS, TABLE = "weights.safetensors", "table.csv"


def manifest_of(**changes: object) -> Manifest:
    fields: dict[str, Any] = {
        "algorithm": "mean_colour",
        "files": {},
        "packages": package_versions(),
        "data_fingerprint": "abc",
        "config": {"epochs": 1},
        "metrics": {"overall": {"roc_auc": 1 / 3, "undefined": float("inf")}},
        "payload": {"columns": ["age"], "std": 1e-300, "side": (3, 4)},
    }
    return Manifest(**{**fields, **changes})


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
    """An artifact of a file of weights and another one."""
    save(tmp_path / "model", manifest_of(), {WEIGHTS: weights_of(0), TABLE: b"a,b\n1,2\n"})
    return tmp_path / "model"


def fields_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "manifest.json").read_text()))


def rewrite(folder: Path, **fields: object) -> None:
    (folder / "manifest.json").write_text(json.dumps({**fields_of(folder), **fields}))


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_manifest(folder)
    assert caught.value.kind == "artifact"
    return str(caught.value)


def test_an_artifact_comes_back_bit_by_bit(folder):
    manifest = load_manifest(folder)
    loaded = read_tensors(folder, manifest, WEIGHTS)
    assert set(loaded) == set(weights_of(0))
    for name, tensor in weights_of(0).items():
        assert loaded[name].dtype == tensor.dtype and loaded[name].shape == tensor.shape
        assert loaded[name].numpy().tobytes() == tensor.contiguous().numpy().tobytes()
    assert read_file(folder, manifest, TABLE) == b"a,b\n1,2\n"
    assert path_of_file(folder, manifest, TABLE) == folder / TABLE


def test_the_manifest_comes_back_as_it_was_returned(tmp_path):
    returned = save(tmp_path, manifest_of(), {WEIGHTS: weights_of(0), TABLE: b"12"})
    loaded = load_manifest(tmp_path)
    assert loaded == returned and loaded.version == returned.version
    assert loaded.files[TABLE].sha256 == hashlib.sha256(b"12").hexdigest() and loaded.files[TABLE].bytes == 2
    assert loaded.files[WEIGHTS].bytes == (tmp_path / WEIGHTS).stat().st_size
    assert loaded.metrics == manifest_of().metrics and loaded.payload["std"] == 1e-300


def test_an_artifact_is_its_manifest_and_its_files_and_nothing_else(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", TABLE, WEIGHTS]
    assert list(load_manifest(folder).files) == [TABLE, WEIGHTS]


def test_the_manifest_is_plain_sorted_json_with_the_format_on_it(folder):
    fields = fields_of(folder)
    assert list(fields) == sorted(fields) and fields["format_version"] == FORMAT_VERSION == 4
    assert fields["packages"]["torch"] == torch.__version__.split("+")[0]


def test_files_that_are_added_stand_beside_the_others(folder):
    before = load_manifest(folder)
    returned = add_files(folder, before, {"more.bin": b"xyz"}, payload={"columns": [], "has_more": True})
    after = load_manifest(folder)
    assert after == returned and after.payload == {"columns": [], "has_more": True}
    assert {name: after.files[name] for name in before.files} == before.files
    assert read_file(folder, after, "more.bin") == b"xyz" and after.version != before.version


def test_an_artifact_replaces_the_one_before(folder):
    save(folder, manifest_of(), {WEIGHTS: weights_of(9)})
    manifest = load_manifest(folder)
    assert torch.equal(read_tensors(folder, manifest, WEIGHTS)["layer.weight"], weights_of(9)["layer.weight"])
    assert list(manifest.files) == [WEIGHTS]


def test_another_artifact_has_another_version(tmp_path):
    versions = {
        save(tmp_path, manifest_of(**changes), {TABLE: content}).version
        for changes, content in (
            ({}, b"1"),
            ({}, b"2"),
            ({"config": {"epochs": 2}}, b"1"),
            ({"payload": {"columns": []}}, b"1"),
            ({"metrics": {}}, b"1"),
        )
    }
    assert len(versions) == 5


def test_clearing_takes_what_the_manifest_lists_and_what_the_algorithm_calls_its_own(folder):
    for name in ("own_7.bin", "own_8.bin.sagemaker-ignore", f"{TABLE}.sagemaker-ignore", "notes.txt", "own_7.bin.txt"):
        (folder / name).touch()
    (folder / "own_9.bin").mkdir()
    clear(folder, re.compile(r"own_[0-9]\.bin"))
    assert sorted(path.name for path in folder.iterdir()) == ["notes.txt", "own_7.bin.txt", "own_9.bin"]


def test_clearing_does_with_a_manifest_that_cannot_be_read(folder):
    (folder / "manifest.json").write_text("{")
    clear(folder, re.compile("weights.safetensors"))
    assert [path.name for path in folder.iterdir()] == [TABLE]  # nothing tells whose it is


@pytest.mark.parametrize("how", ["flipped", "cut", "swapped"])
@pytest.mark.parametrize("name", [WEIGHTS, TABLE])
def test_a_file_that_was_changed_is_refused_by_its_path(folder, how, name):
    path = folder / name
    content = path.read_bytes()
    if how == "flipped":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif how == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        shutil.copy(folder / {WEIGHTS: TABLE, TABLE: WEIGHTS}[name], path)
    manifest = load_manifest(folder)
    for read in (read_file, path_of_file, read_tensors):
        with pytest.raises(UserError, match=rf"differ from those that the manifest records.*{name}") as caught:
            read(folder, manifest, name)
        assert caught.value.kind == "artifact"


def test_a_header_is_read_without_the_tensors_and_tells_a_copy_by_half(folder):
    manifest = load_manifest(folder)
    assert read_headers(folder, manifest, WEIGHTS)["layer.turned"].shape == (4, 3)
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:-4])
    with pytest.raises(UserError, match=rf"{len(content) - 4} bytes, but {len(content)} were written"):
        read_headers(folder, manifest, WEIGHTS)


def test_a_file_that_is_absent_is_refused_by_its_path(folder):
    (folder / WEIGHTS).unlink()
    with pytest.raises(UserError, match=r"is missing.*weights\.safetensors"):
        read_tensors(folder, load_manifest(folder), WEIGHTS)


def test_a_file_that_is_not_listed_is_not_read(folder):
    """It is there, but nothing vouches for it."""
    (folder / "stranger.bin").write_bytes(b"1")
    with pytest.raises(UserError, match=r"files does not list 'stranger.bin'"):
        read_file(folder, load_manifest(folder), "stranger.bin")


def test_what_is_no_safetensors_file_is_refused(folder):
    with pytest.raises(UserError, match=r"not a safetensors file.*table\.csv"):
        read_tensors(folder, load_manifest(folder), TABLE)


@pytest.mark.parametrize("file", ["../secret", "/etc/passwd", "sub/../../secret", "..", ".", "", "a\nb", "a" * 256])
def test_a_manifest_cannot_reach_outside_its_folder(folder, file):
    """The file is there and its digest right: only the place is wrong."""
    shutil.copy(folder / TABLE, folder.parent / "secret")
    record = fields_of(folder)["files"][TABLE]
    reaching = load_manifest(folder).model_copy(update={"files": {file: load_manifest(folder).files[TABLE]}})
    with pytest.raises(UserError, match=r"is not the name of a file in the artifact's own folder"):
        read_file(folder, reaching, file)
    rewrite(folder, files={file: record})
    assert "manifest.json: files" in refused(folder)


@pytest.mark.parametrize(
    ("files", "field"),
    [
        ({"manifest.json": {"sha256": "0" * 64, "bytes": 1}}, "files lists manifest.json"),
        ({"a": {"sha256": "0" * 64}}, "without its bytes"),
        ({"a": {"sha256": "0" * 64, "bytes": -1}}, "files.a.bytes"),
        ({"a": {"sha256": "0" * 64, "bytes": 0.5}}, "files.a.bytes"),
        ({"a": {"sha256": "0" * 63, "bytes": 1}}, "files.a.sha256"),
        ({"a": {"sha256": "Z" * 64, "bytes": 1}}, "files.a.sha256"),
        ({"a": {"bytes": 1}}, "files.a.sha256"),
        ({"a": "0" * 64}, "files.a"),
        ([["a", "0" * 64]], "files"),
        (None, "files"),
    ],
)
def test_a_list_of_files_that_is_none_is_refused(folder, files, field):
    rewrite(folder, files=files)
    assert field in refused(folder)


def test_a_file_that_is_listed_twice_is_refused(folder):
    """JSON's readers take the last of two; another program might take the first."""
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"files": {', f'"files": {{"{TABLE}": {{}}, ', 1))
    assert f"'{TABLE}' occurs twice" in refused(folder)


@pytest.mark.parametrize("name", ["", "Classify", "a b", "../classify", "1", "é", "a" * 65, None, 7, ["classify"]])
def test_an_algorithm_that_is_no_word_is_refused(folder, name):
    rewrite(folder, algorithm=name)
    assert "manifest.json: algorithm" in refused(folder)


@pytest.mark.parametrize("payload", [None, [], "text", 7, [["columns", []]]])
def test_a_payload_that_is_no_object_is_refused(folder, payload):
    rewrite(folder, payload=payload)
    assert "manifest.json: payload" in refused(folder)


class Colours(BaseModel):
    """The payload of the algorithm that is made up here."""

    columns: list[str]
    std: float


def test_the_payload_is_read_in_the_algorithms_own_form_and_a_wrong_field_is_named(folder):
    assert read_payload(folder, load_manifest(folder), Colours) == Colours(columns=["age"], std=1e-300)
    for payload, field in (({"columns": ["age"]}, "payload.std"), ({"columns": [7], "std": 1}, "payload.columns.0")):
        rewrite(folder, payload=payload)
        with pytest.raises(UserError, match=rf"manifest\.json: {field}: ") as caught:
            read_payload(folder, load_manifest(folder), Colours)
        assert caught.value.kind == "artifact"


@pytest.mark.parametrize("packages", [{"lesion": "9.9"}, {}, None, [], "lesion"])
def test_a_newer_format_is_refused_with_both_versions(folder, packages):
    rewrite(folder, format_version=5, packages=packages)
    written = "9.9" if packages == {"lesion": "9.9"} else r"\?"
    assert re.search(rf"format 5 \(written by Lesion {written}\); this version reads 1 to 4", refused(folder))


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


@pytest.mark.parametrize(
    "field", ["algorithm", "files", "packages", "data_fingerprint", "config", "metrics", "payload"]
)
def test_a_field_that_is_missing_is_named(folder, field):
    fields = fields_of(folder)
    del fields[field]
    (folder / "manifest.json").write_text(json.dumps(fields))
    assert f"manifest.json: {field}: " in refused(folder)


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
    for name in ("._manifest.json", "model.tar.gz", "output.tar.gz", ".DS_Store", f"{WEIGHTS}.part"):
        (folder / name).write_bytes(b"\x00\x05\x16\x07")
    assert load_manifest(folder) == before
    assert read_tensors(folder, before, WEIGHTS)


def test_what_cannot_be_written_is_the_platforms_fault(tmp_path):
    (tmp_path / "model").write_text("a file where the folder should be")
    with pytest.raises(PlatformError, match=r"folder cannot be made.*model"):
        save(tmp_path / "model", manifest_of(), {})


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


def test_a_trained_artifact_is_small_in_files(trained_root):
    """Only the artifact becomes model.tar.gz: no table, no picture, no checkpoint."""
    names = sorted(path.name for path in (trained_root / "model").iterdir())
    folds = ["fold_0.safetensors", "fold_1.safetensors", "fold_2.safetensors"]
    assert names == [*folds, "graph.bin", "graph.xml", "manifest.json"]
    manifest = load_manifest(trained_root / "model")
    assert sorted(manifest.files) == names[:-1]
    assert all(np.isfinite(list(fold["metrics"].values())).all() for fold in manifest.payload["folds"])
