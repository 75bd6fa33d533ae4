"""Words: a job whose table is full of them says each on one line, draws them as they are, and says no metric twice."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path

import pandas as pd
import pytest
from jobs import SMALL, small_frame, small_job

from factories import TINY, draw_picture, write_hyperparameters
from lesion.algorithms.classify.metric_lines import METRIC_LINES
from processes import lesion

FORGED = "\nmetric validation:roc_auc=1.0"
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202e]")
CLASSES = [r"costs $5_$", "under $1_0$\r\n\x1b[2J" + FORGED, "metric validation:roc_auc=1.0 🔬\u202e"]


def roc_aucs(text: str) -> list[str]:
    return re.findall(METRIC_LINES["validation:roc_auc"].regex, text)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Classes, a column's name and cells, patients and a picture's name that no shell would like."""
    frame = small_frame(9).drop(columns=["target", "diagnosis", "benign_malignant", "other_target", "other_words"])
    rows, column = range(len(frame)), f"site{FORGED}"
    frame = frame.assign(
        word=[CLASSES[row % 3] for row in rows],
        patient_id=frame["patient_id"] + FORGED,
        **{column: [f"=cmd|' /C calc'!A0{FORGED}" if row % 4 else "<b>{x}%s" for row in rows]},
    )
    settings = {"target_column": "word", "metadata_columns": json.dumps(["sex", column]), "split": "stratified_kfold"}
    root = small_job(tmp_path_factory.mktemp("words"), frame=frame, on_leak="warn", **settings)
    channel = root / "input" / "data" / "training"
    old, new = frame.loc[0, "image_name"], f"{frame.loc[0, 'image_name']}{FORGED}"
    (channel / "train_jpg" / f"{old}.jpg").rename(channel / "train_jpg" / f"{new}.jpg")
    frame.loc[0, "image_name"] = new
    frame.to_csv(channel / "train.csv", index=False, quoting=csv.QUOTE_ALL)
    return root


def test_a_job_says_every_word_on_one_line_and_its_metrics_once(root):
    ended = lesion("train", "--root", root)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = ended.stdout.splitlines()
    assert all(STAMP.match(line) for line in lines)
    assert not CONTROL.search(ended.stdout + ended.stderr)
    assert len(roc_aucs(ended.stdout + ended.stderr)) == 1
    assert any(r"costs $5_$" in line and r"\r\n\x1b[2J\nmetric" in line for line in lines)
    results = root / "output" / "data"
    table = pd.read_csv(root / "input" / "data" / "training" / "train.csv", dtype=str)
    oof = pd.read_csv(results / "oof.csv", dtype=str)
    assert oof["image_name"].tolist() == table["image_name"].tolist()  # as they are, formulas too
    assert oof["target"].tolist() == table["word"].tolist()
    for name in ("check.html", "report.html", "report.json", "model_card.md", "sagemaker_model_card.json"):
        page = (results / name).read_text()
        assert not CONTROL.search(page) and (not name.endswith("html") or "<b>{x}" not in page), name

    told = lesion("predict", root / "input/data/training/train.csv", "--model", root / "model", "--output", root / "p")
    assert told.returncode == 0 and roc_aucs(told.stdout + told.stderr) == []
    assert set(pd.read_csv(root / "p", dtype=str)["label"]) <= set(CLASSES)


def test_a_check_says_every_word_on_one_line(root, tmp_path):
    settings = (part for pair in ("target_column=word", "folds=2", "on_leak=warn") for part in ("--set", pair))
    ended = lesion("check", root / "input" / "data" / "training", "--output", tmp_path, *settings)
    assert roc_aucs(ended.stdout + ended.stderr) == [] and not CONTROL.search(ended.stdout)
    assert "Traceback" not in ended.stderr


def test_names_of_files_that_are_no_text_are_escapes_and_classes_of_such_names_are_refused(tmp_path):
    channel = tmp_path / "input" / "data" / "training"
    for number in range(16):
        name = os.fsdecode(b"p\xff%d.jpg" % number)
        draw_picture(tmp_path / "new.jpg", is_positive=number % 2 == 1, seed=number)
        folder = channel / ("caf" if number % 2 else "latte")
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / "new.jpg").rename(folder / name)
    write_hyperparameters(tmp_path, {**TINY, **SMALL, "split": "stratified_kfold", "positive_class": "latte"})
    ended = lesion("train", "--root", tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert set(pd.read_csv(tmp_path / "output/data/oof.csv")["image_name"]) >= {r"latte/p\udcff0.jpg"}
    (channel / "caf").rename(channel / os.fsdecode(b"caf\xe9"))
    refused = lesion("train", "--root", tmp_path)
    assert refused.returncode == 2 and r"the name of class 'caf\udce9' is not UTF-8" in refused.stderr
