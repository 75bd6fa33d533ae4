"""Precision: the numbers that training computes in: float32, or bfloat16 where the machine has it."""

from __future__ import annotations

import logging
from typing import Literal

import torch

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


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Inside, matrix products and convolutions are of that precision; weights, sums and losses stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
