"""Anomaly detection: on real images the memory of patches beside one Gaussian of all places, on the same features; on
drawn tissue the memory beside the progressive GAN.

    python benchmarks/anomaly.py breast     # benign tissue is normal: each of the 7 slides is scored without itself
    python benchmarks/anomaly.py flowers    # daisies are normal, four other kinds anomalous
    python benchmarks/anomaly.py ham10000   # naevi are normal: melanomas, and all other diagnoses
    python benchmarks/anomaly.py tissue --seed 2   # drawn: whole jobs with the memory, and with the GAN of 32 px

mobilenetv2_100 from ImageNet, strides 8 and 16, 2,048 patches, score: the distance that the shipped
anomalous_area of an image's places reach. Flowers and naevi: half of the normal images that were not learned choose the
threshold and state its false-positive rate, the other half are new.
Needs the real data beside the project (shared/data). Prints one JSON line; dated copies lie in benchmarks/results/.
"""

# S images · P places · D features · M patches

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pandas as pd
import torch
from ham10000 import SETTINGS, SHARED, where_and_when
from safetensors.torch import load_file
from torch import Tensor

from lesion.algorithms.anomaly.algorithm import ANOMALY
from lesion.algorithms.anomaly.config import AnomalyConfig
from lesion.algorithms.anomaly.decide import HeldOut, decide
from lesion.algorithms.anomaly.judge import area_under_roc, false_positive_rate
from lesion.algorithms.anomaly.memory import GreedyCoreset, standardised, statistics
from lesion.algorithms.anomaly.patch_features import PatchFeatures, create_patch_features
from lesion.algorithms.anomaly.threshold import image_distance, score_of
from lesion.data.decode import images
from lesion.data.sample_tissue import draw_tissue
from lesion.data.transforms import Preprocess
from lesion.models.weights import load_backbone_weights
from lesion.sagemaker import read_job

