"""Wrong artifacts: copied by half, edited by hand, made by a stranger. Each is refused in one line at the start."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from lesion.algorithms.classify.ensemble import Ensemble
from lesion.algorithms.classify.load import load
from lesion.algorithms.classify.networks import TorchExecutor, load_networks
from lesion.algorithms.classify.predict import predict_source
from lesion.artifact import load_manifest
from lesion.errors import LesionError, PlatformError, UserError
from lesion.serve.app import create_app
from processes import free_port, lesion

Fields = dict[str, Any]


@pytest.fixture
def model_dir(trained_root: Path, tmp_path: Path) -> Path:
    """A good artifact with a graph, to be spoiled."""
    return shutil.copytree(trained_root / "model", tmp_path / "model")


def edit(model_dir: Path, change: Callable[[Fields], object]) -> None:
    path = model_dir / "manifest.json"
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))


def setting(value: object, *path: str | int) -> Callable[[Fields], None]:
    def change(fields: Fields) -> None:
        *outer, last = path
        place: Any = fields
        for name in outer:
            place = place[name]
        place[last] = value

    return change


def replace(model_dir: Path, name: str, content: bytes) -> None:
    """Other bytes under that name, with the digest that the manifest then needs."""
    (model_dir / name).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()

    def change(fields: Fields) -> None:
        for record in fields["folds"]:
            if record["file"] == name:
                record["sha256"] = digest
        if fields["graph"] and fields["graph"]["file"] == name:
            fields["graph"]["sha256"] = digest
        if fields["graph"] and fields["graph"]["weights_file"] == name:
            fields["graph"]["weights_sha256"] = digest

    edit(model_dir, change)


def with_tensors(model_dir: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Fold 0 with other tensors, and no graph, so that torch computes."""
    tensors = load_file(model_dir / "fold_0.safetensors")
    change(tensors)
    replace(model_dir, "fold_0.safetensors", to_bytes(tensors))
    edit(model_dir, setting(None, "graph"))


def with_graph(model_dir: Path, pattern: str, new: str, count: int = 0) -> None:
    text = (model_dir / "graph.xml").read_text()
    changed = re.sub(pattern, new, text, count=count)
    assert changed != text
    replace(model_dir, "graph.xml", changed.encode())


