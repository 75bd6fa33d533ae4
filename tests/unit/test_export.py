"""Export: a network answers in another program's hands as it does in torch's."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lesion import export
from lesion.algorithms.base import Options
from lesion.algorithms.classify import save_graph
from lesion.algorithms.classify.manifest import read
from lesion.algorithms.classify.prediction import openvino_cpu
from lesion.algorithms.classify.prediction.answer import combine, fold_probs
from lesion.algorithms.classify.prediction.export import export_onnx
from lesion.algorithms.classify.prediction.load import load_predictor, load_torch
from lesion.algorithms.classify.prediction.predictor import Ensemble, Prepared
from lesion.algorithms.classify.prediction.torch_executor import TorchExecutor
from lesion.artifact import load_manifest
from lesion.data.transforms import Preprocess
from lesion.errors import UserError
from lesion.inference.openvino_graph import core, cpu_has_bf16
from lesion.models.fusion import create_network
from lesion.stop import Stop
from lesion.targets import Target

PREPROCESS = Preprocess(64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
YES_NO = Target("binary", ("benign", "malignant"))
ROWS = [{"sex": "female", "age_approx": 45}, {}, {"age_approx": 80}, {"sex": "male"}]


def pictures(number: int = 4, side_px: int = 70) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (number, side_px, side_px, 3), dtype=np.uint8))


def by_torch(model_dir: Path, fold: int | None = None) -> Ensemble:
    manifest = load_manifest(model_dir)
    model = read(model_dir, manifest)
    folds = [record for record in model.folds if fold in {None, record.fold}]
    return load_torch(model_dir, manifest, model, folds, [torch.device("cpu")])


def by_graph(model_dir: Path, **options: object) -> Ensemble:
    predictor = load_predictor(model_dir, **{"device": "cpu", "num_cores": 2, "precision": "fp32", **options})
    assert predictor.backend.startswith("openvino")
    return predictor


# Convolutions with and without groups, attention, a network that keeps its shape to the end: what users ask timm for.
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", "test_convnext"])
def test_a_graph_answers_as_the_networks_do(name):
    model_args = {"img_size": 64} if name == "test_vit" else {}
    options = {"num_metadata": 5, "num_outputs": 1, "seed": 3}
    networks = {
        0: create_network(name, model_args, PREPROCESS, **options).eval(),
        4: create_network(name, model_args, PREPROCESS, **{**options, "num_metadata": 0}).eval(),  # knows no metadata
    }
    xml, weights = export.to_openvino(networks, {0: 5, 4: 0}, 64)
    model = core().read_model(xml, weights)
    settings = {"num_views": 1, "precision": "fp32", "num_cores": 1, "all_cores": "now"}
    [executor] = openvino_cpu.compile_graph(model, [0, 4], **settings)
    features_FM = [np.linspace(-1, 1, 5, dtype=np.float32), np.zeros(0, np.float32)]
    batch = [Prepared(picture, features_FM, num_views) for num_views, picture in enumerate(pictures(4, 64), start=1)]
    expected = TorchExecutor(list(networks.values()), torch.device("cpu"))(batch)
    assert [output.logits_FVK.shape for output in expected] == [(2, num_views, 1) for num_views in (1, 2, 3, 4)]
    assert np.ptp([fold_probs(YES_NO, output.logits_FVK) for output in expected]) > 1e-3
    for found, wanted in zip(executor(batch), expected, strict=True):
        np.testing.assert_allclose(found.logits_FVK, wanted.logits_FVK, atol=1e-5)
        assert found.features_FVD.shape == (*found.logits_FVK.shape[:2], wanted.features_FVD.shape[-1])
        np.testing.assert_allclose(found.features_FVD, wanted.features_FVD, atol=1e-4)
    assert np.ptp([output.features_FVD for output in expected[:1]]) > 1e-3


def test_the_graph_of_an_artifact_answers_as_torch_does_with_all_folds_and_with_one(trained_root):
    model_dir = trained_root / "model"
    for fold in (None, 0, 2):
        answers = by_graph(model_dir, fold=fold).predict(pictures(), ROWS)
        np.testing.assert_allclose(answers, by_torch(model_dir, fold).predict(pictures(), ROWS), atol=1e-5)
        assert len(set(answers[:, 0].tolist())) == 4


def test_the_manifest_says_how_far_the_graph_lay_from_torch_and_how_many_features_it_gives(trained_root):
    predictor = by_torch(trained_root / "model")
    record = predictor.model.graph
    [output] = predictor.compute(pictures(1), [{}])
    assert record is not None and record.num_features == output.features_FVD.shape[-1]
    assert record is not None and record.num_checked == 16
    assert 0 < record.differences["fp32"] < 1e-5
    assert ("bf16" in record.differences) == cpu_has_bf16()


def test_the_graph_in_bf16_is_within_its_tolerance(trained_root):
    if not cpu_has_bf16():
        pytest.skip("this CPU does not compute in bf16")
    model_dir = trained_root / "model"
    answers, expected = (by_graph(model_dir, precision=name).predict(pictures(), ROWS) for name in ("bf16", "fp32"))
    assert 0 < np.abs(answers - expected).max() < openvino_cpu.TOLERANCE["bf16"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("num_cores", [1, 2, 9])
def test_a_picture_is_answered_alike_alone_and_in_company_by_any_number_of_cores(trained_root, num_cores, precision):
    if precision == "bf16" and not cpu_has_bf16():
        pytest.skip("this CPU does not compute in bf16")
    model_dir, manifest = trained_root / "model", load_manifest(trained_root / "model")
    model = read(model_dir, manifest)
    folds = [record.fold for record in model.folds]
    settings = {"precision": precision, "num_cores": num_cores, "all_cores": "now"}
    executors = openvino_cpu.load_graph(model_dir, manifest, model, folds, **settings)
    assert len(executors) == num_cores
    predictor = Ensemble(manifest, model, model.folds, executors, max_batch=1, backend="")
    together = predictor.predict(pictures(9), [{}] * 9)
    alone = np.concatenate([predictor.predict([picture], [{}]) for picture in pictures(9)])
    expected = by_graph(model_dir, precision=precision, num_cores=1).predict(pictures(9), [{}] * 9)
    np.testing.assert_array_equal(together, expected)
    np.testing.assert_array_equal(alone, expected)


@pytest.mark.parametrize("num_cores", [1, 2, 8])
def test_a_lone_network_gives_the_same_bits_to_the_first_picture_and_to_those_that_have_all_cores(
    trained_root, num_cores
):
    model_dir, manifest = trained_root / "model", load_manifest(trained_root / "model")
    settings = {"precision": "fp32", "num_cores": num_cores, "all_cores": "now"}
    model = replace_views(read(model_dir, manifest), 1)
    executor = openvino_cpu.load_graph(model_dir, manifest, model, [0], **settings)[0]
    features_FM = [np.linspace(-1, 1, model.folds[0].num_metadata, dtype=np.float32)]
    picture = Prepared(pictures(1, model.preprocessing.image_size)[0], features_FM, 1)
    first, *rest = (executor([picture])[0] for _ in range(9))  # after a few alone, all cores compute together
    for output in rest:
        np.testing.assert_array_equal(output.logits_FVK, first.logits_FVK)
        np.testing.assert_array_equal(output.features_FVD, first.features_FVD)


def replace_views(model, num_views: int):
    return model.model_copy(update={"num_views": num_views})


LET_GO = """
import gc, os, signal, sys, threading
from pathlib import Path
from lesion.algorithms.classify.prediction.load import load_predictor

