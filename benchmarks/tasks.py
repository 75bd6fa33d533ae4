"""Every task on real pictures, out of fold with 95 % intervals: flowers (5 classes), breast tissue by slide, and what
learning fine diagnoses and withholding metadata change on HAM10000.

    python benchmarks/tasks.py flowers | breast | plain | fine | withheld

`plain` is HAM10000 as yes or no, `fine` the same folds and epochs with positive_class=melanoma over seven
diagnoses, `withheld` with metadata_dropout; each also says what the folds answer when a request has no metadata. Needs
the real data beside the project (shared/data). Prints one JSON line; dated copies lie in benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ham10000 import PROJECT, SETTINGS, describe_run, lay_out

HAM = {"train.csv": "ham10000/train.csv", "train_jpg": "ham10000/train_jpg"}
SMALL = {"image_size": 96, "epochs": 4, "tta": 4}
TASKS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    # One pair of tulips is one photograph twice.
    "flowers": (
        {"": "flowers5"},
        {"split": "stratified_kfold", "on_leak": "drop", "image_size": 160, "epochs": 4},
    ),
    "breast": ({"": "ucsb_breast/tiles96"}, {"split": "group_kfold", "folds": 3, "image_size": 96, "epochs": 6}),
    "plain": (HAM, SMALL),
    "fine": (HAM, SMALL | {"target_column": "diagnosis", "positive_class": "melanoma"}),
    "withheld": (HAM, SMALL | {"metadata_dropout": 0.3}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another hyperparameter")
    args = parser.parse_args()
    files, changes = TASKS[args.task]
    settings = SETTINGS | changes | dict(pair.split("=", 1) for pair in args.set)
    root = PROJECT / "build" / "tasks" / args.task
    channel = lay_out(root, files, settings)
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "lesion.cli", "train", "--root", str(root), "--no-progress"], check=True)
    minutes = (time.monotonic() - started) / 60
    result = describe_run(root, settings, minutes) | {"benchmark": args.task}
    if args.task in {"plain", "fine", "withheld"}:
        result["roc_auc_without_metadata"] = round(auc_without_metadata(root, channel), 4)
    print(json.dumps(result))


def auc_without_metadata(root: Path, channel: Path) -> float:
    """Out-of-fold AUC when each row's own fold is asked about the picture alone."""
    from lesion.algorithms.classify.prediction.load import load_predictor
    from lesion.data.decode import images
    from lesion.evaluation.metrics import roc_auc

    oof = pd.read_csv(root / "output" / "data" / "oof.csv")
    prob_S = np.zeros(len(oof))
    for fold, rows in oof.groupby("fold"):
        predictor = load_predictor(root / "model", device="cpu", num_cores=2, fold=int(str(fold)))
        for part in np.array_split(rows.index.to_numpy(), max(len(rows) // 64, 1)):
            pictures = [images.read(channel / "train_jpg" / f"{name}.jpg") for name in oof.loc[part, "image_name"]]
            probs_NK = predictor.predict(pictures, [{}] * len(pictures))
            prob_S[part] = predictor.model.question.judged_columns(probs_NK)[:, 0]
    return roc_auc(oof["target"].to_numpy(), prob_S)


if __name__ == "__main__":
    main()
