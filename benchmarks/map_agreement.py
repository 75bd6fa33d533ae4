"""Maps: does class activation agree with Grad-CAM, and are maps of random weights more alike than unrelated ones?

    python benchmarks/map_agreement.py [--job ROOT]

Class activation beside Grad-CAM at the last level, rank correlation, for networks of random weights with three classes
on three images of HAM10000. With --job, a finished job: which map is chosen on its surest held-out images, and for
some maps how alike they are to those of four networks of random weights, on the same image and on others. Needs the
real data beside the project (shared/data). Prints one JSON line; dated copies lie in benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from ham10000 import SHARED, where_and_when

from lesion.algorithms.classify.explanation.explainer import load_explainer
from lesion.algorithms.classify.prediction.torch_executor import TorchExecutor
from lesion.data.decode import images
from lesion.data.transforms import Preprocess
from lesion.explain.agreement import likeness, mean_correlation
from lesion.explain.choose import Sample, choose
from lesion.explain.explained_class import named_class
from lesion.explain.methods import map_by
from lesion.models.fusion import create_network
from lesion.targets import Target

NETWORKS = (
    "resnet18", "mobilenetv2_100", "efficientnet_b2", "mobilenetv3_large_100", "regnetx_002", "densenet121",
    "convnext_atto",
)  # fmt: skip
SIDE, STEEP = 160, 30.0  # pixels; and times the random head, so that classes differ
NUM_IMAGES = 10
MAPS = (("cam", ""), ("grad_cam", "blocks.6"), ("grad_cam", "blocks.4"), ("occlusion", ""))  # of mobilenetv2_100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--job", type=Path, metavar="ROOT", help="a finished job of mobilenetv2_100 without metadata")
    args = parser.parse_args()
    torch.set_num_threads(1)
    told: dict[str, Any] = {"benchmark": "map_agreement", **where_and_when()}
    told["cam_and_grad_cam"] = {name: round(agreement_of(name), 3) for name in NETWORKS}
    if args.job is not None:
        told["job"] = of_job(args.job)
    print(json.dumps(told))


def agreement_of(name: str) -> float:
    """The mean rank correlation of class activation and Grad-CAM at the last level."""
    preprocess = Preprocess(SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    network = create_network(name, {}, preprocess, num_metadata=0, num_outputs=3, seed=0).eval().requires_grad_(False)
    network.head.weight.mul_(STEEP)
    explained, nothing_M = named_class(Target("multiclass", ("a", "b", "c")), "b"), np.zeros(0, np.float32)
    pairs = []
    for path in sorted((SHARED / "ham10000" / "train_jpg").glob("*.jpg"))[:3]:
        given = (network, cv2.resize(images.read(path), (SIDE, SIDE)), nothing_M, explained)
        pairs.append((map_by(*given, method="cam"), map_by(*given, method="grad_cam", level="final")))
    found = mean_correlation(pairs)
    assert found is not None
    return found


def of_job(root: Path) -> dict[str, Any]:
    """What is chosen, and the likeness to random weights, on the surest held-out images of each fold and class."""
    predictor = load_explainer(
        root / "model", device="cpu", num_cores=1, fold=None, class_name=None, method=None
    ).predictor
    executor, target = predictor.executors[0], predictor.target
    assert isinstance(executor, TorchExecutor)
    oof = pd.read_csv(root / "output" / "data" / "oof.csv")
    columns = [name for name in oof if name.startswith("probability")]
    top_S, sure_S = oof[columns].to_numpy().argmax(axis=1), oof[columns].max(axis=1)
    place_S = sure_S.groupby([oof["fold"], top_S]).rank(ascending=False)
    samples = []
    for row in place_S.sort_values(kind="stable").index[:NUM_IMAGES]:
        line = oof.loc[row]
        picture = predictor.prepare(images.read(root / "input" / "data" / "training" / line["image_name"]), {})
        name = target.positive_class or target.class_names[top_S[row]]
        f = predictor.folds.index(line["fold"])
        given = (executor.networks[f], picture.pixels_HWC, picture.features_FM[f])
        samples.append(Sample(*given, named_class(target, name)))
    model = predictor.model
    untrained = [
        create_network(
            model.model,
            model.model_args,
            model.preprocessing,
            num_metadata=0,
            num_outputs=target.num_outputs,
            seed=seed,
        )
        .eval()
        .requires_grad_(False)
        for seed in range(1, 5)
    ]
    record = choose(samples)
    return {
        "job": root.name,
        "images": len(samples),
        "chosen": record.model_dump(exclude={"candidates"}),
        "gains": {f"{one.method} {one.level}".strip(): round(one.gain, 3) for one in record.candidates},
        "likeness": {
            f"{method} {level}".strip(): likeness_of(samples, untrained, method, level) for method, level in MAPS
        },
    }


def likeness_of(samples: list[Sample], untrained: list[Any], method: str, level: str) -> dict[str, Any]:
    """To random networks on the same image and on others; and of a network's own maps of different images."""

    def maps(networks: list[Any]) -> list[Any]:
        return [
            map_by(network, one.square_HWC, one.metadata_M, one.explained, method=method, level=level)
            for network, one in zip(networks, samples, strict=True)
        ]

    own = maps([one.network for one in samples])
    same, other = likeness(own, [maps([network] * len(samples)) for network in untrained])
    told = {"grid": list(own[0].shape), "same_image": same, "other_images": other, "own": likeness(own, [own])[1]}
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in told.items()}


if __name__ == "__main__":
    main()
