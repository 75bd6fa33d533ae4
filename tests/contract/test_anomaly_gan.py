"""The progressive GAN from a job to its answers: what is learned, served, refused; and that a broken job resumes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiles import draw_tile, write_set

from factories import write_hyperparameters
from lesion.algorithms.anomaly.algorithm import ANOMALY
from lesion.algorithms.anomaly.config import AnomalyConfig
from lesion.algorithms.anomaly.gan.scorer import GanScorer
from lesion.algorithms.anomaly.load import load_predictor, load_torch
from lesion.algorithms.anomaly.manifest import read
from lesion.algorithms.base import Options
from lesion.artifact import load_manifest
from lesion.data.decode import images
from lesion.errors import UserError
from lesion.predict_files import predict_files
from lesion.sagemaker import read_job
from lesion.stop import Stop

SETTINGS: dict[str, object] = {
    **{"algorithm": "anomaly", "scorer": "gan", "image_size": 32, "filter_divisor": 32, "stage_pictures": 8},
    **{"inpainting": 8, "compare": "features"},
    **{"held_out": 0.4, "operating_point": "sigma=3", "num_workers": 0},
}


def job_of(root: Path, data: Path, **changes: object) -> Any:
    """A job in `root` on the data of another one."""
    (root / "input").mkdir(parents=True, exist_ok=True)
    if not (root / "input" / "data").exists():
        (root / "input" / "data").symlink_to(data)
    write_hyperparameters(root, {**SETTINGS, **changes})
    return replace(read_job(root), num_cores=1)


def train(job: Any) -> None:
    ANOMALY.train(job, AnomalyConfig.parse(job.hyperparameters))


def weights_digest(root: Path) -> str:
    return load_manifest(root / "model").files["scorer.safetensors"].sha256


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gan") / "data"
    write_set(folder / "training", "train", 8, has_anomalies=True, seed=0)
    write_set(folder / "training", "test", 4, has_anomalies=True, seed=1000)
    return folder


@pytest.fixture(scope="module")
def root(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished job."""
    root = tmp_path_factory.mktemp("job")
    train(job_of(root, data))
    return root


def test_a_job_leaves_an_artifact_metrics_and_a_report(root):
    metrics = json.loads((root / "output" / "data" / "metrics.json").read_text())
    assert metrics["operating_point"]["asked"] == "sigma=3" and metrics["pixels"]["pixel_roc_auc"]["value"] is not None
    assert len(pd.read_csv(root / "output" / "data" / "submission.csv")) == 16
    record = load_manifest(root / "model").payload["scorer"]
    assert record["kind"] == "gan" and record["filters"] == [16, 16, 16, 16]
    assert "4 blocks" in (root / "output" / "data" / "report.html").read_text()


def test_the_report_shows_what_the_gan_makes_of_an_image(root):
    cases = json.loads((root / "output" / "data" / "report.json").read_text())["mistakes"]["cases"]
    assert cases and all(case["reconstruction"].startswith("data:image") for case in cases)
    assert "The reconstruction of" in (root / "output" / "data" / "report.html").read_text()


def test_a_reconstruction_is_what_the_error_is_measured_from(root, data):
    manifest = load_manifest(root / "model")
    predictor = load_torch(root / "model", manifest, read(root / "model", manifest), [torch.device("cpu")])
    [executor] = predictor.executors
    prepared = predictor.prepare(images.read(data / "training" / "test_jpg" / "test_000.png"), {})
    made_HWC = executor.reconstruction(prepared)
    assert made_HWC.dtype == np.uint8 and made_HWC.shape == (32, 32, 3)
    by_colours = GanScorer(executor.scorer.generator, executor.scorer.filters, smoothing_px=1, cell_px=8)
    error_HWC = by_colours.errors(torch.from_numpy(prepared.square_HWC[None]))[0].numpy()  # in-painting: signed
    wanted_HWC = (prepared.square_HWC - 127.5 * error_HWC).clip(0, 255)
    assert made_HWC == pytest.approx(wanted_HWC, abs=0.51)


def test_graph_and_torch_answer_alike_and_the_command_line_too(root, data, tmp_path):
    by_graph = load_predictor(root / "model", device="cpu", num_cores=1)
    by_torch = load_torch(root / "model", by_graph.manifest, by_graph.model, [torch.device("cpu")])
    assert by_graph.backend == "openvino cpu fp32" and by_torch.backend == "torch cpu fp32"
    folder = data / "training" / "test_jpg"
    pictures = [images.read(path) for path in sorted(folder.iterdir())]
    fields = [
        [one.answer(output, Options()).fields for output in one.compute(pictures)] for one in (by_graph, by_torch)
    ]
    assert set(fields[0][0]) == {"anomaly_score", "anomalous_fraction", "is_anomalous"}
    scores = [[answer["anomaly_score"] for answer in answers] for answers in fields]
    assert np.ptp(scores[0]) > 0 and scores[0] == pytest.approx(scores[1], abs=1e-4)
    how: dict[str, Any] = {"device": "cpu", "num_cores": 1, "show_progress": False, "fold": None, "precision": "auto"}
    assert predict_files(folder, output=tmp_path / "out.csv", model_dir=root / "model", **how) == 0
    assert pd.read_csv(tmp_path / "out.csv")["anomaly_score"].tolist() == pytest.approx(scores[0], abs=1e-9)


