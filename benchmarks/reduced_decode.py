"""JPEG's reduced decode beside the whole one: what it changes in answers, and what it saves.

    python benchmarks/reduced_decode.py          # half an hour of one core

Trains mobilenetv2_100 on 1,200 lesions of HAM10000 (three folds), enlarges held-out photographs to what cameras make,
with a sensor's grain, and asks each row's own network about the picture as it is decoded whole, and with `decode_px`.
The second size is the worst that the rule allows: what is decoded is exactly three times the larger square. The third
set is tissue as it was photographed, whose detail is real: only pixels and logits are compared. Needs the real
data beside the project (shared/data). Prints one JSON line; dated copies lie in benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from ham10000 import PROJECT, SETTINGS, SHARED, lay_out, where_and_when
from numpy.typing import NDArray

from lesion.algorithms.classify.prediction.load import load_predictor
from lesion.algorithms.classify.prediction.predictor import Ensemble
from lesion.data.decode import images
from lesion.data.quality.image_quality import image_quality
from lesion.data.transforms import decode_px
from lesion.evaluation.metrics import roc_auc

SIDE = SETTINGS["image_size"]
SMALL = {"folds": 3, "epochs": 3, "tta": 1, "metadata_columns": [], "export_graph": False, "explain": False}
NUM_TRAINED = 1200
SIZES = {"6000×4000": (6000, 4000, 40), "exactly thrice": (6 * decode_px(SIDE), 4 * decode_px(SIDE), 240)}  # and rows
GRAIN = 5.0  # grey levels: a camera's noise at ISO 400 or so


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="a job's folder that an earlier call left, to leave training out")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    root = args.model or PROJECT / "build" / "reduced_decode"
    if args.model is None:
        train(root)
    oof = pd.read_csv(root / "output" / "data" / "oof.csv")
    folds = sorted(set(oof["fold"]))
    predictors = [
        load_predictor(root / "model", device="cpu", num_cores=1, fold=fold, precision="fp32") for fold in folds
    ]
    result: dict[str, Any] = {"benchmark": "reduced_decode", **where_and_when(), "image_size": SIDE}
    result["decode_px"] = decode_px(SIDE)
    for name, (*size, num_asked) in SIZES.items():
        asked = pd.concat([oof[oof["target"] == target][: num_asked // 2] for target in (0, 1)])
        rng = np.random.default_rng(0)
        grain = rng.normal(0, GRAIN, (size[1] + 64, size[0] + 64, 1)).astype(np.int8)
        pictures = [enlarged(row, size, grain, rng) for row in asked["image_name"]]
        result[name] = compared(pictures, [predictors[fold] for fold in asked["fold"]], asked["target"].to_numpy())
    tissue = [encode(images.read(path)) for path in sorted((SHARED / "ucsb_breast" / "tif").glob("*.tif"))]
    result["tissue, by half"] = compared(tissue, [predictors[0]] * len(tissue), None, least_px=384)
    print(json.dumps(result))


def train(root: Path) -> None:
    table = pd.read_csv(SHARED / "ham10000" / "train.csv").sample(frac=1, random_state=0)
    table = table.sort_values("target", ascending=False, kind="stable")[:NUM_TRAINED]
    channel = lay_out(root, {"train_jpg": "ham10000/train_jpg"}, SETTINGS | SMALL)
    table.to_csv(channel / "train.csv", index=False)
    subprocess.run([sys.executable, "-m", "lesion.cli", "train", "--root", str(root), "--no-progress"], check=True)


def enlarged(name: str, size: Sequence[int], grain: NDArray[np.int8], rng: np.random.Generator) -> Any:
    """A function that makes the file, so that one is in memory at a time."""
    top, left = rng.integers(0, 64, 2)

    def make() -> bytes:
        small_HWC = images.read(SHARED / "ham10000" / "train_jpg" / f"{name}.jpg")
        height = small_HWC.shape[1] * size[1] // size[0]
        cut = (small_HWC.shape[0] - height) // 2
        large_HWC = cv2.resize(small_HWC[cut : cut + height], size, interpolation=cv2.INTER_CUBIC)
        grain_HW = grain[top : top + size[1], left : left + size[0], 0]
        noisy = [cv2.add(large_HWC[:, :, c], grain_HW, dtype=cv2.CV_8U) for c in range(3)]
        return images.encode(cv2.merge(noisy), "JPEG")

    return make


def encode(picture: images.Pixels) -> Any:
    content = images.encode(picture, "JPEG", quality=95)
    return lambda: content


def compared(
    pictures: list[Any], predictors: list[Ensemble], target_S: NDArray[Any] | None, *, least_px: int = decode_px(SIDE)
) -> dict[str, Any]:
    """How far pixels, quality and answers move from the whole to the reduced decode, and both ways' CPU time."""
    decode_ms: dict[str, list[float]] = {"whole": [], "reduced": []}
    probs: dict[str, list[float]] = {"whole": [], "reduced": []}
    blurs: dict[str, list[float]] = {"whole": [], "reduced": []}
    grey_levels, sides = [], set()
    for make, predictor in zip(pictures, predictors, strict=True):
        content, squares = make(), {}
        for way, least in (("whole", None), ("reduced", least_px)):
            started = time.thread_time()
            image_HWC = images.decode(content, decode_px=least)
            decode_ms[way].append(1000 * (time.thread_time() - started))
            squares[way] = predictor.model.preprocessing(image_HWC).astype(int)
            probs[way].append(float(predictor.predict([image_HWC], [{}])[0, -1]))
            blurs[way].append(image_quality(image_HWC).blur)
        sides.add(min(image_HWC.shape[:2]))
        differs = np.abs(squares["whole"] - squares["reduced"])
        grey_levels.append((differs.mean(), differs.max()))
    moved = np.abs(np.array(probs["whole"]) - probs["reduced"])
    found: dict[str, Any] = {
        "pictures": len(pictures),
        "decoded to px": sorted(sides),
        "decode_cpu_ms": {way: round(float(np.median(each)), 1) for way, each in decode_ms.items()},
        "grey levels, mean and most": [
            round(float(np.mean([mean for mean, _ in grey_levels])), 2),
            int(max(most for _, most in grey_levels)),
        ],
        "probability moved, mean, 99 %, most": [
            round(float(value), 5) for value in (moved.mean(), np.quantile(moved, 0.99), moved.max())
        ],
        "blur, median": {way: round(float(np.median(each)), 4) for way, each in blurs.items()},
        "blur moved, most": round(float(np.abs(np.array(blurs["whole"]) - blurs["reduced"]).max()), 4),
    }
    if target_S is not None:
        found["auc"] = {way: round(float(roc_auc(target_S, np.array(each))), 5) for way, each in probs.items()}
    return found


if __name__ == "__main__":
    main()
