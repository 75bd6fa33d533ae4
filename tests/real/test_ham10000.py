"""Real dermoscopy, small: what the whole of `benchmarks/ham10000.py` does, on 320 pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd

from factories import run_job, write_hyperparameters


def test_real_lesions_are_told_apart_from_pretrained_weights(shared_data: Path, tmp_path: Path):
    frame = pd.read_csv(shared_data / "ham10000" / "train.csv")
    chosen = pd.concat([frame[frame["target"] == 1].head(120), frame[frame["target"] == 0].head(200)])
    channel = tmp_path / "input" / "data" / "training"
    (channel / "train_jpg").mkdir(parents=True)
    chosen.to_csv(channel / "train.csv", index=False)
    for name in chosen["image_name"]:
        shutil.copy(shared_data / "ham10000" / "train_jpg" / f"{name}.jpg", channel / "train_jpg")
    write_hyperparameters(
        tmp_path,
        {
            "model": "mobilenetv2_100",
            "model_args": {"pad_type": "same"},
            "pretrained": shared_data / "weights" / "mobilenetv2_100.safetensors",
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
            "image_size": 128,
            "folds": 2,
            "epochs": 3,
            "batch_size_train": 16,
            "learning_rate": 5e-4,
            "split": "stratified_group_kfold",
            "explain": False,  # maps take longer than the training, and test_explain.py looks at them
        },
    )

    run_job(tmp_path)

    overall = json.loads((tmp_path / "output" / "data" / "metrics.json").read_text())["overall"]
    assert overall["num_rows"] == 320 and list(overall["classes"].values()) == [200, 120]
    # 0.92 (95 % 0.88 to 0.94) on 2026-12-01; chance is 0.5.
    assert overall["metrics"]["roc_auc"] > 0.82
