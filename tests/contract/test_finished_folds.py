"""Finished folds: whatever goes wrong after training, the folds that are finished are not lost."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from jobs import Trained, run, small_job
from torch import nn

from lesion.algorithms.classify.prediction.load import load_predictor
from lesion.data.decode import images
from lesion.errors import UserError


class AtText(logging.Handler):
    """Does something when a line with a certain text is logged: an accident at a chosen moment."""

    def __init__(self, text: str, accident: object) -> None:
        super().__init__(logging.INFO)
        self._text, self._accident = text, accident

    def emit(self, record: logging.LogRecord) -> None:
        if self._text in record.getMessage():
            self._accident()  # type: ignore[operator]


def test_results_lie_there_when_the_test_set_cannot_be_predicted(tmp_path, caplog):
    """A test picture goes once the folds are trained, as a disk or a mount may."""
    caplog.set_level(logging.INFO, "lesion")
    root = small_job(tmp_path, has_test=True, epochs=2)
    [picture, *_] = sorted((root / "input/data/training/test_jpg").iterdir())
    handler = AtText("fold=1 best_epoch", lambda: picture.unlink(missing_ok=True))
    logging.getLogger("lesion").addHandler(handler)
    try:
        with pytest.raises(UserError, match=picture.name):
            run(root)
    finally:
        logging.getLogger("lesion").removeHandler(handler)
    trained, output = Trained(root), root / "output" / "data"
    assert len(trained.digests) == 2 and len(trained.oof) == 12
    metrics = json.loads((output / "metrics.json").read_text())
    assert 0 <= metrics["overall"]["metrics"]["brier"] <= 1 and "test" not in metrics
    assert (output / "report.html").exists() and not (output / "submission.csv").exists()
    assert trained.manifest["metrics"]["overall"]["interval_95"] == metrics["overall"]["interval_95"]


@pytest.fixture
def passes() -> Iterator[list[int]]:
    """How many squares each forward pass outside of training takes: of the first convolution of each."""
    sizes: list[int] = []

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if isinstance(module, nn.Conv2d) and module.in_channels == 3 and not module.training:
            sizes.append(len(inputs[0]))

    handle = nn.modules.module.register_module_forward_pre_hook(note)
    yield sizes
    handle.remove()


@pytest.mark.parametrize("size", [1, 5])
def test_no_pass_after_training_is_larger_than_the_user_allowed(tmp_path, passes, size):
    """Three views of each picture, a test set, and the graph, which torch's answers are compared with."""
    run(small_job(tmp_path, has_test=True, batch_size_predict=size, tta=3, export_graph=True))
    assert max(passes) == size


def test_the_logits_in_oof_csv_are_those_of_the_probabilities(tmp_path):
    oof = run(small_job(tmp_path, calibration="none")).oof
    np.testing.assert_allclose(1 / (1 + np.exp(-oof["logit"])), oof["probability"], atol=1e-6)


def test_the_logits_of_several_classes_are_told_for_each(tmp_path):
    settings = {"target_column": "other_fold", "split": "stratified_group_kfold", "metadata_columns": []}
    settings["calibration"] = "none"
    oof = run(small_job(tmp_path, **settings)).oof
    logits, probs = (oof[[f"{kind}_{name}" for name in "012"]].to_numpy() for kind in ("logit", "probability"))
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), probs, atol=1e-6)


def test_how_networks_differ_is_measured_on_rows_that_they_were_trained_on(tmp_path):
    """With repeats each row is held out by a network of each. Recomputed from oof.csv and the networks' answers."""
    trained = run(small_job(tmp_path, repeats=2, epochs=3, calibration="platt"))
    oof = trained.oof.sort_values("fold", kind="stable").reset_index(drop=True)
    chosen = oof.loc[np.linspace(0, len(oof) - 1, 16).astype(int), "image_name"]
    predictor = load_predictor(tmp_path / "model", device="cpu", num_cores=1)
    table = pd.read_csv(trained.channel / "train.csv", keep_default_na=False).set_index("image_name")
    columns = ["sex", "age_approx", "anatom_site_general_challenge"]
    pictures = [images.read(trained.channel / "train_jpg" / f"{name}.jpg") for name in chosen]
    outputs = predictor.compute(pictures, table.loc[chosen, columns].to_dict("records"))
    logit_SF = np.array([output.logits_FVK[:, 0, 0] for output in outputs])
    is_held_SF = [[name in set(oof.loc[oof["fold"] == fold, "image_name"]) for fold in range(4)] for name in chosen]
    assert np.sum(is_held_SF, axis=1).tolist() == [2] * 16
    between = np.nanvar(np.where(is_held_SF, np.nan, logit_SF), axis=1, ddof=1).mean()
    share = json.loads((tmp_path / "output/data/metrics.json").read_text())["overall"]["calibration"]
    expected = between / oof["logit"].var(ddof=1)
    assert expected < 0.5  # the most that is told
    assert share["variance_share_between_networks"] == pytest.approx(expected, rel=1e-3)


def test_a_row_that_several_folds_held_out_is_the_mean_of_their_answers(tmp_path):
    """Each repeat deals other folds; metrics.json pools a row's answers into one."""
    root: Path = run(small_job(tmp_path, repeats=2, tta=2)).root
    oof = Trained(root).oof
    assert (oof.groupby("image_name").size() == 2).all()
    pooled: pd.DataFrame = oof.groupby("image_name")[["judged_probability", "target"]].mean()
    metrics = json.loads((root / "output/data/metrics.json").read_text())["overall"]["metrics"]
    assert metrics["brier"] == pytest.approx(((pooled["judged_probability"] - pooled["target"]) ** 2).mean(), abs=1e-6)
