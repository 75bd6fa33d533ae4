"""Fusion: picture features ⊕ metadata features → logits.

Normalises the pixels itself, so that uint8 goes in everywhere.
"""

# N batch · C channels · D features of a picture · H, W pixels · K outputs · M metadata features

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lesion.data.transforms import Preprocess
from lesion.models.backbone import create_backbone, num_features
from lesion.models.probe import LinearHead

HIDDEN = 250  # width of both layers of the metadata branch, the project's brief
DROPOUT = 0.2

_NUM_FEATURES: dict[tuple[str, str, int], int] = {}  # by name, arguments and image size


class FusionNet(nn.Module):
    """A backbone beside a metadata branch (M → 250 → 250); their features joined, one linear layer to K logits.

    `num_features` is the backbone's D.
    """

    def __init__(
        self, backbone: nn.Module, preprocess: Preprocess, *, num_features: int, num_metadata: int, num_outputs: int
    ) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", 255.0 * torch.tensor(preprocess.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255.0 * torch.tensor(preprocess.std).view(1, 3, 1, 1), persistent=False)
        self.backbone = backbone
        # Some of timm's networks freeze a part at creation (MoCo v3's patch embedding): it must stay frozen.
        self._learned = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
        self.head = nn.Linear(num_features + (HIDDEN if num_metadata else 0), num_outputs)
        # Initialised last, its input layer last of all: only that layer's shape differs between folds, so with the same
        # seed all other weights start equal in every fold.
        hidden = _layer(HIDDEN)
        self.metadata = nn.Sequential(*_layer(num_metadata), *hidden) if num_metadata else None

    def forward(self, images_NCHW: Tensor, metadata_NM: Tensor) -> Tensor:
        """Pixels as uint8, or as float32 in 0 to 255, and features as float32 to logits [N, K]."""
        return self.outputs(images_NCHW, metadata_NM)[0]

    def outputs(self, images_NCHW: Tensor, metadata_NM: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward` the logits [N, K], and with them the features of the pictures [N, D]."""
        features_ND = self.features(images_NCHW)
        return self.logits(features_ND, metadata_NM), features_ND

    def features(self, images_NCHW: Tensor) -> Tensor:
        """The backbone's features of the pictures [N, D]."""
        features_ND: Tensor = self.backbone(self.normalised(images_NCHW))
        return features_ND

    def normalised(self, images_NCHW: Tensor) -> Tensor:
        """The pictures as the backbone takes them."""
        pixels_NCHW = (images_NCHW.float() - self.mean) / self.std
        return pixels_NCHW.contiguous(memory_format=torch.channels_last)

    def logits(self, features_ND: Tensor, metadata_NM: Tensor) -> Tensor:
        """The last layer's logits [N, K] of the pictures' features and their metadata."""
        joined_ND = features_ND
        if self.metadata is not None:
            joined_ND = torch.cat([features_ND, self.metadata(metadata_NM)], dim=1)
        logits_NK: Tensor = self.head(joined_ND)
        return logits_NK

    def set_trainable(self, *, backbone: bool, statistics: bool) -> None:
        """Training mode: the backbone is trained or frozen, its BatchNorm statistics are updated or kept."""
        self.train()
        for parameter in self._learned:
            parameter.requires_grad_(backbone)
        for module in self.backbone.modules():
            if not backbone or (not statistics and isinstance(module, nn.modules.batchnorm._BatchNorm)):
                module.eval()

    def init_head(self, head: LinearHead) -> None:
        """Initialises the last layer with `head`, on the picture's features; metadata gets weights of 0."""
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.weight[:, : head.weight_KD.shape[1]] = torch.from_numpy(head.weight_KD)
            self.head.bias.copy_(torch.from_numpy(head.bias_K))


def create_network(
    name: str,
    model_args: Mapping[str, Any],
    preprocess: Preprocess,
    *,
    num_metadata: int,
    num_outputs: int,
    seed: int,
) -> FusionNet:
    """The network with initial weights that depend on `seed` alone. Leaves torch's global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = create_backbone(name, model_args)
        network = FusionNet(
            backbone,
            preprocess,
            num_features=_num_features_once(backbone, name, model_args, preprocess.image_size),
            num_metadata=num_metadata,
            num_outputs=num_outputs,
        )
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _num_features_once(backbone: nn.Module, name: str, model_args: Mapping[str, Any], image_size: int) -> int:
    """As `num_features`. It takes as long as a prediction, and a job makes each network a dozen times."""
    key = (name, json.dumps(dict(model_args), sort_keys=True), image_size)
    if key not in _NUM_FEATURES:
        _NUM_FEATURES[key] = num_features(backbone, image_size, name=name, model_args=model_args)
    return _NUM_FEATURES[key]


def _layer(num_inputs: int) -> tuple[nn.Module, ...]:
    return (nn.Linear(num_inputs, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT))
