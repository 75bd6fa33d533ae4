"""Gradient maps: the Grad-CAM family at a level of a network, and integrated gradients of its pixels.

The levels are those that timm names in `feature_info`, and the last one, which the backbone's pooling takes.
"""

# N batch · C channels · h, w places · H, W pixels · M metadata features · K outputs

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lesion.data.decode.images import Pixels
from lesion.explain.explained_class import ExplainedClass, class_activation
from lesion.models.fusion import FusionNet
from lesion.models.places import FINAL, as_grid, num_prefix_tokens, with_place_logits

# activations A, gradients G = ∂(log-odds) / ∂A, both [N, C, h, w], to maps [N, h, w]
FAMILY: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "grad_cam": lambda a, g: (g.mean(dim=(2, 3), keepdim=True) * a).sum(dim=1),  # Selvaraju et al. 2017, eq. 1 and 2
    "hires_cam": lambda a, g: (g * a).sum(dim=1),  # Draelos & Carin 2020, eq. 4
    "layer_cam": lambda a, g: (g.relu() * a).sum(dim=1),  # Jiang et al. 2021, eq. 5 and 6
}
CAM = "cam"  # class activation, which needs no gradient
OCCLUSION = "occlusion"
INTEGRATED_GRADIENTS = "integrated_gradients"
NUM_IG_STEPS = 50
IG_BATCH = 8  # steps that are computed at once: each needs the memory of a training step


@dataclass(frozen=True)
class Level:
    """A level of a backbone: the module whose output it is, or FINAL; and how many channels that output has."""

    name: str
    num_channels: int


