"""Out-of-distribution scores compared: which tells dermoscopy from flowers, histology, chest-like pictures and noise?

    python benchmarks/familiarity.py                                 # a short fine-tuning
    python benchmarks/familiarity.py --set epochs=0 --set head_init=probe

Trains mobilenetv2_100 on 600 lesions of HAM10000 (two folds), fits each score on the features of held-out rows, and
asks it about pictures of lesions that no fold saw, and of other things. `served` is what answers say: the features'
components and the appearance together. Needs the real data beside the project
(shared/data). Prints one JSON line; dated copies lie in benchmarks/results/.
"""

# F folds · S rows that are scored · D features · K outputs · N rows that a score is fitted on

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from ham10000 import PROJECT, SETTINGS, SHARED, lay_out, where_and_when
from numpy.typing import NDArray

SMALL = {"image_size": 96, "folds": 2, "epochs": 2, "tta": 1, "metadata_columns": [], "export_graph": False}
NUM_TRAINED, NUM_NEW, NUM_ASKED = 600, 300, 150
Score = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]  # features [S, D], logits [S, K] → larger is stranger


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another hyperparameter")
    parser.add_argument("--keep", type=Path, help="also write the features to this .npz file")
    args = parser.parse_args()
    settings = SETTINGS | SMALL | dict(pair.split("=", 1) for pair in args.set)
    root = PROJECT / "build" / "familiarity"
    table = pd.read_csv(SHARED / "ham10000" / "train.csv").sample(frac=1, random_state=0)
    channel = lay_out(root, {"train_jpg": "ham10000/train_jpg"}, settings)
    table[:NUM_TRAINED].to_csv(channel / "train.csv", index=False)
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "lesion.cli", "train", "--root", str(root), "--no-progress"], check=True)
    minutes = (time.monotonic() - started) / 60

    from lesion.algorithms.base import Options
    from lesion.algorithms.classify.prediction.load import load_predictor

    predictor = load_predictor(root / "model", device="cpu", num_cores=2)
    oof = pd.read_csv(root / "output" / "data" / "oof.csv")
    outputs, served = {}, {}
    warnings: dict[str, dict[str, float]] = {}
    asked = {"held-out": pictures(SHARED / "ham10000/train_jpg", oof["image_name"]), **strangers(table)}
    for name, images in asked.items():
        prepared = [predictor.prepare(image, {}) for image in images]
        found = [
            output
            for start in range(0, len(prepared), 32)
            for output in predictor.executors[0](prepared[start : start + 32])
        ]
        answers = [predictor.answer(output, Options()).fields for output in found]
        served[name] = np.array([answer["familiarity"] for answer in answers])
        warned = [answer.get("warnings", []) for answer in answers]
        warnings[name] = {
            warning: round(float(np.mean([warning in each for each in warned])), 4)
            for warning in sorted({warning for each in warned for warning in each})
        }
        outputs[name] = (
            np.stack([output.features_FVD[:, 0] for output in found], axis=1),
            np.stack([output.logits_FVK[:, 0] for output in found], axis=1),
        )
    if args.keep:
        arrays = {
            f"{name}/{part}": array for name, pair in outputs.items() for part, array in zip("fl", pair, strict=True)
        }
        np.savez(args.keep, fold=oof["fold"], target=oof["target"], **arrays)
    result = {
        "benchmark": "familiarity",
        **where_and_when(),
        "settings": {name: settings[name] for name in ("model", "image_size", "folds", "epochs")},
        "roc_auc_of_job": json.loads((root / "output/data/metrics.json").read_text())["overall"]["metrics"]["roc_auc"],
        "minutes": round(minutes, 2),
        "pictures": {name: len(images) for name, images in asked.items()},
        "served": {
            "roc_auc": {
                name: round(auc(-served["new lesions"], -values), 4)
                for name, values in served.items()
                if name not in {"held-out", "new lesions"}
            },
            "warnings": warnings,
        },
        "scores": {name: judged(maker, outputs, oof) for name, maker in SCORES.items()},
    }
    print(json.dumps(result))