def test_a_request_and_a_deployment_choose_k_standard_deviations(root, tmp_path):
    draw_tile(tmp_path / "new.png", is_anomalous=True, seed=77)
    picture, predictor = images.read(tmp_path / "new.png"), load_predictor(root / "model", device="cpu", num_cores=1)
    [output] = predictor.compute([picture])
    thresholds = [
        predictor.answer(output, Options(operating_point=f"sigma={k}")).fields["operating_point"]["threshold"]
        for k in (0, 3, 30)
    ]
    assert thresholds == sorted(thresholds) and thresholds[0] < thresholds[1] < thresholds[2]
    normal = predictor.model.operating.normal
    mean, deviation = normal.place_mean, normal.place_deviation
    assert thresholds[1] == pytest.approx((mean + 3 * deviation) / (mean + 3 * deviation + 1))
    with pytest.raises(UserError, match="sigma needs a number of 0 or more"):
        predictor.prepare(picture, {}, Options(operating_point="sigma=-1"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"filters": [16] * 5}, "a GAN of 5 blocks does not take pictures of 32 px"),
        ({"filters": [8] * 4}, "do not fit 'progressive GAN'"),
        ({"smoothing_px": 0}, "smoothing_px"),
        ({"kind": "oracle"}, "payload.scorer"),
    ],
)
def test_a_wrong_artifact_is_refused(root, tmp_path, changes, message):
    shutil.copytree(root / "model", tmp_path / "model")
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    manifest["payload"]["scorer"].update(changes)
    manifest["payload"]["graph"] = None
    (tmp_path / "model" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=message) as refused:
        load_predictor(tmp_path / "model", device="cpu", num_cores=1)
    assert refused.value.kind == "artifact"


@pytest.mark.parametrize("step", [2, 6])
def test_a_job_that_is_stopped_anywhere_ends_in_the_same_weights(root, data, tmp_path, step):
    """Stopped after so many steps of phase 0; masks and mixtures go on as if nothing had been."""

    class EndsAt(Stop):
        num = 0

        @property
        def is_requested(self) -> bool:
            self.num += 1
            if self.num == step:
                raise KeyboardInterrupt
            return False

    job = job_of(tmp_path, data, checkpoint_interval_s=0)
    with pytest.raises(KeyboardInterrupt):
        train(replace(job, stop=EndsAt()))
    assert list((tmp_path / "checkpoints").glob("gan*.safetensors"))
    train(job)
    assert weights_digest(tmp_path) == weights_digest(root)


def test_losses_that_are_never_numbers_end_the_job_in_words(data, tmp_path):
    with pytest.raises(UserError, match=r"NaN or infinite 11 times.*Lower learning_rate") as ended:
        train(job_of(tmp_path, data, reconstruction_weight=1e38))
    assert ended.value.kind == "hyperparameters"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 48}, "image_size=48 is no side of scorer=gan.*32, 64, 128"),
        ({"strides": "4", "model": "resnet18"}, "model is of scorer=memory.*strides is of scorer=memory"),
        ({"scorer": "memory", "image_size": 48, "smoothing": 3}, "filter_divisor is of scorer=gan"),
        ({"filter_divisor": 4}, "compare=features would compare 128 features.*at least 8, or compare=colours"),
        ({"inpainting": 6}, "inpainting=6 is no power of two"),
        ({"inpainting": 32}, "inpainting=32 is more than half of image_size: set at most 16"),
        ({"smoothing": 4}, "needs an odd number, such as 5"),
        ({"precision": "bf16", "device": "cpu"}, "precision=bf16 of scorer=gan needs a GPU"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_an_image_is_read(data, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        train(job_of(tmp_path, data, **changes))
    assert not (tmp_path / "model" / "manifest.json").exists()


def test_the_check_says_what_each_phase_takes(data, tmp_path):
    config = AnomalyConfig.parse(SETTINGS)
    report = ANOMALY.check(config, {"training": data / "training"}, output=tmp_path, num_workers=0, show_progress=False)
    text = " ".join(report.as_text().split())
    assert "phase 0 trains 7 stages of 8 images: about" in text and "GiB" in text and "phases 1" in text


def test_four_groups_are_needed_of_which_one_is_for_the_errors(tmp_path):
    write_set(tmp_path / "data" / "training", "train", 3, has_anomalies=False, seed=0)
    with pytest.raises(UserError, match=r"of 3 groups, and 4 are needed.*one for the errors"):
        train(job_of(tmp_path, tmp_path / "data"))
