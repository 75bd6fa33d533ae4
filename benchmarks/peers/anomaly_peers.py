"""Other anomaly detectors on the tiles of a finished Lesion job: PatchCore as anomalib has it, and a plain autoencoder.

    anomaly_peers.py JOB patchcore --ratio 0.014      # the share of patches that stays in its memory
    anomaly_peers.py JOB autoencoder --seconds 60     # CPU seconds of training

JOB is the root of a job on drawn tissue: both learn from the normal tiles that made Lesion's memory (those of train.csv
that are not in oof.csv), and are judged on the test set. The same network with the same weights as Lesion's default.
Runs in a Python of its own that has anomalib (README). Prints one JSON line.
"""

# S images · P pixels of all images · H, W pixels · C colours

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

WEIGHTS = Path(__file__).parents[3] / "shared" / "data" / "weights" / "mobilenetv2_100.safetensors"
SIDE_PX, JUDGED_PX, BATCH = 224, 64, 16  # pixels are judged in squares of 64, as Lesion's report does
Pixels = NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", type=Path)
    parser.add_argument("peer", choices=("patchcore", "autoencoder"))
    parser.add_argument("--ratio", type=float, default=0.014)
    parser.add_argument("--seconds", type=float, default=60)
    args = parser.parse_args()
    torch.manual_seed(0)
    channel = args.job / "input" / "data" / "training"
    table, test = pd.read_csv(channel / "train.csv"), pd.read_csv(channel / "test.csv", keep_default_na=False)
    held_out = set(pd.read_csv(args.job / "output" / "data" / "oof.csv")["image_name"])
    learned = table[(table["target"] == 0) & ~table["image_name"].isin(held_out)]
    normal_SHWC = np.stack([tile(channel / "train_jpg" / f"{name}.jpg") for name in learned["image_name"]])
    test_SHWC = np.stack([tile(channel / "test_jpg" / f"{name}.jpg") for name in test["image_name"]])
    started = time.process_time()
    if args.peer == "patchcore":
        score_S, map_SHW, told = patchcore(normal_SHWC, test_SHWC, args.ratio)
    else:
        score_S, map_SHW, told = autoencoder(normal_SHWC, test_SHWC, args.seconds)
    told["cpu_s"] = round(time.process_time() - started, 1)
    target_S = test["target"].to_numpy()
    truth = np.stack([mask_of(channel, path) for path in test["mask"]])
    found = np.stack([cv2.resize(one, (JUDGED_PX, JUDGED_PX), interpolation=cv2.INTER_AREA) for one in map_SHW])
    told |= {
        "image_roc_auc": round(float(roc_auc_score(target_S, score_S)), 4),
        "pixel_roc_auc": round(float(roc_auc_score(truth.ravel(), found.ravel())), 4),
    }
    print(json.dumps({"peer": args.peer, "learned": len(learned), "judged": len(test), **told}))


def patchcore(
    normal_SHWC: Pixels, test_SHWC: Pixels, ratio: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], dict[str, Any]]:
    """anomalib's PatchCore: its own coreset, weight for rare neighbours, and blur of maps."""
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel
    from safetensors.torch import load_file

    model = PatchcoreModel(layers=["blocks.2", "blocks.4"], backbone="mobilenetv2_100", pre_trained=False)
    weights = {name: tensor.float() for name, tensor in load_file(WEIGHTS).items()}
    backbone = model.feature_extractor.feature_extractor
    missing = backbone.load_state_dict(weights, strict=False).missing_keys
    assert not missing, missing
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d) and module.stride[0] == 2:
            module.padding = (0, 0)
            module.register_forward_pre_hook(same_padding)
    model.train()
    model.feature_extractor.eval()
    with torch.inference_mode():
        for batch in batches(normal_SHWC):
            model(batch)
        model.subsample_embedding(ratio)
        model.eval()
        answers = [model(batch) for batch in batches(test_SHWC)]
    scores = torch.cat([answer.pred_score for answer in answers]).numpy()
    maps = torch.cat([answer.anomaly_map[:, 0] for answer in answers]).numpy()
    return scores, maps, {"patches": len(model.memory_bank)}


def same_padding(module: nn.Conv2d, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """These weights are of TensorFlow, which pads a stride of 2 at the end first."""
    [x] = inputs
    (size, stride) = (module.kernel_size[0], module.stride[0])
    total = [max((-(-side // stride) - 1) * stride + size - side, 0) for side in x.shape[-2:]]
    (top, left) = (one // 2 for one in total)
    return (nn.functional.pad(x, (left, total[1] - left, top, total[0] - top)),)


def autoencoder(
    normal_SHWC: Pixels, test_SHWC: Pixels, seconds: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], dict[str, Any]]:
    """Four halvings and four doublings, squared error, Adam; a pixel's score is its squared error, blurred, and an
    image's that of the 97th percentile."""

    def half(i: int, o: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(i, o, 4, 2, 1), nn.BatchNorm2d(o), nn.LeakyReLU(0.2))

    def double(i: int, o: int) -> nn.Module:
        return nn.Sequential(nn.ConvTranspose2d(i, o, 4, 2, 1), nn.BatchNorm2d(o), nn.ReLU())

    model = nn.Sequential(
        *(half(3, 16), half(16, 32), half(32, 64), half(64, 64)),
        *(double(64, 64), double(64, 32), double(32, 16), nn.ConvTranspose2d(16, 3, 4, 2, 1), nn.Tanh()),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    started, epochs = time.process_time(), 0
    while time.process_time() - started < seconds:
        order = np.random.default_rng(epochs).permutation(len(normal_SHWC))
        for batch in batches(normal_SHWC[order]):
            loss = (model(batch) - batch).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        epochs += 1
    model.eval()
    with torch.inference_mode():
        errors = torch.cat([(model(batch) - batch).square().mean(dim=1) for batch in batches(test_SHWC)]).numpy()
    maps = np.stack([cv2.GaussianBlur(one, (0, 0), 4) for one in errors])
    return np.quantile(maps.reshape(len(maps), -1), 0.97, axis=1), maps, {"epochs": epochs}


def batches(images_SHWC: Pixels) -> Iterator[Tensor]:
    """Batches [N, C, H, W] in −1 to 1, as the weights expect it."""
    for start in range(0, len(images_SHWC), BATCH):
        batch_NHWC = torch.from_numpy(images_SHWC[start : start + BATCH]).float()
        yield (batch_NHWC / 127.5 - 1).permute(0, 3, 1, 2).contiguous()


def tile(path: Path) -> Pixels:
    image_HWC = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    return np.asarray(cv2.resize(image_HWC, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA), np.uint8)


def mask_of(channel: Path, path: str) -> NDArray[np.bool_]:
    if not path:
        return np.zeros((JUDGED_PX, JUDGED_PX), bool)
    mask_HW = cv2.imread(str(channel / path), cv2.IMREAD_GRAYSCALE)
    return np.asarray(cv2.resize(mask_HW, (JUDGED_PX, JUDGED_PX), interpolation=cv2.INTER_AREA) >= 128)


if __name__ == "__main__":
    main()
