"""What every peer that serves is given: the network by timm, its weights, and the transforms of torchvision.

As a user writes it: eager torch in float32, Pillow, Resize, CenterCrop, Normalize.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import transforms

NAME, SIDE_PX = os.environ["BENCH_NETWORK"], int(os.environ["BENCH_SIDE_PX"])
WEIGHTS = Path(os.environ["BENCH_WEIGHTS"])
MEAN, STD = ([float(value) for value in os.environ[name].split()] for name in ("BENCH_MEAN", "BENCH_STD"))
CORES, BATCH = int(os.environ["BENCH_CORES"]), int(os.environ["BENCH_BATCH"])  # the most pictures at once

to_tensor = transforms.Compose(
    [
        transforms.Resize(SIDE_PX),
        transforms.CenterCrop(SIDE_PX),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ]
)


class Network(nn.Module):
    """A backbone and one linear layer, named as in Lesion's artifact."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.backbone = timm.create_model(NAME, num_classes=0)
        self.head = nn.Linear(num_features, 1)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        return self.head(self.backbone(images_NCHW))


def load_model() -> nn.Module:
    """The network in eval mode, with the artifact's weights."""
    weights = load_file(WEIGHTS)
    model = Network(weights["head.weight"].shape[1])
    model.load_state_dict(weights)
    return model.eval()


def read(content: bytes) -> Tensor:
    """One picture's file to what the network takes [3, H, W]."""
    return to_tensor(Image.open(io.BytesIO(content)).convert("RGB"))


@torch.inference_mode()
def predict(model: nn.Module, images: list[Tensor]) -> list[float]:
    """A probability for each picture."""
    return model(torch.stack(images)).sigmoid()[:, 0].tolist()
