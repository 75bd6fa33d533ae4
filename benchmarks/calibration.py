"""Is the served ensemble calibrated on patients that no network saw? One training, a third of the patients held out.

    python benchmarks/calibration.py ham | flowers

For the held-out images: calibration slope (1 is right), observed ÷ expected (1), expected calibration error beside the
noise line of as many rows, and log loss; of the networks' averaged probabilities, of the calibrator without the
stretch of the ensemble (decision 50), and as served. Needs the real data beside the project (shared/data). Prints one
JSON line; dated copies lie in benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ham10000 import PROJECT, SETTINGS, SHARED, where_and_when
from numpy.typing import NDArray

SMALL = {"image_size": 96, "epochs": 6, "tta": 3, "folds": 5, "split": "group_kfold", "group_column": "group"}


def tables(task: str) -> tuple[pd.DataFrame, Path]:
    """Image, target and group of every row, and the folder that the images' names are relative to."""
    if task == "ham":
        frame = pd.read_csv(SHARED / "ham10000" / "train.csv")
        images = "ham10000/train_jpg/" + frame["image_name"] + ".jpg"
        return pd.DataFrame({"image_name": images, "target": frame["target"], "group": frame["patient_id"]}), SHARED
    paths = sorted((SHARED / "flowers5").glob("*/*.jpg"))
    rows = {"image_name": [str(path.relative_to(SHARED)) for path in paths], "target": [p.parent.name for p in paths]}
    return pd.DataFrame(rows | {"group": [path.name for path in paths]}), SHARED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=["ham", "flowers"])
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another hyperparameter")
    parser.add_argument("--rows", type=int, default=0, help="so many rows, drawn; 0 takes all")
    args = parser.parse_args()
    frame, folder = tables(args.task)
    if args.rows:
        frame = frame.sample(args.rows, random_state=0)
    groups = np.random.default_rng(0).permutation(frame["group"].unique())
    is_held = frame["group"].isin(groups[: len(groups) // 3])
    root = PROJECT / "build" / "calibration" / args.task
    settings = SETTINGS | SMALL | {"on_leak": "drop"} | dict(pair.split("=", 1) for pair in args.set)
    lay_out(root, folder, frame[~is_held], settings)
    subprocess.run([sys.executable, "-m", "lesion.cli", "train", "--root", str(root), "--no-progress"], check=True)
    overall = json.loads((root / "output" / "data" / "metrics.json").read_text())["overall"]
    print(
        json.dumps(
            {
                "benchmark": f"calibration_{args.task}",
                **where_and_when(),
                "settings": {**settings, "pretrained": Path(settings["pretrained"]).name},
                "rows": [int((~is_held).sum()), int(is_held.sum())],
                "calibration": overall["calibration"],
                "held_out": held_out(root / "model", folder, frame[is_held]),
            }
        )
    )


def lay_out(root: Path, folder: Path, frame: pd.DataFrame, settings: dict[str, Any]) -> None:
    channel = root / "input" / "data" / "training"
    channel.mkdir(parents=True, exist_ok=True)
    frame.to_csv(channel / "train.csv", index=False)
    for images in {Path(image).parent for image in frame["image_name"]}:
        (channel / images).parent.mkdir(exist_ok=True)
        if not (channel / images).is_symlink():
            (channel / images).symlink_to(folder / images)
    (root / "input" / "config").mkdir(exist_ok=True)
    text = {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}
    (root / "input" / "config" / "hyperparameters.json").write_text(json.dumps(text))


def held_out(model: Path, folder: Path, frame: pd.DataFrame) -> dict[str, Any]:
    """How three ways to make one probability of the networks' do on rows that none of them saw."""
    from lesion.algorithms.classify.prediction.answer import combine
    from lesion.algorithms.classify.prediction.load import load_predictor
    from lesion.data.decode import images

    predictor = load_predictor(model, device="cpu", num_cores=2, precision="fp32")
    outputs = []
    names = frame["image_name"].tolist()
    for start in range(0, len(names), 64):
        pictures = [images.read(folder / name) for name in names[start : start + 64]]
        outputs += predictor.compute(pictures, [{}] * len(pictures))
    logits_SFVK = np.stack([output.logits_FVK for output in outputs])
    served = predictor.calibration
    assert served is not None
    ways = {
        "averaged": None,
        "calibrated_without_stretch": replace(served, pooling=replace(served.pooling, disagreement=0.0)),
        "as_served": served,
    }
    target = predictor.target
    if target.kind == "binary":
        truth_SK = frame["target"].to_numpy(dtype=float)[:, None]
    else:
        truth_SK = (frame["target"].to_numpy()[:, None] == np.array(target.class_names)).astype(float)
    return {name: numbers(truth_SK, combine(target, logits_SFVK, way)) for name, way in ways.items()}


def numbers(truth_SK: NDArray[np.float64], prob_SK: NDArray[np.float32]) -> dict[str, Any]:
    from lesion.evaluation.judgement import Rows, judge

    num_rows, num_outputs = truth_SK.shape
    names = [str(k) for k in range(num_outputs)]
    rows = Rows(truth_SK, prob_SK, np.arange(num_rows), names, num_outputs > 1)
    found = judge(rows, num_draws=400)
    told: dict[str, Any] = {"log_loss": round(found["overall"]["log_loss"]["value"], 4)}
    for name, output in found["outputs"].items():
        calibration = output["calibration"]
        told[name] = {
            "slope": [round(calibration["slope"][key], 3) for key in ("value", "low", "high")],
            "observed_to_expected": round(calibration["observed_to_expected"]["value"], 3),
            "ece": round(calibration["ece"]["value"], 4),
            "noise_line": round(calibration["ece"]["noise_line"], 4),
        }
    return told


if __name__ == "__main__":
    main()