held = [load_predictor(Path(sys.argv[1]), device="cpu", num_cores=2)]
thread = threading.Thread(target=lambda: (held.clear(), gc.collect()))
thread.start()
thread.join()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_signal_is_heard_after_a_graph_was_let_go_by_another_thread(trained_root):
    """OpenVINO's plugin lends the thread that loads it a stack for signals, and takes it back where it is unloaded."""
    ended = subprocess.run([sys.executable, "-c", LET_GO, str(trained_root / "model")], check=False)
    assert ended.returncode == 7


def test_a_damaged_graph_is_refused_by_name(trained_root, tmp_path):
    for name in ("graph.xml", "graph.bin"):
        model_dir = shutil.copytree(trained_root / "model", tmp_path / name)
        with (model_dir / name).open("r+b") as file:
            file.seek(40)
            file.write(b"\xff\xff")
        with pytest.raises(UserError, match="differ from those that the manifest") as refusal:
            by_graph(model_dir)
        assert name in str(refusal.value)


def test_without_a_graph_torch_computes_and_says_so(trained_root, tmp_path, caplog):
    model_dir = shutil.copytree(trained_root / "model", tmp_path / "model")
    manifest = load_manifest(model_dir)
    without = manifest.model_copy(update={"payload": {**manifest.payload, "graph": None}})
    (model_dir / "manifest.json").write_text(without.model_dump_json())
    predictor = load_predictor(model_dir, device="cpu", num_cores=2)
    assert predictor.backend.startswith("torch") and "no CPU graph" in caplog.text


class Refused(Exception):
    """What a converter may raise."""


def test_a_network_that_cannot_be_exported_fails_nothing(trained_root, tmp_path, caplog, monkeypatch):
    """The converter is not ours; that a network is beyond it is played by one that raises as it is traced."""
    model_dir = shutil.copytree(trained_root / "model", tmp_path / "model")

    def refuse(*_: object) -> None:
        raise Refused("no such operation")

    monkeypatch.setattr(export.Square, "forward", refuse)
    caplog.set_level(logging.INFO, "lesion")
    save_graph.save_graph(model_dir, by_torch(model_dir), None, [], stop=Stop(), num_cores=1)  # type: ignore[arg-type]  # it does not get so far
    assert "torch will serve" in caplog.text and "no such operation" in caplog.text


def test_an_onnx_model_answers_as_the_artifact_does_with_one_view(trained_root, tmp_path):
    """Read by OpenVINO, whose reader of ONNX is not torch's writer."""
    import openvino

    model_dir = trained_root / "model"
    predictor = by_torch(model_dir)
    side_px = predictor.model.preprocessing.image_size
    batch = [
        predictor.prepare(picture, row, Options(views=1))
        for picture, row in zip(pictures(4, side_px), ROWS, strict=True)
    ]
    export_onnx(model_dir, tmp_path / "new" / "model.onnx", fold=None)
    compiled = openvino.Core().compile_model(
        tmp_path / "new" / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    metadata = {
        f"metadata_{fold}": np.stack([picture.features_FM[f] for picture in batch])
        for f, fold in enumerate(predictor.folds)
    }
    answer = compiled.create_infer_request().infer(
        {"image": np.stack([picture.pixels_HWC for picture in batch]), **metadata}
    )
    outputs = predictor.executors[0](batch)
    expected_NK = [combine(predictor.target, output.logits_FVK, predictor.calibration) for output in outputs]
    np.testing.assert_allclose(answer["probabilities"], expected_NK, atol=1e-5)
