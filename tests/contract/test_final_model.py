"""final_model: one network instead of the folds', from training to answers, and which figure says what it is worth."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from checks import DataSet, errors
from jobs import Trained, draw_weights, run, small_frame, small_job
from safetensors.torch import load_file
from sklearn.metrics import log_loss

import processes
from lesion.algorithms.base import Options
from lesion.algorithms.classify.manifest import FamiliarityRecord
from lesion.algorithms.classify.prediction.load import load_predictor
from lesion.data.decode import images
from lesion.errors import UserError

FRAME = small_frame(12)
SETTINGS: dict[str, Any] = {"frame": FRAME, "folds": 3, "epochs": 3, "metadata_columns": ["age_approx"]}


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trained]:
    """The job of each final model, trained once; not to be written to."""
    trained: dict[str, Trained] = {}

    def of(kind: str) -> Trained:
        if kind not in trained:
            root = tmp_path_factory.mktemp(kind)
            settings = {**SETTINGS, "has_test": True, "export_graph": True}
            trained[kind] = run(small_job(root, final_model=kind, **settings))
        return trained[kind]

    return of


def metrics_of(trained: Trained) -> dict[str, Any]:
    return dict(json.loads((trained.root / "output/data/metrics.json").read_text()))


def report_of(trained: Trained) -> dict[str, Any]:
    return dict(json.loads((trained.root / "output/data/report.json").read_text()))


@pytest.mark.parametrize("kind", ["refit", "soup"])
def test_one_network_is_served_and_it_is_said_how_it_was_judged(jobs, kind):
    trained = jobs(kind)
    assert trained.payload["final_model"] == kind
    assert [record["file"] for record in trained.payload["folds"]] == [f"{kind}.safetensors"]
    assert trained.payload["graph"] is not None  # what a CPU serves agrees with torch
    told, report = metrics_of(trained)["final_model"], report_of(trained)
    card = (trained.root / "output/data/model_card.md").read_text()
    assert told["kind"] == kind and told["networks"] == 1
    word = {"refit": "cross-validation estimate", "soup": "held back from all folds"}[kind]
    assert word in told["judged"] and word in report["judging"]["how"] and word in card
    served = {"refit": "one network, trained again on all rows", "soup": "the mean of the folds' weights"}[kind]
    assert served in report["judging"]["served"] and served in card
    predictor = load_predictor(trained.root / "model", device="cpu", num_cores=1)
    described = predictor.describe()
    assert described["final_model"] == told and described["folds"] == []
    record = FamiliarityRecord(file="familiarity.safetensors", num_rows=24, folds=(0,), rare=0.02)
    unusual = predictor.with_record(predictor.manifest, predictor.model.model_copy(update={"familiarity": record}))
    of = {"refit": "training_images", "soup": "held_out_images"}[kind]  # a refit held none out
    assert unusual.describe()["familiarity"] == {"unfamiliar_below": 0.02, of: 24}
    picture = images.read(next((trained.channel / "train_jpg").iterdir()))
    [output] = predictor.compute([picture], [{}])
    fields = predictor.answer(output, Options(details=True)).fields
    assert fields["final_model"] == kind and "folds" not in fields and "spread" not in fields
    with pytest.raises(UserError, match=f"one network, a {kind}"):
        load_predictor(trained.root / "model", device="cpu", num_cores=1, fold=0)


def test_a_refit_is_judged_by_folds_at_the_epoch_that_the_others_chose(jobs):
    """From history.csv and oof.csv: each fold's rows at the median of the best epochs of the other two, of which the
    earlier counts, are what the metrics are made of. The folds are those of the ensemble, to the last bit."""
    trained, ensemble = jobs("refit"), jobs("ensemble")
    folds = trained.learned[trained.learned["fold"] != "refit"]
    pd.testing.assert_frame_equal(
        folds.drop(columns="fold"), ensemble.learned.drop(columns="fold"), check_like=True, check_exact=True
    )
    best = folds.groupby(folds["fold"].astype(int))["roc_auc"].apply(lambda of: int(np.argmax(of.to_numpy())))
    oof, metrics = trained.oof, metrics_of(trained)
    for fold in range(3):
        epoch = min(best[other] for other in range(3) if other != fold)
        of_epoch = folds[(folds["fold"].astype(int) == fold) & (folds["epoch"] == epoch)].iloc[0]
        rows = oof[oof["fold"] == fold]
        raw_loss = log_loss(rows["target"], rows["judged_raw_probability"])  # scikit-learn's
        assert raw_loss == pytest.approx(of_epoch["log_loss"], rel=1e-4)
    assert metrics["final_model"]["epochs"] == sorted(best)[1] + 1
    assert metrics["overall"]["num_rows"] == len(FRAME)


def test_a_refit_trains_on_all_rows_for_the_epochs_and_rates_of_the_folds(tmp_path):
    """Rates that fall after each epoch without a better one, and a refit that follows the median of them."""
    settings = {**SETTINGS, "epochs": 6, "lr_patience": 0, "metric": "log_loss", "learning_rate": 0.02}
    trained = run(small_job(tmp_path, final_model="refit", **settings))
    folds, refit = (trained.history[trained.history["fold"].eq("refit") == is_refit] for is_refit in (False, True))
    best = sorted(int(of["log_loss"].to_numpy().argmin()) for _, of in folds.groupby("fold"))
    assert len(refit) == best[1] + 1
    for epoch, rate in zip(refit["epoch"], refit["lr"], strict=True):
        rates = sorted(folds.loc[folds["epoch"] == epoch, "lr"])
        assert rate == pytest.approx(rates[len(rates) // 2])
    assert refit["lr"].nunique() > 1  # else it shows nothing
    ages = pd.to_numeric(FRAME["age_approx"]).dropna()
    [column] = trained.payload["folds"][0]["metadata"]
    assert column["mean"] == pytest.approx(ages.mean())  # of all rows, not of two thirds


def test_a_soup_is_judged_on_patients_that_no_fold_was_trained_on(jobs, tmp_path):
    """Those of the last of one fold more."""
    metrics, oof = metrics_of(jobs("soup")), jobs("soup").oof
    one_more = run(small_job(tmp_path, **{**SETTINGS, "folds": 4, "epochs": 1})).oof
    assert set(oof["group"]) == set(one_more.loc[one_more["fold"] == 3, "group"])
    assert metrics["overall"]["num_rows"] == len(oof) == 6
    assert jobs("soup").history.groupby("fold").size().tolist() == [3, 3, 3]


def test_pixels_that_are_held_back_change_no_weight_of_a_soup(jobs, tmp_path):
    root = small_job(tmp_path, final_model="soup", **SETTINGS, has_test=True, export_graph=True)
    rng = np.random.default_rng(0)
    for name in jobs("soup").oof["image_name"]:
        noise_HWC = rng.integers(0, 256, (64, 80, 3), dtype=np.uint8)
        cv2.imwrite(str(root / "input/data/training/train_jpg" / f"{name}.jpg"), noise_HWC)
    assert run(root).digests == jobs("soup").digests


@pytest.mark.parametrize("kind", ["refit", "soup"])
def test_one_network_of_linear_probes_keeps_the_pretrained_backbone(tmp_path, kind):
    """BatchNorm's statistics too, which training pictures would change."""
    start = draw_weights(tmp_path / "start.safetensors")
    settings = {**SETTINGS, "model": "test_resnet", "pretrained": start, "head_init": "probe", "epochs": 0}
    trained = run(small_job(tmp_path / "job", final_model=kind, **settings))
    weights, before = load_file(tmp_path / "job" / "model" / f"{kind}.safetensors"), load_file(Path(start))
    assert weights["head.weight"].abs().max() > 0
    for name in ("conv1.0.weight", "bn1.weight", "bn1.running_mean", "bn1.running_var"):
        assert torch.equal(weights[f"backbone.{name}"], before[name]), name
    assert metrics_of(trained)["final_model"].get("epochs", 0) == 0


