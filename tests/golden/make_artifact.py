"""Make artifact_v4: trains it, and works out by plain torch, without Lesion, what it must answer.

Run once for a format version, `python tests/golden/make_artifact.py`; the folder is then committed and never made
again, since what it guards is that later code reads earlier artifacts.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

GOLDEN = Path(__file__).parent / "artifact_v4"
ROWS = [
    {"sex": "male", "age_approx": 45, "prior": True, "size_mm": 3.5},
    {"sex": "female", "age_approx": "80.0", "prior": "no"},
    {"age_approx": 1e6, "sex": "never seen", "size_mm": 0},
    {},
]
KINDS = ["keratosis", "melanoma", "nevus"]


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from factories import draw_picture, run_job, sample_frame, write_job
    from lesion.sagemaker import prepare_libraries

    prepare_libraries()

    with tempfile.TemporaryDirectory() as folder:
        number = np.arange(18)
        frame = sample_frame().assign(
            kind=[KINDS[value] for value in number % 3],
            prior=["yes", "no", ""] * 6,
            size_mm=(number * 7 % 11) ** 2,
        )
        root = write_job(
            Path(folder),
            frame=frame,
            has_test=False,
            target_column="kind",
            positive_class="melanoma",
            metadata_columns="sex,age_approx,prior,size_mm",
            log_columns="size_mm",
            model="test_efficientnet",
            image_size=32,
            folds=2,
            split="stratified_group_kfold",
            epochs=12,
            learning_rate=0.005,
            metric="log_loss",  # never the same twice, so that a late epoch is kept
            calibration="temperature",
            deployment_prevalence=0.05,
        )
        run_job(root)
        shutil.rmtree(GOLDEN, ignore_errors=True)
        shutil.copytree(root / "model", GOLDEN)
    # As high as the network's square, so that its middle square is taken and nothing is resized.
    draw_picture(GOLDEN / "picture.png", is_positive=True, seed=123, side_px=32)
    answers = [answer(GOLDEN, GOLDEN / "picture.png", row) for row in ROWS]
    expected = [{"metadata": row, "probabilities": probs} for row, probs in zip(ROWS, answers, strict=True)]
    (GOLDEN / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")


def answer(artifact: Path, picture: Path, row: dict[str, object]) -> list[float]:
    """The probabilities by docs/artifact.md alone: safetensors, timm and arithmetic."""
    model = json.loads((artifact / "manifest.json").read_text())["payload"]
    pixels_HWC = np.asarray(Image.open(picture))
    margin = (pixels_HWC.shape[1] - pixels_HWC.shape[0]) // 2
    square_HWC = pixels_HWC[:, margin : margin + pixels_HWC.shape[0]] / 255.0
    stated = model["preprocessing"]
    image_HWC = (square_HWC - np.array(stated["mean"])) / np.array(stated["std"])
    views = [image_HWC, image_HWC[:, ::-1], image_HWC[::-1]][: model["num_views"]]
    views_VCHW = torch.tensor(np.stack(views).transpose(0, 3, 1, 2), dtype=torch.float32)
    probs_FVK = []
    for fold in model["folds"]:
        probs_FVK.append([])
        tensors = load_file(artifact / fold["file"])
        backbone = timm.create_model(model["model"], num_classes=0).eval()
        backbone.load_state_dict(
            {n.removeprefix("backbone."): t for n, t in tensors.items() if n.startswith("backbone.")}
        )
        hidden_M = torch.tensor([encoded(row, fold["metadata"])])
        for first in (0, 4):  # linear, batch norm, ReLU, dropout; twice
            hidden_M = F.linear(hidden_M, tensors[f"metadata.{first}.weight"], tensors[f"metadata.{first}.bias"])
            hidden_M = F.relu(normed(hidden_M, tensors, f"metadata.{first + 1}"))
        with torch.inference_mode():
            for view_CHW in views_VCHW:
                features = torch.cat([backbone(view_CHW[None]), hidden_M], dim=1)
                logit = F.linear(features, tensors["head.weight"], tensors["head.bias"])
                probs_FVK[-1].append(logit.double().softmax(dim=1)[0].tolist())
    return [float(prob) for prob in calibrated(np.mean(probs_FVK, axis=1), model["calibration"])]


def calibrated(probs_FK: NDArray[np.float64], record: dict[str, Any]) -> NDArray[np.float64]:
    """The folds' probabilities pooled, at the temperature, and for the deployment's prevalence."""
    pooling, [line] = record["pooling"], record["calibrator"]["maps"]
    centre_K = np.array(pooling["centres"])
    stretch = 1 / (1 - pooling["disagreement"] * (1 - 1 / len(probs_FK)))
    scores_K = centre_K + (np.log(probs_FK).mean(axis=0) - centre_K) * stretch
    # A softmax before and after: its sums fall away, as they are the same for all classes.
    weights_K = np.exp(scores_K * line["slope"])
    weights_K *= np.divide(record["deployment_prevalence"], record["trained_prevalence"])
    return np.asarray(weights_K / weights_K.sum())


def encoded(row: dict[str, object], columns: list[dict[str, object]]) -> list[float]:
    features: list[float] = []
    for column in columns:
        value = row.get(column["name"])
        if column["kind"] == "category":
            features += [float(value == word) for word in column["categories"]]
        elif value is None:
            features += [0.0, 1.0]
        elif column["kind"] == "boolean":
            features += [1.0 if value in (True, "yes") else -1.0, 0.0]
        else:
            number = np.log1p(float(value)) if column["is_log"] else float(value)
            features += [float(np.clip((number - column["mean"]) / column["std"], -10, 10)), 0.0]
    return features


def normed(hidden_M: Tensor, tensors: dict[str, Tensor], name: str) -> Tensor:
    deviation = (tensors[f"{name}.running_var"] + 1e-5).sqrt()
    return (hidden_M - tensors[f"{name}.running_mean"]) / deviation * tensors[f"{name}.weight"] + tensors[
        f"{name}.bias"
    ]


if __name__ == "__main__":
    main()
