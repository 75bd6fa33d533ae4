"""Dermoscopy: the data set that a comparison is run on. Real pictures, small as they are or enlarged, in five folds.

`table.csv` (path, target, fold) is what the peers read; `channel/` (train.csv and links) is the same for Lesion.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from ham10000 import SHARED
from PIL import Image
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

HAM = SHARED / "ham10000"
ONE_LESION = {"ISIC_0034248": "ISIC_0034228"}  # one lesion under two names
LARGE = (1024, 768)  # width and height of usual dermoscopy


def lay_out_pictures(root: Path, *, size: str, num_pictures: int | None, num_folds: int = 5) -> pd.DataFrame:
    """The table of `num_pictures` pictures (None: all 3,521), which `root` holds afterwards in both forms.

    All rows are dealt by group as `split=group_kfold` deals them; of fewer each fold has its share of both classes.
    """
    if not HAM.is_dir():
        raise SystemExit(f"the real pictures are not here: {HAM}")
    frame = pd.read_csv(HAM / "train.csv")
    lesion_of = frame.set_index("image_name")["patient_id"]
    frame["patient_id"] = lesion_of[frame["image_name"].replace(ONE_LESION)].to_numpy()
    if num_pictures is not None and num_pictures < len(frame):
        frame = picked(frame, num_pictures, num_folds)
        splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=0)
    else:
        splitter = GroupKFold(num_folds)
    names, targets, groups = frame["image_name"], frame["target"].to_numpy(), frame["patient_id"].to_numpy()
    order = np.argsort(groups, kind="stable")
    fold_S = np.zeros(len(frame), dtype=int)
    for fold, (_, held) in enumerate(splitter.split(order, targets[order], groups[order])):
        fold_S[order[held]] = fold
    folder = enlarged(names.tolist(), root.parent / "large_jpg") if size == "large" else HAM / "train_jpg"

    shutil.rmtree(root, ignore_errors=True)
    channel = root / "channel"
    (channel / "train_jpg").mkdir(parents=True)
    for name in names:
        (channel / "train_jpg" / f"{name}.jpg").symlink_to((folder / f"{name}.jpg").resolve())
    frame = frame.assign(fold=fold_S)
    frame[["image_name", "patient_id", "target", "fold"]].to_csv(channel / "train.csv", index=False)
    table = pd.DataFrame({"path": [str((folder / f"{name}.jpg").resolve()) for name in names]})
    table = table.assign(target=targets, fold=fold_S, image_name=names.to_numpy())
    table.to_csv(root / "table.csv", index=False)
    return table


def picked(frame: pd.DataFrame, num_pictures: int, num_folds: int) -> pd.DataFrame:
    """That many rows, the same each time: melanomas in their share, and at least two for each fold."""
    is_positive = frame["target"] == 1
    num_positives = max(round(num_pictures * is_positive.mean()), 2 * num_folds)
    if num_pictures < 2 * num_positives:
        raise SystemExit(
            f"{num_pictures} pictures are too few for {num_folds} folds: take at least {2 * num_positives}"
        )
    positives = frame[is_positive].sample(num_positives, random_state=0)
    negatives = frame[~is_positive].sample(num_pictures - num_positives, random_state=0)
    return pd.concat([positives, negatives]).sort_index().reset_index(drop=True)


def enlarged(names: list[str], folder: Path) -> Path:
    """The pictures as 1024×768 JPEG of quality 90 in `folder`, made once.

    Grain is added: enlarging alone gives smooth pictures, whose files are a third of a camera's and decode faster.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def make(name: str) -> None:
        path = folder / f"{name}.jpg"
        if path.exists():
            return
        rng = np.random.default_rng(int(name.removeprefix("ISIC_")))
        small = np.array(Image.open(HAM / "train_jpg" / f"{name}.jpg").convert("RGB"))
        large = cv2.resize(small, LARGE, interpolation=cv2.INTER_CUBIC).astype(np.float32)
        grain = rng.normal(0.0, 5.0, (LARGE[1], LARGE[0], 1)).astype(np.float32)
        part = path.with_suffix(".part")
        Image.fromarray(np.clip(large + grain, 0, 255).astype(np.uint8)).save(part, "JPEG", quality=90)
        part.rename(path)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(make, names))
    return folder


def describe(table: pd.DataFrame) -> dict[str, float | int | list[int]]:
    """What a result must say of the pictures."""
    paths = [Path(path) for path in table["path"]]
    with Image.open(paths[0]) as image:
        size = list(image.size)
    kilobytes = float(np.mean([path.stat().st_size for path in paths])) / 1000
    return {
        "num_pictures": len(table),
        "num_positives": int(table["target"].sum()),
        "width_height": size,
        "mean_kilobytes": round(kilobytes, 1),
    }