NUM_PATCHES, NUM_CANDIDATES = 2048, 20_000
AREA = float(AnomalyConfig.model_fields["anomalous_area"].default)  # as shipped
MEMORY = {name: SETTINGS[name] for name in ("model", "model_args", "pretrained", "image_mean", "image_std")}
GAN = {"scorer": "gan", "image_size": 32, "stage_pictures": 800}
JOBS: dict[str, dict[str, Any]] = {
    "memory, 224 px": MEMORY,
    "gan, 32 px, 800 images a stage, compare=colours": GAN,
    "the same, compare=features": {**GAN, "compare": "features"},
}
Pictures = list[np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("which", choices=("breast", "flowers", "ham10000", "tissue"))
    parser.add_argument("--seed", type=int, default=1, help="of the drawn tissue")
    args = parser.parse_args()
    started = time.process_time()
    real = {"breast": breast, "flowers": flowers, "ham10000": ham10000}
    found = tissue(args.seed) if args.which == "tissue" else real[args.which]()
    cpu_s = round(time.process_time() - started, 1)
    print(json.dumps({"benchmark": f"anomaly {args.which}", **where_and_when(), "cpu_s": cpu_s, **found}))


def breast() -> dict[str, Any]:
    """Tiles of 96 px at 128; the memory of each slide's score is the benign tissue of the six others."""
    folder = SHARED / "ucsb_breast" / "tiles96"
    table = pd.read_csv(folder / "meta.csv")
    with h5py.File(folder / "pcam_like_x.h5") as file, h5py.File(folder / "pcam_like_y.h5") as truth:
        pictures, malignant_S = list(file["x"][:]), truth["y"][:].ravel().astype(float)
    features_SPD, slide_S = features_of(pictures, 128), table["wsi"].to_numpy(dtype=np.str_)
    distances = {name: np.zeros(features_SPD.shape[:2], np.float32) for name in ("memory", "gaussian")}
    for slide in np.unique(slide_S):
        is_own_S = slide_S == slide
        of_slide = both_distances(features_SPD[~is_own_S & (malignant_S == 0)], features_SPD[is_own_S])
        for name, distance_SP in of_slide.items():
            distances[name][is_own_S] = distance_SP
    return {"tiles": len(table), "slides": 7, "roc_auc": aucs(malignant_S, distances, slide_S)}


def flowers() -> dict[str, Any]:
    """120 daisies in the memory, 60 held out, beside 40 of each of the four other kinds."""
    folder = SHARED / "flowers5"
    paths = sorted((folder / "daisy").iterdir())
    order = np.random.default_rng(0).permutation(len(paths))
    other = [
        path
        for kind in ("dandelion", "roses", "sunflowers", "tulips")
        for path in sorted((folder / kind).iterdir())[:40]
    ]
    pictures = [images.read(paths[n]) for n in order] + [images.read(path) for path in other]
    features_SPD = features_of(pictures, 224)
    distances = both_distances(features_SPD[:120], features_SPD[120:])
    target_S = np.repeat([0.0, 1.0], [len(paths) - 120, len(other)])
    return {
        "learned": 120,
        "judged": len(target_S),
        "roc_auc": aucs(target_S, distances, np.arange(len(target_S))),
        "false_positive_rate": rates(distances["memory"], target_S),
    }


def ham10000() -> dict[str, Any]:
    """350 naevi in the memory, 200 held out, beside 200 melanomas and 200 of the other diagnoses."""
    table = pd.read_csv(SHARED / "ham10000" / "train.csv").sample(frac=1, random_state=0)
    is_nevus_S, is_melanoma_S = table["diagnosis"] == "nevus", table["target"] == 1
    chosen = pd.concat([table[is_nevus_S][:550], table[is_melanoma_S][:200], table[~is_nevus_S & ~is_melanoma_S][:200]])
    pictures = [images.read(SHARED / "ham10000" / "train_jpg" / f"{name}.jpg") for name in chosen["image_name"]]
    features_SPD = features_of(pictures, 160)
    distances = both_distances(features_SPD[:350], features_SPD[350:])
    target_S = np.repeat([0.0, 1.0], [200, 400])
    rows_S = np.arange(600)
    melanomas = {name: distance_SP[:400] for name, distance_SP in distances.items()}
    return {
        "learned": 350,
        "roc_auc": aucs(target_S, distances, rows_S),
        "roc_auc_melanomas": aucs(target_S[:400], melanomas, rows_S[:400]),
        "false_positive_rate": rates(distances["memory"], target_S),
    }


def tissue(seed: int) -> dict[str, Any]:
    """Jobs on 320 drawn tiles, judged on 320 of new slides: what they state, and what their test set finds."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        draw_tissue(Path(folder) / "data" / "training", num_images=320, seed=seed)
        for number, (name, settings) in enumerate(JOBS.items()):
            root = Path(folder) / str(number)
            (root / "input" / "config").mkdir(parents=True)
            (root / "input" / "data").symlink_to(Path(folder) / "data")
            text = json.dumps({"algorithm": "anomaly", "export_graph": False, **settings})
            (root / "input" / "config" / "hyperparameters.json").write_text(text)
            job, started = replace(read_job(root), num_cores=1), time.process_time()
            ANOMALY.train(job, AnomalyConfig.parse(job.hyperparameters))
            metrics = json.loads((root / "output" / "data" / "metrics.json").read_text())
            rates = ("false_positive_rate", "pixel_false_positive_rate")
            found[name] = {
                "cpu_s": round(time.process_time() - started, 1),
                "learned": metrics["num_learned"],
                "held_out": metrics["classes"],
                "stated": {rate: metrics[rate] for rate in rates},
                "test": {
                    **{rate: metrics["test"][rate] for rate in rates},
                    "roc_auc": metrics["test"]["metrics"].get("roc_auc"),
                    "pixels": metrics["test"]["pixels"],
                },
            }
    return {"seed": seed, "jobs": found}


def features_of(pictures: Pictures, side_px: int) -> Tensor:
    """The patch features [S, P, D] of pictures of any size."""
    preprocess = Preprocess(side_px, (0.5,) * 3, (0.5,) * 3)
    network: PatchFeatures = create_patch_features("mobilenetv2_100", {"pad_type": "same"}, preprocess, (8, 16), seed=0)
    state = load_file(SHARED / "weights" / "mobilenetv2_100.safetensors")
    floats = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    load_backbone_weights(network.backbone, "mobilenetv2_100", floats, where="shared/data/weights")
    squares = [preprocess(cv2.cvtColor(p, cv2.COLOR_GRAY2RGB) if p.ndim == 2 else p) for p in pictures]

    def batches() -> Iterator[Tensor]:
        for start in range(0, len(squares), 16):
            with torch.inference_mode():
                yield network(torch.from_numpy(np.stack(squares[start : start + 16]))).flatten(1, 2)

    return torch.cat(list(batches()))


def both_distances(learned_SPD: Tensor, asked_SPD: Tensor) -> dict[str, np.ndarray]:
    """The distance of each place [S, P] of the asked images by the memory, and by one Gaussian (PaDiM's distance, one
    for all places)."""
    candidates_nD = learned_SPD.flatten(0, 1)
    order = torch.randperm(len(candidates_nD), generator=torch.Generator().manual_seed(0))[:NUM_CANDIDATES]
    mean_D, scale_D = statistics(candidates_nD)
    candidates_nD = standardised(candidates_nD[order], mean_D, scale_D)
    coreset = GreedyCoreset(candidates_nD, seed=0)
    while len(coreset.chosen) < NUM_PATCHES:
        coreset.choose()
    memory_MD = candidates_nD[coreset.chosen]
    covariance_DD = torch.cov(candidates_nD.T.double())
    ridge_DD = 1e-3 * covariance_DD.diagonal().mean() * torch.eye(len(mean_D), dtype=torch.float64)
    whiten_DD = torch.linalg.cholesky(torch.linalg.inv(covariance_DD + ridge_DD)).float()
    middle_D = candidates_nD.mean(dim=0)
    distances: dict[str, list[np.ndarray]] = {"memory": [], "gaussian": []}
    for places_PD in asked_SPD:
        asked_PD = standardised(places_PD, mean_D, scale_D)
        distances["memory"].append(torch.cdist(asked_PD, memory_MD).min(dim=1).values.numpy())
        distances["gaussian"].append(((asked_PD - middle_D) @ whiten_DD).norm(dim=1).numpy())
    return {name: np.stack(each) for name, each in distances.items()}


def aucs(target_S: np.ndarray, distances: dict[str, np.ndarray], group_S: np.ndarray) -> dict[str, Any]:
    return {
        name: area_under_roc(target_S == 1, image_distance(distance_SP, AREA), group_S).as_json()
        for name, distance_SP in distances.items()
    }


def rates(distance_SP: np.ndarray, target_S: np.ndarray) -> dict[str, Any]:
    """The false-positive rate that every second normal image states, and that of the others. Each image is a group."""
    normal = np.flatnonzero(target_S == 0)
    chosen, new = normal[::2], normal[1::2]
    rows = HeldOut(chosen, np.zeros(len(chosen), bool), chosen.astype(np.str_), distance_SP[chosen][:, None])
    made = decide(rows, operating_point="specificity=0.95", area=AREA, pixel_specificity=0.9998, seed=0)
    found_S = score_of(image_distance(distance_SP[new], AREA), made.scale) >= made.threshold.score
    return {"stated": false_positive_rate(rows, made.label_S), "found": float(found_S.mean()), "new": len(new)}


if __name__ == "__main__":
    main()