def test_a_soup_keeps_the_statistics_that_no_fold_trained_and_renews_the_others(tmp_path):
    """With batch_norm=frozen those of the backbone are the pretrained ones, those of the metadata are trained."""
    start = draw_weights(tmp_path / "start.safetensors")
    settings = {**SETTINGS, "epochs": 1, "model": "test_resnet", "pretrained": start, "batch_norm": "frozen"}
    run(small_job(tmp_path / "job", final_model="soup", **settings))
    weights, before = load_file(tmp_path / "job" / "model" / "soup.safetensors"), load_file(Path(start))
    statistics = {name for name in weights if name.endswith(("running_mean", "running_var"))}
    of_backbone = {name for name in statistics if name.startswith("backbone.")}
    assert of_backbone and statistics - of_backbone
    for name in of_backbone:
        assert torch.equal(weights[name], before[name.removeprefix("backbone.")]), name
    for name in statistics - of_backbone:
        assert not torch.allclose(weights[name], torch.full_like(weights[name], float(name.endswith("var")))), name


class Killed(logging.Handler):
    """Ends the job at a line of the log."""

    def __init__(self, text: str) -> None:
        super().__init__(logging.INFO)
        self._text = text

    def emit(self, record: logging.LogRecord) -> None:
        if self._text in record.getMessage():
            raise KeyboardInterrupt


