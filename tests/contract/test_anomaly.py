"""Anomaly detection from a job to its answers: what is found, what is said of it, what is refused."""

from __future__ import annotations

import base64
import json
import logging
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from tiles import SPOT, draw_tile, write_set

from factories import write_hyperparameters
from lesion.algorithms.anomaly.algorithm import ANOMALY
from lesion.algorithms.anomaly.config import AnomalyConfig, GanSettings, NormalSettings, ScorerSettings
from lesion.algorithms.anomaly.load import load_predictor
from lesion.algorithms.anomaly.predictor import AnomalyPredictor
from lesion.algorithms.base import Options, Output
from lesion.artifact import load_manifest
from lesion.config import table
from lesion.data.decode import images
from lesion.errors import UserError
from lesion.explain_files import explain_files
from lesion.predict_files import predict_files
from lesion.sagemaker import read_job

SETTINGS: dict[str, object] = {
    "algorithm": "anomaly",
    **{"model": "test_resnet", "pretrained": False, "image_size": 48, "strides": "4,8"},
    **{"memory_patches": 300, "held_out": 0.5, "num_workers": 0},
}


def run(root: Path, **changes: object) -> dict[str, Any]:
    """Trains the job in this process; its metrics."""
    write_hyperparameters(root, {**SETTINGS, **changes})
    job = read_job(root)
    ANOMALY.train(job, AnomalyConfig.parse(job.hyperparameters))
    return dict(json.loads((root / "output" / "data" / "metrics.json").read_text()))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished job with anomalies, masks and a test set."""
    root = tmp_path_factory.mktemp("anomaly")
    channel = root / "input" / "data" / "training"
    write_set(channel, "train", 12, has_anomalies=True, seed=0)
    write_set(channel, "test", 8, has_anomalies=True, seed=1000)
    run(root)
    return root


@pytest.fixture(scope="module")
def metrics(root: Path) -> dict[str, Any]:
    return dict(json.loads((root / "output" / "data" / "metrics.json").read_text()))


@pytest.fixture
def predictor(root: Path) -> AnomalyPredictor:
    return load_predictor(root / "model", device="cpu", num_cores=1)


def tile(root: Path, number: int) -> np.ndarray:
    return images.read(root / "input" / "data" / "training" / "test_jpg" / f"test_{number:03d}.png")


def answered(predictor: AnomalyPredictor, image: np.ndarray, **options: Any) -> dict[str, Any]:
    asked = Options(**options)
    [output] = predictor.executors[0]([predictor.prepare(image, {}, asked)])
    return predictor.answer(output, asked).fields


def test_planted_anomalies_are_found_in_images_and_pixels(metrics):
    assert metrics["pixels"]["pixel_roc_auc"]["value"] > 0.95
    assert metrics["test"]["pixels"]["pixel_roc_auc"]["value"] > 0.95
    assert metrics["test"]["metrics"]["sensitivity"] == 1.0
    stated = metrics["false_positive_rate"]
    assert metrics["test"]["false_positive_rate"]["value"] <= stated["high"] < 0.6


def test_what_is_written_names_each_held_out_row_once(root):
    frame = pd.read_csv(root / "output" / "data" / "oof.csv")
    assert frame["group"].nunique() == 7 and len(frame) == 28
    assert set(frame.columns) >= {"image_name", "target", "anomaly_score", "anomalous_fraction", "is_anomalous"}
    tested = pd.read_csv(root / "output" / "data" / "submission.csv")
    assert len(tested) == 32 and tested.loc[tested["target"] == 1, "is_anomalous"].all()


def test_an_answer_says_score_fraction_and_whether_it_is_anomalous(root, predictor):
    normal, anomalous = answered(predictor, tile(root, 0)), answered(predictor, tile(root, 7))
    assert normal["anomaly_score"] < anomalous["anomaly_score"] <= 1
    assert anomalous["is_anomalous"] is True and normal["is_anomalous"] is False
    assert 0.04 < anomalous["anomalous_fraction"] < 0.6  # the square is 0.11 of the tile, and its rim is not normal
    assert set(normal) == {"anomaly_score", "anomalous_fraction", "is_anomalous"}


def test_a_map_is_hottest_where_the_anomaly_is(root, predictor):
    content = base64.b64decode(answered(predictor, tile(root, 7), map="")["map"])
    map_HW = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert map_HW.shape == (48, 48)
    y, x = np.unravel_index(int(map_HW.argmax()), map_HW.shape)
    assert 16 <= y < 40 and 8 <= x < 32
    assert map_HW[24:32, 16:24].min() > 128 > map_HW[:8].max()  # 255 times the score: the threshold is 128


def test_the_map_of_a_normal_image_is_below_the_threshold_nearly_everywhere(root, predictor):
    """A map's grey means the same in each image: it is not stretched from a normal image's least to its largest."""
    normal = answered(predictor, tile(root, 0), map="")
    map_HW = cv2.imdecode(np.frombuffer(base64.b64decode(normal["map"]), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert 60 < np.median(map_HW) < 128 and (map_HW > 128).mean() < 0.05
    [output] = predictor.compute([tile(root, 0)])
    overlay = predictor.map_of(predictor.scored(output)).over(tile(root, 0))
    assert (overlay == tile(root, 0)).all(axis=2).mean() > 0.9


def test_the_operating_point_is_the_deployments_or_the_requests(root, predictor):
    image = tile(root, 7)
    told = answered(predictor, image, operating_point="threshold=0.999")
    assert told["is_anomalous"] is False and told["operating_point"]["threshold"] == 0.999
    rate = told["operating_point"]["false_positive_rate"]
    assert rate["value"] == 0 and "held-out normal images" in rate["why"]  # no other groups judged this threshold
    deployed = load_predictor(root / "model", device="cpu", num_cores=1, operating_point="threshold=0.999")
    assert answered(deployed, image)["is_anomalous"] is False
    assert answered(deployed, image, operating_point="specificity=0.9")["is_anomalous"] is True
    assert deployed.describe()["question"]["operating_point"]["asked"] == "threshold=0.999"
    assert deployed.describe()["question"]["false_positive_rate"] == rate
    own = answered(deployed, image, operating_point="specificity=0.950")["operating_point"]
    assert own["false_positive_rate"] == predictor.model.operating.false_positive_rate
    three, none = (answered(predictor, image, operating_point=f"sigma={sigma}")["operating_point"] for sigma in (3, 0))
    assert three["false_positive_rate"]["value"] < none["false_positive_rate"]["value"] == 1
    with pytest.raises(UserError, match="deployment's operating point"):
        load_predictor(root / "model", device="cpu", num_cores=1, operating_point="sensitivity=2")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": 4}, "looks at each image once"),
        ({"map": "melanoma"}, "no map 'melanoma'"),
        ({"map": "", "map_method": "cam"}, "no map 'cam'"),
        ({"operating_point": "sharp"}, "no operating point"),
    ],
)
def test_options_that_cannot_be_are_refused(root, predictor, options, message):
    with pytest.raises(UserError, match=message) as refused:
        predictor.prepare(tile(root, 0), {}, Options(**options))
    assert refused.value.kind == "custom_attributes"


def test_the_graph_answers_as_torch_does(root, predictor):
    import torch

    from lesion.algorithms.anomaly.load import load_torch

    by_torch = load_torch(root / "model", predictor.manifest, predictor.model, [torch.device("cpu")])
    assert predictor.backend == "openvino cpu fp32" and by_torch.backend == "torch cpu fp32"
    for number in (0, 7):
        first, second = (answered(one, tile(root, number))["anomaly_score"] for one in (predictor, by_torch))
        assert first == pytest.approx(second, abs=1e-4)
    record = predictor.model.graph
    assert record is not None and record.num_checked == 16 and record.difference < 1e-3


def test_the_graph_calls_each_held_out_image_what_the_job_called_it(root, predictor):
    """The threshold lies beside all of their scores, so rounding decides about none."""
    assert predictor.backend == "openvino cpu fp32"
    folder, oof = root / "input" / "data" / "training", pd.read_csv(root / "output" / "data" / "oof.csv")
    assert oof["is_anomalous"].any() and not oof["is_anomalous"].all()
    for row in oof.itertuples():
        told = answered(predictor, images.read(folder / "train_jpg" / row.image_name))
        assert told["is_anomalous"] == row.is_anomalous
        assert abs(told["anomaly_score"] - predictor.thresholds.default.score) > 1e-6


def test_without_the_graph_torch_answers(root, tmp_path):
    model = tmp_path / "model"
    copy_artifact(root, model)
    manifest = json.loads((model / "manifest.json").read_text())
    manifest["payload"]["graph"] = None
    (model / "manifest.json").write_text(json.dumps(manifest))
    assert load_predictor(model, device="cpu", num_cores=1).backend == "torch cpu fp32"


def copy_artifact(root: Path, model: Path) -> None:
    model.mkdir()
    for path in (root / "model").iterdir():
        (model / path.name).write_bytes(path.read_bytes())


def payload_with(**changes: Any):
    def change(model: Path) -> None:
        manifest = json.loads((model / "manifest.json").read_text())
        manifest["payload"].update(changes)
        (model / "manifest.json").write_text(json.dumps(manifest))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: (model / "scorer.safetensors").write_bytes(b"cut"), "scorer.safetensors"),
        (lambda model: (model / "graph.bin").unlink(), "graph.bin"),
        (payload_with(map_height=5), "the graph's distances is f32"),
        (payload_with(scale=0.0), "scale"),
        (payload_with(area=1.0), "area"),
        (payload_with(scorer=None), "payload.scorer"),
    ],
)
def test_a_wrong_artifact_is_refused(root, tmp_path, change, message):
    model = tmp_path / "model"
    copy_artifact(root, model)
    change(model)
    with pytest.raises(UserError, match=message) as refused:
        load_predictor(model, device="cpu", num_cores=1)
    assert refused.value.kind == "artifact"


def test_a_fold_bf16_onnx_and_evaluate_are_refused_in_words(root, tmp_path):
    with pytest.raises(UserError, match="no fold 3"):
        load_predictor(root / "model", device="cpu", num_cores=1, fold=3)
    with pytest.raises(UserError, match="distances need fp32"):
        load_predictor(root / "model", device="cpu", num_cores=1, precision="bf16")
    with pytest.raises(UserError, match="no ONNX model"):
        ANOMALY.export_onnx(root / "model", tmp_path / "m.onnx", fold=None)
    with pytest.raises(UserError, match="test channel"):
        ANOMALY.evaluate(root / "model", tmp_path)


def test_a_folder_is_predicted_and_explained(root, tmp_path):
    folder = root / "input" / "data" / "training" / "test_jpg"
    how: dict[str, Any] = {"model_dir": root / "model", "device": "cpu", "num_cores": 1, "show_progress": False}
    assert predict_files(folder, output=tmp_path / "out.csv", fold=None, precision="auto", **how) == 0
    frame = pd.read_csv(tmp_path / "out.csv")
    assert frame["is_anomalous"].sum() >= 4 and frame["error"].isna().all()
    assert set(frame["is_anomalous"]) == {0, 1} and frame["is_anomalous"].dtype == int  # as oof.csv has it
    assert explain_files(folder, output=tmp_path / "maps", fold=None, **how) == 0
    told = pd.read_csv(tmp_path / "maps" / "explanations.csv")
    assert len(told) == 32 and (tmp_path / "maps" / told.loc[7, "overlay"]).is_file()
    overlay, plain = images.read(tmp_path / "maps" / told.loc[7, "overlay"]), tile(root, 7)
    assert (overlay[:8] == plain[:8]).all()  # below the threshold a picture is as it was
    assert (overlay[SPOT] != plain[SPOT]).any()


def test_maps_are_written_for_images_and_slides(root, tmp_path):
    """The test set as two slides of 4 × 4 tiles, cut at half of the slide's resolution, and one image beside them."""
    folder = root / "input" / "data" / "training"
    frame = pd.read_csv(folder / "test.csv").drop(columns=["target", "mask"])
    frame["slide_id"] = np.repeat(["a/b", "c"], 16)
    frame["x"], frame["y"], frame["downsample"] = 96 * (np.arange(32) % 4), 96 * (np.arange(32) // 4 % 4), 2
    frame.to_csv(tmp_path / "slides.csv", index=False)
    (tmp_path / "test_jpg").symlink_to(folder / "test_jpg")
    how: dict[str, Any] = {"model_dir": root / "model", "device": "cpu", "num_cores": 1, "show_progress": False}
    how |= {"fold": None, "precision": "auto", "maps": tmp_path / "maps"}
    assert predict_files(tmp_path / "slides.csv", output=tmp_path / "out.csv", **how) == 0
    told = pd.read_csv(tmp_path / "out.csv")
    slides = pd.read_csv(tmp_path / "maps" / "slides.csv")
    assert slides["slide"].tolist() == ["a/b", "c"] and slides["tiles"].tolist() == [16, 16]
    assert slides["flagged_tiles"].sum() == told["is_anomalous"].sum() >= 4
    percentage = 100 * told["anomalous_fraction"].to_numpy().reshape(2, 16).mean(axis=1)
    assert slides["anomalous_percentage"].tolist() == pytest.approx(percentage.tolist(), abs=1e-3)
    assert slides["highest_score"].tolist() == told["anomaly_score"].to_numpy().reshape(2, 16).max(axis=1).tolist()
    document = json.loads((tmp_path / "maps" / "slide_00000_a_b.geojson").read_text())
    seventh = [one for one in document["features"] if one["properties"]["name"] == "test_007.png"]
    x, y = np.concatenate([one["geometry"]["coordinates"][0] for one in seventh]).T
    # Tile 7 lies at x 288 and y 96, and its spot in the middle of x 20 and y 28, in pixels of two of the slide's.
    assert 288 <= x.min() < 288 + 2 * 20 < x.max() <= 384 and 96 <= y.min() < 96 + 2 * 28 < y.max() <= 192
    assert images.read(tmp_path / "maps" / "slide_00000_a_b_heat_map.png").shape == (1000, 1000, 3)
    overlay = images.read(tmp_path / "maps" / "00007_test_007.png_overlay.png")
    assert (overlay[SPOT] != tile(root, 7)[SPOT]).any() and (overlay[:8] == tile(root, 7)[:8]).all()
    assert images.read(tmp_path / "maps" / "00007_test_007.png_map.png").shape[:2] == (48, 48)
    # Without positions each image has polygons of its own, in its own pixels.
    one = folder / "test_jpg" / "test_007.png"
    assert predict_files(one, output=tmp_path / "one.csv", **{**how, "maps": tmp_path / "one"}) == 0
    [path] = (tmp_path / "one").glob("*.geojson")
    x, y = np.concatenate([f["geometry"]["coordinates"][0] for f in json.loads(path.read_text())["features"]]).T
    assert 0 <= x.min() < 20 < x.max() <= 48 and 0 <= y.min() < 28 < y.max() <= 48


def test_an_artifact_from_before_the_threshold_of_pixels_judges_places_by_that_of_images(root, tmp_path):
    model = tmp_path / "model"
    copy_artifact(root, model)
    manifest = json.loads((model / "manifest.json").read_text())
    del manifest["payload"]["pixels"]
    (model / "manifest.json").write_text(json.dumps(manifest))
    older = load_predictor(model, device="cpu", num_cores=1)
    [output] = older.compute([tile(root, 7)])
    scored = older.scored(output, 0.5)
    assert scored.fraction == pytest.approx((scored.score_hw >= older.thresholds.default.score).mean())


def test_bars_beside_an_oblong_image_are_no_part_of_it(root, predictor):
    """A strip of 4:1 fills a part of its square, and is anomalous at one end. An artifact from before counts all."""
    model, (h, w) = predictor.model, (predictor.model.map_height, predictor.model.map_width)
    payload = model.model_dump()
    assert payload.pop("counts_bars") is False
    payload["preprocessing"]["fit"] = "pad"
    now, before = (
        predictor.with_record(predictor.manifest, type(model).model_validate(fields))
        for fields in ({**payload, "counts_bars": False}, payload)
    )
    distance_hw = np.zeros((h, w), np.float32)
    first, last = h * 3 // 8, h - h * 3 // 8
    distance_hw[first:last, : w // 8] = 9 * model.scale
    output = Output(distance_hw.reshape(1, 1, -1), notes=((25, 100),))
    assert now.scored(output).fraction == pytest.approx((w // 8) / w) and now.scored(output).is_anomalous
    assert before.scored(output).fraction == 0 and not before.scored(output).is_anomalous  # less than 3 % of all places
    distance_hw[first:last, 1:] = 0
    distance_hw[0] = 9 * model.scale  # in the bars
    output = Output(distance_hw.reshape(1, 1, -1), notes=((25, 100),))
    found = now.scored(output)
    assert not found.is_flagged_hw[0].any() and before.scored(output).is_flagged_hw[0].all()


def test_a_memory_from_before_leaves_out_what_lies_beyond_an_edge(root, tmp_path, predictor):
    import torch

    from lesion.algorithms.anomaly.load import load_torch

    scorer = predictor.model.scorer
    assert scorer.edge_is_zero
    older = type(scorer).model_validate(scorer.model_dump(exclude={"edge_is_zero"}))
    now, before = (
        load_torch(root / "model", predictor.manifest, model, [torch.device("cpu")]).compute([tile(root, 0)])[0]
        for model in (predictor.model, predictor.model.model_copy(update={"scorer": older}))
    )
    assert np.abs(now.logits_FVK - before.logits_FVK).max() > 0.05 * now.logits_FVK.mean()


def test_pixels_are_judged_by_a_threshold_of_their_own(root, metrics, predictor):
    stated, pixels = metrics["pixel_false_positive_rate"], predictor.describe()["question"]["pixels"]
    assert pixels["false_positive_rate"] == stated and pixels["specificity"] == 0.9998
    assert 0 <= stated["value"] < 0.01 and stated["low"] <= stated["value"] <= stated["high"]
    assert metrics["test"]["pixel_false_positive_rate"]["value"] <= stated["high"]
    assert metrics["test"]["pixels"]["pixel_f_0.05"]["value"] > 0.3  # one pixel of a hundred is anomalous
    image = tile(root, 7)
    lenient = answered(predictor, image, operating_point="threshold=0.01")
    assert lenient["anomalous_fraction"] == answered(predictor, image)["anomalous_fraction"]


def test_the_report_shows_rate_curve_and_worst_misses(root):
    facts = json.loads((root / "output" / "data" / "report.json").read_text())
    assert facts["metrics"][0]["key"] == "false_positive_rate" and facts["metrics"][0]["number"]["interval"]
    assert {"pixel_roc_auc", "pixel_f_0.05", "pixel_false_positive_rate"} <= {
        metric["key"] for metric in facts["metrics"]
    }
    assert facts["judging"]["unit"] == "patient" and "other patients chose" in facts["operating_points"][0]["how"]
    [point] = facts["operating_points"]
    assert point["name"] == "specificity=0.95" and point["is_chosen"]
    assert facts["curves"]["roc"][0]["at"]
    assert facts["sets"][0]["name"] == "Test set"
    rate, sensitivity = facts["curves"]["thresholds"]
    assert rate["name"] == "false-positive rate" and rate["y"][0] == 1 and rate["y"][-1] < 0.1
    assert all(first >= second for first, second in pairwise(sensitivity["y"]))
    cases = facts["mistakes"]["cases"]
    assert {case["map_shows"] for case in cases} == {"The distance from normal"}
    assert cases and all(case["flags"].startswith("data:image") and case["flags"] != case["map"] for case in cases)
    page = (root / "output" / "data" / "report.html").read_text()
    assert "from a score of" in page and "from a probability of" not in page and "The score for anomalous" in page
    assert "whole patients were held out" in page and "at most one of a patient" in page
    assert "Shares by threshold" in page and "What is flagged in" in page and "The distance from normal in" in page
    assert "This job did not measure it." not in page and "calibration error" not in page
    assert "&#34;algorithm&#34;: &#34;anomaly&#34;" in page  # or the same settings would train a classifier
    [[cleared, alarms], [missed, found]] = facts["confusion"]["counts"]
    assert cleared + alarms + missed + found == facts["judging"]["num_rows"] and alarms == point["confusion"]["fp"]
    assert "False-positive rate" in page and "Pixel ROC AUC" in page


def test_anomalous_images_that_neither_teach_nor_judge_are_counted_in_the_report(tmp_path, caplog):
    channel = tmp_path / "input" / "data" / "training"
    write_set(channel, "train", 8, has_anomalies=True, seed=0)  # four of eight slides hold one
    with caplog.at_level(logging.INFO):
        found = run(tmp_path, held_out=0.2, export_graph=False)
    # Of so few a rough number is for the tuner, which fails without one, and nothing is told of it.
    assert "metric validation:roc_auc=" in caplog.text and "held_out: rows=8 patients=2 " in caplog.text
    assert "roc_auc" not in found["overall"]["metrics"] and "too few" in found["overall"]["notes"]["roc_auc"]
    facts = json.loads((tmp_path / "output" / "data" / "report.json").read_text())
    flow = {step["what"].split(":")[0]: (step["change"], step["left"]) for step in facts["data"]["flow"]}
    assert flow["not used"] == (-2, 30) and flow["used for training or validation"] == (30, 30)
    assert flow["never held out"] == (-22, 8)


def test_normal_tiles_alone_are_enough(tmp_path):
    """Without a target column, as most teams have it: the threshold follows from held-out normal slides."""
    channel = tmp_path / "input" / "data" / "training"
    frame = write_set(channel, "train", 6, has_anomalies=False, seed=0)
    frame[["image_name", "patient_id"]].to_csv(channel / "train.csv", index=False)
    found = run(tmp_path, export_graph=False)
    assert (
        "roc_auc" not in found["overall"]["metrics"] and found["overall"]["notes"]["roc_auc"] and found["pixels"]["why"]
    )
    assert found["false_positive_rate"]["value"] is not None
    predictor = load_predictor(tmp_path / "model", device="cpu", num_cores=1)
    draw_tile(tmp_path / "new.png", is_anomalous=True, seed=99)
    assert answered(predictor, images.read(tmp_path / "new.png"))["is_anomalous"] is True
    facts = json.loads((tmp_path / "output" / "data" / "report.json").read_text())
    assert "No anomalous image was held out" in facts["judging"]["how"]
    [point] = facts["operating_points"]  # of one class, so a predictive value would be 0 or 1 whatever is answered
    assert point["ppv"]["value"] is point["npv"]["value"] is point["per_1000"] is None
    assert "told at a prevalence" not in (tmp_path / "output" / "data" / "report.html").read_text()
    with pytest.raises(UserError, match="needs anomalous images"):
        run(tmp_path, operating_point="youden")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory_patches": 100_000, "strides": "2,4,8"}, "would take .* MiB, and 25 are allowed"),
        ({"strides": "5"}, "no level of stride 5"),
        ({"model": "no_such_net"}, "no network is called"),
        ({"target_column": "no_such_column"}, "no_such_column"),
        ({"mask_column": "outline"}, "column 'outline' not found"),
        ({"precision": "bf16"}, "precision"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_an_image_is_read(root, tmp_path, changes, message):
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "data").symlink_to(root / "input" / "data")
    with pytest.raises(UserError, match=message):
        run(tmp_path, **changes)
    assert not (tmp_path / "model" / "manifest.json").exists()


def test_the_check_says_what_training_would_refuse(root, tmp_path):
    config = AnomalyConfig.parse({**SETTINGS, "strides": "5", "mask_column": "outline"})
    channels = {"training": root / "input" / "data" / "training"}
    report = ANOMALY.check(config, channels, output=tmp_path, num_workers=0, show_progress=False)
    text = report.as_text()
    assert "no level of stride 5" in text and "column 'outline' not found" in text


def test_the_check_names_the_words_that_only_the_test_set_has(tmp_path):
    write_set(tmp_path, "train", 4, has_anomalies=False, seed=0)
    frame = write_set(tmp_path, "test", 1, has_anomalies=False, seed=500)
    frame.assign(target=["tumour", "unknown", "healthy", "0"]).to_csv(tmp_path / "test.csv", index=False)
    how: dict[str, Any] = {"output": tmp_path / "check", "num_workers": 0, "show_progress": False}
    channels = {"training": tmp_path}
    wanted = [
        ("error", "uncertain labels in 1 of 4 rows: unknown in 1 cell"),
        ("drop", "2 words that no training row has, taken as anomalous: tumour; taken as normal: healthy"),
    ]
    for policy, said in wanted:
        report = ANOMALY.check(AnomalyConfig.parse({**SETTINGS, "on_uncertain": policy}), channels, **how)
        assert said in "\n".join(finding.what for finding in report.findings)
        assert report.num("error") == (policy == "error")


def test_all_that_is_wrong_with_masks_is_said_at_once_by_the_check_and_before_training(tmp_path):
    channel = tmp_path / "input" / "data" / "training"
    frame = write_set(channel, "train", 12, has_anomalies=True, seed=0)
    anomalous = np.flatnonzero(frame["target"] == 1).tolist()
    masks = channel / "train_masks"
    names = frame.loc[anomalous, "image_name"].tolist()
    (masks / names[0]).unlink()
    (masks / names[1]).write_bytes(b"no picture")
    cv2.imwrite(str(masks / names[2]), np.full((40, 48), 255, np.uint8))
    cv2.imwrite(str(masks / names[3]), np.zeros((48, 48), np.uint8))
    cv2.imwrite(str(masks / "spot.png"), np.full((48, 48), 255, np.uint8))
    cv2.imwrite(str(masks / "nothing.png"), np.zeros((48, 48), np.uint8))
    frame.loc[0, "mask"], frame.loc[1, "mask"] = "train_masks/spot.png", "train_masks/nothing.png"
    frame.to_csv(channel / "train.csv", index=False)
    test_frame = write_set(channel, "test", 4, has_anomalies=True, seed=500)
    (channel / "test_masks" / test_frame.loc[7, "image_name"]).unlink()
    wanted = [
        f"1 mask of 8 of the training set is not found: {names[0]}",
        f"1 mask of 8 of the training set cannot be read as a picture: {names[1]}",
        f"has another size than the image: {names[2]} has 48 × 40 pixels, and its image 48 × 48",
        f"is 0 everywhere, though the image is anomalous: {names[3]}",
        "is above 0 somewhere, though the image is normal: spot.png",
        "1 mask of 2 of the test set is not found: test_007.png",
    ]
    config = AnomalyConfig.parse(SETTINGS)
    report = ANOMALY.check(config, {"training": channel}, output=tmp_path, num_workers=0, show_progress=False)
    text = "\n".join(finding.what for finding in report.findings)
    assert [one for one in wanted if one not in text] == [] and "nothing.png" not in text
    with pytest.raises(UserError) as refused:
        run(tmp_path)
    said = "\n".join(error.what for error in refused.value.each)
    assert [one for one in wanted if one not in said] == []
    assert not list((tmp_path / "checkpoints").glob("patches*")) and not (tmp_path / "model" / "manifest.json").exists()


def test_a_slide_in_training_and_validation_is_repaired_and_said(tmp_path):
    channel = tmp_path / "input" / "data" / "training"
    frame = write_set(channel, "train", 8, has_anomalies=True, seed=0)
    frame["set"] = np.where(np.arange(32) < 18, "train", "validation")  # slide 4 is in both
    frame.to_csv(channel / "train.csv", index=False)
    with pytest.raises(UserError, match="train4"):
        run(tmp_path, split="set", on_leak="error")
    found = run(tmp_path, split="set", on_leak="drop", export_graph=False, fit="pad")
    payload = load_manifest(tmp_path / "model").payload
    assert payload["num_normal"] == 14 and found["num_groups"] == 4  # four slides, without the two tiles that leak
    assert payload["counts_bars"] is False


def test_a_stopped_job_goes_on_where_it_was(root, tmp_path):
    """Stopped after its third step; the finished artifact is the whole job's, bit by bit."""
    from lesion.stop import Stop

    class EndsAtThird(Stop):
        num = 0

        @property
        def is_requested(self) -> bool:
            self.num += 1
            if self.num == 3:
                raise KeyboardInterrupt
            return False

    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "data").symlink_to(root / "input" / "data")
    write_hyperparameters(tmp_path, {**SETTINGS, "checkpoint_interval_s": 0, "batch_size_predict": 8})
    job = read_job(tmp_path)
    config = AnomalyConfig.parse(job.hyperparameters)
    with pytest.raises(KeyboardInterrupt):
        ANOMALY.train(replace(job, stop=EndsAtThird()), config)
    assert list((tmp_path / "checkpoints").glob("patches*.safetensors"))
    ANOMALY.train(job, config)
    again = tmp_path / "again"
    (again / "input").mkdir(parents=True)
    (again / "input" / "data").symlink_to(root / "input" / "data")
    run(again, checkpoint_interval_s=0, batch_size_predict=8)
    digests = [load_manifest(one / "model").files["scorer.safetensors"].sha256 for one in (tmp_path, again)]
    assert digests[0] == digests[1]


def test_the_page_lists_this_algorithms_own_hyperparameters():
    names = [name for group in (NormalSettings, ScorerSettings, GanSettings) for name in group.model_fields]
    page = (Path(__file__).parents[2] / "docs" / "anomaly.md").read_text(encoding="utf-8")
    assert table(AnomalyConfig, names) in page