def refused(model_dir: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(model_dir, device="cpu", num_cores=2, precision="fp32")
    assert caught.value.kind == "artifact"
    message = str(caught.value)
    assert "\n" not in message and str(model_dir) in message and len(message) < 1000, message
    return message


def test_the_good_one_is_let_through(model_dir):
    assert load(model_dir, device="cpu", num_cores=2).backend.startswith("openvino")
    edit(model_dir, setting(None, "graph"))
    assert load(model_dir, device="cpu", num_cores=2).backend.startswith("torch")


MANIFESTS = {
    "views 0": (setting(0, "num_views"), "num_views"),
    "views 9": (setting(9, "num_views"), "num_views"),
    "views huge": (setting(10**400, "num_views"), "num_views"),
    "views text": (setting("many", "num_views"), "num_views"),
    "image size 0": (setting(0, "preprocessing", "image_size"), "image_size is 0"),
    "image size huge": (setting(10**9, "preprocessing", "image_size"), "image_size"),
    "image size other": (setting(64, "preprocessing", "image_size"), r"graph's image is u8 \[1,48,48,3\]"),
    "mean NaN": (setting([0.5, float("nan"), 0.5], "preprocessing", "mean"), "preprocessing.*mean"),
    "mean huge": (setting([10**400, 0.5, 0.5], "preprocessing", "mean"), "preprocessing"),
    "std 0": (setting([0.5, 0, 0.5], "preprocessing", "std"), "deviation"),
    "std negative": (setting([0.5, -1, 0.5], "preprocessing", "std"), "deviation"),
    "std of two": (setting([0.5, 0.5], "preprocessing", "std"), "preprocessing.std"),
    "threshold NaN": (setting([float("nan")], "target", "thresholds"), "target.thresholds"),
    "threshold above 1": (setting([1.5], "target", "thresholds"), "target.thresholds"),
    "threshold missing": (setting([], "target", "thresholds"), "0 thresholds where the question takes 1"),
    "thresholds too many": (setting([0.5, 0.5], "target", "thresholds"), "2 thresholds"),
    "classes twice": (setting(["a", "a"], "target", "class_names"), "twice"),
    "classes none": (setting([], "target", "class_names"), "class_names"),
    "classes of three": (setting(["a", "b", "c"], "target", "class_names"), "3 class_names are no binary question"),
    "class name endless": (setting(["a", "b" * 10**5], "target", "class_names"), "class_names"),
    "class name of no letters": (setting(["a", "\ud800"], "target", "class_names"), "manifest.json"),
    "of_interest nobody": (setting("c", "target", "of_interest"), "of_interest"),
    "kind unknown": (setting("regression", "target", "kind"), "target.kind"),
    "algorithm unknown": (setting("segment", "algorithm"), "algorithm"),
    "folds none": (setting([], "folds"), "folds"),
    "fold number twice": (setting(1, "folds", 0, "fold"), "twice"),
    "fold number negative": (setting(-1, "folds", 0, "fold"), "folds.0.fold"),
    "fold file twice": (setting("fold_1.safetensors", "folds", 0, "file"), "twice"),
    "file name with NUL": (setting("a\0b", "graph", "file"), "graph.file"),
    "file name above": (setting("../model/graph.xml", "graph", "file"), "graph.file"),
    "file name of lines": (setting("graph\n.xml", "graph", "file"), "graph.file"),
    "file name a number": (setting(7, "folds", 0, "file"), "folds.0.file"),
    "columns twice": (setting(["sex", "sex", "sex"], "metadata_columns"), "twice"),
    "columns others": (setting(["a", "b", "c"], "metadata_columns"), "metadata of fold 0"),
    "columns fewer": (lambda fields: [fold["metadata"].pop() for fold in fields["folds"]], "metadata of fold 0"),
    "columns of another kind": (
        setting("boolean", "folds", 1, "metadata", 1, "kind"),
        "fold 1 reads metadata otherwise",
    ),
    "words twice": (setting(["a", "a"], "folds", 0, "metadata", 0, "categories"), "twice"),
    "words more": (setting(["a", "b", "c"], "folds", 1, "metadata", 0, "categories"), r"metadata.*fold_1\.safetensors"),
    "a million words": (setting(list(map(str, range(10**6))), "folds", 0, "metadata", 0, "categories"), "metadata"),
    "age without spread": (setting(0, "folds", 0, "metadata", 1, "std"), "deviation"),
    "age NaN": (setting(float("nan"), "folds", 0, "metadata", 1, "mean"), "folds.0.metadata.1"),
    "format of the future": (setting(3, "format_version"), "format 3"),
    "format true": (setting(True, "format_version"), "format True"),
    "format endless": (setting("9" * 10**6, "format_version"), "this version reads"),
    "model_args a list": (setting([1], "model_args"), "model_args"),
    "model_args of a file": (
        setting({"checkpoint_path": "/etc/passwd"}, "model_args"),
        "checkpoint_path cannot be set",
    ),
    "model_args of an address": (setting({"act_layer": ["https://a.b"]}, "model_args"), "names a file or an address"),
    "config without end": (lambda fields: fields.update(config=nested(500)), "manifest.json"),
    "graph of other folds": (setting(7, "folds", 0, "fold"), "graph has no metadata_7"),
    "more classes than outputs": (
        setting(
            {"kind": "multiclass", "class_names": ["a", "b", "c"], "of_interest": None, "thresholds": []}, "target"
        ),
        r"outputs that the manifest tells: head.bias is F32 \[1\]",
    ),
}


def nested(depth: int) -> Fields:
    fields: Fields = {}
    for _ in range(depth):
        fields = {"a": fields}
    return fields


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_that_was_edited_is_refused_with_its_field(model_dir, name):
    change, expected = MANIFESTS[name]
    edit(model_dir, change)
    assert re.search(expected, refused(model_dir))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"format_version": 2, "format_version": 2}', "'format_version' stands twice"),
        (b"", "manifest.json cannot be read"),
        (b'{"format_version": ' + b"1" * 5000 + b"}", "manifest.json cannot be read"),
        (b" " * (2**26 + 1), "at most 67108864 are read"),
    ],
    ids=["deep", "twice", "empty", "digits", "large"],
)
def test_a_manifest_that_is_no_manifest_is_refused(model_dir, content, expected):
    (model_dir / "manifest.json").write_bytes(content)
    assert expected in refused(model_dir)


@pytest.mark.parametrize("name", ["fold_1.safetensors", "graph.xml", "graph.bin"])
@pytest.mark.parametrize("how", ["missing", "empty", "half", "folder", "pipe", "endless", "link out", "link to itself"])
def test_a_file_that_is_absent_cut_or_no_file_is_refused_by_its_name(model_dir, tmp_path, name, how):
    path = model_dir / name
    content = path.read_bytes()
    path.unlink()
    if how == "empty":
        path.touch()
    elif how == "half":
        path.write_bytes(content[: len(content) // 2])
    elif how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "endless":
        path.symlink_to("/dev/zero")
    elif how == "link out":
        (tmp_path / "elsewhere").write_bytes(content)
        path.symlink_to(tmp_path / "elsewhere")
    elif how == "link to itself":
        path.symlink_to(path)
    assert name in refused(model_dir)


@pytest.mark.parametrize("how", ["pipe", "endless", "nowhere"])
def test_a_manifest_that_is_no_file_is_refused(model_dir, how):
    path = model_dir / "manifest.json"
    path.unlink()
    if how == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"endless": "/dev/zero", "nowhere": "absent.json"}[how])
    assert "manifest.json" in refused(model_dir)