def killed_at(text: str, root: Path) -> Trained:
    handler = Killed(text)
    logging.getLogger("lesion").addHandler(handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(root)
    finally:
        logging.getLogger("lesion").removeHandler(handler)
    return Trained(root)


@pytest.mark.parametrize(
    ("kind", "line"), [("refit", "refit epoch=0"), ("refit", "step=decide"), ("soup", "soup of 3")]
)
def test_a_job_killed_after_its_folds_ends_in_the_same_network(jobs, tmp_path, caplog, kind, line):
    """Until then its artifact is the ensemble of the folds, and says so."""
    caplog.set_level(logging.INFO, "lesion")
    settings = {**SETTINGS, "has_test": True, "export_graph": True, "checkpoint_interval_s": 0}
    stopped = killed_at(line, small_job(tmp_path, final_model=kind, **settings))
    assert stopped.payload["final_model"] == "ensemble" and len(stopped.payload["folds"]) == 3
    assert stopped.manifest["metrics"]["final_model"]["kind"] == "ensemble"
    folds = [load_file(tmp_path / "model" / f"fold_{fold}.safetensors") for fold in range(3)]
    assert run(tmp_path).digests == jobs(kind).digests
    if kind == "soup":
        weights = load_file(tmp_path / "model" / "soup.safetensors")
        for name in ("backbone.conv1.0.weight", "head.weight", "head.bias"):
            torch.testing.assert_close(weights[name], torch.stack([fold[name] for fold in folds]).mean(dim=0))
        mean = torch.stack([fold["backbone.bn1.running_var"] for fold in folds]).mean(dim=0)
        assert not torch.allclose(weights["backbone.bn1.running_var"], mean, rtol=1e-6)  # computed anew


@pytest.mark.parametrize("parallel", ["folds", "data"])
def test_a_refit_of_two_processes_is_that_of_one(tmp_path, parallel):
    """By the leader where each process trains folds of its own, and by both where they train each fold together."""
    settings = {"model": "test_convnext", "metadata_columns": [], "frame": small_frame(10), "metric": "log_loss"}
    settings |= {"final_model": "refit", "epochs": 2, "batch_size_train": 5}
    alone = run(small_job(tmp_path / "alone", **settings))
    root = small_job(tmp_path / "both", **settings, processes=2, parallel=parallel)
    cores = sorted(os.sched_getaffinity(0))[:2]
    assert processes.train(root, cores=cores).wait(processes.LIMIT_S) == 0, (root / "log").read_text()
    one, other = (load_file(job / "model" / "refit.safetensors") for job in (alone.root, root))
    torch.testing.assert_close(other, one, rtol=0, atol=5e-5)  # as test_processes.py allows
    assert (root / "log").read_text().count("refit epoch=1") == 1


@pytest.mark.parametrize("kind", ["refit", "soup"])
def test_one_network_needs_folds(tmp_path, kind):
    """A set for validation is judged by one network, and is not to be trained on."""
    sets = ["validation" if patient < "P004" else "train" for patient in FRAME["patient_id"]]
    root = small_job(tmp_path, frame=FRAME.assign(other_fold=sets), final_model=kind, split="other_fold")
    with pytest.raises(UserError, match=f"final_model={kind}.*there is a validation set"):
        run(root)


@pytest.mark.parametrize(
    ("num_folds", "words"),
    [
        (4, r"fold [0-2] has no training row of class seen .fold 3 is held back from all.*final_model=ensemble"),
        (2, "final_model=soup is made of 3 folds or more, and there are 2"),
    ],
)
def test_a_class_that_a_fold_of_a_soup_would_not_see_is_refused_by_the_check(tmp_path, num_folds, words):
    """Its two patients are in one fold and in the one that is held back."""
    number = np.arange(len(FRAME)) // 2
    is_rare = np.isin(number, [0, num_folds - 1]) & (np.arange(len(FRAME)) % 2 == 0)
    kinds = np.where(is_rare, "seen", FRAME["diagnosis"])
    frame = FRAME.assign(diagnosis=kinds, other_fold=number % num_folds)
    settings = {"target_column": "diagnosis", "metric": "log_loss", "split": "other_fold", "final_model": "soup"}
    report = DataSet(tmp_path / "training", frame).check(**settings, metadata_columns=[])
    [error] = errors(report)
    assert re.search(words, f"{error.what} {error.do}")


def test_one_network_answers_alike_over_http_in_a_folder_and_as_onnx(jobs, tmp_path):
    trained = jobs("refit")
    names = sorted(path.name for path in (trained.channel / "test_jpg").iterdir())[:3]
    server = processes.Server.start(trained.root, tmp_path / "log").wait_until_ready()
    try:
        asked = [server.ask((trained.channel / "test_jpg" / name).read_bytes(), map="true") for name in names]
    finally:
        server.stop()
    served = [answer.json()["predictions"][0]["probability"] for answer in asked]
    folder = tmp_path / "three"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes((trained.channel / "test_jpg" / name).read_bytes())
    table = tmp_path / "predicted.csv"
    told = processes.lesion("predict", folder, "--model", trained.root / "model", "--output", table)
    assert told.returncode == 0, told.stderr
    assert pd.read_csv(table)["probability"].tolist() == pytest.approx(served, abs=1e-5)
    told = processes.lesion("export", "onnx", "--model", trained.root / "model", "--output", tmp_path / "model.onnx")
    assert told.returncode == 0 and (tmp_path / "model.onnx").is_file(), told.stderr
    told = processes.lesion("explain", folder, "--model", trained.root / "model", "--output", tmp_path / "maps")
    assert told.returncode == 0, told.stderr
    assert len(pd.read_csv(tmp_path / "maps" / "explanations.csv")) == 3


def test_one_network_is_judged_on_another_hospitals_set_by_what_it_answers_there(jobs, tmp_path):
    """By scikit-learn's log loss; the job's own training set stands for the other hospital's."""
    trained, other, output = jobs("soup"), tmp_path / "other", tmp_path / "evaluation"
    other.mkdir()
    (other / "train.csv").write_bytes((trained.channel / "train.csv").read_bytes())
    (other / "train_jpg").symlink_to(trained.channel / "train_jpg")
    told = processes.lesion("evaluate", other, "--model", trained.root / "model", "--output", output)
    assert told.returncode == 0, told.stderr
    rows = pd.read_csv(output / "predictions.csv")
    metrics = json.loads((output / "metrics.json").read_text())
    assert len(rows) == len(FRAME) and metrics["overall"]["num_rows"] == len(FRAME)
    loss = log_loss(rows["target"], rows["probability"])
    assert metrics["overall"]["metrics"]["log_loss"] == pytest.approx(loss, rel=1e-4)
