"""Slide scores: the tiles of a group become one score, judged slide by slide, in training and on a test set."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from jobs import small_frame, small_job
from sklearn.metrics import brier_score_loss

from factories import run_job, sample_frame, write_channel
from lesion.errors import UserError


def frame(num_slides: int = 8) -> pd.DataFrame:
    """Slides of four tiles; every second pair of slides has one positive tile each."""
    rows = sample_frame(num_slides, 4)
    number = np.arange(len(rows))
    return rows.assign(target=((number // 8 % 2 == 1) & (number % 4 == 2)).astype(int)).drop(
        columns=["diagnosis", "benign_malignant"]
    )


def top_two(probs: np.ndarray) -> float:
    return float(np.sort(probs)[-2:].mean())


def test_the_score_of_each_slide_is_made_from_its_tiles_out_of_fold(tmp_path, caplog):
    """By the mean of its two highest; unit/evaluation/test_groups.py has each of the scores."""
    caplog.set_level("INFO", logger="lesion")
    root = small_job(tmp_path, frame=frame(), slide_score="top_k:2", deployment_prevalence=0.5)
    test = frame(5).assign(
        image_name=lambda rows: "T" + rows["image_name"], patient_id=lambda rows: "T" + rows["patient_id"]
    )
    write_channel(root / "input/data/test", test, csv_name="test.csv", image_dir="test_jpg")
    run_job(root)
    output = root / "output" / "data"
    tiles = pd.read_csv(output / "oof.csv").groupby("group")
    slides = pd.read_csv(output / "slides.csv").set_index("slide")
    expected = tiles["judged_probability"].apply(lambda probs: top_two(probs.to_numpy()))
    np.testing.assert_allclose(slides["score"], expected, rtol=1e-5)
    expected = tiles["judged_raw_probability"].apply(lambda probs: top_two(probs.to_numpy()))
    np.testing.assert_allclose(slides["raw_score"], expected, rtol=1e-5)
    assert slides["target"].tolist() == [0, 0, 1, 1] * 2 and slides["tiles"].eq(4).all()
    found = json.loads((output / "metrics.json").read_text())
    assert found["slides"]["num_slides"] == 8 and found["slides"]["score"] == "top_k:2"
    assert found["slides"]["classes"] == {"0": 4, "1": 4}
    expected = brier_score_loss(slides["target"], slides["score"])
    assert found["slides"]["metrics"]["brier"] == pytest.approx(expected)
    assert found["slides"]["notes"]["roc_auc"].startswith("too few positives (4) and too few negatives (4): no AUC")
    assert found["slides"]["notes"]["accuracy"] == "nothing chose a threshold for slides"
    [line] = [record.getMessage() for record in caplog.records if record.getMessage().startswith("slides=")]
    assert line.startswith("slides=8 score=top_k:2 ") and all("=" in part for part in line.split())
    assert f" brier={found['slides']['metrics']['brier']:.4f}" in line
    low, high = found["slides"]["interval_95"]["brier"]
    assert 0 <= low <= high <= 1
    of_test = pd.read_csv(output / "slides_test.csv")
    assert found["test"]["slides"]["num_slides"] == 5 == len(of_test)
    odds = pd.read_csv(output / "submission.csv")["target"].transform(lambda prob: prob / (1 - prob)) * 4 / 28
    at_rows = (odds / (1 + odds)).groupby(test["patient_id"].to_numpy()).apply(lambda p: top_two(p.to_numpy()))
    np.testing.assert_allclose(of_test["score"], at_rows, rtol=1e-4)  # of 32 training tiles four are positive


def test_a_slide_score_of_what_is_no_yes_or_no_is_refused(tmp_path):
    rows = small_frame(9)
    root = small_job(
        tmp_path,
        frame=rows.assign(diagnosis=["a", "b", "c"] * 6),
        slide_score="max",
        target_column="diagnosis",
        metadata_columns="[]",
    )
    with pytest.raises(UserError, match="slide_score=max needs groups and a binary target"):
        run_job(root)
