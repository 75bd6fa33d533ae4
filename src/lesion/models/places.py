"""Places: a backbone's activations as grids over the picture, and the logits of each place of its last one.

timm's networks give them as NCHW, NHWC or tokens. The shape alone tells which, so no network is named here.
"""

# N batch · C channels · h, w places of a grid · T tokens · P = h × w · D features of a picture · K outputs

from __future__ import annotations

from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from lesion.models.fusion import FusionNet

FINAL = "final"  # the level that the backbone's own pooling takes


def as_grid(activations: Tensor, num_channels: int, num_prefix: int = 0) -> Tensor:
    """Activations as [N, C, h, w]: from NCHW, from NHWC, or from tokens [N, T, C] of a square, of which the first
    `num_prefix` (class token, registers) have no place.

    Raises ValueError where they are none of these.
    """
    shape = tuple(activations.shape)
    if activations.ndim == 4 and shape[1] == num_channels:
        return activations
    if activations.ndim == 4 and shape[3] == num_channels:
        return activations.permute(0, 3, 1, 2)
    if activations.ndim == 3 and shape[2] == num_channels:
        side = isqrt(shape[1] - num_prefix)
        places = activations[:, shape[1] - side * side :]  # what is left over comes before, as in timm's networks
        if side and shape[1] - side * side <= max(num_prefix, 2):
            return places.transpose(1, 2).reshape(shape[0], num_channels, side, side)
    raise ValueError(f"activations {list(shape)} are no grid of {num_channels} channels")


def num_prefix_tokens(backbone: nn.Module) -> int:
    """How many tokens without a place lead a transformer's tokens; 0 for other networks."""
    found: Any = getattr(backbone, "num_prefix_tokens", 0)
    return int(found or 0)


def with_place_logits(network: FusionNet, images_NCHW: Tensor, metadata_NM: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [N, K], features [N, D], and the logits [N, K, h, w] that the network would give if the whole picture
    looked as it does at one place: the backbone's pooling and the last layer, applied to each place of the last level.

    Where the pooling is a mean and the rest is linear, this is class activation mapping (Zhou et al. 2016, eq. 2) with
    the bias added, and its mean over the places is the picture's logit. It needs no gradient. Raises ValueError for a
    backbone whose last level is no grid.
    """
    backbone: Any = network.backbone
    last = backbone.forward_features(network.normalised(images_NCHW))
    features_ND = backbone.forward_head(last)
    if not isinstance(last, Tensor):
        raise ValueError("the last level is no tensor")
    num_prefix = num_prefix_tokens(backbone)
    grid_NChw = as_grid(last, int(backbone.num_features), num_prefix)
    number, channels, height, width = grid_NChw.shape
    places_PC = grid_NChw.permute(0, 2, 3, 1).reshape(-1, channels)
    if last.ndim == 3:  # the place stands for every token, the class token too: the pooling may take any of them
        alone = places_PC[:, None].expand(-1, num_prefix + 1, -1)
    elif last.shape[1] == channels:
        alone = places_PC[:, :, None, None]
    else:
        alone = places_PC[:, None, None]
    metadata_PM = metadata_NM.repeat_interleave(height * width, dim=0)
    logits_PK = network.logits(backbone.forward_head(alone), metadata_PM)
    place_logits_NKhw = logits_PK.reshape(number, height, width, -1).permute(0, 3, 1, 2)
    return network.logits(features_ND, metadata_NM), features_ND, place_logits_NKhw


def place_side(network: FusionNet, image_size: int, num_metadata: int) -> int | None:
    """The side h = w of the grid of `with_place_logits`; None where the backbone has no such grid, or another forward
    pass than by timm's `forward_features` and `forward_head`.
    """
    device = network.mean.device
    ramp = torch.arange(3 * image_size * image_size, device=device) * 7 % 256  # a picture with some content
    images_NCHW = ramp.to(torch.uint8).view(1, 3, image_size, image_size)
    metadata_NM = torch.zeros(1, num_metadata, device=device)
    try:
        with torch.inference_mode():
            logits_NK, _, place_logits_NKhw = with_place_logits(network.eval(), images_NCHW, metadata_NM)
            is_same = torch.allclose(logits_NK, network(images_NCHW, metadata_NM), rtol=1e-4, atol=1e-4)
    except Exception:  # what a thousand networks raise has no common kind; without the grid all else works
        return None
    height, width = place_logits_NKhw.shape[2:]
    return int(height) if is_same and height == width > 1 and place_logits_NKhw.isfinite().all() else None
