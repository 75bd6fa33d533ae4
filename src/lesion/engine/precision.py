"""Precision: the numbers that training computes in: float32, or bfloat16 where the machine has it."""

# N batch · C channels · H, W pixels

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)

Precision = Literal["fp32", "bf16"]


def pick_precision(wanted: Literal["auto", "fp32", "bf16"], device: torch.device) -> Precision:
    """What is wanted; auto is bf16 where the device computes in it, and not where it would be put together of fp32."""
    if wanted != "auto":
        if wanted == "bf16" and not has_bf16(device):
            log.warning("precision=bf16, which this %s has no instructions for: slower than fp32", device.type)
        return wanted
    return "bf16" if has_bf16(device) else "fp32"


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 numbers itself: Ampere and later; AVX-512 BF16 or AMX."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def prepare_network(network: nn.Module, precision: Precision, device: torch.device) -> None:
    """Lets the convolutions that a CPU trains slower in bf16 compute in float32, inside `autocast` too.

    Grouped ones, but for depthwise 3×3 of stride 1: in oneDNN's backward pass (torch 2.7) the gradient of a strided
    one's input takes 17 to 47 times as long in bf16, that of a 5×5's weights 3 times. With this mobilenetv2_100 and
    efficientnet_b2 train 1.2 to 1.5 times as fast in bf16 as in fp32; without, 0.7 to 1.0 times.
    """
    if precision == "fp32" or device.type != "cpu":
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            is_depthwise = module.groups == module.in_channels == module.out_channels
            if not (is_depthwise and max(module.kernel_size) <= 3 and max(module.stride) == 1):
                module.forward = partial(_in_float32, module.forward)  # type: ignore[method-assign]


def _in_float32(forward: Callable[[Tensor], Tensor], images_NCHW: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return forward(images_NCHW.float()).to(images_NCHW.dtype)


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Inside, matrix products and convolutions are of that precision; weights, sums and losses stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
