"""Patch features: a frozen backbone's intermediate levels, averaged over neighbours and joined place by place."""

# N batch · H, W pixels · C channels of a level · h, w places of the finest level · D features of a place

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lesion.data.transforms import Preprocess
from lesion.errors import UserError
from lesion.models.backbone import create_backbone, num_features
from lesion.words import listed

NEIGHBOURHOOD = 3  # places a side that are averaged (Roth et al. 2022, section 3.1: p = 3)


class PatchFeatures(nn.Module):
    """Pictures as uint8 RGB [N, H, W, 3] to the features of their places, float32 [N, h, w, D].

    The locally aware patch features of PatchCore (Roth et al. 2022, eq. 1 to 3): each level is averaged over a 3 × 3
    neighbourhood, brought to the size of the finest one, and all are joined. No place knows of another picture.
    With `edge_is_zero` what lies beyond the picture counts as 0, as in the authors' code: a place at an edge is then
    two thirds of the mean of its six neighbours, which is noisier than one of nine, and looked odd in normal pictures
    (docs/decisions/0072).
    """

    def __init__(
        self, backbone: nn.Module, preprocess: Preprocess, indices: Sequence[int], *, edge_is_zero: bool
    ) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", 255.0 * torch.tensor(preprocess.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255.0 * torch.tensor(preprocess.std).view(1, 3, 1, 1), persistent=False)
        self.backbone: Any = backbone
        self._indices, self._edge_is_zero = list(indices), edge_is_zero

    def forward(self, images_NHWC: Tensor) -> Tensor:
        """The features [N, h, w, D]."""
        pixels_NCHW = (images_NHWC.permute(0, 3, 1, 2).float() - self.mean) / self.std
        levels = self.backbone.forward_intermediates(pixels_NCHW, indices=self._indices, intermediates_only=True)
        pooled = [
            functional.avg_pool2d(level, NEIGHBOURHOOD, 1, NEIGHBOURHOOD // 2, count_include_pad=self._edge_is_zero)
            for level in levels
        ]
        finest = max((level.shape[-2:] for level in pooled), key=lambda shape: int(shape[0]))
        same = [
            level
            if level.shape[-2:] == finest
            else functional.interpolate(level, size=(int(finest[0]), int(finest[1])), mode="bilinear")
            for level in pooled
        ]
        return torch.cat(same, dim=1).permute(0, 2, 3, 1)


def create_patch_features(
    name: str,
    model_args: Mapping[str, Any],
    preprocess: Preprocess,
    strides: Sequence[int],
    *,
    seed: int,
    edge_is_zero: bool = True,
) -> PatchFeatures:
    """The named backbone's features at the deepest level of each stride, with initial weights that depend on `seed`
    alone, in eval mode. Leaves torch's global generator as it was.

    Raises UserError for a network that does not take such pictures, gives no levels, or none of a stride.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = create_backbone(name, model_args).eval()
        num_features(backbone, preprocess.image_size, name=name, model_args=model_args)  # refuses in words
    indices = _level_indices(backbone, name, preprocess.image_size, strides)
    return PatchFeatures(backbone, preprocess, indices, edge_is_zero=edge_is_zero).eval().requires_grad_(False)


def grid_of(features: PatchFeatures, image_size: int) -> tuple[int, int, int]:
    """h, w and D of the features of pictures with this side."""
    device = features.mean.device
    with torch.inference_mode():
        shape = features(torch.zeros(1, image_size, image_size, 3, dtype=torch.uint8, device=device)).shape
    return int(shape[1]), int(shape[2]), int(shape[3])


def _level_indices(backbone: Any, name: str, image_size: int, strides: Sequence[int]) -> list[int]:
    """The deepest level of each stride, by timm's numbers, seen in a forward pass of zeros."""
    try:
        with torch.inference_mode():
            levels = backbone.forward_intermediates(torch.zeros(1, 3, image_size, image_size), intermediates_only=True)
        sides = [int(level.shape[-1]) for level in levels]
    except Exception as error:  # what a thousand networks raise has no common kind
        raise UserError(
            f"'{name}' gives no intermediate levels: {type(error).__name__}",
            where="hyperparameter model",
            do="Choose another network, such as resnet18, mobilenetv2_100 or wide_resnet50_2.",
            kind="hyperparameters",
        ) from error
    found = []
    for stride in sorted(set(strides)):
        wanted = {image_size // stride, -(-image_size // stride)}  # networks round down or up
        fitting = [index for index, side in enumerate(sides) if side in wanted]
        if not fitting:
            there = [str(round(image_size / side)) for side in dict.fromkeys(sides)]
            raise UserError(
                f"'{name}' has no level of stride {stride} for images of {image_size} px; it has {listed(there)}",
                where="hyperparameter strides",
                do="Choose among them.",
                kind="hyperparameters",
            )
        found.append(fitting[-1])
    return found