def levels(network: FusionNet) -> list[Level]:
    """The levels that can be explained at: the last, then those of timm's list, the deepest first; at most four.

    Of the list: the last two and one a third before the end. Earlier ones show edges and not what a class looks like.
    """
    backbone: Any = network.backbone
    found = [Level(FINAL, int(backbone.num_features))] if hasattr(backbone, "forward_features") else []
    listed = getattr(backbone, "feature_info", None)
    listed = list(getattr(listed, "info", listed) or [])
    places = dict.fromkeys(max(0, len(listed) - back) for back in (1, 2, 1 + len(listed) // 3)) if listed else {}
    modules = dict(backbone.named_modules())
    of_list = [Level(str(listed[place]["module"]), int(listed[place]["num_chs"])) for place in places]
    return found + [level for level in of_list if level.name in modules]


def level_named(network: FusionNet, name: str) -> Level:
    """The level of that name, also one that `levels` leaves out. Raises ValueError where there is none."""
    listed = getattr(network.backbone, "feature_info", None)
    every = levels(network) + [
        Level(str(one["module"]), int(one["num_chs"])) for one in getattr(listed, "info", listed) or []
    ]
    for level in every:
        if level.name == name:
            return level
    raise ValueError(f"the network has no level {name[:80]!r}")


def gradient_maps(
    network: FusionNet, square_HWC: Pixels, metadata_M: NDArray[np.float32], level: Level, explained: ExplainedClass
) -> dict[str, NDArray[np.float32]]:
    """The map [h, w] of each method of FAMILY for the log-odds of a class. The network must be in eval mode.

    ReLU is left out: what speaks against the class is below zero. Only what lies above the level is kept for the
    gradient. Raises ValueError for a level whose output is no grid.
    """
    with torch.inference_mode(False), torch.set_grad_enabled(True):
        images_NCHW, metadata_NM = _tensors(network, square_HWC, metadata_M)
        with _leaf_at(network, level) as leaf:
            if level.name == FINAL:
                backbone: Any = network.backbone
                last = backbone.forward_features(network.normalised(images_NCHW))
                logits_NK = network.logits(backbone.forward_head(leaf(last)), metadata_NM)
            else:
                logits_NK = network(images_NCHW, metadata_NM)
        activations = leaf.activations
        if activations is None:
            raise ValueError(f"level {level.name} is not passed by a prediction")
        (gradients,) = torch.autograd.grad(explained.log_odds_of_tensor(logits_NK).sum(), activations)
    num_prefix = num_prefix_tokens(network.backbone)
    a, g = (as_grid(tensor.detach().float(), level.num_channels, num_prefix) for tensor in (activations, gradients))
    return {name: method(a, g)[0].cpu().numpy() for name, method in FAMILY.items()}


class _Leaf:
    """Takes the place of a level's output: a tensor of the same values with which the gradient begins."""

    activations: Tensor | None = None

    def __call__(self, output: Any) -> Tensor:
        if not isinstance(output, Tensor):
            raise ValueError("a level's output is no tensor")
        self.activations = output.detach().requires_grad_()
        return self.activations.clone()  # what follows may work in place


@contextmanager
def _leaf_at(network: FusionNet, level: Level) -> Iterator[_Leaf]:
    leaf = _Leaf()
    if level.name == FINAL:
        yield leaf
        return
    module = network.backbone.get_submodule(level.name)
    handle = module.register_forward_hook(lambda _, __, output: leaf(output))
    try:
        yield leaf
    finally:
        handle.remove()


def cam(
    network: FusionNet, square_HWC: Pixels, metadata_M: NDArray[np.float32], explained: ExplainedClass
) -> NDArray[np.float32]:
    """What each place [h, w] adds to the log-odds of a class, to first order: its logits, as `with_place_logits` has
    them, times the slope of the log-odds at the picture's logits. For mean pooling and a linear layer this is Grad-CAM
    at the last level, but for a factor and an offset."""
    with torch.inference_mode():
        logits_NK, _, place_logits_NKhw = with_place_logits(network, *_tensors(network, square_HWC, metadata_M))
    return class_activation(place_logits_NKhw[0].float().cpu().numpy(), logits_NK[0].float().cpu().numpy(), explained)


def integrated_gradients(
    network: FusionNet,
    square_HWC: Pixels,
    metadata_M: NDArray[np.float32],
    explained: ExplainedClass,
    *,
    num_steps: int = NUM_IG_STEPS,
) -> NDArray[np.float32]:
    """What each pixel [H, W] adds to the log-odds, summed over its channels, on the way from a square in the mean
    colour (Sundararajan et al. 2017, eq. 1), by captum.

    The sum over all pixels approaches the whole change with more steps: a network that is steep on the way, as some
    transformers are, needs hundreds.
    """
    from captum.attr import IntegratedGradients

    with torch.inference_mode(False), torch.set_grad_enabled(True):
        images_NCHW, metadata_NM = _tensors(network, square_HWC, metadata_M)
        pixels_NCHW = images_NCHW.float()
        start_NCHW = pixels_NCHW.mean(dim=(2, 3), keepdim=True).expand_as(pixels_NCHW)

        def log_odds(squares_NCHW: Tensor) -> Tensor:
            return explained.log_odds_of_tensor(network(squares_NCHW, metadata_NM.expand(len(squares_NCHW), -1)))

        shares_NCHW = IntegratedGradients(log_odds).attribute(
            pixels_NCHW, start_NCHW, n_steps=num_steps, internal_batch_size=IG_BATCH
        )
    values_HW: NDArray[np.float32] = shares_NCHW[0].sum(dim=0).detach().float().cpu().numpy()
    return values_HW


def predicted_logits(
    network: FusionNet, squares_BHWC: NDArray[np.uint8], metadata_M: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Logits [B, K] of squares that share their metadata."""
    device = network.mean.device
    with torch.inference_mode():
        images_NCHW = torch.from_numpy(np.ascontiguousarray(squares_BHWC)).to(device).permute(0, 3, 1, 2)
        metadata_NM = torch.from_numpy(metadata_M).to(device).expand(len(squares_BHWC), -1)
        logits_NK: NDArray[np.float32] = network(images_NCHW, metadata_NM).float().cpu().numpy()
    return logits_NK


def _tensors(network: FusionNet, square_HWC: Pixels, metadata_M: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    device = network.mean.device
    images_NCHW = torch.from_numpy(np.ascontiguousarray(square_HWC)).to(device).permute(2, 0, 1)[None]
    return images_NCHW, torch.from_numpy(np.ascontiguousarray(metadata_M, np.float32)).to(device)[None]
