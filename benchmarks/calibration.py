"""Are probabilities calibrated, out of fold and as served to patients that no network saw? One training, a third of
the patients (breast tissue: of the slides) held out; with --all none, and every row is judged out of fold.

    python benchmarks/calibration.py ham | flowers | breast [--all]

Out of fold, by oof.csv as `lesion train` left it, and for the held-out images: calibration slope (1 is right; of
several classes together, and of each against the rest), observed ÷ expected (1), expected calibration error beside the
noise line of as many rows, and log loss. Out of fold of the judged probabilities and of those before calibration;
held out of the networks' averaged probabilities, of the calibrator without the stretch of the ensemble (decision 50),
and as served. With --trained the job that the last call left is judged again. Needs the real data beside the project
(shared/data). Prints one JSON line; dated copies lie in benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pandas as pd
from ham10000 import PROJECT, SETTINGS, SHARED, where_and_when
from numpy.typing import NDArray

TILES = PROJECT / "build" / "calibration" / "breast_tiles"
SMALL = {"image_size": 96, "epochs": 6, "tta": 3, "folds": 5, "split": "group_kfold", "group_column": "group"}


def tables(task: str) -> tuple[pd.DataFrame, Path]:
    """Image, target and group of every row, and the folder that the images' names are relative to."""
    if task == "ham":
        frame = pd.read_csv(SHARED / "ham10000" / "train.csv")
        images = "ham10000/train_jpg/" + frame["image_name"] + ".jpg"
        return pd.DataFrame({"image_name": images, "target": frame["target"], "group": frame["patient_id"]}), SHARED
    if task == "breast":
        return breast_tiles(), TILES
    paths = sorted((SHARED / "flowers5").glob("*/*.jpg"))
    rows = {"image_name": [str(path.relative_to(SHARED)) for path in paths], "target": [p.parent.name for p in paths]}
    return pd.DataFrame(rows | {"group": [path.name for path in paths]}), SHARED


def breast_tiles() -> pd.DataFrame:
    """The tiles of the HDF5 file as pictures below build/, so that slides can be held out of a table of them."""
    source = SHARED / "ucsb_breast" / "tiles96"
    meta = pd.read_csv(source / "meta.csv", index_col=0)
    (TILES / "tiles").mkdir(parents=True, exist_ok=True)
    with h5py.File(source / "pcam_like_x.h5") as file:
        for number, tile_HWC in enumerate(file["x"]):
            cv2.imwrite(str(TILES / "tiles" / f"{number:04d}.png"), cv2.cvtColor(tile_HWC, cv2.COLOR_RGB2BGR))
    with h5py.File(source / "pcam_like_y.h5") as file:
        target = file["y"][:].ravel().astype(int)
    images = [f"tiles/{number:04d}.png" for number in meta.index]
    return pd.DataFrame({"image_name": images, "target": target, "group": meta["wsi"]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=["ham", "flowers", "breast"])
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another hyperparameter")
    parser.add_argument("--rows", type=int, default=0, help="so many rows, drawn; 0 takes all")
    parser.add_argument("--all", action="store_true", help="no rows are held out")
    parser.add_argument("--trained", action="store_true", help="judge the job that the last call left")
    args = parser.parse_args()
    frame, folder = tables(args.task)
    if args.rows:
        frame = frame.sample(args.rows, random_state=0)
    groups = np.random.default_rng(0).permutation(frame["group"].unique())
    is_held = frame["group"].isin(groups[: 0 if args.all else len(groups) // 3])
    recipe = dict(pair.split("=", 1) for pair in args.set).get("recipe", "")
    root = PROJECT / "build" / "calibration" / "-".join(filter(None, [args.task, "all" * args.all, recipe]))
    settings = SETTINGS | SMALL | {"on_leak": "drop"} | dict(pair.split("=", 1) for pair in args.set)
    if not args.trained:
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
                "out_of_fold": out_of_fold(root / "output" / "data" / "oof.csv"),
                "held_out": held_out(root / "model", folder, frame[is_held]) if is_held.any() else None,
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


def out_of_fold(path: Path) -> dict[str, Any]:
    """How the probabilities that the job's metrics are made of do, and the same before calibration."""
    oof = pd.read_csv(path)
    told = {}
    for name, column in (("judged", "judged_probability"), ("before_calibration", "judged_raw_probability")):
        classes = [one.removeprefix(f"{column}_") for one in oof if one.startswith(f"{column}_")]
        of_target = oof["target"].to_numpy()
        truth_SK = of_target[:, None] == np.array(classes) if classes else of_target[:, None]
        prob_SK = oof[[f"{column}_{one}" for one in classes] or [column]].to_numpy()
        told[name] = numbers(truth_SK.astype(float), prob_SK, oof["group"].to_numpy())
    return told


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
    group_S = frame["group"].to_numpy()
    told = {name: numbers(truth_SK, combine(target, logits_SFVK, way), group_S) for name, way in ways.items()}
    single_SK = combine(target, logits_SFVK[:, :1], served)
    return {"one_network": numbers(truth_SK, single_SK, group_S), **told}


def numbers(truth_SK: NDArray[np.float64], prob_SK: NDArray[Any], group_S: NDArray[Any]) -> dict[str, Any]:
    from lesion.evaluation.judgement import Rows, judge

    num_rows, num_outputs = truth_SK.shape
    names = [str(k) for k in range(num_outputs)]
    rows = Rows(truth_SK, prob_SK, group_S, names, num_outputs > 1)
    found = judge(rows, num_draws=400)
    told: dict[str, Any] = {
        "rows": num_rows,
        "groups": len(np.unique(group_S)),
        "log_loss": round(found["overall"]["log_loss"]["value"], 4),
    }
    if num_outputs > 1:
        told["slope_of_classes"] = rounded(found["calibration_slope"])
        top = found["calibration_of_top_class"]
        told["top_class"] = {"ece": round(top["value"], 4), "noise_line": round(top["noise_line"], 4)}
    for name, output in found["outputs"].items():
        calibration = output["calibration"]
        told[name] = {
            "slope": rounded(calibration["slope"]),
            "observed_to_expected": round(calibration["observed_to_expected"]["value"], 3),
            "ece": round(calibration["ece"]["value"], 4),
            "noise_line": round(calibration["ece"]["noise_line"], 4),
        }
    return told


def rounded(estimate: dict[str, Any]) -> list[float | None]:
    """Value and interval."""
    return [None if (value := estimate.get(key)) is None else round(value, 3) for key in ("value", "low", "high")]


if __name__ == "__main__":
    main()