def test_a_link_within_the_folder_is_followed(model_dir):
    """As Kubernetes mounts files."""
    (model_dir / "..data").mkdir()
    shutil.move(model_dir / "graph.bin", model_dir / "..data" / "graph.bin")
    (model_dir / "graph.bin").symlink_to("..data/graph.bin")
    assert load(model_dir, device="cpu", num_cores=1).folds == [0, 1, 2]


def safetensors(header: bytes, size: int | None = None, content: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header) if size is None else size) + header + content


@pytest.mark.parametrize(
    "content",
    [
        safetensors(b"[" * 100_000),
        safetensors(b"{}", size=2**63),
        safetensors(b"[]"),
        safetensors(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'),
        safetensors(b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}', content=bytes(4)),
        safetensors(b'{"a": {"dtype": "X", "shape": [1], "data_offsets": [0, 4]}}', content=bytes(4)),
        safetensors(b'{"a": 5}'),
        b"short",
    ],
)
@pytest.mark.parametrize("has_graph", [True, False])
def test_weights_whose_header_lies_are_refused(model_dir, content, has_graph):
    replace(model_dir, "fold_0.safetensors", content)
    if not has_graph:
        edit(model_dir, setting(None, "graph"))
    assert "fold_0.safetensors" in refused(model_dir)


TENSORS: dict[str, Callable[[dict[str, torch.Tensor]], object]] = {
    "a NaN": lambda tensors: tensors["backbone.conv1.0.weight"][0].fill_(float("nan")),
    "infinity": lambda tensors: tensors["head.bias"].fill_(float("inf")),
    "infinite when computed": lambda tensors: tensors["head.weight"].fill_(3e38),
    "bfloat16": lambda tensors: tensors.update({name: t.bfloat16() for name, t in tensors.items()}),
    "float64 inside": lambda tensors: tensors.update(
        {"backbone.conv1.0.weight": tensors["backbone.conv1.0.weight"].double()}
    ),
    "whole numbers": lambda tensors: tensors.update({"head.weight": tensors["head.weight"].long()}),
    "one missing": lambda tensors: tensors.pop("backbone.conv1.0.weight"),
    "one too many": lambda tensors: tensors.update(stranger=torch.zeros(1)),
    "another shape": lambda tensors: tensors.update({"backbone.conv1.0.weight": torch.zeros(1, 3, 3, 3)}),
    "outputs missing": lambda tensors: tensors.pop("head.bias"),
    "two outputs": lambda tensors: tensors.update({"head.bias": torch.zeros(2)}),
}


@pytest.mark.parametrize("name", TENSORS)
def test_weights_that_the_network_does_not_take_are_refused(model_dir, name):
    with_tensors(model_dir, TENSORS[name])
    refused(model_dir)


@pytest.mark.parametrize(
    ("model", "model_args"),
    [("no_such_network", {}), ("test_vit", {}), ("test_resnet", {"nonsense": 1}), ("test_resnet", {"layers": []})],
)
def test_a_network_that_cannot_be_made_is_refused(model_dir, model, model_args):
    edit(model_dir, lambda fields: fields.update(model=model, model_args=model_args, graph=None))
    refused(model_dir)


GRAPHS: dict[str, tuple[str, str, int]] = {
    "offsets beyond": (r'offset="\d+" size', 'offset="99999999999" size', 5),
    "strides of nothing": (r'strides="[\d, ]+"', 'strides="0, 0"', 2),
    "an input renamed": (r'names?="image"', 'name="imago"', 0),
    "an output renamed": (r"logits_0", "logits_9", 0),
    "a result renamed": (r'name="fold_0"', 'name="fold_9"', 0),
    "an unknown operation": (r'type="Convolution"', 'type="Convulsion"', 1),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_that_was_edited_is_refused(model_dir, name):
    with_graph(model_dir, *GRAPHS[name])
    assert "graph.xml" in refused(model_dir)


def test_a_graph_that_was_cut_is_refused_though_its_digest_agrees(model_dir):
    content = (model_dir / "graph.xml").read_bytes()
    replace(model_dir, "graph.xml", content[: len(content) // 2])
    assert "graph.xml" in refused(model_dir)


@pytest.mark.parametrize("share", [1.0, 0.001])
def test_a_graph_whose_weights_hold_nan_is_refused(model_dir, share):
    """All of them, or a few of the first layer's, which a ReLU makes 0 of: the answer would be a number."""
    text = (model_dir / "graph.xml").read_text()
    found = re.search(r'element_type="f32" shape="\d+, 3, \d+, \d+" offset="(\d+)" size="(\d+)"', text)
    assert found is not None
    offset, size = map(int, found.groups())
    content = bytearray((model_dir / "graph.bin").read_bytes())
    length = max(4, int(size * share) // 4 * 4)
    content[offset : offset + length] = struct.pack("<f", float("nan")) * (length // 4)
    replace(model_dir, "graph.bin", bytes(content))
    assert "NaN" in refused(model_dir)


def test_a_graph_that_answers_infinity_is_refused(model_dir):
    text = (model_dir / "graph.xml").read_text()
    content = bytearray((model_dir / "graph.bin").read_bytes())
    for offset, size in re.findall(r'element_type="f32" shape="1, \d+" offset="(\d+)" size="(\d+)"', text):
        values = np.full(int(size) // 4, 3e38, np.float32)
        content[int(offset) : int(offset) + int(size)] = values.tobytes()
    replace(model_dir, "graph.bin", bytes(content))
    assert "what is no number" in refused(model_dir)


# NaN is never an answer


@pytest.fixture
def damaged(trained_root: Path) -> Ensemble:
    """A predictor whose memory was damaged after it was loaded."""
    manifest = load_manifest(trained_root / "model")
    networks = load_networks(trained_root / "model", manifest, manifest.folds, torch.device("cpu"))
    with torch.no_grad():
        networks[1].head.bias.fill_(float("nan"))
    executor = TorchExecutor(networks, torch.device("cpu"))
    return Ensemble(manifest, manifest.folds, [executor], max_batch=2, backend="torch")


def test_a_network_that_answers_nan_is_an_error_by_every_door(damaged, trained_root, tmp_path):
    pixels_HWC = np.zeros((50, 60, 3), np.uint8)
    with pytest.raises(PlatformError, match="what is no number"):
        damaged.predict([pixels_HWC], [{}])

    told: dict[int, LesionError] = {}
    probs_SK = predict_source(damaged, Pixels(), [{}] * 3, batch_size=2, num_workers=1, on_error=told.__setitem__)
    assert np.isnan(probs_SK).all() and [told[index].kind for index in range(3)] == ["no_number"] * 3

    app = create_app(damaged)
    picture = (trained_root / "input/data/training/test_jpg").glob("*.jpg")
    response = app.test_client().post("/invocations", data=next(picture).read_bytes(), content_type="image/jpeg")
    app.extensions["pipeline"].stop()
    assert response.status_code == 500 and response.get_json()["error"] == "internal"


class Pixels:
    """Black pictures."""

    def read(self, _index: int) -> np.ndarray:
        return np.zeros((50, 60, 3), np.uint8)


# Where it lies


def test_a_folder_too_many_is_told_with_where_the_manifest_lies(model_dir, tmp_path):
    message = refused(tmp_path)
    assert "no manifest.json here: it lies in model/" in message and f"Give {model_dir}" in message


def test_an_archive_that_is_still_packed_is_told_as_one(tmp_path):
    (tmp_path / "._model.tar.gz").touch()
    (tmp_path / "model.tar.gz").touch()
    assert "model.tar.gz, which is still packed" in refused(tmp_path)
    assert "tar -xf model.tar.gz" in refused(tmp_path)
    assert "Unpack it" in refused(tmp_path / "model.tar.gz")


# By every door


@pytest.mark.parametrize("verb", ["serve", "predict", "export onnx"])
def test_each_command_ends_with_one_line_and_no_traceback(model_dir, trained_root, tmp_path, command, verb):
    with_tensors(model_dir, TENSORS["a NaN"])
    if verb == "serve":
        ended = lesion("serve", "--root", tmp_path, "--port", free_port())
    elif verb == "predict":
        pictures = trained_root / "input/data/training/test_jpg"
        ended = command("predict", pictures, "--model", model_dir, "--output", tmp_path / "o.csv")
    else:
        ended = command("export", "onnx", "--model", model_dir, "--output", tmp_path / "o.onnx")
    assert ended.returncode == (3 if verb == "serve" else 2)
    said = ended.stdout + ended.stderr
    assert "Traceback" not in said and said.count("the weights hold what is no number") == 1, said
    assert not (tmp_path / "o.csv").exists() and not (tmp_path / "o.onnx").exists()
