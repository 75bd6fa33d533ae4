"""Anomaly detection: on real images the memory of patches beside one Gaussian of all places, on the same features; on
drawn tissue the memory beside the progressive GAN.

    python benchmarks/anomaly.py breast     # benign tissue is normal: each of the 7 slides is scored without itself
    python benchmarks/anomaly.py flowers    # daisies are normal, four other kinds anomalous
    python benchmarks/anomaly.py ham10000   # naevi are normal: melanomas, and all other diagnoses
    python benchmarks/anomaly.py tissue     # drawn: memory, GAN for as many CPU seconds, GAN for more; 64 px

mobilenetv2_100 from ImageNet, strides 8 and 16, 2,048 patches, score: the distance that the shipped
anomalous_area of an image's places reach.
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
from ham10000 import SHARED, where_and_when
from safetensors.torch import load_file
from torch import Tensor

from lesion.algorithms.anomaly.algorithm import ANOMALY
from lesion.algorithms.anomaly.config import AnomalyConfig
from lesion.algorithms.anomaly.judge import area_under_roc
from lesion.algorithms.anomaly.memory import GreedyCoreset, standardised, statistics
from lesion.algorithms.anomaly.patch_features import PatchFeatures, create_patch_features
from lesion.algorithms.anomaly.threshold import image_distance
from lesion.data.decode import images
from lesion.data.sample_tissue import draw_tissue
from lesion.data.transforms import Preprocess
from lesion.models.weights import load_backbone_weights
from lesion.sagemaker import read_job

NUM_PATCHES, NUM_CANDIDATES = 2048, 20_000
AREA = float(AnomalyConfig.model_fields["anomalous_area"].default)  # as shipped
STAGES = (200, 600)  # images a stage of the GAN
Pictures = list[np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("which", choices=("breast", "flowers", "ham10000", "tissue"))
    which = parser.parse_args().which
    started = time.process_time()
    found = {"breast": breast, "flowers": flowers, "ham10000": ham10000, "tissue": tissue}[which]()
    cpu_s = round(time.process_time() - started, 1)
    print(json.dumps({"benchmark": f"anomaly {which}", **where_and_when(), "cpu_s": cpu_s, **found}))


def breast() -> dict[str, Any]:
    """Tiles of 96 px at 128; the memory of each slide's score is the benign tissue of the six others."""
    folder = SHARED / "ucsb_breast" / "tiles96"
    table = pd.read_csv(folder / "meta.csv")
    with h5py.File(folder / "pcam_like_x.h5") as file, h5py.File(folder / "pcam_like_y.h5") as truth:
        pictures, malignant_S = list(file["x"][:]), truth["y"][:].ravel().astype(float)
    features_SPD, slide_S = features_of(pictures, 128), table["wsi"].to_numpy(dtype=np.str_)
    scores: dict[str, np.ndarray] = {name: np.zeros(len(table)) for name in ("memory", "gaussian")}
    for slide in np.unique(slide_S):
        is_own_S = slide_S == slide
        of_slide = both_scores(features_SPD[~is_own_S & (malignant_S == 0)], features_SPD[is_own_S])
        for name, score_S in of_slide.items():
            scores[name][is_own_S] = score_S
    return {"tiles": len(table), "slides": 7, "roc_auc": aucs(malignant_S, scores, slide_S)}


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
    scores = both_scores(features_SPD[:120], features_SPD[120:])
    target_S = np.repeat([0.0, 1.0], [len(paths) - 120, len(other)])
    return {"learned": 120, "judged": len(target_S), "roc_auc": aucs(target_S, scores, np.arange(len(target_S)))}


def ham10000() -> dict[str, Any]:
    """350 naevi in the memory, 200 held out, beside 200 melanomas and 200 of the other diagnoses."""
    table = pd.read_csv(SHARED / "ham10000" / "train.csv").sample(frac=1, random_state=0)
    is_nevus_S, is_melanoma_S = table["diagnosis"] == "nevus", table["target"] == 1
    chosen = pd.concat([table[is_nevus_S][:550], table[is_melanoma_S][:200], table[~is_nevus_S & ~is_melanoma_S][:200]])
    pictures = [images.read(SHARED / "ham10000" / "train_jpg" / f"{name}.jpg") for name in chosen["image_name"]]
    features_SPD = features_of(pictures, 160)
    scores = both_scores(features_SPD[:350], features_SPD[350:])
    target_S = np.repeat([0.0, 1.0], [200, 400])
    rows_S = np.arange(600)
    melanomas = {name: score_S[:400] for name, score_S in scores.items()}
    return {
        "learned": 350,
        "roc_auc": aucs(target_S, scores, rows_S),
        "roc_auc_melanomas": aucs(target_S[:400], melanomas, rows_S[:400]),
    }


def tissue() -> dict[str, Any]:
    """Jobs on 320 drawn tiles, judged on 320 of new slides: what their metrics say of the test set."""
    weights = {"pretrained": str(SHARED / "weights" / "mobilenetv2_100.safetensors")}
    jobs: dict[str, dict[str, object]] = {
        "memory, 224 px": {"scorer": "memory", "model_args": {"pad_type": "same"}, **weights},
        "memory, 64 px": {"scorer": "memory", "image_size": 64, "model_args": {"pad_type": "same"}, **weights},
        **{f"gan, 64 px, {n} images a stage": {"scorer": "gan", "image_size": 64, "stage_pictures": n} for n in STAGES},
    }
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        draw_tissue(Path(folder) / "data" / "training", num_images=320, seed=1)
        for name, settings in jobs.items():
            root = Path(folder) / name.replace(" ", "_").replace(",", "")
            (root / "input" / "config").mkdir(parents=True)
            (root / "input" / "data").symlink_to(Path(folder) / "data")
            text = json.dumps({"algorithm": "anomaly", "export_graph": False, **settings})
            (root / "input" / "config" / "hyperparameters.json").write_text(text)
            job, started = replace(read_job(root), num_cores=1), time.process_time()
            ANOMALY.train(job, AnomalyConfig.parse(job.hyperparameters))
            test = json.loads((root / "output" / "data" / "metrics.json").read_text())["test"]
            found[name] = {
                "cpu_s": round(time.process_time() - started, 1),
                "roc_auc": test["overall"]["roc_auc"],
                "false_positive_rate": test["false_positive_rate"],
                **{key: test["pixels"][key] for key in ("pixel_roc_auc", "pixel_f_0.05_best")},
            }
    return found


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


def both_scores(learned_SPD: Tensor, asked_SPD: Tensor) -> dict[str, np.ndarray]:
    """The score of each asked image by the memory, and by one Gaussian (PaDiM's distance, one for all places)."""
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
    scores: dict[str, list[float]] = {"memory": [], "gaussian": []}
    for places_PD in asked_SPD:
        asked_PD = standardised(places_PD, mean_D, scale_D)
        nearest_P = torch.cdist(asked_PD, memory_MD).min(dim=1).values
        gaussian_P = ((asked_PD - middle_D) @ whiten_DD).norm(dim=1)
        for name, distance_P in (("memory", nearest_P), ("gaussian", gaussian_P)):
            scores[name].append(float(image_distance(distance_P.numpy(), AREA)))
    return {name: np.array(values) for name, values in scores.items()}


def aucs(target_S: np.ndarray, scores: dict[str, np.ndarray], group_S: np.ndarray) -> dict[str, Any]:
    return {name: area_under_roc(target_S == 1, score_S, group_S).as_json() for name, score_S in scores.items()}


if __name__ == "__main__":
    main()
