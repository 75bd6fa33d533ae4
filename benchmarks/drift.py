"""Drift on real pictures: how often new lesions of the same kind raise a false alarm, and which changes are found.

    python benchmarks/drift.py                                        # a short fine-tuning of 1,200 lesions
    python benchmarks/drift.py --set epochs=0 --set head_init=probe
    python benchmarks/drift.py --trained                              # the job that the last run left

Trains mobilenetv2_100 on 1,200 lesions of HAM10000 (three folds), answers 1,500 others as a server does, and
compares draws of these answers and pictures with the artifact, as `lesion drift` does. The scores that the artifact
holds are those of single networks, and those of a server are the ensemble's: what that alone costs is seen here.
Needs the real data beside the project (shared/data). Prints one JSON line; dated copies lie in benchmarks/results/.
"""

# S pictures

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from ham10000 import PROJECT, SETTINGS, SHARED, lay_out, where_and_when
from numpy.typing import NDArray

SMALL = {"image_size": 96, "folds": 3, "epochs": 2, "tta": 1, "metadata_columns": [], "explain": False}
NUM_TRAINED, NUM_NEW, NUM_CHANGED, NUM_DRAWS, SIZES = 1200, 1500, 240, 200, (60, 120, 200, 750)
Row = tuple[dict[str, float], dict[str, bool]]  # the values and the shares of a picture with its answer
CHANGED: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "a tenth less light": lambda image: cv2.convertScaleAbs(image, alpha=0.9),
    "blurred, 1 px at 224": lambda image: cv2.GaussianBlur(image, (0, 0), 1.0),
    "bluer by 8 of 255": lambda image: cv2.add(image, np.array([0, 0, 8, 0], np.float64)),
    "JPEG of quality 50": lambda image: cv2.imdecode(
        cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_COLOR
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another hyperparameter")
    parser.add_argument("--trained", action="store_true", help="do not train again")
    args = parser.parse_args()
    settings = SETTINGS | SMALL | dict(pair.split("=", 1) for pair in args.set)
    root = PROJECT / "build" / "drift"
    table = pd.read_csv(SHARED / "ham10000" / "train.csv").sample(frac=1, random_state=0)
    if not args.trained:
        channel = lay_out(root, {"train_jpg": "ham10000/train_jpg"}, settings)
        table[:NUM_TRAINED].to_csv(channel / "train.csv", index=False)
        subprocess.run([sys.executable, "-m", "lesion.cli", "train", "--root", str(root), "--no-progress"], check=True)

    from lesion.algorithms.classify.algorithm import CLASSIFY

    reference = CLASSIFY.load_reference(root / "model", operating_point=None)
    new = table[NUM_TRAINED : NUM_TRAINED + NUM_NEW]
    paths = [SHARED / "ham10000/train_jpg" / f"{name}.jpg" for name in new["image_name"]]
    asked = {"new lesions": rows_of(paths, root / "model", reference)}
    for name, change in CHANGED.items():
        asked[name] = rows_of(paths[:NUM_CHANGED], root / "model", reference, change)
    whole = sorted((SHARED / "ham10000/multi_200x150_jpg").glob("*.jpg"))[:NUM_CHANGED]
    asked["another framing"] = rows_of(whole, root / "model", reference)
    is_positive = (new["target"] == 1).to_numpy()
    frequent = np.r_[np.flatnonzero(is_positive), np.flatnonzero(~is_positive)[: is_positive.sum()]]
    asked["half melanomas"] = [asked["new lesions"][row] for row in frequent]
    metrics = json.loads((root / "output/data/metrics.json").read_text())["overall"]["metrics"]
    result = {
        "benchmark": "drift",
        **where_and_when(),
        "settings": {name: settings[name] for name in ("model", "image_size", "folds", "epochs")},
        "roc_auc_of_job": round(metrics["roc_auc"], 4),
        "sizes_of_all_new": {
            one.name: round(one.difference.size, 3) for one in compared(asked["new lesions"], reference)
        },
        "draws": {name: draws(rows, reference) for name, rows in asked.items()},
    }
    print(json.dumps(result))


def rows_of(
    paths: list[Path],
    model_dir: Path,
    reference: Any,
    change: Callable[[NDArray[Any]], NDArray[Any]] = lambda image: image,
) -> list[Row]:
    """What a server answers to the changed pictures, and what `lesion drift` measures of them."""
    from lesion.algorithms.base import Options
    from lesion.algorithms.classify.prediction.load import load_predictor
    from lesion.data.decode.images import decode

    predictor = load_predictor(model_dir, device="cpu", num_cores=1)
    rows = []
    for path in paths:
        image = np.ascontiguousarray(change(decode(path.read_bytes(), decode_px=predictor.decode_px)))
        [output] = predictor.executors[0]([predictor.prepare(image, {})])
        told, seen = (
            reference.read_answer(predictor.answer(output, Options()).fields),
            reference.read_image(image, image.shape[:2]),
        )
        rows.append(({**told[0], **seen[0]}, {**told[1], **seen[1]}))
    return rows


def compared(rows: list[Row], reference: Any) -> list[Any]:
    from lesion.drift.compared import compare
    from lesion.drift.gathered import Gathered

    found = Gathered()
    for values, shares in rows:
        found.add(values.items(), {**shares, "refused": False}.items())
    return compare(found, reference)


def draws(rows: list[Row], reference: Any) -> dict[str, Any]:
    """By the number of pictures: the share of draws with any drift, and of each value that drifted in any."""
    rng, told = np.random.default_rng(0), {}
    for size in SIZES:
        if size > len(rows) // 2:
            continue
        alarms, names = 0, Counter()
        for _ in range(NUM_DRAWS):
            chosen = rng.choice(len(rows), size, replace=False)
            drifted = [one.name for one in compared([rows[row] for row in chosen], reference) if one.is_drift]
            alarms += bool(drifted)
            names.update(drifted)
        told[str(size)] = {"any": alarms / NUM_DRAWS, **{name: num / NUM_DRAWS for name, num in names.most_common()}}
    return told


if __name__ == "__main__":
    main()
