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

from lesion.algorithms.base import Output
from lesion.algorithms.classify.manifest import read
from lesion.algorithms.classify.prediction.load import load_predictor
from lesion.algorithms.classify.prediction.predictor import Ensemble
from lesion.algorithms.classify.prediction.torch_executor import TorchExecutor, load_networks
from lesion.algorithms.classify.results.write import predict_source
from lesion.algorithms.written_by import algorithm_of_artifact
from lesion.artifact import load_manifest
from lesion.errors import LesionError, PlatformError, UserError
from lesion.serve.app import create_app
from processes import free_port, lesion

Fields = dict[str, Any]
GOLDEN = Path(__file__).parents[1] / "golden"


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


def in_payload(value: object, *path: str | int) -> Callable[[Fields], None]:
    return setting(value, "payload", *path)


def replace(model_dir: Path, name: str, content: bytes) -> None:
    """Other bytes under that name, with the record that the manifest then needs."""
    (model_dir / name).unlink()  # not the same file: a graph that was loaded has it mapped into memory
    (model_dir / name).write_bytes(content)
    record = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    edit(model_dir, setting(record, "files", name))


def with_tensors(model_dir: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Fold 0 with other tensors, and no graph, so that torch computes."""
    tensors = load_file(model_dir / "fold_0.safetensors")
    change(tensors)
    replace(model_dir, "fold_0.safetensors", to_bytes(tensors))
    edit(model_dir, in_payload(None, "graph"))


def with_graph(model_dir: Path, pattern: str, new: str, count: int = 0) -> None:
    text = (model_dir / "graph.xml").read_text()
    changed = re.sub(pattern, new, text, count=count)
    assert changed != text
    replace(model_dir, "graph.xml", changed.encode())


def refused(model_dir: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_predictor(model_dir, device="cpu", num_cores=2, precision="fp32")
    assert caught.value.kind == "artifact"
    message = str(caught.value)
    assert "\n" not in message and str(model_dir) in message and len(message) < 1000, message
    return message


def test_the_good_one_is_let_through(model_dir):
    assert load_predictor(model_dir, device="cpu", num_cores=2).backend.startswith("openvino")
    edit(model_dir, in_payload(None, "graph"))
    assert load_predictor(model_dir, device="cpu", num_cores=2).backend.startswith("torch")


MANIFESTS = {
    "views 0": (in_payload(0, "num_views"), "num_views"),
    "views 9": (in_payload(9, "num_views"), "num_views"),
    "views huge": (in_payload(10**400, "num_views"), "num_views"),
    "views text": (in_payload("many", "num_views"), "num_views"),
    "views beyond the flips": (in_payload("none", "flips"), "num_views is 3, and flips=none allows 1"),
    "flips unknown": (in_payload("vertical", "flips"), "flips"),
    "fit unknown": (in_payload("letterbox", "preprocessing", "fit"), r"preprocessing\.fit"),
    "image size 0": (in_payload(0, "preprocessing", "image_size"), "image_size is 0"),
    "image size huge": (in_payload(10**9, "preprocessing", "image_size"), "image_size"),
    "image size other": (in_payload(64, "preprocessing", "image_size"), r"graph's image is u8 \[1,48,48,3\]"),
    "mean NaN": (in_payload([0.5, float("nan"), 0.5], "preprocessing", "mean"), "preprocessing.*mean"),
    "mean huge": (in_payload([10**400, 0.5, 0.5], "preprocessing", "mean"), "preprocessing"),
    "mean of 0 to 255": (in_payload([123.7, 116.3, 103.5], "preprocessing", "mean"), "mean, 123.7 is not 0 to 1.*255"),
    "mean negative": (in_payload([0.5, -0.1, 0.5], "preprocessing", "mean"), "mean, -0.1 is not 0 to 1"),
    "std of 0 to 255": (in_payload([58, 57, 57], "preprocessing", "std"), "std, 58 is not greater than 0, to 1.*255"),
    "std 0": (in_payload([0.5, 0, 0.5], "preprocessing", "std"), "std, 0 is not greater than 0"),
    "std negative": (in_payload([0.5, -1, 0.5], "preprocessing", "std"), "std, -1 is not greater than 0"),
    "std of two": (in_payload([0.5, 0.5], "preprocessing", "std"), "preprocessing.std"),
    "threshold NaN": (in_payload([float("nan")], "target", "thresholds"), "target.thresholds"),
    "threshold above 1": (in_payload([1.5], "target", "thresholds"), "target.thresholds"),
    "threshold missing": (in_payload([], "target", "thresholds"), "0 thresholds, but this target needs 1"),
    "thresholds too many": (in_payload([0.5, 0.5], "target", "thresholds"), "2 thresholds"),
    "classes twice": (in_payload(["a", "a"], "target", "class_names"), "twice"),
    "classes none": (in_payload([], "target", "class_names"), "class_names"),
    "classes of three": (
        in_payload(["a", "b", "c"], "target", "class_names"),
        "3 class_names do not fit task type binary",
    ),
    "class name endless": (in_payload(["a", "b" * 10**5], "target", "class_names"), "class_names"),
    "class name of no letters": (in_payload(["a", "\ud800"], "target", "class_names"), "manifest.json"),
    "of_interest nobody": (in_payload("c", "target", "of_interest"), "of_interest"),
    "kind unknown": (in_payload("regression", "target", "kind"), "target.kind"),
    "algorithm unknown": (setting("segment", "algorithm"), "algorithm: 'segment', but 'classify' is needed"),
    "files a list": (setting([], "files"), "manifest.json: files"),
    "files without a fold's": (
        lambda fields: fields["files"].pop("fold_1.safetensors"),
        r"files does not list 'fold_1\.safetensors'",
    ),
    "files without the graph's": (lambda fields: fields["files"].pop("graph.bin"), r"files does not list 'graph\.bin'"),
    "files with the manifest": (
        lambda fields: fields["files"].update({"manifest.json": fields["files"]["graph.bin"]}),
        "files lists manifest.json",
    ),
    "file of another length": (setting(5, "files", "fold_1.safetensors", "bytes"), r"but 5 were written.*fold_1"),
    "file of no length": (
        lambda fields: fields["files"]["fold_1.safetensors"].pop("bytes"),
        "files lists a file without its bytes",
    ),
    "file of another digest": (
        setting("0" * 64, "files", "graph.bin", "sha256"),
        r"differ from those that.*graph\.bin",
    ),
    "payload a list": (setting([], "payload"), "manifest.json: payload"),
    "payload empty": (setting({}, "payload"), r"payload\.model: Field required"),
    "payload in the envelope": (lambda fields: fields.update(fields.pop("payload")), "payload: Field required"),
    "payload without end": (lambda fields: fields["payload"].update(more=nested(500)), "manifest.json"),
    "folds none": (in_payload([], "folds"), "folds"),
    "fold number twice": (in_payload(1, "folds", 0, "fold"), "twice"),
    "fold number negative": (in_payload(-1, "folds", 0, "fold"), "folds.0.fold"),
    "fold file twice": (in_payload("fold_1.safetensors", "folds", 0, "file"), "twice"),
    "file name with NUL": (in_payload("a\0b", "graph", "file"), "graph.file"),
    "file name above": (in_payload("../model/graph.xml", "graph", "file"), "graph.file"),
    "file name of lines": (in_payload("graph\n.xml", "graph", "file"), "graph.file"),
    "file name a number": (in_payload(7, "folds", 0, "file"), "folds.0.file"),
    "columns twice": (in_payload(["sex", "sex", "sex"], "metadata_columns"), "twice"),
    "columns others": (in_payload(["a", "b", "c"], "metadata_columns"), "metadata of fold 0"),
    "columns fewer": (
        lambda fields: [fold["metadata"].pop() for fold in fields["payload"]["folds"]],
        "metadata of fold 0",
    ),
    "columns of another kind": (
        in_payload("boolean", "folds", 1, "metadata", 1, "kind"),
        "folds 1 and 0 encode metadata differently",
    ),
    "words twice but for their spelling": (
        in_payload(["female", "Female"], "folds", 0, "metadata", 0, "categories"),
        "twice",
    ),
    "synonyms of a stranger": (
        in_payload({"m": "man"}, "folds", 0, "metadata", 0, "synonyms"),
        "'sex' has synonyms of 'man', which is no category",
    ),
    "synonyms a list": (in_payload(["m"], "folds", 0, "metadata", 0, "synonyms"), "metadata.0.synonyms"),
    "words twice": (in_payload(["a", "a"], "folds", 0, "metadata", 0, "categories"), "twice"),
    "words more": (
        lambda fields: fields["payload"]["folds"][1]["metadata"][0].update(categories=["a", "b", "c"], synonyms={}),
        r"metadata.*fold_1\.safetensors",
    ),
    "a million words": (in_payload(list(map(str, range(10**6))), "folds", 0, "metadata", 0, "categories"), "metadata"),
    "age without spread": (in_payload(0, "folds", 0, "metadata", 1, "std"), "deviation"),
    "age NaN": (in_payload(float("nan"), "folds", 0, "metadata", 1, "mean"), "folds.0.metadata.1"),
    "format of the future": (setting(5, "format_version"), "format 5"),
    "format of the past": (setting(2, "format_version"), "folds: Field required"),
    "format true": (setting(True, "format_version"), "format True"),
    "format endless": (setting("9" * 10**6, "format_version"), "this version reads"),
    "model_args a list": (in_payload([1], "model_args"), "model_args"),
    "model_args of a file": (
        in_payload({"checkpoint_path": "/etc/passwd"}, "model_args"),
        "checkpoint_path cannot be set",
    ),
    "model_args of an address": (
        in_payload({"act_layer": ["https://a.b"]}, "model_args"),
        "names a file or an address",
    ),
    "config without end": (lambda fields: fields.update(config=nested(500)), "manifest.json"),
    "graph of other folds": (in_payload(7, "folds", 0, "fold"), "graph has no metadata_7"),
    "more classes than outputs": (
        in_payload(
            {"kind": "multiclass", "class_names": ["a", "b", "c"], "of_interest": None, "thresholds": []}, "target"
        ),
        r"calibration of 1 outputs, and there are 3",
    ),
    "more classes than outputs, uncalibrated": (
        lambda fields: fields["payload"].update(
            target={"kind": "multiclass", "class_names": ["a", "b", "c"], "of_interest": None, "thresholds": []},
            **dict.fromkeys(("calibration", "operating", "prediction_sets")),
        ),
        r"outputs that the manifest states: head.bias is F32 \[1\]",
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


def test_an_algorithm_that_is_not_known_is_refused_with_those_that_are(model_dir):
    edit(model_dir, setting("segment", "algorithm"))
    with pytest.raises(UserError, match=r"no algorithm is called 'segment'.*manifest\.json.*classify") as caught:
        algorithm_of_artifact(model_dir)
    assert caught.value.kind == "artifact"


FLAT: dict[str, tuple[Callable[[Fields], object], str]] = {
    "no digest": (lambda fields: fields["folds"][1].pop("sha256"), r"folds\.1\.sha256: Field required"),
    "a digest that is none": (setting("", "folds", 0, "sha256"), r"folds\.0\.sha256"),
    "another digest": (setting("0" * 64, "folds", 0, "sha256"), r"differ from those that.*fold_0\.safetensors"),
    "a file name above": (setting("../fold_0.safetensors", "folds", 0, "file"), r"folds\.0\.file"),
    "a file twice": (setting("fold_1.safetensors", "folds", 0, "file"), "twice"),
    "the manifest as a file": (setting("manifest.json", "folds", 0, "file"), "files lists manifest.json"),
    "folds that are none": (setting({"fold": 0}, "folds"), "manifest.json: folds"),
    "a fold that is none": (setting("fold_0.safetensors", "folds", 0), r"folds\.0"),
    "a graph that is none": (setting("graph.xml", "graph"), "manifest.json: graph"),
    "a graph of no digest": (setting({"file": "graph.xml", "weights_file": "graph.bin"}, "graph"), r"graph\.sha256"),
    "a graph of no bounds": (
        setting({"file": "a", "weights_file": "b", "sha256": "0" * 64, "weights_sha256": "1" * 64}, "graph"),
        r"json: graph\.num_checked",
    ),
    "a field out of its bounds": (setting(9, "num_views"), "json: num_views"),
    "a target that is none": (setting([], "target"), "json: target"),
    "an algorithm unknown": (setting("segment", "algorithm"), "algorithm: 'segment'"),
    "no configuration": (lambda fields: fields.pop("config"), "json: config: Field required"),
    "more without end": (lambda fields: fields["folds"][0].update(more=nested(500)), "manifest.json"),
    "the future's number": (setting(3, "format_version"), "files: Field required"),
}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", FLAT)
def test_a_manifest_of_an_earlier_format_that_was_edited_is_refused_with_its_own_field(tmp_path, version, name):
    """Its fields are named as they stand in it, without the envelope that it lacks."""
    earlier = shutil.copytree(GOLDEN / f"artifact_v{version}", tmp_path / "model")
    change, expected = FLAT[name]
    edit(earlier, change)
    assert re.search(expected, refused(earlier))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"format_version": 3, "format_version": 3}', "'format_version' occurs twice"),
        (b'{"format_version": 3, "files": {"a": {}, "a": {}}}', "'a' occurs twice"),
        (b"", "manifest.json cannot be read"),
        (b'{"format_version": ' + b"1" * 5000 + b"}", "manifest.json cannot be read"),
        (b" " * (2**26 + 1), "at most 67108864 are allowed"),
    ],
    ids=["deep", "twice", "file twice", "empty", "digits", "large"],
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
    assert load_predictor(model_dir, device="cpu", num_cores=1).folds == [0, 1, 2]


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
        edit(model_dir, in_payload(None, "graph"))
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
    edit(model_dir, lambda fields: fields["payload"].update(model=model, model_args=model_args, graph=None))
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


def without_features(model_dir: Path) -> None:
    """The graph as it was written before it gave the features of a picture."""
    import openvino

    graph = openvino.Core().read_model(model_dir / "graph.xml", model_dir / "graph.bin")
    for result in graph.get_results():
        if result.get_friendly_name().startswith("features_"):
            graph.remove_result(result)
    openvino.save_model(graph, model_dir / "changed.xml", compress_to_fp16=False)
    for end in ("xml", "bin"):
        replace(model_dir, f"graph.{end}", (model_dir / f"changed.{end}").read_bytes())


def test_features_are_looked_for_where_the_manifest_tells_of_them(model_dir):
    width = json.loads((model_dir / "manifest.json").read_text())["payload"]["graph"]["num_features"]
    for number, expected in (
        (width - 1, rf"features_\d is f32 \[1,{width}\]"),
        (0, r"payload\.graph\.num_features"),
        (None, "but the manifest lists"),
    ):
        edit(model_dir, in_payload(number, "graph", "num_features"))
        assert re.search(expected, refused(model_dir))


def test_a_graph_without_features_answers_if_its_manifest_tells_of_none(model_dir):
    def output() -> Output:
        predictor = load_predictor(model_dir, device="cpu", num_cores=2, precision="fp32")
        assert predictor.backend.startswith("openvino")
        pixels_HWC = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
        return predictor.compute([pixels_HWC], [{"age_approx": 40}])[0]

    with_them = output()
    without_features(model_dir)
    assert "the graph has no features_0" in refused(model_dir)
    edit(model_dir, in_payload(None, "graph", "num_features"))
    without_them = output()
    assert with_them.features_FVD is not None and without_them.features_FVD is None
    np.testing.assert_allclose(without_them.logits_FVK, with_them.logits_FVK, atol=1e-6)


def test_places_are_looked_for_where_the_manifest_tells_of_them(model_dir):
    side = json.loads((model_dir / "manifest.json").read_text())["payload"]["graph"]["place_side"]
    for number, expected in (
        (side + 1, rf"places_\d is f32 \[1,1,{side},{side}\]"),
        (0, r"payload\.graph\.place_side"),
        (None, "but the manifest lists"),
    ):
        edit(model_dir, in_payload(number, "graph", "place_side"))
        assert re.search(expected, refused(model_dir))


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
    assert "NaN or infinity" in refused(model_dir)


# NaN is never an answer


@pytest.fixture
def damaged(trained_root: Path) -> Ensemble:
    """A predictor whose memory was damaged after it was loaded."""
    manifest = load_manifest(trained_root / "model")
    model = read(trained_root / "model", manifest)
    networks = load_networks(trained_root / "model", manifest, model, model.folds, torch.device("cpu"))
    with torch.no_grad():
        networks[1].head.bias.fill_(float("nan"))
    executor = TorchExecutor(networks, torch.device("cpu"))
    return Ensemble(manifest, model, model.folds, [executor], max_batch=2, backend="torch")


def test_a_network_that_answers_nan_is_an_error_by_every_door(damaged, trained_root, tmp_path):
    pixels_HWC = np.zeros((50, 60, 3), np.uint8)
    with pytest.raises(PlatformError, match="NaN or infinity"):
        damaged.predict([pixels_HWC], [{}])

    told: dict[int, LesionError] = {}
    probs_SK = predict_source(damaged, Pixels(), [{}] * 3, num_workers=1, on_error=told.__setitem__)
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
    assert "Traceback" not in said and said.count("the weights hold NaN or infinity") == 1, said
    assert not (tmp_path / "o.csv").exists() and not (tmp_path / "o.onnx").exists()