def judged(maker: Callable[..., Score], outputs: dict[str, Any], oof: pd.DataFrame) -> dict[str, Any]:
    """AUROC of each set against lesions that no fold saw, by the mean over folds of standardised scores; and the share
    of each set above the 99 % quantile of the held-out rows."""
    held_FSD, held_FSK = outputs["held-out"]
    totals: dict[str, NDArray[Any]] = {}
    held = []
    for fold in range(len(held_FSD)):
        rows = np.flatnonzero(oof["fold"].to_numpy() == fold)
        half = np.arange(len(rows)) % 2 == 0  # every other row: fitted on one half, standardised by the other
        fit, rest = rows[half], rows[~half]
        score = maker(held_FSD[fold, fit], oof["target"].to_numpy()[fit])
        own = score(held_FSD[fold, rest], held_FSK[fold, rest])
        middle, spread = np.median(own), max(np.quantile(own, 0.75) - np.quantile(own, 0.25), 1e-9)
        held.append((own - middle) / spread)
        for name, (features_FSD, logits_FSK) in outputs.items():
            found = (score(features_FSD[fold], logits_FSK[fold]) - middle) / spread
            totals[name] = totals.get(name, 0) + found / len(held_FSD)
    bound = np.quantile(np.concatenate(held), 0.99)
    others = [name for name in totals if name not in {"held-out", "new lesions"}]
    return {
        "roc_auc": {name: round(auc(totals["new lesions"], totals[name]), 4) for name in others},
        "warned": {name: round(float((totals[name] > bound).mean()), 4) for name in ["new lesions", *others]},
    }


def auc(low: NDArray[Any], high: NDArray[Any]) -> float:
    from lesion.evaluation.metrics import roc_auc

    return roc_auc(np.repeat([0, 1], [len(low), len(high)]), np.concatenate([low, high]))


def mahalanobis(features_ND: NDArray[Any], _: NDArray[Any]) -> Score:
    """Lee et al. 2018 with one class: a Gaussian with the covariance of Ledoit & Wolf 2004."""
    from sklearn.covariance import LedoitWolf

    model = LedoitWolf().fit(features_ND)
    return lambda features_SD, _: model.mahalanobis(features_SD)


def relative_mahalanobis(features_ND: NDArray[Any], class_N: NDArray[Any]) -> Score:
    """Ren et al. 2021: the nearest class's distance with a common covariance, minus that of all classes together."""
    from sklearn.covariance import LedoitWolf

    means = [features_ND[class_N == label].mean(axis=0) for label in np.unique(class_N)]
    centred_ND = features_ND - np.stack(means)[np.unique(class_N, return_inverse=True)[1]]
    within, whole = LedoitWolf(assume_centered=True).fit(centred_ND), mahalanobis(features_ND, class_N)

    def score(features_SD: NDArray[Any], logits_SK: NDArray[Any]) -> NDArray[Any]:
        nearest = np.min([within.mahalanobis(features_SD - mean) for mean in means], axis=0)
        return np.asarray(nearest - whole(features_SD, logits_SK))

    return score


def nearest_neighbours(k: int) -> Callable[..., Score]:
    """Sun et al. 2022: the distance to the k-th nearest feature, all of length 1."""

    def maker(features_ND: NDArray[Any], _: NDArray[Any]) -> Score:
        def unit(array: NDArray[Any]) -> NDArray[Any]:
            return np.asarray(array / np.linalg.norm(array, axis=-1, keepdims=True))

        bank_ND = unit(features_ND)

        def score(features_SD: NDArray[Any], _: NDArray[Any]) -> NDArray[Any]:
            squared = np.maximum(2 - 2 * unit(features_SD) @ bank_ND.T, 0)
            return np.asarray(
                np.sqrt(np.partition(squared, min(k, len(bank_ND)) - 1, axis=1)[:, min(k, len(bank_ND)) - 1])
            )

        return score

    return maker


