"""What each regulariser and each rule of the optimiser changes out of fold, beside the same short fine-tuning without.

    python benchmarks/regularisation.py
    python benchmarks/regularisation.py --seeds 3 --only mixup=0.2 --only ema_decay=0.99

HAM10000's 269 melanomas among 1,500 lesions, images only, two folds of few epochs at a small size, so that a network
overfits within a minute; mobilenetv2_100 from the weights in shared/data. In every round, which has a seed of its own,
the plain job and each setting once, on the same folds. Prints one JSON line; dated copies lie in results/.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pandas as pd
from ham10000 import PROJECT, SETTINGS, SHARED, lay_out, where_and_when

NUM_ROWS = 1500
PLAIN: dict[str, Any] = SETTINGS | {
    "metadata_columns": [],
    "image_size": 64,
    "folds": 2,
    "epochs": 6,
    "optimizer": "adamw",
    "schedule": "cosine",
    "tta": 1,
    "export_graph": False,
}
# One at a time, each at the strength that its paper or timm uses for fine-tuning.
CASES = (
    "layer_decay=0.75",
    "clip_norm=1",
    "weight_decay=0.05",
    "ema_decay=0.99",
    "label_smoothing=0.1",
    "mixup=0.2",
    "cutmix=1",
)
METRICS = ("roc_auc", "average_precision", "log_loss")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="rounds")
    parser.add_argument("--only", action="append", metavar="NAME=VALUE", help="another setting, instead of all")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another value of all jobs")
    parser.add_argument("--root", type=Path, default=PROJECT / "build" / "regularisation")
    args = parser.parse_args()
    plain = PLAIN | dict(pair.split("=", 1) for pair in args.set)
    load_before = os.getloadavg()[0]
    jobs: list[dict[str, Any]] = []
    for seed in range(args.seeds):
        for case in ("plain", *(args.only or CASES)):
            changes = {} if case == "plain" else dict([case.split("=", 1)])
            jobs.append({"case": case, "seed": seed, **run(args.root, plain | changes | {"seed": seed})})
            print(json.dumps(jobs[-1]), file=sys.stderr, flush=True)
    result = {
        "benchmark": "regularisation",
        **where_and_when(),
        "load_before": round(load_before, 1),
        "num_rows": NUM_ROWS,
        "settings": plain | {"pretrained": Path(plain["pretrained"]).name},
        "differences_to_plain": {case: differences(jobs, case) for case in args.only or CASES},
        "jobs": jobs,
    }
    print(json.dumps(result))


def run(root: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """One job: its out-of-fold metrics, the training loss of the last epoch, the minutes that it took."""
    channel = lay_out(root, {"train_jpg": "ham10000/train_jpg"}, settings)
    some_rows().to_csv(channel / "train.csv", index=False)
    started = time.monotonic()
    command = [sys.executable, "-m", "lesion.cli", "train", "--root", str(root), "--no-progress"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    minutes = (time.monotonic() - started) / 60
    output = root / "output" / "data"
    metrics = json.loads((output / "metrics.json").read_text())["overall"]["metrics"]
    losses = last_losses((output / "history.csv").read_text())
    return {
        **{name: round(metrics[name], 4) for name in METRICS},
        "train_loss": round(mean(losses), 4),
        "minutes": round(minutes, 2),
    }


def some_rows() -> pd.DataFrame:
    """All melanomas, and of the other lesions as many as make NUM_ROWS, drawn once for all."""
    table = pd.read_csv(SHARED / "ham10000" / "train.csv", dtype=str)
    is_positive = table["target"] == "1"
    others = table[~is_positive].sample(NUM_ROWS - int(is_positive.sum()), random_state=0)
    return pd.concat([table[is_positive], others]).sort_values("image_name")


def last_losses(history: str) -> list[float]:
    """The training loss of each fold's last epoch."""
    header, *lines = history.splitlines()
    rows = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
    return list({row["fold"]: float(row["train_loss"]) for row in rows}.values())


def differences(jobs: list[dict[str, Any]], case: str) -> dict[str, dict[str, float | None]]:
    """Of each metric the mean over rounds of case − plain, and how far the rounds lie apart (standard deviation)."""
    found: dict[str, dict[str, float | None]] = {}
    for metric in METRICS:
        of = {name: [job[metric] for job in jobs if job["case"] == name] for name in ("plain", case)}
        changes = [a - b for a, b in zip(of[case], of["plain"], strict=True)]
        spread = round(stdev(changes), 4) if len(changes) > 1 else None
        found[metric] = {"mean": round(mean(changes), 4), "sd": spread}
    return found


if __name__ == "__main__":
    main()
