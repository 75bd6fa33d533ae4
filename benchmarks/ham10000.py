"""Five folds on HAM10000 dermoscopy: out-of-fold AUC of `lesion train` beside a linear probe on the same folds.

    python benchmarks/ham10000.py                  # 3,521 lesions, one photograph each
    python benchmarks/ham10000.py --multi          # 2,641 photographs of 1,152 lesions, grouped by lesion

Needs the real data beside the project (shared/data). Prints one JSON line; dated copies lie in benchmarks/results/.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

PROJECT = Path(__file__).parents[1]
SHARED = PROJECT.parent / "shared" / "data"
SETS = {False: ("train.csv", "train_jpg"), True: ("multi_200x150.csv", "multi_200x150_jpg")}
WEIGHTS = SHARED / "weights" / "mobilenetv2_100.safetensors"

# MobileNetV2 is the one network whose ImageNet weights lie in shared/data; they expect this mean, std and padding.
SETTINGS: dict[str, Any] = {
    "model": "mobilenetv2_100",
    "model_args": {"pad_type": "same"},
    "pretrained": str(WEIGHTS),
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "image_size": 160,
    "folds": 5,
    "epochs": 8,
    "batch_size_train": 32,
    "learning_rate": 3e-4,
    "tta": 8,
    "on_leak": "merge_groups",  # ISIC_0034228 and ISIC_0034248 are one lesion under two names
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--multi", action="store_true", help="the set with several photographs a lesion")
    parser.add_argument("--root", type=Path, default=PROJECT / "build" / "ham10000")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another hyperparameter")
    args = parser.parse_args()
    settings = SETTINGS | dict(pair.split("=", 1) for pair in args.set)
    root = args.root.with_name(args.root.name + "_multi") if args.multi else args.root

    csv_name, image_dir = SETS[args.multi]
    files = {"train.csv": f"ham10000/{csv_name}", "train_jpg": f"ham10000/{image_dir}"}
    channel = lay_out(root, files, settings)
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "lesion.cli", "train", "--root", str(root), "--no-progress"], check=True)
    minutes = (time.monotonic() - started) / 60
    oof = pd.read_csv(root / "output" / "data" / "oof.csv")
    result = {
        "benchmark": "ham10000_multi" if args.multi else "ham10000",
        **describe_run(root, settings, minutes),
        "roc_auc_last_epoch_one_view": round(last_epoch_auc(root), 4),
        "probe_roc_auc_pictures": round(linear_probe(channel, oof, settings), 4),
    }
    print(json.dumps(result))


def describe_run(root: Path, settings: dict[str, Any], minutes: float) -> dict[str, Any]:
    """What a finished job under `root` found out of fold, with where and how."""
    metrics = json.loads((root / "output" / "data" / "metrics.json").read_text())
    overall = metrics["overall"]
    return {
        **where_and_when(),
        "settings": settings | {"pretrained": Path(settings["pretrained"]).name},
        "num_rows": overall["num_rows"],
        "num_groups": overall.get("num_groups"),
        "classes": overall["classes"],
        "metrics": {name: round(value, 4) for name, value in overall["metrics"].items()},
        "interval_95": {name: [round(end, 4) for end in ends] for name, ends in overall["interval_95"].items()},
        "roc_auc_of_folds": [round(fold["metrics"]["roc_auc"], 4) for fold in metrics["folds"]],
        "best_epochs": [fold["best_epoch"] for fold in metrics["folds"]],
        "minutes": round(minutes, 1),
    }


def where_and_when() -> dict[str, str]:
    """What a result must say to be compared with another."""
    command = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PROJECT).stdout.strip()
    machine = f"{os.cpu_count()} cores, {platform.machine()}, no GPU"
    return {"date": datetime.date.today().isoformat(), "commit": commit, "machine": machine}


def lay_out(root: Path, files: dict[str, str], settings: dict[str, Any]) -> Path:
    """A job under `root` whose training channel links to the real data: name in the channel → path in shared/data.

    An empty name makes the whole channel a link.
    """
    shutil.rmtree(root, ignore_errors=True)
    channel = root / "input" / "data" / "training"
    channel.parent.mkdir(parents=True)
    if "" not in files:
        channel.mkdir()
    for name, target in files.items():
        (channel / name if name else channel).symlink_to(SHARED / target)
    config = root / "input" / "config" / "hyperparameters.json"
    config.parent.mkdir()
    config.write_text(
        json.dumps({name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()})
    )
    return channel


def last_epoch_auc(root: Path) -> float:
    """Mean over folds of the last epoch's AUC: what is left when the best epoch is not picked on the held-out rows."""
    history = pd.read_csv(root / "output" / "data" / "history.csv")
    return float(history.groupby("fold")["roc_auc"].last().mean())


def linear_probe(channel: Path, oof: pd.DataFrame, settings: dict[str, Any]) -> float:
    """Out-of-fold AUC of logistic regression on the frozen network's features at 224 px, same folds, pictures only."""
    import torch
    from safetensors.torch import load_file
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from lesion.data.decode import images
    from lesion.data.transforms import Preprocess
    from lesion.models.fusion import create_network
    from lesion.models.weights import load_backbone_weights

    preprocess = Preprocess(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    network = create_network(
        settings["model"], SETTINGS["model_args"], preprocess, num_metadata=0, num_outputs=1, seed=0
    ).eval()
    weights = {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in load_file(WEIGHTS).items()
    }
    load_backbone_weights(network.backbone, settings["model"], weights, where=WEIGHTS)
    network.head = torch.nn.Identity()  # the features themselves
    none = torch.zeros(1, 0)
    with torch.inference_mode():
        features = np.concatenate(
            [
                network(
                    torch.from_numpy(
                        preprocess(images.read(channel / "train_jpg" / f"{name}.jpg")).transpose(2, 0, 1)[None]
                    ),
                    none,
                ).numpy()
                for name in oof["image_name"]
            ]
        )
    target, fold = oof["target"].to_numpy(), oof["fold"].to_numpy()
    prob = np.zeros(len(oof))
    for held in range(fold.max() + 1):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=2000))
        model.fit(features[fold != held], target[fold != held])
        prob[fold == held] = model.predict_proba(features[fold == held])[:, 1]
    return float(roc_auc_score(target, prob))


if __name__ == "__main__":
    main()