def components(rank: int, *, is_unit: bool = False, is_root: bool = False) -> Callable[..., Score]:
    """Mahalanobis distance by `rank` principal components and one variance for all others (Tipping & Bishop 1999)."""

    def maker(features_ND: NDArray[Any], _: NDArray[Any]) -> Score:
        def prepared(array: NDArray[Any]) -> NDArray[Any]:
            array = np.sign(array) * np.abs(array) ** (0.5 if is_root else 1)
            return np.asarray(array / np.linalg.norm(array, axis=-1, keepdims=True)) if is_unit else array

        features_ND = prepared(features_ND)
        mean = features_ND.mean(axis=0)
        _, singular, basis = np.linalg.svd(features_ND - mean, full_matrices=False)
        r = min(rank, len(features_ND) // 2)
        variance = singular**2 / len(features_ND)
        rest = variance[r:].sum() / (features_ND.shape[1] - r)

        def score(features_SD: NDArray[Any], _: NDArray[Any]) -> NDArray[Any]:
            centred = prepared(features_SD) - mean
            along = centred @ basis[:r].T
            residual = (centred**2).sum(axis=1) - (along**2).sum(axis=1)
            return np.asarray((along**2 / variance[:r]).sum(axis=1) + residual / rest)

        return score

    return maker


def residual(rank: int) -> Callable[..., Score]:
    """The part outside of the principal space (Wang et al. 2022, ViM's residual)."""

    def maker(features_ND: NDArray[Any], _: NDArray[Any]) -> Score:
        mean = features_ND.mean(axis=0)
        basis = np.linalg.svd(features_ND - mean, full_matrices=False)[2][: min(rank, len(features_ND) // 2)]
        return lambda features_SD, _: np.linalg.norm(
            features_SD - mean - (features_SD - mean) @ basis.T @ basis, axis=1
        )

    return maker


def norm(_: NDArray[Any], __: NDArray[Any]) -> Score:
    """A short feature vector is a strange one (Park et al. 2023)."""
    return lambda features_SD, _: -np.linalg.norm(features_SD, axis=1)


def largest_logit(_: NDArray[Any], __: NDArray[Any]) -> Score:
    """Hendrycks et al. 2022; of a yes-or-no network the logit's size."""
    return lambda _, logits_SK: -np.abs(logits_SK).max(axis=1)


def energy(_: NDArray[Any], __: NDArray[Any]) -> Score:
    """Liu et al. 2020: −log Σ exp of the logits, where no has the logit 0."""
    return lambda _, logits_SK: -np.logaddexp(0, logits_SK).sum(axis=1)


SCORES: dict[str, Callable[..., Score]] = {
    "mahalanobis": mahalanobis,
    "relative_mahalanobis": relative_mahalanobis,
    "neighbours_1": nearest_neighbours(1),
    "neighbours_10": nearest_neighbours(10),
    "components_16": components(16),
    "components_64": components(64),
    "components_64_unit": components(64, is_unit=True),
    "components_16_unit_roots": components(16, is_unit=True, is_root=True),
    "components_32_unit_roots": components(32, is_unit=True, is_root=True),
    "components_64_unit_roots": components(64, is_unit=True, is_root=True),
    "residual_64": residual(64),
    "norm": norm,
    "largest_logit": largest_logit,
    "energy": energy,
}


def strangers(table: pd.DataFrame) -> dict[str, list[NDArray[np.uint8]]]:
    """Lesions of other patients, and pictures of other things."""
    import h5py

    rng = np.random.default_rng(0)
    with h5py.File(SHARED / "ucsb_breast/tiles96/pcam_like_x.h5") as file:
        tiles = file["x"][:][rng.permutation(len(file["x"]))[:NUM_ASKED]]
    flowers = sorted((SHARED / "flowers5").glob("*/*.jpg"))
    other = sorted((SHARED / "ham10000/multi_200x150_jpg").glob("*.jpg"))
    return {
        "new lesions": pictures(
            SHARED / "ham10000/train_jpg", table["image_name"][NUM_TRAINED : NUM_TRAINED + NUM_NEW]
        ),
        "uncropped lesions": [read(other[i]) for i in rng.permutation(len(other))[:NUM_ASKED]],
        "flowers": [read(flowers[i]) for i in rng.permutation(len(flowers))[:NUM_ASKED]],
        "histology": list(tiles),
        "chest-like": [chest(rng) for _ in range(NUM_ASKED)],
        "noise": list(noises(rng)),
    }


def pictures(folder: Path, names: pd.Series) -> list[NDArray[np.uint8]]:
    return [read(folder / f"{name}.jpg") for name in names]


def read(path: Path) -> NDArray[np.uint8]:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB))


def chest(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A grey picture with two dark lungs, a bright middle and ribs."""
    image = np.full((224, 224), rng.uniform(120, 180), np.float32)
    for side in (-1, 1):
        centre = (int(112 + side * rng.uniform(42, 52)), int(rng.uniform(105, 120)))
        cv2.ellipse(image, centre, (int(rng.uniform(28, 40)), int(rng.uniform(65, 85))), side * 6, 0, 360, 50, -1)
        for rib in range(7):
            middle = (centre[0], 45 + rib * 22 + int(rng.integers(-3, 4)))
            cv2.ellipse(image, middle, (45, 12), side * 15, 180, 360, float(rng.uniform(80, 110)), 3)
    cv2.ellipse(image, (120, 150), (int(rng.uniform(22, 34)), 40), 20, 0, 360, 200, -1)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(2, 4)) + rng.normal(0, 4, image.shape)
    return np.repeat(image.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def noises(rng: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """Noise of every grain, grey and coloured."""
    for number in range(NUM_ASKED):
        shape = (224, 224, 1 if number % 4 == 0 else 3)
        image = rng.normal(0, 1, shape).astype(np.float32)
        if number % 3:
            image = cv2.GaussianBlur(image, (0, 0), 2.0 ** (number % 3 + number % 2)).reshape(shape)
        image = 128 + 50 * image / image.std()
        yield np.broadcast_to(image.clip(0, 255).astype(np.uint8), (224, 224, 3)).copy()


if __name__ == "__main__":
    main()
